"""Layouts that a model comes in, one file each."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from typing import NamedTuple

from nibblevec._containers.files import ModelFormatError
from nibblevec._float_environment import in_default_float_environment
from nibblevec._hub import FILES
from nibblevec._layouts import model2vec, sentence_transformers, sse
from nibblevec._layouts.folder import ModelFolder
from nibblevec._layouts.ranges import read_ranges
from nibblevec._model import Model
from nibblevec._printing import printable

# A model whose files are replaced while they are read is read again, so often at most.
READINGS = 5
READING_PAUSE_SECONDS = 0.02


class Layout(NamedTuple):
    """A layout of folders.

    Attributes:
        looked_for: what tells it from others, in words.
        is_in: whether a folder has it.
        load: loads the model of such a folder.
    """

    looked_for: str
    is_in: Callable[[ModelFolder], bool]
    load: Callable[[ModelFolder], Model]


def _is_static_embedding(folder: ModelFolder) -> bool:
    """Whether its modules begin with one, unless model2vec wrote it: that lists one always."""
    return sentence_transformers.is_static_embedding(folder.path) and not (
        model2vec.is_model2vec(folder) and model2vec.has_own_config(folder.path)
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
    Layout(
        f"{sentence_transformers.MODEL_NAME} with {sentence_transformers.WEIGHT_TENSOR} alone"
        f" and no {sentence_transformers.MODULES_NAME} (a bare StaticEmbedding)",
        sentence_transformers.is_bare,
        sentence_transformers.load_bare,
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
            model = _load_explained(folder, mmap)
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


def _load_explained(path: str, mmap: bool) -> Model:
    try:
        return _load(path, mmap)
    except ModelFormatError as error:
        from nibblevec._layouts.foreign import explain

        explain(error)
        raise
    except FileNotFoundError as error:
        from nibblevec._layouts.foreign import explain_missing

        explain_missing(error)
        raise


def _load(path: str, mmap: bool) -> Model:
    if os.path.isfile(path):
        from nibblevec._layouts import gguf

        if gguf.is_gguf(path):
            return gguf.load(path, mmap=mmap)
        from nibblevec._layouts.foreign import file_in_words

        problem = "not a folder, and not a GGUF file"
        if words := file_in_words(path):
            problem += f"; {words}"
        raise NotADirectoryError(errno.ENOTDIR, problem, path)
    names = os.listdir(path)  # or whatever is wrong with the folder itself
    folder = ModelFolder(path, mmap=mmap)
    for layout in LAYOUTS:
        if layout.is_in(folder):
            model = layout.load(folder)
            return model._replace(ranges=read_ranges(path, model.table.dim))
    from nibblevec._layouts.foreign import folder_in_words

    *others, last = (layout.looked_for for layout in LAYOUTS)
    problems = [f"not a model that can be loaded; looked for {', '.join(others)} and {last}"]
    if found := sentence_transformers.module_types(path):
        problems.append(f"{sentence_transformers.MODULES_NAME} names {', '.join(found):.200}")
    if words := folder_in_words(path, names):
        problems.append(words)
    raise ValueError(printable(f"{path}: {'; '.join(problems)}"))
