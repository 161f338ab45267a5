"""Texts to encode: made of the vocabulary by a seeded generator, or cut from a file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    # Gives N texts that were not given before, fewer when it has no more.
    TextSource = Callable[[int], list[str]]


@dataclass(frozen=True)
class Length:
    """How long texts are, in words; the share that holds a character which is not ASCII."""

    name: str
    least_words: int
    most_words: int
    foreign_share: float


SHORT = Length("short", 7, 24, 0.025)
LONG = Length("long", 150, 200, 0.2)

# As prose has them: every 8th word ends a clause, every 16th begins with a capital, one in 25 is
# not a word of the vocabulary and splits into pieces.
FORMS = (
    ("{}", 0.82), ("{},", 0.07), ("{}.", 0.06), ("({})", 0.01), ("{}'s", 0.01), ("{0}-{0}", 0.03),
)  # fmt: skip
CAPITAL_SHARE = 0.06
RARE_SHARE = 0.04
SYLLABLES = [first + then for first in "bcdfghklmnprstvz" for then in ("a", "e", "in", "o", "ur")]
ACCENTED = (
    "café", "naïve", "Zürich", "jalapeño", "façade", "résumé", "“quoted”", "it\u2019s",
    "don\u2019t", "—", "…", "€20", "25°", "±3", "™", "Łódź",
)  # fmt: skip
FOREIGN = (*ACCENTED, "Привет", "λόγος", "中文", "日本")

# Letters of other scripts, and how words of them look.
SCRIPTS = {
    "Cyrillic": ("абвгдежзиклмнопрстуфхцчшыьэюя", 2, 9, " "),
    "Greek": ("αβγδεζηθικλμνξοπρστυφχψωάέήίόύώ", 2, 9, " "),
    "Chinese": ("".join(map(chr, range(0x4E00, 0x5600))), 4, 12, "。"),
    "kana": ("".join(map(chr, range(0x3041, 0x3094))) + "アイウエオカキクケコ", 3, 10, "、"),
    "Arabic": ("ابتثجحخدذرزسشصضطظعغفقكلمنهوي", 2, 8, " "),
    "Devanagari": ("अआइउएकखगघचछजटठडतथदधनपफबभमयरलवशसहािीुूेोौं्", 2, 8, " "),
}  # fmt: skip


class Generator:
    """Texts out of the words of a vocabulary, those with a lower id more often.

    Args:
        tokenizer_json: the vocabulary is sorted by frequency, as BERT's is.
        seed: the same one gives the same texts.
    """

    def __init__(self, tokenizer_json: Path, seed: int) -> None:
        vocabulary = json.loads(tokenizer_json.read_text("utf-8"))["model"]["vocab"]
        words = [word for word in vocabulary if re.fullmatch("[a-z]{2,}|a|i", word)]
        self._words = sorted(words, key=lambda word: int(vocabulary[word]))
        frequencies = 1.0 / (np.arange(len(self._words)) + 1.5)
        self._cumulative = np.cumsum(frequencies / frequencies.sum())
        self._rng = np.random.default_rng(seed)

    def english(self, length: Length, accents: float = 0.0) -> TextSource:
        """Texts of a length; ``accents`` is the share of words that are not ASCII in all."""

        def texts(count: int) -> list[str]:
            rng = self._rng
            sizes = rng.integers(length.least_words, length.most_words + 1, count)
            words = self._decorated(int(sizes.sum()))
            ends = np.cumsum(sizes)
            foreign = np.flatnonzero(rng.random(count) < length.foreign_share)
            places = (ends[foreign] - 1 - rng.integers(0, sizes[foreign])).tolist()
            for place, which in zip(
                places, rng.integers(0, len(FOREIGN), len(places)), strict=True
            ):
                words[place] = FOREIGN[which]
            for place in np.flatnonzero(rng.random(len(words) if accents else 0) < accents):
                words[place] = ACCENTED[rng.integers(len(ACCENTED))]
            return [
                " ".join(words[end - size : end])
                for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)
            ]

        return texts

    def script(self, name: str, characters: int) -> TextSource:
        """Texts of about this many characters in another script."""
        letters, least, most, separator = SCRIPTS[name]

        def texts(count: int) -> list[str]:
            alphabet = np.array(list(letters))
            # Square of a uniform number: the first letters come more often.
            drawn = (self._rng.random(count * characters) ** 2 * len(alphabet)).astype(np.int64)
            text = "".join(alphabet[drawn])
            sizes = self._rng.integers(least, most + 1, len(text) // least).tolist()
            made: list[str] = []
            begin = place = 0
            for _ in range(count):
                parts: list[str] = []
                left = characters
                while left > 0:
                    parts.append(text[begin : begin + min(sizes[place], left)])
                    begin += len(parts[-1])
                    left -= len(parts[-1])
                    place += 1
                made.append(separator.join(parts))
            return made

        return texts

    def _decorated(self, count: int) -> list[str]:
        rng = self._rng
        which = np.searchsorted(self._cumulative, rng.random(count)).clip(max=len(self._words) - 1)
        forms = [form for form, _ in FORMS]
        shares = np.cumsum([share for _, share in FORMS])
        kinds = np.searchsorted(shares, rng.random(count) * shares[-1]).tolist()
        words = [self._words[index] for index in which.tolist()]
        for place in np.flatnonzero(rng.random(count) < RARE_SHARE).tolist():
            words[place] = self._rare_word()
        for place in np.flatnonzero(rng.random(count) < CAPITAL_SHARE).tolist():
            words[place] = words[place].capitalize()
        return [
            forms[kind].format(word) if kind else word
            for kind, word in zip(kinds, words, strict=True)
        ]

    def _rare_word(self) -> str:
        rng = self._rng
        kind = rng.random()
        if kind < 0.3:
            return str(rng.integers(1, 30_000))
        if kind < 0.65:  # a compound
            return "".join(self._words[i] for i in rng.integers(0, len(self._words), 2))
        return "".join(SYLLABLES[i] for i in rng.integers(0, len(SYLLABLES), rng.integers(2, 6)))


def cut(file: Path, length: Length, seed: int) -> TextSource:
    """Texts of a length out of the words of a file, none twice, in random order."""
    rng = np.random.default_rng(seed)
    texts = list(dict.fromkeys(_cuts(file, length, rng)))
    order = iter(rng.permutation(len(texts)).tolist())
    return lambda count: [texts[i] for i, _ in zip(order, range(count), strict=False)]


def _cuts(file: Path, length: Length, rng: np.random.Generator) -> Iterator[str]:
    words: list[str] = []
    size = int(rng.integers(length.least_words, length.most_words + 1))
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            words += line.split()
            begin = 0
            while len(words) - begin >= size:
                yield " ".join(words[begin : begin + size])
                begin += size
                size = int(rng.integers(length.least_words, length.most_words + 1))
            del words[:begin]
