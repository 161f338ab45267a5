"""Folders of sentence-transformers that hold a `StaticEmbedding`, of all its generations.

Source: what sentence-transformers 2.0 to 6.2 write and read.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from nibblevec._containers.files import ModelFormatError
from nibblevec._containers.json_files import json_type, read_json_array, read_json_object
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
from nibblevec._io.output_files import write_file
from nibblevec._layouts.folder import TENSORS_NAME, ModelFolder
from nibblevec._model import IMPLIED_PROMPT_NAMES, Model, Normalization, TokenizerJson
from nibblevec._similarity import SIMILARITY_FUNCTIONS
from nibblevec._token_rules import NO_RULES

MODULES_NAME = "modules.json"
SETTINGS_NAME = "config_sentence_transformers.json"
MODEL_NAME = TENSORS_NAME
# How torch saved before; it may hold any code.
PICKLED_NAME = "pytorch_model.bin"
MODULE_CONFIG_NAME = "config.json"
NORMALIZE_FOLDER = "1_Normalize"

WEIGHT_TENSOR = "embedding.weight"
# Of models that model2vec wrote.
TABLE_TENSOR = "embeddings"

# Where modules were before 6.0, which still finds them there.
MODULE_PACKAGE = "sentence_transformers.models"

EMBEDDING_NAME = "sentence_embedding"


class Settings(NamedTuple):
    """What ``config_sentence_transformers.json`` says; the fields are those of `Model`."""

    prompts: dict[str, str]
    default_prompt_name: str | None
    similarity_fn_name: str | None
    truncate_dim: int | None


class Module(NamedTuple):
    """An entry of ``modules.json``.

    Attributes:
        type: the full name of its class.
        folder: where its files are.
    """

    type: str
    folder: str

    @property
    def class_name(self) -> str:
        """The last part of the name, which no generation changed."""
        return self.type.rpartition(".")[2]


def is_static_embedding(folder: str) -> bool:
    """Whether a folder's modules begin with a `StaticEmbedding`.

    Raises:
        OSError: ``modules.json`` cannot be read, or is not a regular file.
        ModelFormatError: it is not a list of modules.
    """
    modules = _read_modules(folder)
    return bool(modules) and modules[0].class_name == "StaticEmbedding"


def module_types(folder: str) -> list[str]:
    """The classes that ``modules.json`` names, if there is one.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        ModelFormatError: it is not a list of modules.
    """
    return [module.type for module in _read_modules(folder)]


def load(folder: ModelFolder) -> Model:
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
            or a setting is not what it must be.
    """
    embedding, *others = _read_modules(folder.path)
    normalization = _normalization(others, folder.path)
    path = os.path.join(embedding.folder, MODEL_NAME)
    pickled = os.path.join(embedding.folder, PICKLED_NAME)
    if os.path.lexists(pickled) and not os.path.lexists(path):
        raise ModelFormatError(pickled, "weights", f"pickles are not read; save as {MODEL_NAME}")
    is_here = embedding.folder == os.path.normpath(folder.path)
    place = folder if is_here else ModelFolder(embedding.folder, mmap=folder.mmap)
    return _model("StaticEmbedding of sentence-transformers", folder, place, normalization)


def is_bare(folder: ModelFolder) -> bool:
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


def load_bare(folder: ModelFolder) -> Model:
    """Load what `StaticEmbedding.save` writes: one module of a model, or one route of a Router.

    Args:
        folder: holds ``tokenizer.json`` and ``model.safetensors`` as `load` takes them, with no
            other tensors. May hold ``config_sentence_transformers.json``.

    Raises:
        OSError: a file is missing, cannot be read, or is not a regular file.
        ModelFormatError: a tensor is of another type or shape, or a setting is not what it must be.
    """
    return _model("StaticEmbedding of sentence-transformers, bare", folder, folder, None)


def _model(
    layout: str, folder: ModelFolder, place: ModelFolder, normalization: Normalization | None
) -> Model:
    """The model whose tensors and tokenizer are in one folder, and its settings in another."""
    tokenizer = TokenizerJson.in_folder(place.path)
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
        tokenizer,
        normalization=normalization,
        token_rules=rules,
        wide_sums=tensors[name].dtype == "F64",
        **read_settings(folder.path, table.dim)._asdict(),
    )


def read_settings(folder: str, dim: int) -> Settings:
    """What a folder's ``config_sentence_transformers.json`` says, if there is one, of ``dim`` dims.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        ModelFormatError: it is not JSON, a setting has another type, or the default prompt is none
            of the prompts.
    """
    path = os.path.join(folder, SETTINGS_NAME)
    if not os.path.lexists(path):
        return Settings({}, None, None, None)
    content = read_json_object(path, "settings")

    def refuse(field: str, expected: str, value: object) -> ModelFormatError:
        problem = f"expected {expected}, found {json_type(value)} {value!r:.40}"
        return ModelFormatError(path, field, problem)

    prompts = content.get("prompts", {})
    if not isinstance(prompts, dict):
        raise refuse("prompts", "an object", prompts)
    for name, text in prompts.items():
        if not (text is None or isinstance(text, str)):
            raise refuse(f"prompts.{name}", "a string or null", text)
    names = {}
    for field in ("default_prompt_name", "similarity_fn_name"):
        names[field] = content.get(field)
        if not (names[field] is None or isinstance(names[field], str)):
            raise refuse(field, "a string or null", names[field])
    default = names["default_prompt_name"]
    if default is not None and default not in (*IMPLIED_PROMPT_NAMES, *prompts):
        raise ModelFormatError(
            path, "default_prompt_name", f"{default!r:.80} is not the name of a prompt"
        )
    dims = content.get("truncate_dim")
    if not (dims is None or (type(dims) is int and dims > 0)):
        raise refuse("truncate_dim", "a positive integer or null", dims)
    # Other functions compare vectors of tokens.
    similarity = names["similarity_fn_name"]
    return Settings(
        {name: text or "" for name, text in prompts.items()},
        default,
        similarity if similarity in SIMILARITY_FUNCTIONS else None,
        None if dims is None else min(dims, dim),
    )


def write(model: Model, folder: str) -> None:
    """Write the files of a `StaticEmbedding`.

    Args:
        model: without a head, and with a row for each id unless it has sums in float64; its table
            is float32, float16 or bfloat16.
        folder: an empty one.

    Raises:
        OSError: a file cannot be written.
        ValueError: the layout has no place for something that the model does.
    """
    from nibblevec._layouts.losses import losses_of_rules, refuse_losses

    refuse_losses(
        "a StaticEmbedding folder",
        {"a Dynamic Tanh": model.head is not None, **losses_of_rules(model)},
    )
    rules = model.token_rules
    name = WEIGHT_TENSOR if rules.ids is None else TABLE_TENSOR
    is_wide = model.wide_sums and model.table.format == "float32"
    table = (float64_tensor_of_table if is_wide else tensor_of_table)(model.table)
    tensors = {name: table, **tensors_of_rules(rules)}
    write_safetensors(os.path.join(folder, MODEL_NAME), tensors)
    write_modules(model, folder, "")
    model.tokenizer.write(folder)
    write_settings(model, folder)


def write_modules(model: Model, folder: str, place: str) -> None:
    """Write a ``modules.json``: a `StaticEmbedding`, and what scales its vectors.

    Args:
        model: without a head.
        folder: where to.
        place: path of the `StaticEmbedding` there, in words of the file.

    Raises:
        OSError: the file exists there, or cannot be written.
    """
    # Under these names every generation knows them.
    modules = [(place, f"{MODULE_PACKAGE}.StaticEmbedding")]
    if model.normalization is not None:
        modules.append((NORMALIZE_FOLDER, f"{MODULE_PACKAGE}.Normalize"))
    entries = [
        {"idx": number, "name": str(number), "path": path, "type": kind}
        for number, (path, kind) in enumerate(modules)
    ]
    write_file(os.path.join(folder, MODULES_NAME), json.dumps(entries, indent=2).encode())


def write_settings(model: Model, folder: str) -> None:
    """Write what `read_settings` reads, with the keys that sentence-transformers writes.

    Raises:
        OSError: the file exists there, or cannot be written.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        own_version = version("nibblevec")
    except PackageNotFoundError:  # bundled by others, without its metadata
        own_version = "unknown"
    said: dict[str, object] = {
        "model_type": "SentenceTransformer",
        "__version__": {"nibblevec": own_version},  # the others took no part
        "prompts": dict(model.prompts),
        "default_prompt_name": model.default_prompt_name,
        "similarity_fn_name": model.similarity_fn_name,
    }
    if model.truncate_dim is not None:
        said["truncate_dim"] = model.truncate_dim
    content = json.dumps(said, indent=2, ensure_ascii=False).encode()
    write_file(os.path.join(folder, SETTINGS_NAME), content)


def says_something(model: Model) -> bool:
    """Whether a model has any settings that are not those of every model."""
    return any(getattr(model, name) for name in Settings._fields)


def _read_modules(folder: str) -> list[Module]:
    path = os.path.join(folder, MODULES_NAME)
    if not os.path.lexists(path):
        return []
    entries = read_json_array(path, "modules")
    modules = []
    for number, entry in enumerate(entries):
        kind = entry.get("type") if isinstance(entry, dict) else None
        place = entry.get("path") if isinstance(entry, dict) else None
        if not (isinstance(kind, str) and isinstance(place, str)):
            problem = f"expected an object with type and path, found {entry!r:.80}"
            raise ModelFormatError(path, f"module {number}", problem)
        parts = place.replace("\\", "/").split("/")
        if os.path.isabs(place) or parts[0].endswith(":") or ".." in parts or "\0" in place:
            problem = f"path {place!r:.80} leaves the model's folder"
            raise ModelFormatError(path, f"module {number}", problem)
        modules.append(Module(kind, os.path.normpath(os.path.join(folder, *parts))))
    return modules


def _normalization(modules: list[Module], folder: str) -> Normalization | None:
    """What the modules after the first one do."""
    if not modules:
        return None
    path = os.path.join(folder, MODULES_NAME)
    for number, module in enumerate(modules, 1):
        if module.class_name != "Normalize" or number > 1:
            raise ModelFormatError(
                path,
                f"module {number}",
                f"{module.type!r:.80} is not supported; one Normalize may follow StaticEmbedding",
            )
    config_path = os.path.join(modules[0].folder, MODULE_CONFIG_NAME)
    if os.path.lexists(config_path):
        content: dict[str, Any] = read_json_object(config_path, "config")
        for field in ("module_input_name", "module_output_name"):
            value = content.get(field)
            if value not in (None, EMBEDDING_NAME):
                problem = f"{value!r:.80}, expected {EMBEDDING_NAME!r}"
                raise ModelFormatError(config_path, field, problem)
    return "torch"
