"""What every loader returns: a table, a head and a tokenizer."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nibblevec import _core
from nibblevec.model_files import read_file
from nibblevec.table import Table


@dataclass(frozen=True)
class Head:
    """Separable Dynamic Tanh: ``beta * tanh(alpha * x + bias)``, each float32 [dim]."""

    alpha: NDArray[np.float32]
    beta: NDArray[np.float32]
    bias: NDArray[np.float32]

    @functools.cached_property
    def native(self) -> _core.DynamicTanh:
        """The same for the kernel."""
        return _core.DynamicTanh(self.alpha, self.beta, self.bias)


@dataclass(frozen=True)
class Model:
    """A static embedding model.

    Attributes:
        layout: the layout it was read from, in words.
        table: token embeddings.
        head: what is done to the mean of the rows.
        tokenizer_path: its ``tokenizer.json``, read when it is first asked for.
    """

    layout: str
    table: Table
    head: Head
    tokenizer_path: str
    _cache: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    def tokenizer_json(self) -> bytes:
        """The bytes of ``tokenizer.json``, the same ones for the life of the model."""
        if "tokenizer" not in self._cache:
            self._cache["tokenizer"] = read_file(self.tokenizer_path)
        return self._cache["tokenizer"]

    def digest(self) -> str:
        """SHA-256 over all that vectors depend on."""
        sha256 = hashlib.sha256()
        parts = (
            self.table.format.encode(),
            self.table.buffer.data,
            self.head.alpha.data,
            self.head.beta.data,
            self.head.bias.data,
            self.tokenizer_json(),
        )
        for part in parts:
            size = part.nbytes if isinstance(part, memoryview) else len(part)
            sha256.update(size.to_bytes(8, "little"))
            sha256.update(part)
        return sha256.hexdigest()
