"""Heads of every kernel against the oracle, to the bit, and tanh."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import reference
from bag_cases import (
    DIMS,
    FloatArray,
    apply_head,
    every_kernel,
    expected_sums,
    pool,
    random_bags,
    random_vectors,
    sample,
)
from bits import assert_same_bits

import nibblevec

# Heads

HEADS = [
    pytest.param(dyt, mean, normalize, id="-".join(names) or "nothing")
    for dyt in (False, True)
    for mean in (False, True)
    for normalize in (False, True)
    for names in [
        [name for name, on in (("mean", mean), ("dyt", dyt), ("normalize", normalize)) if on]
    ]
]


@every_kernel
@pytest.mark.parametrize(("dyt", "mean", "normalize"), HEADS)
def test_heads(kernel: str, dyt: bool, mean: bool, normalize: bool) -> None:
    for dims in (*DIMS, 1, 3, 7, 15, 17, 31, 33, 127, 129, 511):
        random = np.random.default_rng(dims)
        counts = np.array([0, 1, 2, 3, 129, 16777217, 1 << 40])
        magnitudes = np.array([0, 1, 1e-3, 30, 1e-25, 1e25, 1], np.float32)[:, None]
        sums = random.standard_normal((len(counts), dims)).astype(np.float32) * magnitudes
        vectors = random_vectors(dims) if dyt else None
        expected = reference.head(
            sums, counts, vectors=vectors, with_mean=mean, with_normalize=normalize
        )
        actual = apply_head(sums, counts, kernel, vectors=vectors, mean=mean, normalize=normalize)
        assert_same_bits(actual, expected)


@every_kernel
@pytest.mark.parametrize(("dyt", "mean", "normalize"), HEADS)
@pytest.mark.parametrize("shape", [(34, 34), (512, 512), (512, 32), (512, 129), (30, 15)])
def test_pool_applies_the_head(
    kernel: str, shape: tuple[int, int], dyt: bool, mean: bool, normalize: bool
) -> None:
    dim, dims = shape
    chosen = sample("sse_q4", dim)
    bags = random_bags(len(chosen.rows))
    vectors = random_vectors(dim) if dyt else None
    expected = reference.head(
        expected_sums("sse_q4", dim, dims, False),
        bags.counts,
        vectors=vectors,
        with_mean=mean,
        with_normalize=normalize,
    )
    actual = pool(chosen, bags, kernel, dims=dims, vectors=vectors, mean=mean, normalize=normalize)
    assert_same_bits(actual, expected)


@every_kernel
@pytest.mark.parametrize(("dyt", "mean", "normalize"), HEADS)
def test_heads_of_special_numbers(kernel: str, dyt: bool, mean: bool, normalize: bool) -> None:
    specials = np.array(
        [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-40, 1e38, -3.4e38, 0.625, -0.625, 9.5],
        np.float32,
    )
    for dims in (1, 16, 21, 40):
        plain = np.linspace(-2, 2, dims, dtype=np.float32)
        rows = []
        for i, special in enumerate(specials):
            # One alone among ordinary numbers, in a whole block and at the edge, and all of them.
            for place in (i % dims, dims - 1):
                row = plain.copy()
                row[place] = special
                rows.append(row)
            rows.append(np.full(dims, special, np.float32))
        rows.append(np.resize(specials, dims))
        rows.append(np.resize(specials[3:7], dims))
        sums = np.stack(rows)
        counts = np.arange(len(sums))
        alpha = np.resize(np.array([1, -1, 0.5], np.float32), dims)
        beta = np.resize(np.array([1, -2, 0.0, np.inf], np.float32), dims)
        bias = np.resize(np.array([-0.0, 0.25, 0.0, -3, np.nan], np.float32), dims)
        for vectors in ((alpha, beta, bias), (alpha, np.ones_like(beta), np.zeros_like(bias))):
            chosen = vectors if dyt else None
            expected = reference.head(
                sums, counts, vectors=chosen, with_mean=mean, with_normalize=normalize
            )
            actual = apply_head(
                sums, counts, kernel, vectors=chosen, mean=mean, normalize=normalize
            )
            assert_same_bits(actual, expected)


@every_kernel
def test_tiny_rows_are_divided_by_the_least_norm(kernel: str) -> None:
    rows = np.array([[3e-13, 4e-13], [3e-12, 4e-12], [0, 0], [1e-30, 0]], np.float32)
    actual = apply_head(
        rows, np.ones(4, np.int64), kernel, vectors=None, mean=False, normalize=True
    )
    by_hand = np.array([[0.3, 0.4], [0.6, 0.8], [0, 0], [1e-18, 0]])
    np.testing.assert_allclose(actual.astype(np.float64), by_hand, rtol=1e-6)
    assert_same_bits(actual, reference.normalize(rows))


# tanh


def tanh_of(x: FloatArray, kernel: str) -> FloatArray:
    """The kernel's tanh, through a head that changes nothing else, not even -0.0."""
    dims = 1024
    assert x.size % dims == 0
    ones = np.ones(dims, np.float32)
    return apply_head(
        x.reshape(-1, dims),
        np.ones(x.size // dims, np.int64),
        kernel,
        vectors=(ones, ones, -0.0 * ones),
        mean=False,
        normalize=False,
    ).reshape(-1)


def assert_within_2_ulp(actual: FloatArray, x: FloatArray) -> None:
    with np.errstate(invalid="ignore"):
        exact = np.tanh(x.astype(np.float64))
    _, exponent = np.frexp(exact)
    ulp = np.ldexp(1.0, np.maximum(exponent - 24, -149))
    error = np.abs(actual - exact) / ulp
    isnan = np.isnan(x)
    assert (np.isnan(actual) == isnan).all()
    error[isnan] = 0
    worst = int(error.argmax())
    assert error[worst] <= 2, f"{error[worst]} ulp at {x[worst].item().hex()}"
    # The polynomial turns -0.0 into 0.0.
    assert (np.signbit(actual) == np.signbit(x))[~isnan & (x != 0)].all()


def float_range(first_bits: int, count: int, step: int = 1) -> FloatArray:
    last = first_bits + count * step
    return np.arange(first_bits, last, step, dtype=np.uint64).astype(np.uint32).view(np.float32)


def bits_of(number: float) -> int:
    return int(np.float32(number).view(np.uint32))


@functools.cache
def tanh_inputs() -> FloatArray:
    window = 1 << 15
    around = (0.0, -0.0, 1.1754944e-38, 1e-4, 0.625, -0.625, 9.01, 10.0, -10.0, np.inf, -np.inf)
    parts = [float_range(max(0, bits_of(number) - window // 2), window) for number in around]
    # Every 1021st of all floats, then ten times as dense where tanh bends.
    parts.append(float_range(0, (1 << 32) // 1021, 1021))
    bend = bits_of(16.0) - bits_of(2**-6)
    parts += [float_range(bits_of(sign * 2**-6), bend // 101, 101) for sign in (1, -1)]
    x = np.concatenate(parts)
    return np.concatenate([x, np.zeros(-x.size % 1024, np.float32)])


@functools.cache
def expected_tanh() -> FloatArray:
    return reference.tanh(tanh_inputs())


def test_reference_tanh_is_within_2_ulp() -> None:
    assert_within_2_ulp(expected_tanh(), tanh_inputs())


@every_kernel
def test_tanh(kernel: str) -> None:
    x = tanh_inputs()
    assert np.isnan(x).any()
    assert np.isinf(x).any()
    # Equal bits, so within 2 ulp as the oracle is.
    assert_same_bits(tanh_of(x, kernel), expected_tanh())


@pytest.mark.slow
def test_tanh_of_every_float() -> None:
    block = 1 << 18  # stays in the cache
    for first in range(0, 1 << 32, block):
        x = float_range(first, block)
        expected = reference.tanh(x)
        assert_within_2_ulp(expected, x)
        for kernel in nibblevec.kernels():
            assert_same_bits(tanh_of(x, kernel), expected)
