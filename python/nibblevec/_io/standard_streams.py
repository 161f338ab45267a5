"""The standard streams of the process, as inputs and outputs."""

from __future__ import annotations

import errno
import os
from typing import Any, TextIO

# Stands for stdin among inputs, and for stdout as output.
STANDARD_STREAM = "-"


def opened(stream: TextIO | None) -> TextIO:
    """A standard stream; Python has None for one that was closed before the process began.

    Raises:
        OSError: it was closed.
    """
    if stream is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return stream


def descriptor_of(stream: Any) -> int | None:
    """The number of the open file behind a stream; None if there is none."""
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None


def wait_for_input(descriptor: int | None) -> None:
    """Wait until there is something to read, if a read from the descriptor would not wait.

    Another process that has the same pipe may make it non-blocking. Without this wait such a pipe
    would look as if it had ended.
    """
    if descriptor is not None and os.name == "posix" and not os.get_blocking(descriptor):
        import select

        select.select([descriptor], [], [])
