"""Stable Static Embedding models: a table in 4 bits and a Dynamic Tanh head.

Source: the published quantised model's loader.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nibblevec._containers.files import ModelFormatError, map_file
from nibblevec._containers.safetensors import read_safetensors, write_safetensors
from nibblevec._containers.stored_tensors import StoredTensor, Tensor
from nibblevec._containers.tensors import (
    FLOAT_TYPES,
    float32_vector,
    table_of,
    tensor_of_table,
    tensor_of_vector,
)
from nibblevec._io.output_files import write_file
from nibblevec._layouts.folder import TENSORS_NAME, ModelFolder
from nibblevec._layouts.sentence_transformers import read_settings, says_something, write_settings
from nibblevec._model import Head, Model, TokenizerJson
from nibblevec._table import Table
from nibblevec._tokenization.loading import id_count

if TYPE_CHECKING:
    from collections.abc import Mapping

# Despite its name not ggml's Q4_K: nibbles with one scale a row, see `Table.from_buffer`.
TABLE_NAME = "embedding.q4_k_m.bin"
HEAD_NAME = "model_rest.safetensors"
FLOAT_NAME = TENSORS_NAME

WEIGHT_TENSOR = "embedding.weight"
HEAD_TENSORS = ("dyt.alpha", "dyt.beta", "dyt.bias")


def load_quantized(folder: ModelFolder) -> Model:
    """Load a quantised SSE model.

    Args:
        folder: holds ``embedding.q4_k_m.bin`` (uint8 [rows, dim / 2], then float32 [rows] scales),
            ``model_rest.safetensors`` (``dyt.alpha``, ``dyt.beta``, ``dyt.bias``, float32 [dim])
            and ``tokenizer.json``; may hold ``config_sentence_transformers.json``. The table says
            nothing of its rows: they are compared with the tokens when the tokenizer is loaded.

    Raises:
        OSError: a file is missing, cannot be read, or is not a regular file.
        ModelFormatError: the table's size is not a whole number of rows, a scale or a value of the
            head is not finite, the head's tensors are missing, of another type or length, or see
            `nibblevec._layouts.sentence_transformers.read_settings`.
    """
    tokenizer = TokenizerJson.in_folder(folder.path)
    head = read_head(os.path.join(folder.path, HEAD_NAME))
    table_path = os.path.join(folder.path, TABLE_NAME)
    try:
        table = Table.from_buffer(map_file(table_path, mmap=folder.mmap), dim=len(head.alpha))
    except ValueError as error:
        raise ModelFormatError(table_path, "table", str(error)) from None
    return Model(
        "SSE, 4-bit",
        table,
        tokenizer,
        head,
        headerless_table=table_path,
        **read_settings(folder.path, table.dim)._asdict(),
    )


def load_float(folder: ModelFolder) -> Model:
    """Load a float SSE model.

    Args:
        folder: holds ``model.safetensors`` (``embedding.weight`` [rows, dim], ``dyt.alpha``,
            ``dyt.beta``, ``dyt.bias`` [dim], each float32, float16 or bfloat16) and
            ``tokenizer.json``; may hold ``config_sentence_transformers.json``.

    Raises:
        OSError: a file is missing, cannot be read, or is not a regular file.
        ModelFormatError: a tensor is missing, of another type or shape, a value of the head is not
            finite, or see `nibblevec._layouts.sentence_transformers.read_settings`.
    """
    tokenizer = TokenizerJson.in_folder(folder.path)
    path = os.path.join(folder.path, FLOAT_NAME)
    head = head_of(folder.tensors, FLOAT_TYPES, path)
    table = table_of(folder.tensors, WEIGHT_TENSOR, FLOAT_TYPES, path, dim=len(head.alpha))
    return Model(
        "SSE, float", table, tokenizer, head, **read_settings(folder.path, table.dim)._asdict()
    )


def is_quantized(folder: ModelFolder) -> bool:
    """Whether a folder holds a quantised SSE model."""
    return folder.has(TABLE_NAME)


def is_float(folder: ModelFolder) -> bool:
    """Whether a folder's tensors hold a Dynamic Tanh, which makes it a float SSE model.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
        ModelFormatError: it is not a safetensors file.
    """
    return any(name.startswith("dyt.") for name in folder.tensors)


def read_head(path: str) -> Head:
    """The Dynamic Tanh of a quantised model.

    Raises:
        OSError: the file is missing, cannot be read, or is not a regular file.
        ModelFormatError: see `load_quantized`.
    """
    return head_of(read_safetensors(path, mmap=False), ("F32",), path)


def head_of(tensors: Mapping[str, StoredTensor], dtypes: tuple[str, ...], path: str) -> Head:
    """The Dynamic Tanh among the tensors of a file.

    Raises:
        ModelFormatError: a tensor is missing, of another type or length, or a value not finite.
    """
    alpha, beta, bias = (float32_vector(tensors, name, dtypes, path) for name in HEAD_TENSORS)
    for name, vector in zip(HEAD_TENSORS, (alpha, beta, bias), strict=True):
        if len(vector) != len(alpha):
            raise ModelFormatError(
                path, name, f"length {len(vector)}, expected {len(alpha)} as dyt.alpha has"
            )
    return Head(alpha, beta, bias)


def tensors_of_head(head: Head) -> dict[str, Tensor]:
    """The tensors of a head, as `head_of` reads them."""
    vectors = (head.alpha, head.beta, head.bias)
    return dict(zip(HEAD_TENSORS, map(tensor_of_vector, vectors), strict=True))


def write(model: Model, folder: str) -> None:
    """Write the files of an SSE model: quantised where its table is sse_q4, else float.

    Args:
        model: with a head, and a row for each id; its table is sse_q4, float32, float16 or
            bfloat16. Of a quantised one the rows beyond the last id are left out: the layout asks
            for a row for each.
        folder: an empty one.

    Raises:
        OSError: a file cannot be written.
        ValueError: the layout has no place for something that the model does.
    """
    from nibblevec._layouts.conversion import first_rows_of_sse_q4
    from nibblevec._layouts.losses import losses_of_rules, refuse_losses

    refuse_losses(
        "an SSE folder",
        {
            "vectors without a Dynamic Tanh": model.head is None,
            "vectors that the model itself scales": model.normalization is not None,
            **losses_of_rules(model),
        },
    )
    head = {} if model.head is None else tensors_of_head(model.head)
    if model.table.format == "sse_q4":
        tokenizer = model.tokenizer
        ids = id_count(tokenizer.read(), tokenizer.path, model.table.rows)
        rows = first_rows_of_sse_q4(model.table, ids)
        write_file(os.path.join(folder, TABLE_NAME), rows.data)
        write_safetensors(os.path.join(folder, HEAD_NAME), head)
    else:
        weight = tensor_of_table(model.table)
        write_safetensors(os.path.join(folder, FLOAT_NAME), {**head, WEIGHT_TENSOR: weight})
    model.tokenizer.write(folder)
    if says_something(model):
        write_settings(model, folder)
