"""Stable Static Embedding models: a table in 4 bits and a Dynamic Tanh head.

Source: the published quantised model's loader.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from nibblevec.formats.safetensors import Tensor, read_safetensors
from nibblevec.model import Head, Model, TokenizerJson
from nibblevec.model_files import ModelFormatError, check_regular_file, map_file
from nibblevec.table import RowFormat, Table

# Despite its name not ggml's Q4_K: nibbles with one scale a row, see `Table.from_buffer`.
TABLE_NAME = "embedding.q4_k_m.bin"
HEAD_NAME = "model_rest.safetensors"
FLOAT_NAME = "model.safetensors"
TOKENIZER_NAME = "tokenizer.json"

WEIGHT_TENSOR = "embedding.weight"
HEAD_TENSORS = ("dyt.alpha", "dyt.beta", "dyt.bias")

ROW_FORMATS: dict[str, RowFormat] = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def load_quantized(folder: str, *, mmap: bool = True) -> Model:
    """Load a quantised SSE model.

    Args:
        folder: holds ``embedding.q4_k_m.bin`` (uint8 [rows, dim / 2], then float32 [rows] scales),
            ``model_rest.safetensors`` (``dyt.alpha``, ``dyt.beta``, ``dyt.bias``, float32 [dim])
            and ``tokenizer.json``. The table says nothing of its rows: they are compared with the
            tokens when the tokenizer is loaded.
        mmap: map the table into memory instead of reading it.

    Raises:
        OSError: a file is missing, cannot be read, or is not a regular file.
        ModelFormatError: the table's size is not a whole number of rows, a scale or a value of the
            head is not finite, or the head's tensors are missing, of another type or length.
    """
    tokenizer_path = os.path.join(folder, TOKENIZER_NAME)
    check_regular_file(tokenizer_path)
    head = read_head(os.path.join(folder, HEAD_NAME))
    table_path = os.path.join(folder, TABLE_NAME)
    try:
        table = Table.from_buffer(map_file(table_path, mmap=mmap), dim=len(head.alpha))
    except ValueError as error:
        raise ModelFormatError(table_path, "table", str(error)) from None
    return Model(
        "SSE, 4-bit", table, TokenizerJson(tokenizer_path), head, headerless_table=table_path
    )


def load_float(folder: str, *, mmap: bool = True) -> Model:
    """Load a float SSE model.

    Args:
        folder: holds ``model.safetensors`` (``embedding.weight`` [rows, dim], ``dyt.alpha``,
            ``dyt.beta``, ``dyt.bias`` [dim], each float32, float16 or bfloat16) and
            ``tokenizer.json``.
        mmap: map the table into memory instead of reading it.

    Raises:
        OSError: a file is missing, cannot be read, or is not a regular file.
        ModelFormatError: a tensor is missing, of another type or shape, or a value of the head is
            not finite.
    """
    tokenizer_path = os.path.join(folder, TOKENIZER_NAME)
    check_regular_file(tokenizer_path)
    path = os.path.join(folder, FLOAT_NAME)
    tensors = read_safetensors(path, mmap=mmap)
    head = _head(tensors, tuple(ROW_FORMATS), path)
    weight = _tensor(tensors, WEIGHT_TENSOR, path)
    if weight.dtype not in ROW_FORMATS or len(weight.shape) != 2:
        raise ModelFormatError(
            path,
            WEIGHT_TENSOR,
            f"{weight.dtype} {list(weight.shape)!r:.80}, expected one of {', '.join(ROW_FORMATS)}"
            " with two dimensions",
        )
    if weight.shape[0] == 0 or weight.shape[1] != len(head.alpha):
        raise ModelFormatError(
            path,
            WEIGHT_TENSOR,
            f"shape {list(weight.shape)!r:.80}, expected [rows, {len(head.alpha)}] for the"
            f" {len(head.alpha)} dims of {HEAD_TENSORS[0]}",
        )
    row_format = ROW_FORMATS[weight.dtype]
    try:
        table = Table.from_buffer(weight.data, dim=weight.shape[1], format=row_format)
    except ValueError as error:
        raise ModelFormatError(path, WEIGHT_TENSOR, str(error)) from None
    return Model("SSE, float", table, TokenizerJson(tokenizer_path), head)


def has_head(path: str) -> bool:
    """Whether a safetensors file holds a Dynamic Tanh, which makes it a float SSE model.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
        ModelFormatError: it is not a safetensors file.
    """
    return any(name.startswith("dyt.") for name in read_safetensors(path))


def read_head(path: str) -> Head:
    """The Dynamic Tanh of a quantised model.

    Raises:
        OSError: the file is missing, cannot be read, or is not a regular file.
        ModelFormatError: see `load_quantized`.
    """
    return _head(read_safetensors(path, mmap=False), ("F32",), path)


def _head(tensors: dict[str, Tensor], dtypes: tuple[str, ...], path: str) -> Head:
    alpha, beta, bias = (_head_vector(tensors, name, dtypes, path) for name in HEAD_TENSORS)
    for name, vector in zip(HEAD_TENSORS, (alpha, beta, bias), strict=True):
        if len(vector) != len(alpha):
            raise ModelFormatError(
                path, name, f"length {len(vector)}, expected {len(alpha)} as dyt.alpha has"
            )
    return Head(alpha, beta, bias)


def _head_vector(
    tensors: dict[str, Tensor], name: str, dtypes: tuple[str, ...], path: str
) -> NDArray[np.float32]:
    tensor = _tensor(tensors, name, path)
    if tensor.dtype not in dtypes or len(tensor.shape) != 1 or tensor.shape[0] == 0:
        raise ModelFormatError(
            path,
            name,
            f"{tensor.dtype} {list(tensor.shape)!r:.80}, expected {' or '.join(dtypes)} with one"
            " dimension, not empty",
        )
    vector = _as_float32(tensor)
    finite = np.isfinite(vector)
    if not finite.all():
        position = int(np.argmin(finite))
        raise ModelFormatError(
            path, name, f"element {position} is {vector[position]}, expected a finite number"
        )
    return vector


def _tensor(tensors: dict[str, Tensor], name: str, path: str) -> Tensor:
    if name not in tensors:
        found = ", ".join(tensors) or "-"
        raise ModelFormatError(path, name, f"missing; the file holds {found:.200}")
    return tensors[name]


def _as_float32(tensor: Tensor) -> NDArray[np.float32]:
    raw = tensor.data.tobytes()  # a copy is aligned
    if tensor.dtype == "BF16":
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, {"F32": "<f4", "F16": "<f2"}[tensor.dtype]).astype(np.float32)
