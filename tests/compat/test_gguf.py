"""Against the `gguf` package, which decodes ggml's superblocks."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import reference
from bits import FloatArray, assert_same_bits
from numpy.typing import NDArray
from tables import SUPERBLOCK_FORMATS, random_superblocks

import nibblevec
from nibblevec import Table, _core
from nibblevec.table import RowFormat

ROWS = 300
TYPES = {"q4_k": gguf.GGMLQuantizationType.Q4_K, "q6_k": gguf.GGMLQuantizationType.Q6_K}
# Smallest, largest subnormal; smallest normal; largest; zeros.
EXTREME_HALVES = np.array(
    [6e-8, -6e-8, 6.0976e-5, -6.0976e-5, 6.1035e-5, 65504, -65504, 0.0, -0.0], np.float16
)

every_format = pytest.mark.parametrize("row_format", SUPERBLOCK_FORMATS)
every_dim = pytest.mark.parametrize("dim", [256, 512, 1024])
every_scale = pytest.mark.parametrize("extreme", [False, True], ids=["random", "extreme"])


@pytest.fixture(params=nibblevec.kernels())
def kernel(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def random_rows(row_format: str, dim: int, extreme: bool) -> NDArray[np.uint8]:
    rng = np.random.default_rng(dim + extreme)
    blocks = random_superblocks(row_format, ROWS, dim, rng)
    if extreme:
        block_bytes, places = SUPERBLOCK_FORMATS[row_format]
        each = blocks.reshape(-1, block_bytes)
        for place in places:
            halves = rng.choice(EXTREME_HALVES, (len(each), 1)).astype("<f2")
            each[:, place : place + 2] = halves.view(np.uint8)
    return blocks


def dequantized(row_format: str, blocks: NDArray[np.uint8]) -> FloatArray:
    return np.asarray(gguf.quants.dequantize(blocks, TYPES[row_format]), np.float32)


@every_format
@every_dim
@every_scale
def test_weights_are_those_of_gguf(row_format: RowFormat, dim: int, extreme: bool) -> None:
    blocks = random_rows(row_format, dim, extreme)
    expected = dequantized(row_format, blocks)
    table = Table.from_buffer(blocks, dim=dim, format=row_format)
    assert np.isfinite(expected).all()
    assert_same_bits(table.dequantize(), expected)


@every_format
@every_dim
@every_scale
def test_sums_are_those_of_rows_of_gguf(
    row_format: RowFormat, dim: int, extreme: bool, kernel: str
) -> None:
    blocks = random_rows(row_format, dim, extreme)
    rows = dequantized(row_format, blocks)
    table = Table.from_buffer(blocks, dim=dim, format=row_format)
    rng = np.random.default_rng(dim)
    offsets = np.concatenate([[0], np.cumsum([ROWS, 0, *[1] * ROWS, 2, 7, 63, 64, 65, 500])])
    ids = rng.integers(0, ROWS, offsets[-1])
    ids[:ROWS] = np.arange(ROWS)
    token_weights = rng.standard_normal(len(ids)).astype(np.float32)
    for weights in (None, token_weights):
        expected = reference.sum_rows(rows, ids, offsets, weights)
        for dims in (dim, dim - 1, dim // 2 + 1, 1):
            out = np.empty((len(offsets) - 1, dims), np.float32)
            _core.pool(table.native, ids, offsets, out, weights=weights, kernel=kernel)
            assert_same_bits(out, expected[:, :dims])
