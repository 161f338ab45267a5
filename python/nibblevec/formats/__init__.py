"""Layouts that a model comes in, one file each."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from nibblevec.float_environment import in_default_float_environment
from nibblevec.formats import model2vec, sentence_transformers, sse
from nibblevec.formats.ranges import read_ranges
from nibblevec.model import Model


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

    Args:
        path: its folder, or a GGUF file.
        mmap: map the table into memory instead of reading it.

    Raises:
        FileNotFoundError: the folder, or a file that its layout asks for, is missing.
        NotADirectoryError: it is a file, but not a GGUF file.
        ModelFormatError: a file does not hold what it must.
        OSError: a file cannot be read, or is not a regular file.
        ValueError: no layout fits.
    """
    folder = os.path.abspath(os.fspath(path))
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
