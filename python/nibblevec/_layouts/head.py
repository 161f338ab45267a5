"""The Dynamic Tanh of a model among the tensors of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nibblevec._containers.files import ModelFormatError
from nibblevec._containers.tensors import float32_vector, tensor_of_vector
from nibblevec._model import Head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nibblevec._containers.stored_tensors import StoredTensor, Tensor

HEAD_TENSORS = ("dyt.alpha", "dyt.beta", "dyt.bias")


def has_head(tensors: Mapping[str, StoredTensor]) -> bool:
    """Whether a tensor of a Dynamic Tanh is among these."""
    return any(name.startswith("dyt.") for name in tensors)


def head_of(tensors: Mapping[str, StoredTensor], dtypes: tuple[str, ...], path: str) -> Head:
    """The Dynamic Tanh among the tensors of a file.

    Raises:
        ModelFormatError: a tensor is missing, of another type or length, or a value not finite.
    """
    alpha, beta, bias = (float32_vector(tensors, name, dtypes, path) for name in HEAD_TENSORS)
    for name, vector in zip(HEAD_TENSORS, (alpha, beta, bias), strict=True):
        if len(vector) != len(alpha):
            raise ModelFormatError(
                path, name, f"length {len(vector)}, expected {len(alpha)} as dyt.alpha has"
            )
    return Head(alpha, beta, bias)


def tensors_of_head(head: Head) -> dict[str, Tensor]:
    """The tensors of a head, as `head_of` reads them."""
    vectors = (head.alpha, head.beta, head.bias)
    return dict(zip(HEAD_TENSORS, map(tensor_of_vector, vectors), strict=True))
