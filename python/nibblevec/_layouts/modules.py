"""The modules of a sentence-transformers model, in ``modules.json``."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from nibblevec._containers.files import ModelFormatError
from nibblevec._containers.json_files import read_json_object

if TYPE_CHECKING:
    from nibblevec._layouts.place import Place
    from nibblevec._model import Model, Normalization

MODULES_NAME = "modules.json"
MODULE_CONFIG_NAME = "config.json"
NORMALIZE_FOLDER = "1_Normalize"

STATIC_EMBEDDING = "StaticEmbedding"
NORMALIZE = "Normalize"

# The package of modules before sentence-transformers 6.0, which still finds them there.
MODULE_PACKAGE = "sentence_transformers.models"

EMBEDDING_NAME = "sentence_embedding"


class Module:
    """An entry of ``modules.json``.

    Attributes:
        type: the full name of its class.
        folder: where its files are.
    """

    def __init__(self, type: str, folder: str) -> None:
        self.type = type
        self.folder = folder

    @property
    def class_name(self) -> str:
        """The last part of the name, which no generation changed."""
        return self.type.rpartition(".")[2]


def module_types(folder: Place) -> list[str]:
    """The classes that ``modules.json`` names, if there is one.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        ModelFormatError: it is not a list of modules.
    """
    return [module.type for module in read_modules(folder)]


def read_modules(folder: Place) -> list[Module]:
    """The modules that a folder's ``modules.json`` names; none, if there is no such file.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        ModelFormatError: it is not a list of modules, or one is outside of the folder.
    """
    if not folder.has(MODULES_NAME):
        return []
    path = os.path.join(folder.path, MODULES_NAME)
    entries = folder.json_array(MODULES_NAME, "modules")
    modules = []
    for number, entry in enumerate(entries):
        class_name = entry.get("type") if isinstance(entry, dict) else None
        place = entry.get("path") if isinstance(entry, dict) else None
        if not (isinstance(class_name, str) and isinstance(place, str)):
            problem = f"expected an object with type and path, found {entry!r:.80}"
            raise ModelFormatError(path, f"module {number}", problem)
        parts = place.replace("\\", "/").split("/")
        if os.path.isabs(place) or parts[0].endswith(":") or ".." in parts or "\0" in place:
            problem = f"path {place!r:.80} leaves the model's folder"
            raise ModelFormatError(path, f"module {number}", problem)
        modules.append(Module(class_name, os.path.normpath(os.path.join(folder.path, *parts))))
    return modules


def normalization_of(modules: list[Module], folder: Place) -> Normalization | None:
    """How the modules after the first one scale its vectors.

    Raises:
        OSError: the settings of one cannot be read, or are not in a regular file.
        ModelFormatError: one is not supported.
    """
    if not modules:
        return None
    path = os.path.join(folder.path, MODULES_NAME)
    for number, module in enumerate(modules, 1):
        if module.class_name != NORMALIZE or number > 1:
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


def write_modules(model: Model, folder: str, place: str) -> None:
    """Write a ``modules.json``: a `StaticEmbedding`, and a `Normalize` if the model scales vectors.

    Args:
        model: without a Dynamic Tanh.
        folder: the model's.
        place: path of the `StaticEmbedding` in it, as the file states it.

    Raises:
        OSError: the file exists there, or cannot be written.
    """
    from nibblevec._io.output_files import write_file

    # Under these names every generation knows them.
    modules = [(place, f"{MODULE_PACKAGE}.{STATIC_EMBEDDING}")]
    if model.normalization is not None:
        modules.append((NORMALIZE_FOLDER, f"{MODULE_PACKAGE}.{NORMALIZE}"))
    entries = [
        {"idx": number, "name": str(number), "path": path, "type": class_name}
        for number, (path, class_name) in enumerate(modules)
    ]
    write_file(os.path.join(folder, MODULES_NAME), json.dumps(entries, indent=2).encode())
