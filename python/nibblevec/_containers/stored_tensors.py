"""One tensor, in memory or in a file of any container."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nibblevec._containers.files import ModelFile

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Tensor(NamedTuple):
    """One tensor in memory: its type as the format spells it, its shape, its bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: NDArray[np.uint8]


class StoredTensor(NamedTuple):
    """One tensor of a file: its type as the format spells it, its shape, where its bytes are.

    The bytes are read or mapped when they are asked for.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: ModelFile
    begin: int
    end: int

    @property
    def data(self) -> NDArray[np.uint8]:
        """Its bytes, mapped into memory if the file was opened so.

        Raises:
            OSError: they cannot be read.
            ModelFormatError: the file was cut.
        """
        return self.file.piece(self.begin, self.end, self.name)

    def read(self) -> NDArray[np.uint8]:
        """Its bytes in memory of their own, aligned.

        Raises:
            OSError: they cannot be read.
            ModelFormatError: the file was cut.
        """
        return self.file.read(self.begin, self.end, self.name)
