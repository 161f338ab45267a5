"""Texts of files: one text a line, or JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nibblevec._io.file_kinds import is_json_lines
from nibblevec._io.json_lines import json_objects, text_under
from nibblevec._io.lines import line_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DEFAULT_COLUMN = "text"


def read_texts(paths: Sequence[str], column: str | None = None) -> Iterator[list[str]]:
    """The texts of files, one after another; in each list those that came with one read.

    A program that writes into a pipe and waits may get an answer to each list.

    Args:
        paths: files named as JSON lines (``.jsonl``, ``.ndjson`` ...) hold a JSON object a line
            (blank lines are passed over), any other file, and ``"-"`` for stdin, a text a line (a
            blank line is an empty text). UTF-8, with or without a byte order mark; lines end in LF
            or CRLF.
        column: key of the text in a JSON object; None: `DEFAULT_COLUMN`. If it is given, files with
            a text a line must not begin with an object of JSON.

    Raises:
        OSError: a file cannot be read (names it).
        InputKindError: a file is of another kind (see `check_input`, which looks into regular files
            only).
        InputError: a line is not UTF-8, not JSON, has no text or one with a surrogate; lines end in
            CR alone.
    """
    for path in paths:
        if is_json_lines(path):
            key = DEFAULT_COLUMN if column is None else column
            first_line = 1
            for lines in line_blocks(path):
                records = json_objects(lines, path, first_line)
                yield [text_under(key, record, path, number) for number, record in records]
                first_line += len(lines)
        else:
            yield from line_blocks(path, no_json=column is not None)
