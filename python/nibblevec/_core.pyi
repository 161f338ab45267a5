from typing import Any

import numpy as np
from numpy.typing import NDArray

class Table:
    def __init__(self, buffer: NDArray[np.uint8], dim: int, format: str) -> None: ...
    @property
    def rows(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def format(self) -> str: ...

class DynamicTanh:
    def __init__(
        self, alpha: NDArray[np.float32], beta: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> None: ...

def kernels() -> list[str]: ...
def pool(
    table: Table,
    ids: NDArray[np.integer[Any]],
    offsets: NDArray[np.int64],
    out: NDArray[np.float32],
    *,
    weights: NDArray[np.float32] | None = None,
    dynamic_tanh: DynamicTanh | None = None,
    mean: bool = False,
    normalize: bool = False,
    threads: int = 1,
    kernel: str | None = None,
) -> None: ...
def apply_head(
    rows: NDArray[np.float32],
    token_counts: NDArray[np.uint64],
    *,
    dynamic_tanh: DynamicTanh | None = None,
    mean: bool = False,
    normalize: bool = False,
    kernel: str | None = None,
) -> None: ...
def dequantize(table: Table, row_ids: NDArray[np.integer[Any]]) -> NDArray[np.float32]: ...
def quantize_sse_q4(weights: NDArray[np.float32], *, threads: int = 1) -> NDArray[np.uint8]: ...
