"""Tensors of a model, checked: tables, finite vectors, rows and weights of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nibblevec._containers.files import ModelFormatError
from nibblevec._containers.stored_tensors import StoredTensor, Tensor
from nibblevec._table import PACKED_FORMATS, RowFormat, Table
from nibblevec._token_rules import TokenRules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

# Greatest length of a vector of a Dynamic Tanh; bounds a read before the dims are known.
MAX_DIMS = 1 << 20

# Greatest number of tokens with rows or weights: a `tokenizer.json` of the greatest size has fewer.
MAX_TOKENS = 1 << 25

FLOAT_TYPES = ("F32", "F16", "BF16")

# Row formats by the types of tensors. Packed ones have ggml's names, so sse_q4 has none.
ROW_FORMATS: dict[str, RowFormat] = {
    **{"F32": "float32", "F16": "float16", "BF16": "bfloat16", "I8": "int8"},
    **{name.upper(): name for name in PACKED_FORMATS if name != "sse_q4"},
}

# The row of each token, where that is not its id, and the weight that multiplies the row.
MAPPING_TENSOR = "mapping"
WEIGHTS_TENSOR = "weights"

NUMPY_TYPES = {
    "F16": "<f2", "F32": "<f4", "F64": "<f8",
    "I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8",
    "U8": "<u1", "U16": "<u2", "U32": "<u4", "U64": "<u8",
}  # fmt: skip

INTEGER_TYPES = tuple(name for name in NUMPY_TYPES if name[0] in "IU")


def tensor_named(tensors: Mapping[str, StoredTensor], name: str, path: str) -> StoredTensor:
    """The tensor of this name.

    Raises:
        ModelFormatError: there is none.
    """
    if name not in tensors:
        found = ", ".join(tensors) or "-"
        raise ModelFormatError(path, name, f"missing; the file holds {found:.200}")
    return tensors[name]


def table_of(
    tensors: Mapping[str, StoredTensor],
    name: str,
    dtypes: tuple[str, ...],
    path: str,
    dim: int | None = None,
) -> Table:
    """A table in the bytes of its tensor, but for F64, which becomes float32.

    Args:
        tensors: those of the file.
        name: of the tensor.
        dtypes: types that it may have.
        path: the file.
        dim: dims that it must have; None: any number.

    Raises:
        ModelFormatError: it is missing, has another type or shape, or no row; a weight is too
            large for float32.
    """
    tensor = tensor_named(tensors, name, path)
    shape = tensor.shape
    if tensor.dtype not in dtypes or len(shape) != 2:
        raise ModelFormatError(
            path,
            name,
            f"{tensor.dtype} {list(shape)!r:.80}, expected one of {', '.join(dtypes)} with two"
            " dimensions",
        )
    if 0 in shape or (dim is not None and shape[1] != dim):
        dims = "dim" if dim is None else str(dim)
        raise ModelFormatError(
            path, name, f"shape {list(shape)!r:.80}, expected [rows, {dims}], not empty"
        )
    if tensor.dtype == "F64":
        data = _narrowed(tensor, name, path).reshape(-1).view(np.uint8)
    else:
        data = tensor.data
    try:
        return Table.from_buffer(
            data, dim=shape[1], format=ROW_FORMATS.get(tensor.dtype, "float32")
        )
    except ValueError as error:
        raise ModelFormatError(path, name, str(error)) from None


def float32_vector(
    tensors: Mapping[str, StoredTensor], name: str, dtypes: tuple[str, ...], path: str
) -> NDArray[np.float32]:
    """A finite vector, float32 [dims], dims > 0.

    Raises:
        ModelFormatError: see `_float_vector`.
    """
    vector = _float_vector(tensors, name, dtypes, path, max_length=MAX_DIMS)
    return vector.astype(np.float32, copy=False)


def _float_vector(
    tensors: Mapping[str, StoredTensor],
    name: str,
    dtypes: tuple[str, ...],
    path: str,
    *,
    max_length: int,
) -> NDArray[np.floating[Any]]:
    """A finite vector, float64 [n] where the tensor is, else float32 [n].

    Raises:
        ModelFormatError: it is missing, has another type or shape, is empty or longer
            than ``max_length``, or holds an inf or a NaN.
    """
    tensor = _vector(tensors, name, dtypes, path, max_length)
    vector = _values(tensor)
    finite = np.isfinite(vector)
    if not finite.all():
        position = int(np.argmin(finite))
        raise ModelFormatError(
            path, name, f"element {position} is {vector[position]}, expected a finite number"
        )
    return vector


def _row_numbers(
    tensors: Mapping[str, StoredTensor], name: str, rows: int, path: str
) -> NDArray[np.uint32]:
    """A vector of row numbers, uint32 [n], n > 0.

    Raises:
        ModelFormatError: it is missing, not of integers, has another shape, or a number is not
            one of ``rows`` rows.
    """
    tensor = _vector(tensors, name, INTEGER_TYPES, path, MAX_TOKENS)
    row_of_id = tensor.read().view(NUMPY_TYPES[tensor.dtype])
    good = (row_of_id >= 0) & (row_of_id < rows)
    if not good.all():
        position = int(np.argmin(good))
        raise ModelFormatError(
            path,
            name,
            f"element {position} is {row_of_id[position]}, expected one of 0..{rows - 1}",
        )
    return row_of_id.astype(np.uint32)


def rules_of(
    tensors: Mapping[str, StoredTensor], rows: int, path: str, *, prefix: str = ""
) -> TokenRules:
    """The row of each token, ``mapping``, and its weight, ``weights``, where a file has them.

    Args:
        tensors: those of the file.
        rows: of the table.
        path: the file.
        prefix: what the names of the two tensors begin with.

    Raises:
        ModelFormatError: one has another type or shape, they are not equally long, a row is not
            one of ``rows``, or a weight is not finite.
    """
    mapping, weights = prefix + MAPPING_TENSOR, prefix + WEIGHTS_TENSOR
    row_of_id = weight_of_id = None
    if mapping in tensors:
        row_of_id = _row_numbers(tensors, mapping, rows, path)
    if weights in tensors:
        weight_of_id = _float_vector(
            tensors, weights, (*FLOAT_TYPES, "F64"), path, max_length=MAX_TOKENS
        )
        ids = rows if row_of_id is None else len(row_of_id)
        if len(weight_of_id) != ids:
            other = "the table has rows" if row_of_id is None else f"{mapping} has"
            raise ModelFormatError(
                path, weights, f"length {len(weight_of_id)}, expected {ids} as {other}"
            )
    return TokenRules(row_of_id=row_of_id, weight_of_id=weight_of_id)


def _vector(
    tensors: Mapping[str, StoredTensor],
    name: str,
    dtypes: tuple[str, ...],
    path: str,
    max_length: int,
) -> StoredTensor:
    tensor = tensor_named(tensors, name, path)
    if tensor.dtype not in dtypes or len(tensor.shape) != 1 or tensor.shape[0] == 0:
        raise ModelFormatError(
            path,
            name,
            f"{tensor.dtype} {list(tensor.shape)!r:.80}, expected {' or '.join(dtypes)} with one"
            " dimension, not empty",
        )
    if tensor.shape[0] > max_length:
        raise ModelFormatError(
            path, name, f"length {tensor.shape[0]}, expected at most {max_length}"
        )
    return tensor


def _values(tensor: StoredTensor) -> NDArray[np.floating[Any]]:
    """Floats in the tensor's shape: float64 as they are, others as float32."""
    raw = tensor.read()
    if tensor.dtype == "BF16":
        bits = raw.view("<u2").astype(np.uint32) << 16
        return bits.view(np.float32).reshape(tensor.shape)
    values = raw.view(NUMPY_TYPES[tensor.dtype]).reshape(tensor.shape)
    return values.astype(np.float64 if tensor.dtype == "F64" else np.float32)


def _narrowed(tensor: StoredTensor, name: str, path: str) -> NDArray[np.float32]:
    """float64 as float32."""
    values = _values(tensor)
    with np.errstate(over="ignore"):
        narrowed = values.astype(np.float32)
    too_large = np.isinf(narrowed) & np.isfinite(values)
    if too_large.any():
        where = np.unravel_index(int(np.argmax(too_large)), values.shape)
        raise ModelFormatError(
            path, name, f"{values[where]} in row {where[0]} is too large for float32"
        )
    return narrowed


def tensor_of_table(table: Table) -> Tensor:
    """A table whose rows follow one another, as a tensor [rows, dim] in its own bytes."""
    dtypes = {row_format: dtype for dtype, row_format in ROW_FORMATS.items()}
    return Tensor(dtypes[table.format], (table.rows, table.dim), table.buffer)


def float64_tensor_of_table(table: Table) -> Tensor:
    """A table in float64, for layouts in which that type means sums in float64."""
    weights = table.dequantize().astype("<f8")
    return Tensor("F64", weights.shape, weights.reshape(-1).view(np.uint8))


def tensor_of_vector(vector: NDArray[np.floating[Any]]) -> Tensor:
    """A vector of float32 or float64 as a tensor [n]."""
    dtype = {np.float32: "F32", np.float64: "F64"}[vector.dtype.type]
    return Tensor(dtype, vector.shape, np.ascontiguousarray(vector).view(np.uint8))


def has_wide_weights(rules: TokenRules) -> bool:
    """Whether tokens have float64 weights."""
    return rules.weight_of_id is not None and rules.weight_of_id.dtype == np.float64


def tensors_of_rules(rules: TokenRules, *, prefix: str = "") -> dict[str, Tensor]:
    """The row of each token and its weight, as `rules_of` reads them."""
    tensors = {}
    if rules.row_of_id is not None:
        row_of_id = rules.row_of_id.astype("<i4")
        mapping = Tensor("I32", row_of_id.shape, row_of_id.view(np.uint8))
        tensors[prefix + MAPPING_TENSOR] = mapping
    if rules.weight_of_id is not None:
        tensors[prefix + WEIGHTS_TENSOR] = tensor_of_vector(rules.weight_of_id)
    return tensors
