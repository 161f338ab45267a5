"""The tokenizer of an encoder: its methods, limits and errors."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import TOKENIZER, VOCABULARY, write_model
from tokenizer_cases import (
    PIECE_CHARACTERS,
    bundled_fixture,  # noqa: F401
)
from tokenizer_pairs import Pair, content_with

from nibblevec import Encoder
from nibblevec._token_rules import Truncation
from nibblevec._tokenization.package import PackageTokenizer


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
