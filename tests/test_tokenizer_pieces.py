"""Ids of long texts, which are read in pieces, and of texts that are cut."""

from __future__ import annotations

import itertools
import random
from itertools import islice

import numpy as np
import pytest
from compare_tokenizers import RandomTexts
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import VOCABULARY, JsonObject
from tokenizer_cases import (
    PIECE_CHARACTERS,
    TEXTS,
    bundled_fixture,  # noqa: F401
    spelling_uncased_fixture,  # noqa: F401
)
from tokenizer_pairs import FLAGS, KERNELS, NORMALIZERS, Pair, added_token, content_with

from nibblevec._token_rules import Truncation

# Truncation


@pytest.mark.parametrize("direction", [None, "Right", "Left"])
@pytest.mark.parametrize("strategy", ["LongestFirst", "OnlyFirst"])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 100])
def test_truncation(length: int, strategy: str, direction: str | None) -> None:
    truncation: JsonObject = {"max_length": length, "strategy": strategy, "stride": 0}
    if direction is not None:
        truncation["direction"] = direction
    if length > 1:
        truncation["stride"] = 1
    content = content_with(truncation=truncation, added=[added_token(len(VOCABULARY), "<n>")])
    pair = Pair(content)
    texts = ["", "tea", "hot tea", "a <n> cup", "a cup of hot tea", "unable <n>", "a. " * 6000]
    pair.check(texts, KERNELS)
    found = pair.native.encode_batch(tuple(texts), pair.native.truncation)
    whole = pair.native.encode_batch(tuple(texts), Truncation())
    cut = int((np.diff(found.offsets) < np.diff(whole.offsets)).sum())
    assert (found.cut_texts, whole.cut_texts) == (cut, 0)


def test_ids_in_pieces(bundled: Pair) -> None:
    # More than the ids that are handed on at a time; tokens at the borders of pieces.
    text = "a [MASK]unaffable, " * 40_000
    bundled.check([text, "tea", text[:100_000], text])
    for length in (1, 65_535, 65_536, 65_537, 131_072, 200_000):
        for keep_end in (False, True):
            found = bundled.native.encode_batch((text,), Truncation(length, keep_end))
            whole = bundled.native.encode_batch((text,), Truncation())
            expected = whole.ids[-length:] if keep_end else whole.ids[:length]
            assert np.array_equal(found.ids, expected)
            assert found.cut_texts == int(length < len(whole.ids))


# Long texts, which are read in pieces. Here pieces are short, so that every text is long.

PIECES = [1, 2, 3, 7, 64, 500]


@pytest.mark.parametrize("piece_characters", PIECES)
def test_pieces_of_any_text(bundled: Pair, spelling_uncased: Pair, piece_characters: int) -> None:
    texts = list(islice(RandomTexts(bundled.content, seed=8), 700))
    bundled.check(texts, KERNELS, piece_characters)
    spelling_uncased.check(texts, KERNELS[:1], piece_characters)


@given(texts=st.lists(TEXTS, max_size=8), piece_characters=st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_pieces_under_hypothesis(
    bundled: Pair, spelling_uncased: Pair, texts: list[str], piece_characters: int
) -> None:
    bundled.check(texts, KERNELS[:1], piece_characters)
    spelling_uncased.check(texts, KERNELS[:1], piece_characters)


@pytest.mark.parametrize(
    "normalizer", NORMALIZERS[::5], ids=lambda n: "-".join(map(str, n.values()))
)
@pytest.mark.parametrize("values", list(itertools.product([False, True], repeat=4)), ids=str)
def test_pieces_around_added_tokens(values: tuple[bool, ...], normalizer: JsonObject) -> None:
    # What a token looks at beside itself, and marks that change places, may lie in two pieces.
    flags = dict(zip(FLAGS, values, strict=True))
    vocabulary = [
        "[UNK]",
        *"abcxyz",
        *(f"##{letter}" for letter in "abcxyz"),
        "é",
        "\u1112",
        "[",
        "]",
    ]
    contents = ["[X]", "[X][Y]", "xy", " a", "É", "A b", "[X", "中", "c\u0301", "\u1112\u1161"]
    fragments = [*contents, *"abcxyz[]É é\n", "   ", "\u3000", "\u0301", "\u302e", "\U0001d165",
                 "\u0334", "_", "中x", "\0", "\u200d", "ﬁ", "\u0130", "하"]  # fmt: skip
    texts_of = random.Random(9)
    texts = ["".join(texts_of.choices(fragments, k=texts_of.randrange(2, 40))) for _ in range(400)]
    mixed = [
        [
            added_token(0, content, **(flags if i % 2 == turn else {}))
            for i, content in enumerate(contents)
        ]
        for turn in (0, 1)
    ]
    for added in (mixed[0], mixed[1], mixed[0][:3]):
        # A token that is written as in the vocabulary would have its id.
        numbered = [
            entry | {"id": len(vocabulary) + i}
            for i, entry in enumerate(
                entry for entry in added if entry["content"] not in vocabulary
            )
        ]
        pair = Pair(content_with(vocabulary, added=numbered, normalizer=normalizer))
        for piece_characters in (1, 2, 5, 23):
            pair.check(texts, KERNELS[:1], piece_characters)


@pytest.mark.parametrize(
    "unit",
    [
        "a", "é", "中", "\U0001f600", "[", "[é", "[MASK", "[MASK]é", "\u0301", "e\u0301\U0001d165",
        "\0\u0430", " \u0430", "한", "Café [SEP] ", "\U0001d15e",
    ],
)  # fmt: skip
@pytest.mark.exhaustive
def test_long_texts(bundled: Pair, spelling_uncased: Pair, unit: str) -> None:
    # Around the pieces that all texts are read in.
    texts = [
        "x" * shift + unit * (length // len(unit)) + end
        for length in (PIECE_CHARACTERS - 1, PIECE_CHARACTERS, 2 * PIECE_CHARACTERS + 1)
        for shift, end in ((0, ""), (1, " b"), (2, "[MASK]"), (0, "\u0301\u4e2d"))
    ]
    bundled.check(texts)
    spelling_uncased.check(texts)


@pytest.mark.parametrize("width", ["é", "\u0416", "\U0001f600"])
def test_ascii_between_wide_characters(spelling_uncased: Pair, width: str) -> None:
    texts = [
        "a" * before + width + "b" * between + width + "c" * after
        for before in range(0, 36, 3)
        for between in (0, 1, 15, 16, 17, 31, 32, 33)
        for after in (0, 1, 15, 16, 17)
    ]
    spelling_uncased.check(texts)
    spelling_uncased.check(texts, piece_characters=17)


def test_truncation_of_pieces(bundled: Pair) -> None:
    text = "Unaffable [MASK] tea, \u0436\u0301 " * 50
    whole = bundled.native.encode_batch((text,), Truncation()).ids
    for length, keep_end, piece_characters in itertools.product(
        (0, 1, 9, 200, len(whole), len(whole) + 1), (False, True), (1, 10, 100)
    ):
        found = bundled.native.encode_batch(
            (text, "tea", text), Truncation(length, keep_end), piece_characters=piece_characters
        )
        expected = whole[max(0, len(whole) - length) :] if keep_end else whole[:length]
        assert np.array_equal(found.ids[: found.offsets[1]], expected)
        assert np.array_equal(found.ids[found.offsets[2] :], expected)
        assert found.cut_texts == 2 * (length < len(whole)) + (length == 0)


def test_ids_of_a_long_text_can_be_written(bundled: Pair) -> None:
    # Their memory is the native code's own, handed over.
    found = bundled.native.encode_batch(("a [" * 100_000,), Truncation())
    assert found.ids.flags.writeable
    assert found.ids.flags.c_contiguous
    found.ids[:] = 7
    assert found.ids.sum() == 7 * 200_000
    again = bundled.native.encode_batch(("a [" * 100_000,), Truncation())
    assert again.ids[:2].tolist() != [7, 7]
