"""Equality to the bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


def bits(array: FloatArray) -> NDArray[np.uint32]:
    """The bits of float32 numbers, every NaN made the same one."""
    assert array.dtype == np.float32
    words = np.ascontiguousarray(array).view(np.uint32)
    return np.where(np.isnan(array), np.uint32(0x7FC00000), words)


def assert_same_bits(actual: FloatArray, expected: FloatArray) -> None:
    """Fails with the first place where the two differ; a NaN equals any NaN, -0.0 only itself."""
    assert actual.shape == expected.shape
    different = np.argwhere(bits(actual) != bits(expected))
    if len(different):
        first = tuple(int(i) for i in different[0])
        raise AssertionError(
            f"{len(different)} of {actual.size} differ, first at {first}: "
            f"{actual[first].item().hex()}, expected {expected[first].item().hex()}"
        )
