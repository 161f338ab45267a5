"""What the documentation shows is run."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

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


def test_public_names_are_of_the_public_module() -> None:
    for name in nibblevec.__all__:
        assert getattr(nibblevec, name).__module__ == "nibblevec"
