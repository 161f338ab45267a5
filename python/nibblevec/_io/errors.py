"""Errors that name the file that they are about."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class InputError(ValueError):
    """A line of an input does not hold a text; the message names file and line."""


class InputKindError(InputError):
    """An input is of a kind that is not read; the message names it, its kind and the way out."""


@contextmanager
def errors_named(path: str, instead_of: str | None = None) -> Iterator[None]:
    """Errors of the system that name no file, or ``instead_of``, name ``path``."""
    try:
        yield
    except OSError as error:
        named = error.filename
        if named is not None and not (instead_of and _is_within(named, instead_of)):
            raise
        raise OSError(error.errno, error.strerror or str(error), path) from error


def _is_within(name: object, path: str) -> bool:
    return isinstance(name, str) and (name == path or name.startswith(path + os.sep))
