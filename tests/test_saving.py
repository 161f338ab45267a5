"""A model that was saved does what the one in memory does: it is equal, or saving is refused."""

from __future__ import annotations

import json
import os
import pickle
import re
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import assert_same_bits
from tiny_models import (
    VOCABULARY,
    bpe_content,
    head_vectors,
    tokenizer_content,
    unigram_content,
    write_model2vec,
    write_static_embedding,
)

from nibblevec import Encoder, Table
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.row_formats import in_row_format
from nibblevec._layouts.saving import save_model
from nibblevec._model import DynamicTanh, Model, TokenizerJson
from nibblevec._precision import RangesKey
from nibblevec._token_rules import TokenRules, Truncation

TEXTS = [
    "A cup of hot tea.", "the stock market fell", "", "unable, walking: 12 caf\u00e9s \u0416\u0416",
    "tea", "tea cup tea cup tea cup drink!", "xyz " * 9,
]  # fmt: skip
ROWS = len(VOCABULARY)

Chosen = dict[str, Any]


def f64_rows(rows: int = ROWS, dim: int = 8, seed: int = 1) -> Any:
    return np.random.default_rng(seed).standard_normal((rows, dim))


def said(encoder: Encoder) -> dict[str, Any]:
    """What an encoder says of itself."""
    return {
        "prompts": {name: text or "" for name, text in encoder.prompts.items()},
        "default": encoder.default_prompt_name,
        "dims": encoder.get_embedding_dimension(),
        "similarity": encoder.similarity_fn_name,
        "length": encoder.max_seq_length,
        "ranges": {kind: numbers.tolist() for kind, numbers in encoder.ranges.items()},
    }


def assert_does_the_same(again: Encoder, encoder: Encoder) -> None:
    options: dict[str, Any]
    for options in ({}, {"normalize_embeddings": True}, {"truncate_dim": 3}):
        assert_same_bits(again.encode(TEXTS, **options), encoder.encode(TEXTS, **options))
        assert again.truncated_texts == encoder.truncated_texts
    for name in encoder.prompts:
        assert_same_bits(again.encode(TEXTS, name), encoder.encode(TEXTS, name))
    assert_same_bits(again.encode_query(TEXTS), encoder.encode_query(TEXTS))
    assert_same_bits(again.encode_document(TEXTS), encoder.encode_document(TEXTS))
    for kind in encoder.ranges:
        options = {
            "precision": "int8",
            "truncate_dim": kind.dims,
            "normalize_embeddings": kind.normalized,
        }
        assert np.array_equal(again.encode(TEXTS, **options), encoder.encode(TEXTS, **options))
    assert said(again) == said(encoder)


def assert_saves_itself(encoder: Encoder, path: Path) -> bool:
    """Whether it was saved; else it was refused, and nothing is there."""
    refused = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            encoder.save_pretrained(path)
        except ValueError as error:
            refused = str(error)
    if refused:
        assert re.search("has no place for .+; a GGUF file has$", refused)
        assert not path.exists()
        return False
    again = Encoder(path)
    assert_does_the_same(again, encoder)
    for length in (4, None):  # as it goes on
        again.max_seq_length = encoder.max_seq_length = length
        assert_same_bits(again.encode(TEXTS), encoder.encode(TEXTS))
    return True


# Folders of others, with what has no like in memory


def static(tensors: dict[str, Any], **options: Any) -> Any:
    return lambda path: write_static_embedding(path, tensors, **options)


def model2vec(tensors: dict[str, Any], **config: Any) -> Any:
    return lambda path: write_model2vec(path, tensors, config={"normalize": True, **config})


MAPPING = np.random.default_rng(3).integers(0, 9, ROWS).astype(np.int32)
WEIGHTS = np.random.default_rng(4).standard_normal(ROWS)
TRUNCATION = {"direction": "Left", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
FOLDERS: dict[str, Any] = {
    "static, F64": static({"embedding.weight": f64_rows()}),
    "static, F64, normalised": static({"embedding.weight": f64_rows()}, normalize=True),
    "static, F64, mapped": static({"embeddings": f64_rows(9), "mapping": MAPPING}),
    "static, F64, weighted": static(
        {"embeddings": f64_rows(), "weights": WEIGHTS.astype(np.float32)}
    ),
    "static, F64, weighted in F64": static(
        {"embeddings": f64_rows(9), "weights": WEIGHTS, "mapping": MAPPING}
    ),
    "static, F16, weighted": static(
        {"embeddings": f64_rows(9).astype(np.float16), "weights": WEIGHTS.astype(np.float16),
         "mapping": MAPPING}
    ),
    "static, F16, weighted in F64": static(
        {"embeddings": f64_rows().astype(np.float16), "weights": WEIGHTS}
    ),
    "static, F16, mapped": static(
        {"embeddings": f64_rows(9).astype(np.float16), "mapping": MAPPING}
    ),
    "static, I8": static({"embeddings": (f64_rows() * 30).astype(np.int8)}),
    "static, cut": static(
        {"embedding.weight": f64_rows().astype(np.float32)},
        tokenizer={**tokenizer_content(), "truncation": TRUNCATION},
        settings={"prompts": {"query": None, "mine": None, "other": "tea "}},
    ),
    "model2vec, F64": model2vec({"embeddings": f64_rows()}),
    "model2vec, F64 not normalised": model2vec({"embeddings": f64_rows()}, normalize=False),
    "model2vec, F64, weighted": model2vec(
        {"embeddings": f64_rows(9), "weights": WEIGHTS.astype(np.float32), "mapping": MAPPING}
    ),
    "model2vec, F32, weighted in F64": model2vec(
        {"embeddings": f64_rows().astype(np.float32), "weights": WEIGHTS}
    ),
    "model2vec, F16": model2vec({"embeddings": f64_rows().astype(np.float16)}, max_length=4),
    "model2vec, F16, weighted in F16": model2vec(
        {"embeddings": f64_rows(9).astype(np.float16), "weights": WEIGHTS.astype(np.float16),
         "mapping": MAPPING}
    ),
    "model2vec, F16, weighted in F64": model2vec(
        {"embeddings": f64_rows(9).astype(np.float16), "weights": WEIGHTS, "mapping": MAPPING}
    ),
    "model2vec, I8, weighted in F16": model2vec(
        {"embeddings": (f64_rows() * 30).astype(np.int8), "weights": WEIGHTS.astype(np.float16)}
    ),
    "model2vec, BF16": model2vec(
        {"embeddings": (f64_rows().astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)}
    ),
    "model2vec, endless": model2vec({"embeddings": f64_rows()}, max_length=10**30),
}  # fmt: skip


@pytest.mark.parametrize("name", ["folder", "model.gguf"])
@pytest.mark.parametrize("case", FOLDERS)
def test_folders_of_others(tmp_path: Path, case: str, name: str) -> None:
    encoder = Encoder(FOLDERS[case](tmp_path / "source"))
    assert assert_saves_itself(encoder, tmp_path / name)


@pytest.mark.parametrize("case", ["static, F64", "model2vec, F64"])
def test_convert_keeps_float64_sums_where_nobody_says(tmp_path: Path, case: str) -> None:
    from click.testing import CliRunner

    from nibblevec._cli import main

    source = str(FOLDERS[case](tmp_path / "source"))
    for name, options in {"wide": [], "narrow": ["--format", "float32"]}.items():
        result = CliRunner().invoke(main, ["convert", source, str(tmp_path / name), *options])
        assert result.exit_code == 0, result.output
        model = load_model(tmp_path / name)
        assert model.wide_sums is (name == "wide")
        assert_same_bits(model.table.dequantize(), load_model(source).table.dequantize())
    sizes = [os.path.getsize(tmp_path / name / "model.safetensors") for name in ("wide", "narrow")]
    assert sizes[0] - sizes[1] == ROWS * 8 * 4


# What is said


@pytest.mark.parametrize(
    ("row_format", "name", "message"),
    [
        ("q4_k", "folder", "6048 bytes of q4_k become 43008 bytes of float32, since a StaticEmbeddi"
         "ng folder has no place for such rows; a name that ends in .gguf keeps them"),
        ("sse_q4", "folder", "5544 bytes of sse_q4 become 43008 bytes of float32, since a StaticEmb"
         "edding folder has no place for such rows; quantize='q4_k' packs the float model for a "
         "name that ends in .gguf"),
        ("sse_q4", "m.gguf", "5544 bytes of sse_q4 become 43008 bytes of float32, since a GGUF file"
         " has no place for such rows; quantize='q4_k' packs the float model for a name that ends i"
         "n .gguf"),
    ],
)  # fmt: skip
def test_a_table_that_grows_is_said(
    tmp_path: Path, row_format: str, name: str, message: str
) -> None:
    rows = f64_rows(dim=256).astype(np.float32)
    encoder = Encoder(
        write_static_embedding(tmp_path / "source", {"embedding.weight": rows}),
        quantize=row_format,
    )
    path = tmp_path / name
    with pytest.warns(UserWarning, match=f"^{re.escape(f'{path}: {message}')}$") as caught:
        encoder.save_pretrained(path)
    assert caught[0].filename == __file__
    assert_does_the_same(Encoder(path), encoder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="become"):
            encoder.save_pretrained(tmp_path / "not written")
        kept = Encoder(tmp_path / "source", quantize="q4_k")
        kept.save_pretrained(tmp_path / "kept.gguf")
    assert not (tmp_path / "not written").exists()
    assert_does_the_same(Encoder(tmp_path / "kept.gguf"), kept)


def test_rows_that_tokens_share_are_said_to_grow(tmp_path: Path) -> None:
    tensors = {"embeddings": f64_rows(9).astype(np.float16), "mapping": MAPPING}
    encoder = Encoder(write_static_embedding(tmp_path / "source", tensors))
    message = (
        "144 bytes of float16 become 672 bytes of float16, since .* wants a row for each token;"
    )
    with pytest.warns(UserWarning, match=message):
        encoder.save_pretrained(tmp_path / "model")


def test_the_norm_of_float16_means(tmp_path: Path) -> None:
    """A Model2Vec folder tells it by the type of its rows."""
    tensors = {"embeddings": f64_rows(dim=256).astype(np.float16)}
    source = write_model2vec(tmp_path / "source", tensors, config={"normalize": True})
    packed = Encoder(source, quantize="q6_k")
    with (
        pytest.warns(UserWarning, match="become"),
        pytest.raises(ValueError, match="no place for the norm of model2vec_float16; a GGUF file"),
    ):
        packed.save_pretrained(tmp_path / "model")
    assert os.listdir(tmp_path) == ["source"]
    packed.save_pretrained(tmp_path / "model.gguf")
    assert_does_the_same(Encoder(tmp_path / "model.gguf"), packed)


def test_only_the_truncation_of_a_tokenizer_changes(tmp_path: Path) -> None:
    content = json.dumps(unigram_content(), indent=1).replace("-2.5", "-2.50000000000000000001e0")
    tensors = {"embedding.weight": f64_rows(5).astype(np.float32)}
    source = write_static_embedding(tmp_path / "source", tensors)
    for number, text in enumerate((content, content.replace("{", '{"truncation" : null ,', 1))):
        (source / "tokenizer.json").write_text(text)
        encoder = Encoder(source)
        encoder.max_seq_length = 2
        saved = tmp_path / f"{number}"
        encoder.save_pretrained(saved)
        settings = (
            '{"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}'
        )
        new = (saved / "tokenizer.json").read_text()
        assert new == (
            text.replace("{", f'{{"truncation": {settings}, ', 1)
            if number == 0
            else text.replace("null", settings, 1)
        )
        assert Encoder(saved).max_seq_length == 2


def test_what_others_may_read_beside_the_settings(tmp_path: Path) -> None:
    """The keys that sentence-transformers writes."""
    rows = f64_rows().astype(np.float32)
    source = write_static_embedding(tmp_path / "source", {"embedding.weight": rows})
    Encoder(source, prompts={"query": "tea "}).save_pretrained(tmp_path / "model")
    settings = json.loads((tmp_path / "model" / "config_sentence_transformers.json").read_text())
    assert settings["model_type"] == "SentenceTransformer"
    assert set(settings.pop("__version__")) == {"nibblevec"}
    assert settings == {
        "model_type": "SentenceTransformer",
        "prompts": {"query": "tea "},
        "default_prompt_name": None,
        "similarity_fn_name": None,
    }


@pytest.mark.parametrize("normalize", [False, True])
def test_a_model2vec_folder_lists_its_modules(tmp_path: Path, normalize: bool) -> None:
    tensors = {"embeddings": f64_rows(9).astype(np.float32), "mapping": MAPPING}
    source = write_model2vec(tmp_path / "source", tensors, config={"normalize": normalize})
    Encoder(source).save_pretrained(tmp_path / "model")
    modules = json.loads((tmp_path / "model" / "modules.json").read_text())
    classes = [(module["type"].rpartition(".")[2], module["path"]) for module in modules]
    assert classes == [("StaticEmbedding", "."), ("Normalize", "1_Normalize")][: 1 + normalize]
    assert load_model(tmp_path / "model").layout == "Model2Vec"
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["vocabulary_quantization"] == 9


class Renamed(Encoder):
    def __init__(self, *, model_name_or_path: Any = None, **options: Any) -> None:
        super().__init__(model_name_or_path, **options)


def test_a_subclass_whose_constructor_takes_names_only(tmp_path: Path) -> None:
    rows = f64_rows().astype(np.float32)
    source = write_static_embedding(tmp_path / "source", {"embedding.weight": rows})
    encoder = Renamed(model_name_or_path=source)
    assert_does_the_same(pickle.loads(pickle.dumps(encoder)), encoder)


# Whatever a model may be


def a_tokenizer(choose: Any) -> TokenizerJson:
    content = choose([tokenizer_content(), tokenizer_content(), bpe_content(), unigram_content()])
    if choose([False, False, True]):
        direction = choose(["Left", "Right"])
        content["truncation"] = {**TRUNCATION, "direction": direction, "max_length": choose([2, 5])}
    return TokenizerJson("somewhere", json.dumps(content, indent=choose([None, 2])).encode())


def a_model(random: np.random.Generator) -> Model:
    """One of all that a GGUF file can hold."""

    def choose(things: list[Any]) -> Any:
        return things[int(random.integers(len(things)))]

    dim = choose([8, 8, 256])
    formats = ["float32", "float32", "float16", "bfloat16", "int8"]
    row_format = choose([*formats, "q4_k", "q6_k"] if dim == 256 else formats)
    ids = ROWS + choose([0, 0, 3])
    mapped, weighted = choose([False, False, True]), choose([None, None, "float32", "float64"])
    rows = 9 if mapped else ids
    weights = Table.from_buffer(random.standard_normal((rows, dim), np.float32), dim=dim,
                                format="float32")  # fmt: skip
    table = Table.from_buffer(
        random.integers(-127, 128, (rows, dim)).astype(np.int8), dim=dim, format="int8"
    )
    if row_format != "int8":
        table = in_row_format(weights, row_format)
    rules = TokenRules(
        truncation=choose([None, None, Truncation(), Truncation(3), Truncation(3, True)]),
        cuts_characters=choose([False, True]),
        drops_unknown=choose([False, True]),
        row_of_id=random.integers(0, rows, ids).astype(np.uint32) if mapped else None,
        weight_of_id=random.standard_normal(ids).astype(weighted) if weighted else None,
    )
    has_dynamic_tanh = choose([False, False, True])
    norms = [None, None, "torch", "model2vec", "model2vec_float16"]
    is_plain = choose([True, True, False])  # as folders are
    if is_plain:
        drops = rules.drops_unknown and not has_dynamic_tanh
        cut = choose([Truncation(), Truncation(5)]) if drops else None
        rules = rules._replace(truncation=cut, cuts_characters=drops, drops_unknown=drops)
        own = "model2vec_float16" if row_format == "float16" else "model2vec"
        norms = [None] if has_dynamic_tanh else [None, own if drops else "torch"]
    prompts: dict[str, str] = choose(
        [{}, {}, {}, {"query": "tea ", "mine": ""}, {"document": "", "a": "cup "}]
    )
    ranges: Any = {}
    if choose([False, True]):
        ranges = {RangesKey(choose([False, True]), 5): np.array([[-1] * 5, [1] * 5], np.float32)}
    return Model(
        "test",
        table,
        a_tokenizer(choose),
        DynamicTanh(*head_vectors(dim).values()) if has_dynamic_tanh else None,
        choose(norms),
        rules,
        wide_sums=choose([False, False, True]) and not (is_plain and has_dynamic_tanh),
        prompts=prompts,
        default_prompt_name=choose([None, None, *prompts, "query"]),
        similarity_fn_name=choose([None, None, "cosine", "dot"]),
        truncate_dim=choose([None, None, 6]),
        ranges=ranges,
        name=choose([None, "a name"]),
    )


def an_encoder(random: np.random.Generator, folder: Path) -> Encoder:
    """One that was told what to do otherwise, too."""

    def choose(things: list[Any]) -> Any:
        return things[int(random.integers(len(things)))]

    path = folder / "source.gguf"
    model = a_model(random)
    save_model(model, str(path), "gguf")
    floats = model.table.format in ("float32", "float16", "bfloat16", "int8")
    packs = [None, None, "sse_q4", *(["q4_k", "q6_k"] if model.table.dim == 256 else [])]
    encoder = Encoder(path, quantize=choose(packs) if floats else None)
    if choose([True, False, False]):
        encoder.prompts.update(choose([{"new": ""}, {"new": None}, {"new": "market "}]))
        encoder.default_prompt_name = choose([None, "new", "document"])
    if choose([True, False, False]):
        encoder.truncate_dim = choose([None, 4])
    if choose([True, False]):
        encoder.max_seq_length = choose([None, 1, 4, 1 << 70])
    if choose([True, False, False]):
        encoder.similarity_fn_name = choose([None, "cosine", "euclidean"])
    if choose([True, False]):
        with suppress(ValueError):  # vectors without a token
            encoder.fit_ranges(TEXTS, truncate_dim=choose([None, 4]))
    return encoder


@pytest.mark.parametrize("name", ["folder", "model.gguf"])
def test_whatever_a_model_may_be(tmp_path: Path, name: str) -> None:
    saved = 0
    for seed in range(int(os.environ.get("NIBBLEVEC_TEST_SAVES", "25"))):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        with np.errstate(over="ignore"):
            encoder = an_encoder(np.random.default_rng(seed), folder)
        try:
            saved += assert_saves_itself(encoder, folder / name)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    assert saved >= 6 if name == "folder" else saved == seed + 1


@pytest.mark.parametrize("name", ["folder", "m.gguf"])
def test_rows_that_a_load_made_more_are_told_of(tmp_path: Path, name: str) -> None:
    """Vocabulary quantisation of a float16 model: few rows, float16 weights."""
    tensors: dict[str, Any] = {
        "embeddings": np.ones((3, 64), np.float16),
        "mapping": np.arange(len(VOCABULARY)) % 3,
        "weights": np.linspace(0.5, 1, len(VOCABULARY)).astype(np.float16),
    }
    encoder = Encoder(write_model2vec(tmp_path / "model", tensors))
    sizes = f"384 bytes of the model's files become {len(VOCABULARY) * 128} bytes of float16"
    with pytest.warns(UserWarning, match=sizes) as caught:
        encoder.save_pretrained(tmp_path / name)
    assert [warning.filename for warning in caught] == [__file__]
    again = Encoder(tmp_path / name)
    assert (again.encode(["tea", "a cup"]) == encoder.encode(["tea", "a cup"])).all()


def test_a_prompt_that_is_no_str_is_named_before_anything_is_written(tmp_path: Path) -> None:
    encoder = Encoder()
    encoder.prompts["x"] = 3  # type: ignore[assignment]
    with pytest.raises(TypeError, match="the prompt 'x' is int, expected str"):
        encoder.save_pretrained(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
