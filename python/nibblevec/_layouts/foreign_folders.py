"""Folders that hold no model, but something else that can be recognised.

Messages say what they are, and the way out. Loaded only after something was refused.
"""

from __future__ import annotations

import os
import re
from typing import Any

from nibblevec._containers.json_files import read_json_array, read_json_object
from nibblevec._io.output_files import is_unfinished
from nibblevec._io.output_folders import FILES_WITHIN
from nibblevec._layouts.foreign_content import DISTIL, PICKLES, Foreign, Found, told
from nibblevec._layouts.model2vec import ARCHITECTURE, CONFIG_NAME, MODEL_TYPE
from nibblevec._layouts.modules import MODULES_NAME, NORMALIZE, STATIC_EMBEDDING
from nibblevec._layouts.place import TENSORS_NAME
from nibblevec._layouts.ranges import RANGES_NAME
from nibblevec._layouts.registry import ADAPTER_NAME, FILE_SUFFIXES, LAYOUTS, ROUTER_NAME
from nibblevec._layouts.sse import DYNAMIC_TANH_NAME
from nibblevec._layouts.static_embedding import TABLE_TENSOR, WEIGHT_TENSOR
from nibblevec._model import TokenizerJson
from nibblevec._printing import printable

# Folders within a folder that are looked into, at most.
MAX_FOLDERS = 100


class _Folder:
    """The names in a folder, and its settings where they can be read."""

    def __init__(self, path: str, names: list[str]) -> None:
        self.path = path
        self.names = sorted(names)

    def named(self, *patterns: str) -> str:
        """The names that match one of these regular expressions as a whole."""
        return _in_words(
            name for name in self.names if any(re.fullmatch(p, name, re.I) for p in patterns)
        )

    def config(self, name: str, *inside: str) -> dict[str, Any]:
        """The JSON object of a file; an empty one, if there is none."""
        try:
            return read_json_object(os.path.join(self.path, *inside, name), "config")
        except (OSError, ValueError):
            return {}

    def module_classes(self) -> list[str]:
        """The classes that ``modules.json`` names."""
        try:
            entries = read_json_array(os.path.join(self.path, MODULES_NAME), "modules")
        except (OSError, ValueError):
            return []
        types = (entry.get("type") for entry in entries if isinstance(entry, dict))
        return [name.rpartition(".")[2] for name in types if isinstance(name, str)]

    def architecture(self) -> str:
        """The network that ``config.json`` names, here or in a module; else other modules."""
        for inside in ((), ("0_Transformer",)):
            config = self.config(CONFIG_NAME, *inside)
            names = config.get("architectures")
            stated = names[:1] if isinstance(names, list) else []
            stated.append(config.get("model_type"))
            for word in stated:
                if isinstance(word, str) and word not in OUR_NETWORKS:
                    return _in_words([word])
        return _in_words(name for name in self.module_classes() if name not in OUR_MODULES)

    def models(self, depth: int = 2) -> list[str]:
        """The folders and GGUF files within that seem to be models, by their paths."""
        found: list[str] = []
        places = [""]
        for _ in range(depth):
            inner: list[str] = []
            for place in places:
                inner += [os.path.join(place, name) for name in self._folders(place)]
            places = inner[:MAX_FOLDERS]
            for place in places:
                names = _names(os.path.join(self.path, place))
                if any(signs <= set(names) for signs in SIGNS_OF_MODELS):
                    found.append(place)
                else:
                    found += [
                        os.path.join(place, n) for n in names if n.lower().endswith(FILE_SUFFIXES)
                    ]
            if found:
                break
        return found

    def _folders(self, place: str) -> list[str]:
        folder = os.path.join(self.path, place)
        names = self.names if not place else _names(folder)
        return [
            name
            for name in names[:1000]
            if os.path.isdir(os.path.join(folder, name)) and not is_unfinished(name)
        ]

    def module_of(self) -> str | None:
        """The folder above, if this one is a part of a model that lies there."""
        above, name = os.path.split(self.path)
        entries: list[Any] = []
        try:
            entries = read_json_array(os.path.join(above, MODULES_NAME), "modules")
        except (OSError, ValueError):
            return None
        paths = [entry.get("path") for entry in entries if isinstance(entry, dict)]
        return _in_words([above]) if name in paths else None


# The names of Model2Vec and StaticEmbedding models in their own settings.
OUR_NETWORKS = (ARCHITECTURE, MODEL_TYPE)
OUR_MODULES = (STATIC_EMBEDDING, NORMALIZE)

# The beginnings of the names of tensor files that belong to a model and hold no table.
_OTHER_TENSORS = "|".join(
    re.escape(name.partition(".")[0]) for name in (DYNAMIC_TANH_NAME, RANGES_NAME)
)

# Files that are a model together.
SIGNS_OF_MODELS = frozenset(signs for layout in LAYOUTS for signs in layout.signs)


def _snapshots(folder: _Folder) -> Found:
    if "snapshots" not in folder.names:
        return None
    snapshots = _names(os.path.join(folder.path, "snapshots"))
    return _in_words(os.path.join("snapshots", name) for name in snapshots) or True


def _repositories(folder: _Folder) -> Found:
    names = [name.split("--")[1:] for name in folder.names if name.startswith("models--")]
    return _in_words("/".join(name) for name in names)


def _routes(folder: _Folder) -> Found:
    router = folder.config(ROUTER_NAME)
    if not (router or {"Router", "Asym"} & set(folder.module_classes())):
        return None
    return _in_words(folder.models(depth=1)) or True


UNFINISHED = Foreign(
    lambda folder: _in_words(name for name in folder.names if is_unfinished(name, FILES_WITHIN)),
    "a save into it did not end: the new model's files, as far as they were written, are in {}",
)

SHARDS = Foreign(
    lambda folder: folder.named(r".*\.index\.json", r".*-\d+-of-\d+\.(safetensors|bin)"),
    "its weights are in several files ({}), and one is read; save it in one, with a larger"
    " max_shard_size, if it is a static embedding",
)

# Where a file is missing that a layout asks for.
BESIDE_MISSING = (
    UNFINISHED,
    SHARDS,
    Foreign(
        lambda folder: (
            folder.named(r"vocab\.(txt|json)", r"merges\.txt", r".*\.(model|spm)")
            if TokenizerJson.NAME not in folder.names
            else None
        ),
        "a tokenizer of another form lies there ({}); AutoTokenizer of transformers loads it,"
        f" and its save_pretrained writes {TokenizerJson.NAME}",
    ),
)

FOREIGN_FOLDERS = (
    Foreign(lambda folder: not folder.names, "the folder is empty"),
    UNFINISHED,
    Foreign(_snapshots, "it is a repository in the hub's cache, whose model is in {}"),
    Foreign(_repositories, "it is the hub's cache; give the name of a repository: {}"),
    Foreign(
        _routes,
        "it is a Router, which has other modules for queries than for documents; the folder of each"
        " route that is a StaticEmbedding loads by itself: {}",
    ),
    Foreign(
        lambda folder: folder.named(re.escape(ADAPTER_NAME), r"adapter_model\..*"),
        f"it is an adapter (PEFT, LoRA) of another model ({{}}); merge it into that one; {DISTIL}",
    ),
    SHARDS,
    Foreign(
        lambda folder: folder.named(r".*-\d+-of-\d+\.gguf"),
        "it holds a GGUF file that was split ({}); llama-gguf-split --merge makes one of them",
    ),
    Foreign(lambda folder: folder.named(r".*\.gguf"), "a GGUF file is loaded by its own name: {}"),
    Foreign(_Folder.architecture, f"it is a network ({{}}); {DISTIL}"),
    Foreign(_Folder.module_of, "it is a part of the model in the folder above: {}"),
    Foreign(
        lambda folder: folder.named(r".*\.onnx", "onnx", "openvino", r"openvino_model\..*"),
        f"it holds a model of ONNX or OpenVINO ({{}}), which is not run here; {DISTIL}",
    ),
    Foreign(
        lambda folder: (
            folder.named(r".*\.(bin|pt|pth|ckpt|pkl|pickle|joblib)")
            if TENSORS_NAME not in folder.names
            else None
        ),
        f"it may hold weights as pickles ({{}}); {PICKLES}",
    ),
    Foreign(
        lambda folder: folder.named(r".*\.(h5|keras|msgpack|npz|npy|pb|tflite)"),
        f"it holds weights of another library ({{}}); save them as {TENSORS_NAME}",
    ),
    Foreign(
        lambda folder: folder.named("meta.json") if "vocab" in folder.names else None,
        f"it is a pipeline of spaCy, whose vectors have no {TokenizerJson.NAME}",
    ),
    Foreign(
        lambda folder: (
            folder.named(r".*\.(vec|kv|txt|bin)") if not folder.named("tokenizer.*") else None
        ),
        f"it may hold word vectors ({{}}), which have no {TokenizerJson.NAME}",
    ),
    Foreign(
        lambda folder: (
            folder.named(rf"(?!({_OTHER_TENSORS})\.).*\.safetensors")
            if TENSORS_NAME not in folder.names
            else None
        ),
        f"only {TENSORS_NAME} is read, not {{}}: rename it, if it holds {WEIGHT_TENSOR} or"
        f" {TABLE_TENSOR}",
    ),
    Foreign(lambda folder: _in_words(folder.models()), "there are models within: {}"),
    Foreign(
        lambda folder: TokenizerJson.NAME in folder.names and TENSORS_NAME not in folder.names,
        "it has a tokenizer and no weights",
    ),
)


def folder_in_words(path: str, names: list[str]) -> str | None:
    """The kind of a folder that holds no model, and the way out; None if it is unknown."""
    return told(FOREIGN_FOLDERS, _Folder(path, names))


def explain_missing(error: FileNotFoundError) -> None:
    """Add to an error what lies beside the file that is missing, if that tells the reason."""
    if not isinstance(error.filename, str):
        return
    folder = os.path.dirname(error.filename)
    words = told(BESIDE_MISSING, _Folder(folder, _names(folder)))
    if words is not None:
        error.strerror = f"{error.strerror}; {words}"


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _in_words(names: Any) -> str:
    return printable(f"{', '.join(names):.200}")
