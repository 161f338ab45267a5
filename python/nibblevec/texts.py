"""Texts as callers hand them over."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Nulls = Literal["error", "empty"]
    Errors = Literal["raise", "replace"]

REPLACEMENT = "\ufffd"


def taken_texts(
    inputs: str | Iterable[str] | None, *, nulls: Nulls = "error", errors: Errors = "raise"
) -> tuple[str, ...]:
    """The texts as they are now, in a tuple that nobody else can change.

    What is no str among them stays, and is refused where texts are read.

    Args:
        inputs: one text; or a list, a tuple, an array of NumPy or pyarrow, a Series of pandas or
            polars, a column of datasets, a generator, any iterable.
        nulls: ``"empty"`` takes what stands for a missing text (None, NaN, pandas' NA) as an empty
            one; ``"error"`` leaves it.
        errors: ``"replace"`` puts U+FFFD in place of each lone surrogate; ``"raise"`` leaves it.

    Raises:
        TypeError: ``inputs`` are neither.
        ValueError: ``nulls`` or ``errors`` is another word.
    """
    if nulls not in ("error", "empty"):
        raise ValueError(f"nulls must be 'error' or 'empty', not {nulls!r}")
    if errors not in ("raise", "replace"):
        raise ValueError(f"errors must be 'raise' or 'replace', not {errors!r}")
    texts = (inputs,) if isinstance(inputs, str) else _listed(inputs)
    if nulls == "empty":
        texts = tuple("" if _is_missing(text) else text for text in texts)
    if errors == "replace":
        texts = tuple(map(without_surrogates, texts))
    return texts


def without_surrogates(text: str) -> str:
    """The text with U+FFFD in place of each lone surrogate; what is no str stays."""
    if not isinstance(text, str) or text.isascii():
        return text
    import re

    return re.sub("[\ud800-\udfff]", REPLACEMENT, text)


def check_iterable(inputs: Any, expected: str) -> None:
    """Refuse what gives no texts one by one.

    Raises:
        TypeError: ``inputs`` are bytes, a mapping, whose keys are hardly meant, a table, which
            would give the names of its columns, or no iterable; ``expected`` is named.
    """
    if isinstance(inputs, Mapping):
        kind = type(inputs).__name__
        raise TypeError(f"expected {expected}, not {kind}, which gives its keys")
    if isinstance(inputs, (bytes, bytearray, memoryview)) or not hasattr(inputs, "__iter__"):
        raise TypeError(f"expected {expected}, not {type(inputs).__name__}")
    if getattr(inputs, "ndim", 1) != 1:
        kind = type(inputs).__name__
        raise TypeError(f"expected one dimension of str, not {kind} with {inputs.ndim}")


def one_by_one(inputs: Iterable[Any]) -> Iterator[Any]:
    """The items, those of arrays of pyarrow as plain objects."""
    if not hasattr(inputs, "to_pylist"):
        return iter(inputs)
    return (item.as_py() if hasattr(item, "as_py") else item for item in inputs)


def _listed(inputs: Any) -> tuple[Any, ...]:
    check_iterable(inputs, "a str or an iterable of str")
    if isinstance(inputs, np.ndarray):
        return tuple(inputs.tolist())
    # Arrays of pyarrow give objects of their own, no str.
    return tuple(inputs.to_pylist() if hasattr(inputs, "to_pylist") else inputs)


def _is_missing(text: object) -> bool:
    if text is None or (isinstance(text, float) and math.isnan(text)):
        return True
    pandas = sys.modules.get("pandas")
    return pandas is not None and text is pandas.NA
