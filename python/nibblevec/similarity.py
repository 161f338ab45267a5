"""Similarity of vectors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import torch


def cosine_similarity(embeddings1: Any, embeddings2: Any) -> NDArray[np.float32] | torch.Tensor:
    """Cosine of every vector of ``embeddings1`` with every one of ``embeddings2``.

    Args:
        embeddings1: [n, dim] or [dim]: an array, a list of vectors or a torch Tensor.
        embeddings2: [m, dim] or [dim].

    Returns:
        float32 [n, m]. A torch Tensor if torch has been imported (what code written for
        sentence-transformers expects), else an array.

    Raises:
        ValueError: an input has more than two dimensions, or their dims differ.
    """
    left, right = _unit_rows(embeddings1, "embeddings1"), _unit_rows(embeddings2, "embeddings2")
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"embeddings1 has {left.shape[1]} dims, embeddings2 has {right.shape[1]}")
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
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    norms: NDArray[np.float64] = np.sqrt(squares)[:, np.newaxis]
    unit: NDArray[np.float32] = (rows / np.maximum(norms, 1e-12)).astype(np.float32)
    return unit
