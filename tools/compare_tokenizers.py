"""Compare the native tokenizer with the `tokenizers` package, text by text.

    python tools/compare_tokenizers.py                                    # 100,000 random texts
    python tools/compare_tokenizers.py --random 2000000 --seed 7
    python tools/compare_tokenizers.py --texts a.txt b.tsv.gz --tokenizer one.json two.json

Each line of a file is a text, and so is every random string: scripts, marks, emoji, controls,
whitespace, pieces of the vocabulary and of its special tokens. Exit 1 if an id differs anywhere.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

import nibblevec
from nibblevec._bundled import BUNDLED_MODEL
from nibblevec._tokenization.loading import load_tokenizer
from nibblevec._tokenization.native import NativeTokenizer

BLOCK_TEXTS = 2000
SHOWN_DIFFERENCES = 10
ALL_ROWS = 1 << 32

SCRIPTS = [
    (0x20, 0x7F), (0x20, 0x7F), (0xA0, 0x180), (0x180, 0x250), (0x370, 0x400), (0x400, 0x530),
    (0x530, 0x590), (0x590, 0x600), (0x600, 0x700), (0x700, 0x7C0), (0x900, 0xA00),
    (0xA00, 0xE00), (0xE00, 0x1000), (0x1000, 0x1100), (0x1100, 0x1200), (0x1780, 0x1800),
    (0x1AB0, 0x1B00), (0x1D00, 0x1E00), (0x1E00, 0x2000), (0x2000, 0x2070), (0x2070, 0x2100),
    (0x2100, 0x2400), (0x2460, 0x2600), (0x2600, 0x27C0), (0x2A00, 0x2B00), (0x2C00, 0x2E80),
    (0x3000, 0x3130), (0x3400, 0x3440), (0x4E00, 0x4F00), (0x9FF0, 0xA010), (0xA640, 0xA700),
    (0xA720, 0xA800), (0xA800, 0xAC00), (0xAC00, 0xAD00), (0xD7A0, 0xD800), (0xE000, 0xE010),
    (0xF900, 0xFB00), (0xFB00, 0xFB50), (0xFE00, 0xFE70), (0xFEF0, 0x10000), (0x10300, 0x10500),
    (0x11000, 0x11200), (0x16FE0, 0x17000), (0x1BCA0, 0x1BCB0), (0x1D150, 0x1D200),
    (0x1D400, 0x1D500), (0x1E000, 0x1E030), (0x1E800, 0x1E960), (0x1F300, 0x1F650),
    (0x1F900, 0x1FA00), (0x20000, 0x20020), (0x2F800, 0x2F820), (0xE0000, 0xE0200),
]  # fmt: skip
MARKS = [
    *range(0x300, 0x370), *range(0x483, 0x488), *range(0x591, 0x5C8), *range(0x610, 0x61B),
    *range(0x64B, 0x660), 0x93C, 0x94D, 0x9BC, 0xE38, 0xE48, 0xEB8, 0xF71, 0xF72, 0xF74,
    0x1DC0, 0x1DCE, 0x20D0, 0x20E5, 0x302A, 0x302B, 0x302E, 0x302F, 0x3099, 0x309A, 0xA66F,
    0xFB1E, 0xFE20, 0x1D165, 0x1D166, 0x1D16D, 0x1D16E, 0x1D17B, 0x1D185, 0x1E8D0, 0x1E944,
]  # fmt: skip
ODDITIES = [
    "\0", "\t", "\n", "\r", "\x0b", "\x0c", "\x1c", "\x1f", "\x7f", "\x85", "\xa0", "\xad",
    "\u034f", "\u061c", "\u1680", "\u180e", "\u200b", "\u200c", "\u200d", "\u200e", "\u2028",
    "\u2029", "\u202f", "\u205f", "\u2060", "\u3000", "\ufe0f", "\ufeff", "\ufffd", "\uffff",
    "\ue000", "\U0010ffff", "\u0130", "\u0131", "\u03a3", "\u1e9e", "\u212a", "\u212b", "\u2126",
    "\u0344", "\u0340", "\u0958", "\u2adc", "\u226e", "\u037e", "\u0387", "\u1fef", "\ufb1d",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea",
]  # fmt: skip


class RandomTexts:
    """Random strings that try a tokenizer's every corner."""

    def __init__(self, content: dict[str, Any], seed: int) -> None:
        """Take pieces from the vocabulary and the added tokens of a ``tokenizer.json``."""
        self._random = random.Random(seed)
        self._pieces = list(content["model"]["vocab"]) or ["a"]
        added = [entry["content"] for entry in content.get("added_tokens") or []]
        self._added = added or ["[MASK]"]

    def __iter__(self) -> Iterator[str]:
        while True:
            yield self.text()

    def text(self) -> str:
        """One text, mostly short."""
        choose = self._random
        parts = choose.choice([1, 2, 3, 5, 8, 13, 30]) if choose.random() < 0.99 else 300
        return "".join(self._part() for _ in range(parts))

    def _part(self) -> str:  # noqa: PLR0911  # one for each kind
        choose = self._random
        match choose.randrange(12):
            case 0 | 1:
                piece: str = choose.choice(self._pieces).removeprefix("##")
                return choose.choice([piece, piece.upper(), piece.title(), piece[::-1]])
            case 2 | 3:
                first, end = choose.choice(SCRIPTS)
                return "".join(
                    chr(choose.randrange(first, end)) for _ in range(choose.randrange(1, 8))
                )
            case 4:
                return "".join(
                    chr(choose.choice(MARKS)) for _ in range(choose.choice([1, 1, 2, 3, 9]))
                )
            case 5:
                return choose.choice(ODDITIES)
            case 6:
                token: str = choose.choice(self._added)
                begin = choose.randrange(len(token))
                cut = token[begin : choose.randrange(begin, len(token)) + 1]
                return choose.choice([token, token, token.lower(), cut])
            case 7:
                code_point = choose.randrange(0x110000)
                return " " if 0xD800 <= code_point < 0xE000 else chr(code_point)
            case 8:
                letter = choose.choice(["a", "é", "ß", "\u0301", "中", "한", "#", "["])
                return letter * choose.choice([2, 15, 16, 17, 50, 63, 64, 65, 99, 100, 101, 130])
            case 9:
                return choose.choice(["!", "?!", "...", "'s", "-", "_", "##", "“", "”", "—", "$"])
            case _:
                return choose.choice([" ", " ", "  ", "\n"])


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a file, packed or not, without their ends."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            yield line.rstrip(b"\n").decode("utf-8", errors="replace")


class Comparison:
    """Counts of what was compared for one tokenizer."""

    def __init__(self, path: Path, kernels: list[str], pieces: list[int | None]) -> None:
        """Load ``path`` in both ways; ``pieces``: lengths of those that texts are read in."""
        self.content = json.loads(path.read_bytes())
        native = load_tokenizer(path.read_bytes(), str(path), ALL_ROWS)
        if not isinstance(native, NativeTokenizer):
            raise SystemExit(f"{path}: {native.path_taken}")
        self._native = native
        self._package = tokenizers.Tokenizer.from_file(str(path))
        self._package.no_padding()
        self._ways = [(kernel, piece) for kernel in kernels for piece in pieces]
        self.texts = self.tokens = self.differences = 0

    def compare(self, texts: Iterator[str]) -> None:
        """Compare all of them; differences are printed."""
        while block := tuple(islice(texts, BLOCK_TEXTS)):
            expected = [
                encoding.ids
                for encoding in self._package.encode_batch_fast(block, add_special_tokens=False)
            ]
            for kernel, piece in self._ways:
                found = self._native.encode_batch(
                    block, self._native.truncation, kernel=kernel, piece_characters=piece
                )
                way = kernel if piece is None else f"{kernel}, pieces of {piece}"
                self._check(block, expected, found.ids, found.offsets, way)
            self.texts += len(block)
            self.tokens += sum(map(len, expected))

    def _check(
        self, block: tuple[str, ...], expected: list[list[int]], ids: Any, offsets: Any, way: str
    ) -> None:
        flat = np.fromiter((i for each in expected for i in each), np.uint32)
        if np.array_equal(flat, ids) and np.array_equal(
            np.cumsum([0, *map(len, expected)]), offsets
        ):
            return
        for i, text in enumerate(block):
            ours = ids[offsets[i] : offsets[i + 1]].tolist()
            if ours != expected[i]:
                self.differences += 1
                if self.differences <= SHOWN_DIFFERENCES:
                    print(f"{way}: {text!a}\n  tokenizers {expected[i]}\n  native     {ours}")


def main() -> int:
    """Run the comparisons that the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", nargs="+", type=Path, default=[], metavar="FILE")
    parser.add_argument("--random", type=int, metavar="N", help="random texts  [100000, or 0]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--tokenizer", nargs="+", type=Path, default=[Path(BUNDLED_MODEL, "tokenizer.json")]
    )
    parser.add_argument("--kernel", nargs="+", default=nibblevec.kernels()[:1])
    parser.add_argument(
        "--pieces", nargs="+", type=int, default=[], metavar="N",
        help="read texts in pieces of N characters too",
    )  # fmt: skip
    options = parser.parse_args()
    count = options.random if options.random is not None else 0 if options.texts else 100_000
    failed = False
    for path in options.tokenizer:
        comparison = Comparison(path, options.kernel, [None, *options.pieces])
        begin = time.perf_counter()
        for file in options.texts:
            comparison.compare(lines_of(file))
        comparison.compare(islice(iter(RandomTexts(comparison.content, options.seed)), count))
        seconds = time.perf_counter() - begin
        print(
            f"{path.name}: {comparison.texts} texts, {comparison.tokens} tokens, "
            f"{comparison.differences} differences ({seconds:.0f} s)",
            flush=True,
        )
        failed |= comparison.differences > 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
