"""Find the ranges of int8 and uint8 that come with the bundled model.

    python tools/make_ranges.py

By default the sample is generated, the same one everywhere: words of the model's own vocabulary,
which is sorted by frequency, drawn by Zipf's law.
"""

from __future__ import annotations

import argparse
import os
import random
from bisect import bisect
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path

from nibblevec import Encoder
from nibblevec._bundled import BUNDLED_MODEL
from nibblevec._layouts.ranges import RANGES_NAME, write_ranges

DIMS = (512, 256, 128, 64, 32)

TEXTS = 10_000
MOST_WORDS = 64
SEED = 8

# The first words of the vocabulary are letters and the like: below this rank all are as frequent.
FLAT_RANKS = 10


def generated_texts() -> list[str]:
    """The sample: texts of 1 to 64 words."""
    vocabulary = Encoder().tokenizer.get_vocab()
    words = [word for word in sorted(vocabulary, key=vocabulary.__getitem__) if _is_word(word)]
    sums = list(accumulate(1 / (rank + FLAT_RANKS) for rank in range(len(words))))
    # Of all that is random in Python only this sequence is promised to stay the same.
    draw = random.Random(SEED).random
    return [" ".join(_drawn(words, sums, draw(), draw)) for _ in range(TEXTS)]


def _drawn(
    words: list[str], sums: list[float], length: float, draw: Callable[[], float]
) -> Iterator[str]:
    for _ in range(1 + int(length * MOST_WORDS)):
        yield words[bisect(sums, draw() * sums[-1], hi=len(words) - 1)]


def _is_word(entry: str) -> bool:
    return entry.isascii() and entry.isalpha()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--texts", type=Path, help="the sample is this file's lines instead")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(BUNDLED_MODEL), help="folder to write into"
    )
    options = parser.parse_args()
    texts = generated_texts()
    if options.texts is not None:
        texts = options.texts.read_text(encoding="utf-8").splitlines()
    model = Encoder()
    model.fit_ranges(texts, truncate_dim=DIMS)
    path = options.output / RANGES_NAME
    path.unlink(missing_ok=True)
    write_ranges(model.ranges, os.fspath(options.output))
    print(f"{path}: {path.stat().st_size} bytes, from {len(texts)} texts")


if __name__ == "__main__":
    main()
