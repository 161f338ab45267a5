"""What every loader returns: a table, a head and a tokenizer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nibblevec import _core
from nibblevec.model_files import read_file
from nibblevec.table import Table


class Head:
    """Separable Dynamic Tanh: ``beta * tanh(alpha * x + bias)``.

    Attributes:
        alpha: float32 [dim].
        beta: float32 [dim].
        bias: float32 [dim].
        native: the same for the kernel.
    """

    def __init__(
        self, alpha: NDArray[np.float32], beta: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        self.bias = bias
        self.native = _core.DynamicTanh(alpha, beta, bias)


class Model:
    """A static embedding model.

    Attributes:
        layout: the layout it was read from, in words.
        table: token embeddings.
        head: what is done to the mean of the rows.
        tokenizer_path: its ``tokenizer.json``.
        headerless_table: file of the table if it has a row for each token and does not say how
            many; else None.
    """

    def __init__(
        self,
        layout: str,
        table: Table,
        head: Head,
        tokenizer_path: str,
        headerless_table: str | None = None,
    ) -> None:
        self.layout = layout
        self.table = table
        self.head = head
        self.tokenizer_path = tokenizer_path
        self.headerless_table = headerless_table
        self._tokenizer_json: bytes | None = None

    def tokenizer_json(self) -> bytes:
        """The bytes of ``tokenizer.json``, the same ones for the life of the model."""
        if self._tokenizer_json is None:
            self._tokenizer_json = read_file(self.tokenizer_path)
        return self._tokenizer_json

    def digest(self) -> str:
        """SHA-256 over all that vectors depend on."""
        import hashlib

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
