"""Write csrc/tokenizer/unicode_tables.hpp, from what the `tokenizers` package does.

    python tools/make_unicode_tables.py            # write the file
    python tools/make_unicode_tables.py --check    # exit 1 if the file is not what would be written

Each code point is put through the normalizers, the pre-tokenizer and the added-token matcher of
`tokenizers`, so that its several Unicode versions hold and Python's does not.
"""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

OUTPUT = Path(__file__).resolve().parent.parent / "csrc/tokenizer/unicode_tables.hpp"

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HANGUL_SYLLABLES = range(0xAC00, 0xD7A4)  # decomposed by arithmetic, as Unicode chapter 3.12 says

DROPPED, WHITESPACE, PUNCTUATION, REMOVED_MARK, CHINESE, WORD = (1 << bit for bit in range(6))
FLAGS = {
    "dropped": DROPPED,
    "whitespace": WHITESPACE,
    "punctuation": PUNCTUATION,
    "removed_mark": REMOVED_MARK,
    "chinese": CHINESE,
    "word": WORD,
}


def bert_normalizer(**settings: bool) -> normalizers.Normalizer:
    off = dict.fromkeys(["clean_text", "handle_chinese_chars", "strip_accents", "lowercase"], False)
    return normalizers.BertNormalizer(**(off | settings))


def normalized_each(normalizer: normalizers.Normalizer) -> dict[int, str]:
    """What each code point becomes by itself, where that is something else."""
    changed = {}
    for begin in range(0, len(CODE_POINTS), 4096):
        # A bar between two keeps them apart: nothing here becomes one, or joins it.
        block = [c for c in CODE_POINTS[begin : begin + 4096] if c != ord("|")]
        results = normalizer.normalize_str("|".join(map(chr, block))).split("|")
        for code_point, result in zip(block, results, strict=True):
            if result != chr(code_point):
                changed[code_point] = result
    return changed


def split_each() -> tuple[set[int], set[int]]:
    """Whitespace and punctuation, as the pre-tokenizer sees them."""
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    whitespace, punctuation = set(), set()
    for code_point in CODE_POINTS:
        pieces = len(split(f"a{chr(code_point)}a"))
        if pieces == 2:
            whitespace.add(code_point)
        elif pieces == 3:
            punctuation.add(code_point)
    return whitespace, punctuation


def word_characters() -> set[int]:
    r"""What stands in the way of a `single_word` token: ``\w`` of Rust's regular expressions."""
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.add_tokens([AddedToken("|", single_word=True, normalized=False)])
    encodings = tokenizer.encode_batch_fast([f"{chr(c)}|" for c in CODE_POINTS])
    return {c for c, found in zip(CODE_POINTS, encodings, strict=True) if len(found) == 1}


def combining_ranks(decomposed: dict[int, str]) -> dict[int, int]:
    """Rank of the canonical combining class of each code point that has one, from 1 up.

    Only the order of classes shows, in how NFD orders two marks. Python's classes only suggest
    which marks stand for a class each; whatever they say, the order is what NFD does.
    """
    nfd = normalizers.NFD().normalize_str

    def precedes(left: str, right: str) -> bool:
        return nfd(f"a{right}{left}") != f"a{right}{left}"

    # A character with a class changes places with the mark of the lowest class before it, or with
    # that of the highest after it.
    stable = [chr(c) for c in CODE_POINTS if c not in decomposed and c not in HANGUL_SYLLABLES]
    lowest, highest = "\u0334", "\u0345"
    classed = []
    for begin in range(0, len(stable), 4096):
        block = stable[begin : begin + 4096]
        text = "".join(f"a{c}{lowest}a{highest}{c}" for c in block)
        result = nfd(text)
        spans = [slice(6 * i, 6 * i + 6) for i in range(len(block))]
        classed += [c for c, span in zip(block, spans, strict=True) if result[span] != text[span]]

    suggested: dict[int, str] = {}
    for character in classed:
        suggested.setdefault(unicodedata.combining(character), character)
    marks = [suggested[number] for number in sorted(suggested)]
    for left, right in pairwise(marks):
        if not precedes(left, right):
            raise RuntimeError(f"{left!a} and {right!a} are not in the order that was expected")

    ranks = {}
    for character in classed:
        below = sum(precedes(mark, character) for mark in marks)
        above = sum(precedes(character, mark) for mark in marks)
        if below + above != len(marks) - 1:
            raise RuntimeError(f"{character!a} has a class of its own, which no mark stands for")
        ranks[ord(character)] = below + 1
    return ranks


def property_runs() -> tuple[list[tuple[int, int, int]], dict[int, str], dict[int, str]]:
    """Runs (first code point, flags, rank); lower case; decompositions."""
    cleaned = normalized_each(bert_normalizer(clean_text=True))
    spaced = normalized_each(bert_normalizer(handle_chinese_chars=True))
    stripped = normalized_each(bert_normalizer(strip_accents=True))
    lower = normalized_each(bert_normalizer(lowercase=True))
    decomposed = normalized_each(normalizers.NFD())
    whitespace, punctuation = split_each()
    words = word_characters()
    ranks = combining_ranks(decomposed)

    # What the rest of the code relies on.
    removed = {c for c in stripped if stripped[c] == "" and c not in decomposed}
    for code_point in CODE_POINTS:
        character = chr(code_point)
        parts = decomposed.get(code_point, character)
        kept = "".join(part for part in parts if ord(part) not in removed)
        if stripped.get(code_point, character) != kept:
            raise RuntimeError(f"{character!a}: stripping accents is not NFD without marks")
        if code_point in cleaned and cleaned[code_point] not in ("", " "):
            raise RuntimeError(f"{character!a}: cleaning gives {cleaned[code_point]!a}")
        if (cleaned.get(code_point) == " ") > (code_point in whitespace):
            raise RuntimeError(f"{character!a}: cleaned to a space, but not whitespace")
    dropped = {c for c in cleaned if cleaned[c] == ""}
    for code_point in whitespace - dropped - {0x20}:
        if cleaned.get(code_point) != " ":
            raise RuntimeError(f"U+{code_point:04X}: whitespace that cleaning keeps")
    for code_point, text in spaced.items():
        if text != f" {chr(code_point)} ":
            raise RuntimeError(f"U+{code_point:04X}: spaced as {text!a}")
    for code_point in HANGUL_SYLLABLES:
        if decomposed.pop(code_point) != hangul_decomposition(code_point):
            raise RuntimeError(f"U+{code_point:04X}: not decomposed by arithmetic")

    runs: list[tuple[int, int, int]] = []
    sets = (dropped, whitespace, punctuation, removed, set(spaced), words)
    for code_point in CODE_POINTS:
        flags = sum((code_point in members) << bit for bit, members in enumerate(sets))
        rank = ranks.get(code_point, 0)
        if not runs or runs[-1][1:] != (flags, rank):
            runs.append((code_point, flags, rank))
    return runs, lower, decomposed


def hangul_decomposition(code_point: int) -> str:
    lead, rest = divmod(code_point - 0xAC00, 588)
    vowel, tail = divmod(rest, 28)
    parts = chr(0x1100 + lead) + chr(0x1161 + vowel)
    return parts + chr(0x11A7 + tail) if tail else parts


def lower_runs(lower: dict[int, str]) -> list[tuple[int, int, int, int]]:
    """Runs (first, last, step, lower - code point) over those that become one code point."""
    runs: list[tuple[int, int, int, int]] = []
    for code_point, text in lower.items():
        if len(text) != 1:
            continue
        delta = ord(text) - code_point
        if runs:
            first, last, step, run_delta = runs[-1]
            gap = code_point - last
            if run_delta == delta and gap in (1, 2) and (step == gap or first == last):
                runs[-1] = (first, code_point, gap, delta)
                continue
        runs.append((code_point, code_point, 1, delta))
    return runs


def expansions(texts: dict[int, str]) -> tuple[list[tuple[int, int, int]], list[int]]:
    """Entries (code point, begin, count) and the pool of code points that they are of."""
    entries = []
    pool: list[int] = []
    for code_point, text in texts.items():
        entries.append((code_point, len(pool), len(text)))
        pool += map(ord, text)
    return entries, pool


def rows(items: Iterable[str]) -> str:
    """Items with commas, in lines of at most 100 columns."""
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > 100:
            lines.append(line)
            line = "   "
        line += f" {item},"
    return "\n".join([*lines, line])


def braced(numbers: Sequence[int], hexadecimal: int) -> str:
    """A row of a table, its first numbers, in hexadecimal."""
    written = [f"{n:#x}" if i < hexadecimal else str(n) for i, n in enumerate(numbers)]
    return "{" + ", ".join(written) + "}"


def header() -> str:
    """The text of the file."""
    runs, lower, decomposed = property_runs()
    flags = "\n".join(
        f"constexpr uint8_t k{name.title().replace('_', '')} = {bit};"
        for name, bit in FLAGS.items()
    )
    lower_entries, lower_pool = expansions({c: t for c, t in lower.items() if len(t) > 1})
    entries, pool = expansions(decomposed)
    return f"""\
#pragma once
// Written by tools/make_unicode_tables.py from what `tokenizers` does; do not edit.
// clang-format off

#include <stdint.h>

namespace nibblevec::unicode {{

// Dropped by clean_text; split at and removed; split off; removed with the accents; spaces put
// around by handle_chinese_chars; not next to a single_word token.
{flags}

// Properties of the code points from `first` up to the next run's. Ranks are in the order of the
// canonical combining classes; 0 is class 0.
struct PropertyRun {{
    uint32_t first;
    uint8_t flags;
    uint8_t rank;
}};
constexpr PropertyRun kPropertyRuns[] = {{
{rows(braced(run, 1) for run in runs)}
}};

// Every `step`-th code point from `first` to `last` has its lower case `delta` further.
struct LowerRun {{
    uint32_t first;
    uint32_t last;
    uint32_t step;
    int32_t delta;
}};
constexpr LowerRun kLowerRuns[] = {{
{rows(braced(run, 2) for run in lower_runs(lower))}
}};

// A code point that becomes several: `count` of the pool from `begin`.
struct Expansion {{
    uint32_t code_point;
    uint16_t begin;
    uint16_t count;
}};
constexpr Expansion kLowerExpansions[] = {{
{rows(braced(entry, 1) for entry in lower_entries)}
}};
constexpr uint32_t kLowerPool[] = {{
{rows(f"{c:#x}" for c in lower_pool)}
}};

// Full canonical decompositions, without those of Hangul syllables.
constexpr Expansion kDecompositions[] = {{
{rows(braced(entry, 1) for entry in entries)}
}};
constexpr uint32_t kDecompositionPool[] = {{
{rows(f"{c:#x}" for c in pool)}
}};

}}  // namespace nibblevec::unicode
"""


def main() -> int:
    """Write or check the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    text = header()
    if not check:
        OUTPUT.write_text(text, encoding="utf-8")
        return 0
    if OUTPUT.read_text(encoding="utf-8") == text:
        return 0
    print(f"{OUTPUT} is stale: run tools/make_unicode_tables.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
