"""Models from one layout into another: what is kept, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from bits import assert_same_bits
from conversion_cases import (
    DIM,
    MAPPING,
    MODEL2VEC_RULES,
    ROWS,
    SETTINGS,
    TEXTS,
    convert,
    lines_of,
    plain_model,
    said_to_grow,
    source_fixture,  # noqa: F401
    sse_model,
    tokenizer,
    vectors_of,
    working_directory,  # noqa: F401
    written,
)
from tables import FORMATS, SUPERBLOCK_FORMATS, random_table
from tiny_models import TABLE, head_vectors

from nibblevec import Encoder, Table
from nibblevec._layouts.distance import distance
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.registry import WRITTEN
from nibblevec._layouts.row_formats import fitting_format, in_row_format, with_row_by_id
from nibblevec._layouts.saving import fitting_layout, save_model
from nibblevec._layouts.tokenizers import load_tokenizer_of
from nibblevec._model import DynamicTanh, Model, TokenizerJson
from nibblevec._token_rules import NO_RULES, TokenRules, Truncation
from nibblevec._vectors import write_floats


def without_unknown() -> TokenizerJson:
    """Characters, of which each is known."""
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2}, "merges": []}
    return TokenizerJson("somewhere", json.dumps({"version": "1.0", "model": model}).encode())


WEIGHTS = np.random.default_rng(4).standard_normal(ROWS).astype(np.float32)


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
