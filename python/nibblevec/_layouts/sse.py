"""Stable Static Embedding models: a table in 4 bits and a Dynamic Tanh.

Source: the published quantised model's loader.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from nibblevec._containers.files import ModelFormatError, map_file
from nibblevec._containers.safetensors import read_safetensors, write_safetensors
from nibblevec._containers.tensors import FLOAT_TYPES, table_of, tensor_of_table
from nibblevec._layouts.dynamic_tanh import (
    DYNAMIC_TANH_TENSORS,
    dynamic_tanh_of,
    has_dynamic_tanh,
    tensors_of_dynamic_tanh,
)
from nibblevec._layouts.layout import Form, Layout, Writing, row_by_id_needs_float32
from nibblevec._layouts.place import TENSORS_NAME, Place
from nibblevec._layouts.settings import (
    SETTINGS_NAME,
    read_settings,
    says_something,
    write_settings,
)
from nibblevec._model import Model, TokenizerJson
from nibblevec._table import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nibblevec._layouts.tokenizers import ModelTokenizer

# Despite its name not ggml's Q4_K: nibbles with one scale a row, see `Table.from_buffer`.
TABLE_NAME = "embedding.q4_k_m.bin"
DYNAMIC_TANH_NAME = "model_rest.safetensors"
FLOAT_NAME = TENSORS_NAME

WEIGHT_TENSOR = "embedding.weight"


def _load_quantized(folder: Place) -> Model:
    """Load a quantised SSE model.

    Args:
        folder: holds ``embedding.q4_k_m.bin`` (uint8 [rows, dim / 2], then float32 [rows] scales),
            ``model_rest.safetensors`` (``dyt.alpha``, ``dyt.beta``, ``dyt.bias``, float32 [dim])
            and ``tokenizer.json``; may hold ``config_sentence_transformers.json``. The table
            does not state its number of rows: it is compared with the number of tokens when the
            tokenizer is loaded.

    Raises:
        OSError: a file is missing, cannot be read, or is not a regular file.
        ModelFormatError: the table's size is not a whole number of rows, a scale or a value of the
            Dynamic Tanh is not finite, a tensor of it is missing, of another type or length, or see
            `nibblevec._layouts.settings.read_settings`.
    """
    tokenizer_json = TokenizerJson.in_folder(folder.path)
    vectors_path = os.path.join(folder.path, DYNAMIC_TANH_NAME)
    dynamic_tanh = dynamic_tanh_of(
        read_safetensors(vectors_path, mmap=False), ("F32",), vectors_path
    )
    table_path = os.path.join(folder.path, TABLE_NAME)
    try:
        table = Table.from_buffer(
            map_file(table_path, mmap=folder.mmap), dim=len(dynamic_tanh.alpha)
        )
    except ValueError as error:
        raise ModelFormatError(table_path, "table", str(error)) from None
    return Model(
        "SSE, 4-bit",
        table,
        tokenizer_json,
        dynamic_tanh,
        headerless_table=table_path,
        **read_settings(folder.path, table.dim)._asdict(),
    )


def _load_float(folder: Place) -> Model:
    """Load a float SSE model.

    Args:
        folder: holds ``model.safetensors`` (``embedding.weight`` [rows, dim], ``dyt.alpha``,
            ``dyt.beta``, ``dyt.bias`` [dim], each float32, float16 or bfloat16) and
            ``tokenizer.json``; may hold ``config_sentence_transformers.json``.

    Raises:
        OSError: a file is missing, cannot be read, or is not a regular file.
        ModelFormatError: a tensor is missing, of another type or shape, a value of the
            Dynamic Tanh is not finite, or see `nibblevec._layouts.settings.read_settings`.
    """
    tokenizer_json = TokenizerJson.in_folder(folder.path)
    path = os.path.join(folder.path, FLOAT_NAME)
    dynamic_tanh = dynamic_tanh_of(folder.tensors, FLOAT_TYPES, path)
    table = table_of(folder.tensors, WEIGHT_TENSOR, FLOAT_TYPES, path, dim=len(dynamic_tanh.alpha))
    return Model(
        "SSE, float",
        table,
        tokenizer_json,
        dynamic_tanh,
        **read_settings(folder.path, table.dim)._asdict(),
    )


def _is_quantized(folder: Place) -> bool:
    return folder.has(TABLE_NAME)


def _is_float(folder: Place) -> bool:
    return has_dynamic_tanh(folder.tensors)


def _write(model: Model, tokenizer: ModelTokenizer, folder: str) -> None:
    """Write the files of an SSE model: quantised where its table is sse_q4, else float.

    Args:
        model: with a Dynamic Tanh, and a row for each id; its table is sse_q4, float32, float16 or
            bfloat16. The rows of sse_q4 beyond the last id are left out: the layout asks for a row
            for each.
        tokenizer: of the model.
        folder: an empty one.

    Raises:
        OSError: a file cannot be written.
        ModelFormatError: the tokenizer cannot be loaded.
    """
    from nibblevec._io.output_files import write_file

    tensors = {} if model.dynamic_tanh is None else tensors_of_dynamic_tanh(model.dynamic_tanh)
    if model.table.format == "sse_q4":
        rows = _first_rows(model.table, tokenizer.ids.end)
        write_file(os.path.join(folder, TABLE_NAME), rows.data)
        write_safetensors(os.path.join(folder, DYNAMIC_TANH_NAME), tensors)
    else:
        weight = tensor_of_table(model.table)
        write_safetensors(os.path.join(folder, FLOAT_NAME), {**tensors, WEIGHT_TENSOR: weight})
    model.tokenizer_json.write(folder)
    if says_something(model):
        write_settings(model, folder)


def _first_rows(table: Table, rows: int) -> NDArray[np.uint8]:
    """The bytes of an sse_q4 table with the first ``rows`` rows of another one."""
    codes = table.rows * table.dim // 2
    return np.concatenate(
        [table.buffer[: rows * table.dim // 2], table.buffer[codes : codes + 4 * rows]]
    )


def _losses(model: Model, _tokenizer: ModelTokenizer) -> dict[str, bool]:
    from nibblevec._layouts.losses import losses_of_rules

    return {
        "vectors without a Dynamic Tanh": model.dynamic_tanh is None,
        "vectors that the model itself scales": model.normalization is not None,
        **losses_of_rules(model),
    }


def _suits(model: Model) -> bool:
    return model.dynamic_tanh is not None


def _has_row_by_id(_model: Model, _row_format: str) -> bool:
    return True


SSE = Layout(
    name="sse",
    words="an SSE folder",
    forms=(
        Form(f"{TABLE_NAME} (quantised SSE)", _is_quantized, _load_quantized),
        Form(f"{FLOAT_NAME} with {DYNAMIC_TANH_TENSORS[0]} (float SSE)", _is_float, _load_float),
    ),
    files=(TABLE_NAME, DYNAMIC_TANH_NAME, FLOAT_NAME, TokenizerJson.NAME, SETTINGS_NAME),
    signs=(
        frozenset({TABLE_NAME, TokenizerJson.NAME}),
        frozenset({FLOAT_NAME, TokenizerJson.NAME}),
    ),
    writing=Writing(
        words="an SSE folder",
        row_formats=("sse_q4", "float32", "float16", "bfloat16"),
        write=_write,
        losses=_losses,
        suits=_suits,
        has_row_by_id=_has_row_by_id,
        needs_float32=row_by_id_needs_float32,
        # A folder may hold both tables, of which the quantised one counts.
        decisive_names=(FLOAT_NAME, TABLE_NAME),
        other_names=(TokenizerJson.NAME, DYNAMIC_TANH_NAME, SETTINGS_NAME),
    ),
)
