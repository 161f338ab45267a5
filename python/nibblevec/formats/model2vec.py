"""Folders of Model2Vec.

Source: what model2vec 0.10 writes, reads and computes.
"""

from __future__ import annotations

import os
import sys

import numpy as np

from nibblevec.formats.safetensors import read_safetensors
from nibblevec.formats.tensors import FLOAT_TYPES, rules_of, table_of
from nibblevec.model import Model, Normalization, TokenizerJson
from nibblevec.model_files import ModelFormatError, json_type, parse_json_object, read_file
from nibblevec.tokenizer import Truncation

CONFIG_NAME = "config.json"
MODEL_NAME = "model.safetensors"
TABLE_TENSOR = "embeddings"

# Tokens of a text where the config does not say how many.
DEFAULT_MAX_LENGTH = 512


def is_model2vec(folder: str) -> bool:
    """Whether a folder holds a config, and tensors as Model2Vec names them.

    Raises:
        OSError: the tensors cannot be read, or are not in a regular file.
        ModelFormatError: they are not in a safetensors file.
    """
    path = os.path.join(folder, MODEL_NAME)
    return (
        os.path.lexists(os.path.join(folder, CONFIG_NAME))
        and os.path.lexists(path)
        and TABLE_TENSOR in read_safetensors(path)
    )


def load(folder: str, *, mmap: bool = True) -> Model:
    """Load a Model2Vec model.

    Args:
        folder: holds ``config.json`` (``normalize``, false if missing; ``max_length``, 512 if
            missing, null for none), ``model.safetensors`` (``embeddings`` [rows, dim], float32,
            float16, bfloat16, float64 or int8; it may hold ``mapping`` [tokens], the row of each,
            and ``weights`` [tokens], which multiply it) and ``tokenizer.json``.
        mmap: map the table into memory instead of reading it.

    Raises:
        OSError: a file is missing, cannot be read, or is not a regular file.
        ModelFormatError: a tensor is missing, or of another type or shape; a row of ``mapping`` is
            not one of the table; a weight is not finite; a setting has another type.
    """
    tokenizer = TokenizerJson.in_folder(folder)
    config_path = os.path.join(folder, CONFIG_NAME)
    config = parse_json_object(read_file(config_path), config_path, "config")
    normalize = config.get("normalize")
    if not (normalize is None or type(normalize) is bool):
        raise ModelFormatError(
            config_path, "normalize", f"expected a boolean, found {json_type(normalize)}"
        )
    length = config.get("max_length", DEFAULT_MAX_LENGTH)
    if not (length is None or (type(length) is int and length > 0)):
        problem = f"expected a positive integer or null, found {length!r:.40}"
        raise ModelFormatError(config_path, "max_length", problem)
    path = os.path.join(folder, MODEL_NAME)
    tensors = read_safetensors(path, mmap=mmap)
    table = table_of(tensors, TABLE_TENSOR, (*FLOAT_TYPES, "F64", "I8"), path)
    normalization: Normalization | None = None
    if normalize:
        is_half = tensors[TABLE_TENSOR].dtype == "F16"
        normalization = "model2vec_float16" if is_half else "model2vec"
    rules = rules_of(tensors, table.rows, path)
    weights = rules.weight_of_id
    return Model(
        "Model2Vec",
        table,
        tokenizer,
        normalization=normalization,
        token_rules=rules._replace(
            truncation=Truncation(None if length is None else min(length, sys.maxsize)),
            cuts_characters=True,
            drops_unknown=True,
        ),
        # As NumPy chooses: its own vocabulary quantisation makes float64 weights.
        wide_sums=tensors[TABLE_TENSOR].dtype == "F64"
        or (weights is not None and weights.dtype == np.float64),
    )
