"""What a model of each layout must give."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import reference
import tokenizers
from bits import FloatArray, assert_same_bits
from numpy.typing import NDArray
from tiny_models import TOKENIZER, VOCABULARY, JsonObject, write_static_embedding

from nibblevec import Encoder

ROWS = len(VOCABULARY)
DIM = 21

TEXTS = [
    "A cup of hot tea.",
    "the stock market fell, \u0416 fell",
    "",
    "\u0416 \u2603",
    "unable, walking: 12 caf\u00e9s",
    "zebra tea zebra",
    "tea " * 30,
    "\u4e2d\u6587 \U0001f600\U0001f600 tea",
    "the hot tea is the hot drink, and the cup of tea is a cup. " * 3,
]

Tensors = dict[str, NDArray[Any]]
Numbers = NDArray[np.floating[Any]]


class Expected(NamedTuple):
    """What a folder's model must compute, told apart from its files.

    Attributes:
        rows: decoded table.
        row_of_id: of each token.
        weights: of each token.
        max_length: of a text in tokens.
        model2vec: cuts characters, drops unknown tokens.
        normalization: of the model.
        wide: sums are float64.
    """

    rows: FloatArray
    row_of_id: NDArray[np.integer[Any]] | None = None
    weights: Numbers | None = None
    max_length: int | None = None
    model2vec: bool = False
    normalization: str | None = None
    wide: bool = False

    def bags(self, tokenizer_json: str, texts: list[str]) -> list[NDArray[np.integer[Any]]]:
        """The ids of each text that count."""
        tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json)
        vocabulary = tokenizer.get_vocab()
        if self.model2vec:
            tokenizer.no_truncation()
        model = json.loads(tokenizer_json)["model"]
        unknown = vocabulary[model["unk_token"]] if "unk_token" in model else model["unk_id"]
        bags: list[NDArray[np.integer[Any]]] = []
        for text in texts:
            if self.model2vec and self.max_length is not None:
                median = int(np.median([len(token) for token in vocabulary]))
                text = text[: self.max_length * median]  # noqa: PLW2901
            ids = tokenizer.encode(text, add_special_tokens=False).ids[: self.max_length]
            if self.model2vec:
                ids = [number for number in ids if number != unknown]
            bags.append(np.array(ids, np.int64))
        return bags

    def vectors(
        self, tokenizer_json: str, texts: list[str], dims: int, normalize: bool
    ) -> FloatArray:
        bags = self.bags(tokenizer_json, texts)
        offsets = np.concatenate([[0], np.cumsum([len(bag) for bag in bags])]).astype(np.int64)
        ids = np.concatenate(bags)
        row_ids = ids if self.row_of_id is None else self.row_of_id[ids].astype(np.int64)
        weights = None if self.weights is None else self.weights[ids]
        if self.wide:
            x = reference.wide_mean(self.rows, row_ids, offsets, weights).astype(np.float32)
        else:
            sums = reference.sum_rows(self.rows, row_ids, offsets, weights)
            x = reference.mean(sums, np.diff(offsets))
        if self.normalization == "torch":
            x = reference.normalize(x)
        elif self.normalization == "model2vec_float16":
            x = reference.normalize_model2vec_float16(x)
        elif self.normalization == "model2vec":
            x = reference.normalize_model2vec(x)
        x = np.ascontiguousarray(x[:, :dims])
        return reference.normalize(x) if normalize else x


def assert_expected(folder: Path, expected: Expected, texts: list[str] = TEXTS) -> Encoder:
    """Every way to encode gives the oracle's bits."""
    paths = [*folder.rglob(TOKENIZER)]
    assert len(paths) == 1
    tokenizer_json = paths[0].read_text()
    encoder = Encoder(folder)
    dim = expected.rows.shape[1]
    for dims, normalize in product((dim, dim // 2), (False, True)):
        vectors = encoder.encode(texts, truncate_dim=dims, normalize_embeddings=normalize)
        assert_same_bits(vectors, expected.vectors(tokenizer_json, texts, dims, normalize))
    bags = expected.bags(tokenizer_json, texts)
    ids, offsets = encoder.tokenize(texts)
    assert ids.tolist() == np.concatenate(bags).tolist()
    assert np.diff(offsets).tolist() == [len(bag) for bag in bags]
    return encoder


def table(dtype: str, rows: int = ROWS, dim: int = DIM, seed: int = 3) -> NDArray[Any]:
    """Random numbers; uint16 stands for bfloat16."""
    numbers = np.random.default_rng(seed).standard_normal((rows, dim))
    if dtype == "bfloat16":
        return (numbers.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    if dtype == "int8":
        return (numbers * 40).clip(-128, 127).astype(np.int8)
    return numbers.astype(dtype)


def decoded(array: NDArray[Any]) -> FloatArray:
    if array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32)


def mapping(ids: int = ROWS, rows: int = 7) -> NDArray[np.int64]:
    return np.random.default_rng(5).integers(0, rows, ids)


def weights(dtype: str, ids: int = ROWS) -> Numbers:
    random: Numbers = np.random.default_rng(6).uniform(0.1, 3, ids).astype(dtype)
    return random


SETTINGS: JsonObject = {
    "model_type": "SentenceTransformer",
    "__version__": {"sentence_transformers": "6.2.0"},
    "prompts": {"query": "tea: ", "document": "", "other": "cup ", "none": None},
    "default_prompt_name": "other",
    "similarity_fn_name": "dot",
    "truncate_dim": 9,
}


@pytest.fixture(name="prompted")
def prompted_fixture(tmp_path: Path) -> Path:
    tensors = {"embedding.weight": table("float32")}
    return write_static_embedding(tmp_path / "prompted", tensors, settings=SETTINGS)
