"""Folders that appear under their names, or change, when all of their files are complete."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from nibblevec._io.errors import errors_named
from nibblevec._io.file_access import pass_on_access_of_files
from nibblevec._io.output_files import real_path, sync_folder, unfinished_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# The lock is held while files are renamed into a folder, which takes milliseconds; a writer that
# has waited LOCK_SECONDS gives up.
LOCK_NAME = ".nibblevec.lock"
LOCK_SECONDS = 60.0
LOCK_PAUSE_SECONDS = 0.01

# New files for a folder that exists wait in a hidden folder within, an unfinished name of this one.
FILES_WITHIN = "files"


@contextmanager
def written_folder(
    path: str, decisive: Sequence[str], others: Callable[[str], Sequence[str]]
) -> Iterator[str]:
    """A folder to write files into that becomes ``path``, or adds to it, when all went well.

    A new folder is written beside its final name and renamed, so that it is there as a whole or
    not at all. In one that exists the files are written into a hidden folder within; then old files
    of these names go, and new ones come, by renaming: the decisive ones go first and come last, so
    that at no moment the folder holds a part of the old and a part of the new that could be taken
    for a whole. Other files stay. A process that has an old file mapped keeps its content.

    Once an old file is removed the new ones are renamed in any case: an error or a signal meanwhile
    is raised afterwards. If renaming fails, they stay in the hidden folder.

    One writer renames at a time: a lock file is held meanwhile, which the system releases if the
    process dies. (A file system without locks is written to without: there two writers must not
    meet.) No link is followed out of the folder: a link under one of the names goes itself. A file
    that is replaced passes on its permissions; one of a new name gets those of the decisive files
    that were there, if there were any.

    Args:
        path: the folder; a link to one stays one. Its parents are made, and go again if it fails.
        decisive: names without which nothing in the folder can be loaded, in the order in which
            they go; they come in the reverse one.
        others: given the folder, all other names, or paths within, of files that a folder of this
            kind may hold. Called while no other writer is at work.

    Raises:
        OSError: it cannot be written (names ``path``, and the hidden folder if the new files stay
            there), or another writer does not end; any other, if it names a file of its own.
    """
    target = real_path(path)
    exists = os.path.isdir(target)
    if os.path.exists(target) and not exists:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    unfinished = unfinished_name(os.path.join(target, FILES_WITHIN) if exists else target)
    exchange = _Exchange(unfinished, target)
    parents = _missing_parents(target)
    try:
        with errors_named(path, instead_of=unfinished):
            os.makedirs(unfinished, mode=0o700 if exists else 0o777)
            yield unfinished
            for name in os.listdir(unfinished):
                with open(os.path.join(unfinished, name), "rb+") as file:
                    os.fsync(file.fileno())
            sync_folder(unfinished)
            if exists or not _renamed(unfinished, target):
                with _only_writer(target):
                    exchange.prepare(decisive, others(target))
                    exchange.run()
                    with suppress(OSError):
                        os.rmdir(unfinished)
    except BaseException:
        if not exchange.is_under_way:
            import shutil

            shutil.rmtree(unfinished, ignore_errors=True)
            with suppress(OSError):  # another one's files are within
                for parent in parents:
                    os.rmdir(parent)
        raise
    sync_folder(target)
    if not exists:
        sync_folder(os.path.dirname(target))


def _missing_parents(path: str) -> list[str]:
    """The folders that must be made before a file or folder can be, the innermost first."""
    missing = []
    parent = os.path.dirname(path)
    while not os.path.lexists(parent) and parent not in missing:  # a drive may be missing too
        missing.append(parent)
        parent = os.path.dirname(parent)
    return missing


def _renamed(unfinished: str, target: str) -> bool:
    """Rename a new folder, unless another writer was faster."""
    try:
        os.rename(unfinished, target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


class _Exchange:
    """The files of one folder take the place of those of another: all of them, or none.

    Attributes:
        is_under_way: an old file is gone, and a new one has not come.
    """

    def __init__(self, source: str, target: str) -> None:
        self.is_under_way = False
        self._source = source
        self._target = target
        # The steps that are left: one that may or may not be done can be done again.
        self._going: deque[str] = deque()
        self._coming: deque[str] = deque()
        self._written: list[str] = []

    def prepare(self, decisive: Sequence[str], others: Sequence[str]) -> None:
        """Do all steps that can fail, before anything changes.

        Raises:
            OSError: a folder has one of the names.
        """
        self._written = os.listdir(self._source)
        names = {*self._written, *decisive, *others}
        for path in (_place_within(self._target, name) for name in sorted(names)):
            if os.path.isdir(path) and not os.path.islink(path):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        pass_on_access_of_files(self._source, self._target, decisive)
        going = (*decisive, *(name for name in others if name not in self._written))
        self._going.extend(
            path
            for path in (_place_within(self._target, name) for name in going)
            if os.path.lexists(path)
        )
        self._coming.extend(name for name in self._written if name not in decisive)
        self._coming.extend(name for name in reversed(decisive) if name in self._written)

    def run(self) -> None:
        """Remove the old files and let the new ones come.

        Raises:
            OSError: it failed before an old file was gone; or it failed, and failed again (says
                where the new files are, and names no file).
            BaseException: an error or a signal that came meanwhile, after all was done.
        """
        old = [*self._going]
        try:
            self.is_under_way = True
            self._go_on()
        except BaseException:
            new = [os.path.join(self._source, name) for name in self._written]
            if all(os.path.lexists(path) for path in (*old, *new)):  # nothing was done
                self.is_under_way = False
                raise
            try:
                self._go_on()
            except BaseException as error:
                self._tell(error)
                raise
            raise

    def _go_on(self) -> None:
        while self._going:
            with suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(self._going[0])
            self._going.popleft()
        while self._coming:
            path = os.path.join(self._source, self._coming[0])
            if os.path.lexists(path):
                os.replace(path, os.path.join(self._target, self._coming[0]))
            self._coming.popleft()
        self.is_under_way = False

    def _tell(self, error: BaseException) -> None:
        """Say in an error where the new files are: together again, if they can be."""
        import shutil

        if not self.is_under_way:
            return
        for name in self._written:
            path = os.path.join(self._source, name)
            if not os.path.lexists(path):
                with suppress(OSError):
                    shutil.move(os.path.join(self._target, name), path)
        is_whole = sorted(os.listdir(self._source)) == sorted(self._written)
        places = self._source if is_whole else f"{self._source} and {self._target}"
        words = f"the save did not end: the new files are in {places}"
        if isinstance(error, OSError):
            problem = f"{error.strerror or error}; {words}"
            raise OSError(error.errno, problem) from error
        error.args = (*error.args, words)


def _place_within(folder: str, name: str) -> str:
    """The place of a file within a folder; if a link leads out to it, the link."""
    path = os.path.join(folder, name)
    place = folder
    for part in os.path.dirname(name).split(os.sep):
        place = os.path.join(place, part)
        if os.path.islink(place) and os.path.lexists(path):
            return place
    return path


@contextmanager
def _only_writer(folder: str) -> Iterator[None]:
    """Wait until no other process or thread renames files into a folder.

    Raises:
        OSError: another one does not end.
    """
    path = os.path.join(folder, LOCK_NAME)
    limit = time.monotonic() + LOCK_SECONDS
    while True:
        with suppress(FileNotFoundError):  # removed just now
            descriptor = _open_lock(path)
            try:
                # Its last holder may have removed it: then a third one may hold a new file.
                if _lock(descriptor) and _is_still(descriptor, path):
                    break
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        if time.monotonic() > limit:
            raise OSError(errno.EBUSY, "Another process is saving into it", folder)
        time.sleep(LOCK_PAUSE_SECONDS)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file: there it stays
            os.unlink(path)
        _unlock(descriptor)
        os.close(descriptor)


def _open_lock(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        return os.open(path, flags, 0o666)
    except PermissionError:  # another user's, who was killed; reading is enough for most systems
        return os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))


def _lock(descriptor: int) -> bool:
    """Take a lock that ends with the process; False if it is taken."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Others mean that this file system has no locks.
        return error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
    return True


def _unlock(descriptor: int) -> None:
    """Release it now, though a process that was forked meanwhile has the file open too."""
    if os.name != "nt":
        import fcntl

        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_still(descriptor: int, path: str) -> bool:
    """Whether a name still means an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
