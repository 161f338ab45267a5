"""Files of texts in, files of vectors out."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, ClassVar, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from nibblevec.output_files import errors_named, written_file
from nibblevec.texts import surrogate_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

STANDARD_STREAM = "-"
JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")

# Files whose lines are no texts, or which have none.
OTHER_SUFFIXES = (
    *(".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather", ".xlsx", ".pdf"),
    *(".gz", ".bz2", ".xz", ".zst", ".zip"),
)

# What `numpy.save` reserves for the header of an array of two dimensions, whatever its length.
NPY_HEADER_BYTES = 128


class InputError(ValueError):
    """A line of an input does not hold a text; the message names file and line."""


def read_texts(paths: Sequence[str], column: str) -> Iterator[str]:
    """The texts of files, one after another.

    Args:
        paths: ``.jsonl`` or ``.ndjson`` files hold a JSON object a line (blank lines are passed
            over), any other file, and ``"-"`` for stdin, a text a line (a blank line is an empty
            text). UTF-8, with or without a byte order mark; lines end in LF or CRLF.
        column: key of the text in a JSON object.

    Raises:
        OSError: a file cannot be read (names it).
        InputError: a line is not UTF-8, not JSON, has no text or one with a surrogate.
    """
    for path in paths:
        lines = read_lines(path)
        if path.lower().endswith(JSON_LINES_SUFFIXES):
            for number, record in json_objects(lines, path):
                yield text_under(column, record, path, number)
        else:
            yield from lines


def read_lines(path: str) -> Iterator[str]:
    """Lines of a file, or of stdin for ``"-"``, without their ends.

    Raises:
        OSError: it cannot be read (names it).
        InputError: a line is not UTF-8.
    """
    if path == STANDARD_STREAM:
        with errors_named("stdin"):
            yield from _lines(_opened(sys.stdin).buffer, "stdin")
    else:
        with errors_named(path), open(path, "rb") as file:
            yield from _lines(file, path)


def _lines(file: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        content = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{name}, line {number}: not UTF-8: {error}") from None
        yield text.removeprefix("\ufeff") if number == 1 else text


def json_objects(lines: Iterable[str], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of JSON lines, each with the number of its line; blank lines are passed over.

    Raises:
        InputError: a line is not JSON, or not an object.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{name}, line {number}: not JSON: {error}") from None
        if not isinstance(record, dict):
            raise InputError(f"{name}, line {number}: not a JSON object")
        yield number, record


def text_under(key: str, record: dict[str, Any], name: str, number: int) -> str:
    """The text that an object of JSON lines has under a key.

    Raises:
        InputError: it has none, or one with a surrogate.
    """
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
            line = f'{{"text": {json.dumps(text, ensure_ascii=False)}, "embedding": {numbers}}}\n'
            self._file.write(line.encode())

    def finish(self) -> None:
        """Nothing is left to write."""


WRITERS: dict[str, Any] = {".npy": NpyWriter, **dict.fromkeys(JSON_LINES_SUFFIXES, JsonLinesWriter)}


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
