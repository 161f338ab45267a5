"""Layouts that a model comes in, one file each."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from typing import NamedTuple

from nibblevec.float_environment import in_default_float_environment
from nibblevec.formats import model2vec, sentence_transformers, sse
from nibblevec.formats.ranges import read_ranges
from nibblevec.hub import FILES
from nibblevec.model import Model

# A model whose files are replaced while they are read is read again, so often at most.
READINGS = 5
READING_PAUSE_SECONDS = 0.02


class Layout(NamedTuple):
    """A layout of folders.

    Attributes:
        looked_for: what tells it from others, in words.
        is_in: whether a folder has it.
        load: loads the model of such a folder; takes ``mmap``.
    """

    looked_for: str
    is_in: Callable[[str], bool]
    load: Callable[..., Model]


def _is_static_embedding(folder: str) -> bool:
    """Whether its modules begin with one, unless model2vec wrote it: that lists one always."""
    return sentence_transformers.is_static_embedding(folder) and not (
        model2vec.is_model2vec(folder) and model2vec.has_own_config(folder)
    )


# The first one that a folder has is its layout.
LAYOUTS = (
    Layout(f"{sse.TABLE_NAME} (quantised SSE)", sse.is_quantized, sse.load_quantized),
    Layout(
        f"{sse.FLOAT_NAME} with {sse.HEAD_TENSORS[0]} (float SSE)", sse.is_float, sse.load_float
    ),
    Layout(
        f"{sentence_transformers.MODULES_NAME} that begins with a StaticEmbedding"
        " (sentence-transformers)",
        _is_static_embedding,
        sentence_transformers.load,
    ),
    Layout(
        f"{model2vec.CONFIG_NAME} and {model2vec.MODEL_NAME} with {model2vec.TABLE_TENSOR}"
        " (Model2Vec)",
        model2vec.is_model2vec,
        model2vec.load,
    ),
)


@in_default_float_environment
def load_model(path: str | os.PathLike[str], *, mmap: bool = True) -> Model:
    """Load a local model, whatever its layout.

    The files are all of one time: where another process replaces them meanwhile, they are read
    again.

    Args:
        path: its folder, or a GGUF file.
        mmap: map the table into memory instead of reading it.

    Raises:
        FileNotFoundError: the folder, or a file that its layout asks for, is missing.
        NotADirectoryError: it is a file, but not a GGUF file.
        ModelFormatError: a file does not hold what it must.
        OSError: a file cannot be read, or is not a regular file; the files do not come to rest.
        ValueError: no layout fits.
    """
    folder = os.path.abspath(os.fspath(path))
    for number in range(READINGS):
        time.sleep(READING_PAUSE_SECONDS * number)
        before = _identities(folder)
        try:
            model = _load(folder, mmap)
            model.tokenizer.read()
        except (OSError, ValueError):
            if _identities(folder) == before:
                raise
        else:
            if _identities(folder) == before:
                return model
    problem = "Its files were replaced while they were read, again and again"
    raise OSError(errno.EBUSY, problem, folder)


def _identities(folder: str) -> list[tuple[int, ...] | None]:
    """What tells whether a file of a model has become another one, of each that there may be."""
    identities: list[tuple[int, ...] | None] = []
    for name in ("", *FILES):
        try:
            status = os.stat(os.path.join(folder, name) if name else folder)
        except (OSError, ValueError):
            identities.append(None)
            continue
        content = (status.st_size, status.st_mtime_ns)
        is_folder = stat.S_ISDIR(status.st_mode)  # whose content others may change
        identities.append((status.st_dev, status.st_ino, *(() if is_folder else content)))
    return identities


def _load(folder: str, mmap: bool) -> Model:
    if os.path.isfile(folder):
        from nibblevec.formats import gguf

        if gguf.is_gguf(folder):
            return gguf.load(folder, mmap=mmap)
    names = os.listdir(folder)  # or whatever is wrong with the folder itself
    for layout in LAYOUTS:
        if layout.is_in(folder):
            model = layout.load(folder, mmap=mmap)
            return model._replace(ranges=read_ranges(folder, model.table.dim))
    *others, last = (layout.looked_for for layout in LAYOUTS)
    found = sentence_transformers.module_types(folder)
    problem = f"not a model that can be loaded; looked for {', '.join(others)} and {last}"
    if found:
        problem += f"; {sentence_transformers.MODULES_NAME} names {', '.join(found):.200}"
    if files := sorted(name for name in names if name.lower().endswith(".gguf")):
        problem += f"; a GGUF file is loaded by its own name: {', '.join(files):.200}"
    raise ValueError(f"{folder}: {problem}")
