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
    """Rows of float32, float16, bfloat16 or int8 as float32 [rows, dim]; nothing is rounded.

    Args:
        numbers: uint8 [rows, row_bytes], little-endian.
        row_format: name of the type.
    """
    if row_format == "bfloat16":  # the upper half of a float32
        return (numbers.view("<u2").astype(np.uint32) << 16).view(np.float32)
    with np.errstate(invalid="ignore"):
        types = {"float32": "<f4", "float16": "<f2", "int8": "i1"}
        return numbers.view(types[row_format]).astype(np.float32)


Q4_K_BYTES, Q6_K_BYTES = 144, 210
SUPERBLOCK_DIMS = 256


def decode_q4_k(rows: ByteArray) -> FloatArray:
    """Rows as float32 [rows, dim]: ``(d * scale) * q - dmin * minimum``.

    A superblock: float16 d, float16 dmin, 12 bytes of scales and minima, 128 bytes of codes. Each
    32 weights have a scale and a minimum; each 64 have 32 bytes, in whose low nibbles are the
    first 32 codes.

    Args:
        rows: uint8 [rows, dim / 256 * 144].
    """
    blocks = rows.reshape(-1, Q4_K_BYTES)
    weights = np.empty((len(blocks), SUPERBLOCK_DIMS), np.float32)
    for block, out in zip(blocks, weights, strict=True):
        d, dmin = block[:4].view("<f2").astype(np.float32)
        s = [int(byte) for byte in block[4:16]]
        codes = block[16:]
        for j in range(8):
            if j < 4:
                scale, minimum = s[j] & 63, s[j + 4] & 63
            else:
                scale = (s[j + 4] & 0xF) | (s[j - 4] >> 6) << 4
                minimum = s[j + 4] >> 4 | (s[j] >> 6) << 4
            pair = codes[32 * (j // 2) : 32 * (j // 2) + 32]
            q = (pair & 15 if j % 2 == 0 else pair >> 4).astype(np.float32)
            out[32 * j : 32 * j + 32] = (d * f32(scale)) * q - dmin * f32(minimum)
    return weights.reshape(len(rows), -1)


def pack_q4_k(
    d: NDArray[np.float16],
    dmin: NDArray[np.float16],
    scales: ByteArray,
    minima: ByteArray,
    codes: ByteArray,
) -> ByteArray:
    """Superblocks as uint8 [blocks, 144], of the numbers that `decode_q4_k` finds in them.

    Args:
        d: [blocks].
        dmin: [blocks].
        scales: below 64, [blocks, 8].
        minima: below 64, [blocks, 8].
        codes: below 16, [blocks, 256].
    """
    blocks = np.zeros((len(d), Q4_K_BYTES), np.uint8)
    blocks[:, :2] = d.astype("<f2")[:, None].view(np.uint8)
    blocks[:, 2:4] = dmin.astype("<f2")[:, None].view(np.uint8)
    for j in range(4):
        blocks[:, 4 + j] = scales[:, j] | (scales[:, j + 4] >> 4) << 6
        blocks[:, 8 + j] = minima[:, j] | (minima[:, j + 4] >> 4) << 6
        blocks[:, 12 + j] = (scales[:, j + 4] & 15) | (minima[:, j + 4] & 15) << 4
        pair = codes[:, 64 * j : 64 * j + 64]
        blocks[:, 16 + 32 * j : 48 + 32 * j] = pair[:, :32] | pair[:, 32:] << 4
    return blocks


def decode_q6_k(rows: ByteArray) -> FloatArray:
    """Rows as float32 [rows, dim]: ``(d * scale) * (q - 32)``.

    A superblock: 128 bytes with the low four bits of the codes, 64 with the upper two, 16 int8
    scales, one for each 16 weights, float16 d. Weight w of half h has its low bits in byte
    64 h + w mod 64, in the low nibble where w < 64; its upper bits in byte 32 h + w mod 32, at bit
    2 (w / 32).

    Args:
        rows: uint8 [rows, dim / 256 * 210].
    """
    blocks = rows.reshape(-1, Q6_K_BYTES)
    weights = np.empty((len(blocks), SUPERBLOCK_DIMS), np.float32)
    low, high = blocks[:, :128], blocks[:, 128:192]
    scales = blocks[:, 192:208].view(np.int8).astype(np.float32)
    d = np.ascontiguousarray(blocks[:, 208:]).view("<f2").astype(np.float32)[:, 0]
    for i in range(SUPERBLOCK_DIMS):
        h, w = divmod(i, 128)
        bits = low[:, 64 * h + w % 64] >> (0 if w < 64 else 4) & 15
        bits = bits | (high[:, 32 * h + w % 32] >> 2 * (w // 32) & 3) << 4
        weights[:, i] = (d * scales[:, i // 16]) * (bits.astype(np.float32) - f32(32))
    return weights.reshape(len(rows), -1)


def pack_q6_k(d: NDArray[np.float16], scales: NDArray[np.int8], codes: ByteArray) -> ByteArray:
    """Superblocks as uint8 [blocks, 210], of the numbers that `decode_q6_k` finds in them.

    Args:
        d: [blocks].
        scales: [blocks, 16].
        codes: below 64, [blocks, 256].
    """
    blocks = np.zeros((len(d), Q6_K_BYTES), np.uint8)
    for i in range(SUPERBLOCK_DIMS):
        h, w = divmod(i, 128)
        blocks[:, 64 * h + w % 64] |= (codes[:, i] & 15) << (0 if w < 64 else 4)
        blocks[:, 128 + 32 * h + w % 32] |= (codes[:, i] >> 4) << 2 * (w // 32)
    blocks[:, 192:208] = scales.view(np.uint8)
    blocks[:, 208:] = d.astype("<f2")[:, None].view(np.uint8)
    return blocks


# Bytes of a superblock, the places of its float16 numbers, and its reading.
SUPERBLOCK_FORMATS = {
    "q4_k": (Q4_K_BYTES, (0, 2), decode_q4_k),
    "q6_k": (Q6_K_BYTES, (208,), decode_q6_k),
}


def quantize_sse_q4(weights: FloatArray) -> tuple[ByteArray, FloatArray]:
    """Codes [rows, dim / 2] and scales [rows] by the published rule, in float32.

    ``scale = max|row| + 1e-8``, ``q = clip(round_half_even((w / scale + 1) * 7.5), 0, 15)``.
    """
    scales = np.abs(weights).max(axis=1) + f32(1e-8)
    shifted = weights / scales[:, None] + f32(1.0)
    q = np.clip(np.rint(shifted * f32(7.5)), f32(0), f32(15)).astype(np.uint8)
    return q[:, 0::2] << 4 | q[:, 1::2], scales


def least_error_sse_q4(row: NDArray[np.float64]) -> float:
    """The least squared error of a row of weights by any scale, were nothing rounded.

    A scale of 15 u holds the magnitudes u, 3 u, ..., 15 u, so a weight of magnitude m takes the odd
    number o = 2 k + 1 where m / u lies between 2 k and 2 k + 2. As u falls from infinity, numbers
    change only at u = m / (2 k); in between, the best u gives the error
    ``sum(m^2) - sum(m * o)^2 / sum(o^2)``.
    """
    magnitudes = np.abs(row)
    k = np.arange(1, 8)
    at = (magnitudes[:, None] / (2 * k)).ravel()
    order = np.argsort(-at, kind="stable")
    products = magnitudes.sum() + np.cumsum(np.repeat(2 * magnitudes, 7)[order])
    squares = len(row) + np.cumsum(np.tile(8.0 * k, len(row))[order])
    gain = max(magnitudes.sum() ** 2 / len(row), (products**2 / squares).max())
    return float((magnitudes**2).sum() - gain)


def plain_q4_k(weights: FloatArray) -> ByteArray:
    """Superblocks of plain rounding: each sub-block from its least weight, or 0, to its largest.

    If all weights of a superblock are positive, dmin is negative and their least weights count.

    Returns:
        uint8 [rows, dim / 256 * 144].
    """
    w = weights.reshape(-1, 8, 32)
    least, most = w.min(axis=2), w.max(axis=2)
    all_positive = (least > 0).all(axis=1)
    low = np.where(all_positive[:, None], least, np.minimum(least, f32(0)))
    scale, magnitude = (most - low) / f32(15), np.abs(low)
    d = (scale.max(axis=1) / f32(63)).astype(np.float16)
    dmin = (magnitude.max(axis=1) / f32(63)).astype(np.float16)

    def steps(numbers: FloatArray, unit: NDArray[np.float16]) -> FloatArray:
        divisor = np.where(unit == 0, 1, unit).astype(np.float32)[:, None]
        counts: FloatArray = np.rint(numbers / divisor)
        return np.clip(counts, 0, np.where(unit == 0, f32(0), f32(63))[:, None])

    scales, minima = steps(scale, d), steps(magnitude, dmin)
    dmin = np.where(all_positive, -dmin, dmin)
    height = w + (dmin.astype(np.float32)[:, None] * minima)[:, :, None]
    step = (d.astype(np.float32)[:, None] * scales)[:, :, None]
    codes = np.clip(np.rint(height / np.where(step == 0, f32(1), step)), 0, 15)
    blocks = pack_q4_k(
        d,
        dmin,
        scales.astype(np.uint8),
        minima.astype(np.uint8),
        codes.astype(np.uint8).reshape(-1, SUPERBLOCK_DIMS),
    )
    return blocks.reshape(len(weights), -1)


def plain_q6_k(weights: FloatArray) -> ByteArray:
    """Superblocks of plain rounding: the largest weight of each sub-block takes the code -32 or 31.

    Returns:
        uint8 [rows, dim / 256 * 210].
    """
    w = weights.reshape(-1, 16, 16)
    below, above = np.maximum(-w.min(axis=2), f32(0)), np.maximum(w.max(axis=2), f32(0))
    upright = np.maximum(below / f32(32), above / f32(31))
    turned = np.maximum(above / f32(32), below / f32(31))
    scale = np.where(turned < upright, -turned, upright)
    d = (np.abs(scale).max(axis=1) / f32(127)).astype(np.float16)
    divisor = np.where(d == 0, 1, d).astype(np.float32)[:, None]
    scales = np.clip(np.rint(scale / divisor), -127, 127) * (d != 0)[:, None]
    step = (d.astype(np.float32)[:, None] * scales.astype(np.float32))[:, :, None]
    codes = np.clip(np.rint(w / np.where(step == 0, f32(1), step)), -32, 31) + 32
    blocks = pack_q6_k(
        d, scales.astype(np.int8), codes.astype(np.uint8).reshape(-1, SUPERBLOCK_DIMS)
    )
    return blocks.reshape(len(weights), -1)


def pack_sse_q4(codes: ByteArray, scales: FloatArray) -> bytes:
    """The file: the codes of all rows, then their scales, little-endian."""
    return codes.tobytes() + scales.astype("<f4").tobytes()


def sum_rows(
    rows: FloatArray,
    ids: IntArray,
    offsets: Sequence[int] | IntArray,
    token_weights: NDArray[np.floating[Any]] | None = None,
) -> FloatArray:
    """Sums of bags of rows, [bags, dim]: from +0.0, one addition a token, in token order.

    Args:
        rows: decoded table, float32 [rows, dim].
        ids: [tokens].
        offsets: [bags + 1].
        token_weights: float32 or float64 [tokens]; each multiplies its decoded row first, and the
            product is rounded to float32.
    """
    sums = np.zeros((len(offsets) - 1, rows.shape[1]), np.float32)
    with np.errstate(all="ignore"):
        for bag in range(len(sums)):
            for token in range(int(offsets[bag]), int(offsets[bag + 1])):
                row = rows[ids[token]]
                if token_weights is not None:
                    row = (row * token_weights[token]).astype(np.float32)
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


def wide_mean(
    rows: FloatArray,
    ids: IntArray,
    offsets: Sequence[int] | IntArray,
    token_weights: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.float64]:
    """Means of bags of rows, weighted, added in token order and divided in float64."""
    means = np.zeros((len(offsets) - 1, rows.shape[1]))
    for bag in range(len(means)):
        begin, end = int(offsets[bag]), int(offsets[bag + 1])
        for token in range(begin, end):
            row = rows[ids[token]].astype(np.float64)
            means[bag] += row if token_weights is None else row * float(token_weights[token])
        means[bag] /= max(end - begin, 1)
    return means


def normalize_model2vec(x: FloatArray) -> FloatArray:
    """``x / (sqrt(ss) + 1e-32)``, the squares being added as NumPy adds along a row."""
    with np.errstate(all="ignore"):
        norms = np.array([np.sqrt(_pairwise_sum(row * row)) + f32(1e-32) for row in x])
        return x / norms.astype(np.float32)[:, None]


def normalize_model2vec_float16(x: FloatArray) -> FloatArray:
    """The same of numbers that are rounded to float16 first."""
    with np.errstate(all="ignore"):
        return normalize_model2vec(x.astype(np.float16).astype(np.float32))


def _pairwise_sum(numbers: FloatArray) -> np.float32:
    """Halves down to 128 numbers, of which eight running sums are kept."""
    count = len(numbers)
    if count > 128:
        half = count // 2 // 8 * 8
        return _pairwise_sum(numbers[:half]) + _pairwise_sum(numbers[half:])
    total = f32(0.0)
    whole = count // 8 * 8
    if whole:
        sums = numbers[:8].copy()
        for begin in range(8, whole, 8):
            sums += numbers[begin : begin + 8]
        pairs = [sums[i] + sums[i + 1] for i in (0, 2, 4, 6)]
        total = (pairs[0] + pairs[1]) + (pairs[2] + pairs[3])
    for number in numbers[whole:]:
        total += number
    return total


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
