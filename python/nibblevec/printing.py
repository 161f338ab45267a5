"""Strings of files, names and users, as they may reach a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""A text whose every character shows, so that it can neither act on a terminal nor mislead.

    Control characters, those that turn or join what stands beside them, separators of lines, lone
    surrogates, and what is private or not assigned become the escapes of Python (``\x1b``,
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
