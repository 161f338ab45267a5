"""Vectors and ids as torch Tensors, where a caller of sentence-transformers' API asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


def in_type_asked(vectors: NDArray[Any], *, convert_to_numpy: bool, convert_to_tensor: bool) -> Any:
    """Vectors as `encode`'s caller wants them; torch is imported only where it is wanted.

    Args:
        vectors: [n, dims], or [dims] for one text.
        convert_to_numpy: an array; else, for more than one text, a list of Tensors.
        convert_to_tensor: a Tensor; it wins over ``convert_to_numpy``.
    """
    if convert_to_numpy and not convert_to_tensor:
        return vectors
    import torch

    tensor = torch.from_numpy(vectors)
    return tensor if convert_to_tensor or vectors.ndim == 1 else list(tensor)


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
