"""Lines of UTF-8 from files and stdin, in blocks as they come."""

from __future__ import annotations

import sys
from itertools import chain
from typing import TYPE_CHECKING, Any

from nibblevec._io.encodings import has_control_characters, iso_2022, utf_16_or_32
from nibblevec._io.errors import InputError, errors_named
from nibblevec._io.file_kinds import BEGINNING_BYTES, is_json_lines, kind_by_name
from nibblevec._io.refusals import by_command, check_beginning, check_no_json
from nibblevec._io.standard_streams import (
    STANDARD_STREAM,
    descriptor_of,
    opened,
    wait_for_input,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LINE_END = b"\n"

# The most bytes that are asked for at a time; a pipe gives those that it has.
READ_BYTES = 1 << 18


def read_lines(path: str) -> Iterator[str]:
    """Lines of a file, or of stdin for ``"-"``, without their ends.

    Raises:
        OSError: it cannot be read (names it).
        InputKindError: it is no text file.
        InputError: a line is not UTF-8, or lines end in CR alone.
    """
    return chain.from_iterable(line_blocks(path))


def line_blocks(path: str, *, no_json: bool = False) -> Iterator[list[str]]:
    """Lines as of `read_lines`; in each list those that one read made complete.

    Args:
        path: the file, or ``"-"`` for stdin.
        no_json: the first line must not be an object of JSON.

    Raises:
        OSError: as `read_lines`.
        InputKindError: as `read_lines`, or the first line is an object of JSON.
        InputError: as `read_lines`.
    """
    if path == STANDARD_STREAM:
        with errors_named("stdin"):
            stdin: Any = opened(sys.stdin).buffer
            yield from _line_blocks(stdin.read1, "stdin", descriptor_of(stdin), no_json=no_json)
    else:
        with errors_named(path), open(path, "rb", buffering=0) as file:
            yield from _line_blocks(file.read, path, None, no_json=no_json)


def _line_blocks(
    read: Callable[[int], bytes], name: str, descriptor: int | None, *, no_json: bool
) -> Iterator[list[str]]:
    """Lines without their ends; in each list those that one read made complete.

    Args:
        read: gives at most N bytes, and waits only for the first.
        name: of the file, for errors.
        descriptor: what ``read`` reads from, if it may be one that does not wait.
        no_json: the first line must not be an object of JSON.
    """
    lines_before = bytes_before = lone_returns = 0
    pieces: list[bytes] = []  # of a block whose line end has not come; joined once
    is_checked, is_first = False, True
    while True:
        wait_for_input(descriptor)
        chunk = read(READ_BYTES)
        end = chunk.rfind(LINE_END) + 1
        pieces.append(chunk[:end] if end else chunk)
        if not is_checked and (not chunk or end or sum(map(len, pieces)) >= BEGINNING_BYTES):
            is_checked = True
            check_beginning(b"".join([*pieces, chunk[end:] if end else b""]), name)
        if chunk and not end:
            continue
        block = b"".join(pieces)
        pieces = [chunk[end:]]
        if is_first and no_json:
            check_no_json(block, name)
        text = _decoded(block, name, lines_before, bytes_before)
        if is_first:
            text = text.removeprefix("\ufeff")
        is_first = False
        if text:
            lines = text.split("\n")
            if not lines[-1]:
                lines.pop()
            if "\r" in text:
                lines = [line.removesuffix("\r") for line in lines]
                if text.count("\r") > text.count("\r\n"):
                    lone_returns = _checked_carriage_returns(
                        text, lines, name, lines_before, lone_returns
                    )
            yield lines
            lines_before += len(lines)
            bytes_before += len(block)
        if not chunk:
            return


def _decoded(block: bytes, name: str, lines_before: int, bytes_before: int) -> str:
    """The text of whole lines.

    Raises:
        InputError: it is not UTF-8, or has NULs or an encoding of ISO 2022 (names line and byte).
    """
    encoding, doubt = "WINDOWS-1252", ""
    try:
        text = block.decode("utf-8")
        place, problem = block.find(b"\0"), "a NUL"
        if place < 0 and (found := iso_2022(block)) is not None:
            place, encoding = found
            problem = "not UTF-8 but ISO-2022"
        if place < 0:
            return text
    except UnicodeDecodeError as error:
        place = error.start
        problem = f"not UTF-8: 0x{block[place]:02x} ({error.reason})"
        if b"\0" in block:
            encoding = "UTF-16LE"
        if has_control_characters(block):
            doubt = "; but it has control characters, and may be no text"
    wide_encoding = None if bytes_before else utf_16_or_32(block)
    if wide_encoding is not None:
        place, problem = 0, f"{wide_encoding}, not UTF-8,"
        way_out = by_command(f"iconv -f {wide_encoding} -t UTF-8", name) + " makes UTF-8 of it"
    elif problem == "a NUL" and (is_json_lines(name) or kind_by_name(name)):
        # A line end in its place would break a record.
        way_out = by_command("tr -d '\\0'", name) + " leaves out NULs"
    elif problem == "a NUL":
        command = by_command("tr '\\0' '\\n'", name)
        way_out = f"where texts are divided by NULs, {command} makes lines of them"
    else:
        command = by_command(f"iconv -f {encoding} -t UTF-8", name)
        way_out = f"{command} makes UTF-8 of it, if its encoding is {encoding}{doubt}"
    line = lines_before + block.count(LINE_END, 0, place) + 1
    where = f"byte {place - block.rfind(LINE_END, 0, place)}"
    if line > 1:
        where += f" (byte {bytes_before + place + 1} of all)"
    raise InputError(f"{name}, line {line}: {problem} at {where}; {way_out}")


def _checked_carriage_returns(
    text: str, lines: Sequence[str], name: str, lines_before: int, lone_returns: int
) -> int:
    """The number of CRs that end no line, from the beginning of the file to the end of a block.

    Args:
        text: of the block.
        lines: of the text, without their ends.
        name: of the file, for errors.
        lines_before: number of LFs before the block.
        lone_returns: number of such CRs before the block.

    Raises:
        InputError: at the end of a line there were more such CRs than LFs. So the result depends
            neither on the end of the last line nor on the sizes of reads.
    """
    for number, line in enumerate(lines, lines_before + 1):
        lone_returns += line.count("\r")
        is_last = number == lines_before + len(lines)
        if lone_returns > number - (is_last and not text.endswith("\n")):
            command = by_command("tr '\\r' '\\n'", name)
            raise InputError(
                f"{name}, line {number}: its lines end in CR alone (the first at character"
                f" {line.find(chr(13)) + 1}); {command} makes LFs of them"
            )
    return lone_returns
