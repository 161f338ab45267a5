"""Vectors and ids as torch Tensors, where a caller of sentence-transformers' API asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


def tensors_of(vectors: NDArray[Any], *, as_list: bool) -> torch.Tensor | list[torch.Tensor]:
    """Vectors as a Tensor.

    Args:
        vectors: [n, dims], or [dims] for one text.
        as_list: a list of Tensors [dims] instead, for [n, dims].
    """
    import torch

    tensor = torch.from_numpy(vectors)
    return list(tensor) if as_list and vectors.ndim > 1 else tensor


def features_of_texts(
    ids: NDArray[np.uint32], offsets: NDArray[np.int64], vectors: NDArray[np.float32]
) -> list[dict[str, torch.Tensor]]:
    """What the modules of a `SentenceTransformer` leave of each text, were it alone.

    Args:
        ids: uint32 [tokens] of all texts end to end.
        offsets: int64 [n + 1], where each text begins, and the end of the last.
        vectors: float32 [n, dims].
    """
    import torch

    tokens = torch.from_numpy(ids.astype(np.int64))
    return [
        {
            "input_ids": tokens[begin:end],
            "offsets": torch.tensor(0),
            "sentence_embedding": vector,
        }
        for begin, end, vector in zip(
            offsets[:-1].tolist(), offsets[1:].tolist(), torch.from_numpy(vectors), strict=True
        )
    ]
