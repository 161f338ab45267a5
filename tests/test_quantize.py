"""Packing float rows: the published rule to the bit, the searches by the error that they leave."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from typing import Any, cast

import numpy as np
import pytest
import reference
from numpy.typing import ArrayLike, NDArray
from tables import SUPERBLOCK_FORMATS, decode_superblocks

from nibblevec import Table
from nibblevec._table import QuantizedFormat

FloatArray = NDArray[np.float32]

FORMATS: tuple[QuantizedFormat, ...] = ("sse_q4", "q4_k", "q6_k")
LARGEST = {"sse_q4": 3.4028235e38, "q4_k": 65504 * 63, "q6_k": 65504 * 127 * 31}

every_format = pytest.mark.parametrize("row_format", FORMATS)
every_superblock_format = pytest.mark.parametrize("row_format", SUPERBLOCK_FORMATS)


def generated_weights() -> dict[str, FloatArray]:
    """Rows of 512 weights of every kind that a table may hold, or should not."""
    rng = np.random.default_rng(0)
    shape = (8, 512)
    normal = rng.standard_normal(shape)
    student = rng.standard_t(3, shape)
    outlier = normal * 0.01
    outlier[np.arange(8), 64 * np.arange(8)] = 50
    sparse = np.where(rng.random(shape) < 0.02, normal, 0)
    weights = {
        "normal": normal,
        "student": student,
        "uniform": rng.uniform(-1, 1, shape),
        "outlier": outlier,
        "negative outlier": -outlier,
        "sparse": sparse,
        "zero": np.zeros(shape),
        "constant": np.broadcast_to(np.linspace(0.1, 3, 8)[:, None], shape),
        "negative constant": np.broadcast_to(np.linspace(-3, -0.1, 8)[:, None], shape),
        "nearly constant": 1 + 0.001 * normal,
        "two values": np.sign(normal) * 0.3,
        "negative": -np.abs(student),
        "positive": np.abs(student) + 0.01,
        "far from zero": 10 + normal,
        "far below zero": normal - 10,
        "ramp": np.broadcast_to(np.linspace(-1, 1, 512), shape),
        "of many sizes": normal * 10 ** rng.uniform(-6, 3, (8, 16)).repeat(32, axis=1),
        "near the smallest float16": normal * 1e-6,
        "below the smallest float16": normal * 1e-9,
        "subnormal": normal * 1e-40,
        "smallest": np.sign(normal) * 1e-45,
        "large": normal * 1e6 / np.abs(normal).max(),
    }
    return {name: array.astype(np.float32) for name, array in weights.items()}


def weights_from_integers() -> FloatArray:
    """Rows that depend on no generator of random numbers, nor on how anything rounds."""
    n = np.arange(64 * 512, dtype=np.uint64)
    mixed = (n * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(24)
    sums = sum((mixed >> np.uint64(8 * i)) & np.uint64(255) for i in range(4))  # bell-shaped
    rows = (np.asarray(sums).astype(np.float32) - np.float32(510)).reshape(64, 512)
    rows[::3, ::37] *= 8
    return rows / np.float32(1024)


WEIGHTS = generated_weights()
every_kind = pytest.mark.parametrize("kind", WEIGHTS)


def error(decoded: FloatArray, weights: FloatArray, count: int) -> NDArray[np.float64]:
    """Squared error of each ``count`` weights."""
    assert np.isfinite(decoded).all()
    difference = decoded.astype(np.float64) - weights.astype(np.float64)
    errors: NDArray[np.float64] = np.square(difference).reshape(-1, count).sum(axis=1)
    return errors


def quantized_rows(weights: FloatArray, row_format: str) -> FloatArray:
    """The rows of a searched table, as the oracle decodes its bytes."""
    table = Table.quantize(weights, cast(QuantizedFormat, row_format))
    assert table.format == row_format
    assert (table.rows, table.dim) == weights.shape
    rows, dim = weights.shape
    if row_format == "sse_q4":
        codes = table.buffer[: rows * dim // 2].reshape(rows, -1)
        scales = table.buffer[rows * dim // 2 :].view("<f4")
        assert (scales > 0).all()
        assert np.isfinite(scales).all()
        return reference.decode_sse_q4(codes, scales)
    return decode_superblocks(row_format, table.buffer.reshape(rows, -1))


# The published rule


def assert_published(weights: FloatArray) -> Table:
    table = Table.quantize(weights, search=False)
    expected = reference.pack_sse_q4(*reference.quantize_sse_q4(weights))
    assert table.buffer.tobytes() == expected
    return table


def test_published_rule() -> None:
    random = np.random.default_rng(1)
    for shape in ((1, 2), (7, 30), (130, 64)):
        weights = random.standard_normal(shape).astype(np.float32)
        weights *= np.float32(10) ** random.integers(-12, 12, (shape[0], 1)).astype(np.float32)
        assert_published(weights)


@every_kind
def test_published_rule_on_every_kind_of_rows(kind: str) -> None:
    assert_published(WEIGHTS[kind])


def test_published_rule_rounds_ties_to_even() -> None:
    # The scale of the row is 1, so (w + 1) * 7.5 lies on or just beside every k + 0.5.
    middles = ((np.arange(15) + 0.5) / 7.5 - 1).astype(np.float32)
    up, down = np.nextafter(middles, np.float32(2)), np.nextafter(middles, np.float32(-2))
    weights = np.concatenate([middles, up, down, [-1.0]]).astype(np.float32)[None]
    shifted = (weights + np.float32(1)) * np.float32(7.5)
    is_tie = shifted % 1 == 0.5
    assert (np.rint(shifted) != np.floor(shifted + 0.5))[is_tie].sum() >= 3
    assert (np.rint(shifted) == np.floor(shifted + 0.5))[is_tie].sum() >= 3
    assert_published(weights)


def test_published_rule_on_special_rows() -> None:
    weights = np.zeros((6, 4), np.float32)
    weights[1] = [1e-45, -1e-45, 0, -0.0]
    weights[2] = [3.4028235e38, -3.4028235e38, 1, -1]
    weights[3] = -2.5
    weights[4] = [-1e-8, 1e-8, 1e-9, -1e-9]
    weights[5] = [1e-40, 5e-39, -1e-38, 0]
    table = assert_published(weights)
    assert table.buffer[:2].tolist() == [0x88, 0x88]  # 7.5 goes to 8
    assert table.buffer[-24:].view(np.float32)[0] == np.float32(1e-8)


# The search of sse_q4


def errors_of_sse_q4(weights: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each row, by the published rule and by the search."""
    dim = weights.shape[1]
    published = reference.decode_sse_q4(*reference.quantize_sse_q4(weights))
    return error(published, weights, dim), error(quantized_rows(weights, "sse_q4"), weights, dim)


@every_kind
def test_sse_q4_is_never_worse_than_the_published_rule(kind: str) -> None:
    published, searched = errors_of_sse_q4(WEIGHTS[kind])
    assert (searched <= published).all()


@pytest.mark.parametrize("dim", [2, 4, 6, 30, 64, 510])
def test_sse_q4_of_few_or_many_dims(dim: int) -> None:
    rng = np.random.default_rng(dim)
    weights = np.concatenate([rng.standard_normal((40, dim)), rng.standard_t(2, (40, dim))])
    published, searched = errors_of_sse_q4(weights.astype(np.float32))
    assert (searched <= published).all()
    assert (searched / published).mean() < 0.95


@pytest.mark.parametrize("kind", ["normal", "student", "outlier", "sparse", "negative", "ramp"])
def test_sse_q4_is_near_the_least_error_of_any_scale(kind: str) -> None:
    weights = WEIGHTS[kind]
    least = np.array([reference.least_error_sse_q4(row) for row in weights.astype(np.float64)])
    _, searched = errors_of_sse_q4(weights)
    assert (searched >= 0.9999 * least).all()
    assert (searched <= 1.001 * least).all()
    assert searched.sum() <= 1.0001 * least.sum()


def test_sse_q4_of_huge_and_tiny_rows() -> None:
    weights = np.random.default_rng(2).standard_normal((9, 64)).astype(np.float32)
    weights[:, 0] = 2
    for power in (-140, -100, -60, 0, 60, 126):
        scaled = weights * np.float32(2.0**power)
        published, searched = errors_of_sse_q4(scaled)
        assert (searched <= published).all()
        if power >= -100:  # weights that are no subnormal numbers: the same but for the power
            again = Table.quantize(weights).buffer
            assert Table.quantize(scaled).buffer[: 9 * 32].tobytes() == again[: 9 * 32].tobytes()
    largest = np.float32(3.4028235e38)
    weights = np.array([[largest, -largest], [largest, 0], [largest, largest / 7]], np.float32)
    published, searched = errors_of_sse_q4(weights)
    assert (searched <= published).all()


def test_sse_q4_keeps_zeros() -> None:
    for zeros in (np.zeros((3, 6), np.float32), -np.zeros((3, 6), np.float32)):
        assert not quantized_rows(zeros, "sse_q4").view(np.uint32).any()


# The superblocks


def plain_rows(weights: FloatArray, row_format: str) -> FloatArray:
    plain = {"q4_k": reference.plain_q4_k, "q6_k": reference.plain_q6_k}[row_format]
    return decode_superblocks(row_format, plain(weights))


@every_superblock_format
@every_kind
def test_superblocks_are_never_worse_than_plain_rounding(row_format: str, kind: str) -> None:
    weights = WEIGHTS[kind]
    plain = error(plain_rows(weights, row_format), weights, 256)
    searched = error(quantized_rows(weights, row_format), weights, 256)
    # The search compares float32 sums.
    assert (searched <= (1 + 1e-5) * plain).all()


# Of the root mean square error that plain rounding leaves. Without the last step, d and dmin of
# least squares, it would be 0.924 and 0.9396.
@pytest.mark.parametrize(("row_format", "share"), [("q4_k", 0.9218), ("q6_k", 0.9375)])
def test_search_is_worth_it(row_format: str, share: float) -> None:
    weights = weights_from_integers()
    plain = error(plain_rows(weights, row_format), weights, 256)
    searched = error(quantized_rows(weights, row_format), weights, 256)
    assert np.sqrt(searched.sum() / plain.sum()) < share


@every_superblock_format
def test_relative_error_of_rows_that_are_constant(row_format: str) -> None:
    # A float16 has eleven bits.
    for kind in ("constant", "negative constant"):
        rows = quantized_rows(WEIGHTS[kind], row_format)
        assert np.abs(rows / WEIGHTS[kind] - 1).max() < 2**-11


@every_superblock_format
@pytest.mark.parametrize("kind", ["zero", "below the smallest float16", "subnormal", "smallest"])
def test_what_float16_cannot_tell_from_zero_is_zero(row_format: str, kind: str) -> None:
    assert not quantized_rows(WEIGHTS[kind], row_format).any()


@every_superblock_format
def test_superblocks_do_not_meet(row_format: QuantizedFormat) -> None:
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((20, 1024)).astype(np.float32)
    weights *= 10 ** rng.uniform(-3, 3, (20, 4)).astype(np.float32).repeat(256, axis=1)
    alone = Table.quantize(weights.reshape(80, 256), row_format)
    assert Table.quantize(weights, row_format).buffer.tobytes() == alone.buffer.tobytes()


@every_superblock_format
def test_largest_weights(row_format: QuantizedFormat) -> None:
    largest = np.float32(LARGEST[row_format])
    rng = np.random.default_rng(6)
    weights = largest * rng.choice([-1.0, -0.9, 0.9, 1.0], (40, 256)).astype(np.float32)
    weights[:6] = 0
    weights[0] = largest
    weights[1] = -largest
    weights[2, ::2], weights[2, 1::2] = largest, -largest
    weights[3, 7] = largest
    weights[4, 7] = -largest
    weights[5] = np.linspace(-largest, largest, 256, dtype=np.float32)
    rows = quantized_rows(weights, row_format)  # all finite
    assert np.abs(rows - weights).max() < largest / 14
    for beyond in (np.nextafter(largest, np.float32(np.inf)), np.float32(3.4e38)):
        for sign in (1, -1):
            weights[4, 200] = sign * beyond
            with pytest.raises(
                ValueError, match=rf"^row 4 .* beyond {int(largest)}, .*{row_format}"
            ):
                Table.quantize(weights, row_format)


# What all share


@every_format
def test_threads_change_nothing(row_format: QuantizedFormat) -> None:
    weights = np.random.default_rng(4).standard_normal((500, 512)).astype(np.float32)
    expected = Table.quantize(weights, row_format, threads=1).buffer.tobytes()
    for count in (2, 7):
        assert Table.quantize(weights, row_format, threads=count).buffer.tobytes() == expected


def test_threads_do_not_change_the_published_rule() -> None:
    weights = np.random.default_rng(4).standard_normal((4000, 512)).astype(np.float32)
    expected = reference.pack_sse_q4(*reference.quantize_sse_q4(weights))
    for count in (1, 2, 7):
        table = Table.quantize(weights, search=False, threads=count)
        assert table.buffer.tobytes() == expected


# Of the bytes of `weights_from_integers`, on every CPU and by every compiler.
DIGESTS = {"sse_q4": "e4d961aa23084bc6", "q4_k": "5459ff122f187fef", "q6_k": "c49d6b71019d0772"}


@every_format
def test_bytes_are_the_same_everywhere(row_format: QuantizedFormat) -> None:
    packed = Table.quantize(weights_from_integers(), row_format).buffer
    assert hashlib.sha256(packed.tobytes()).hexdigest()[:16] == DIGESTS[row_format]


@every_format
def test_any_numbers_are_taken(row_format: QuantizedFormat) -> None:
    weights = np.random.default_rng(5).integers(-9, 9, (3, 256)).astype(np.float32)
    expected = Table.quantize(weights, row_format).buffer.tobytes()
    strided = weights.astype(np.float64).repeat(2, axis=1)[:, ::2]
    big_endian = np.asfortranarray(weights.astype(">f4"))
    others: list[ArrayLike] = [weights.tolist(), weights.astype(np.float16), strided, big_endian]
    for other in others:
        assert Table.quantize(other, row_format).buffer.tobytes() == expected


@every_format
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_row_that_is_not_finite_is_named(row_format: QuantizedFormat, bad: float) -> None:
    weights = np.zeros((300, 256), np.float32)
    weights[217, 3] = bad
    weights[250, 255] = bad
    for threads in (1, 2):
        with pytest.raises(ValueError, match=r"^row 217 .*not finite"):
            Table.quantize(weights, row_format, threads=threads)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (3, 5), (4,), (1, 2, 2)])
def test_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="weights"):
        Table.quantize(np.zeros(shape, np.float32))


@every_superblock_format
@pytest.mark.parametrize("dim", [0, 2, 128, 255, 257, 384])
def test_dims_of_superblocks(row_format: QuantizedFormat, dim: int) -> None:
    with pytest.raises(ValueError, match=rf"weights are \[3, {dim}\].* 256 .*{row_format}"):
        Table.quantize(np.zeros((3, dim), np.float32), row_format)


def test_formats_and_threads_are_refused() -> None:
    for other in ("float32", "int8", "q8_0"):
        with pytest.raises(ValueError, match=other):
            Table.quantize([[1.0, 2.0]], cast(Any, other))
    for row_format in SUPERBLOCK_FORMATS:
        with pytest.raises(ValueError, match=f"without search, not {row_format}"):
            Table.quantize(np.zeros((1, 256)), cast(QuantizedFormat, row_format), search=False)
    with pytest.raises(ValueError, match="threads"):
        Table.quantize([[1.0, 2.0]], threads=0)


INTERRUPTED = """
import signal
import numpy as np
import nibblevec
signal.signal(signal.SIGINT, signal.default_int_handler)
weights = np.random.default_rng(0).standard_normal((100_000, 512), np.float32)
print("ready", flush=True)
nibblevec.Table.quantize(weights, "q4_k", threads=1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT of a subprocess")
def test_interrupt() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in process.stderr.read()
    assert process.returncode == -signal.SIGINT
