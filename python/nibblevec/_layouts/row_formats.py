"""Tables of models in other row formats, or with other rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

import nibblevec._core as _core
from nibblevec._float_environment import in_default_float_environment
from nibblevec._table import PACKED_FORMATS, Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nibblevec._model import Model
    from nibblevec._table import RowFormat

    FloatArray = NDArray[np.float32]

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
    """The same rows in another format, rounded to the nearest weights that it has, or packed.

    Args:
        table: the rows; itself returned if it is in that format.
        row_format: ``"float32"``, ``"float16"``, ``"bfloat16"``, or one that `Table.quantize` packs
            into.
        threads: pack on at most N; None: the CPUs that this process may use.

    Raises:
        ValueError: another format; a weight is not finite, or too large for the format; the format
            does not take this number of dims.
    """
    if row_format == table.format:
        return table
    if row_format in PACKED_FORMATS:
        return Table.quantize(table.dequantize(), cast(Any, row_format), threads=threads)
    weights = table.dequantize()
    rounded: NDArray[Any] = weights
    if row_format == "float16":
        rounded = weights.astype(np.float16)
        _check_finite(np.isfinite(rounded), weights, row_format)
    elif row_format == "bfloat16":
        rounded = _nearest_bfloat16(weights)
        _check_finite((rounded & 0x7F80) != 0x7F80, weights, row_format)
    elif row_format != "float32":
        raise ValueError(f"a table of {table.format} cannot be written as {row_format}")
    return Table.from_buffer(rounded, dim=table.dim, format=cast("RowFormat", row_format))


def _nearest_bfloat16(weights: FloatArray) -> NDArray[np.uint16]:
    """The upper halves of float32 weights, rounded to nearest, ties to even."""
    bits = weights.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def _check_finite(finite: NDArray[np.bool_], weights: FloatArray, row_format: str) -> None:
    if not finite.all():
        row, dim = np.argwhere(~finite)[0]
        raise ValueError(f"{weights[row, dim]} at row {row}, dim {dim} is no {row_format}")


def fitting_format(table: Table, row_formats: tuple[str, ...]) -> str:
    """The best of these row formats for a table, if the caller names none.

    Its own, if it is among them; else the first packed one that takes its number of dims; else
    float32.
    """
    if table.format in row_formats:
        return table.format
    block_dims = _core.row_formats()
    for row_format in row_formats:
        if row_format in PACKED_FORMATS and table.dim % block_dims[row_format] == 0:
            return row_format
    return "float32"


@in_default_float_environment
def with_row_by_id(model: Model) -> Model:
    """The same model with a row for each id, without weights.

    Itself, if it has these rows; else its table is float32, each row multiplied by its weight. A
    weighted sum rounds each product to float32 too, so no bit of a mean changes, except with sums
    in float64.
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
