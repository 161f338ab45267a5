"""Bars and words on stderr, which never end the work that they tell of."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterator


class _LenientFile(io.RawIOBase):
    """A binary file that takes all bytes, also those that the file beneath refuses.

    So buffers above it hold nothing that would fail again when the process ends.
    """

    def __init__(self, file: Any) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        data = memoryview(content).cast("B")
        left = data
        with suppress(Exception):  # its reader is gone, the disk is full, it is closed ...
            while left:
                written = self._file.write(left)
                if not written:  # it does not wait, and is full
                    break
                left = left[written:]
        return len(data)

    def isatty(self) -> bool:
        with suppress(Exception):
            return bool(self._file.isatty())
        return False

    def fileno(self) -> int:
        return int(self._file.fileno())


class _LenientStream(io.TextIOWrapper):
    """Text on a lenient file."""

    def __init__(self, stream: io.TextIOWrapper, file: _LenientFile) -> None:
        self._stream = stream
        super().__init__(
            cast("Any", file),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=True,
            write_through=True,
        )

    # For tqdm, which asks the terminal for its width if it writes to `sys.stderr`.
    def __eq__(self, other: object) -> bool:
        return other is self or other is self._stream

    def __hash__(self) -> int:
        return hash(self._stream)


class _LenientText:
    """A text stream of any kind whose `write` and `flush` raise no error."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # so click finds out that it takes no bytes
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with suppress(Exception):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(Exception):
            self._stream.flush()

    def isatty(self) -> bool:
        with suppress(Exception):
            return bool(self._stream.isatty())
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self._stream

    def __hash__(self) -> int:
        return hash(self._stream)


def lenient(stream: TextIO | None) -> TextIO:
    """A stream that writes to this one as long as that works, and never raises an error."""
    if isinstance(stream, (_LenientStream, _LenientText)):
        return stream
    if type(stream) is not io.TextIOWrapper:
        return cast("TextIO", _LenientText(stream))
    with suppress(OSError, ValueError):
        stream.flush()
    try:
        # Beneath the buffer, which keeps bytes that failed; they fail again at the very end.
        file = getattr(stream.buffer, "raw", stream.buffer)
    except ValueError:  # detached
        return cast("TextIO", _LenientText(stream))
    return _LenientStream(stream, _LenientFile(file))


@contextmanager
def lenient_stderr() -> Iterator[None]:
    """Within it no write to stderr raises an error. For the process of a command."""
    stderr = sys.stderr
    # None, where it was closed before the process began, would send click's errors to stdout.
    sys.stderr = lenient(stderr)
    try:
        yield
    finally:
        sys.stderr = stderr


class ProgressBar:
    """A bar of `tqdm` on stderr; none where stderr is closed, or anything is wrong with the bar.

    The variables of `tqdm` in the environment (``TQDM_DISABLE``, ``TQDM_NCOLS`` ...) hold.

    Args:
        shown: False shows none.
        options: of `tqdm`.
    """

    def __init__(self, *, shown: bool = True, **options: Any) -> None:
        self.n = 0
        self._bar: Any = None
        if shown and sys.stderr is not None:
            with self._given_up_on_error():
                from tqdm import tqdm

                self._bar = tqdm(file=lenient(sys.stderr), **options)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            with self._given_up_on_error():
                self._bar.close()

    def update(self, steps: int) -> None:
        """Count ``steps`` more that are done."""
        self.n += steps
        if self._bar is not None:
            with self._given_up_on_error():
                self._bar.update(steps)

    @contextmanager
    def _given_up_on_error(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            if self._bar is not None:
                self._bar.disable = True  # it does nothing more, not even when it is collected
            self._bar = None
            with suppress(Exception):
                # A bar that fails while drawing holds it; bars of other threads wait for it.
                from tqdm import tqdm

                tqdm.get_lock().release()
