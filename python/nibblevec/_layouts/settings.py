"""How a model is meant to be used, in ``config_sentence_transformers.json``."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

from nibblevec._containers.files import ModelFormatError
from nibblevec._containers.json_files import json_type, read_json_object
from nibblevec._model import IMPLIED_PROMPT_NAMES
from nibblevec._similarity import SIMILARITY_FUNCTIONS

if TYPE_CHECKING:
    from nibblevec._model import Model

SETTINGS_NAME = "config_sentence_transformers.json"


class Settings(NamedTuple):
    """The settings in ``config_sentence_transformers.json``; the fields are those of `Model`."""

    prompts: dict[str, str]
    default_prompt_name: str | None
    similarity_fn_name: str | None
    truncate_dim: int | None


def read_settings(folder: str, dim: int) -> Settings:
    """The settings of a folder's ``config_sentence_transformers.json`` for a model of ``dim`` dims.

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


def write_settings(model: Model, folder: str) -> None:
    """Write the file that `read_settings` reads, with the keys of sentence-transformers.

    Raises:
        OSError: the file exists there, or cannot be written.
    """
    from importlib.metadata import PackageNotFoundError, version

    from nibblevec._io.output_files import write_file

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
