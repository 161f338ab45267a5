"""Files and folders that appear under their names when they are complete."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def written_file(path: str) -> Iterator[IO[bytes]]:
    """A file to write into that becomes ``path`` when all went well.

    It is written beside its final name, flushed to the disk, and renamed. After an error nothing is
    left of it, and what was there before stays. A symbolic link stays one: what it points to is
    replaced.

    Raises:
        OSError: it cannot be written (names ``path``); any other, if it names a file of its own.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    unfinished = unfinished_name(target)
    try:
        with errors_named(path, instead_of=unfinished):
            with open(unfinished, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, target)
    except BaseException:
        if os.path.exists(unfinished):
            os.unlink(unfinished)
        raise
    _sync_folder(folder)


@contextmanager
def written_folder(path: str, decisive: Sequence[str], others: Sequence[str]) -> Iterator[str]:
    """A folder to write files into that becomes ``path``, or adds to it, when all went well.

    A new folder is written beside its final name and renamed, so that it is there as a whole or
    not at all. In one that exists the files are written into a hidden folder within; then old files
    of these names go, and new ones come, by renaming: the decisive ones go first and come last, so
    that at no moment the folder holds a part of the old and a part of the new that could be taken
    for a whole. Other files stay. Whoever has an old file mapped keeps what it held.

    Args:
        path: the folder; its parents are made.
        decisive: names without which the folder is nothing that can be loaded, in the order in
            which they go and come.
        others: all other names, or paths within, of files that a folder of this kind may hold.

    Raises:
        OSError: it cannot be written (names ``path``); any other, if it names a file of its own.
    """
    target = os.path.realpath(path)
    exists = os.path.isdir(target)
    if os.path.exists(target) and not exists:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    unfinished = unfinished_name(os.path.join(target, "files") if exists else target)
    try:
        with errors_named(path, instead_of=unfinished):
            os.makedirs(unfinished)
            yield unfinished
            for name in os.listdir(unfinished):
                with open(os.path.join(unfinished, name), "rb+") as file:
                    os.fsync(file.fileno())
            if exists:
                _move_files(unfinished, target, decisive, others)
            else:
                _sync_folder(unfinished)
                os.rename(unfinished, target)
    except BaseException:
        import shutil

        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _sync_folder(target if exists else os.path.dirname(target))


def write_file(path: str, content: bytes | memoryview) -> None:
    """Write a new file.

    Raises:
        OSError: it exists, or cannot be written (names it).
    """
    with errors_named(path), open(path, "xb") as file:
        file.write(content)


def _move_files(source: str, target: str, decisive: Sequence[str], others: Sequence[str]) -> None:
    written = set(os.listdir(source))
    for name in (*decisive, *(name for name in others if name not in written)):
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(os.path.join(target, name))
    _sync_folder(target)
    coming = [*(written - {*decisive}), *(name for name in decisive if name in written)]
    for name in coming:
        os.replace(os.path.join(source, name), os.path.join(target, name))
    os.rmdir(source)


def unfinished_name(path: str) -> str:
    """A new hidden name beside ``path``."""
    import secrets

    folder, name = os.path.split(path)
    # Cut, since a name of the greatest length that the system allows cannot be made longer.
    return os.path.join(folder, f".{name[:50]}.{secrets.token_hex(4)}.part")


@contextmanager
def errors_named(path: str, instead_of: str | None = None) -> Iterator[None]:
    """Errors of the system that name no file, or ``instead_of``, name ``path``."""
    try:
        yield
    except OSError as error:
        named = error.filename
        if named is not None and not (instead_of and _is_within(named, instead_of)):
            raise
        raise OSError(error.errno, error.strerror or str(error), path) from error


def _is_within(name: object, path: str) -> bool:
    return isinstance(name, str) and (name == path or name.startswith(path + os.sep))


def _sync_folder(folder: str) -> None:
    """Make a rename survive a power cut, where the system lets a folder be flushed."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
