"""Stable Static Embedding models: a table in 4 bits and a Dynamic Tanh head.

Source: the published quantised model's loader.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from nibblevec.formats.safetensors import Tensor, read_safetensors
from nibblevec.model import Head, Model
from nibblevec.model_files import ModelFormatError, check_regular_file, map_file
from nibblevec.table import Table

# Despite its name not ggml's Q4_K: nibbles with one scale a row, see `Table.from_buffer`.
TABLE_NAME = "embedding.q4_k_m.bin"
HEAD_NAME = "model_rest.safetensors"
TOKENIZER_NAME = "tokenizer.json"


def load_quantized(folder: str, *, mmap: bool = True) -> Model:
    """Load a quantised SSE model.

    Args:
        folder: holds ``embedding.q4_k_m.bin`` (uint8 [rows, dim / 2], then float32 [rows] scales),
            ``model_rest.safetensors`` (``dyt.alpha``, ``dyt.beta``, ``dyt.bias``, float32 [dim])
            and ``tokenizer.json``.
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
    return Model("SSE, 4-bit", table, head, tokenizer_path)


def read_head(path: str) -> Head:
    """The Dynamic Tanh of a safetensors file.

    Raises:
        OSError: the file is missing, cannot be read, or is not a regular file.
        ModelFormatError: see `load_quantized`.
    """
    tensors = read_safetensors(path, mmap=False)
    alpha = _head_vector(tensors, "dyt.alpha", None, path)
    beta = _head_vector(tensors, "dyt.beta", len(alpha), path)
    bias = _head_vector(tensors, "dyt.bias", len(alpha), path)
    return Head(alpha, beta, bias)


def _head_vector(
    tensors: dict[str, Tensor], name: str, length: int | None, path: str
) -> NDArray[np.float32]:
    if name not in tensors:
        raise ModelFormatError(path, name, f"missing; the file holds {', '.join(tensors) or '-'}")
    tensor = tensors[name]
    if tensor.dtype != "F32" or len(tensor.shape) != 1 or tensor.shape[0] == 0:
        raise ModelFormatError(
            path, name, f"{tensor.dtype} {list(tensor.shape)}, expected F32 with one dimension"
        )
    if length is not None and tensor.shape[0] != length:
        raise ModelFormatError(
            path, name, f"length {tensor.shape[0]}, expected {length} as dyt.alpha has"
        )
    vector = np.frombuffer(tensor.data.tobytes(), "<f4")  # a copy is aligned
    finite = np.isfinite(vector)
    if not finite.all():
        position = int(np.argmin(finite))
        raise ModelFormatError(
            path, name, f"element {position} is {vector[position]}, expected a finite number"
        )
    return vector
