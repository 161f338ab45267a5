"""Files that appear under their names when they are complete."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from nibblevec._io.errors import errors_named
from nibblevec._io.file_access import open_private, pass_on_access, regular_file

if TYPE_CHECKING:
    from collections.abc import Iterator

# Ends the name of a file or folder that is not complete.
UNFINISHED_SUFFIX = ".part"


@contextmanager
def written_file(path: str) -> Iterator[IO[bytes]]:
    """A file to write into that becomes ``path`` when all went well.

    It is written beside its final name, flushed to the disk, and renamed. An error removes it, and
    an old file stays. A symbolic link stays one: the file that it points to is replaced. A file
    that is replaced passes on its permissions, and the unfinished file is readable by nobody else;
    a new one has the usual permissions.

    Raises:
        OSError: it cannot be written (names ``path``); errors of other files keep their names.
    """
    target = real_path(path)
    folder = os.path.dirname(target)
    unfinished = unfinished_name(target)
    try:
        with errors_named(path, instead_of=unfinished):
            replaced = regular_file(target)
            with open(unfinished, "xb", opener=None if replaced is None else open_private) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            replaced = regular_file(target) or replaced
            if replaced is not None:
                pass_on_access(target, replaced, unfinished)
            os.replace(unfinished, target)
    except BaseException:
        if os.path.exists(unfinished):
            os.unlink(unfinished)
        raise
    sync_folder(folder)


def write_file(path: str, content: bytes | memoryview) -> None:
    """Write a new file.

    Raises:
        OSError: it exists, or cannot be written (names it).
    """
    with errors_named(path), open(path, "xb") as file:
        file.write(content)


def real_path(path: str) -> str:
    """The path at the end of all links.

    Raises:
        OSError: the links have no end.
    """
    target = os.path.realpath(path)
    if os.path.islink(target):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    return target


def unfinished_name(path: str) -> str:
    """A new hidden name beside ``path``."""
    import secrets

    folder, name = os.path.split(path)
    # Cut, since a name of the greatest length that the system allows cannot be made longer.
    return os.path.join(folder, f".{name[:50]}.{secrets.token_hex(4)}{UNFINISHED_SUFFIX}")


def is_unfinished(name: str, of: str = "") -> bool:
    """Whether `unfinished_name` makes such a name, of the name ``of`` if that is given."""
    return name.startswith(f".{of}." if of else ".") and name.endswith(UNFINISHED_SUFFIX)


def sync_folder(folder: str) -> None:
    """Make a rename survive a power cut, where the system lets a folder be flushed."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
