"""Ids equal to those of the `tokenizers` package, for every string."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from compare_tokenizers import MARKS, ODDITIES, RandomTexts
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import VOCABULARY, JsonObject
from tokenizer_cases import (
    ASSIGNED,
    TEXTS,
    bundled_content,
    bundled_fixture,  # noqa: F401
    spelling,
    spelling_uncased_fixture,  # noqa: F401
)
from tokenizer_pairs import FLAGS, KERNELS, NORMALIZERS, Pair, added_token, content_with

from nibblevec import _core
from nibblevec._token_rules import Truncation

ROOT = Path(__file__).resolve().parent.parent


# Every code point. In this vocabulary each is a word and a piece of its own, so that ids tell what
# every character became.


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
