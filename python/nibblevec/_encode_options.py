"""The options of `Encoder.encode`, once for all signatures that pass them on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import SupportsIndex

    from numpy.typing import NDArray

    from nibblevec._precision import Precision
    from nibblevec._texts import Errors, MissingTexts


class ArrayOptions(TypedDict, total=False):
    """Those that do not decide what `encode` returns: an array unless others say otherwise."""

    batch_size: SupportsIndex
    show_progress_bar: bool | None
    precision: Precision | None
    device: object
    normalize_embeddings: bool
    truncate_dim: SupportsIndex | None
    pool: Mapping[str, Any] | None
    chunk_size: SupportsIndex | None
    threads: SupportsIndex | None
    out: NDArray[Any] | None
    errors: Errors
    nulls: MissingTexts
    ranges: Literal["call"] | None
    sentences: str | Iterable[str] | None


class EncodeOptions(ArrayOptions, total=False):
    """All options of `Encoder.encode`, which tells what they do."""

    output_value: str | None
    convert_to_numpy: bool
    convert_to_tensor: bool
