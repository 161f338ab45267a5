"""Which layout a folder has, and what is told of a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from layout_cases import (
    DIM,
    ROWS,
    TEXTS,
    Expected,
    Tensors,
    assert_expected,
    mapping,
    prompted_fixture,  # noqa: F401
    table,
    weights,
)
from tiny_models import (
    MODEL,
    JsonObject,
    head_parts,
    head_vectors,
    safetensors_file,
    write_model2vec,
    write_static_embedding,
)

from nibblevec import Encoder
from nibblevec._cli import main
from nibblevec._layouts.loading import load_model

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
