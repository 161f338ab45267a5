"""Ranges of int8 and uint8 that are kept with a model of any layout."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from nibblevec._containers.files import ModelFormatError
from nibblevec._containers.safetensors import read_safetensors, write_safetensors
from nibblevec._containers.stored_tensors import StoredTensor, Tensor
from nibblevec._precision import RangesKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Ranges = Mapping[RangesKey, NDArray[np.float32]]

RANGES_NAME = "ranges.safetensors"


def read_ranges(folder: str, dim: int) -> Ranges:
    """The ranges of a folder's ``ranges.safetensors``; empty if there is none.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        ModelFormatError: it is not a safetensors file, or see `ranges_of`.
    """
    path = os.path.join(folder, RANGES_NAME)
    if not os.path.lexists(path):
        return {}
    return ranges_of(read_safetensors(path, mmap=False), dim, path)


def write_ranges(ranges: Ranges, folder: str) -> None:
    """Write the file that `read_ranges` reads, if there are any ranges.

    Raises:
        OSError: the file exists there, or cannot be written.
    """
    if ranges:
        write_safetensors(os.path.join(folder, RANGES_NAME), tensors_of_ranges(ranges))


def ranges_of(
    tensors: Mapping[str, StoredTensor], dim: int, path: str, *, prefix: str = ""
) -> dict[RangesKey, NDArray[np.float32]]:
    """The ranges among the tensors of a file.

    Args:
        tensors: ``normalized.N`` and ``unnormalized.N``, each F32 [2, N]: the least and the
            greatest value of each of the first N dims.
        dim: of the model.
        path: the file.
        prefix: beginning of their names; tensors without it are ignored.

    Raises:
        ModelFormatError: a tensor has another name, type or shape, more dims than the model, a
            value that is not finite, or a least one above the greatest.
    """
    ranges = {}
    for name, tensor in tensors.items():
        if not name.startswith(prefix):
            continue
        if tensor.dtype != "F32" or len(tensor.shape) != 2 or tensor.shape[0] != 2:
            found = f"{tensor.dtype} {list(tensor.shape)!r:.80}"
            raise ModelFormatError(path, name, f"{found}, expected F32 [2, dims]")
        dims = tensor.shape[1]
        if not 1 <= dims <= dim:
            raise ModelFormatError(path, name, f"{dims} dims, expected 1..{dim}")
        keys = [RangesKey(normalized, dims) for normalized in (False, True)]
        key_of_name = {_name_of(key): key for key in keys}
        key = key_of_name.get(name.removeprefix(prefix))
        if key is None:
            raise ModelFormatError(path, name, f"expected the name {' or '.join(key_of_name)}")
        limits = tensor.read().view("<f4").reshape(tensor.shape)
        least, greatest = limits
        good = np.isfinite(least) & np.isfinite(greatest) & (least <= greatest)
        if not good.all():
            wrong = int(np.argmin(good))
            problem = f"dim {wrong} has the range {least[wrong]} to {greatest[wrong]}"
            raise ModelFormatError(path, name, problem)
        ranges[key] = limits
    return ranges


def tensors_of_ranges(ranges: Ranges, *, prefix: str = "") -> dict[str, Tensor]:
    """Ranges as tensors, as `ranges_of` reads them."""
    return {
        prefix + _name_of(key): Tensor(
            "F32", limits.shape, np.ascontiguousarray(limits, "<f4").reshape(-1).view(np.uint8)
        )
        for key, limits in sorted(ranges.items(), key=lambda item: item[0])
    }


def _name_of(key: RangesKey) -> str:
    """The name of a tensor of ranges."""
    return f"{'normalized' if key.normalized else 'unnormalized'}.{key.dims}"
