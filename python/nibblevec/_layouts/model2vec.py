"""Folders of Model2Vec.

Source: what model2vec 0.10 writes, reads and computes.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from nibblevec._containers.files import ModelFormatError
from nibblevec._containers.json_files import json_type
from nibblevec._containers.safetensors import write_safetensors
from nibblevec._containers.tensors import (
    FLOAT_TYPES,
    WEIGHTS_TENSOR,
    float64_tensor_of_table,
    has_wide_weights,
    rules_of,
    table_of,
    tensor_of_table,
    tensors_of_rules,
)
from nibblevec._layouts.layout import Form, Layout, Writing
from nibblevec._layouts.modules import MODULES_NAME, write_modules
from nibblevec._layouts.place import TENSORS_NAME, Place
from nibblevec._model import Model, Normalization, TokenizerJson
from nibblevec._table import Table
from nibblevec._token_rules import NO_RULES, TokenRules, Truncation

if TYPE_CHECKING:
    from nibblevec._layouts.tokenizers import ModelTokenizer

CONFIG_NAME = "config.json"
MODEL_NAME = TENSORS_NAME
TABLE_TENSOR = "embeddings"

MODEL_TYPE = "model2vec"
ARCHITECTURE = "StaticModel"
# Configs of versions that do not state the type have one of these.
CONFIG_KEYS = ("normalize", "embedding_dtype", "apply_pca")

# Most tokens of a text if the config does not state a number.
DEFAULT_MAX_LENGTH = 512


def wrote(folder: Place) -> bool:
    """Whether model2vec wrote a folder: its tensors, and its config.

    Raises:
        OSError: the tensors or the config cannot be read, or are not in a regular file.
        ModelFormatError: they are not in a safetensors file, or it is not a JSON object.
    """
    return _is_model2vec(folder) and _has_own_config(folder)


def _is_model2vec(folder: Place) -> bool:
    """Whether a folder holds a config, and tensors as Model2Vec names them."""
    return folder.has(CONFIG_NAME) and TABLE_TENSOR in folder.tensors


def _has_own_config(folder: Place) -> bool:
    if not folder.has(CONFIG_NAME):
        return False
    config = folder.json_object(CONFIG_NAME, "config")
    stated = config.get("model_type")
    if stated is None:
        return any(key in config for key in CONFIG_KEYS)
    return bool(stated == MODEL_TYPE)


def _load(folder: Place) -> Model:
    """Load a Model2Vec model.

    Args:
        folder: holds ``config.json`` (``normalize``, false if missing; ``max_length``, 512 if
            missing, null for none), ``model.safetensors`` (``embeddings`` [rows, dim], float32,
            float16, bfloat16, float64 or int8; it may hold ``mapping`` [tokens], the row of each,
            and ``weights`` [tokens], which multiply it) and ``tokenizer.json``. Of float16 weights
            and float16 or int8 rows the products are kept, a float16 row for each token: NumPy
            rounds them so.

    Raises:
        OSError: a file is missing, cannot be read, or is not a regular file.
        ModelFormatError: a tensor is missing, or of another type or shape; a row of ``mapping`` is
            not one of the table; a weight is not finite; a setting has another type.
    """
    tokenizer_json = TokenizerJson.in_folder(folder.path)
    config_path = os.path.join(folder.path, CONFIG_NAME)
    config = folder.json_object(CONFIG_NAME, "config")
    normalize = config.get("normalize")
    if not (normalize is None or type(normalize) is bool):
        raise ModelFormatError(
            config_path, "normalize", f"expected a boolean, found {json_type(normalize)}"
        )
    length = config.get("max_length", DEFAULT_MAX_LENGTH)
    if not (length is None or (type(length) is int and length > 0)):
        problem = f"expected a positive integer or null, found {length!r:.40}"
        raise ModelFormatError(config_path, "max_length", problem)
    path = os.path.join(folder.path, MODEL_NAME)
    tensors = folder.tensors
    table = table_of(tensors, TABLE_TENSOR, (*FLOAT_TYPES, "F64", "I8"), path)
    rules = rules_of(tensors, table.rows, path)
    has_halves = WEIGHTS_TENSOR in tensors and tensors[WEIGHTS_TENSOR].dtype == "F16"
    stored_table_bytes = None
    if has_halves and table.format in ("float16", "int8"):
        stored_table_bytes = table.nbytes
        table = _products_in_float16(table, rules)
        rules = NO_RULES
    normalization: Normalization | None = None
    if normalize:
        normalization = "model2vec_float16" if table.format == "float16" else "model2vec"
    weights = rules.weight_of_id
    return Model(
        "Model2Vec",
        table,
        tokenizer_json,
        normalization=normalization,
        token_rules=rules._replace(
            truncation=Truncation(None if length is None else min(length, sys.maxsize)),
            cuts_characters=True,
            drops_unknown=True,
        ),
        # As NumPy chooses: its own vocabulary quantisation makes float64 weights.
        wide_sums=tensors[TABLE_TENSOR].dtype == "F64"
        or (weights is not None and weights.dtype == np.float64),
        stored_table_bytes=stored_table_bytes,
    )


def _products_in_float16(table: Table, rules: TokenRules) -> Table:
    """A row for each token, float16 or int8 times a float16 weight, as NumPy rounds that."""
    assert rules.weight_of_id is not None
    ids = np.arange(len(rules.weight_of_id)) if rules.row_of_id is None else rules.row_of_id
    weights = rules.weight_of_id.astype(np.float16)
    with np.errstate(over="ignore"):
        rows = table.dequantize(ids).astype(np.float16) * weights[:, np.newaxis]
    return Table.from_buffer(rows, dim=table.dim, format="float16")


def _write(model: Model, tokenizer: ModelTokenizer, folder: str) -> None:
    """Write the files of a Model2Vec model.

    Args:
        model: without a Dynamic Tanh; its table is float32, float16 or int8.
        tokenizer: of the model.
        folder: an empty one.

    Raises:
        OSError: a file cannot be written.
        ModelFormatError: the tokenizer cannot be loaded.
    """
    from nibblevec._io.output_files import write_file
    from nibblevec._tokenization.package import load_package_tokenizer

    rules = model.token_rules
    if rules.row_of_id is None:
        package = load_package_tokenizer(model.tokenizer_json.read(), model.tokenizer_json.path)
        if len(package.get_vocab()) != model.table.rows:
            # That package refuses a table of more rows than tokens, unless each token has its row.
            rules = rules._replace(row_of_id=np.arange(model.table.rows, dtype=np.uint32))
    is_wide = model.wide_sums and model.table.format == "float32" and _tells_sums(model)
    table = (float64_tensor_of_table if is_wide else tensor_of_table)(model.table)
    config = {
        "model_type": MODEL_TYPE,
        "architectures": [ARCHITECTURE],
        "hidden_dim": model.table.dim,
        "normalize": model.normalization is not None,
        "max_length": (_truncation(model, tokenizer) or Truncation()).max_length,
        "embedding_dtype": "float64" if table.dtype == "F64" else model.table.format,
    }
    if rules.row_of_id is not None:
        config["vocabulary_quantization"] = model.table.rows
    tensors = {**tensors_of_rules(rules), TABLE_TENSOR: table}
    write_safetensors(os.path.join(folder, MODEL_NAME), tensors)
    write_file(os.path.join(folder, CONFIG_NAME), json.dumps(config, indent=2).encode())
    write_modules(model, folder, ".")  # for sentence-transformers, as that package does
    model.tokenizer_json.write(folder)


def _truncation(model: Model, tokenizer: ModelTokenizer) -> Truncation | None:
    """How a model cuts texts; None: as ``tokenizer.json`` says."""
    truncation = model.token_rules.truncation
    if truncation is None and tokenizer.settings.get("truncation") is None:
        return Truncation()
    return truncation


def _losses(model: Model, tokenizer: ModelTokenizer) -> dict[str, bool]:
    from nibblevec._layouts.losses import losses_of_settings

    rules = model.token_rules
    truncation = _truncation(model, tokenizer)
    length, keep_end = truncation or Truncation()
    return {
        "a Dynamic Tanh": model.dynamic_tanh is not None,
        "unknown tokens that count": not rules.drops_unknown and _has_unknown(tokenizer.settings),
        "a truncation in tokenizer.json": truncation is None,
        "texts cut at their beginning": keep_end,
        "texts cut by their tokens only": length is not None and not rules.cuts_characters,
        **losses_of_settings(model),
    }


def _has_unknown(content: dict[str, Any]) -> bool:
    """Whether a ``tokenizer.json`` has a token for what its vocabulary lacks."""
    model = content.get("model")
    return not isinstance(model, dict) or any(
        model.get(field) is not None for field in ("unk_token", "unk_id")
    )


def _suits(model: Model) -> bool:
    return model.dynamic_tanh is None and model.token_rules.drops_unknown


def _has_row_by_id(model: Model, _row_format: str) -> bool:
    # Float64 weights would make the sums wide.
    return has_wide_weights(model.token_rules) and not model.wide_sums


def _needs_float32(model: Model) -> bool:
    # A float64 table means float64 sums, a float16 table a float16 mean.
    return has_wide_weights(model.token_rules) != model.wide_sums or (
        model.table.format == "float16" and model.normalization == "model2vec"
    )


def _tells_sums(model: Model) -> bool:
    # Weights in float64 make sums wide by themselves.
    return not has_wide_weights(model.token_rules)


def _own_names(folder: str) -> tuple[str, ...]:
    """``config.json`` if it is Model2Vec's: many other things have one.

    Raises:
        OSError: it is there and cannot be read, or is not a regular file.
    """
    try:
        return (CONFIG_NAME,) if _has_own_config(Place(folder, mmap=False)) else ()
    except ModelFormatError:
        return ()


MODEL2VEC = Layout(
    name="model2vec",
    words="a Model2Vec folder",
    forms=(
        Form(
            f"{CONFIG_NAME} and {MODEL_NAME} with {TABLE_TENSOR} (Model2Vec)", _is_model2vec, _load
        ),
    ),
    files=(CONFIG_NAME, MODEL_NAME, TokenizerJson.NAME, MODULES_NAME),
    signs=(frozenset({MODEL_NAME, TokenizerJson.NAME}),),
    writing=Writing(
        words="a Model2Vec folder",
        row_formats=("float32", "float16", "int8"),
        write=_write,
        losses=_losses,
        suits=_suits,
        has_row_by_id=_has_row_by_id,
        needs_float32=_needs_float32,
        tells_sums_by_float64=_tells_sums,
        decisive_names=(MODEL_NAME, MODULES_NAME),
        other_names=(TokenizerJson.NAME,),
        own_names=_own_names,
    ),
)
