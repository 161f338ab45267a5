"""Inputs that are refused, with a command that makes readable files of them."""

from __future__ import annotations

import json
import os
from typing import NoReturn

from nibblevec._io import file_kinds
from nibblevec._io.errors import InputKindError, errors_named
from nibblevec._io.file_kinds import Kind, is_json_lines
from nibblevec._io.standard_streams import STANDARD_STREAM

# The inputs that are read, in words.
LINES = "files with a text a line and JSON lines"
COLUMNS = "columns divided by tabs or commas and JSON lines"

# The beginning of a file that is looked into before any work.
CHECKED_BYTES = 1 << 18


def check_input(path: str, *, column: str | None = None, may_be_table: bool = False) -> None:
    """Refuse a file whose name or beginning shows that it is no text file, before any work.

    A pipe or a device can be looked into only when it is read, and is refused then.

    Args:
        path: the file, or ``"-"`` for stdin.
        column: as for `read_texts`.
        may_be_table: columns of text divided by commas, tabs or the like are read, too.

    Raises:
        OSError: it cannot be read (names it).
        InputKindError: it is of another kind.
    """
    if path == STANDARD_STREAM:
        return
    readable = COLUMNS if may_be_table else LINES
    beginning = b""
    if os.path.isfile(path):
        with errors_named(path), open(path, "rb", buffering=0) as file:
            beginning = file.read(CHECKED_BYTES)
    kind = file_kinds.kind_by_name(path)
    if kind is file_kinds.JSON_DOCUMENT and _begins_with_object(beginning):
        _refuse(path, file_kinds.MISNAMED_JSON_LINES, "", readable)
    if kind is not None and not (may_be_table and kind is file_kinds.TEXT_TABLE):
        rename = ""
        if file_kinds.kind_by_content(beginning[: file_kinds.BEGINNING_BYTES]) is None:
            held = "columns" if may_be_table else "a text a line"
            rename = f"; if it does hold {held}, give it a name that ends in .txt"
        _refuse(path, kind, "." + path.rpartition(".")[2], readable, rename)
    check_beginning(beginning, path, readable)
    if column is not None and not is_json_lines(path):
        check_no_json(beginning, path)


def check_beginning(beginning: bytes, name: str, readable: str = LINES) -> None:
    """Refuse content that is no text.

    Args:
        beginning: at least `file_kinds.BEGINNING_BYTES` of the content, or all of it.
        name: of the file, or ``"stdin"``.
        readable: the inputs that are read, in words.

    Raises:
        InputKindError: it is of another kind.
    """
    found = file_kinds.kind_by_content(beginning[: file_kinds.BEGINNING_BYTES])
    if found is not None:
        format_, kind = found
        _refuse(name, kind, format_, readable)


def check_no_json(beginning: bytes, name: str) -> None:
    """Refuse lines whose first one is an object of JSON, where a column was asked for.

    Raises:
        InputKindError: the first line is such an object.
    """
    if not _begins_with_object(beginning):
        return
    what = "stdin is" if name == "stdin" else f"{name}: a file of this name is"
    raise InputKindError(
        f"{what} read as a text a line, but its first line is a JSON object, and --column is given:"
        " give JSON lines as a file whose name ends in .jsonl"
    )


def by_command(command: str, name: str) -> str:
    """A command that reads stdin, as it makes a readable file of a file or of ``"stdin"``."""
    if name == "stdin":
        return f"{command}, put before it,"
    import shlex

    return f"{command} < {shlex.quote(name)} > {shlex.quote(file_kinds.beside(name))}"


def _refuse(name: str, kind: Kind, sign: str, readable: str, rename: str = "") -> NoReturn:
    path = None if name == "stdin" else name
    what = kind.words + (f" ({sign})" if sign else "")
    raise InputKindError(
        f"{name}: only {readable} are read; this is {what}:"
        f" {file_kinds.way_out(kind, path)}{rename}"
    )


def _begins_with_object(beginning: bytes) -> bool:
    """Whether the first line that is not blank is a whole object of JSON."""
    line = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")[0]
    if not line.startswith(b"{"):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
