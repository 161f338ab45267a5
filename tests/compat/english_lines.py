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


def mixed_texts(file: Path | None, count: int) -> list[str]:
    """At most ``count`` lines of a file or of `english_lines`, longer texts, and odd ones.

    The odd ones hold characters that a vocabulary hardly has, or nothing; some begin with them.
    """
    lines = file.read_text(encoding="utf-8").splitlines() if file else english_lines()
    step = max(1, len(lines) // count)
    chosen = lines[::step][:count]
    long = [" ".join(chosen[begin : begin + 100]) for begin in range(0, len(chosen), 500)]
    odd = ["", " ", "\u2603", "\u2603 \U0001f984 ok", "x" * 20_000, "\U0001f600" * 3000]
    mixed = [f"\U0001f984{line[:20]}\u2603 {line[20:]}" for line in chosen[::10]]
    return [*chosen, *long, *odd, *mixed, " ".join(chosen[:2000])]


def _texts() -> Iterator[str]:
    yield from topics.values()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, DOCUMENTED):
                yield ast.get_docstring(node) or ""
