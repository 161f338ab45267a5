"""Strings and warnings that reach a terminal: none may act on it."""

from __future__ import annotations

import warnings


def warn(message: str, stacklevel: int) -> None:
    """Warn as `warnings.warn` does; a stderr that is closed or fails ends nothing.

    Args:
        message: the words.
        stacklevel: 1 is the line that calls this function.

    Raises:
        UserWarning: a filter makes errors of warnings.
    """
    try:
        warnings.warn(message, UserWarning, stacklevel=stacklevel + 1)
    except Warning:
        raise
    except Exception:  # a stream may raise any
        pass


def printable(text: str) -> str:
    r"""A text whose every character shows, so that it can neither act on a terminal nor mislead.

    Control characters, characters that turn or join their neighbours, separators of lines, lone
    surrogates, and private or unassigned characters become the escapes of Python (``\x1b``,
    ``\u202e``). Letters and signs of any script stay, and so do spaces.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or _is_space(character) else _escaped(character)
        for character in text
    )


def _is_space(character: str) -> bool:
    import unicodedata

    return unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
