"""A folder that may hold a model."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from nibblevec._containers.safetensors import read_safetensors

if TYPE_CHECKING:
    from nibblevec._containers.stored_tensors import StoredTensor

TENSORS_NAME = "model.safetensors"


class ModelFolder:
    """A folder, of which the tensors are opened once: a layout is told, and loaded, from the same.

    Attributes:
        path: of the folder.
        mmap: whether a table is mapped into memory, or read.
    """

    def __init__(self, path: str, *, mmap: bool) -> None:
        self.path = path
        self.mmap = mmap

    def has(self, *names: str) -> bool:
        """Whether there is anything of this name, in folders within if there are several."""
        return os.path.lexists(os.path.join(self.path, *names))

    @cached_property
    def tensors(self) -> dict[str, StoredTensor]:
        """Those of ``model.safetensors``; none, if there is no such file.

        Raises:
            OSError: the file cannot be read, or is not a regular file.
            ModelFormatError: it is not a safetensors file.
        """
        if not self.has(TENSORS_NAME):
            return {}
        return self.open_tensors(TENSORS_NAME)

    def open_tensors(self, *names: str) -> dict[str, StoredTensor]:
        """Those of the file of this name, in folders within if there are several names.

        Raises:
            OSError: there is none, it cannot be read, or is not a regular file.
            ModelFormatError: it is not a safetensors file.
        """
        return read_safetensors(os.path.join(self.path, *names), mmap=self.mmap)
