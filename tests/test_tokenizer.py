"""Ids equal to those of the `tokenizers` package, for every string."""

from __future__ import annotations

import copy
import itertools
import json
import random
import re
import subprocess
import sys
import threading
import unicodedata
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from bad_models import left_alone
from compare_tokenizers import MARKS, ODDITIES, SCRIPTS, RandomTexts
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import TOKENIZER, VOCABULARY, JsonObject, tokenizer_content, write_model
from tokenizer_pairs import (
    FLAGS,
    KERNELS,
    NORMALIZERS,
    ROWS,
    Pair,
    added_token,
    content_with,
)

from nibblevec import Encoder, _core
from nibblevec._bundled import BUNDLED_MODEL
from nibblevec._containers.files import ModelFormatError
from nibblevec._token_rules import Truncation
from nibblevec._tokenization.loading import load_tokenizer
from nibblevec._tokenization.package import PackageTokenizer
from nibblevec._tokenization.tokenizer import Tokenizer

ROOT = Path(__file__).resolve().parent.parent
PIECE_CHARACTERS = 1 << 15  # longer texts are read in pieces of this length


def bundled_content() -> JsonObject:
    content: JsonObject = json.loads(Path(BUNDLED_MODEL, TOKENIZER).read_bytes())
    return content


@pytest.fixture(scope="module")
def bundled() -> Pair:
    return Pair(bundled_content())


# Every code point. In this vocabulary each is a word and a piece of its own, so that ids tell what
# every character became.

ASSIGNED = [
    chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Co", "Cs")
]


def spelling(normalizer: JsonObject) -> Pair:
    return Pair(
        content_with(["[UNK]", *ASSIGNED], normalizer=normalizer, continuing_subword_prefix="")
    )


@pytest.fixture(scope="module")
def spelling_uncased() -> Pair:
    return spelling(NORMALIZERS[0])


def in_contexts(code_points: Iterable[int], contexts: str) -> list[str]:
    """Texts that each hold many of the code points; X in a context stands for one."""
    every = list(code_points)
    return [
        "".join(contexts.replace("X", chr(c)) for c in every[begin : begin + 100])
        for begin in range(0, len(every), 100)
    ]


EVERY = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
EVERY_INTERESTING = [*range(0xD800), *range(0xE000, 0x3400), *range(0xE000, 0x20100),
                     *range(0x2A6D0, 0x2A710), *range(0x2B730, 0x2B830), *range(0x2B910, 0x2B930),
                     *range(0x2CEA0, 0x2CEC0), *range(0x2F7F0, 0x2FA30), *range(0x30000, 0x30010),
                     *range(0xDFFF0, 0xE0210), *range(0xEFFF0, 0xF0010)]  # fmt: skip


@pytest.mark.exhaustive
def test_every_code_point(spelling_uncased: Pair) -> None:
    spelling_uncased.check(in_contexts(EVERY, "X aXb XX "))


@pytest.mark.exhaustive
def test_every_code_point_between_marks(spelling_uncased: Pair) -> None:
    # Classes 230, 1, 220, 9 and 216; the last two are of marks that are not removed.
    spelling_uncased.check(in_contexts(EVERY_INTERESTING, " \u0301X\u0334 a\u1714X\U0001d165."))


@pytest.mark.parametrize(
    "normalizer", [NORMALIZERS[i] for i in (5, 8, 21)], ids=lambda n: "-".join(map(str, n.values()))
)
@pytest.mark.exhaustive
def test_every_code_point_with_other_settings(normalizer: JsonObject) -> None:
    spelling(normalizer).check(in_contexts(EVERY_INTERESTING, "X aXb XX\u302e\U0001d165X"))


def test_marks_are_put_in_order(spelling_uncased: Pair) -> None:
    choose = random.Random(1)
    marks = [*MARKS, *(ord(c) for c in ASSIGNED if unicodedata.combining(c))]
    texts = [
        "".join(
            chr(choose.choice(marks)) if choose.random() < 0.9 else choose.choice("aé中한\0 .")
            for _ in range(choose.choice([3, 10, 40, 120]))
        )
        for _ in range(2000)
    ]
    spelling_uncased.check(texts, KERNELS)


def test_a_long_run_of_marks(spelling_uncased: Pair) -> None:
    choose = random.Random(2)
    run = [chr(c) for c in choose.choices([0x1D165, 0x1D16E, 0x302E, 0x302F, 0x301], k=9000)]
    spelling_uncased.check(["a" + "".join(run) + " b", "".join(run[:90])])


# Random strings


@pytest.mark.parametrize("normalizer", NORMALIZERS, ids=lambda n: "-".join(map(str, n.values())))
def test_settings(normalizer: JsonObject) -> None:
    content = bundled_content()
    content["normalizer"].update(normalizer)
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = dict(islice(vocabulary.items(), 0, None, 3)) | {"[UNK]": 100}
    content["added_tokens"] = [
        t for t in content["added_tokens"] if t["content"] in content["model"]["vocab"]
    ]
    texts = list(islice(RandomTexts(content, seed=3), 300))
    Pair(content).check([*texts, *ODDITIES, *(f"a{oddity}b" for oddity in ODDITIES)], KERNELS)


def test_random_texts(bundled: Pair) -> None:
    bundled.check(islice(RandomTexts(bundled.content, seed=4), 3000), KERNELS)


CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from([*map(chr, MARKS), *ODDITIES]),
    st.sampled_from(SCRIPTS).flatmap(lambda script: st.integers(script[0], script[1] - 1).map(chr)),
)
PARTS = st.one_of(
    CHARACTERS,
    st.sampled_from(["tea", "Tea", "unable", "##able", "[MASK]", "[MASK", "[[CLS]", "[UNK]", "é"]),
    st.builds(lambda part, times: part * times, CHARACTERS, st.integers(1, 140)),
)
TEXTS = st.lists(PARTS, max_size=20).map("".join)


@given(texts=st.lists(TEXTS, max_size=8))
@settings(max_examples=150, deadline=None)
def test_any_text(bundled: Pair, texts: list[str]) -> None:
    bundled.check(texts, KERNELS)


@given(texts=st.lists(TEXTS, max_size=8))
@settings(max_examples=150, deadline=None)
def test_any_text_spelled(spelling_uncased: Pair, texts: list[str]) -> None:
    spelling_uncased.check(texts, KERNELS)


# Lengths around blocks of 64 bytes, windows of 4096, words of 16 bytes and of 100 characters.

EDGES = [0, 1, 15, 16, 17, 31, 32, 33, 62, 63, 64, 65, 99, 100, 101, 127, 128, 129, 4030, 4094,
         4095, 4096, 4097, 4160, 8191, 8192, 8193]  # fmt: skip


@pytest.mark.parametrize("word", ["a", "é", "中", "\U0001f600", "a b", "ab.", "a\0", "한", "tea "])
def test_lengths(spelling_uncased: Pair, bundled: Pair, word: str) -> None:
    texts = [
        before + word * (length // len(word)) + word[: length % len(word)] + after
        for length in EDGES
        for before, after in (("", ""), ("", "é"), ("x", " x"), ("é", "."), ("  ", "\u0301b"))
    ]
    spelling_uncased.check(texts, KERNELS)
    bundled.check(texts, KERNELS)


def test_every_shift_of_a_window(bundled: Pair) -> None:
    sentence = "Naïve cafés — “unaffable” [MASK] don't; 東京 a\u0301b! "
    texts = ["x" * shift + " " + sentence * 100 for shift in range(0, 70)]
    bundled.check(texts, KERNELS)


def test_blocks_of_texts(bundled: Pair) -> None:
    texts = tuple(islice(RandomTexts(bundled.content, seed=5), 700))
    whole = bundled.native.encode_batch(texts, Truncation(), threads=3)
    for row, text in enumerate(texts):
        one = bundled.native.encode_batch((text,), Truncation())
        begin, end = whole.offsets[row : row + 2]
        assert np.array_equal(one.ids, whole.ids[begin:end])
    none = bundled.native.encode_batch((), Truncation())
    assert none.ids.shape == (0,)
    assert none.offsets.tolist() == [0]


def test_threads_share_a_tokenizer(bundled: Pair) -> None:
    texts = tuple(islice(RandomTexts(bundled.content, seed=6), 2000))
    expected = bundled.native.encode_batch(texts, Truncation())
    start = threading.Barrier(6)

    def encode(_: int) -> bool:
        start.wait()
        found = bundled.native.encode_batch(texts, Truncation(), threads=3)
        return np.array_equal(found.ids, expected.ids)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(encode, range(6)))


# Vocabularies


def made_up_vocabulary(size: int, alphabet: str, prefix: str, seed: int) -> list[str]:
    choose = random.Random(seed)
    pieces = dict.fromkeys(["[UNK]"])
    while len(pieces) < size:
        letters = "".join(choose.choices(alphabet, k=choose.choice([1, 1, 2, 3, 5, 9, 16, 17, 20])))
        pieces[choose.choice(["", prefix]) + letters] = None
    return list(pieces)


@pytest.mark.parametrize("prefix", ["##", "", "a", "é", "ab"])
@pytest.mark.parametrize("size", [5, 60, 3000])
def test_made_up_vocabulary(size: int, prefix: str) -> None:
    alphabet = "abé中.\u0301x"
    choose = random.Random(size)
    texts = [
        "".join(choose.choices(alphabet + "AÉ Z", k=choose.choice([1, 5, 20, 80, 300])))
        for _ in range(400)
    ]
    for seed, most in enumerate([100, 0, 1, 5, 15, 16, 17, 1 << 20]):
        vocabulary = made_up_vocabulary(size, alphabet, prefix, seed)
        Pair(
            content_with(
                vocabulary, continuing_subword_prefix=prefix, max_input_chars_per_word=most
            )
        ).check(texts, KERNELS)


def test_large_vocabulary() -> None:
    vocabulary = made_up_vocabulary(100_000, "abcdefg", "##", 1)
    choose = random.Random(2)
    words = [token.removeprefix("##") for token in choose.sample(vocabulary, 20_000)]
    Pair(content_with(vocabulary)).check(
        " ".join(word[: choose.randrange(1, 40)] + words[j] for j, word in enumerate(nine))
        for nine in (words[i : i + 9] for i in range(0, 20_000, 9))
    )


def test_whole_words_that_share_a_line_of_the_table() -> None:
    # More words than lines by far, so that many do not find room and take another way.
    vocabulary = ["[UNK]", *(f"w{i}" for i in range(4000)), "##w", *(f"##{i}" for i in range(10))]
    Pair(content_with(vocabulary)).check(f"w{i} w{i}w{i % 7}" for i in range(5000))


def test_ids_in_any_order() -> None:
    content = content_with(VOCABULARY)
    vocabulary = content["model"]["vocab"]
    shuffled = random.Random(3).sample(range(7, 1000), len(vocabulary))
    content["model"]["vocab"] = dict(zip(vocabulary, shuffled, strict=True))
    Pair(content).check(["a cup of tea", "unable playing 中 zebra", "[UNK]"])


def test_empty_pieces() -> None:
    Pair(content_with(["[UNK]", "", "##", "a", "##b"])).check(["", "a", "ab", "b", "##", "a ## b"])


# Added tokens


@pytest.mark.parametrize("values", list(itertools.product([False, True], repeat=4)), ids=str)
def test_added_token_flags(values: tuple[bool, ...]) -> None:
    flags = dict(zip(FLAGS, values, strict=True))
    vocabulary = ["[UNK]", *"abcxyz", "##a", "##b", "##x", "##y", "é", "[", "]"]
    contents = ["[X]", "[X][Y]", "x", "xy", " a", "É", "A b", "[X", "中", "\u0301c"]
    texts_of = random.Random(4)
    fragments = [*contents, *"abcxyz[]É é\n", "  ", "\u3000", "\u0301", "_", "中x", "\0", "\u200d"]
    texts = ["".join(texts_of.choices(fragments, k=texts_of.randrange(1, 12))) for _ in range(1500)]
    for others in (flags, dict.fromkeys(FLAGS, False), {"normalized": True}):
        added = [
            added_token(len(vocabulary) + i, content, **(flags if i % 2 == 0 else others))
            for i, content in enumerate(contents)
            if content not in vocabulary and content != "\u0301c"
        ]
        added = [entry | {"id": len(vocabulary) + i} for i, entry in enumerate(added)]
        Pair(content_with(vocabulary, added=added)).check(texts, KERNELS[:1])


@pytest.mark.exhaustive
def test_word_characters_around_an_added_token() -> None:
    added = [added_token(1, "|", single_word=True)]
    texts = [f"{chr(c)}|" for c in EVERY_INTERESTING] + [f"|{chr(c)}" for c in EVERY_INTERESTING]
    Pair(content_with(["[UNK]"], added=added)).check(texts)


def test_whitespace_around_an_added_token() -> None:
    added = [added_token(1, "|", lstrip=True, rstrip=True)]
    texts = [f"{chr(c)}|{chr(c)}|{chr(c)} {chr(c)}|" for c in [*range(0x3100), 0xFEFF]]
    normalizer = {"clean_text": False}
    Pair(content_with(["[UNK]"], added=added, normalizer=normalizer)).check(texts)


def test_many_added_tokens() -> None:
    contents = [f"<{i}>" for i in range(300)] + [f"<{i}" for i in range(0, 300, 7)]
    added = [added_token(1 + i, content) for i, content in enumerate(contents)]
    pair = Pair(content_with(["[UNK]"], added=added))
    pair.check(["".join(f"<{i}{'>' * (i % 2)}" for i in range(j, 300)) for j in range(0, 290, 5)])


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


# What is native, and what is left to the package

Change = Callable[[JsonObject], None]

MINUS_ZERO = "number -0"
NOT_NATIVE: dict[str, tuple[Change, str]] = {
    "normalizer": (lambda c: c.update(normalizer={"type": "NFC"}), "normalizer is not Bert"),
    "no normalizer": (lambda c: c.update(normalizer=None), "normalizer is not Bert"),
    "more in the normalizer": (lambda c: c["normalizer"].update(x=1), "settings of other kinds"),
    "pre-tokenizer": (
        lambda c: c.update(pre_tokenizer={"type": "Whitespace"}), "pre-tokenizer is not Bert"
    ),
    "more in the model": (lambda c: c["model"].update(x=1), "settings of other kinds"),
    "WordLevel": (
        lambda c: c.update(model={"type": "WordLevel", "unk_token": "[UNK]",
                                  "vocab": c["model"]["vocab"]}),
        "model is not WordPiece",
    ),
    "stride": (
        lambda c: c.update(truncation={"max_length": 9, "strategy": "OnlyFirst", "stride": 9}),
        "stride is not below",
    ),
    "second text": (
        lambda c: c.update(truncation={"max_length": 9, "strategy": "OnlySecond", "stride": 0}),
        "second text",
    ),
    # Each piece of a template is put in, special tokens or not.
    "text twice": (
        lambda c: c["post_processor"]["single"].append({"Sequence": {"id": "A", "type_id": 0}}),
        "post-processor may change ids",
    ),
    "no text": (lambda c: c["post_processor"]["single"].pop(), "post-processor may change ids"),
    "processors": (
        lambda c: c.update(post_processor={"type": "Sequence", "processors": []}),
        "post-processor may change ids",
    ),
    # The package takes the minus for a float, and the model for another one, which it may be.
    "-0": (lambda c: c["model"].update(max_input_chars_per_word=MINUS_ZERO), "a number -0"),
    "unheard of": (lambda c: c.update(unheard_of=1), "fields of other kinds"),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_NATIVE)
def test_what_is_left_to_the_package(case: str) -> None:
    change, reason = NOT_NATIVE[case]
    content = tokenizer_content()
    change(content)
    data = json.dumps(content).replace(f'"{MINUS_ZERO}"', "-0").encode()
    if case in ("unheard of", "-0"):
        with pytest.raises(ModelFormatError, match="tokenizers cannot load it"):
            load_tokenizer(data, "file", ROWS)
        return
    loaded = load_tokenizer(data, "file", ROWS)
    assert isinstance(loaded, PackageTokenizer)
    assert reason in loaded.path_taken
    package = tokenizers.Tokenizer.from_buffer(data)
    texts = ("tea", "a cup", "", "né <n> 中", "Unable")
    expected = [e.ids for e in package.encode_batch(texts, add_special_tokens=False)]
    found = loaded.encode_batch(texts, loaded.truncation)
    assert found.ids.tolist() == list(itertools.chain.from_iterable(expected))
    shorter = loaded.encode_batch(texts, Truncation(1))
    assert shorter.ids.tolist() == [ids[0] for ids in expected if ids]
    assert shorter.cut_texts == sum(len(ids) > 1 for ids in expected)
    ends = loaded.encode_batch(texts, Truncation(1, keep_end=True))
    assert ends.ids.tolist() == [ids[-1] for ids in expected if ids]


@pytest.mark.malformed
@pytest.mark.parametrize("flags", [{"lstrip": True}, {"rstrip": True}])
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("token", [" ", "  ", "\t\n", "\u3000"])
def test_white_space_that_takes_white_space(
    token: str, normalized: bool, flags: dict[str, bool]
) -> None:
    """`tokenizers` needs seconds and gigabytes for 50,000 spaces then."""
    added = [added_token(len(VOCABULARY), token, normalized=normalized, **flags)]
    data = json.dumps(content_with(added=added)).encode()
    with pytest.raises(ModelFormatError, match="is white space and takes that beside it"):
        load_tokenizer(data, "file", ROWS)


def test_white_space_beside_a_token_that_takes_it() -> None:
    added = [
        added_token(len(VOCABULARY), "<x>", lstrip=True, rstrip=True),
        added_token(len(VOCABULARY) + 1, "  "),
    ]
    data = json.dumps(content_with(added=added)).encode()
    loaded = load_tokenizer(data, "file", ROWS)
    reference = tokenizers.Tokenizer.from_buffer(data)
    for text in ("<x>  ", "  tea <x>   <x> ", "    "):
        expected = reference.encode(text, add_special_tokens=False).ids
        assert loaded.encode_batch((text,), loaded.truncation).ids.tolist() == expected


@pytest.mark.malformed
@pytest.mark.measured
def test_vocabulary_that_would_take_much_memory(tmp_path: Path) -> None:
    # Two letters far apart leave a gap behind each node of a trie.
    letters = ["".join(word) for word in itertools.product("!\u07ff", repeat=14)]
    vocabulary = [*VOCABULARY, *letters]
    content = content_with(vocabulary)
    with left_alone(tmp_path):
        loaded = load_tokenizer(json.dumps(content).encode(), "file", len(vocabulary))
    assert isinstance(loaded, PackageTokenizer)
    assert "its vocabulary would take too much memory" in loaded.path_taken


def without(*path: str) -> Change:
    def change(content: JsonObject) -> None:
        for name in path[:-1]:
            content = content[name]
        del content[path[-1]]

    return change


@pytest.mark.parametrize(
    "change",
    [
        without("version"), without("truncation"), without("added_tokens"), without("padding"),
        without("normalizer", "strip_accents"), without("model", "type"),
    ],
)  # fmt: skip
def test_native_without_what_may_be_missing(change: Change) -> None:
    content = tokenizer_content()
    change(content)
    Pair(content).check(["A cup of téa", "[MASK] unable"])


@pytest.mark.exhaustive
def test_hostile_settings() -> None:
    odd_values: list[Any] = [
        *(None, -1, 1.5, "x", [], {}, True, 1 << 32, 1 << 70, float("nan"), "B"),
        {"type": "Fuse"}, {"Sequence": {"id": "A", "type_id": 0}},
    ]  # fmt: skip
    content = content_with(added=[added_token(5, "tea")])
    content["truncation"] = {"max_length": 9, "strategy": "OnlyFirst", "stride": 0}
    content["padding"] = {"strategy": "BatchLongest", "direction": "Right", "pad_id": 0,
                          "pad_to_multiple_of": None, "pad_type_id": 0,
                          "pad_token": "[PAD]"}  # fmt: skip
    paths: list[tuple[Any, ...]] = [
        ("version",), ("truncation",), ("added_tokens",), ("normalizer",), ("pre_tokenizer",),
        ("model",), *(("model", name) for name in content["model"]),
        *(("normalizer", name) for name in content["normalizer"]),
        *(("truncation", name) for name in content["truncation"]),
        *(("added_tokens", 0, name) for name in content["added_tokens"][0]),
        ("model", "vocab", "tea"), ("added_tokens", 0),
        *((name,) for name in ("padding", "post_processor", "decoder")),
        *((part, name) for part in ("padding", "post_processor", "decoder")
          for name in (*content[part], "more")),
        ("post_processor", "single", 0), ("post_processor", "single", 1),
        ("post_processor", "single", 0, "SpecialToken", "id"),
        ("post_processor", "single", 0, "SpecialToken", "type_id"),
        ("post_processor", "single", 1, "Sequence", "id"),
        ("post_processor", "pair", 1, "Sequence", "id"),
        *(("post_processor", "special_tokens", "[CLS]", name) for name in ("id", "ids", "tokens")),
    ]  # fmt: skip
    refused: dict[str, object] = {}
    for path, value in itertools.product(paths, odd_values):
        changed = copy.deepcopy(content)
        part: Any = changed
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = value
        data = json.dumps(changed).encode()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # ids that are not used
                loaded: Tokenizer = load_tokenizer(data, "file", 1000)
        except ModelFormatError as error:
            refused[error.path] = path
            continue
        package = tokenizers.Tokenizer.from_buffer(data)
        package.no_padding()
        try:
            expected = package.encode("a cup of tea", add_special_tokens=False).ids
        except BaseException:  # or a panic of Rust
            with pytest.raises(ModelFormatError, match="tokenizers cannot encode with it"):
                loaded.encode_batch(("a cup of tea",), loaded.truncation)
            continue
        found = loaded.encode_batch(("a cup of tea",), loaded.truncation)
        assert found.ids.tolist() == expected
    assert list(refused) == ["file"]


@pytest.mark.parametrize("where", ["vocab", "prefix", "added"])
def test_surrogates_in_the_file(where: str) -> None:
    content = content_with(added=[added_token(len(VOCABULARY), "<n>")])
    if where == "vocab":
        content["model"]["vocab"]["\ud800"] = 99
    elif where == "prefix":
        content["model"]["continuing_subword_prefix"] = "\udfff"
    else:
        content["added_tokens"][0]["content"] = "a\ud800"
    with pytest.raises(ModelFormatError, match="tokenizers cannot load it"):
        load_tokenizer(json.dumps(content).encode(), "file", ROWS)


# The encoder


@pytest.fixture
def encoder(tmp_path: Path) -> Encoder:
    return Encoder(write_model(tmp_path / "model"))


def test_tokenize(encoder: Encoder) -> None:
    ids, offsets = encoder.tokenize(["a cup", "", "tea"])
    assert ids.dtype == np.uint32
    assert offsets.dtype == np.int64
    assert [VOCABULARY[i] for i in ids] == ["a", "cup", "tea"]
    assert offsets.tolist() == [0, 2, 2, 3]
    assert encoder.tokenize("tea")[1].tolist() == [0, 1]
    assert encoder.tokenize([])[1].tolist() == [0]
    assert encoder.tokenize(iter(["tea"]), threads=2)[0].tolist() == [5]
    tokens = encoder.preprocess(["a cup", "", "tea"])
    assert tokens["input_ids"].tolist() == ids.tolist()
    assert tokens["offsets"].tolist() == [0, 2, 2]
    assert encoder.tokenizer.encode("a cup", add_special_tokens=False).ids == ids[:2].tolist()


def test_max_seq_length(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    encoder = Encoder(folder)
    texts = ["a cup of tea", "tea", "a cup"]
    assert encoder.max_seq_length is None
    encoder.encode(texts)
    assert encoder.truncated_texts == 0
    encoder.max_seq_length = 2
    assert np.array_equal(encoder.encode(texts)[0], encoder.encode("a cup"))
    assert encoder.truncated_texts == 0
    encoder.encode(texts)
    assert encoder.truncated_texts == 1
    assert encoder.tokenize(texts)[1].tolist() == [0, 2, 3, 5]
    assert Encoder(folder, max_seq_length=2).tokenize(texts)[1].tolist() == [0, 2, 3, 5]
    for bad in (0, -1):
        with pytest.raises(ValueError, match="max_seq_length must be at least 1"):
            encoder.max_seq_length = bad
    with pytest.raises(TypeError):
        encoder.max_seq_length = 1.5  # type: ignore[assignment]
    assert encoder.max_seq_length == 2


def test_max_seq_length_of_the_file(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    truncation = {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Left"}
    (folder / TOKENIZER).write_text(json.dumps(content_with(truncation=truncation)))
    encoder = Encoder(folder)
    assert encoder.max_seq_length == 3
    assert [VOCABULARY[i] for i in encoder.tokenize("a cup of tea")[0]] == ["cup", "of", "tea"]
    encoder.max_seq_length = 2
    assert [VOCABULARY[i] for i in encoder.tokenize("a cup of tea")[0]] == ["of", "tea"]
    encoder.max_seq_length = None
    assert len(encoder.tokenize("a cup of tea")[0]) == 4
    other = copy.copy(encoder)
    assert other.max_seq_length is None


@pytest.mark.parametrize(
    "text", ["\ud800", "a\udfff", "é中\udc80b", "\U0001f600\ud83d", "\ud83d\ude00"]
)
def test_surrogates(encoder: Encoder, text: str) -> None:
    position = next(i for i, c in enumerate(text) if "\ud800" <= c <= "\udfff")
    what, advice = "lone surrogate", "puts U+FFFD in its place"
    if text == "\ud83d\ude00":
        what, advice = "surrogate pair", "makes it the character that it stands for"
    message = (
        "^"
        + re.escape(f"text 1500 holds a {what} at character {position}; errors='replace' {advice}")
        + "$"
    )
    for call in (encoder.encode, encoder.tokenize):
        with pytest.raises(ValueError, match=message):
            call(["tea"] * 1500 + [text, "\ud800"])


@pytest.mark.parametrize("length", [1, None])
def test_lone_surrogate_in_a_later_piece(encoder: Encoder, length: int | None) -> None:
    # Found even where truncation has no use for that piece.
    text = "\u4e2d tea" * PIECE_CHARACTERS + "\udc80" + "a" * PIECE_CHARACTERS
    encoder.max_seq_length = length
    for call in (encoder.encode, encoder.tokenize):
        with pytest.raises(ValueError, match=f"text 1 .* character {5 * PIECE_CHARACTERS};"):
            call(["tea", text])


def test_subclasses_of_str(encoder: Encoder) -> None:
    class Text(str):
        __slots__ = ()

    assert encoder.tokenize([Text("tea"), Text("caf\xe9"), Text("\u4e2d")])[0].tolist() == [
        VOCABULARY.index(token) for token in ("tea", "cafe", "中")
    ]


@pytest.mark.parametrize(
    "bad", [None, float("nan"), b"tea", 3, ["tea"], "a\ud800", "\u4e2d\ud83d\ude00", "\udc00\ud800"]
)
def test_both_paths_say_the_same_of_what_is_no_text(bundled: Pair, bad: Any) -> None:
    content = json.dumps(bundled.content).encode()
    messages = []
    for tokenizer in (bundled.native, PackageTokenizer(content, "tokenizer.json", "")):
        with pytest.raises((TypeError, ValueError)) as raised:
            tokenizer.encode_batch(("tea", bad), Truncation(), first_number=10)
        messages.append((raised.type, str(raised.value)))
    assert messages[0] == messages[1]
    assert messages[0][1].startswith("text 11 ")


def test_errors_of_the_native_tokenizer(bundled: Pair) -> None:
    native = bundled.native
    with pytest.raises(TypeError, match="text 12 is int, expected str"):
        native.encode_batch(("a", "b", 3), Truncation(), first_number=10)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no kernel named 'mmx'"):
        native.encode_batch(("a",), Truncation(), kernel="mmx")
    with pytest.raises(ValueError, match="piece_characters must be at least 1"):
        native.encode_batch(("a",), Truncation(), piece_characters=0)


# The kernel's part


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("lowercase", [False, True])
def test_scan_words(kernel: str, lowercase: bool) -> None:
    every = np.arange(256, dtype=np.uint8)
    choose = np.random.default_rng(1)
    for byte_count in (0, 1, 7, 63, 64, 65, 128, 255, 256, 1000):
        text = choose.permutation(np.resize(every, byte_count))
        masks, copied = _core.scan_words(text, lowercase=lowercase, kernel=kernel)
        data = text.tobytes()
        assert copied.tobytes() == (data.lower() if lowercase else data)
        bits = np.unpackbits(masks.view(np.uint8).reshape(-1, 3, 8), axis=2, bitorder="little")
        word, punctuation, other = bits.transpose(1, 0, 2).reshape(3, -1)
        for i, byte in enumerate(data):
            is_word = byte < 128 and chr(byte).isalnum()
            is_visible = 33 <= byte < 127
            assert word[i] == is_word
            assert punctuation[i] == (is_visible and not is_word)
            assert other[i] == (not is_visible and byte not in b" \t\n\r")
        assert not word[byte_count:].any()
        assert not punctuation[byte_count:].any()
        assert not other[byte_count:].any()


@pytest.mark.exhaustive
def test_unicode_tables_are_fresh() -> None:
    tool = ROOT / "tools/make_unicode_tables.py"
    subprocess.run([sys.executable, tool, "--check"], check=True)
