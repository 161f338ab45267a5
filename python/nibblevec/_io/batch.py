"""Files of texts in, files of vectors out."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
from contextlib import contextmanager
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from nibblevec._io import file_kinds
from nibblevec._io.errors import errors_named
from nibblevec._io.file_kinds import (
    JSON_DOCUMENT,
    MISNAMED_JSON_LINES,
    TEXT_TABLE,
    Kind,
    is_json_lines,
)
from nibblevec._io.output_files import written_file
from nibblevec._texts import surrogate_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

STANDARD_STREAM = "-"
DEFAULT_COLUMN = "text"
LINE_END = b"\n"

# So much is asked for at a time; a pipe gives what it has.
READ_BYTES = 1 << 18

# What `numpy.save` reserves for the header of an array of two dimensions, whatever its length.
NPY_HEADER_BYTES = 128

# What is read, in words.
LINES = "files with a text a line and JSON lines"
COLUMNS = "columns divided by tabs or commas and JSON lines"

# These announce characters of two bytes, all of them ASCII, in the encodings that iconv calls so.
_ISO_2022 = {
    **dict.fromkeys((b"\x1b$@", b"\x1b$B"), "ISO-2022-JP"),
    **dict.fromkeys((b"\x1b$A", b"\x1b$(C", b"\x1b$(D"), "ISO-2022-JP-2"),
    **dict.fromkeys((b"\x1b$(O", b"\x1b$(P", b"\x1b$(Q"), "ISO-2022-JP-3"),
    b"\x1b$)C": "ISO-2022-KR",
    **dict.fromkeys((b"\x1b$)A", b"\x1b$)G", b"\x1b$*H"), "ISO-2022-CN"),
    b"\x1b$)E": "ISO-2022-CN-EXT",
}


class InputError(ValueError):
    """A line of an input does not hold a text; the message names file and line."""


class InputKindError(InputError):
    """An input is of a kind that is not read; the message names it, its kind and the way out."""


def check_input(path: str, *, column: str | None = None, may_be_table: bool = False) -> None:
    """Refuse a file whose name or beginning shows that it is no text file, before any work.

    What is no regular file can be looked into only when it is read, and is refused then.

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
    head = b""
    if os.path.isfile(path):
        with errors_named(path), open(path, "rb", buffering=0) as file:
            head = file.read(READ_BYTES)
    kind = file_kinds.kind_by_name(path)
    if kind is JSON_DOCUMENT and _begins_with_object(head):
        _refuse(path, MISNAMED_JSON_LINES, "", readable)
    if kind is not None and not (may_be_table and kind is TEXT_TABLE):
        rename = ""
        if file_kinds.kind_by_content(head[: file_kinds.HEAD_BYTES]) is None:
            held = "columns" if may_be_table else "a text a line"
            rename = f"; if it does hold {held}, give it a name that ends in .txt"
        _refuse(path, kind, "." + path.rpartition(".")[2], readable, rename)
    _check_head(head, path, readable)
    if column is not None and not is_json_lines(path):
        _check_no_json(head, path)


def read_texts(paths: Sequence[str], column: str | None = None) -> Iterator[list[str]]:
    """The texts of files, one after another; in each list those that came with one read.

    Who writes into a pipe and waits may get an answer to each list.

    Args:
        paths: files named as JSON lines (``.jsonl``, ``.ndjson`` ...) hold a JSON object a line
            (blank lines are passed over), any other file, and ``"-"`` for stdin, a text a line (a
            blank line is an empty text). UTF-8, with or without a byte order mark; lines end in LF
            or CRLF.
        column: key of the text in a JSON object, None for `DEFAULT_COLUMN`. Where one is given, a
            file of texts must not begin with an object of JSON.

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
            first = 1
            for lines in _read_blocks(path):
                records = json_objects(lines, path, first)
                yield [text_under(key, record, path, number) for number, record in records]
                first += len(lines)
        else:
            yield from _read_blocks(path, no_json=column is not None)


def read_lines(path: str) -> Iterator[str]:
    """Lines of a file, or of stdin for ``"-"``, without their ends.

    Raises:
        OSError: it cannot be read (names it).
        InputKindError: it is no text file.
        InputError: a line is not UTF-8, or lines end in CR alone.
    """
    return chain.from_iterable(_read_blocks(path))


def _read_blocks(path: str, *, no_json: bool = False) -> Iterator[list[str]]:
    if path == STANDARD_STREAM:
        with errors_named("stdin"):
            stdin: Any = _opened(sys.stdin).buffer
            yield from _line_blocks(stdin.read1, "stdin", _descriptor(stdin), no_json=no_json)
    else:
        with errors_named(path), open(path, "rb", buffering=0) as file:
            yield from _line_blocks(file.read, path, None, no_json=no_json)


def _line_blocks(
    read: Callable[[int], bytes], name: str, descriptor: int | None, *, no_json: bool
) -> Iterator[list[str]]:
    """Lines without their ends; in each list those that one read made complete.

    Args:
        read: gives at most so many bytes, and waits only for the first.
        name: of the file, for errors.
        descriptor: what ``read`` reads from, if it may be one that does not wait.
        no_json: the first line must not be an object of JSON.
    """
    lines_before = bytes_before = alone = 0
    pieces: list[bytes] = []  # of what no line end was seen of; joined once
    is_head = is_first = True
    while True:
        _wait(descriptor)
        chunk = read(READ_BYTES)
        end = chunk.rfind(LINE_END) + 1
        pieces.append(chunk[:end] if end else chunk)
        if is_head and (not chunk or end or sum(map(len, pieces)) >= file_kinds.HEAD_BYTES):
            is_head = False
            _check_head(b"".join([*pieces, chunk[end:] if end else b""]), name, LINES)
        if chunk and not end:
            continue
        block = b"".join(pieces)
        pieces = [chunk[end:]]
        if is_first and no_json:
            _check_no_json(block, name)
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
                    alone = _checked_carriage_returns(text, lines, name, lines_before, alone)
            yield lines
            lines_before += len(lines)
            bytes_before += len(block)
        if not chunk:
            return


def _descriptor(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None


def _wait(descriptor: int | None) -> None:
    """Wait until there is something to read, where reading does not.

    A pipe that another process which has it too made non-blocking would look as if it had ended.
    """
    if descriptor is not None and os.name == "posix" and not os.get_blocking(descriptor):
        import select

        select.select([descriptor], [], [])


def _refuse(name: str, kind: Kind, sign: str, readable: str, rename: str = "") -> NoReturn:
    path = None if name == "stdin" else name
    what = kind.words + (f" ({sign})" if sign else "")
    raise InputKindError(
        f"{name}: only {readable} are read; this is {what}:"
        f" {file_kinds.way_out(kind, path)}{rename}"
    )


def _check_head(head: bytes, name: str, readable: str) -> None:
    found = file_kinds.kind_by_content(head[: file_kinds.HEAD_BYTES])
    if found is not None:
        form, kind = found
        _refuse(name, kind, form, readable)


def _check_no_json(beginning: bytes, name: str) -> None:
    """Refuse lines whose first one is an object of JSON, where a column was asked for."""
    if not _begins_with_object(beginning):
        return
    what = "stdin is" if name == "stdin" else f"{name}: a file of this name is"
    raise InputKindError(
        f"{what} read as a text a line, but its first line is a JSON object, and --column is given:"
        " give JSON lines as a file whose name ends in .jsonl"
    )


def _begins_with_object(beginning: bytes) -> bool:
    """Whether the first line that is not blank is a whole object of JSON."""
    line = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().partition(LINE_END)[0]
    if not line.startswith(b"{"):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _decoded(block: bytes, name: str, lines_before: int, bytes_before: int) -> str:
    """The text of whole lines.

    Raises:
        InputError: it is not UTF-8, or holds what no text in UTF-8 does (names line and byte).
    """
    known, doubt = "WINDOWS-1252", ""
    try:
        text = block.decode("utf-8")
        at, problem = block.find(b"\0"), "a NUL"
        if at < 0 and b"\x1b$" in block:
            places = {block.find(sequence): encoding for sequence, encoding in _ISO_2022.items()}
            places.pop(-1, None)
            at = min(places, default=-1)
            if at >= 0:
                known, problem = places[at], "not UTF-8 but ISO-2022"
        if at < 0:
            return text
    except UnicodeDecodeError as error:
        at, problem = error.start, f"not UTF-8: 0x{block[error.start]:02x} ({error.reason})"
        if b"\0" in block:
            known = "UTF-16LE"
        if file_kinds.has_control_characters(block):
            doubt = "; but it has control characters, and may be no text"
    encoding = None if bytes_before else file_kinds.foreign_encoding(block)
    if encoding is not None:
        at, problem = 0, f"{encoding}, not UTF-8,"
        way_out = _by_command(f"iconv -f {encoding} -t UTF-8", name) + " makes UTF-8 of it"
    elif problem == "a NUL" and (is_json_lines(name) or file_kinds.kind_by_name(name)):
        # A line end in its place would break a record.
        command = _by_command("tr -d '\\0'", name)
        way_out = f"{command} leaves out NULs"
    elif problem == "a NUL":
        command = _by_command("tr '\\0' '\\n'", name)
        way_out = f"where texts are divided by NULs, {command} makes lines of them"
    else:
        command = _by_command(f"iconv -f {known} -t UTF-8", name)
        way_out = f"{command} makes UTF-8 of it, if its encoding is {known}{doubt}"
    line = lines_before + block.count(LINE_END, 0, at) + 1
    place = f"byte {at - block.rfind(LINE_END, 0, at)}"
    if line > 1:
        place += f" (byte {bytes_before + at + 1} of all)"
    raise InputError(f"{name}, line {line}: {problem} at {place}; {way_out}")


def _checked_carriage_returns(
    text: str, lines: Sequence[str], name: str, lines_before: int, alone: int
) -> int:
    """How many CRs there are so far, ``alone`` of them before these lines, that end no line.

    Args:
        text: what the lines were made of.
        lines: without their ends.
        name: of the file, for errors.
        lines_before: how many LFs went before.
        alone: how many such CRs went before.

    Raises:
        InputError: where a line ends, there were more such CRs than LFs; so it does not matter
            what ends the last one, nor how much was read at a time.
    """
    for number, line in enumerate(lines, lines_before + 1):
        alone += line.count("\r")
        is_last = number == lines_before + len(lines)
        if alone > number - (is_last and not text.endswith("\n")):
            command = _by_command("tr '\\r' '\\n'", name)
            raise InputError(
                f"{name}, line {number}: its lines end in CR alone (the first at character"
                f" {line.find(chr(13)) + 1}); {command} makes LFs of them"
            )
    return alone


def _by_command(command: str, name: str) -> str:
    """What makes a readable file of a file, or of stdin, by a command that reads stdin."""
    if name == "stdin":
        return f"{command}, put before it,"
    import shlex

    return f"{command} < {shlex.quote(name)} > {shlex.quote(file_kinds.beside(name))}"


class _Repeating(dict[str, Any]):
    """An object of JSON that has a key more than once, and which these are."""

    repeated: set[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) == len(pairs):
        return record
    repeating = _Repeating(record)
    once = set(record)
    repeating.repeated = set()
    for key, _ in pairs:
        if key not in once:
            repeating.repeated.add(key)
        once.discard(key)
    return repeating


_read_json = json.JSONDecoder(object_pairs_hook=_object).decode


def json_objects(
    lines: Iterable[str], name: str, first: int = 1
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of JSON lines, each with the number of its line; blank lines are passed over.

    Args:
        lines: of a file.
        name: the file, for errors.
        first: number of the first of the lines.

    Raises:
        InputError: a line is not JSON, or not an object.
    """
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        try:
            record = _read_json(line)
        except (ValueError, RecursionError) as error:
            hint = ""
            beginning = line.strip()
            if number == 1 and (beginning == "{" or beginning.startswith("[")):
                hint = f"; if it is one JSON document, {_as_lines(beginning[0], name)}"
            problem = _problem_of_json(error) + hint
            raise InputError(f"{name}, line {number}: not JSON: {problem}") from None
        if not isinstance(record, dict):
            raise InputError(f"{name}, line {number}: not a JSON object{_other_json(record, name)}")
        yield number, record


def _problem_of_json(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return str(error)
    # Python's own words are about Python's limits.
    return "too deep" if isinstance(error, RecursionError) else "an integer of too many digits"


def _other_json(record: object, name: str) -> str:
    if isinstance(record, str):
        command = _by_command("jq -c '{text: .}'", name)
        return f" but a string; {command} makes objects of such lines"
    if isinstance(record, list):
        return f" but an array; {_as_lines('[', name)}"
    return f" but {json.dumps(record):.40}"


def _as_lines(bracket: str, name: str) -> str:
    command = "jq -c '.[]'" if bracket == "[" else "jq -c ."
    return f"{_by_command(command, name)} makes a line of each object"


def text_under(key: str, record: dict[str, Any], name: str, number: int) -> str:
    """The text that an object of JSON lines has under a key.

    Raises:
        InputError: it has none, several, or one with a surrogate.
    """
    if isinstance(record, _Repeating) and key in record.repeated:
        raise InputError(f"{name}, line {number}: {key!r} is there more than once")
    text = record.get(key)
    if not isinstance(text, str):
        keys = ", ".join(map(repr, record)) or "nothing"
        found = f"it has {keys}" if key not in record else "not text"
        raise InputError(f"{name}, line {number}: no text under {key!r} ({found:.200})")
    if (surrogate := surrogate_in(text)) is not None:
        raise InputError(f"{name}, line {number}: {surrogate} of the text")
    return text


def _opened(stream: TextIO | None) -> TextIO:
    """A standard stream; Python has None where it was closed before the process began."""
    if stream is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return stream


class VectorWriter(Protocol):
    """Takes blocks of vectors in order, with the texts that they are of."""

    def write(self, texts: Sequence[str], vectors: NDArray[Any]) -> None:
        """Append [texts, columns] numbers of the writer's type."""

    def finish(self) -> None:
        """Write what can only be written when all is known."""


class NpyWriter:
    """A NumPy file, [rows, columns] of ``dtype``, little-endian; ``file`` must be seekable."""

    def __init__(self, file: IO[bytes], columns: int, dtype: np.dtype[Any]) -> None:
        self._file = file
        self._columns = columns
        self._dtype = dtype.newbyteorder("<")
        self._rows = 0
        self._file.write(self._header())

    def write(self, texts: Sequence[str], vectors: NDArray[Any]) -> None:
        """Append [texts, columns] numbers of the writer's type."""
        self._rows += len(texts)
        self._file.write(np.ascontiguousarray(vectors, self._dtype).data)

    def finish(self) -> None:
        """Write the number of rows into the header."""
        self._file.seek(0)
        self._file.write(self._header())

    def _header(self) -> bytes:
        buffer = io.BytesIO()
        shape = (self._rows, self._columns)
        np.lib.format.write_array_header_1_0(
            buffer, {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        )
        header = buffer.getvalue()
        if len(header) != NPY_HEADER_BYTES:
            raise RuntimeError(
                f"a header of {len(header)} bytes where {NPY_HEADER_BYTES} were kept"
            )
        return header


_NOT_READABLE = re.compile("[\x7f-\x9f\u2028\u2029]")


def readable_json(value: object, **options: Any) -> str:
    """JSON in readable characters: those that control a terminal or end a line are escaped.

    JSON itself asks that only of the control characters before the blank.
    """
    text = json.dumps(value, ensure_ascii=False, **options)
    return _NOT_READABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class JsonLinesWriter:
    """An object a line: ``{"text": ..., "embedding": [...]}``.

    Nine significant digits are enough to read every float32 back as it was, and five a float16.
    """

    NUMBERS: ClassVar = {"float32": "%.9g", "float16": "%.5g"}

    def __init__(self, file: IO[bytes], columns: int, dtype: np.dtype[Any]) -> None:
        self._file = file
        self._numbers = "[" + ", ".join([self.NUMBERS.get(dtype.name, "%d")] * columns) + "]"
        self._rows = 0

    def write(self, texts: Sequence[str], vectors: NDArray[Any]) -> None:
        """Append a line for each text.

        Raises:
            ValueError: a number is not finite; JSON has no word for it.
        """
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            row = self._rows + int(np.argmin(finite))
            raise ValueError(f"the vector of row {row} is not finite and cannot be written as JSON")
        self._rows += len(texts)
        for text, vector in zip(texts, vectors.tolist(), strict=True):
            numbers = self._numbers % tuple(vector)
            line = f'{{"text": {readable_json(text)}, "embedding": {numbers}}}\n'
            self._file.write(line.encode())
        self._file.flush()  # to whom waits for them

    def finish(self) -> None:
        """Nothing is left to write."""


WRITERS: dict[str, Any] = {".npy": NpyWriter, ".jsonl": JsonLinesWriter, ".ndjson": JsonLinesWriter}


@contextmanager
def vector_writer(path: str, columns: int, dtype: np.dtype[Any]) -> Iterator[VectorWriter]:
    """A writer for ``path``, by its suffix, or JSON lines on stdout for ``"-"``.

    A vector has so many ``columns`` of ``dtype`` (a float or an integer).

    A file appears when all went well, see `written_file`.

    Raises:
        ValueError: the suffix is not one of `WRITERS`.
        OSError: it cannot be written (names ``path``, if that is a file); any other, if it names a
            file of its own.
    """
    if path == STANDARD_STREAM:
        with errors_named("stdout"):
            stdout = _opened(sys.stdout)
        yield JsonLinesWriter(stdout.buffer, columns, dtype)
        stdout.buffer.flush()
        return
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in WRITERS:
        raise ValueError(f"{path}: its name must end in {', '.join(WRITERS)}")
    with written_file(path) as file:
        file_writer: VectorWriter = WRITERS[suffix](file, columns, dtype)
        yield file_writer
        file_writer.finish()
