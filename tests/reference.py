"""What the kernel must compute, in NumPy: the oracle of the tests, which uses nothing of nibblevec.

Every step is one float32 operation, in the order that the format or the head prescribes. NumPy's
own sums add pairwise and are never used where an order is prescribed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]
IntArray = NDArray[np.integer[Any]]

f32 = np.float32


def decode_sse_q4(codes: ByteArray, scales: FloatArray) -> FloatArray:
    """Rows as float32 [rows, dim]: ``(q / 7.5 - 1) * scale``, the high nibble the even dimension.

    Args:
        codes: uint8 [rows, dim / 2].
        scales: float32 [rows].
    """
    rows, row_bytes = codes.shape
    q: FloatArray = np.empty((rows, 2 * row_bytes), np.float32)
    q[:, 0::2] = codes >> 4
    q[:, 1::2] = codes & 15
    with np.errstate(all="ignore"):
        level = q / f32(7.5) - f32(1.0)
        return level * scales[:, None]


def decode_plain(numbers: ByteArray, row_format: str) -> FloatArray:
    """Rows of float32, float16 or bfloat16 as float32 [rows, dim]; nothing is rounded.

    Args:
        numbers: uint8 [rows, row_bytes], little-endian.
        row_format: name of the type.
    """
    if row_format == "bfloat16":  # the upper half of a float32
        return (numbers.view("<u2").astype(np.uint32) << 16).view(np.float32)
    with np.errstate(invalid="ignore"):
        return numbers.view({"float32": "<f4", "float16": "<f2"}[row_format]).astype(np.float32)


def quantize_sse_q4(weights: FloatArray) -> tuple[ByteArray, FloatArray]:
    """Codes [rows, dim / 2] and scales [rows] by the published rule, in float32.

    ``scale = max|row| + 1e-8``, ``q = clip(round_half_even((w / scale + 1) * 7.5), 0, 15)``.
    """
    scales = np.abs(weights).max(axis=1) + f32(1e-8)
    shifted = weights / scales[:, None] + f32(1.0)
    q = np.clip(np.rint(shifted * f32(7.5)), f32(0), f32(15)).astype(np.uint8)
    return q[:, 0::2] << 4 | q[:, 1::2], scales


def pack_sse_q4(codes: ByteArray, scales: FloatArray) -> bytes:
    """The file: the codes of all rows, then their scales, little-endian."""
    return codes.tobytes() + scales.astype("<f4").tobytes()


def sum_rows(
    rows: FloatArray,
    ids: IntArray,
    offsets: Sequence[int] | IntArray,
    token_weights: FloatArray | None = None,
) -> FloatArray:
    """Sums of bags of rows, [bags, dim]: from +0.0, one addition a token, in token order.

    Args:
        rows: decoded table, float32 [rows, dim].
        ids: [tokens].
        offsets: [bags + 1].
        token_weights: float32 [tokens]; each multiplies its decoded row first.
    """
    sums = np.zeros((len(offsets) - 1, rows.shape[1]), np.float32)
    with np.errstate(all="ignore"):
        for bag in range(len(sums)):
            for token in range(int(offsets[bag]), int(offsets[bag + 1])):
                row = rows[ids[token]]
                if token_weights is not None:
                    row = row * token_weights[token]
                sums[bag] += row
    return sums


def mean(sums: FloatArray, token_counts: IntArray) -> FloatArray:
    """``sum / float32(n)``; a bag of no tokens, whose sum is zero, has the mean zero."""
    divisors = np.where(token_counts == 0, 1, token_counts).astype(np.float32)
    with np.errstate(all="ignore"):
        return sums / divisors[:, None]


def tanh(x: FloatArray) -> FloatArray:
    """Up to 0.625 an odd polynomial, above it ``1 - 2 / (exp(2|x|) + 1)`` with the sign of x.

    ``exp(2|x|) = 2^y``; adding 1.5 * 2^23 rounds y to a whole number n, half to even, and leaves n
    in the low bits of the sum, from where it is added to the exponent of ``2^(y - n)``.
    """
    with np.errstate(all="ignore"):
        square = x * x
        p = np.full_like(x, -5.70498872745e-3)
        p = p * square + f32(2.06390887954e-2)
        p = p * square - f32(5.37397155531e-2)
        p = p * square + f32(1.33314422036e-1)
        p = p * square - f32(3.33332819422e-1)
        small = (p * square) * x + x

        magnitude = np.abs(x)
        y = np.minimum(magnitude, f32(10.0)) * f32(2.885390081777927)
        shifted = y + f32(12582912.0)
        fraction = y - (shifted - f32(12582912.0))
        e = np.full_like(x, 1.5353361959569156e-4)
        e = e * fraction + f32(1.3398873852565885e-3)
        e = e * fraction + f32(9.61843691766262e-3)
        e = e * fraction + f32(5.5503323674201965e-2)
        e = e * fraction + f32(2.4022647738456726e-1)
        e = e * fraction + f32(6.931471824645996e-1)
        e = e * fraction + f32(1.0)
        exponent = shifted.view(np.uint32) << np.uint32(23)
        e = (e.view(np.uint32) + exponent).view(np.float32)
        large = f32(1.0) - f32(2.0) / (e + f32(1.0))
        return np.where(f32(0.625) < magnitude, np.copysign(large, x), small)


def dynamic_tanh(
    x: FloatArray, alpha: FloatArray, beta: FloatArray, bias: FloatArray
) -> FloatArray:
    """``beta * tanh(alpha * x + bias)``; the vectors may be longer than the rows of x."""
    dims = x.shape[1]
    with np.errstate(all="ignore"):
        inner = alpha[:dims] * x
        inner = inner + bias[:dims]
        return beta[:dims] * tanh(inner)


def normalize(x: FloatArray) -> FloatArray:
    """``x / max(sqrt(ss), 1e-12)``: sixteen running sums of squares, then a tree over them."""
    count, dims = x.shape
    sums = np.zeros((count, 16), np.float32)
    with np.errstate(all="ignore"):
        for dim in range(dims):
            sums[:, dim % 16] += x[:, dim] * x[:, dim]
        for half in (8, 4, 2, 1):
            sums = sums[:, :half] + sums[:, half:]
        norms: FloatArray = np.maximum(np.sqrt(sums), f32(1e-12))
        return x / norms


def head(
    sums: FloatArray,
    token_counts: IntArray,
    *,
    vectors: tuple[FloatArray, FloatArray, FloatArray] | None,
    with_mean: bool,
    with_normalize: bool,
) -> FloatArray:
    """Mean, Dynamic Tanh (``vectors``: alpha, beta, bias) and L2, each if asked for."""
    x = mean(sums, token_counts) if with_mean else sums
    if vectors is not None:
        x = dynamic_tanh(x, *vectors)
    return normalize(x) if with_normalize else x
