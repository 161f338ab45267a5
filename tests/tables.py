"""Random tables of every row format, with their rows as the oracle decodes them."""

from __future__ import annotations

import numpy as np
import reference
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

PLAIN_FORMATS = {"float32": 4, "float16": 2, "bfloat16": 2}  # and bytes of a number
FORMATS = ("sse_q4", *PLAIN_FORMATS)


def random_table(
    row_format: str, row_count: int, dim: int, random: np.random.Generator
) -> tuple[bytes, FloatArray]:
    """The bytes of a table, and its rows as float32 [rows, dim]."""
    if row_format == "sse_q4":
        codes = random.integers(0, 256, (row_count, dim // 2)).astype(np.uint8)
        scales = random.uniform(-0.5, 0.5, row_count).astype(np.float32)
        return reference.pack_sse_q4(codes, scales), reference.decode_sse_q4(codes, scales)
    rows = random.standard_normal((row_count, dim)).astype(np.float32)
    if row_format == "bfloat16":
        numbers = (rows.view(np.uint32) >> 16).astype("<u2").view(np.uint8)
    else:
        numbers = rows.astype(row_format).view(np.uint8)
    return numbers.tobytes(), reference.decode_plain(numbers, row_format)
