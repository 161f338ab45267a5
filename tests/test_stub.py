"""The stub _core.pyi names what the compiled module has, with the same arguments.

pybind11 writes the signatures of a function at the head of its docstring; nothing else tells them,
inspect.signature included.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import nibblevec
from nibblevec import _core

STUB = Path(nibblevec.__file__).with_name("_core.pyi")


def arguments(function: ast.FunctionDef) -> list[str]:
    """Name, default and kind of each argument, in order; annotations are not compared."""
    for node in ast.walk(function.args):
        if isinstance(node, ast.arg):
            node.annotation = None
    return [ast.unparse(function.args)]


def stub_entries(body: list[ast.stmt]) -> dict[str, object]:
    """Of each name: its signatures, "property", or the entries of a class."""
    entries: dict[str, object] = {}
    for node in body:
        if isinstance(node, ast.ClassDef):
            entries[node.name] = stub_entries(node.body)
        elif isinstance(node, ast.FunctionDef):
            decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
            if "property" in decorators:
                entries[node.name] = "property"
            else:
                kind = ["static"] if "staticmethod" in decorators else []
                known = entries.setdefault(node.name, kind)
                assert isinstance(known, list)
                known += arguments(node)
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            raise AssertionError(f"line {node.lineno}: a statement that this test cannot compare")
    return entries


def module_signatures(name: str, function: Callable[..., object]) -> list[str]:
    lines = (function.__doc__ or "").splitlines()
    if "Overloaded function." in lines[:2]:
        lines = [line.partition(" ")[2] for line in lines if re.match(r"\d+\. ", line)]
    else:
        lines = lines[:1]
    signatures = []
    for line in lines:
        # The type after the arrow may be C++, which is no Python.
        head = line.rpartition(" -> ")[0]
        assert head.startswith(f"{name}("), f"{name} says no signature: {line}"
        (definition,) = ast.parse(f"def {head}: ...").body
        assert isinstance(definition, ast.FunctionDef)
        signatures += arguments(definition)
    return signatures


def is_told(name: str, value: object) -> bool:
    """Whether a name is public, or a special method that pybind11 was told to bind."""
    doc = getattr(value, "__doc__", None) or ""
    return not name.startswith("_") or doc.startswith(f"{name}(")


def module_entries(names: dict[str, object], owner: object) -> dict[str, object]:
    entries: dict[str, object] = {}
    for name, raw in names.items():
        if isinstance(raw, property):
            entries[name] = "property" if raw.fset is None else "property that can be set"
            continue
        value = getattr(owner, name)
        if not is_told(name, value):
            continue
        if isinstance(value, type):
            entries[name] = module_entries(dict(vars(value)), value)
        elif callable(value):
            kind = ["static"] if isinstance(raw, staticmethod) else []
            entries[name] = kind + module_signatures(name, value)
        else:
            entries[name] = type(value).__name__
    return entries


STUBBED = stub_entries(ast.parse(STUB.read_text("utf-8")).body)
BUILT = module_entries(dict(vars(_core)), _core)


def test_names() -> None:
    assert sorted(STUBBED) == sorted(BUILT)


@pytest.mark.parametrize("name", sorted(STUBBED.keys() & BUILT.keys()))
def test_arguments(name: str) -> None:
    assert STUBBED[name] == BUILT[name]
