"""Random tables of every row format, with their rows as the oracle decodes them."""

from __future__ import annotations

import numpy as np
import reference
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

PLAIN_FORMATS = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}  # and bytes of a number
SUPERBLOCK_FORMATS = reference.SUPERBLOCK_FORMATS
FORMATS = ("sse_q4", *PLAIN_FORMATS, *SUPERBLOCK_FORMATS)  # numbered as in C++


def dim_unit(row_format: str) -> int:
    """The dim of a table is a multiple of it."""
    if row_format in SUPERBLOCK_FORMATS:
        return reference.SUPERBLOCK_DIMS
    return 2 if row_format == "sse_q4" else 1


def random_table(
    row_format: str, row_count: int, dim: int, random: np.random.Generator
) -> tuple[bytes, FloatArray]:
    """The bytes of a table, and its rows as float32 [rows, dim]."""
    if row_format == "sse_q4":
        codes = random.integers(0, 256, (row_count, dim // 2)).astype(np.uint8)
        scales = random.uniform(-0.5, 0.5, row_count).astype(np.float32)
        return reference.pack_sse_q4(codes, scales), reference.decode_sse_q4(codes, scales)
    if row_format in SUPERBLOCK_FORMATS:
        blocks = random_superblocks(row_format, row_count, dim, random)
        return blocks.tobytes(), decode_superblocks(row_format, blocks)
    rows = random.standard_normal((row_count, dim)).astype(np.float32)
    if row_format == "bfloat16":
        numbers = (rows.view(np.uint32) >> 16).astype("<u2").view(np.uint8)
    elif row_format == "int8":
        numbers = random.integers(0, 256, (row_count, dim)).astype(np.uint8)
    else:
        numbers = rows.astype(row_format).view(np.uint8)
    return numbers.tobytes(), reference.decode_plain(numbers, row_format)


def random_superblocks(
    row_format: str, row_count: int, dim: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    """Random bytes [rows, row_bytes], but that every float16 in them is finite."""
    block_bytes, places, _ = SUPERBLOCK_FORMATS[row_format]
    blocks = random.integers(0, 256, (row_count * dim // 256, block_bytes)).astype(np.uint8)
    for place in places:
        upper = blocks[:, place + 1]
        upper[upper & 0x7C == 0x7C] ^= 0x40
    return blocks.reshape(row_count, -1)


def decode_superblocks(row_format: str, blocks: NDArray[np.uint8]) -> FloatArray:
    """The oracle's float32 [rows, dim]."""
    decode = SUPERBLOCK_FORMATS[row_format][2]
    return decode(blocks)
