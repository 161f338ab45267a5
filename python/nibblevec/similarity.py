"""Similarity of vectors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import torch


def cosine_similarity(a: Any, b: Any) -> NDArray[np.float32] | torch.Tensor:
    """Cosine of every vector of ``a`` with every vector of ``b``.

    Args:
        a: [n, dim] or [dim]: an array, a list of vectors or a torch Tensor.
        b: [m, dim] or [dim].

    Returns:
        float32 [n, m]. A torch Tensor if torch has been imported (what code written for
        sentence-transformers expects), else an array.

    Raises:
        ValueError: an input has more than two dimensions, or their dims differ.
    """
    left, right = _unit_rows(a, "a"), _unit_rows(b, "b")
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"vectors of {left.shape[1]} and of {right.shape[1]} dims")
    cosines: NDArray[np.float32] = left @ right.T
    if "torch" in sys.modules:
        import torch

        return torch.from_numpy(cosines)
    return cosines


def _unit_rows(vectors: ArrayLike, name: str) -> NDArray[np.float32]:
    rows = np.asarray(vectors, np.float32)
    if rows.ndim == 1:
        rows = rows[np.newaxis]
    if rows.ndim != 2:
        raise ValueError(f"{name} must have one or two dimensions, not {rows.ndim}")
    # In float64 the squares of large numbers do not overflow.
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))[:, np.newaxis]
    return (rows / np.maximum(norms, 1e-12)).astype(np.float32)
