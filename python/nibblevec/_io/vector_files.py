"""Files of vectors: NumPy arrays and JSON lines, the latter on stdout too."""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np

from nibblevec._io.errors import errors_named
from nibblevec._io.json_lines import readable_json
from nibblevec._io.output_files import written_file
from nibblevec._io.standard_streams import STANDARD_STREAM, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

# The bytes that `numpy.save` reserves for the header of an array of two dimensions of any length.
NPY_HEADER_BYTES = 128


class NpyWriter:
    """A NumPy file, [texts, width] of ``dtype``, little-endian; ``file`` must be seekable."""

    def __init__(self, file: IO[bytes], width: int, dtype: np.dtype[Any]) -> None:
        self._file = file
        self._width = width
        self._dtype = dtype.newbyteorder("<")
        self._count = 0
        self._file.write(self._header())

    def write(self, texts: Sequence[str], vectors: NDArray[Any]) -> None:
        """Append the vectors of texts, [texts, width] of the writer's dtype."""
        self._count += len(texts)
        self._file.write(np.ascontiguousarray(vectors, self._dtype).data)

    def finish(self) -> None:
        """Write the number of vectors into the header."""
        self._file.seek(0)
        self._file.write(self._header())

    def _header(self) -> bytes:
        buffer = io.BytesIO()
        shape = (self._count, self._width)
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

    VALUE_FORMATS: ClassVar = {"float32": "%.9g", "float16": "%.5g"}

    def __init__(self, file: IO[bytes], width: int, dtype: np.dtype[Any]) -> None:
        self._file = file
        value_format = self.VALUE_FORMATS.get(dtype.name, "%d")
        self._vector_format = "[" + ", ".join([value_format] * width) + "]"
        self._count = 0

    def write(self, texts: Sequence[str], vectors: NDArray[Any]) -> None:
        """Append a line for each text.

        Raises:
            ValueError: a value is not finite, which JSON cannot hold.
        """
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            number = self._count + int(np.argmin(finite))
            problem = f"the vector of row {number} is not finite and cannot be written as JSON"
            raise ValueError(problem)
        self._count += len(texts)
        for text, vector in zip(texts, vectors.tolist(), strict=True):
            values = self._vector_format % tuple(vector)
            line = f'{{"text": {readable_json(text)}, "embedding": {values}}}\n'
            self._file.write(line.encode())
        self._file.flush()  # a program may wait for the lines

    def finish(self) -> None:
        """Nothing is left to write."""


VectorWriter = NpyWriter | JsonLinesWriter

WRITERS: dict[str, type[VectorWriter]] = {
    ".npy": NpyWriter,
    ".jsonl": JsonLinesWriter,
    ".ndjson": JsonLinesWriter,
}


def writer_for(path: str) -> type[VectorWriter]:
    """The writer of an output, by the suffix of its name; ``"-"`` gets JSON lines.

    Raises:
        ValueError: the suffix is not one of `WRITERS`.
    """
    if path == STANDARD_STREAM:
        return JsonLinesWriter
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in WRITERS:
        raise ValueError(f"{path} must end in {', '.join(WRITERS)}, or be {STANDARD_STREAM}")
    return WRITERS[suffix]


@contextmanager
def vector_writer(
    path: str, writer: type[VectorWriter], width: int, dtype: np.dtype[Any]
) -> Iterator[VectorWriter]:
    """Open a writer of vectors.

    A file appears when all went well, see `written_file`.

    Args:
        path: the file, or ``"-"`` for stdout.
        writer: `writer_for` this path.
        width: values of a vector.
        dtype: their type, a float or an integer.

    Raises:
        OSError: it cannot be written (names ``path``, if that is a file); any other, if it names a
            file of its own.
    """
    if path == STANDARD_STREAM:
        with errors_named("stdout"):
            stdout = opened(sys.stdout)
        yield writer(stdout.buffer, width, dtype)
        stdout.buffer.flush()
        return
    with written_file(path) as file:
        file_writer = writer(file, width, dtype)
        yield file_writer
        file_writer.finish()
