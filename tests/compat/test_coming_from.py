"""Both sides of every row of the tables in docs/coming-from.md, and its differences."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from fastembed import TextEmbedding
from model2vec import StaticModel
from sentence_transformers import SentenceTransformer, util
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from sentence_transformers.util.quantization import quantize_embeddings

from nibblevec import Encoder, semantic_search
from nibblevec._bundled import BUNDLED_MODEL

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from.md").read_text(encoding="utf-8")
POTION = "minishlab/potion-base-8M"
DIM = 256
TEXTS = ["A cup of tea, please.", "", "the stock market fell today and all of us ran away"]
VECTORS = np.random.default_rng(2).standard_normal((5, DIM), dtype=np.float32)
UNKNOWN = ["tea \u2603 cup", "\u2603"]


def rows_of(package: str) -> list[tuple[str, str]]:
    """The cells of the table under "From PACKAGE"."""
    section = PAGE.partition(f"## From {package}")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \| `([^`]+)`(?:, .+)? \|$", section, re.MULTILINE)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, str]:
    """A model as model2vec saves it, by whether it normalises."""
    tokenizer = tokenizers.Tokenizer.from_file(str(Path(BUNDLED_MODEL) / "tokenizer.json"))
    shape = (tokenizer.get_vocab_size(), DIM)
    vectors = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    folders = {}
    for normalize in (False, True):
        folder = tmp_path_factory.mktemp("model")
        StaticModel(vectors, tokenizer, normalize=normalize).save_pretrained(folder)
        folders[normalize] = str(folder)
    return folders


def value_of(cell: str, model: Any, folder: str, out: Path) -> Any:
    """Of the last expression, the statements before it having run."""
    names: dict[str, Any] = {
        "Encoder": Encoder, "StaticModel": StaticModel, "TextEmbedding": TextEmbedding,
        "np": np, "potion": POTION,
        "SentenceTransformer": SentenceTransformer, "util": util,
        "quantize_embeddings": quantize_embeddings, "semantic_search": semantic_search,
        "folder": folder, "model": model, "out": out, "texts": TEXTS, "vectors": VECTORS,
    }  # fmt: skip
    *statements, expression = cell.split("; ")
    for statement in statements:
        exec(statement, names)
    value = eval(expression, names)
    if isinstance(value, (StaticModel, Encoder, SentenceTransformer)):
        return value.encode(TEXTS)
    return list(value.embed(TEXTS)) if isinstance(value, TextEmbedding) else value


def assert_alike(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for our_item, their_item in zip(ours, theirs, strict=True):
            assert_alike(our_item, their_item)
    elif isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert_alike(ours[name], value)
    elif theirs is None:
        assert ours is None
    else:
        assert np.shape(ours) == np.shape(theirs)
        apart = np.asarray(ours).astype(np.float64) - np.asarray(theirs)
        assert np.abs(apart).max(initial=0) <= 1e-6


@pytest.mark.parametrize(("theirs", "ours"), rows_of("model2vec"))
def test_row_of_model2vec(folders: dict[bool, str], tmp_path: Path, theirs: str, ours: str) -> None:
    folder = folders[False]
    assert_alike(
        value_of(ours, Encoder(folder), folder, tmp_path / "ours"),
        value_of(theirs, StaticModel.from_pretrained(folder), folder, tmp_path / "theirs"),
    )


@pytest.mark.parametrize(("row", "normalize"), [*product(rows_of("fastembed"), (False, True))])
def test_row_of_fastembed(
    folders: dict[bool, str], tmp_path: Path, row: tuple[str, str], normalize: bool
) -> None:
    folder = folders[normalize]
    theirs, ours = row
    found = value_of(ours, Encoder(folder), folder, tmp_path)
    if theirs.startswith("TextEmbedding("):
        found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        found = list(found)
    fastembed = TextEmbedding(POTION, specific_model_path=folder)
    assert_alike(found, value_of(theirs, fastembed, folder, tmp_path))


@pytest.mark.parametrize(("theirs", "ours"), rows_of("sentence-transformers"))
def test_row_of_sentence_transformers(tmp_path: Path, theirs: str, ours: str) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(Path(BUNDLED_MODEL) / "tokenizer.json"))
    module = StaticEmbedding(tokenizer, embedding_dim=DIM)
    model = SentenceTransformer(modules=[module], device="cpu", prompts={"query": "find: "})
    folder = str(tmp_path / "model")
    model.save_pretrained(folder, create_model_card=False)
    assert_alike(
        value_of(ours, Encoder(folder), folder, tmp_path),
        value_of(theirs, model, folder, tmp_path),
    )


def test_the_tables_are_found() -> None:
    assert len(rows_of("sentence-transformers")) == 11
    assert len(rows_of("model2vec")) == 14
    assert len(rows_of("fastembed")) == 9


def test_differences_of_model2vec(folders: dict[bool, str]) -> None:
    folder = folders[True]
    theirs, ours = StaticModel.from_pretrained(folder), Encoder(folder)
    fewer = StaticModel.from_pretrained(folder, dimensionality=64).encode(TEXTS)
    assert np.abs(ours.encode(TEXTS, truncate_dim=64) - fewer).max() > 0.1
    assert_alike(ours.encode(TEXTS, truncate_dim=64, normalize_embeddings=True), fewer)
    assert np.abs(theirs.encode(TEXTS, normalize=False)).max() > 1
    assert np.abs(ours.encode(TEXTS, normalize_embeddings=False)).max() < 1
    theirs.encode(TEXTS, nothing=1)
    unknown: dict[str, Any] = {"nothing": 1}
    with pytest.raises(TypeError):
        ours.encode(TEXTS, **unknown)
    with pytest.raises(ValueError, match="at least one array"):
        theirs.encode([])
    assert ours.encode([]).shape == (0, DIM)


def test_differences_of_fastembed(folders: dict[bool, str]) -> None:
    folder = folders[False]
    theirs, ours = TextEmbedding(POTION, specific_model_path=folder), Encoder(folder)
    # Unknown tokens have no part in vectors of either, and count there only.
    assert_alike(
        ours.encode(UNKNOWN, normalize_embeddings=True), np.array([*theirs.embed(UNKNOWN)])
    )
    assert theirs.token_count(UNKNOWN) == len(ours.tokenize(UNKNOWN)[0]) + 2
    # Both cut at 512 tokens, ours at some characters before.
    for text, alike in (("tea cup " * 400, True), ("internationalization, tea " * 600, False)):
        apart = ours.encode(text, normalize_embeddings=True) - next(iter(theirs.embed(text)))
        assert (np.abs(apart).max() <= 1e-6) == alike
    with pytest.raises(ValueError, match="not supported in TextEmbedding"):
        TextEmbedding("owner/name")
