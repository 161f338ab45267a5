"""Files of a model: only regular ones are read, and an error names file and field."""

from __future__ import annotations

import errno
import io
import mmap as mmap_module
import os
import stat
from typing import TYPE_CHECKING

import numpy as np

from nibblevec._printing import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray


# Greatest size of a tokenizer.json: four times the 33 MB of the largest published ones, which have
# 262,144 pieces with their merges.
MAX_TOKENIZER_BYTES = 1 << 27


class ModelFormatError(ValueError):
    """A file of a model breaks a rule of its format.

    Attributes:
        path: the file.
        field: what in it is wrong.
        problem: what was expected and found.
    """

    def __init__(self, path: str, field: str, problem: str) -> None:
        # The file itself may name the field: take its beginning, and make it printable.
        field = printable(f"{field:.80}")
        problem = printable(problem)
        super().__init__(path, field, problem)
        self.path = path
        self.field = field
        self.problem = problem

    def add(self, words: str) -> None:
        """Add words to the problem."""
        self.problem = f"{self.problem}; {printable(words)}"
        self.args = (self.path, self.field, self.problem)

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.field}: {self.problem}"


class ModelFile:
    """A regular file, open as long as something refers to it; pieces of it are read or mapped.

    Its bytes are those of the file that was opened, even if another file takes its name later.

    Attributes:
        path: of the file.
        size: in bytes, when it was opened.
        mmap: whether `piece` maps into memory, or reads.
    """

    def __init__(self, path: str, *, mmap: bool = False) -> None:
        """Open a file.

        Raises:
            OSError: missing, unreadable, a directory, a FIFO or a device.
        """
        self.path = path
        self.mmap = mmap
        descriptor = _open_regular(path)
        self._file = io.FileIO(descriptor)
        self.size = os.fstat(descriptor).st_size

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def read(self, begin: int, end: int, field: str) -> NDArray[np.uint8]:
        """Bytes of the file, in memory of their own.

        Raises:
            OSError: they cannot be read.
            ModelFormatError: the file was cut since it was opened (``field`` is named).
        """
        content = np.empty(end - begin, np.uint8)
        self._file.seek(begin)
        filled = 0
        while filled < content.size:
            count = self._file.readinto(content[filled:].data)
            if not count:
                raise self._cut(begin, end, field)
            filled += count
        content.flags.writeable = False
        return content

    def piece(self, begin: int, end: int, field: str) -> NDArray[np.uint8]:
        """Read-only bytes of the file, mapped into memory if that was asked for, else read.

        Raises:
            OSError: they cannot be read.
            ModelFormatError: the file was cut since it was opened (``field`` is named).
        """
        if not self.mmap or begin == end:  # nothing cannot be mapped
            return self.read(begin, end, field)
        lead = begin % mmap_module.ALLOCATIONGRANULARITY
        try:
            mapped = mmap_module.mmap(
                self._file.fileno(),
                end - begin + lead,
                access=mmap_module.ACCESS_READ,
                offset=begin - lead,
            )
        except ValueError:  # beyond the end
            raise self._cut(begin, end, field) from None
        return np.frombuffer(mapped, np.uint8)[lead:]

    def _cut(self, begin: int, end: int, field: str) -> ModelFormatError:
        problem = f"the file was cut while it was read: bytes {begin} to {end} are not there"
        return ModelFormatError(self.path, field, problem)


def read_file(path: str, field: str, max_bytes: int) -> bytes:
    """The content of a regular file of at most ``max_bytes`` bytes.

    Raises:
        OSError: missing, unreadable, a directory, a FIFO or a device.
        ModelFormatError: it has more (``path`` and ``field`` are named); nothing was read then, or
            one byte too many of a file that grew.
    """
    with os.fdopen(_open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > max_bytes else file.read(size + 1)
        if len(content) > size:  # it grew, or does not say its size
            content += file.read(max_bytes + 1 - len(content))
    size = max(size, len(content))
    if size > max_bytes:
        raise ModelFormatError(path, field, f"{size} bytes, expected at most {max_bytes}")
    return content


def read_beginning(path: str, count: int) -> bytes:
    """The first ``count`` bytes of a regular file, or all if it has fewer.

    Raises:
        OSError: missing, unreadable, a directory, a FIFO or a device.
    """
    with os.fdopen(_open_regular(path), "rb", buffering=0) as file:
        return file.read(count)


def map_file(path: str, *, mmap: bool = True) -> NDArray[np.uint8]:
    """The content of a regular file as read-only bytes, mapped into memory if ``mmap``.

    Raises:
        OSError: missing, unreadable, a directory, a FIFO or a device.
        ModelFormatError: it was cut while it was read.
    """
    file = ModelFile(path, mmap=mmap)
    return file.piece(0, file.size, "content")


def check_regular_file(path: str) -> None:
    """Refuse early a file that is read later, if it is missing or not regular.

    Raises:
        OSError: missing, a directory, a FIFO or a device.
    """
    _check_regular(os.stat(path), path)


def _open_regular(path: str) -> int:
    # Looked at before it is opened, since opening a FIFO waits and opening a device may act; and
    # again after, since the name may have come to mean another file.
    check_regular_file(path)
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    descriptor = os.open(path, flags)
    try:
        _check_regular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(status: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", path)
