"""Writes the cases of kernel_driver.cpp, from the oracle: ``python tests/kernel_cases.py OUT``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import reference
from numpy.typing import NDArray
from tables import FORMATS, dim_unit, random_table

MAGIC = b"NVCASES1"
SUM, HEAD = 0, 1

ROWS = 11
# Dims of a table and how many are computed: around every width of a vector.
DIMS = (
    *((dim, dim) for dim in (2, 8, 16, 30, 32, 34, 62, 64, 66, 126, 128, 130, 254, 256, 258)),
    *((dim, dim) for dim in (384, 510, 512, 514, 1024)),
    *((512, dims) for dims in (1, 15, 33, 63, 127, 129, 192, 193, 257, 511)),
    (1024, 705),
)
# Tokens, and how many of them in a first piece.
COUNTS = ((0, 0), (1, 0), (2, 1), (7, 7), (8, 3), (9, 0), (31, 30), (64, 0), (65, 1), (130, 70))


# In the order of the kernel's `Norm`.
NORMS: tuple[Callable[[reference.FloatArray], reference.FloatArray], ...] = (
    np.copy,
    reference.normalize,
    reference.normalize_model2vec,
    reference.normalize_model2vec_float16,
)


def number(value: int) -> bytes:
    return value.to_bytes(8, "little")


def sized(array: NDArray[Any]) -> bytes:
    return number(array.size) + array.tobytes()


def sum_cases(random: np.random.Generator) -> Iterator[bytes]:
    for row_format, (dim, dims) in product(FORMATS, DIMS):
        if dim % dim_unit(row_format) != 0:
            continue
        table, rows = random_table(row_format, ROWS, dim, random)
        for index, (count, first_piece) in enumerate(COUNTS):
            ids = random.integers(0, ROWS, count).astype(np.uint32)
            ids[-1:] = ROWS - 1  # the row at the end of the buffer
            weights = random.standard_normal(count).astype(np.float32) if index % 2 else None
            expected = reference.sum_rows(rows[:, :dims], ids, [0, count], weights)[0]
            yield (
                number(SUM)
                + b"".join(map(number, (FORMATS.index(row_format), ROWS, dim, dims, first_piece)))
                + sized(np.frombuffer(table, np.uint8))
                + sized(ids)
                + sized(np.empty(0, np.float32) if weights is None else weights)
                + expected.tobytes()
            )


def head_cases(random: np.random.Generator) -> Iterator[bytes]:
    special = np.array(
        [0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-38, 3e38, 0.625, -0.62500006, 9.02, 10, 100],
        np.float32,
    )
    empty = np.empty(0, np.float32)
    flags = (False, True)
    for (dim, dims), dyt, mean, norm in product(DIMS, flags, flags, range(len(NORMS))):
        vectors = random.standard_normal((3, dim)).astype(np.float32) if dyt else None
        for width in (0.1, 4.0, None):
            row = np.resize(special, dims)
            if width is not None:
                row = (width * random.standard_normal(dims)).astype(np.float32)
            token_count = int(random.integers(0, 20))
            vector = reference.head(
                row[None],
                np.array([token_count]),
                vectors=None if vectors is None else (vectors[0], vectors[1], vectors[2]),
                with_mean=mean,
                with_normalize=False,
            )
            expected = NORMS[norm](vector)[0]
            alpha, beta, bias = (empty,) * 3 if vectors is None else vectors
            yield (
                b"".join(map(number, (HEAD, dims, token_count, mean, norm, alpha.size)))
                + alpha.tobytes()
                + beta.tobytes()
                + bias.tobytes()
                + row.tobytes()
                + expected.tobytes()
            )


def main(path: Path) -> None:
    random = np.random.default_rng(1)
    cases = [*sum_cases(random), *head_cases(random)]
    path.write_bytes(MAGIC + b"".join(cases))
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
