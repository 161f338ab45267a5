"""Files of a tokenizer that are damaged or hostile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
from bad_model_cases import (
    DIM,
    NOT_JSON,
    ROWS,
    changed,
    folder_fixture,  # noqa: F401
)
from bad_models import assert_refused
from tiny_models import (
    TABLE,
    TOKENIZER,
    VOCABULARY,
    JsonObject,
    bpe_content,
    table_bytes,
    tokenizer_content,
)

from nibblevec import Encoder, ModelFormatError

pytestmark = pytest.mark.malformed


def vocabulary_with(**entries: object) -> bytes:
    return changed(lambda content: content["model"]["vocab"].update(entries))


def added_with(*entries: object) -> bytes:
    return changed(lambda content: content["added_tokens"].extend(entries))


def added_token(content: object, number: object) -> JsonObject:
    return {
        "id": number, "content": content, "special": False, "single_word": False, "lstrip": False,
        "rstrip": False, "normalized": False,
    }  # fmt: skip


GOOD_JSON = json.dumps(tokenizer_content()).encode()
OUTSIDE = rf", expected one of 0\.\.{ROWS - 1}"
TOKENIZERS: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "tokenizer", NOT_JSON),
    "not JSON": (b"tokenizer", "tokenizer", NOT_JSON),
    "cut": (GOOD_JSON[:-1], "tokenizer", NOT_JSON),
    "cut in half": (GOOD_JSON[: len(GOOD_JSON) // 2], "tokenizer", NOT_JSON),
    "not UTF-8": (GOOD_JSON.replace(b"tea", b"te\xff"), "tokenizer", NOT_JSON),
    "array": (b"[]", "tokenizer", "expected an object, found an array"),
    "null": (b"null", "tokenizer", "expected an object, found null"),
    "deep": (b"[" * 500_000, "tokenizer", "nested too deeply"),
    "deep objects": (b'{"model":' * 500_000, "tokenizer", "nested too deeply"),
    "no model": (b"{}", "model.vocab", "missing"),
    "model array": (b'{"model": []}', "model.vocab", "missing"),
    "no vocabulary": (
        changed(lambda content: content["model"].pop("vocab")), "model.vocab", "missing",
    ),
    "vocabulary null": (
        changed(lambda content: content["model"].update(vocab=None)), "model.vocab", "missing",
    ),
    "vocabulary number": (
        changed(lambda content: content["model"].update(vocab=3)), "model.vocab", "neither",
    ),
    "token twice": (
        GOOD_JSON.replace(b'"cup"', b'"tea"'), "tokenizer", "key 'tea' occurs twice",
    ),
    "model twice": (
        b'{"model": {}, ' + GOOD_JSON[1:], "tokenizer", "key 'model' occurs twice",
    ),
    "id negative": (vocabulary_with(tea=-1), "model.vocab", "id -1 of 'tea'" + OUTSIDE),
    "id beyond": (vocabulary_with(tea=ROWS), "model.vocab", f"id {ROWS} of 'tea'" + OUTSIDE),
    "id 2^32": (vocabulary_with(tea=1 << 32), "model.vocab", f"id {1 << 32} of 'tea'" + OUTSIDE),
    "id 2^64": (vocabulary_with(tea=1 << 64), "model.vocab", f"id {1 << 64} of 'tea'" + OUTSIDE),
    "id huge": (vocabulary_with(tea=10**4000), "model.vocab", "id 10+ of 'tea'" + OUTSIDE),
    "id bool": (vocabulary_with(tea=True), "model.vocab", "id True of 'tea'" + OUTSIDE),
    "id float": (vocabulary_with(tea=5.0), "model.vocab", r"id 5\.0 of 'tea'" + OUTSIDE),
    "id string": (vocabulary_with(tea="5"), "model.vocab", "id '5' of 'tea'" + OUTSIDE),
    "id null": (vocabulary_with(tea=None), "model.vocab", "id None of 'tea'" + OUTSIDE),
    "id array": (vocabulary_with(tea=[5]), "model.vocab", r"id \[5\] of 'tea'" + OUTSIDE),
    "token of a megabyte": (
        vocabulary_with(**{"x" * 1_000_000: -1}), "model.vocab", "id -1 of 'x+" + OUTSIDE,
    ),
    "added token negative": (
        added_with(added_token("<new>", -1)), "added_tokens", "id -1 of '<new>'" + OUTSIDE,
    ),
    "added token bool": (
        added_with(added_token("<new>", False)), "added_tokens", "id False of '<new>'" + OUTSIDE,
    ),
    "added token without id": (
        added_with({"content": "<new>"}), "added_tokens", "id None of '<new>'" + OUTSIDE,
    ),
    "added token without content": (added_with({"id": 1}), "added_tokens", "has no content"),
    "added token of a number": (added_with(added_token(5, 5)), "added_tokens", "has no content"),
    "added token string": (added_with("<new>"), "added_tokens", "has no content"),
    "added tokens object": (
        changed(lambda content: content.update(added_tokens={"a": 1})),
        "added_tokens",
        "expected an array",
    ),
    "no type of model": (
        changed(lambda content: content["model"].update(type="Sentence")),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "unknown normalizer": (
        changed(lambda content: content.update(normalizer={"type": "Upper"})),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "normalizer of a number": (
        changed(lambda content: content.update(normalizer=3)),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "NaN, which only Python reads": (
        changed(lambda content: content.update(version=float("nan"))),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "unknown version": (
        changed(lambda content: content.update(version="7")),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "no unknown token": (
        changed(lambda content: content["model"].update(unk_token="[NONE]"))
        .replace(b'"tea"', b'"teal"'),
        "tokenizer",
        "tokenizers cannot encode with it",
    ),
    "decoder of a number": (
        changed(lambda content: content.update(decoder=3)),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "unknown decoder": (
        changed(lambda content: content.update(decoder={"type": "Telepathy"})),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "unknown post-processor": (
        changed(lambda content: content.update(post_processor={"type": "Telepathy"})),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "NaN in the padding": (
        changed(lambda content: content.update(padding={
            "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": float("nan"), "pad_type_id": 0, "pad_token": "[PAD]"})),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "padding of nothing": (
        changed(lambda content: content.update(padding={})), "tokenizer",
        "tokenizers cannot load it",
    ),
    "id of -0": (
        vocabulary_with(tea="zero").replace(b'"zero"', b"-0"), "tokenizer",
        "tokenizers cannot load it",
    ),
    "BPE that drops merges": (
        json.dumps(bpe_content() | {"model": bpe_content()["model"] | {"dropout": 0.1}}).encode(),
        "model.dropout",
        "0.1, with which ids are random, expected null",
    ),
    "Unigram of numbers": (
        changed(
            lambda content: content.update(
                model={"type": "Unigram", "unk_id": 0, "vocab": list(range(ROWS))}, added_tokens=[]
            )
        ),
        "tokenizer",
        "tokenizers cannot load it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TOKENIZERS)
def test_tokenizer(folder: Path, case: str) -> None:
    content, field, message = TOKENIZERS[case]
    (folder / TOKENIZER).write_bytes(content)
    assert_refused(folder, TOKENIZER, field, message, mmap=True)


def test_tokenizer_is_refused_when_the_model_is_loaded(folder: Path) -> None:
    (folder / TOKENIZER).write_bytes(b"{}")
    for _ in range(2):
        with pytest.raises(ModelFormatError):
            Encoder(folder)


def test_added_tokens_restate_or_extend_the_vocabulary(folder: Path) -> None:
    (folder / TABLE).write_bytes(table_bytes(ROWS + 1, DIM))
    (folder / TOKENIZER).write_bytes(added_with(added_token("tea", 5), added_token("<n>", ROWS)))
    encoder = Encoder(folder)
    texts = ["tea", "a <n> b"]
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
    tokens = tokenizer.encode_batch(texts, add_special_tokens=False)
    assert tokens[1].ids == [VOCABULARY.index("a"), ROWS, VOCABULARY.index("b")]
    assert encoder.encode(texts).shape == (2, DIM)


def test_unigram(folder: Path) -> None:
    vocabulary = [["<unk>", 0.0], ["tea", -1.0], ["cup", -2.0]]
    content = tokenizer_content()
    content["model"] = {"type": "Unigram", "unk_id": 0, "vocab": vocabulary}
    content["added_tokens"] = [added_token("<unk>", 0)]
    (folder / TOKENIZER).write_text(json.dumps(content))
    assert_refused(folder, TABLE, "table", f"{ROWS} rows, expected 3, one for each token")
    (folder / TABLE).write_bytes(table_bytes(3, DIM))
    assert Encoder(folder).encode(["tea", "cup", "zebra"]).shape == (3, DIM)
    content["added_tokens"] = [added_token("<unk>", 1)]
    (folder / TOKENIZER).write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="added token '<unk>' has the id 0, not 1"):
        Encoder(folder)
    # An entry is its text, however that is written in Python.
    vocabulary[1][0], content["added_tokens"] = "it's", [added_token("it's", 1)]
    (folder / TOKENIZER).write_text(json.dumps(content))
    assert Encoder(folder).encode("it's").shape == (DIM,)
