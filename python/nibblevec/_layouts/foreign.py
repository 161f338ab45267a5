"""Files and folders that are no model of ours, but recognisably something else.

Each kind says what it is and the way out. Asked only where something was refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from nibblevec._containers.files import ModelFormatError, read_beginning
from nibblevec._containers.json_files import read_json_array, read_json_object
from nibblevec._io import file_kinds
from nibblevec._io.output_files import is_unfinished
from nibblevec._io.output_folders import FILES_WITHIN
from nibblevec._printing import printable

# Of a file: enough for the first record of an archive, and for the line of a word vector.
BEGINNING_BYTES = 1024

# Of a folder: so many of its folders are looked into.
MAX_FOLDERS = 100

DISTIL = (
    "only static embeddings are run here; model2vec.distill.distill, or"
    " StaticEmbedding.from_distillation of sentence-transformers, makes one of it"
)
PICKLES = "pickles may run any code and are not read; save it as model.safetensors"

Found = str | bool | None


class Foreign(NamedTuple):
    """Something else than a model.

    Attributes:
        find: whether a thing is of this kind, or the names that tell it.
        words: what it is and the way out; ``{}`` stands for the names.
    """

    find: Callable[[Any], Found]
    words: str


class _File(NamedTuple):
    name: str
    beginning: bytes


class _Folder:
    """What lies in a folder, as far as it can be read."""

    def __init__(self, path: str, names: list[str]) -> None:
        self.path = path
        self.names = sorted(names)

    def named(self, *patterns: str) -> str:
        """The names that are wholly like one of these regular expressions."""
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
            entries = read_json_array(os.path.join(self.path, "modules.json"), "modules")
        except (OSError, ValueError):
            return []
        types = (entry.get("type") for entry in entries if isinstance(entry, dict))
        return [kind.rpartition(".")[2] for kind in types if isinstance(kind, str)]

    def architecture(self) -> str:
        """What network ``config.json`` is of, here or in the folder of a first module."""
        for inside in ((), ("0_Transformer",)):
            config = self.config("config.json", *inside)
            names = config.get("architectures")
            stated = names[:1] if isinstance(names, list) else []
            stated.append(config.get("model_type"))
            for word in stated:
                if isinstance(word, str) and word not in OUR_NETWORKS:
                    return _in_words([word])
        return _in_words(kind for kind in self.module_classes() if kind not in OUR_MODULES)

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
                    found += [os.path.join(place, n) for n in names if n.lower().endswith(".gguf")]
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
            entries = read_json_array(os.path.join(above, "modules.json"), "modules")
        except (OSError, ValueError):
            return None
        paths = [entry.get("path") for entry in entries if isinstance(entry, dict)]
        return _in_words([above]) if name in paths else None


# What Model2Vec and StaticEmbedding models say that they are.
OUR_NETWORKS = ("StaticModel", "model2vec")
OUR_MODULES = ("StaticEmbedding", "Normalize")

# Files that are a model together.
SIGNS_OF_MODELS = (
    {"embedding.q4_k_m.bin", "tokenizer.json"},
    {"model.safetensors", "tokenizer.json"},
    {"modules.json", "0_StaticEmbedding"},
)


def _snapshots(folder: _Folder) -> Found:
    if "snapshots" not in folder.names:
        return None
    snapshots = _names(os.path.join(folder.path, "snapshots"))
    return _in_words(os.path.join("snapshots", name) for name in snapshots) or True


def _repositories(folder: _Folder) -> Found:
    names = [name.split("--")[1:] for name in folder.names if name.startswith("models--")]
    return _in_words("/".join(name) for name in names)


def _routes(folder: _Folder) -> Found:
    router = folder.config("router_config.json")
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
MISSING_KINDS = (
    UNFINISHED,
    SHARDS,
    Foreign(
        lambda folder: (
            folder.named(r"vocab\.(txt|json)", r"merges\.txt", r".*\.(model|spm)")
            if "tokenizer.json" not in folder.names
            else None
        ),
        "a tokenizer of another form lies there ({}); AutoTokenizer of transformers loads it,"
        " and its save_pretrained writes tokenizer.json",
    ),
)

FOLDER_KINDS = (
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
        lambda folder: folder.named("adapter_config.json", r"adapter_model\..*"),
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
            if "model.safetensors" not in folder.names
            else None
        ),
        f"it may hold weights as pickles ({{}}); {PICKLES}",
    ),
    Foreign(
        lambda folder: folder.named(r".*\.(h5|keras|msgpack|npz|npy|pb|tflite)"),
        "it holds weights of another library ({}); save them as model.safetensors",
    ),
    Foreign(
        lambda folder: folder.named("meta.json") if "vocab" in folder.names else None,
        "it is a pipeline of spaCy, whose vectors have no tokenizer.json",
    ),
    Foreign(
        lambda folder: (
            folder.named(r".*\.(vec|kv|txt|bin)") if not folder.named("tokenizer.*") else None
        ),
        "it may hold word vectors ({}), which have no tokenizer.json",
    ),
    Foreign(
        lambda folder: (
            folder.named(r"(?!(model_rest|ranges)\.).*\.safetensors")
            if "model.safetensors" not in folder.names
            else None
        ),
        "only model.safetensors is read, not {}: rename it, if it holds embedding.weight or"
        " embeddings",
    ),
    Foreign(lambda folder: _in_words(folder.models()), "there are models within: {}"),
    Foreign(
        lambda folder: "tokenizer.json" in folder.names and "model.safetensors" not in folder.names,
        "it has a tokenizer and no weights",
    ),
)


def _starts(*beginnings: bytes) -> Callable[[_File], Found]:
    return lambda file: file.beginning.startswith(beginnings)


def _like(pattern: bytes) -> Callable[[_File], Found]:
    return lambda file: bool(re.match(pattern, file.beginning))


def _holds(*known: file_kinds.Kind | str) -> Callable[[_File], Found]:
    """Whether it begins as files of these kinds or formats do, and not as one of safetensors."""

    def find(file: _File) -> bool:
        # The size of a header, with which that begins, may be any bytes.
        found = None if _is_safetensors(file) else file_kinds.kind_by_content(file.beginning)
        return found is not None and any(one in known for one in found)

    return find


def _is_safetensors(file: _File) -> bool:
    return bool(re.match(rb"[\s\S]{5}\0\0\0\{", file.beginning))


def _either(*ways: Callable[[_File], Found]) -> Callable[[_File], Found]:
    return lambda file: any(find(file) for find in ways)


def _called(pattern: str) -> Callable[[_File], Found]:
    return lambda file: bool(re.fullmatch(pattern, file.name, re.I))


# What the beginning of a file tells, whatever it is called.
CONTENT_KINDS = (
    Foreign(
        _either(_holds(file_kinds.LFS_POINTER), _starts(b"# xet version")),
        "it is a pointer of Git LFS, which stands for a file that was not fetched: git lfs pull",
    ),
    Foreign(
        _like(rb"(?i)\s*<(!doctype html|html)"),
        "it is a page of the web; fetch the file itself (of the hub from /resolve/, not /blob/)",
    ),
    Foreign(
        lambda file: file.beginning.startswith(b"PK\3\4") and b"data.pkl" in file.beginning,
        f"it is what torch.save writes; {PICKLES}",
    ),
    Foreign(_holds("pickle"), f"it is a pickle; {PICKLES}"),
    Foreign(
        _holds(file_kinds.ARCHIVE, *file_kinds.COMPRESSED),
        "it is an archive, or compressed; unpack it and give the folder of the model",
    ),
    Foreign(_holds("HDF"), "it is HDF5, as Keras keeps weights; save them as model.safetensors"),
    Foreign(_holds("NumPy"), "it is an array of NumPy; nibblevec.Table takes those"),
    Foreign(
        _either(_holds("Arrow stream"), _starts(b"PAR1", b"ARROW1")),
        "it is a table of Parquet or Arrow",
    ),
    Foreign(
        _starts(b"lmgg", b"fmgg", b"tjgg", b"algg"),
        "it is a file of ggml from before GGUF; convert the original model",
    ),
    Foreign(
        _starts((793712314).to_bytes(4, "little")), "it is a model of fastText, which is not read"
    ),
    Foreign(
        _like(rb"\d+ \d+\r?\n|\S+( -?\d+(\.\d+)?(e-?\d+)?){10}"),
        "it holds word vectors (GloVe, word2vec, fastText), which have no tokenizer.json",
    ),
)

# What a file is that was given as a model. The first ones are no other thing by their content.
FILE_KINDS = (
    *CONTENT_KINDS,
    Foreign(
        _called(r".*-\d+-of-\d+\.(safetensors|bin|gguf)"),
        "it is one of several files that a model's weights were split into; save them in one",
    ),
    Foreign(
        _called(r"adapter_model\..*"),
        f"it is an adapter (PEFT, LoRA) of another model; merge it into that one; {DISTIL}",
    ),
    Foreign(
        _either(_is_safetensors, _called(r".*\.safetensors")),
        "it is a file of safetensors, a part of a model; give its folder",
    ),
    Foreign(
        lambda file: (
            file.name.lower().endswith((".json", ".jsonl")) or file.beginning.lstrip()[:1] == b"{"
        ),
        "it is a file of JSON, a part of a model; give its folder",
    ),
    Foreign(_called(r"embedding\.q4_k_m\.bin"), "it is the table of a model; give its folder"),
    Foreign(_called(r".*\.onnx"), f"it is a model of ONNX, which is not run here; {DISTIL}"),
    Foreign(_called(r".*\.(bin|pt|pth|ckpt|pkl|pickle)"), f"it may be a pickle; {PICKLES}"),
    Foreign(
        _called(r".*(\.model|\.spm|vocab\.txt|merges\.txt)"),
        "it is a part of a tokenizer; a model is a folder",
    ),
    Foreign(lambda file: not file.beginning, "it is empty"),
)


def folder_in_words(path: str, names: list[str]) -> str | None:
    """What a folder is that holds no model, and the way out; None if that cannot be told."""
    return _told(FOLDER_KINDS, _Folder(path, names))


def explain_missing(error: FileNotFoundError) -> None:
    """Add to an error what lies beside the file that is missing, if that tells the reason."""
    if not isinstance(error.filename, str):
        return
    folder = os.path.dirname(error.filename)
    words = _told(MISSING_KINDS, _Folder(folder, _names(folder)))
    if words is not None:
        error.strerror = f"{error.strerror}; {words}"


def file_in_words(path: str) -> str | None:
    """What a file is that was given as a model, and the way out; None if that cannot be told."""
    file = _opened(path)
    return None if file is None else _told(FILE_KINDS, file)


def explain(error: ModelFormatError) -> None:
    """Add to an error what its file is instead of what it must be, if that can be told."""
    file = _opened(error.path)
    words = None if file is None else _told(CONTENT_KINDS, file)
    if words is not None:
        error.add(words)


def _told(kinds: tuple[Foreign, ...], thing: object) -> str | None:
    for kind in kinds:
        found = kind.find(thing)
        if found:
            return kind.words.format(found if isinstance(found, str) else "-")
    return None


def _opened(path: str) -> _File | None:
    try:
        return _File(os.path.basename(path), read_beginning(path, BEGINNING_BYTES))
    except (OSError, ValueError):
        return None


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _in_words(names: Any) -> str:
    return printable(f"{', '.join(names):.200}")
