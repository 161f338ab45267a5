"""Cutting long runs of items into blocks."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Item = TypeVar("Item")


def slices(count: int, most: int) -> Iterator[slice]:
    """Slices of at most ``most`` items each that cover ``count`` items, in order."""
    for begin in range(0, count, most):
        yield slice(begin, min(begin + most, count))


def batches(items: Iterable[Item], most: int) -> Iterator[tuple[Item, ...]]:
    """The items, ``most`` at a time; the last batch has the rest."""
    iterator = iter(items)
    return iter(lambda: tuple(islice(iterator, min(most, sys.maxsize))), ())


def text_batches(
    texts: Iterable[Any], most_texts: int, most_characters: int
) -> Iterator[tuple[Any, ...]]:
    """The texts in batches of ``most_texts``, or fewer: one that reaches ``most_characters`` ends.

    An item that is no str counts no characters.
    """
    batch: list[Any] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text) if isinstance(text, str) else 0
        if len(batch) == most_texts or characters >= most_characters:
            yield tuple(batch)
            batch, characters = [], 0
    if batch:
        yield tuple(batch)
