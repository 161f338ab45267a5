"""Run as a program, with the name of a kernel: everything a kernel reads or writes ends at a page.

The page after it cannot be touched, so that reading or writing one byte too many ends the process.
With ``--overread`` it does so on purpose.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import sys

import numpy as np
import reference
from bits import assert_same_bits
from numpy.typing import NDArray
from tables import FORMATS, dim_unit, random_table

from nibblevec import _core

_NO_ACCESS = 0
_maps: list[mmap.mmap] = []  # alive until the process ends


@functools.cache
def _libc() -> ctypes.CDLL:  # there is none to be found so on Windows
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


def bytes_before_guard(data: bytes) -> NDArray[np.uint8]:
    """A writable copy of the bytes whose last one is the last of a page."""
    pages = -(-len(data) // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    _maps.append(memory)
    whole = np.frombuffer(memory, np.uint8)
    end = pages * mmap.PAGESIZE
    if _libc().mprotect(whole.ctypes.data + end, mmap.PAGESIZE, _NO_ACCESS) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    copy = whole[end - len(data) : end]
    copy[:] = np.frombuffer(data, np.uint8)
    return copy


def floats_before_guard(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return bytes_before_guard(array.tobytes()).view(np.float32).reshape(array.shape)


def check(kernel: str, row_format: str, row_count: int, dim: int, dims: int) -> None:
    random = np.random.default_rng(row_count * dim + dims)
    data, rows = random_table(row_format, row_count, dim, random)
    table = _core.Table(bytes_before_guard(data), dim, row_format)
    counts = np.array([1, 3, 9])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    ids = random.integers(0, row_count, offsets[-1]).astype(np.uint32)
    ids[[0, 3, -1]] = row_count - 1
    weights = random.standard_normal(len(ids)).astype(np.float32)
    vectors = random.standard_normal((3, dims)).astype(np.float32)

    out = floats_before_guard(np.zeros((len(counts), dims), np.float32))
    _core.pool(
        table,
        bytes_before_guard(ids.tobytes()).view(np.uint32),
        bytes_before_guard(offsets.tobytes()).view(np.int64),
        out,
        weights=floats_before_guard(weights),
        dynamic_tanh=_core.DynamicTanh(*(floats_before_guard(vector) for vector in vectors)),
        mean=True,
        normalize=True,
        kernel=kernel,
    )
    expected = reference.head(
        reference.sum_rows(rows[:, :dims], ids, offsets, weights),
        counts,
        vectors=(vectors[0], vectors[1], vectors[2]),
        with_mean=True,
        with_normalize=True,
    )
    assert_same_bits(out, expected)


def main(argument: str) -> None:
    if argument == "--overread":
        guarded = bytes_before_guard(b"abc")
        assert ctypes.string_at(guarded.ctypes.data, 3) == b"abc"
        ctypes.string_at(guarded.ctypes.data, 4)
        return
    for byte_count in (*range(1, 130), 4095, 4096):
        text = bytes_before_guard(b"aB. " * 1024)[-byte_count:]
        _, copy = _core.scan_words(text, lowercase=False, kernel=argument)
        assert copy.tobytes() == text.tobytes()
    for row_format in FORMATS:
        # Behind few rows there are few scales, so codes come close to the page too.
        for row_count in (1, 2, 5, 17):
            for dim in (2, 8, 16, 30, 32, 34, 64, 126, 128, 130, 254, 256, 258, 510, 514, 768):
                if dim % dim_unit(row_format) != 0:
                    continue
                for dims in sorted({dim, dim - 1, dim // 2, 1}):
                    check(argument, row_format, row_count, dim, dims)


if __name__ == "__main__":
    main(sys.argv[1])
