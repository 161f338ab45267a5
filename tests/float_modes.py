"""Floating-point environments in which another library may have left a thread."""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

on_x86_linux = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="the layout of fenv_t and the names of its bits are those of glibc on x86-64",
)
UPWARD = 0x4000  # MXCSR: round towards +infinity
FLUSH_DENORMALS = 0x8040  # MXCSR: results and operands that are denormal become zero
MXCSR_WORD = 7  # of the 32-bit words of fenv_t


@contextmanager
def mxcsr_bits(wanted: int) -> Iterator[None]:
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    saved = (ctypes.c_uint32 * 8)()
    changed = (ctypes.c_uint32 * 8)()
    assert libm.fegetenv(saved) == 0
    assert libm.fegetenv(changed) == 0
    changed[MXCSR_WORD] |= wanted
    assert libm.fesetenv(changed) == 0
    try:
        yield
    finally:
        libm.fesetenv(saved)
