"""Texts as callers give them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator

    MissingTexts = Literal["error", "empty"]
    Errors = Literal["raise", "replace"]

REPLACEMENT = "\ufffd"
PAIR = "surrogate pair"


def check_options(nulls: MissingTexts, errors: Errors) -> None:
    """Refuse unknown values of these options.

    Raises:
        ValueError: ``nulls`` or ``errors`` has an unknown value.
    """
    if nulls not in ("error", "empty"):
        raise ValueError(f"nulls must be 'error' or 'empty', not {nulls!r:.80}")
    if errors not in ("raise", "replace"):
        raise ValueError(f"errors must be 'raise' or 'replace', not {errors!r:.80}")


def taken_texts(
    inputs: str | Iterable[str] | None, *, nulls: MissingTexts = "error", errors: Errors = "raise"
) -> tuple[str, ...]:
    """The texts as they are now, in a tuple that nobody else can change.

    An item that is no str stays, and is refused where texts are read.

    Args:
        inputs: one text; or a list, a tuple, an array of NumPy or pyarrow, a Series of pandas or
            polars, a column of datasets, a generator, any iterable.
        nulls: ``"empty"`` takes a missing text, see `_is_missing`, as an empty one; ``"error"``
            leaves it.
        errors: ``"replace"`` repairs surrogates, see `without_surrogates`; ``"raise"`` leaves them.

    Raises:
        TypeError: ``inputs`` are not texts in any of these forms.
        ValueError: ``nulls`` or ``errors`` has an unknown value.
    """
    check_options(nulls, errors)
    texts = (inputs,) if isinstance(inputs, str) else _listed(inputs)
    if nulls == "empty":
        texts = tuple(
            text if isinstance(text, str) or not _is_missing(text) else "" for text in texts
        )
    if errors == "replace":
        texts = tuple(map(without_surrogates, texts))
    return texts


def without_surrogates(text: str) -> str:
    """The text without surrogates; an item that is no str stays.

    A high one before a low one becomes the character that UTF-16 writes so, any other U+FFFD.
    """
    if not isinstance(text, str) or text.isascii():
        return text
    import re

    return re.sub("[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]", _repaired, text)


def _repaired(match: re.Match[str]) -> str:
    surrogates = match.group()
    if len(surrogates) == 1:
        return REPLACEMENT
    return surrogates.encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def surrogate_in(text: str) -> str | None:
    """The first surrogate of a text and its place, in words; None: there is none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        start = error.start
        is_pair = text[start] < "\udc00" and "\udc00" <= text[start + 1 : start + 2] <= "\udfff"
        return f"a {PAIR if is_pair else 'lone surrogate'} at character {start}"
    return None


def way_out(where: str) -> str:
    """The way out of what `surrogate_in` found, in the words of the native code."""
    if PAIR in where:
        return "; errors='replace' makes it the character that it stands for"
    return "; errors='replace' puts U+FFFD in its place"


def prompted(texts: tuple[Any, ...], prompt: str) -> tuple[Any, ...]:
    """Texts with the prompt before them; an item that is no str stays, and is refused later.

    Raises:
        ValueError: the prompt holds a lone surrogate.
    """
    if (where := surrogate_in(prompt)) is not None:
        raise ValueError(f"the prompt holds {where}")
    if not prompt:
        return texts
    return tuple(prompt + text if isinstance(text, str) else text for text in texts)


def check_texts(texts: Iterable[Any], first_number: int) -> None:
    """Refuse an item that is no str.

    Raises:
        TypeError: a text is not one (names its number and type, and a way out).
    """
    for number, text in enumerate(texts, first_number):
        if not isinstance(text, str):
            found = type(text).__name__
            raise TypeError(f"text {number} is {found}, expected str{_advice(text)}")


def _advice(text: Any) -> str:
    if _is_missing(text):
        shown = "" if text is None else f" ({text})"
        return f"; nulls='empty' takes a missing text{shown} as an empty one"
    if isinstance(text, (bytes, bytearray)):
        return "; .decode() makes a text of it"
    if isinstance(text, memoryview):
        return "; bytes(...).decode() makes a text of it"
    if hasattr(text, "as_py"):  # a scalar of pyarrow
        return "; .as_py() gives what it holds"
    if isinstance(text, (int, float, complex, np.generic)):
        return f"; str(...) makes a text of {text!s:.40}"
    return ""


def check_iterable(inputs: Any, expected: str) -> None:
    """Refuse an object that gives no texts one by one.

    Raises:
        TypeError: ``inputs`` are bytes, a mapping, which would give its keys, a table, which would
            give the names of its columns, or no iterable (names ``expected``).
    """
    if isinstance(inputs, Mapping):
        found = type(inputs).__name__
        raise TypeError(f"expected {expected}, not {found}, which gives its keys")
    if isinstance(inputs, (bytes, bytearray, memoryview)) or not hasattr(inputs, "__iter__"):
        raise TypeError(f"expected {expected}, not {type(inputs).__name__}")
    if getattr(inputs, "ndim", 1) != 1:
        found = type(inputs).__name__
        raise TypeError(f"expected one dimension of str, not {found} with {inputs.ndim}")


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
    """Whether this stands for a missing text: None, or a value that `pandas.isna` calls missing.

    These are NaN of Python, NumPy and `decimal`, NaT of NumPy and pandas, and pandas' NA.
    """
    if text is None:
        return True
    if isinstance(text, (float, complex, np.inexact, np.datetime64, np.timedelta64)):
        return bool(text != text)  # noqa: PLR0124
    # A text cannot be a value of a module that has not been imported.
    decimal, pandas = map(sys.modules.get, ("decimal", "pandas"))
    if decimal is not None and isinstance(text, decimal.Decimal):
        return bool(text.is_nan())
    missing = (getattr(pandas, name, None) for name in ("NA", "NaT"))
    return any(text is value for value in missing)
