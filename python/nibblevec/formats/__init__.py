"""Layouts that a model comes in, one file each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nibblevec.formats import sse

if TYPE_CHECKING:
    from nibblevec.model import Model


def load_model(path: str | os.PathLike[str], *, mmap: bool = True) -> Model:
    """Load the model of a local folder, whatever its layout.

    Args:
        path: the folder.
        mmap: map the table into memory instead of reading it.

    Raises:
        FileNotFoundError: the folder, or a file that its layout asks for, is missing.
        NotADirectoryError: it is a file.
        ModelFormatError: a file does not hold what it must.
        OSError: a file cannot be read, or is not a regular file.
        ValueError: no layout fits.
    """
    folder = os.path.abspath(os.fspath(path))
    names = os.listdir(folder)
    if sse.TABLE_NAME in names:
        return sse.load_quantized(folder, mmap=mmap)
    if sse.FLOAT_NAME in names and sse.has_head(os.path.join(folder, sse.FLOAT_NAME)):
        return sse.load_float(folder, mmap=mmap)
    raise ValueError(
        f"{folder}: not a model that can be loaded; looked for {sse.TABLE_NAME} (quantised SSE)"
        f" and {sse.FLOAT_NAME} with {sse.HEAD_TENSORS[0]} (float SSE)"
    )
