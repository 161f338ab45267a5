"""Files that are no model of ours, but recognisably something else.

Each says what it is and the way out. Asked only where something was refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from nibblevec._containers.files import ModelFormatError, read_beginning
from nibblevec._io import file_kinds

# Of a file: enough for the first record of an archive, and for the line of a word vector.
BEGINNING_BYTES = 1024

DISTIL = (
    "only static embeddings are run here; model2vec.distill.distill, or"
    " StaticEmbedding.from_distillation of sentence-transformers, makes one of it"
)
PICKLES = "pickles may run any code and are not read; save it as model.safetensors"

Found = str | bool | None


class Foreign(NamedTuple):
    """Something else than a model.

    Attributes:
        find: whether a thing is that, or the names that tell it.
        words: what it is and the way out; ``{}`` stands for the names.
    """

    find: Callable[[Any], Found]
    words: str


class _File(NamedTuple):
    name: str
    beginning: bytes


def told(known: tuple[Foreign, ...], thing: object) -> str | None:
    """The words of the first of these that a thing is; None if it is none of them."""
    for foreign in known:
        found = foreign.find(thing)
        if found:
            return foreign.words.format(found if isinstance(found, str) else "-")
    return None


def _starts(*beginnings: bytes) -> Callable[[_File], Found]:
    return lambda file: file.beginning.startswith(beginnings)


def _like(pattern: bytes) -> Callable[[_File], Found]:
    return lambda file: bool(re.match(pattern, file.beginning))


def _holds(*known: file_kinds.Kind | str) -> Callable[[_File], Found]:
    """Whether it begins as a file of one of these formats, and not as one of safetensors."""

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


# Told by the beginning of a file, under any name.
TOLD_BY_CONTENT = (
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
FOREIGN_FILES = (
    *TOLD_BY_CONTENT,
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


def file_in_words(path: str) -> str | None:
    """What a file is that was given as a model, and the way out; None if that cannot be told."""
    file = _opened(path)
    return None if file is None else told(FOREIGN_FILES, file)


def explain(error: ModelFormatError) -> None:
    """Add to an error what its file is instead of what it must be, if that can be told."""
    file = _opened(error.path)
    words = None if file is None else told(TOLD_BY_CONTENT, file)
    if words is not None:
        error.add(words)


def _opened(path: str) -> _File | None:
    try:
        return _File(os.path.basename(path), read_beginning(path, BEGINNING_BYTES))
    except (OSError, ValueError):
        return None
