"""Sums of every kernel against the oracle, to the bit."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import page_end
import pytest
import reference
from bag_cases import (
    DIMS,
    Bags,
    FloatArray,
    Sample,
    apply_head,
    every_kernel,
    expected_sums,
    pool,
    random_bags,
    random_vectors,
    sample,
)
from bits import assert_same_bits, bits
from float_modes import FLUSH_DENORMALS, UPWARD, mxcsr_bits, on_x86_linux
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tables import FORMATS, PLAIN_FORMATS, SUPERBLOCK_FORMATS, decode_superblocks, dim_unit

from nibblevec import _core
from nibblevec._bundled import BUNDLED_MODEL

# Pairs of a table's dim and how many are computed.
TRUNCATIONS = (
    *((512, dims) for dims in (1, 2, 15, 17, 31, 33, 63, 65, 127, 128, 129, 191, 255, 257, 511)),
    *((30, dims) for dims in (1, 15, 16, 29)),
    *((34, dims) for dims in (31, 32, 33)),
    *((130, dims) for dims in (127, 128, 129)),
    (512, 64), (512, 192), (512, 193), (512, 256), (512, 320), (512, 321), (512, 448),
    *((1024, dims) for dims in (192, 512, 513, 704, 705, 767, 768, 769)),
)  # fmt: skip

PIECE_TOKENS = 1 << 16  # a longer bag is summed in pieces

every_format = pytest.mark.parametrize("row_format", FORMATS)
every_superblock_format = pytest.mark.parametrize("row_format", SUPERBLOCK_FORMATS)


def sample_from(codes: NDArray[np.uint8], scales: FloatArray, shift: int = 0) -> Sample:
    """A table of sse_q4 whose bytes start ``shift`` bytes into an array."""
    data = np.frombuffer(bytes(shift) + reference.pack_sse_q4(codes, scales), np.uint8)
    table = _core.Table(data[shift:], 2 * codes.shape[1], "sse_q4")
    return Sample(table, reference.decode_sse_q4(codes, scales))


def plain_sample(row_format: str, numbers: NDArray[np.uint8]) -> Sample:
    """A table of rows of numbers, given as their bytes [rows, row_bytes]."""
    dim = numbers.shape[1] // PLAIN_FORMATS[row_format]
    table = _core.Table(np.frombuffer(numbers.tobytes(), np.uint8), dim, row_format)
    return Sample(table, reference.decode_plain(numbers, row_format))


def superblock_sample(row_format: str, blocks: NDArray[np.uint8]) -> Sample:
    """A table of superblocks, one a row."""
    table = _core.Table(np.frombuffer(blocks.tobytes(), np.uint8), 256, row_format)
    return Sample(table, decode_superblocks(row_format, blocks))


def possible_dim(row_format: str, dim: int) -> int:
    """``dim``, or the least above it that the format can have."""
    unit = dim_unit(row_format)
    return -(-dim // unit) * unit


# Sums


@every_kernel
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    ("row_format", "dim"),
    [(name, dim) for name in FORMATS for dim in DIMS if dim % dim_unit(name) == 0],
)
def test_sums(kernel: str, row_format: str, dim: int, weighted: bool) -> None:
    chosen = sample(row_format, dim)
    actual = pool(chosen, random_bags(len(chosen.rows)), kernel, weighted=weighted)
    assert_same_bits(actual, expected_sums(row_format, dim, dim, weighted))


@every_kernel
@pytest.mark.parametrize(
    ("row_format", "dim", "dims"),
    [(name, *pair) for name in FORMATS for pair in TRUNCATIONS if pair[0] % dim_unit(name) == 0],
)
def test_truncated_sums(kernel: str, row_format: str, dim: int, dims: int) -> None:
    chosen = sample(row_format, dim)
    bags = random_bags(len(chosen.rows))
    for weighted in (False, True):
        actual = pool(chosen, bags, kernel, dims=dims, weighted=weighted)
        assert_same_bits(actual, expected_sums(row_format, dim, dim, weighted)[:, :dims])


@every_kernel
@every_format
@pytest.mark.parametrize("dim", [2, 6, 34, 130])
def test_unaligned_tables(kernel: str, row_format: str, dim: int) -> None:
    # An odd number of rows of an odd number of bytes leaves the scales unaligned.
    for row_count in (1, 3, 5):
        bags = random_bags(row_count, (0, 1, 2, 9))
        for shift in range(4):
            chosen = sample(row_format, possible_dim(row_format, dim), row_count, shift)
            expected = reference.sum_rows(chosen.rows, bags.ids, bags.offsets)
            assert_same_bits(pool(chosen, bags, kernel), expected)


@every_kernel
def test_special_scales(kernel: str) -> None:
    scales = np.array(
        [0.0, -0.0, -1.5, 1.4e-45, 1e-40, -3e-39, 1.1754944e-38, 1e38, -1e38, 3.4028235e38],
        np.float32,
    )
    assert (scales[3:6] != 0).all()
    codes = np.arange(256, dtype=np.uint8)[None].repeat(len(scales), axis=0)
    chosen = sample_from(codes, scales)
    # Each row alone, each with each, and all of them, where large ones overflow.
    pairs = [(i, j) for i in range(len(scales)) for j in range(len(scales))]
    sizes = [1] * len(scales) + [2] * len(pairs) + [len(scales)]
    ids = [*range(len(scales)), *(i for pair in pairs for i in pair), *range(len(scales))]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    weights = np.resize(np.array([1, -1, 0, -0.0, 1e-30, 1e30], np.float32), len(ids))
    bags = Bags(np.array(ids, np.uint32), offsets, weights)
    for weighted in (False, True):
        expected = reference.sum_rows(
            chosen.rows, bags.ids, bags.offsets, weights if weighted else None
        )
        assert_same_bits(pool(chosen, bags, kernel, weighted=weighted), expected)


@every_kernel
def test_special_numbers_of_float32_rows(kernel: str) -> None:
    numbers = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3.4e38, -3.4e38, 1.0], np.float32
    )
    rows = np.stack([np.roll(np.resize(numbers, 50), shift) for shift in range(len(numbers))])
    chosen = plain_sample("float32", rows.view(np.uint8))
    bags = random_bags(len(rows), (0, *[1] * 12, 2, 3, 9))
    weights = np.resize(np.array([1, 0, -2, np.inf, np.nan], np.float32), len(bags.ids))
    bags = Bags(bags.ids, bags.offsets, weights)
    for weighted in (False, True):
        expected = reference.sum_rows(rows, bags.ids, bags.offsets, weights if weighted else None)
        assert_same_bits(pool(chosen, bags, kernel, weighted=weighted), expected)


@every_kernel
@pytest.mark.parametrize("row_format", ["float16", "bfloat16"])
def test_every_number_of_16_bits(kernel: str, row_format: str) -> None:
    words = np.arange(1 << 16, dtype=np.uint16).reshape(1024, 64)
    chosen = plain_sample(row_format, words.view(np.uint8))
    bags = random_bags(1024, (1,) * 1024)
    bags = Bags(np.arange(1024, dtype=np.uint32), bags.offsets, bags.weights)
    sums = reference.sum_rows(chosen.rows, bags.ids, bags.offsets)
    assert_same_bits(pool(chosen, bags, kernel), sums)
    assert_same_bits(_core.dequantize(chosen.table, bags.ids), chosen.rows)


@every_kernel
def test_every_number_of_8_bits(kernel: str) -> None:
    chosen = plain_sample("int8", np.arange(256, dtype=np.uint8)[None])
    expected = np.concatenate([np.arange(128), np.arange(-128, 0)]).astype(np.float32)[None]
    assert_same_bits(chosen.rows, expected)
    one = Bags(np.zeros(1, np.uint32), np.array([0, 1]), np.ones(1, np.float32))
    assert_same_bits(pool(chosen, one, kernel), expected)
    assert_same_bits(_core.dequantize(chosen.table, one.ids), expected)


# Zeros, the least subnormal, the greatest subnormal, the least normal, ordinary, the greatest.
SPECIAL_HALVES = np.array(
    [0.0, -0.0, 6e-8, -6e-8, 6.1e-5, 6.104e-5, 0.3333, -1.0, 65504.0, -65504.0], np.float16
)


@functools.cache
def every_superblock(row_format: str) -> Sample:
    """Every scale with every minimum and code; the superblocks' own scales are special numbers."""
    if row_format == "q4_k":
        pairs = np.arange(64 * 64).reshape(-1, 8)
        count = len(pairs)
        blocks = reference.pack_q4_k(
            np.resize(SPECIAL_HALVES, count),
            np.resize(SPECIAL_HALVES.repeat(len(SPECIAL_HALVES)), count),
            (pairs // 64).astype(np.uint8),
            (pairs % 64).astype(np.uint8),
            np.tile(np.arange(256, dtype=np.uint8) * 7 % 16, (count, 1)),
        )
    else:
        # Sixteen codes a sub-block: each scale comes four times.
        scales = np.arange(1024).reshape(-1, 16)
        count = len(scales) * len(SPECIAL_HALVES)
        codes = np.tile(np.arange(16), (len(scales), 16, 1))
        codes = (codes + 16 * (np.arange(1024) // 256).reshape(-1, 16, 1)) % 64
        blocks = reference.pack_q6_k(
            SPECIAL_HALVES.repeat(len(scales)),
            np.tile(scales.astype(np.uint8).view(np.int8), (len(SPECIAL_HALVES), 1)),
            np.tile(codes.astype(np.uint8).reshape(-1, 256), (len(SPECIAL_HALVES), 1)),
        )
    return superblock_sample(row_format, blocks)


@every_kernel
@every_superblock_format
def test_every_scale_and_code(kernel: str, row_format: str) -> None:
    chosen = every_superblock(row_format)
    count = len(chosen.rows)
    alone = Bags(
        np.arange(count, dtype=np.uint32), np.arange(count + 1), random_bags(count).weights[:count]
    )
    assert_same_bits(_core.dequantize(chosen.table, alone.ids), chosen.rows)
    for weighted in (False, True):
        weights = alone.weights if weighted else None
        expected = reference.sum_rows(chosen.rows, alone.ids, alone.offsets, weights)
        assert_same_bits(pool(chosen, alone, kernel, weighted=weighted), expected)
    # Where one product cancels another, where a sum rounds, and with weights of all kinds.
    bags = random_bags(count)
    special = np.array([1, -1, 0, -0.0, 1e-38, 1e35, np.inf, np.nan], np.float32)
    bags = Bags(bags.ids, bags.offsets, np.resize(special, len(bags.ids)))
    for weighted in (False, True):
        weights = bags.weights if weighted else None
        expected = reference.sum_rows(chosen.rows, bags.ids, bags.offsets, weights)
        assert_same_bits(pool(chosen, bags, kernel, weighted=weighted), expected)


@every_kernel
@every_format
@pytest.mark.parametrize("extra", [-1, 0, 1, PIECE_TOKENS + 70])
def test_bags_in_pieces(kernel: str, row_format: str, extra: int) -> None:
    chosen = sample(row_format, possible_dim(row_format, 34))
    bags = random_bags(len(chosen.rows), (3, PIECE_TOKENS + extra, 2))
    expected = _sums_of_long_bags(row_format, extra)
    assert_same_bits(pool(chosen, bags, kernel, weighted=True, mean=True), expected)


@functools.cache
def _sums_of_long_bags(row_format: str, extra: int) -> FloatArray:
    chosen = sample(row_format, possible_dim(row_format, 34))
    bags = random_bags(len(chosen.rows), (3, PIECE_TOKENS + extra, 2))
    sums = reference.sum_rows(chosen.rows, bags.ids, bags.offsets, bags.weights)
    return reference.mean(sums, bags.counts)


@every_kernel
@every_format
def test_a_bag_does_not_depend_on_its_neighbours(kernel: str, row_format: str) -> None:
    dim = possible_dim(row_format, 510)
    chosen = sample(row_format, dim)
    bags = random_bags(len(chosen.rows))
    head = random_vectors(dim)
    together = pool(chosen, bags, kernel, weighted=True, vectors=head, mean=True, normalize=True)
    for i, row in enumerate(together):
        begin, end = bags.offsets[i], bags.offsets[i + 1]
        one = Bags(bags.ids[begin:end], np.array([0, end - begin]), bags.weights[begin:end])
        alone = pool(chosen, one, kernel, weighted=True, vectors=head, mean=True, normalize=True)
        assert_same_bits(alone[0], row)


@every_kernel
@every_format
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_do_not_change_bits(kernel: str, row_format: str, threads: int) -> None:
    dim = possible_dim(row_format, 30)
    few = sample(row_format, dim)
    bags = random_bags(len(few.rows))
    assert_same_bits(
        pool(few, bags, kernel, threads=threads), expected_sums(row_format, dim, dim, False)
    )

    # Worth seven threads: 12 ms at 0.03 ns a token and 0.5 ns a bag, times 512 dimensions.
    # Blocks of 64 bags begin anywhere among the 61 that repeat.
    repeats = 270
    chosen = sample(row_format, 512)
    counts = tuple(range(61))
    bags = random_bags(len(chosen.rows), counts)
    assert 512 * repeats * (0.03 * sum(counts) + 0.5 * len(counts)) > 11e6
    many = Bags(
        np.tile(bags.ids, repeats),
        np.concatenate([[0], np.cumsum(np.tile(counts, repeats))]),
        np.tile(bags.weights, repeats),
    )
    sums = reference.sum_rows(chosen.rows, bags.ids, bags.offsets, bags.weights)
    expected = reference.head(
        sums, bags.counts, vectors=random_vectors(512), with_mean=True, with_normalize=True
    )
    actual = pool(
        chosen,
        many,
        kernel,
        weighted=True,
        vectors=random_vectors(512),
        mean=True,
        normalize=True,
        threads=threads,
    )
    assert_same_bits(actual[:61], expected)
    repeated = actual.view(np.uint32).reshape(repeats, 61, 512)
    assert (repeated == repeated[0]).all()


def unaligned(array: NDArray[Any]) -> NDArray[Any]:
    moved = np.frombuffer(bytearray(b"?" + array.tobytes()), np.uint8)[1:].view(array.dtype)
    assert not moved.flags.aligned
    return moved


def test_unaligned_arrays_are_refused() -> None:
    chosen = sample("sse_q4", 34)
    bags = random_bags(len(chosen.rows))
    out = np.zeros((len(bags.counts), 34), np.float32)
    vector = np.zeros(34, np.float32)
    with pytest.raises(ValueError, match="ids must be aligned"):
        _core.pool(chosen.table, unaligned(bags.ids), bags.offsets, out)
    with pytest.raises(ValueError, match="offsets must be aligned"):
        _core.pool(chosen.table, bags.ids, unaligned(bags.offsets), out)
    with pytest.raises(ValueError, match="out must be aligned"):
        _core.pool(chosen.table, bags.ids, bags.offsets, unaligned(out).reshape(out.shape))
    with pytest.raises(ValueError, match="weights must be aligned"):
        _core.pool(chosen.table, bags.ids, bags.offsets, out, weights=unaligned(bags.weights))
    with pytest.raises(ValueError, match="beta must be aligned"):
        _core.DynamicTanh(vector, unaligned(vector), vector)
    with pytest.raises(ValueError, match="rows must be aligned"):
        _core.apply_head(unaligned(vector)[None], np.ones(1, np.uint64))
    with pytest.raises(ValueError, match="weights must be aligned"):
        _core.quantize(unaligned(vector)[None], "sse_q4")


# Memory


def run_page_end(argument: str) -> subprocess.CompletedProcess[str]:
    program = Path(page_end.__file__)
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", str(program), argument],
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
@every_kernel
def test_nothing_beyond_a_buffer_is_touched(kernel: str) -> None:
    result = run_page_end(kernel)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
def test_reading_beyond_a_buffer_would_be_noticed() -> None:
    process = run_page_end("--overread")
    assert process.returncode != 0
    assert "Segmentation fault" in process.stderr or "Bus error" in process.stderr


# The caller's floating-point environment


@functools.cache
def denormal_sample() -> Sample:
    codes = np.arange(64, dtype=np.uint8).reshape(4, 16)
    return sample_from(codes, np.array([1e-38, 1e-40, 2e-38, 1], np.float32))


@functools.cache
def weights_to_quantize() -> FloatArray:
    return np.linspace(-1, 1, 2560, dtype=np.float32).reshape(10, 256)


def outcomes(kernel: str) -> list[bytes]:
    """The bytes that come of everything that computes; inputs are made when it is first called."""
    chosen = sample("sse_q4", 34)
    bags = random_bags(4)
    vectors = random_vectors(34)
    results: list[NDArray[np.float32] | NDArray[np.uint8]] = [
        pool(chosen, bags, kernel, weighted=True),
        pool(chosen, bags, kernel, vectors=vectors, mean=True, normalize=True),
        pool(denormal_sample(), bags, kernel),
        _core.dequantize(denormal_sample().table, np.arange(4)),
        _core.quantize(weights_to_quantize(), "sse_q4", search=False),
        *(_core.quantize(weights_to_quantize(), name) for name in ("sse_q4", "q4_k", "q6_k")),
        apply_head(
            weights_to_quantize(),
            np.full(10, 3),
            kernel,
            vectors=random_vectors(256),
            mean=True,
            normalize=True,
        ),
    ]
    return [result.tobytes() for result in results]


@on_x86_linux
@every_kernel
@pytest.mark.parametrize("threads", [1, 2])
def test_rounding_mode_of_the_caller_changes_nothing(kernel: str, threads: int) -> None:
    expected = outcomes(kernel)
    chosen = sample("sse_q4", 512)
    bags = random_bags(len(chosen.rows), (20,) * 9000)
    large = pool(chosen, bags, kernel, mean=True, threads=threads)
    with mxcsr_bits(UPWARD):
        is_set = np.float32(1) + np.float32(2**-30) > 1
        actual = outcomes(kernel)
        actual_large = pool(chosen, bags, kernel, mean=True, threads=threads)
        is_still_set = np.float32(1) + np.float32(2**-30) > 1
    assert is_set
    assert is_still_set
    assert not np.float32(1) + np.float32(2**-30) > 1
    assert actual == expected
    assert (bits(actual_large) == bits(large)).all()


@on_x86_linux
@every_kernel
def test_flushed_denormals_of_the_caller_change_nothing(kernel: str) -> None:
    expected = outcomes(kernel)
    half_of_smallest_normal = np.array([1.1754944e-38], np.float32)
    with mxcsr_bits(FLUSH_DENORMALS):
        is_flushed = not (half_of_smallest_normal * np.float32(0.5)).view(np.uint32)[0]
        actual = outcomes(kernel)
    assert is_flushed
    assert actual == expected


# The bundled model


@every_kernel
@pytest.mark.parametrize("dims", [512, 129, 32])
def test_bundled_model(kernel: str, dims: int) -> None:
    folder = Path(BUNDLED_MODEL)
    data = np.fromfile(folder / "embedding.q4_k_m.bin", np.uint8)
    row_count, dim = 30522, 512
    assert data.size == row_count * (dim // 2 + 4)
    codes = data[: row_count * dim // 2].reshape(row_count, -1)
    scales = data[codes.size :].view("<f4").astype(np.float32)
    rest = load_file(str(folder / "model_rest.safetensors"))
    vectors = (rest["dyt.alpha"], rest["dyt.beta"], rest["dyt.bias"])

    bags = random_bags(row_count, (0, 1, 9, 64, 129, 400))
    used, ids = np.unique(bags.ids, return_inverse=True)
    rows = reference.decode_sse_q4(codes[used], scales[used])[:, :dims]
    expected = reference.head(
        reference.sum_rows(rows, ids, bags.offsets),
        bags.counts,
        vectors=vectors,
        with_mean=True,
        with_normalize=True,
    )
    chosen = Sample(_core.Table(data, dim, "sse_q4"), rows)
    actual = pool(chosen, bags, kernel, dims=dims, vectors=vectors, mean=True, normalize=True)
    assert_same_bits(actual, expected)


# Errors


def test_unknown_kernel() -> None:
    chosen = sample("sse_q4", 8)
    calls: list[Callable[[], object]] = [
        lambda: pool(chosen, random_bags(37), "mmx"),
        lambda: apply_head(
            np.zeros((1, 2), np.float32),
            np.ones(1, np.int64),
            "mmx",
            vectors=None,
            mean=True,
            normalize=False,
        ),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"no kernel named 'mmx'.*portable"):
            call()
