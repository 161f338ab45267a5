"""Folders that `StaticEmbedding` itself saves and loads, and the routes of a Router."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from sentence_transformers import SentenceTransformer
from tiny_models import VOCABULARY, tokenizer_content

from nibblevec import Encoder

try:
    from sentence_transformers.sentence_transformer.modules import Router, StaticEmbedding
except ImportError:
    from sentence_transformers.models import Router, StaticEmbedding

TEXTS = ["tea", "a cup of hot tea, unknown \u2603", ""]


def module(seed: int) -> Any:
    weights = np.random.default_rng(seed).standard_normal((len(VOCABULARY), 24), dtype=np.float32)
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(tokenizer_content()))
    return StaticEmbedding(tokenizer, embedding_weights=weights)


def vectors_of(folder: Path) -> Any:
    loaded = SentenceTransformer(modules=[StaticEmbedding.load(str(folder))], device="cpu")
    return loaded.encode(TEXTS)


def test_what_the_module_saves(tmp_path: Path) -> None:
    module(1).save(str(tmp_path))
    assert np.array_equal(Encoder(tmp_path).encode(TEXTS), vectors_of(tmp_path))


def test_routes(tmp_path: Path) -> None:
    router = Router.for_query_document([module(1)], [module(2)])
    model = SentenceTransformer(modules=[router], device="cpu")
    model.save_pretrained(str(tmp_path / "model"))
    with pytest.raises(ValueError, match="it is a Router"):
        Encoder(tmp_path / "model")
    with torch.no_grad():
        expected = (model.encode_query(TEXTS), model.encode_document(TEXTS))
    for route, vectors in zip(("query", "document"), expected, strict=True):
        (folder,) = (tmp_path / "model").glob(f"{route}_0_*")
        assert np.array_equal(Encoder(folder).encode(TEXTS), vectors)
        assert np.array_equal(vectors_of(folder), vectors)


def test_tensors_of_model2vec_without_a_config(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    random = np.random.default_rng(3)
    tensors: dict[str, Any] = {
        "embeddings": random.standard_normal((7, 24), dtype=np.float32),
        "mapping": np.arange(len(VOCABULARY)) % 7,
        "weights": random.uniform(0.5, 2, len(VOCABULARY)).astype(np.float32),
    }
    save_file(tensors, str(tmp_path / "model.safetensors"))
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_content()))
    assert np.array_equal(Encoder(tmp_path).encode(TEXTS), vectors_of(tmp_path))
