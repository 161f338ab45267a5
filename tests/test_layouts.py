"""StaticEmbedding and Model2Vec: right ones give the bits of the oracle, whatever they hold."""

from __future__ import annotations

import json
import pickle
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import reference
import tokenizers
from bits import FloatArray, assert_same_bits
from click.testing import CliRunner
from numpy.typing import NDArray
from tiny_models import (
    GENERATIONS,
    MODEL,
    TOKENIZER,
    VOCABULARY,
    JsonObject,
    bpe_content,
    head_parts,
    head_vectors,
    safetensors_file,
    tokenizer_content,
    unigram_content,
    write_model,
    write_model2vec,
    write_static_embedding,
)

import nibblevec
from nibblevec import Encoder, _core
from nibblevec._cli import main
from nibblevec._layouts.loading import load_model
from nibblevec._vectors import write_floats

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


# StaticEmbedding


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_static_embedding(tmp_path: Path, generation: str, dtype: str, normalize: bool) -> None:
    weight = table(dtype)
    folder = write_static_embedding(
        tmp_path / "model",
        {"embedding.weight": weight},
        generation=generation,
        normalize=normalize,
    )
    norm = "torch" if normalize else None
    assert_expected(folder, Expected(decoded(weight), normalization=norm, wide=dtype == "float64"))


@pytest.mark.parametrize("direction", ["Left", "Right"])
@pytest.mark.parametrize("make_tokenizer", [tokenizer_content, bpe_content, unigram_content])
def test_static_embedding_whose_tokenizer_truncates(
    tmp_path: Path, make_tokenizer: Any, direction: str
) -> None:
    tokenizer = make_tokenizer()
    tokenizer["truncation"] = {
        "max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": direction
    }  # fmt: skip
    weight = table("float32")
    tensors = {"embedding.weight": weight}
    folder = write_static_embedding(
        tmp_path / "model", tensors, normalize=True, tokenizer=tokenizer
    )
    encoder = assert_expected(folder, Expected(decoded(weight), normalization="torch"))
    assert encoder.truncated_texts > 0
    assert encoder.max_seq_length == 4


def test_static_embedding_of_more_rows_than_tokens(tmp_path: Path) -> None:
    weight = table("float32", ROWS + 5)
    folder = write_static_embedding(tmp_path / "model", {"embedding.weight": weight})
    assert_expected(folder, Expected(decoded(weight)))


@pytest.mark.parametrize("weights_dtype", [None, "float32", "float64"])
@pytest.mark.parametrize("mapped", [False, True])
def test_static_embedding_with_the_tensors_of_model2vec(
    tmp_path: Path, mapped: bool, weights_dtype: str | None
) -> None:
    """Rows and weights as there, but unknown tokens count, and texts are as long as they are."""
    embeddings = table("float32", 7 if mapped else ROWS)
    tensors: Tensors = {"embeddings": embeddings}
    expected = Expected(decoded(embeddings))
    if mapped:
        tensors["mapping"] = mapping()
        expected = expected._replace(row_of_id=mapping())
    if weights_dtype is not None:
        tensors["weights"] = weights(weights_dtype)
        expected = expected._replace(weights=weights(weights_dtype))
    assert_expected(
        write_static_embedding(tmp_path / "model", tensors, generation="model2vec"), expected
    )


def test_float64_weights_with_a_tokenizer_of_the_package(tmp_path: Path) -> None:
    tokenizer = bpe_content()
    ids = len(tokenizer["model"]["vocab"])
    embeddings = table("float32", 7)
    tensors = {
        "embeddings": embeddings, "mapping": mapping(ids), "weights": weights("float64", ids)
    }  # fmt: skip
    folder = write_static_embedding(tmp_path / "model", tensors, tokenizer=tokenizer)
    assert_expected(folder, Expected(embeddings, mapping(ids), weights("float64", ids)))


def test_config_of_normalize_that_says_the_usual(tmp_path: Path) -> None:
    weight = table("float32")
    folder = write_static_embedding(
        tmp_path / "model", {"embedding.weight": weight}, normalize=True
    )
    (folder / "1_Normalize").mkdir()
    names = {"module_input_name": "sentence_embedding", "module_output_name": None}
    (folder / "1_Normalize" / "config.json").write_text(json.dumps(names))
    assert_expected(folder, Expected(decoded(weight), normalization="torch"))


# What config_sentence_transformers.json says

SETTINGS: JsonObject = {
    "model_type": "SentenceTransformer",
    "__version__": {"sentence_transformers": "6.2.0"},
    "prompts": {"query": "tea: ", "document": "", "other": "cup ", "none": None},
    "default_prompt_name": "other",
    "similarity_fn_name": "dot",
    "truncate_dim": 9,
}


@pytest.fixture
def prompted(tmp_path: Path) -> Path:
    tensors = {"embedding.weight": table("float32")}
    return write_static_embedding(tmp_path / "prompted", tensors, settings=SETTINGS)


def test_settings(prompted: Path, tmp_path: Path) -> None:
    bare = Encoder(
        write_static_embedding(tmp_path / "bare", {"embedding.weight": table("float32")})
    )
    assert (bare.prompts, bare.default_prompt_name) == ({"query": "", "document": ""}, None)
    encoder = Encoder(prompted)
    assert encoder.prompts == {"query": "tea: ", "document": "", "other": "cup ", "none": ""}
    assert encoder.default_prompt_name == "other"
    assert encoder.get_embedding_dimension() == 9

    def plain(prompt: str) -> FloatArray:
        return bare.encode([prompt + text for text in TEXTS], truncate_dim=9)

    assert_same_bits(encoder.encode(TEXTS), plain("cup "))
    assert_same_bits(encoder.encode(TEXTS, "query"), plain("tea: "))
    assert_same_bits(encoder.encode(TEXTS, None, "hot "), plain("hot "))
    assert_same_bits(encoder.encode(TEXTS, prompt_name="none"), plain(""))
    assert_same_bits(encoder.encode(TEXTS, prompt=""), plain(""))
    # As sentence-transformers has it: the prompt wins, and the name may then be any.
    assert_same_bits(encoder.encode(TEXTS, "nothing", "hot "), plain("hot "))
    assert_same_bits(encoder.encode(TEXTS[0]), plain("cup ")[0])
    assert encoder.encode(TEXTS, truncate_dim=DIM).shape == (len(TEXTS), DIM)
    with pytest.raises(ValueError, match="no prompt has the name 'nothing'; the model has 'query'"):
        encoder.encode(TEXTS, "nothing")
    with pytest.raises(TypeError, match="prompt is bytes, expected str"):
        encoder.encode(TEXTS, prompt=b"tea")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="text 1 is int"):
        encoder.encode(["tea", 3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="text 1 holds a lone surrogate at character 0"):
        encoder.encode(["tea", "\ud800"])


def test_arguments_win_over_settings(prompted: Path) -> None:
    encoder = Encoder(
        prompted, truncate_dim=DIM, prompts={"query": "a ", "new": "b "}, default_prompt_name="new"
    )
    assert encoder.prompts["query"] == "a "
    assert encoder.prompts["other"] == "cup "
    assert_same_bits(encoder.encode("tea"), encoder.encode("b tea", prompt=""))
    assert encoder.encode("tea").shape == (DIM,)
    again = pickle.loads(pickle.dumps(encoder))
    assert again.prompts == encoder.prompts
    assert_same_bits(again.encode("tea"), encoder.encode("tea"))
    with pytest.raises(ValueError, match="no prompt has the name 'nothing'"):
        Encoder(prompted, default_prompt_name="nothing")


def test_truncate_dim_beyond_the_table_keeps_all(tmp_path: Path) -> None:
    tensors = {"embedding.weight": table("float32")}
    settings = {"truncate_dim": DIM + 1}
    folder = write_static_embedding(tmp_path / "model", tensors, settings=settings)
    assert Encoder(folder).encode("tea").shape == (DIM,)


def test_similarity_of_tokens_is_none_of_vectors(tmp_path: Path) -> None:
    tensors = {"embedding.weight": table("float32")}
    settings = {"similarity_fn_name": "maxsim"}
    folder = write_static_embedding(tmp_path / "model", tensors, settings=settings)
    assert load_model(folder).similarity_fn_name is None


def test_settings_beside_a_quantised_model(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", dim=30)
    plain = Encoder(folder).encode("cup tea", truncate_dim=9)
    (folder / "config_sentence_transformers.json").write_text(json.dumps(SETTINGS))
    assert_same_bits(Encoder(folder).encode("tea"), plain)


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


# Which layout a folder has


def test_order_of_layouts(tmp_path: Path) -> None:
    """Whatever else lies there, the first layout of the list that the folder has is taken."""
    folder = write_static_embedding(
        tmp_path / "model", {"embeddings": table("float32")}, generation="model2vec"
    )
    (folder / "config.json").write_text("{}")
    assert load_model(folder).layout == "StaticEmbedding of sentence-transformers"
    modules = (folder / "modules.json").read_text()
    (folder / "modules.json").write_text(
        modules.replace("StaticEmbedding", "SparseStaticEmbedding")
    )
    assert load_model(folder).layout == "Model2Vec"
    (folder / "modules.json").unlink()
    assert load_model(folder).layout == "Model2Vec"
    (folder / "modules.json").write_text(modules)
    tensors = {**head_vectors(DIM), "embedding.weight": table("float32")}
    (folder / MODEL).write_bytes(safetensors_file(*head_parts(tensors)))
    assert load_model(folder).layout == "SSE, float"


@pytest.mark.parametrize("generation", ["3", "6"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_bare_static_embedding(tmp_path: Path, generation: str, dtype: str) -> None:
    """What `StaticEmbedding.save` writes: one module, or one route of a Router."""
    folder = write_static_embedding(
        tmp_path / "model", {"embedding.weight": table(dtype)}, generation=generation
    )
    expected = Encoder(folder).encode(TEXTS)
    (folder / "modules.json").unlink()
    if generation == "3":
        with pytest.raises(ValueError, match=r"there are models within: 0_StaticEmbedding$"):
            Encoder(folder)
        folder /= "0_StaticEmbedding"
    assert load_model(folder).layout == "StaticEmbedding of sentence-transformers, bare"
    assert np.array_equal(Encoder(folder).encode(TEXTS), expected)
    (folder / "config.json").write_text('{"anything": 1}')
    settings = {"prompts": {"query": "tea "}, "truncate_dim": 4}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    encoder = Encoder(folder)
    assert encoder.prompts["query"] == "tea "
    assert encoder.get_embedding_dimension() == 4


def test_bare_folder_within_a_model(tmp_path: Path) -> None:
    """The folder of a module gives what that module gives, without the norm that follows it."""
    weights = table("float32")
    folder = write_static_embedding(
        tmp_path / "model", {"embedding.weight": weights}, generation="3", normalize=True
    )
    bare = Encoder(folder / "0_StaticEmbedding").encode(TEXTS)
    assert not np.array_equal(bare, Encoder(folder).encode(TEXTS))
    other = write_static_embedding(tmp_path / "other", {"embedding.weight": weights})
    assert np.array_equal(bare, Encoder(other).encode(TEXTS))


def test_bare_tensors_of_model2vec(tmp_path: Path) -> None:
    """Without a config only sentence-transformers reads them: all tokens count."""
    tensors = {
        "embeddings": table("float32")[:5],
        "mapping": np.arange(ROWS) % 5,
        "weights": np.linspace(0.5, 2, ROWS, dtype=np.float32),
    }
    folder = write_static_embedding(tmp_path / "model", tensors)
    expected = Encoder(folder).encode(TEXTS)
    (folder / "modules.json").unlink()
    assert np.array_equal(Encoder(folder).encode(TEXTS), expected)
    (folder / "config.json").write_text("{}")
    assert load_model(folder).layout == "Model2Vec"


def test_bare_weight_counts_beside_tensors_of_model2vec(tmp_path: Path) -> None:
    tensors = {"embedding.weight": table("float32"), "weights": np.ones(ROWS, np.float32)}
    expected = Encoder(write_static_embedding(tmp_path / "whole", tensors)).encode(TEXTS)
    for number, more in enumerate(({}, {"embeddings": table("float16")})):
        folder = write_static_embedding(tmp_path / f"{number}", {**tensors, **more})
        (folder / "modules.json").unlink()
        assert np.array_equal(Encoder(folder).encode(TEXTS), expected)


def test_other_tensors_make_another_network(tmp_path: Path) -> None:
    tensors = {"embedding.weight": table("float32"), "lstm.weight": table("float32")}
    folder = write_static_embedding(tmp_path / "model", tensors)
    (folder / "modules.json").unlink()
    with pytest.raises(ValueError, match=r"embedding\.weight alone"):
        Encoder(folder)


def test_bare_folder_without_a_tokenizer(tmp_path: Path) -> None:
    folder = write_static_embedding(tmp_path / "model", {"embedding.weight": table("float32")})
    (folder / "modules.json").unlink()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        Encoder(folder)


def test_folder_of_another_model(tmp_path: Path) -> None:
    kinds = ["sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling"]
    modules = [{"type": kind, "path": ""} for kind in kinds]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"looked for embedding\.q4_k_m\.bin") as caught:
        Encoder(tmp_path)
    for name in ("dyt.alpha", "StaticEmbedding", "embeddings (Model2Vec)", f"names {kinds[0]}"):
        assert name in str(caught.value)


def test_folder_of_nothing_but_gguf_files(tmp_path: Path) -> None:
    for name in ("model.q4_k.gguf", "model.q6_k.GGUF", "README.md"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"by its own name: model\.q4_k\.gguf, model\.q6_k\.GGUF$"):
        Encoder(tmp_path)


MODEL2VEC_CONFIGS: dict[str, JsonObject] = {
    "distilled": {"model_type": "model2vec", "architectures": ["StaticModel"], "hidden_dim": DIM},
    "made of vectors": {"normalize": False, "max_length": 512, "embedding_dtype": "float32"},
    "first versions": {"tokenizer_name": "a/b", "apply_pca": 256, "seq_length": 1000000},
}


@pytest.mark.parametrize("config", MODEL2VEC_CONFIGS.values(), ids=MODEL2VEC_CONFIGS)
def test_folder_that_model2vec_wrote(tmp_path: Path, config: JsonObject) -> None:
    """It lists a StaticEmbedding in modules.json, and yet unknown tokens do not count."""
    embeddings = table("float32")
    folder = write_static_embedding(
        tmp_path / "model", {"embeddings": embeddings}, generation="model2vec"
    )
    (folder / "config.json").write_text(json.dumps(config))
    assert load_model(folder).layout == "Model2Vec"
    assert_expected(folder, Expected(embeddings, max_length=512, model2vec=True))
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    assert load_model(folder).layout == "StaticEmbedding of sentence-transformers"


# What is told of a model


def test_digest_covers_all_that_vectors_depend_on(tmp_path: Path) -> None:
    tensors: Tensors = {
        "embeddings": table("float32"), "mapping": mapping(), "weights": weights("float32")
    }  # fmt: skip
    other_mapping = mapping()
    other_mapping[-1] ^= 1
    other_weights = weights("float32")
    other_weights[-1] += 1
    variants: list[tuple[Tensors, JsonObject]] = [
        (tensors, {}),
        (tensors, {"max_length": 3}),
        (tensors, {"max_length": None}),
        (tensors, {"normalize": True}),
        ({**tensors, "mapping": other_mapping}, {}),
        ({**tensors, "weights": other_weights}, {}),
        ({**tensors, "weights": tensors["weights"].astype(np.float64)}, {}),
        ({"embeddings": tensors["embeddings"], "weights": tensors["weights"]}, {}),
        ({"embeddings": tensors["embeddings"], "mapping": tensors["mapping"]}, {}),
    ]
    digests = set()
    for number, (held, config) in enumerate(variants):
        folder = write_model2vec(tmp_path / str(number), held, config=config)
        digests.add(load_model(folder).digest())
    weight = {"embedding.weight": table("float32")}
    for number, settings in enumerate([{}, {"prompts": {"a": "b"}}, {"truncate_dim": 3}]):
        folder = write_static_embedding(tmp_path / f"s{number}", weight, settings=settings)
        digests.add(load_model(folder).digest())
    folder = write_static_embedding(tmp_path / "normalize", weight, normalize=True)
    digests.add(load_model(folder).digest())
    assert len(digests) == len(variants) + 4


def info(folder: Path) -> dict[str, str]:
    result = CliRunner().invoke(main, ["info", str(folder)])
    assert result.exit_code == 0, result.output
    lines = (line.split(":", 1) for line in result.output.splitlines())
    return {name: value.strip() for name, value in lines}


def test_info(tmp_path: Path, prompted: Path) -> None:
    told = info(prompted)
    assert told["layout"] == "StaticEmbedding of sentence-transformers"
    assert told["normalizes"] == "no"
    assert (
        told["prompts"] == "'query': 'tea: ', 'document': '', 'other': 'cup ' (default), 'none': ''"
    )
    assert told["similarity"] == "dot"
    assert told["dims"] == f"{DIM}, of which 9 are kept"
    assert "tokens" not in told
    tensors = {"embeddings": table("int8", 7), "mapping": mapping(), "weights": weights("float64")}
    folder = write_model2vec(
        tmp_path / "model2vec", tensors, config={"normalize": True, "max_length": 100}
    )
    told = info(folder)
    assert told["layout"] == "Model2Vec"
    assert told["row format"] == "int8"
    assert told["normalizes"] == "yes, as Model2Vec does"
    assert told["tokens"] == (
        "at most 100, texts cut by characters, unknown ones dropped, mapped to rows, weighted"
    )
    assert "prompts" not in told
