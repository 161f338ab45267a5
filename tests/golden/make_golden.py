"""Writes golden.npz, from the oracle alone: ``python tests/golden/make_golden.py [output]``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

import reference

PATH = Path(__file__).with_name("golden.npz")


def random_words(seed: int, count: int) -> NDArray[np.uint64]:
    """splitmix64: the same numbers with every version of NumPy, whose generators may change.

    Source: https://prng.di.unimi.it/splitmix64.c
    """
    with np.errstate(over="ignore"):
        steps = np.arange(1, count + 1, dtype=np.uint64)
        z = np.uint64(seed) + steps * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def random_below(seed: int, count: int, limit: int) -> NDArray[np.int64]:
    return (random_words(seed, count) % np.uint64(limit)).astype(np.int64)


def random_floats(seed: int, count: int, largest: float = 1.0) -> NDArray[np.float32]:
    """Multiples of 2^-23 in [-1, 1), times ``largest``, a power of two: all exact."""
    whole = random_below(seed, count, 1 << 24) - (1 << 23)
    return (whole / (1 << 23) * largest).astype(np.float32)


def golden() -> dict[str, NDArray[Any]]:
    dim, row_count, truncated = 130, 21, 33
    codes = random_below(1, row_count * dim // 2, 256).astype(np.uint8).reshape(row_count, -1)
    scales = random_floats(2, row_count, 0.5)
    scales[:5] = [0.0, -0.0, 1e-40, 1e30, -1.0]
    rows = reference.decode_sse_q4(codes, scales)

    counts = np.array([0, 1, 2, 7, 8, 9, 31, 64, 65])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    ids = 5 + random_below(3, offsets[-1], row_count - 5)
    ids[:10] = [0, 1, 2, 3, 4, 0, 1, 2, 20, 4]  # special scales come in short bags
    token_weights = random_floats(4, len(ids), 2.0)
    alpha, beta, bias = (random_floats(5 + i, dim, 2.0) for i in range(3))

    sums = reference.sum_rows(rows, ids, offsets)
    weights = random_floats(8, 5 * dim).reshape(5, dim)
    weights[1] = 0
    weights[2, :16] = (np.arange(16) - 7.5) / 7.5  # on the levels
    weights[2, 16:31] = (np.arange(15) - 7.0) / 7.5  # between two of them
    weights[2, 31] = 1
    float_ids = ids % len(weights)

    tanh_inputs = np.concatenate(
        [
            random_words(9, 448).astype(np.uint32).view(np.float32),
            random_floats(10, 256, 8.0),
            random_floats(11, 256),
            np.resize(
                np.array([0, -0.0, np.inf, -np.inf, 1e-45, 0.625, -0.625, 9.01, 10, 11]), 64
            ).astype(np.float32),
        ]
    )
    tanh_inputs[np.isnan(tanh_inputs)] = np.nan

    int8_numbers = random_below(12, 5 * dim, 256).astype(np.uint8).view(np.int8).reshape(5, dim)
    q4_k_blocks = random_below(13, 5 * 2 * 144, 256).astype(np.uint8).reshape(10, 144)
    q6_k_blocks = random_below(14, 5 * 2 * 210, 256).astype(np.uint8).reshape(10, 210)
    halves = random_floats(15, 30, 0.5).astype(np.float16)
    halves[:6] = [0.0, -0.0, 6e-8, -3e-5, 65504.0, -65504.0]
    q4_k_blocks[:, :4] = halves[:20].reshape(10, 2).view(np.uint8)
    q6_k_blocks[:, 208:] = halves[[0, 1, 2, 3, 4, 25, 26, 27, 28, 29], None].view(np.uint8)
    q4_k_blocks, q6_k_blocks = q4_k_blocks.reshape(5, -1), q6_k_blocks.reshape(5, -1)
    q4_k_decoded = reference.decode_q4_k(q4_k_blocks)
    q6_k_decoded = reference.decode_q6_k(q6_k_blocks)
    int8_decoded = reference.decode_plain(int8_numbers.view(np.uint8), "int8")

    def head(sums: reference.FloatArray, dyt: bool, normalize: bool) -> reference.FloatArray:
        return reference.head(
            sums,
            counts,
            vectors=(alpha, beta, bias) if dyt else None,
            with_mean=True,
            with_normalize=normalize,
        )

    return {
        "codes": codes,
        "scales": scales,
        "decoded": rows,
        "ids": ids.astype(np.uint32),
        "offsets": offsets.astype(np.int64),
        "token_weights": token_weights,
        "alpha": alpha,
        "beta": beta,
        "bias": bias,
        "sums": sums,
        "weighted_sums": reference.sum_rows(rows, ids, offsets, token_weights),
        "means": head(sums, False, False),
        "dyt": head(sums, True, False),
        "dyt_normalized": head(sums, True, True),
        "truncated_normalized": head(sums[:, :truncated], True, True),
        "float_weights": weights,
        "float_ids": float_ids.astype(np.uint32),
        "float_sums": reference.sum_rows(weights, float_ids, offsets),
        "quantized": np.frombuffer(
            reference.pack_sse_q4(*reference.quantize_sse_q4(weights)), np.uint8
        ),
        "int8_numbers": int8_numbers,
        "int8_sums": reference.sum_rows(int8_decoded, float_ids, offsets),
        "q4_k_blocks": q4_k_blocks,
        "q4_k_decoded": q4_k_decoded,
        "q4_k_sums": reference.sum_rows(q4_k_decoded, float_ids, offsets),
        "q4_k_weighted_sums": reference.sum_rows(q4_k_decoded, float_ids, offsets, token_weights),
        "q6_k_blocks": q6_k_blocks,
        "q6_k_decoded": q6_k_decoded,
        "q6_k_sums": reference.sum_rows(q6_k_decoded, float_ids, offsets),
        "q6_k_weighted_sums": reference.sum_rows(q6_k_decoded, float_ids, offsets, token_weights),
        "tanh_inputs": tanh_inputs,
        "tanh_outputs": reference.tanh(tanh_inputs),
    }


if __name__ == "__main__":
    arrays: dict[str, Any] = golden()
    np.savez_compressed(sys.argv[1] if len(sys.argv) > 1 else PATH, **arrays)
