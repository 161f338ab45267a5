"""What the native tokenizer takes, and what is left to the `tokenizers` package."""

from __future__ import annotations

import copy
import itertools
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from bad_models import left_alone
from tiny_models import VOCABULARY, JsonObject, tokenizer_content
from tokenizer_pairs import ROWS, Pair, added_token, content_with

from nibblevec._containers.files import ModelFormatError
from nibblevec._token_rules import Truncation
from nibblevec._tokenization.loading import load_tokenizer
from nibblevec._tokenization.package import PackageTokenizer
from nibblevec._tokenization.tokenizer import Tokenizer

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
