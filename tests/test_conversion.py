"""Models from one layout into another: what is kept, what is refused, and what is left behind."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from bits import assert_same_bits
from click.testing import CliRunner, Result
from tables import FORMATS, SUPERBLOCK_FORMATS, random_table
from tiny_gguf import TABLE as GGUF_TABLE
from tiny_gguf import gguf_bytes, head_tensors, model_keys, table_tensor
from tiny_models import (
    TABLE,
    TOKENIZER,
    VOCABULARY,
    head_vectors,
    tokenizer_content,
    write_model,
)

from nibblevec import Encoder, Table
from nibblevec._cli import main
from nibblevec._layouts import conversion
from nibblevec._layouts.distance import distance
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.registry import WRITTEN
from nibblevec._layouts.row_formats import fitting_format, in_row_format, with_row_by_id
from nibblevec._layouts.saving import fitting_layout, save_model
from nibblevec._layouts.tokenizers import load_tokenizer_of
from nibblevec._model import DynamicTanh, Model, TokenizerJson
from nibblevec._token_rules import NO_RULES, TokenRules, Truncation
from nibblevec._vectors import write_floats

DIM = 256
ROWS = len(VOCABULARY)
TEXTS = ["A cup of hot tea.", "the stock market fell", "", "unable, walking: 12 caf\u00e9s", "tea"]

posix_only = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


def tokenizer(**changes: Any) -> TokenizerJson:
    content = json.dumps({**tokenizer_content(), **changes}).encode()
    return TokenizerJson("somewhere", content)


def without_unknown() -> TokenizerJson:
    """Characters, of which each is known."""
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2}, "merges": []}
    return TokenizerJson("somewhere", json.dumps({"version": "1.0", "model": model}).encode())


def sse_model(row_format: str = "float32", dim: int = DIM, **fields: Any) -> Model:
    content, _ = random_table(row_format, ROWS, dim, np.random.default_rng(dim))
    table = Table.from_buffer(content, dim=dim, format=row_format)  # type: ignore[arg-type]
    return Model("test", table, tokenizer(), DynamicTanh(*head_vectors(dim).values()), **fields)


def plain_model(row_format: str = "float32", **fields: Any) -> Model:
    return sse_model(row_format)._replace(dynamic_tanh=None, **fields)


MODEL2VEC_RULES = TokenRules(Truncation(5), cuts_characters=True, drops_unknown=True)
MAPPING = np.random.default_rng(3).integers(0, ROWS, ROWS).astype(np.uint32)
WEIGHTS = np.random.default_rng(4).standard_normal(ROWS).astype(np.float32)
SETTINGS: dict[str, Any] = {
    "prompts": {"query": "tea: ", "caf\u00e9": ""},
    "default_prompt_name": "query",
    "similarity_fn_name": "dot",
    "truncate_dim": 100,
}


def said_to_grow() -> Any:
    return pytest.warns(UserWarning, match=r"[0-9]+ bytes of \w+ become [0-9]+ bytes of float")


def vectors_of(model: Model) -> Any:
    tokens = load_tokenizer_of(model)
    out = np.empty((len(TEXTS), model.table.dim), np.float32)
    write_floats(model, tokens, tuple(TEXTS), tokens.truncation, out, normalize=False)
    return out


def written(model: Model, path: Path, layout: str, row_format: str | None = None) -> Model:
    save_model(model, str(path), layout, row_format)
    return load_model(path)


def assert_same_settings(model: Model, other: Model) -> None:
    for field in (
        "normalization", "default_prompt_name", "similarity_fn_name", "truncate_dim",
    ):  # fmt: skip
        assert getattr(model, field) == getattr(other, field)
    assert dict(model.prompts) == dict(other.prompts)
    assert model.tokenizer_json.read() == other.tokenizer_json.read()


# What is kept


@pytest.mark.parametrize("row_format", ["float32", "float16", "bfloat16", "sse_q4"])
@pytest.mark.parametrize("settings", [{}, SETTINGS], ids=["bare", "settings"])
def test_sse_folder(tmp_path: Path, row_format: str, settings: dict[str, Any]) -> None:
    model = sse_model(row_format, **settings)
    again = written(model, tmp_path / "model", "sse")
    assert again.layout == ("SSE, 4-bit" if row_format == "sse_q4" else "SSE, float")
    assert again.table.format == row_format
    assert bytes(again.table.buffer) == bytes(model.table.buffer)
    assert_same_bits(vectors_of(again), vectors_of(model))
    assert_same_settings(again, model)


GGUF_FORMATS = ("float32", "float16", "bfloat16", "int8", "q4_k", "q6_k")
GGUF_MODELS: dict[str, Callable[[str], Model]] = {
    "SSE": sse_model,
    "settings": lambda row_format: sse_model(
        row_format, **SETTINGS, name="a name", license="apache-2.0"
    ),
    "no head": plain_model,
    "normalised": lambda row_format: plain_model(row_format, normalization="torch"),
    "Model2Vec": lambda row_format: plain_model(
        row_format, normalization="model2vec", token_rules=MODEL2VEC_RULES
    ),
    "mapping": lambda row_format: plain_model(
        row_format,
        normalization="model2vec_float16",
        token_rules=TokenRules(
            Truncation(None), drops_unknown=True, row_of_id=MAPPING, weight_of_id=WEIGHTS
        ),
        tokenizer_json=tokenizer(
            truncation={
                "max_length": 2,
                "strategy": "LongestFirst",
                "stride": 0,
                "direction": "Right",
            }
        ),
    ),
    "float64 weights": lambda row_format: plain_model(
        row_format, token_rules=TokenRules(weight_of_id=WEIGHTS.astype(np.float64) * 1.1)
    ),
    "wide": lambda row_format: plain_model(
        row_format,
        token_rules=TokenRules(weight_of_id=WEIGHTS.astype(np.float64) * 1.1),
        wide_sums=True,
    ),
    "wide sums of narrow weights": lambda row_format: plain_model(
        row_format, token_rules=TokenRules(weight_of_id=WEIGHTS), wide_sums=True
    ),
    "end": lambda row_format: sse_model(
        row_format, token_rules=TokenRules(Truncation(2, keep_end=True))
    ),
}


@pytest.mark.parametrize("case", GGUF_MODELS)
@pytest.mark.parametrize("row_format", GGUF_FORMATS)
def test_gguf_file(tmp_path: Path, case: str, row_format: str) -> None:
    model = GGUF_MODELS[case](row_format)
    again = written(model, tmp_path / "model.gguf", "gguf")
    assert (again.layout, again.table.format) == ("GGUF", row_format)
    assert bytes(again.table.buffer) == bytes(model.table.buffer)
    assert_same_bits(vectors_of(again), vectors_of(model))
    assert_same_settings(again, model)
    assert (again.name, again.license) == (model.name, model.license)
    for rule, kept in zip(model.token_rules, again.token_rules, strict=True):
        assert np.array_equal(rule, kept)  # type: ignore[arg-type]
    assert again.wide_sums == model.wide_sums


@pytest.mark.parametrize("normalization", [None, "torch"])
@pytest.mark.parametrize("row_format", ["float32", "float16", "bfloat16"])
def test_static_embedding_folder(tmp_path: Path, row_format: str, normalization: Any) -> None:
    model = sse_model(row_format)._replace(
        dynamic_tanh=None, normalization=normalization, **SETTINGS
    )
    again = written(model, tmp_path / "model", "static")
    assert again.layout == "StaticEmbedding of sentence-transformers"
    assert again.table.format == row_format
    assert_same_bits(vectors_of(again), vectors_of(model))
    assert_same_settings(again, model)


@pytest.mark.parametrize("layout", ["static", "sse"])
def test_rows_of_ids_are_written_one_for_each(tmp_path: Path, layout: str) -> None:
    dynamic_tanh = DynamicTanh(*head_vectors(DIM).values()) if layout == "sse" else None
    for rules in (
        TokenRules(row_of_id=MAPPING),
        TokenRules(weight_of_id=WEIGHTS),
        TokenRules(row_of_id=MAPPING, weight_of_id=WEIGHTS),
    ):
        model = sse_model("float16")._replace(dynamic_tanh=dynamic_tanh, token_rules=rules)
        again = written(model, tmp_path / f"model{id(rules)}", layout)
        assert (again.table.format, again.token_rules.ids) == ("float32", None)
        assert_same_bits(vectors_of(again), vectors_of(model))
        assert distance(model, again).rmse < 1e-7


@pytest.mark.parametrize("row_format", ["float32", "float16", "int8"])
@pytest.mark.parametrize("length", [None, 5])
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("normalized", [False, True])
def test_model2vec_folder(
    tmp_path: Path, row_format: str, length: int | None, mapped: bool, normalized: bool
) -> None:
    normalization: Any = None
    if normalized:
        normalization = "model2vec_float16" if row_format == "float16" else "model2vec"
    rules = MODEL2VEC_RULES._replace(truncation=Truncation(length))
    if mapped:
        rules = rules._replace(row_of_id=MAPPING, weight_of_id=WEIGHTS.astype(np.float64))
    model = sse_model(row_format)._replace(
        dynamic_tanh=None, normalization=normalization, token_rules=rules, wide_sums=mapped
    )
    again = written(model, tmp_path / "model", "model2vec")
    assert (again.layout, again.table.format) == ("Model2Vec", row_format)
    assert_same_bits(vectors_of(again), vectors_of(model))
    assert_same_settings(again, model)


def test_static_embedding_without_an_unknown_token_as_model2vec(tmp_path: Path) -> None:
    table = Table.from_buffer(np.eye(3, dtype=np.float32), dim=3, format="float32")
    model = Model("test", table, without_unknown(), normalization="torch")
    again = written(model, tmp_path / "model", "model2vec")
    assert again.layout == "Model2Vec"
    texts = ("abc", "aab", "", "c" * 5000)
    for one in (model, again):
        tokens = load_tokenizer_of(one)
        out = np.empty((4, 3), np.float32)
        write_floats(one, tokens, texts, tokens.truncation, out, normalize=False)
        np.testing.assert_allclose(
            out, [[3**-0.5] * 3, [0.8**0.5, 0.2**0.5, 0], [0] * 3, [0, 0, 1]], atol=1e-7
        )


@pytest.mark.parametrize("weighted", [False, True])
def test_rows_beyond_the_last_id_have_a_mapping_in_model2vec(
    tmp_path: Path, weighted: bool
) -> None:
    """Without it that package wants exactly a row for each token."""
    rows = np.random.default_rng(1).standard_normal((ROWS + 9, DIM), np.float32)
    weights = np.random.default_rng(2).standard_normal(ROWS + 9).astype(np.float32)
    rules = MODEL2VEC_RULES._replace(weight_of_id=weights if weighted else None)
    table = Table.from_buffer(rows, dim=DIM, format="float32")
    model = plain_model(token_rules=rules)._replace(table=table)
    again = written(model, tmp_path / "model", "model2vec")
    assert again.table.rows == ROWS + 9
    assert np.array_equal(again.token_rules.row_of_id, np.arange(ROWS + 9))  # type: ignore[arg-type]
    assert_same_bits(vectors_of(again), vectors_of(model))
    again = written(plain_model(token_rules=MODEL2VEC_RULES), tmp_path / "exact", "model2vec")
    assert again.token_rules.row_of_id is None


def test_every_pair_of_layouts(tmp_path: Path) -> None:
    """From each layout into each, and on into a GGUF file: the same vectors, or a refusal."""
    models = {
        "sse": sse_model(),
        "static": plain_model(normalization="torch"),
        "model2vec": plain_model(normalization="model2vec", token_rules=MODEL2VEC_RULES),
        "gguf": sse_model(),
    }
    possible = {
        ("sse", "sse"), ("sse", "gguf"), ("static", "static"), ("static", "gguf"),
        ("model2vec", "model2vec"), ("model2vec", "gguf"), ("gguf", "gguf"), ("gguf", "sse"),
    }  # fmt: skip
    for source, model in models.items():
        suffix = ".gguf" if source == "gguf" else ""
        first = written(model, tmp_path / f"{source}{suffix}", source)
        for layout in WRITTEN:
            path = tmp_path / f"{source}.{layout}"
            if (source, layout) not in possible:
                with pytest.raises(ValueError, match="has no place for"):
                    save_model(first, str(path), layout)
                assert not path.exists()
                continue
            assert_same_bits(vectors_of(written(first, path, layout)), vectors_of(model))
            last = written(load_model(path), tmp_path / f"{path.name}.back", "gguf")
            assert_same_bits(vectors_of(last), vectors_of(model))


def test_rows_beyond_the_last_id_are_left_out_of_a_4_bit_folder(tmp_path: Path) -> None:
    content, _ = random_table("sse_q4", ROWS + 9, DIM, np.random.default_rng(1))
    model = sse_model()._replace(table=Table.from_buffer(content, dim=DIM, format="sse_q4"))
    again = written(model, tmp_path / "model", "sse")
    assert again.table.rows == ROWS
    assert_same_bits(vectors_of(again), vectors_of(model))
    assert distance(model, again).rmse == 0


def test_what_the_package_reads(tmp_path: Path) -> None:
    model = sse_model("float16")
    written(model, tmp_path / "model", "sse")
    path = tmp_path / "model" / "model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    assert set(tensors) == {"embedding.weight", "dyt.alpha", "dyt.beta", "dyt.bias"}
    assert tensors["embedding.weight"].tobytes() == bytes(model.table.buffer)
    for name, vector in head_vectors(DIM).items():
        assert_same_bits(tensors[name], vector)


# What is refused


REFUSED: dict[str, tuple[str, Model, str]] = {
    "no head": ("sse", plain_model(), "vectors without a Dynamic Tanh"),
    "normalised": ("sse", sse_model(normalization="torch"), "vectors that the model itself scales"),
    "length": (
        "sse", sse_model(token_rules=TokenRules(Truncation(3))), "a limit of tokens besides",
    ),
    "characters": (
        "sse", sse_model(token_rules=TokenRules(cuts_characters=True)), "texts cut by their char",
    ),
    "unknown": (
        "sse", sse_model(token_rules=TokenRules(drops_unknown=True)), "unknown tokens that do not",
    ),
    "head": ("static", sse_model(), "a Dynamic Tanh"),
    "several": (
        "static",
        sse_model(token_rules=MODEL2VEC_RULES),
        "a Dynamic Tanh, nor for a limit of tokens .*, nor for texts cut .*, nor for unknown",
    ),
    "head, Model2Vec": ("model2vec", sse_model(token_rules=MODEL2VEC_RULES), "a Dynamic Tanh"),
    "unknown counts": ("model2vec", plain_model(), "unknown tokens that count"),
    "truncation": (
        "model2vec",
        plain_model(
            token_rules=TokenRules(drops_unknown=True),
            tokenizer_json=tokenizer(
                truncation={"max_length": 2, "strategy": "LongestFirst", "stride": 0}
            ),
        ),
        "a truncation in tokenizer.json",
    ),
    "end": (
        "model2vec",
        plain_model(token_rules=MODEL2VEC_RULES._replace(truncation=Truncation(2, True))),
        "texts cut at their beginning",
    ),
    "tokens only": (
        "model2vec",
        plain_model(token_rules=MODEL2VEC_RULES._replace(cuts_characters=False)),
        "texts cut by their tokens only",
    ),
    "prompts": (
        "model2vec",
        plain_model(token_rules=MODEL2VEC_RULES, **SETTINGS),
        "prompts, nor for a default prompt, nor for another similarity .*, nor for a number",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_layout_has_no_place_for(tmp_path: Path, case: str) -> None:
    layout, model, message = REFUSED[case]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / TABLE).write_bytes(b"old")
    for name in ("new", "full"):
        with pytest.raises(ValueError, match=message):
            save_model(model, str(tmp_path / name), layout)
    assert os.listdir(tmp_path) == ["full"]
    assert os.listdir(tmp_path / "full") == [TABLE]
    assert (tmp_path / "full" / TABLE).read_bytes() == b"old"


@pytest.mark.parametrize("layout", WRITTEN)
@pytest.mark.parametrize("row_format", FORMATS)
def test_rows_that_a_layout_does_not_hold(tmp_path: Path, layout: str, row_format: str) -> None:
    model = sse_model(row_format)
    if row_format in WRITTEN[layout].row_formats:
        return
    with pytest.raises(ValueError, match=f"holds no rows of {row_format}, only of"):
        save_model(model, str(tmp_path / "model"), layout)
    assert os.listdir(tmp_path) == []


# Tables


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", ["float32", "float16", "bfloat16"])
def test_tables_in_floats(source: str, target: str) -> None:
    content, _ = random_table(source, ROWS, DIM, np.random.default_rng(8))
    if source in SUPERBLOCK_FORMATS:  # the greatest of their weights are beyond float16
        blocks = np.frombuffer(content, np.uint8).reshape(-1, SUPERBLOCK_FORMATS[source][0]).copy()
        for place in SUPERBLOCK_FORMATS[source][1]:
            blocks[:, place + 1] &= 0xBF  # below 2
        content = blocks.tobytes()
    table = Table.from_buffer(content, dim=DIM, format=source)  # type: ignore[arg-type]
    converted = in_row_format(table, target)
    assert converted.format == target
    rows = table.dequantize()
    if target == "float16":
        rows = rows.astype(np.float16).astype(np.float32)
    elif target == "bfloat16":  # by an exact sum of halves of the last place, half to even
        upper = rows.view(np.uint32) & 0xFFFF0000
        rest = rows.view(np.uint32) & 0xFFFF
        odd = upper >> 16 & 1
        rows = (
            (upper + ((rest > 0x8000) | (rest == 0x8000) & (odd == 1)) * 0x10000)
            .astype(np.uint32)
            .view(np.float32)
        )
    assert_same_bits(converted.dequantize(), rows)
    assert (converted is table) == (source == target)


@pytest.mark.parametrize("row_format", ["sse_q4", "q4_k", "q6_k"])
def test_packed_tables(row_format: Any) -> None:
    table = sse_model().table
    packed = in_row_format(table, row_format, threads=1)
    assert packed.format == row_format
    expected = Table.quantize(table.dequantize(), row_format)
    assert bytes(packed.buffer) == bytes(expected.buffer)


@pytest.mark.parametrize(("target", "weight"), [("float16", 1e5), ("bfloat16", 3.4e38)])
def test_weights_that_are_too_large(target: str, weight: float) -> None:
    weights = np.ones((3, 4), np.float32)
    weights[1, 2] = weight
    table = Table.from_buffer(weights, dim=4, format="float32")
    with pytest.raises(ValueError, match=f"at row 1, dim 2 is no {target}"):
        in_row_format(table, target)
    with pytest.raises(ValueError, match="cannot be written as int8"):
        in_row_format(table, "int8")


@pytest.mark.parametrize(
    ("source", "dim", "layout", "expected"),
    [
        ("float32", 256, "gguf", "float32"),
        ("sse_q4", 256, "gguf", "q4_k"),
        ("sse_q4", 254, "gguf", "float32"),
        ("q6_k", 256, "gguf", "q6_k"),
        ("q4_k", 256, "sse", "sse_q4"),
        ("bfloat16", 256, "sse", "bfloat16"),
        ("int8", 255, "sse", "float32"),
        ("q4_k", 256, "static", "float32"),
        ("bfloat16", 256, "model2vec", "float32"),
    ],
)
def test_format_where_nobody_says(source: str, dim: int, layout: str, expected: str) -> None:
    table = sse_model(source, dim).table
    assert fitting_format(table, WRITTEN[layout].row_formats) == expected


def test_layout_where_nobody_says() -> None:
    rules = MODEL2VEC_RULES
    assert fitting_layout(sse_model(), "a.GGUF") == "gguf"
    assert fitting_layout(sse_model(), "folder") == "sse"
    assert fitting_layout(plain_model(), "folder") == "static"
    assert fitting_layout(plain_model(token_rules=rules), "folder") == "model2vec"


def test_distance() -> None:
    rows = np.array([[3, 4], [0, 0], [1, 0], [0, 0], [2, 2]], np.float32)
    others = np.array([[4, 3], [0, 0], [0, 1], [1, 0], [2, 2], [9, 9]], np.float32)
    models = [
        Model("test", Table.from_buffer(r, dim=2, format="float32"), tokenizer())
        for r in (rows, others)
    ]
    apart = distance(*models)
    assert apart.rmse == pytest.approx((5 / 10) ** 0.5)
    assert apart.mean_cosine == pytest.approx((0.96 + 1 + 0 + 0 + 1) / 5)
    assert apart.least_cosine == 0


def test_distance_of_ids() -> None:
    rules = TokenRules(row_of_id=MAPPING, weight_of_id=WEIGHTS)
    model = sse_model()._replace(token_rules=rules)
    flat = with_row_by_id(model)
    assert flat.token_rules == NO_RULES
    assert_same_bits(flat.table.dequantize(), model.table.dequantize(MAPPING) * WEIGHTS[:, None])
    apart = distance(model, flat)
    assert apart.rmse < 1e-7
    assert apart.least_cosine == pytest.approx(1)


# Folders and files


def test_save_pretrained(tmp_path: Path) -> None:
    source = write_model(tmp_path / "source")
    encoder = Encoder(source, prompts={"query": "tea: "})
    for name, row_format in (("folder/in/a/folder", "sse_q4"), ("model.gguf", "float32")):
        with said_to_grow() if row_format == "float32" else nullcontext():
            encoder.save_pretrained(tmp_path / name)
        assert load_model(str(tmp_path / name)).table.format == row_format
        again = Encoder(tmp_path / name)
        assert_same_bits(again.encode(TEXTS), encoder.encode(TEXTS))
        queries = again.encode(TEXTS, prompt_name="query")
        assert_same_bits(queries, encoder.encode(TEXTS, prompt_name="query"))
    path = tmp_path / "float.gguf"
    path.write_bytes(gguf_bytes(model_keys(), gguf_tensors()))
    Encoder(path).save_pretrained(tmp_path / "again.gguf")
    assert_same_bits(Encoder(tmp_path / "again.gguf").encode(TEXTS), Encoder(path).encode(TEXTS))


@pytest.mark.parametrize("name", ["folder", "model.gguf"])
def test_dims_are_saved(tmp_path: Path, name: str) -> None:
    encoder = Encoder(write_model(tmp_path / "source"), truncate_dim=9)
    with said_to_grow() if name == "model.gguf" else nullcontext():
        encoder.save_pretrained(tmp_path / name)
    again = Encoder(tmp_path / name)
    assert again.truncate_dim == 9
    assert_same_bits(again.encode(TEXTS), encoder.encode(TEXTS))
    for dims in (None, again.table.dim):  # all
        again.truncate_dim = dims
        again.save_pretrained(tmp_path / name)
        assert Encoder(tmp_path / name).truncate_dim is None
    again.truncate_dim = 8
    again.save_pretrained(tmp_path / name)
    assert Encoder(tmp_path / name).truncate_dim == 8


def test_nothing_is_saved_under_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(write_model(tmp_path / "source"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ValueError, match="the name of a model is empty"):
        encoder.save_pretrained("")
    assert os.listdir() == []


def gguf_tensors(dim: int = DIM) -> Any:
    return {GGUF_TABLE: table_tensor(dim)[0], **head_tensors(dim)}


@pytest.mark.parametrize("mmap", [True, False])
def test_a_model_is_saved_onto_its_own_source(tmp_path: Path, mmap: bool) -> None:
    folder = write_model(tmp_path / "folder")
    (folder / "README.md").write_text("mine")
    (folder / "1_Pooling").mkdir()
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes(model_keys(), gguf_tensors()))
    for source in (folder, path):
        encoder = Encoder(source, mmap=mmap)
        vectors = encoder.encode(TEXTS)
        for _ in range(2):
            encoder.save_pretrained(source)
            assert_same_bits(encoder.encode(TEXTS), vectors)
            assert_same_bits(Encoder(source).encode(TEXTS), vectors)
    assert (folder / "README.md").read_text() == "mine"
    assert sorted(os.listdir(folder)) == sorted(
        [TABLE, "model_rest.safetensors", TOKENIZER, "README.md", "1_Pooling"]
    )
    assert sorted(os.listdir(tmp_path)) == ["folder", "model.gguf"]


def test_old_files_of_another_layout_go(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_model(sse_model("sse_q4", **SETTINGS), str(folder), "sse")
    save_model(plain_model(token_rules=MODEL2VEC_RULES), str(folder), "model2vec")
    assert load_model(folder).layout == "Model2Vec"
    save_model(plain_model(), str(folder), "static")
    assert load_model(folder).layout == "StaticEmbedding of sentence-transformers"
    save_model(sse_model(), str(folder), "sse")
    assert load_model(folder).layout == "SSE, float"
    assert sorted(os.listdir(folder)) == ["model.safetensors", TOKENIZER]


@pytest.mark.parametrize("content", ['{"model_type": "bert"}', "{}", "[tea]"])
def test_a_config_of_something_else_stays(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "model"
    for model, layout in ((sse_model(), "sse"), (plain_model(), "static")):
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(content)
        save_model(model, str(folder), layout)
        assert (folder / "config.json").read_text() == content
        assert_same_bits(vectors_of(load_model(folder)), vectors_of(model))


def test_the_config_of_an_old_normalize_goes(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    config = folder / "1_Normalize" / "config.json"
    config.parent.mkdir(parents=True)
    config.write_text('{"module_input_name": "token_embeddings"}')
    (config.parent / "note").write_text("mine")
    model = plain_model(normalization="torch")
    assert_same_bits(vectors_of(written(model, folder, "static")), vectors_of(model))
    assert os.listdir(config.parent) == ["note"]


@posix_only
def test_permissions_are_the_usual_ones(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_model(sse_model(), str(tmp_path / "folder"), "sse")
        save_model(sse_model(), str(tmp_path / "model.gguf"), "gguf")
    finally:
        os.umask(before)
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750
    for path in (tmp_path / "folder" / TOKENIZER, tmp_path / "model.gguf"):
        assert path.stat().st_mode & 0o777 == 0o640


def reversed_rows(model: Model) -> Model:
    return model._replace(
        table=Table.from_buffer(model.table.dequantize()[::-1].copy(), dim=DIM, format="float32"),
        default_prompt_name="query",
        prompts={"query": "other: "},
    )


def reversed_bytes(model: Model) -> Model:
    other = model.table.buffer[::-1].copy()
    other[-4 * ROWS :] = model.table.buffer[-4 * ROWS :]  # scales are numbers
    return model._replace(
        table=Table.from_buffer(other, dim=DIM),
        dynamic_tanh=DynamicTanh(*(vector[::-1].copy() for vector in head_vectors(DIM).values())),
    )


def as_before_version_6(folder: Path) -> None:
    """Move the files of a `StaticEmbedding` to where they were."""
    place = folder / "0_StaticEmbedding"
    place.mkdir()
    for name in ("model.safetensors", TOKENIZER):
        (folder / name).rename(place / name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = place.name
    (folder / "modules.json").write_text(json.dumps(modules))


REPLACED: dict[str, tuple[Model, str, Model, str]] = {
    "4 bits": (sse_model("sse_q4"), "sse", reversed_bytes(sse_model("sse_q4")), "sse"),
    "static": (plain_model(**SETTINGS), "static", reversed_rows(plain_model()), "static"),
    "old static": (plain_model(**SETTINGS), "old", reversed_rows(plain_model()), "static"),
    "old static, bare": (plain_model(), "old", reversed_rows(plain_model()), "static"),
    "old static, SSE": (plain_model(**SETTINGS), "old", reversed_rows(sse_model()), "sse"),
    "SSE, static": (sse_model(**SETTINGS), "sse", reversed_rows(plain_model()), "static"),
    "4 bits, static": (sse_model("sse_q4", **SETTINGS), "sse", reversed_rows(plain_model()),
                       "static"),
}  # fmt: skip


@pytest.mark.parametrize("case", REPLACED)
def test_at_no_moment_a_mixture_can_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Before and after each step the folder is the old model, none at all, or the new one."""
    folder = tmp_path / "model"
    old, layout, new, new_layout = REPLACED[case]
    save_model(old, str(folder), "static" if layout == "old" else layout)
    if layout == "old":
        as_before_version_6(folder)

    def content_of(model: Model) -> object:
        settings = (dict(model.prompts), model.default_prompt_name, model.truncate_dim)
        return vectors_of(model).tobytes(), settings

    known = {"old": content_of(old), "new": content_of(new)}
    assert content_of(load_model(folder)) == known["old"]
    seen: list[str] = []

    def look() -> None:
        try:
            content = content_of(load_model(folder))
        except (OSError, ValueError):
            seen.append("none")
            return
        seen.append(next((name for name in known if known[name] == content), "mixture"))

    for name in ("unlink", "replace", "rename", "rmdir"):
        step: Callable[..., None] = getattr(os, name)

        def looking(*arguments: Any, step: Callable[..., None] = step) -> None:
            look()
            step(*arguments)
            look()

        monkeypatch.setattr(os, name, looking)
    save_model(new, str(folder), new_layout)
    assert list(dict.fromkeys(seen)) == ["old", "none", "new"]


@pytest.mark.parametrize("layout", ["gguf", "sse"])
def test_prompts_that_every_model_has(tmp_path: Path, layout: str) -> None:
    """A default may be one of them without being told what it is."""
    path = tmp_path / "model.gguf"
    for name in ("query", "document"):
        again = written(sse_model(default_prompt_name=name), path.with_suffix(f".{layout}"), layout)
        assert (dict(again.prompts), again.default_prompt_name) == ({}, name)


@pytest.mark.parametrize("layout", ["gguf", "sse"])
def test_lone_surrogates(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "model"
    for fields, message in (
        (
            {"prompts": {"query": "tea\ud800"}},
            "prompt 'query' holds a lone surrogate at character 3",
        ),
        ({"prompts": {"\udfff": ""}}, r"the name of the prompt '\\udfff' holds .* at character 0"),
        ({"name": "a\udfff"}, "name holds a lone surrogate at character 1"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {message}$"):
            save_model(sse_model(**fields), str(path), layout)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("layout", ["gguf", "sse"])
def test_what_cannot_be_loaded_replaces_nothing(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "model"
    save_model(sse_model(), str(path), layout)
    bad = sse_model(default_prompt_name="nothing")
    message = r"^what was written cannot be loaded: \S*default\S*: 'nothing' is n"
    with pytest.raises(ValueError, match=message):
        save_model(bad, str(path), layout)
    assert load_model(path).default_prompt_name is None
    assert os.listdir(tmp_path) == ["model"]


# The command line


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def convert(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["convert", *arguments])


def lines_of(result: Result) -> dict[str, str]:
    assert result.exit_code == 0, result.output
    pairs = (line.split(":", 1) for line in result.output.splitlines())
    return {name: value.strip() for name, value in pairs}


@pytest.fixture
def source() -> str:
    save_model(sse_model(**SETTINGS), "source", "sse")
    return "source"


def test_convert_tells_what_it_wrote(source: str) -> None:
    lines = lines_of(convert(source, "out.gguf", "--format", "float16", "--name", "a name",
                             "--license", "mit"))  # fmt: skip
    assert lines["written"] == "out.gguf"
    assert (lines["layout"], lines["row format"]) == ("GGUF", "float16")
    assert lines["bytes"] == str(os.path.getsize("out.gguf"))
    table_bytes = ROWS * DIM * 2
    assert lines["table bytes"] == f"{table_bytes} (of the source: {2 * table_bytes})"
    model, again = load_model(source), load_model("out.gguf")
    assert (again.name, again.license) == ("a name", "mit")
    rows, other = (m.table.dequantize().astype(np.float64) for m in (model, again))
    assert float(lines["RMSE"]) == pytest.approx(((rows - other) ** 2).mean() ** 0.5, rel=1e-4)
    found = re.fullmatch(r"mean (\S+), least (\S+)", lines["cosine"])
    assert found
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(other, axis=1)
    cosines = (rows * other).sum(axis=1) / norms
    assert float(found[1]) == pytest.approx(cosines.mean(), abs=1e-6)
    assert float(found[2]) == pytest.approx(cosines.min(), abs=1e-6)
    lines = lines_of(convert("out.gguf", "back", "--format", "float32"))
    assert lines["layout"] == "SSE, float"
    assert lines["RMSE"] == "0"
    assert int(lines["bytes"]) == sum(file.stat().st_size for file in Path("back").iterdir())
    lines = lines_of(convert("back", "small", "--format", "sse_q4"))
    assert lines["layout"] == "SSE, 4-bit"
    for row_format, bits in (("q4_k", 4.5), ("q6_k", 6.5625)):
        lines = lines_of(convert("small", f"{row_format}.gguf", "--format", row_format))
        assert lines["row format"] == row_format
        assert int(lines["table bytes"].split()[0]) == ROWS * DIM * bits / 8
        assert 0.99 < float(lines["cosine"].split()[-1]) < 1
    assert lines_of(convert("small", "default.gguf"))["row format"] == "q4_k"


@pytest.mark.parametrize("out", ["out", "out.gguf"])
def test_convert_tells_what_it_wrote_though_it_is_gone(
    source: str, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    """Another process may have put something else in its place at once."""
    save = save_model

    def save_and_lose(*arguments: Any, **options: Any) -> None:
        save(*arguments, **options)
        os.rename(out, "elsewhere")

    monkeypatch.setattr(conversion, "save_model", save_and_lose)
    lines = lines_of(convert(source, out))
    files = [path for path in (Path("elsewhere"), *Path("elsewhere").rglob("*")) if path.is_file()]
    assert int(lines["bytes"]) == sum(path.stat().st_size for path in files)
    assert lines["written"] == out


@pytest.mark.parametrize("out", ["out", "out.gguf"])
def test_convert_warns_once_of_a_tokenizer(source: str, out: str) -> None:
    path = Path(source, "tokenizer.json")
    content = json.loads(path.read_text())
    content["added_tokens"] = [{**content["added_tokens"][0], "id": 1}]
    path.write_text(json.dumps(content))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = convert(source, out)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("warning: ") == result.stderr.count("has the id") == 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Encoder(out).save_pretrained("again")
    assert len(caught) == 1


def test_convert_the_bundled_model() -> None:
    lines = lines_of(convert("bundled", "out.gguf", "--format", "float32"))
    assert lines["RMSE"] == "0"
    model = load_model("out.gguf")
    assert (model.name, model.license) == ("nibblevec-en-512", "apache-2.0")
    texts = ["Tea is a hot drink.", ""]
    assert_same_bits(Encoder("out.gguf").encode(texts), Encoder().encode(texts))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["source"], "Missing argument 'OUT'"),
        (["source", "full"], "full is not empty; --force replaces a model in it"),
        (["source", "file.gguf"], "file.gguf exists; --force replaces it"),
        (["source", "source", "--force"], "source is also MODEL"),
        (["source", "link", "--force"], "link is also MODEL"),
        (["source", "source/0_StaticEmbedding", "--force"], "is within MODEL"),
        (["source", "-"], "a model is not written to stdout"),
        (["link", "source/new"], "source/new is within MODEL"),
        ([".", "out.gguf"], "out.gguf is within MODEL"),
        (["source", "missing/out.gguf"], "the folder of missing/out.gguf does not exist"),
        (["source", "out", "--to", "gguf"], "a GGUF file must end in .gguf"),
        (["source", "out.gguf", "--to", "sse"], "only a GGUF file may end in .gguf"),
        (["source", "out.gguf/", "--to", "sse"], "only a GGUF file may end in .gguf"),
        (["source", "out", "--name", "tea"], "only a GGUF file has a place for it"),
        (["source", "out", "--license", "mit"], "only a GGUF file has a place for it"),
        (["source", "out", "--format", "q4_k"], "sse holds sse_q4, float32, float16, bfloat16"),
        (["source", "out", "--format", "q5"], "--format"),
        (["source", "out", "--to", "onnx"], "--to"),
        (["source", "out", "--threads", "0"], "--threads"),
    ],
)
@posix_only
def test_convert_that_is_refused(source: str, arguments: list[str], message: str) -> None:
    Path("full").mkdir()
    Path("full/note").write_text("mine")
    Path("file.gguf").write_bytes(b"old")
    Path("link").symlink_to(source)
    before = sorted(os.walk("."))
    result = convert(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert sorted(os.walk(".")) == before
    assert Path("file.gguf").read_bytes() == b"old"


def test_convert_that_would_lose_something(source: str) -> None:
    result = convert(source, "out", "--to", "static")
    assert result.exit_code == 1
    assert "Error: a StaticEmbedding folder has no place for a Dynamic Tanh" in result.output
    assert os.listdir() == ["source"]
    result = convert("./nothing", "out")
    assert result.exit_code == 1
    assert "No such folder" in result.output


def test_convert_with_force(source: str) -> None:
    Path("full").mkdir()
    Path("full/note").write_text("mine")
    Path("file.gguf").write_bytes(b"old")
    lines_of(convert(source, "full", "--force"))
    lines_of(convert(source, "file.gguf", "--force"))
    assert Path("full/note").read_text() == "mine"
    for path in ("full", "file.gguf"):
        assert_same_bits(vectors_of(load_model(path)), vectors_of(load_model(source)))
    lines_of(convert("file.gguf", "new"))
    lines_of(convert("source", "source.2"))
    Path("empty").mkdir()
    lines_of(convert("file.gguf", "empty"))
    assert sorted(os.listdir("empty")) == sorted(os.listdir("new"))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "nibblevec", *arguments]


@posix_only
@pytest.mark.parametrize("out", ["out.gguf", "new", "old"])
def test_full_disk(source: str, out: str) -> None:
    import resource

    save_model(sse_model("float16"), "old", "sse")
    before = sorted(os.walk("."))
    limit = ROWS * DIM  # less than the table
    done = subprocess.run(
        command("convert", source, out, "--force"), capture_output=True, check=False, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.decode() == f"Error: [Errno 27] File too large: '{out}'\n"
    assert sorted(os.walk(".")) == before
    assert load_model("old").table.format == "float16"


def converting(out: str, seconds: float | None, number: signal.Signals) -> int:
    """The exit code of a conversion that gets a signal so long after it has begun to write."""
    process = subprocess.Popen(
        command("convert", "bundled", out, "--force", "--format", "float32"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    limit = time.perf_counter() + 30
    while process.poll() is None and time.perf_counter() < limit:
        names = [name for _, folders, files in os.walk(".") for name in folders + files]
        if any(name.endswith(".part") for name in names):
            break
    if seconds is not None:
        time.sleep(seconds)
        process.send_signal(number)
    return process.wait(timeout=30)


@posix_only
@pytest.mark.parametrize("out", ["out.gguf", "new", "old"])
def test_kill_at_any_moment(out: str) -> None:
    """The target is what it was before, or whole; what is not finished is hidden."""
    save_model(sse_model("float16"), "old", "sse")
    for seconds in (0.0, 0.01, 0.03, None):
        code = converting(out, seconds, signal.SIGKILL)
        whole = seconds is None
        assert code == (0 if whole else -signal.SIGKILL)
        names = {name for name in os.listdir() if not name.endswith(".part")}
        assert names == ({"old", out} if whole else {"old"})
        if out in names:
            model = load_model(out)
            load_tokenizer_of(model)
            assert model.table.format == ("float32" if whole else "float16")


@posix_only
@pytest.mark.parametrize("out", ["out.gguf", "new", "old"])
def test_sigterm(out: str) -> None:
    save_model(sse_model("float16"), "old", "sse")
    before = sorted(os.walk("."))
    assert converting(out, 0, signal.SIGTERM) == 128 + signal.SIGTERM
    assert sorted(os.walk(".")) == before


@posix_only
def test_convert_from_what_is_no_file() -> None:
    os.mkfifo("model.gguf")
    result = convert("model.gguf", "out")
    assert result.exit_code == 1
    assert "model.gguf" in result.output
    assert os.listdir() == ["model.gguf"]


# Packing at load


@pytest.mark.parametrize(("row_format", "suffix"), [("q4_k", ".gguf"), ("q6_k", ".gguf")])
def test_quantize_at_load_into_ggml_blocks(source: str, row_format: str, suffix: str) -> None:
    packed = Encoder(source, quantize=row_format, threads=1)
    with said_to_grow():
        packed.save_pretrained("saved")  # in floats: the folder holds no such rows
    packed.save_pretrained("saved" + suffix)
    lines_of(convert(source, "converted" + suffix, "--format", row_format))
    for path in ("saved", "saved" + suffix, "converted" + suffix):
        assert_same_bits(Encoder(path).encode(TEXTS), packed.encode(TEXTS))


def test_quantize_at_load(tmp_path: Path, source: str) -> None:
    path = tmp_path / source
    packed = Encoder(path, quantize="sse_q4")
    lines_of(convert(source, "packed", "--format", "sse_q4"))
    assert_same_bits(packed.encode(TEXTS), Encoder("packed").encode(TEXTS))
    assert_same_bits(Encoder("packed", quantize="sse_q4").encode(TEXTS), packed.encode(TEXTS))
    packed.save_pretrained("saved")
    assert Path("saved", TABLE).read_bytes() == Path("packed", TABLE).read_bytes()
    again = pickle.loads(pickle.dumps(packed))
    assert_same_bits(again.encode(TEXTS), packed.encode(TEXTS))


def test_sse_q4_without_a_head_is_saved_in_floats(tmp_path: Path) -> None:
    for layout, rules in (("static", NO_RULES), ("model2vec", MODEL2VEC_RULES)):
        save_model(plain_model(token_rules=rules), layout, layout)
        packed = Encoder(layout, quantize="sse_q4")
        for target in (f"saved {layout}", f"{layout}.gguf"):
            with said_to_grow():
                packed.save_pretrained(tmp_path / target)
            assert_same_bits(Encoder(tmp_path / target).encode(TEXTS), packed.encode(TEXTS))
        again = pickle.loads(pickle.dumps(packed))
        assert_same_bits(again.encode(TEXTS), packed.encode(TEXTS))


@pytest.mark.parametrize("bad", ["float16", "q4", "", 4])
def test_quantize_into_what_does_not_pack(source: str, bad: Any) -> None:
    with pytest.raises(ValueError, match="quantize must be one of sse_q4, q4_k, q6_k, not"):
        Encoder(source, quantize=bad)


def test_quantize_what_is_packed_otherwise() -> None:
    with pytest.raises(ValueError, match="the table is packed already, in sse_q4"):
        Encoder(quantize="q4_k")
