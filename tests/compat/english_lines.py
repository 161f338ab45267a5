"""English text that comes with Python."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def english_lines() -> list[str]:
    """Lines of the language reference, and of docstrings in the standard library: each once."""
    lines = (line.strip() for text in _texts() for line in text.splitlines())
    return list(dict.fromkeys(line for line in lines if line))


def _texts() -> Iterator[str]:
    yield from topics.values()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, DOCUMENTED):
                yield ast.get_docstring(node) or ""
