"""Folders of sentence-transformers that hold a `StaticEmbedding`, of all its generations.

Source: what sentence-transformers 2.0 to 6.2 write and read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nibblevec._containers.files import ModelFormatError
from nibblevec._containers.safetensors import write_safetensors
from nibblevec._containers.tensors import (
    FLOAT_TYPES,
    MAPPING_TENSOR,
    WEIGHTS_TENSOR,
    float64_tensor_of_table,
    rules_of,
    table_of,
    tensor_of_table,
    tensors_of_rules,
)
from nibblevec._layouts.layout import Form, Layout, Writing, row_by_id_needs_float32
from nibblevec._layouts.model2vec import wrote
from nibblevec._layouts.modules import (
    MODULE_CONFIG_NAME,
    MODULES_NAME,
    NORMALIZE_FOLDER,
    STATIC_EMBEDDING,
    normalization_of,
    read_modules,
    write_modules,
)
from nibblevec._layouts.place import TENSORS_NAME, Place
from nibblevec._layouts.settings import SETTINGS_NAME, read_settings, write_settings
from nibblevec._model import Model, Normalization, TokenizerJson
from nibblevec._token_rules import NO_RULES

if TYPE_CHECKING:
    from nibblevec._layouts.tokenizers import ModelTokenizer

MODEL_NAME = TENSORS_NAME
# The format of torch before safetensors; it may hold any code.
PICKLED_NAME = "pytorch_model.bin"
# Where the module was before 6.0.
EMBEDDING_FOLDER = "0_StaticEmbedding"

WEIGHT_TENSOR = "embedding.weight"
# Of models that model2vec wrote.
TABLE_TENSOR = "embeddings"


def _is_static_embedding(folder: Place) -> bool:
    """Whether its modules begin with a `StaticEmbedding`, and model2vec did not write it.

    model2vec always lists one too.

    Raises:
        OSError: a file cannot be read, or is not a regular file.
        ModelFormatError: ``modules.json`` is not a list of modules, or see `model2vec.wrote`.
    """
    modules = read_modules(folder)
    return bool(modules) and modules[0].class_name == STATIC_EMBEDDING and not wrote(folder)


def _load(folder: Place) -> Model:
    """Load a `StaticEmbedding`.

    Args:
        folder: holds ``modules.json``, whose first module is one, which a `Normalize` may follow;
            where that module says, ``tokenizer.json`` and ``model.safetensors`` with
            ``embedding.weight`` [rows, dim] (float32, float16, bfloat16 or float64), or with
            ``embeddings``, ``mapping`` and ``weights`` as Model2Vec has them. May hold
            ``config_sentence_transformers.json``.

    Raises:
        OSError: a file is missing, cannot be read, or is not a regular file.
        ModelFormatError: a module is another one, a tensor is missing or of another type or shape,
            or a setting has a wrong value.
    """
    embedding, *others = read_modules(folder)
    normalization = normalization_of(others, folder)
    path = os.path.join(embedding.folder, MODEL_NAME)
    pickled = os.path.join(embedding.folder, PICKLED_NAME)
    if os.path.lexists(pickled) and not os.path.lexists(path):
        raise ModelFormatError(pickled, "weights", f"pickles are not read; save as {MODEL_NAME}")
    is_here = embedding.folder == os.path.normpath(folder.path)
    place = folder if is_here else Place(embedding.folder, mmap=folder.mmap)
    return _model("StaticEmbedding of sentence-transformers", folder, place, normalization)


def _is_bare(folder: Place) -> bool:
    """Whether a folder holds a `StaticEmbedding` and no ``modules.json``.

    It is what that module's own ``load`` takes, its tensors alone. As there, ``embedding.weight``
    counts where both kinds of tensors are there.

    Raises:
        OSError: the tensors cannot be read, or are not in a regular file.
        ModelFormatError: they are not in a safetensors file.
    """
    if folder.has(MODULES_NAME):
        return False
    names = set(folder.tensors)
    tables = {WEIGHT_TENSOR, TABLE_TENSOR}
    return bool(names & tables) and names <= {*tables, MAPPING_TENSOR, WEIGHTS_TENSOR}


def _load_bare(folder: Place) -> Model:
    """Load what `StaticEmbedding.save` writes: one module of a model, or one route of a Router.

    Args:
        folder: holds ``tokenizer.json`` and ``model.safetensors`` as `_load` takes them, with no
            other tensors. May hold ``config_sentence_transformers.json``.

    Raises:
        OSError: a file is missing, cannot be read, or is not a regular file.
        ModelFormatError: a tensor is of another type or shape, or a setting has a wrong value.
    """
    return _model("StaticEmbedding of sentence-transformers, bare", folder, folder, None)


def _model(layout: str, folder: Place, place: Place, normalization: Normalization | None) -> Model:
    """The model whose tensors and tokenizer are in one folder, and its settings in another."""
    tokenizer_json = TokenizerJson.in_folder(place.path)
    path = os.path.join(place.path, MODEL_NAME)
    tensors = place.tensors or place.open_tensors(MODEL_NAME)
    name, rules = WEIGHT_TENSOR, NO_RULES
    if TABLE_TENSOR in tensors and WEIGHT_TENSOR not in tensors:
        name = TABLE_TENSOR
    table = table_of(tensors, name, (*FLOAT_TYPES, "F64", "I8"), path)
    if name == TABLE_TENSOR:
        rules = rules_of(tensors, table.rows, path)
    return Model(
        layout,
        table,
        tokenizer_json,
        normalization=normalization,
        token_rules=rules,
        wide_sums=tensors[name].dtype == "F64",
        **read_settings(folder.path, table.dim)._asdict(),
    )


def _write(model: Model, _tokenizer: ModelTokenizer, folder: str) -> None:
    """Write the files of a `StaticEmbedding`.

    Args:
        model: without a Dynamic Tanh, and with a row for each id unless it has sums in float64;
            its table is float32, float16 or bfloat16.
        folder: an empty one.

    Raises:
        OSError: a file cannot be written.
    """
    rules = model.token_rules
    name = WEIGHT_TENSOR if rules.ids is None else TABLE_TENSOR
    is_wide = model.wide_sums and model.table.format == "float32"
    table = (float64_tensor_of_table if is_wide else tensor_of_table)(model.table)
    tensors = {name: table, **tensors_of_rules(rules)}
    write_safetensors(os.path.join(folder, MODEL_NAME), tensors)
    write_modules(model, folder, "")
    model.tokenizer_json.write(folder)
    write_settings(model, folder)


def _losses(model: Model, _tokenizer: ModelTokenizer) -> dict[str, bool]:
    from nibblevec._layouts.losses import losses_of_rules

    return {"a Dynamic Tanh": model.dynamic_tanh is not None, **losses_of_rules(model)}


def _suits(model: Model) -> bool:
    return model.dynamic_tanh is None and not model.token_rules.drops_unknown


def _has_row_by_id(model: Model, row_format: str) -> bool:
    # Float32 does not hold products in float64.
    has_weights = model.token_rules.weight_of_id is not None
    return not (has_weights and model.wide_sums and row_format == "float32")


def _needs_float32(model: Model) -> bool:
    return model.wide_sums or row_by_id_needs_float32(model)


def _always(_model: Model) -> bool:
    return True


STATIC = Layout(
    name="static",
    words="a StaticEmbedding folder of sentence-transformers",
    forms=(
        Form(
            f"{MODULES_NAME} that begins with a StaticEmbedding (sentence-transformers)",
            _is_static_embedding,
            _load,
        ),
    ),
    files=(
        *(MODULES_NAME, MODEL_NAME, TokenizerJson.NAME, SETTINGS_NAME),
        *(f"{EMBEDDING_FOLDER}/{name}" for name in (MODEL_NAME, TokenizerJson.NAME)),
        f"{NORMALIZE_FOLDER}/{MODULE_CONFIG_NAME}",
    ),
    signs=(
        frozenset({MODEL_NAME, TokenizerJson.NAME}),
        frozenset({MODULES_NAME, EMBEDDING_FOLDER}),
    ),
    writing=Writing(
        words="a StaticEmbedding folder",
        row_formats=("float32", "float16", "bfloat16"),
        write=_write,
        losses=_losses,
        suits=_suits,
        has_row_by_id=_has_row_by_id,
        needs_float32=_needs_float32,
        tells_sums_by_float64=_always,
        # Before sentence-transformers 6.0 `modules.json` named a folder within, where the weights
        # are: it says what becomes of the file here.
        decisive_names=(MODEL_NAME, MODULES_NAME),
        other_names=(
            *(TokenizerJson.NAME, SETTINGS_NAME),
            # Not written, but read where what is written names its folder.
            os.path.join(NORMALIZE_FOLDER, MODULE_CONFIG_NAME),
        ),
    ),
)

BARE = Layout(
    name="bare",
    words="a bare StaticEmbedding",
    forms=(
        Form(
            f"{MODEL_NAME} with {WEIGHT_TENSOR} alone and no {MODULES_NAME}"
            " (a bare StaticEmbedding)",
            _is_bare,
            _load_bare,
        ),
    ),
    files=(MODEL_NAME, TokenizerJson.NAME, SETTINGS_NAME),
    signs=(frozenset({MODEL_NAME, TokenizerJson.NAME}),),
)
