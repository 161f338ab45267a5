"""A folder or a file that may hold a model."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nibblevec._containers.json_files import read_json_array, read_json_object
from nibblevec._containers.safetensors import read_safetensors

if TYPE_CHECKING:
    from nibblevec._containers.stored_tensors import StoredTensor

TENSORS_NAME = "model.safetensors"


class Place:
    """A folder or a file, read once: a layout is recognised and loaded from the same content.

    Attributes:
        path: of the folder or the file.
        mmap: whether a table is mapped into memory, or read.
    """

    def __init__(self, path: str, *, mmap: bool) -> None:
        self.path = path
        self.mmap = mmap
        self._objects: dict[str, dict[str, Any]] = {}
        self._arrays: dict[str, list[Any]] = {}

    def has(self, name: str) -> bool:
        """Whether the folder holds anything of this name."""
        return os.path.lexists(os.path.join(self.path, name))

    def json_object(self, name: str, field: str) -> dict[str, Any]:
        """The JSON object in the file of this name; ``field`` is what errors call it.

        Raises:
            OSError: there is none, it cannot be read, or is not a regular file.
            ModelFormatError: it is not a JSON object.
        """
        if name not in self._objects:
            self._objects[name] = read_json_object(os.path.join(self.path, name), field)
        return self._objects[name]

    def json_array(self, name: str, field: str) -> list[Any]:
        """The JSON array in the file of this name; ``field`` is what errors call it.

        Raises:
            OSError: there is none, it cannot be read, or is not a regular file.
            ModelFormatError: it is not a JSON array.
        """
        if name not in self._arrays:
            self._arrays[name] = read_json_array(os.path.join(self.path, name), field)
        return self._arrays[name]

    @cached_property
    def tensors(self) -> dict[str, StoredTensor]:
        """Those of the folder's ``model.safetensors``; none, if there is no such file.

        Raises:
            OSError: the file cannot be read, or is not a regular file.
            ModelFormatError: it is not a safetensors file.
        """
        return self.open_tensors(TENSORS_NAME) if self.has(TENSORS_NAME) else {}

    def open_tensors(self, name: str) -> dict[str, StoredTensor]:
        """Those of the folder's file of this name.

        Raises:
            OSError: there is none, it cannot be read, or is not a regular file.
            ModelFormatError: it is not a safetensors file.
        """
        return read_safetensors(os.path.join(self.path, name), mmap=self.mmap)
