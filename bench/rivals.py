"""Other packages' embedding bags, each behind the same two methods.

Importing this module imports torch, and keeps it to one thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

torch.set_num_threads(1)

VERSIONS = {"torch": torch.__version__}


class TorchFloatBag:
    """`torch.nn.functional.embedding_bag(mode="sum")` over a float32 table."""

    name = "torch float32"

    def __init__(self, weights: NDArray[np.float32]) -> None:
        self._weights = torch.from_numpy(weights)
        self.row_bytes = weights.strides[0]

    def prepare(self, ids: NDArray[np.uint32], offsets: NDArray[np.int64]) -> tuple[Any, Any]:
        """The arguments of `sum`: int32, the narrower of the two types it takes."""
        return _int32(ids), _int32(offsets)

    def sum(self, ids: Any, offsets: Any) -> Any:
        """A tensor [bags, dim]; torch has no way to reuse one."""
        with torch.inference_mode():
            return torch.nn.functional.embedding_bag(
                ids, self._weights, offsets, mode="sum", include_last_offset=True
            )


class TorchFourBitBag:
    """FBGEMM's 4-bit bag. It quantises by itself: codes, and a float16 scale and bias a row."""

    name = "torch 4-bit"

    def __init__(self, weights: NDArray[np.float32]) -> None:
        prepack = torch.ops.quantized.embedding_bag_4bit_prepack
        self._packed = prepack(torch.from_numpy(weights))
        self.row_bytes = int(self._packed.shape[1])

    def prepare(self, ids: NDArray[np.uint32], offsets: NDArray[np.int64]) -> tuple[Any, Any]:
        """The arguments of `sum`: int32, the narrower of the two types it takes."""
        return _int32(ids), _int32(offsets)

    def sum(self, ids: Any, offsets: Any) -> Any:
        """A tensor [bags, dim]; torch has no way to reuse one."""
        with torch.inference_mode():
            return torch.ops.quantized.embedding_bag_4bit_rowwise_offsets(
                self._packed, ids, offsets, include_last_offset=True
            )


def _int32(numbers: NDArray[Any]) -> Any:
    return torch.from_numpy(numbers.astype(np.int32))
