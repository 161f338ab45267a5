"""Tables of models in other row formats, and how far they are from where they came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from nibblevec._float_environment import in_default_float_environment
from nibblevec._table import Table

if TYPE_CHECKING:
    from nibblevec._model import Model
    from nibblevec._table import RowFormat

    FloatArray = NDArray[np.float32]

# Rows are compared so many weights at a time.
BLOCK_WEIGHTS = 1 << 20

PACKED_FORMATS = ("sse_q4", "q4_k", "q6_k")
SUPERBLOCK_WEIGHTS = 256


def packed(model: Model, row_format: str, *, threads: int | None = None) -> Model:
    """The same model with its table of floats packed; itself, if its table is packed so already.

    Raises:
        ValueError: ``row_format`` is not one that packs, the table is packed in another one, or
            see `Table.quantize`.
    """
    if row_format not in PACKED_FORMATS:
        raise ValueError(f"quantize must be one of {', '.join(PACKED_FORMATS)}, not {row_format!r}")
    if model.table.format == row_format:
        return model
    if model.table.format in PACKED_FORMATS:
        raise ValueError(f"the table is packed already, in {model.table.format}")
    return model._replace(
        table=in_row_format(model.table, row_format, threads=threads),
        headerless_table=None,
        stored_table_bytes=None,
    )


@in_default_float_environment
def in_row_format(table: Table, row_format: str, *, threads: int | None = None) -> Table:
    """The same rows in another format, rounded to the nearest numbers that it has, or packed.

    Args:
        table: the rows; itself returned if it is in that format.
        row_format: ``"float32"``, ``"float16"``, ``"bfloat16"``, or one that `Table.quantize` packs
            into.
        threads: to pack, at most so many; None means all that this process may use.

    Raises:
        ValueError: another format; a weight is not finite, or too large for the format; the format
            does not take this number of dims.
    """
    if row_format == table.format:
        return table
    if row_format in PACKED_FORMATS:
        return Table.quantize(table.dequantize(), cast(Any, row_format), threads=threads)
    weights = table.dequantize()
    numbers: NDArray[Any] = weights
    if row_format == "float16":
        numbers = weights.astype(np.float16)
        _check_finite(np.isfinite(numbers), weights, row_format)
    elif row_format == "bfloat16":
        numbers = _nearest_bfloat16(weights)
        _check_finite((numbers & 0x7F80) != 0x7F80, weights, row_format)
    elif row_format != "float32":
        raise ValueError(f"a table of {table.format} cannot be written as {row_format}")
    return Table.from_buffer(numbers, dim=table.dim, format=cast("RowFormat", row_format))


def _nearest_bfloat16(weights: FloatArray) -> NDArray[np.uint16]:
    """The upper halves of float32 numbers, rounded to nearest, ties to even."""
    bits = weights.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def _check_finite(finite: NDArray[np.bool_], weights: FloatArray, row_format: str) -> None:
    if not finite.all():
        row, dim = np.argwhere(~finite)[0]
        raise ValueError(f"{weights[row, dim]} at row {row}, dim {dim} is no {row_format}")


def fitting_format(table: Table, row_formats: tuple[str, ...]) -> str:
    """Which of these formats a table is best written in, where nobody says.

    Its own, if it is among them; else the first packed one that takes its number of dims; else the
    widest.
    """
    if table.format in row_formats:
        return table.format
    blocks = {"sse_q4": 2, "q4_k": SUPERBLOCK_WEIGHTS, "q6_k": SUPERBLOCK_WEIGHTS}
    for row_format in row_formats:
        if row_format in blocks and table.dim % blocks[row_format] == 0:
            return row_format
    return "float32"


@in_default_float_environment
def with_row_by_id(model: Model) -> Model:
    """The same model with a row for each id, which counts as it is.

    Itself, if it is so; else its table is float32, each row multiplied by its weight. Since a
    weighted sum rounds each product to float32 too, no bit of a mean changes, but for sums in
    float64.
    """
    rules = model.token_rules
    if rules.ids is None:
        return model
    ids = np.arange(rules.ids)
    rows = model.table.dequantize(ids if rules.row_of_id is None else rules.row_of_id)
    if rules.weight_of_id is not None:
        rows = (rows * rules.weight_of_id[:, np.newaxis]).astype(np.float32)
    return model._replace(
        table=Table.from_buffer(rows, dim=model.table.dim, format="float32"),
        token_rules=rules._replace(row_of_id=None, weight_of_id=None),
    )


def first_rows_of_sse_q4(table: Table, rows: int) -> NDArray[np.uint8]:
    """The bytes of a table of sse_q4 that has only the first so many rows of another."""
    codes = table.rows * table.dim // 2
    return np.concatenate(
        [table.buffer[: rows * table.dim // 2], table.buffer[codes : codes + 4 * rows]]
    )


class Distance(NamedTuple):
    """How far the rows of two models are apart.

    Attributes:
        rmse: root of the mean squared difference of their weights.
        mean_cosine: of each row with its counterpart, on average; two rows of zeros have 1.
        least_cosine: the least of these.
    """

    rmse: float
    mean_cosine: float
    least_cosine: float


@in_default_float_environment
def distance(model: Model, other: Model) -> Distance:
    """Compare what each id stands for in two models of the same dims, in float64.

    Where one knows fewer ids than the other, these are compared.
    """
    ids, dim = min(_ids(model), _ids(other)), model.table.dim
    squares = cosines = 0.0
    least = 1.0
    step = max(1, BLOCK_WEIGHTS // dim)
    for begin in range(0, ids, step):
        numbers = np.arange(begin, min(begin + step, ids))
        rows, other_rows = _rows_of(model, numbers), _rows_of(other, numbers)
        difference = rows - other_rows
        squares += float(np.vdot(difference, difference))
        products = np.einsum("ij,ij->i", rows, other_rows)
        norms, other_norms = (np.sqrt(np.einsum("ij,ij->i", r, r)) for r in (rows, other_rows))
        lengths = norms * other_norms
        cosine = np.divide(products, lengths, out=np.zeros(len(rows)), where=lengths > 0)
        cosine[(norms == 0) & (other_norms == 0)] = 1
        cosines += float(cosine.sum())
        least = min(least, float(cosine.min()))
    return Distance((squares / (ids * dim)) ** 0.5, cosines / ids, least)


def _ids(model: Model) -> int:
    ids = model.token_rules.ids
    return model.table.rows if ids is None else ids


def _rows_of(model: Model, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    rules = model.token_rules
    rows = model.table.dequantize(ids if rules.row_of_id is None else rules.row_of_id[ids])
    if rules.weight_of_id is None:
        return rows.astype(np.float64)
    weights = rules.weight_of_id[ids, np.newaxis].astype(np.float64)
    return rows.astype(np.float64) * weights
