"""Files whose beginning tells that they are something else than a file of a model.

Messages say what they are, and the way out. Loaded only after something was refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from nibblevec._containers.files import ModelFormatError, read_beginning
from nibblevec._io import file_kinds
from nibblevec._layouts.place import TENSORS_NAME
from nibblevec._model import TokenizerJson

# Enough of a file for the first record of an archive, and for the line of a word vector.
BEGINNING_BYTES = 1024

DISTIL = (
    "only static embeddings are run here; model2vec.distill.distill, or"
    " StaticEmbedding.from_distillation of sentence-transformers, makes one of it"
)
PICKLES = f"pickles may run any code and are not read; save it as {TENSORS_NAME}"

Found = str | bool | None


class Foreign(NamedTuple):
    """Something else than a model.

    Attributes:
        find: whether a thing is that, or the names that tell it.
        words: what it is and the way out; ``{}`` stands for the names.
    """

    find: Callable[[Any], Found]
    words: str


class OpenedFile(NamedTuple):
    """The name of a file and its first bytes."""

    name: str
    beginning: bytes


def told(known: tuple[Foreign, ...], thing: object) -> str | None:
    """The words of the first of these that a thing is; None if it is none of them."""
    for foreign in known:
        found = foreign.find(thing)
        if found:
            return foreign.words.format(found if isinstance(found, str) else "-")
    return None


def _starts(*beginnings: bytes) -> Callable[[OpenedFile], Found]:
    return lambda file: file.beginning.startswith(beginnings)


def _like(pattern: bytes) -> Callable[[OpenedFile], Found]:
    return lambda file: bool(re.match(pattern, file.beginning))


def _holds(*known: file_kinds.Kind | str) -> Callable[[OpenedFile], Found]:
    """Whether it begins as a file of one of these formats, and not as one of safetensors."""

    def find(file: OpenedFile) -> bool:
        # A file of safetensors begins with the size of its header, which may be any bytes.
        found = None if is_safetensors(file) else file_kinds.kind_by_content(file.beginning)
        return found is not None and any(one in known for one in found)

    return find


def is_safetensors(file: OpenedFile) -> bool:
    """Whether it begins as a file of safetensors."""
    return bool(re.match(rb"[\s\S]{5}\0\0\0\{", file.beginning))


def either(*ways: Callable[[OpenedFile], Found]) -> Callable[[OpenedFile], Found]:
    """Whether any of these finds that a file is something else."""
    return lambda file: any(find(file) for find in ways)


# Told by the beginning of a file, under any name.
TOLD_BY_CONTENT = (
    Foreign(
        either(_holds(file_kinds.LFS_POINTER), _starts(b"# xet version")),
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
    Foreign(_holds("HDF"), f"it is HDF5, as Keras keeps weights; save them as {TENSORS_NAME}"),
    Foreign(_holds("NumPy"), "it is an array of NumPy; nibblevec.Table takes those"),
    Foreign(
        either(_holds("Arrow stream"), _starts(b"PAR1", b"ARROW1")),
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
        f"it holds word vectors (GloVe, word2vec, fastText), which have no {TokenizerJson.NAME}",
    ),
)


def explain(error: ModelFormatError) -> None:
    """Add the kind of its file to an error, if the content tells that it is another one."""
    file = opened(error.path)
    words = None if file is None else told(TOLD_BY_CONTENT, file)
    if words is not None:
        error.add(words)


def opened(path: str) -> OpenedFile | None:
    """The name and the first `BEGINNING_BYTES` of a file; None if it cannot be read."""
    try:
        return OpenedFile(os.path.basename(path), read_beginning(path, BEGINNING_BYTES))
    except (OSError, ValueError):
        return None
