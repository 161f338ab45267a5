"""StaticEmbedding: right ones give the bits of the oracle, whatever they hold."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from bits import FloatArray, assert_same_bits
from layout_cases import (
    DIM,
    ROWS,
    SETTINGS,
    TEXTS,
    Expected,
    Tensors,
    assert_expected,
    decoded,
    mapping,
    prompted_fixture,  # noqa: F401
    table,
    weights,
)
from tiny_models import (
    GENERATIONS,
    bpe_content,
    tokenizer_content,
    unigram_content,
    write_model,
    write_static_embedding,
)

from nibblevec import Encoder
from nibblevec._layouts.loading import load_model

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
