"""Against sentence-transformers: its `StaticEmbedding`, as it is written and read there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from model2vec import StaticModel
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

from compat.english_lines import mixed_texts
from nibblevec import Encoder
from nibblevec._bundled import BUNDLED_MODEL

DIM = 96
TEXTS = 5000

PROMPTS = {"query": "search for: ", "document": "", "odd": "\u2603 [CLS]un"}


@pytest.fixture(scope="module")
def texts(pytestconfig: pytest.Config) -> list[str]:
    return mixed_texts(pytestconfig.getoption("--texts"), TEXTS)


def make(
    folder: Path, *, normalize: bool, max_length: int | None = None, **options: Any
) -> SentenceTransformer:
    """A model with random rows, saved into a new folder."""
    tokenizer = tokenizers.Tokenizer.from_file(str(Path(BUNDLED_MODEL) / "tokenizer.json"))
    tokenizer.no_truncation()
    if max_length is not None:
        tokenizer.enable_truncation(max_length)
    rows = np.random.default_rng(2).standard_normal((tokenizer.get_vocab_size(), DIM))
    modules: list[Any] = [StaticEmbedding(tokenizer, embedding_weights=rows.astype(np.float32))]
    if normalize:
        modules.append(Normalize())
    model = SentenceTransformer(modules=modules, device="cpu", **options)
    model.save_pretrained(str(folder), create_model_card=False)
    return model


def as_version_3(folder: Path) -> Path:
    """The same model as sentence-transformers 3 laid it out."""
    old = folder.parent / "old"
    shutil.copytree(folder, old)
    (old / "0_StaticEmbedding").mkdir(exist_ok=True)
    for name in ("model.safetensors", "tokenizer.json"):
        if (old / name).exists():
            shutil.move(old / name, old / "0_StaticEmbedding" / name)
    modules = json.loads((old / "modules.json").read_text())
    for module in modules:
        name = module["type"].rpartition(".")[2]
        module["type"] = f"sentence_transformers.models.{name}"
        module["path"] = f"{module['idx']}_{name}"
        (old / module["path"]).mkdir(exist_ok=True)
    (old / "modules.json").write_text(json.dumps(modules))
    return old


def assert_close(ours: Any, theirs: Any) -> None:
    difference = float(np.abs(ours - theirs).max())
    print(f"{len(theirs)} texts: at most {difference:.3g} apart")
    assert difference <= 5e-7


@pytest.mark.parametrize("max_length", [None, 8])
@pytest.mark.parametrize("truncate_dim", [None, 32])
@pytest.mark.parametrize("normalize", [False, True])
def test_vectors(
    tmp_path: Path,
    texts: list[str],
    normalize: bool,
    truncate_dim: int | None,
    max_length: int | None,
) -> None:
    make(tmp_path / "model", normalize=normalize, max_length=max_length, truncate_dim=truncate_dim)
    for folder in (tmp_path / "model", as_version_3(tmp_path / "model")):
        theirs = SentenceTransformer(str(folder), device="cpu")
        ours = Encoder(folder)
        assert ours.get_embedding_dimension() == theirs.get_embedding_dimension()
        for options in ({}, {"normalize_embeddings": True}, {"truncate_dim": 17}):
            assert_close(ours.encode(texts, **options), theirs.encode(texts, **options))


@pytest.mark.parametrize("default", [None, "odd"])
def test_prompts(tmp_path: Path, texts: list[str], default: str | None) -> None:
    make(tmp_path / "model", normalize=False, prompts=PROMPTS, default_prompt_name=default)
    theirs = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    ours = Encoder(tmp_path / "model")
    assert (ours.prompts, ours.default_prompt_name) == (theirs.prompts, theirs.default_prompt_name)
    for arguments in ((), ("query",), ("document",), (None, ""), (None, "tea: "), ("odd", "tea: ")):
        assert_close(ours.encode(texts, *arguments), theirs.encode(texts, *arguments))
    for encode in (ours.encode, theirs.encode):
        with pytest.raises(ValueError, match="nothing"):
            encode(texts, "nothing")


def test_prompts_that_every_model_has(tmp_path: Path) -> None:
    theirs = make(tmp_path / "model", normalize=False)
    assert Encoder(tmp_path / "model").prompts == theirs.prompts


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("weights_dtype", [None, np.float32, np.float64])
@pytest.mark.parametrize("mapped", [False, True], ids=["rows", "mapping"])
def test_folder_that_model2vec_saved(
    tmp_path: Path, texts: list[str], mapped: bool, weights_dtype: Any, normalize: bool
) -> None:
    """Without its config it is what sentence-transformers makes of it."""
    tokenizer = tokenizers.Tokenizer.from_file(str(Path(BUNDLED_MODEL) / "tokenizer.json"))
    ids = tokenizer.get_vocab_size()
    random = np.random.default_rng(3)
    weights = None if weights_dtype is None else random.uniform(0.1, 1, ids).astype(weights_dtype)
    StaticModel(
        random.uniform(-1, 1, (1000 if mapped else ids, DIM)).astype(np.float32),
        tokenizer,
        weights=weights,
        token_mapping=random.integers(0, 1000, ids) if mapped else None,
        normalize=normalize,
    ).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").unlink()
    theirs = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    assert_close(Encoder(tmp_path / "model").encode(texts), theirs.encode(texts))
