"""The access that a new file takes over from the file that it replaces."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# The attribute of a file, on Linux, that restricts its readers besides its permissions.
ACL_ATTRIBUTE = "system.posix_acl_access"


def regular_file(path: str) -> os.stat_result | None:
    """The status of a file that may be replaced; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def open_private(path: str, flags: int) -> int:
    """An opener for `open`, of a new file that only its owner may read."""
    return os.open(path, flags, 0o600)


def pass_on_access(replaced: str, status: os.stat_result, path: str) -> None:
    """Give a file the permissions of another, and its group and owner where that is allowed."""
    if os.name != "posix":
        return
    permissions = stat.S_IMODE(status.st_mode) & 0o777
    if os.stat(path).st_gid != status.st_gid:
        with suppress(OSError):
            os.chown(path, -1, status.st_gid)
    keeps_group = os.stat(path).st_gid == status.st_gid
    if not keeps_group:  # the permissions of its group are not for ours
        permissions = permissions & ~0o070 | (permissions & 0o007) << 3
    has_attributes = hasattr(os, "getxattr")
    if has_attributes:
        with suppress(OSError):  # that the folder gives each new file
            os.removexattr(path, ACL_ATTRIBUTE)
    os.chmod(path, permissions)
    if keeps_group and has_attributes:
        with suppress(OSError):
            os.setxattr(path, ACL_ATTRIBUTE, os.getxattr(replaced, ACL_ATTRIBUTE))
    if os.stat(path).st_uid != status.st_uid:
        with suppress(OSError):
            os.chown(path, status.st_uid, -1)


def pass_on_access_of_files(source: str, target: str, decisive: Sequence[str]) -> None:
    """Let each new file be read by those who could read the file that it replaces."""
    old = {
        path: status
        for path in (os.path.join(target, name) for name in decisive)
        if (status := regular_file(path)) is not None
    }
    # Files with new names get the access of the old decisive file with the fewest readers.
    strictest = min(old, key=lambda path: _openness(old[path].st_mode), default=None)
    for name in os.listdir(source):
        replaced = os.path.join(target, name)
        status = regular_file(replaced)
        if status is None and strictest is not None:
            replaced, status = strictest, old[strictest]
        if status is not None:
            pass_on_access(replaced, status, os.path.join(source, name))


def _openness(mode: int) -> tuple[int, int]:
    """The permissions of all others, and then those of the group."""
    return mode & 0o007, mode & 0o070
