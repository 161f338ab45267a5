"""Folders and files that are written here, read by the packages whose layouts they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import safetensors.torch
import tokenizers
import torch
from model2vec import StaticModel
from safetensors import safe_open
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tiny_models import VOCABULARY, head_vectors, tokenizer_content

from nibblevec import Encoder, Table
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.saving import save_model
from nibblevec._model import DynamicTanh, Model, TokenizerJson
from nibblevec._token_rules import TokenRules, Truncation

ROWS, DIM = len(VOCABULARY), 256
TEXTS = ["A cup of hot tea.", "the stock market fell", "unable, walking: 12 caf\u00e9s", "tea"]
PROMPTS = {"query": "tea: ", "document": ""}
MAPPING = np.random.default_rng(3).integers(0, 20, ROWS).astype(np.uint32)
WEIGHTS = np.random.default_rng(4).uniform(0.1, 2, ROWS).astype(np.float32)

# The packages open files that they leave to the garbage collector, and use what is deprecated.
pytestmark = pytest.mark.filterwarnings("default")


def a_model(dtype: Any = np.float32, **fields: Any) -> Model:
    rows = np.random.default_rng(1).standard_normal((ROWS, DIM)).astype(dtype)
    table = Table.from_buffer(rows, dim=DIM, format=np.dtype(dtype).name)
    tokenizer = TokenizerJson("somewhere", json.dumps(tokenizer_content()).encode())
    return Model("test", table, tokenizer, **fields)


@pytest.mark.parametrize("normalization", [None, "torch"])
@pytest.mark.parametrize("mapped", [False, True])
def test_static_embedding(tmp_path: Path, normalization: Any, mapped: bool) -> None:
    model = a_model(
        normalization=normalization,
        prompts=PROMPTS,
        similarity_fn_name="dot",
        token_rules=TokenRules(row_of_id=MAPPING, weight_of_id=WEIGHTS) if mapped else TokenRules(),
    )
    save_model(model, str(tmp_path / "model"), "static")
    theirs = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    assert theirs.prompts == PROMPTS
    assert theirs.similarity_fn_name == "dot"
    ours = Encoder(tmp_path / "model")
    for options in ({}, {"prompt_name": "query"}, {"normalize_embeddings": True}):
        found = ours.encode(TEXTS, **options)
        expected = theirs.encode(TEXTS, **options)
        np.testing.assert_allclose(found, expected, rtol=0, atol=5e-7)


@pytest.mark.parametrize("layout", ["static", "model2vec"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("normalized", [False, True])
def test_what_both_write_and_read(
    tmp_path: Path, layout: str, dtype: str, normalized: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Saved by the package, by us, and read again by the package: without a warning."""
    rows = np.random.default_rng(1).standard_normal((ROWS, DIM)).astype(dtype)
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(tokenizer_content()))
    if layout == "model2vec":
        StaticModel(rows, tokenizer, normalize=normalized).save_pretrained(tmp_path / "theirs")
    else:
        modules = [StaticEmbedding(tokenizer, embedding_weights=rows), *[Normalize()][:normalized]]
        model = SentenceTransformer(modules=modules, device="cpu")
        model.save_pretrained(str(tmp_path / "theirs"), create_model_card=False)
    ours = Encoder(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    again = Encoder(tmp_path / "ours")
    assert np.array_equal(again.encode(TEXTS), ours.encode(TEXTS))
    caplog.clear()
    theirs, reread = (
        SentenceTransformer(str(tmp_path / name), device="cpu") for name in ("theirs", "ours")
    )
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []
    expected, found = theirs.encode(TEXTS), reread.encode(TEXTS)
    assert found.dtype == expected.dtype
    # Of float64 rows the numbers were narrowed when we loaded them.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 if dtype == "float64" else 0)
    if layout == "model2vec":
        expected, found = (
            StaticModel.from_pretrained(tmp_path / name).encode(TEXTS)
            for name in ("theirs", "ours")
        )
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 if dtype == "float64" else 0)
    for name in ("config_sentence_transformers.json", "config.json"):
        if not (tmp_path / "theirs" / name).exists():
            assert not (tmp_path / "ours" / name).exists()
            continue
        keys = json.loads((tmp_path / "theirs" / name).read_text()).keys()
        assert keys <= json.loads((tmp_path / "ours" / name).read_text()).keys()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("length", [None, 4])
@pytest.mark.parametrize("normalized", [False, True])
def test_model2vec(
    tmp_path: Path, dtype: Any, mapped: bool, length: int | None, normalized: bool
) -> None:
    rules = TokenRules(Truncation(length), cuts_characters=True, drops_unknown=True)
    if mapped:
        rules = rules._replace(row_of_id=MAPPING, weight_of_id=WEIGHTS)
    model = a_model(dtype, normalization="model2vec" if normalized else None, token_rules=rules)
    save_model(model, str(tmp_path / "model"), "model2vec")
    theirs = StaticModel.from_pretrained(tmp_path / "model")
    expected = theirs.encode(TEXTS, max_length=length)
    found = Encoder(tmp_path / "model").encode(TEXTS)
    if dtype == np.float16:
        assert expected.dtype == np.float16
        assert np.array_equal(found.astype(np.float16), expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_model2vec_of_more_rows_than_tokens(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).standard_normal((ROWS + 9, DIM), np.float32)
    rules = TokenRules(Truncation(4), cuts_characters=True, drops_unknown=True)
    table = Table.from_buffer(rows, dim=DIM, format="float32")
    save_model(a_model(token_rules=rules)._replace(table=table), str(tmp_path / "m"), "model2vec")
    expected = StaticModel.from_pretrained(tmp_path / "m").encode(TEXTS)
    np.testing.assert_allclose(Encoder(tmp_path / "m").encode(TEXTS), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("row_format", ["float32", "float16", "bfloat16"])
def test_float_sse_is_read_by_safetensors(tmp_path: Path, row_format: str) -> None:
    model = a_model(dynamic_tanh=DynamicTanh(*head_vectors(DIM).values()))
    save_model(model, str(tmp_path / "model"), "sse", row_format)
    path = tmp_path / "model" / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    assert set(tensors) == {"embedding.weight", "dyt.alpha", "dyt.beta", "dyt.bias"}
    weight = tensors["embedding.weight"]
    assert weight.dtype == getattr(torch, row_format)
    expected = torch.from_numpy(model.table.dequantize()).to(weight.dtype)
    assert torch.equal(weight, expected)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt"}


@pytest.mark.parametrize("row_format", ["float32", "float16", "bfloat16", "q4_k", "q6_k"])
def test_gguf(tmp_path: Path, row_format: str) -> None:
    model = a_model(
        dynamic_tanh=DynamicTanh(*head_vectors(DIM).values()),
        normalization="torch",
        prompts={"query": "tea: ", "caf\u00e9": ""},
        default_prompt_name="query",
        similarity_fn_name="cosine",
        truncate_dim=128,
        name="a name",
        license="apache-2.0",
        token_rules=TokenRules(Truncation(9), row_of_id=MAPPING, weight_of_id=WEIGHTS),
    )
    path = tmp_path / "model.gguf"
    save_model(model, str(path), "gguf", row_format)
    reader = gguf.GGUFReader(path)
    said = {
        key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")
    }
    file_types = {
        "float32": gguf.LlamaFileType.ALL_F32,
        "float16": gguf.LlamaFileType.MOSTLY_F16,
        "bfloat16": gguf.LlamaFileType.MOSTLY_BF16,
        "q4_k": gguf.LlamaFileType.MOSTLY_Q4_K_M,
        "q6_k": gguf.LlamaFileType.MOSTLY_Q6_K,
    }
    packed = row_format in ("q4_k", "q6_k")
    assert said == {
        "general.architecture": "sse",
        "general.name": "a name",
        "general.license": "apache-2.0",
        "general.file_type": file_types[row_format],
        **({"general.quantization_version": gguf.GGML_QUANT_VERSION} if packed else {}),
        "sse.embedding_length": DIM,
        "sse.vocab_size": ROWS,
        "sse.pooling": "mean",
        "sse.normalize": True,
        "sse.normalization": "torch",
        "sse.max_length": 9,
        "sse.replaces_truncation": True,
        "sse.similarity": "cosine",
        "sse.prompt.names": ["query", "caf\u00e9"],
        "sse.prompt.texts": ["tea: ", ""],
        "sse.prompt.default": "query",
        "sse.truncate_dim": 128,
        "tokenizer.huggingface.json": json.dumps(tokenizer_content()),
    }
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    types = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "q4_k": "Q4_K", "q6_k": "Q6_K"}
    table = tensors.pop("token_embd.weight")
    assert table.tensor_type.name == types[row_format]
    assert table.shape.tolist() == [DIM, ROWS]
    decoded = gguf.quants.dequantize(table.data, table.tensor_type)
    expected = load_model(path).table.dequantize()
    assert np.array_equal(np.asarray(decoded, np.float32).reshape(ROWS, DIM), expected)
    vectors = {**head_vectors(DIM), "sse.mapping": MAPPING.astype(np.int32), "sse.weights": WEIGHTS}
    assert set(tensors) == set(vectors)
    for name, vector in vectors.items():
        assert np.array_equal(tensors[name].data, vector)
