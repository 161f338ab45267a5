"""What must happen with a damaged or hostile model: refused, at once, with nothing done."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nibblevec import Encoder, ModelFormatError

MAX_SECONDS = 1  # of work; where others have the CPU it may take longer
MAX_WAIT_SECONDS = 10
MAX_BYTES = 64 << 20


@contextmanager
def left_alone(folder: Path) -> Iterator[None]:
    """It takes less than a second and 64 MB, and changes nothing in the folder."""

    def state() -> list[tuple[str, int, int, int]]:
        entries = [(entry.name, entry.stat(follow_symlinks=False)) for entry in os.scandir(folder)]
        own = [(name, s.st_mtime_ns, s.st_size, s.st_mode) for name, s in entries]
        return [*sorted(own), (".", folder.stat().st_mtime_ns, 0, 0)]

    before = state()
    resident = _resident_after_forgetting_the_peak()
    begin, work_begin = time.perf_counter(), time.process_time()
    yield
    assert time.process_time() - work_begin < MAX_SECONDS
    assert time.perf_counter() - begin < MAX_WAIT_SECONDS
    assert _memory("VmHWM") - resident < MAX_BYTES
    assert state() == before


def assert_refused(
    folder: Path, name: str, field: str | None, message: str, *, mmap: bool | None = None
) -> None:
    """The first text, at the latest, ends in a `ModelFormatError` of this file and field.

    The model is the folder, or the file itself if it is a whole one.
    """
    model = folder / name if name.endswith(".gguf") else folder
    for way in (True, False) if mmap is None else (mmap,):
        with left_alone(folder), pytest.raises(ModelFormatError, match=message) as caught:
            Encoder(model, mmap=way).encode("tea")
        error = caught.value
        assert isinstance(error, ValueError)
        assert error.path == str(folder / name)
        assert field is None or error.field == field
        assert str(error).startswith(f"{folder / name}: {error.field}: ")
        # What the file holds is quoted, but not at length.
        assert len(str(error)) < len(str(folder)) + 500


def _memory(name: str) -> int:
    """A line of Linux's account of this process, in bytes; 0 where there is none."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((int(s.split()[1]) << 10 for s in status.splitlines() if s.startswith(name)), 0)


def _resident_after_forgetting_the_peak() -> int:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # the peak so far stands, and may hide this one
        return _memory("VmHWM")
    return _memory("VmRSS")
