"""The Dynamic Tanh of a model among the tensors of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nibblevec._containers.files import ModelFormatError
from nibblevec._containers.tensors import float32_vector, tensor_of_vector
from nibblevec._model import DynamicTanh

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nibblevec._containers.stored_tensors import StoredTensor, Tensor

DYNAMIC_TANH_TENSORS = ("dyt.alpha", "dyt.beta", "dyt.bias")


def has_dynamic_tanh(tensors: Mapping[str, StoredTensor]) -> bool:
    """Whether a tensor of a Dynamic Tanh is among these."""
    return any(name.startswith("dyt.") for name in tensors)


def dynamic_tanh_of(
    tensors: Mapping[str, StoredTensor], dtypes: tuple[str, ...], path: str
) -> DynamicTanh:
    """The Dynamic Tanh among the tensors of a file.

    Raises:
        ModelFormatError: a tensor is missing, of another type or length, or a value not finite.
    """
    alpha, beta, bias = (
        float32_vector(tensors, name, dtypes, path) for name in DYNAMIC_TANH_TENSORS
    )
    for name, vector in zip(DYNAMIC_TANH_TENSORS, (alpha, beta, bias), strict=True):
        if len(vector) != len(alpha):
            raise ModelFormatError(
                path, name, f"length {len(vector)}, expected {len(alpha)} as dyt.alpha has"
            )
    return DynamicTanh(alpha, beta, bias)


def tensors_of_dynamic_tanh(dynamic_tanh: DynamicTanh) -> dict[str, Tensor]:
    """The tensors of a Dynamic Tanh, as `dynamic_tanh_of` reads them."""
    vectors = (dynamic_tanh.alpha, dynamic_tanh.beta, dynamic_tanh.bias)
    return dict(zip(DYNAMIC_TANH_TENSORS, map(tensor_of_vector, vectors), strict=True))
