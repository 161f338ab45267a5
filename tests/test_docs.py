"""What the documentation shows is run."""

import doctest
import importlib
import pickle
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest
from arrow_by_hand import Producer, utf8

import nibblevec

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(nibblevec.__path__, "nibblevec.")
    if module.name not in ("nibblevec._core", "nibblevec.__main__")
)


@pytest.mark.parametrize("name", ["nibblevec", *MODULES])
def test_docstring_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_some_docstrings_hold_examples() -> None:
    finder = doctest.DocTestFinder()
    modules = map(importlib.import_module, MODULES)
    assert sum(bool(test.examples) for module in modules for test in finder.find(module)) >= 3


@pytest.mark.parametrize(
    ("name", "least"), [("README.md", 2), ("docs/coming-from.md", 2), ("docs/model.md", 1)]
)
def test_examples_of_documents(name: str, least: int) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
    assert len(blocks) >= least
    for block in blocks:
        names: dict[str, object] = {}
        exec(compile(block, name, "exec"), names)


def test_documents_link_to_files_that_exist() -> None:
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")]
    for document in documents:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("module", ["nibblevec", "nibblevec.evaluation"])
def test_public_names_are_of_the_public_module(module: str) -> None:
    public = importlib.import_module(module)
    for name in public.__all__:
        if hasattr(getattr(public, name), "__qualname__"):
            assert getattr(public, name).__module__ == module


def test_errors_call_methods_those_of_the_encoder() -> None:
    encoder: Any = nibblevec.Encoder()
    for name in ("encode", "tokenize", "preprocess", "similarity"):
        with pytest.raises(TypeError, match=rf"Encoder\.{name}\(\)"):
            getattr(encoder, name)("tea", frob=1)


def test_pickles_name_public_modules() -> None:
    encoder = nibblevec.Encoder()
    encoder.fit_ranges(["tea", "a cup"], truncate_dim=8)
    encoder.max_seq_length = 5
    vectors = encoder.encode_arrow(Producer(utf8(["tea", "a cup"])))
    for value in (encoder, encoder.table, vectors):
        content = pickle.dumps(value)
        assert b"nibblevec._" not in content
        assert type(pickle.loads(content)) is type(value)
