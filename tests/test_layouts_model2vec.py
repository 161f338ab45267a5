"""Model2Vec: right ones give the bits of the oracle, whatever they hold."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from bits import FloatArray, assert_same_bits
from layout_cases import (
    DIM,
    ROWS,
    TEXTS,
    Expected,
    Tensors,
    assert_expected,
    decoded,
    mapping,
    table,
    weights,
)
from tiny_models import (
    TOKENIZER,
    VOCABULARY,
    JsonObject,
    bpe_content,
    tokenizer_content,
    unigram_content,
    write_model2vec,
)

import nibblevec
from nibblevec import Encoder, _core
from nibblevec._vectors import write_floats

# Model2Vec


@pytest.mark.parametrize("max_length", [3, 512, None])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("weights_dtype", [None, "float16", "float32", "float64"])
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int8"])
def test_model2vec(
    tmp_path: Path,
    dtype: str,
    mapped: bool,
    weights_dtype: str | None,
    normalize: bool,
    max_length: int | None,
) -> None:
    embeddings = table(dtype, 7 if mapped else ROWS)
    tensors: Tensors = {"embeddings": embeddings}
    products_in_half = weights_dtype == "float16" and dtype in ("float16", "int8")
    is_half = dtype == "float16" or products_in_half
    norm = "model2vec_float16" if is_half else "model2vec"
    expected = Expected(
        decoded(embeddings),
        max_length=max_length,
        model2vec=True,
        normalization=norm if normalize else None,
        wide="float64" in (dtype, weights_dtype),
    )
    if mapped:
        tensors["mapping"] = mapping()
        expected = expected._replace(row_of_id=mapping())
    if weights_dtype is not None:
        tensors["weights"] = weights(weights_dtype)
        expected = expected._replace(weights=weights(weights_dtype))
    if products_in_half:
        row_of_id = mapping() if mapped else np.arange(ROWS)
        products = embeddings[row_of_id] * weights("float16")[:, np.newaxis]
        assert products.dtype == np.float16
        expected = expected._replace(rows=decoded(products), row_of_id=None, weights=None)
    config = {"normalize": normalize, "max_length": max_length}
    folder = write_model2vec(tmp_path / "model", tensors, config=config)
    if is_half and expected.wide:
        # A float64 mean becomes a float16 at once there; here on a way that comes to the same.
        assert_same_halves(folder, expected)
    else:
        assert_expected(folder, expected)


def assert_same_halves(folder: Path, expected: Expected) -> None:
    tokenizer_json = (folder / TOKENIZER).read_text()
    bags = expected.bags(tokenizer_json, TEXTS)
    offsets = np.concatenate([[0], np.cumsum([len(bag) for bag in bags])]).astype(np.int64)
    ids = np.concatenate(bags)
    row_ids = ids if expected.row_of_id is None else expected.row_of_id[ids]
    token_weights = None if expected.weights is None else expected.weights[ids]
    means = reference.wide_mean(expected.rows, row_ids, offsets, token_weights)
    halves = means.astype(np.float16)
    if expected.normalization:
        vectors = reference.normalize_model2vec(halves.astype(np.float32))
        assert_same_bits(Encoder(folder).encode(TEXTS), vectors)
    else:
        ours = Encoder(folder).encode(TEXTS).astype(np.float16)
        assert np.array_equal(ours.view(np.uint16), halves.view(np.uint16))


def test_mean_in_the_middle_of_two_halves(tmp_path: Path) -> None:
    """A float64 mean just above the middle of two float16s must not be rounded to the middle."""
    embeddings = np.zeros((ROWS, 2), np.float16)
    embeddings[VOCABULARY.index("tea")] = [1, -1]
    token_weights = np.full(ROWS, 1 + 2**-11 + 2**-40)
    tensors = {"embeddings": embeddings, "weights": token_weights}
    vector = Encoder(write_model2vec(tmp_path / "model", tensors)).encode("tea")
    assert vector.astype(np.float16).tolist() == [1 + 2**-10, -1 - 2**-10]
    assert vector == pytest.approx(token_weights[0] * np.array([1, -1]), rel=1.2e-7)


@pytest.mark.parametrize("name", ["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"])
def test_mapping_of_any_integers(tmp_path: Path, name: str) -> None:
    embeddings = table("float32", 7)
    tensors = {"embeddings": embeddings, "mapping": mapping().astype(name)}
    folder = write_model2vec(tmp_path / "model", tensors, config={"max_length": None})
    assert_expected(folder, Expected(embeddings, row_of_id=mapping(), model2vec=True))


@pytest.mark.parametrize("make_tokenizer", [bpe_content, unigram_content])
@pytest.mark.parametrize("max_length", [2, None])
def test_model2vec_with_any_tokenizer(
    tmp_path: Path, make_tokenizer: Any, max_length: int | None
) -> None:
    tokenizer = make_tokenizer()
    ids = len(tokenizer["model"]["vocab"])
    embeddings = table("float32", 7)
    tensors = {
        "embeddings": embeddings, "mapping": mapping(ids), "weights": weights("float64", ids)
    }  # fmt: skip
    # These are replaced.
    tokenizer["truncation"] = {
        "max_length": 1, "strategy": "LongestFirst", "stride": 0, "direction": "Left"
    }  # fmt: skip
    config = {"normalize": True, "max_length": max_length}
    folder = write_model2vec(tmp_path / "model", tensors, config=config, tokenizer=tokenizer)
    expected = Expected(
        embeddings, mapping(ids), weights("float64", ids), max_length, True, "model2vec", True
    )
    encoder = assert_expected(folder, expected)
    assert "by the tokenizers package" in encoder._tokenizer.path_taken


def test_without_an_unknown_token(tmp_path: Path) -> None:
    tokenizer = bpe_content()
    tokenizer["model"]["unk_token"] = None
    embeddings = table("float32", len(tokenizer["model"]["vocab"]))
    folder = write_model2vec(tmp_path / "model", {"embeddings": embeddings}, tokenizer=tokenizer)
    ids, _ = Encoder(folder).tokenize("tea cup")
    assert_same_bits(
        Encoder(folder).encode("tea cup"), (embeddings[ids[0]] + embeddings[ids[1]]) / np.float32(2)
    )


@pytest.mark.parametrize("truncation", [None, {"max_length": 2, "direction": "Left"}])
def test_truncation_of_the_file_is_replaced(
    tmp_path: Path, truncation: dict[str, object] | None
) -> None:
    tokenizer = tokenizer_content()
    if truncation is not None:
        tokenizer["truncation"] = {"strategy": "LongestFirst", "stride": 0, **truncation}
    embeddings = table("float32")
    for config, max_length in (({}, 512), ({"max_length": None}, None), ({"max_length": 5}, 5)):
        folder = write_model2vec(
            tmp_path / f"{max_length}",
            {"embeddings": embeddings},
            config=config,
            tokenizer=tokenizer,
        )
        encoder = assert_expected(
            folder, Expected(embeddings, max_length=max_length, model2vec=True)
        )
        assert encoder.max_seq_length == max_length


@pytest.mark.parametrize("tokenizer", [tokenizer_content(), bpe_content()], ids=["native", "BPE"])
def test_texts_cut_by_characters_are_counted(tmp_path: Path, tokenizer: JsonObject) -> None:
    ids = len(tokenizer["model"]["vocab"])
    tensors = {"embeddings": table("float32", ids)}
    config = {"max_length": 4}
    encoder = Encoder(
        write_model2vec(tmp_path / "model", tensors, config=config, tokenizer=tokenizer)
    )
    median = int(np.median([len(token) for token in tokenizer["model"]["vocab"]]))
    limit = 4 * median
    # Of one token each: only characters are too many. A code point is one, wide or narrow.
    texts = ["tea", " " * limit + "x", "tea".ljust(limit), "\U0001f600" + " " * limit, "t. " * 20]
    encoder.encode(texts)
    assert encoder.truncated_texts == 3
    encoder.tokenize(texts)
    assert encoder.truncated_texts == 3
    encoder.max_seq_length = None
    encoder.encode(texts)
    assert encoder.truncated_texts == 0


def test_max_seq_length_is_that_of_model2vec(tmp_path: Path) -> None:
    """As `encode(max_length=)` there: characters are cut too."""
    embeddings = table("float32")
    folder = write_model2vec(tmp_path / "model", {"embeddings": embeddings})
    encoder = Encoder(folder, max_seq_length=3)
    expected = Expected(embeddings, max_length=3, model2vec=True)
    tokenizer_json = (folder / TOKENIZER).read_text()
    assert_same_bits(encoder.encode(TEXTS), expected.vectors(tokenizer_json, TEXTS, DIM, False))
    again = pickle.loads(pickle.dumps(encoder))
    assert_same_bits(again.encode(TEXTS), encoder.encode(TEXTS))


@pytest.mark.parametrize("weights_dtype", ["float32", "float64"])
def test_text_whose_ids_come_in_pieces(tmp_path: Path, weights_dtype: str) -> None:
    """Over 64 K ids, of which some, and whole pieces of them, do not count."""
    embeddings = table("float32", 7, dim=5)
    tensors = {
        "embeddings": embeddings, "mapping": mapping(), "weights": weights(weights_dtype)
    }  # fmt: skip
    config = {"max_length": None, "normalize": True}
    folder = write_model2vec(tmp_path / "model", tensors, config=config)
    texts = [
        "a cup",
        "\u0416 " * 140_000 + "tea is hot",
        "the tea \u0416 fell " * 30_000,
        "\u0416 " * 70_000,
        "a cup",
    ]
    wide = weights_dtype == "float64"
    expected = Expected(
        embeddings, mapping(), weights(weights_dtype), None, True, "model2vec", wide
    )
    tokenizer_json = (folder / TOKENIZER).read_text()
    vectors = expected.vectors(tokenizer_json, texts, 5, False)
    assert_same_bits(Encoder(folder).encode(texts), vectors)
    assert_same_bits(Encoder(folder).encode(texts, threads=3), vectors)


@pytest.mark.parametrize("kernel", nibblevec.kernels())
def test_every_kernel(tmp_path: Path, kernel: str) -> None:
    embeddings = table("float16", 7, dim=300)
    tensors = {"embeddings": embeddings, "mapping": mapping(), "weights": weights("float32")}
    folder = write_model2vec(tmp_path / "model", tensors, config={"normalize": True})
    expected = Expected(
        decoded(embeddings), mapping(), weights("float32"), 512, True, "model2vec_float16"
    )
    encoder = Encoder(folder)
    out = np.empty((len(TEXTS), 299), np.float32)
    write_floats(
        encoder._model,
        encoder._tokenizer,
        tuple(TEXTS),
        encoder._truncation,
        out,
        normalize=True,
        kernel=kernel,
    )
    tokenizer_json = (folder / TOKENIZER).read_text()
    assert_same_bits(out, expected.vectors(tokenizer_json, TEXTS, 299, True))


# The norms by themselves

DIMS = [1, 2, 7, 8, 9, 15, 16, 17, 127, 128, 129, 136, 256, 257, 300, 1000, 1024]


def awkward_rows(dims: int) -> FloatArray:
    """Sizes from subnormal to huge, middles between float16s, zeros, and what is no number."""
    random = np.random.default_rng(dims)
    scales = np.array([1, 1e-3, 6e-5, 3e-6, 1e-8, 1e4, 1e-30, 1e30, 0])
    rows = random.standard_normal((9, dims)) * scales[:, None]
    middles = (1 + (2 * random.integers(0, 1024, (3, dims)) + 1) / 2048) * [[1], [2**-14], [30000]]
    tiny = (random.integers(0, 2048, (1, dims)) + 0.5) * 2**-24
    limits = random.choice([65504, 65519.996, 65520, -65520, 1e-8, -(2**-25)], (2, dims))
    strange = random.choice([np.inf, -np.inf, np.nan, 1.0], (2, dims))
    return np.concatenate([rows, middles, tiny, limits, strange]).astype(np.float32)


@pytest.mark.parametrize("kernel", nibblevec.kernels())
@pytest.mark.parametrize("dims", DIMS)
def test_norm_of_model2vec(dims: int, kernel: str) -> None:
    rows = awkward_rows(dims)
    for name in ("model2vec", "model2vec_float16"):
        out = rows.copy()
        counts = np.ones(len(rows), np.uint64)
        _core.apply_head(out, counts, normalization=name, kernel=kernel)
        oracle = {
            "model2vec": reference.normalize_model2vec,
            "model2vec_float16": reference.normalize_model2vec_float16,
        }[name]
        assert_same_bits(out, oracle(rows))


def test_norm_of_model2vec_is_that_of_numpy() -> None:
    for dims in DIMS:
        rows = awkward_rows(dims)
        with np.errstate(all="ignore"):
            expected = rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-32)
        assert_same_bits(reference.normalize_model2vec(rows), expected.astype(np.float32))
