"""Samples of tables, bags of tokens, and what the kernels make of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pytest
import reference
from numpy.typing import NDArray
from tables import random_table

import nibblevec
from nibblevec import _core

FloatArray = NDArray[np.float32]
Vectors = tuple[FloatArray, FloatArray, FloatArray]

DIMS = (2, 8, 16, 30, 32, 34, 64, 256, 384, 510, 512, 514, 768, 1024)

TOKEN_COUNTS = (0, 1, 2, 7, 8, 9, 31, 63, 64, 65, 129, 1000)

every_kernel = pytest.mark.parametrize("kernel", nibblevec.kernels())


@dataclass(frozen=True)
class Sample:
    """A table and its rows as the oracle decodes them."""

    table: _core.Table
    rows: FloatArray


@dataclass(frozen=True)
class Bags:
    ids: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    weights: FloatArray

    @property
    def counts(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)


@functools.cache
def sample(row_format: str, dim: int, row_count: int = 37, shift: int = 0) -> Sample:
    random = np.random.default_rng(dim * 1000 + row_count)
    table_bytes, rows = random_table(row_format, row_count, dim, random)
    data = np.frombuffer(bytes(shift) + table_bytes, np.uint8)
    return Sample(_core.Table(data[shift:], dim, row_format), rows)


@functools.cache
def random_bags(row_count: int, token_counts: tuple[int, ...] = TOKEN_COUNTS) -> Bags:
    random = np.random.default_rng(row_count)
    offsets = np.concatenate([[0], np.cumsum(token_counts)]).astype(np.int64)
    ids = random.integers(0, row_count, offsets[-1]).astype(np.uint32)
    return Bags(ids, offsets, random.standard_normal(offsets[-1]).astype(np.float32))


@functools.cache
def random_vectors(dim: int) -> Vectors:
    """A head that reaches both pieces of tanh."""
    random = np.random.default_rng(dim)
    alpha, beta, bias = random.standard_normal((3, dim)).astype(np.float32)
    return alpha, beta, bias


@functools.cache
def expected_sums(row_format: str, dim: int, dims: int, weighted: bool) -> FloatArray:
    chosen = sample(row_format, dim)
    bags = random_bags(len(chosen.rows))
    weights = bags.weights if weighted else None
    return reference.sum_rows(chosen.rows[:, :dims], bags.ids, bags.offsets, weights)


def pool(
    chosen: Sample,
    bags: Bags,
    kernel: str,
    *,
    dims: int | None = None,
    weighted: bool = False,
    vectors: Vectors | None = None,
    mean: bool = False,
    normalize: bool = False,
    threads: int = 1,
) -> FloatArray:
    # What is not written stays recognisable.
    out = np.full((len(bags.offsets) - 1, dims or chosen.table.dim), 1e30, np.float32)
    _core.pool(
        chosen.table,
        bags.ids,
        bags.offsets,
        out,
        weights=bags.weights if weighted else None,
        dynamic_tanh=None if vectors is None else _core.DynamicTanh(*vectors),
        mean=mean,
        normalize=normalize,
        threads=threads,
        kernel=kernel,
    )
    return out


def apply_head(
    rows: FloatArray,
    token_counts: NDArray[np.int64],
    kernel: str,
    *,
    vectors: Vectors | None,
    mean: bool,
    normalize: bool,
) -> FloatArray:
    out = rows.copy()
    _core.apply_head(
        out,
        token_counts.astype(np.uint64),
        dynamic_tanh=None if vectors is None else _core.DynamicTanh(*vectors),
        mean=mean,
        normalize=normalize,
        kernel=kernel,
    )
    return out
