"""What is recognisably something else than a model: the error says what, and the way out."""

from __future__ import annotations

import json
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_gguf import array, gguf_bytes, number, table_tensor, text
from tiny_models import (
    COMMIT,
    HEAD,
    MODEL,
    TABLE,
    TOKENIZER,
    VOCABULARY,
    lay_into_cache,
    write_model,
    write_model2vec,
    write_static_embedding,
)

from nibblevec import Encoder, ModelFormatError
from nibblevec._cli import main

DIM = 4
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:"
    + b"4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
BERT = json.dumps({"architectures": ["BertModel"], "model_type": "bert"}).encode()
TRANSFORMER = json.dumps(
    [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_P", "type": "sentence_transformers.models.Pooling"},
    ]
).encode()
SPLADE = json.dumps([{"path": "", "type": "sentence_transformers.sparse.SpladePooling"}]).encode()
BERT_TENSORS = (
    struct.pack("<Q", 94)
    + (
        b'{"embeddings.word_embeddings.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    ).ljust(94)
    + bytes(4)
)

# Files of a folder, and what its error says.
FOLDERS: dict[str, tuple[dict[str, bytes], list[str]]] = {
    "empty": ({}, ["the folder is empty"]),
    "shards": (
        {
            "model.safetensors.index.json": b"{}",
            "model-00001-of-00003.safetensors": b"",
            "config.json": BERT,
        },
        ["several files", "model-00001-of-00003.safetensors", "max_shard_size"],
    ),
    "shards of pickles": (
        {"pytorch_model-00001-of-00002.bin": b""}, ["several files", "pytorch_model-00001"],
    ),
    "transformer": (
        {"config.json": BERT, "modules.json": TRANSFORMER, MODEL: BERT_TENSORS, TOKENIZER: b"{}"},
        ["names sentence_transformers.models.Transformer", "a network (BertModel)", "distil"],
    ),
    "transformer without architectures": (
        {"config.json": b'{"model_type": "gpt2"}'}, ["a network (gpt2)", "from_distillation"],
    ),
    "transformer in its folder": (
        {"modules.json": TRANSFORMER, "0_Transformer/config.json": BERT}, ["network (BertModel)"],
    ),
    "modules alone": ({"modules.json": SPLADE}, ["a network (SpladePooling)"]),
    "adapter": (
        {"adapter_config.json": b"{}", "adapter_model.safetensors": b""},
        ["an adapter (PEFT, LoRA)", "merge"],
    ),
    "ONNX": ({"model.onnx": b"", TOKENIZER: b"{}"}, ["ONNX", "model.onnx"]),
    "ONNX within": ({"onnx/model.onnx": b""}, ["ONNX", "(onnx)"]),
    "OpenVINO": ({"openvino_model.xml": b"", "openvino_model.bin": b""}, ["OpenVINO"]),
    "pickle": ({"pytorch_model.bin": b"", TOKENIZER: b"{}"}, ["pickles", "model.safetensors"]),
    "Keras": ({"tf_model.h5": b""}, ["another library (tf_model.h5)"]),
    "spaCy": ({"meta.json": b"{}", "vocab/vectors": b""}, ["spaCy"]),
    "word vectors": ({"glove.6B.50d.txt": b""}, ["word vectors (glove.6B.50d.txt)"]),
    "old Model2Vec": (
        {"embeddings.safetensors": b"", "config.json": b"{}", TOKENIZER: b"{}"},
        ["only model.safetensors is read, not embeddings.safetensors: rename it"],
    ),
    "tokenizer only": ({TOKENIZER: b"{}"}, ["a tokenizer and no weights"]),
    "split GGUF": ({"m-00001-of-00002.gguf": b""}, ["was split", "llama-gguf-split --merge"]),
    "the folder above": (
        {f"inner/{MODEL}": b"", f"inner/{TOKENIZER}": b""}, ["models within: inner"],
    ),
    "two above": (
        {f"a/b/{TABLE}": b"", f"a/b/{TOKENIZER}": b"", "a/c/m.gguf": b""},
        ["models within: a/b, a/c/m.gguf"],
    ),
    "bad JSON is passed over": ({"config.json": b"[", "adapter_config.json": b"["}, ["adapter"]),
}  # fmt: skip


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("case", FOLDERS)
def test_folder(tmp_path: Path, case: str) -> None:
    files, words = FOLDERS[case]
    folder = lay(tmp_path / "model", files)
    with pytest.raises(ValueError, match="not a model that can be loaded") as caught:
        Encoder(folder)
    assert str(caught.value).startswith(f"{folder}: ")
    for word in words:
        assert word in str(caught.value)
    shown = CliRunner().invoke(main, ["info", str(folder)])
    assert (shown.exit_code, words[0] in shown.output) == (1, True)


def test_router(tmp_path: Path) -> None:
    """It stays refused as a whole; each of its routes loads."""
    random = np.random.default_rng(1)
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Router"}]
    folder = lay(tmp_path / "model", {"modules.json": json.dumps(modules).encode()})
    routes = ["document_0_StaticEmbedding", "query_0_StaticEmbedding"]
    for route in routes:
        weights = random.standard_normal((len(VOCABULARY), DIM)).astype(np.float32)
        write_static_embedding(folder / route, {"embedding.weight": weights})
        (folder / route / "modules.json").unlink()
    structure = {route.partition("_")[0]: [route] for route in routes}
    (folder / "router_config.json").write_text(json.dumps({"structure": structure}))
    with pytest.raises(ValueError, match="it is a Router") as caught:
        Encoder(folder)
    assert str(caught.value).endswith(f"loads by itself: {', '.join(routes)}")
    query, document = (Encoder(folder / route).encode("tea") for route in reversed(routes))
    assert query.shape == (DIM,)
    assert not np.array_equal(query, document)
    (folder / "modules.json").unlink()
    with pytest.raises(ValueError, match="it is a Router"):
        Encoder(folder)


def test_cache_of_the_hub(tmp_path: Path) -> None:
    lay_into_cache(tmp_path / "hub", "owner/name", write_model(tmp_path / "model"))
    with pytest.raises(ValueError, match=r"give the name of a repository: owner/name$"):
        Encoder(tmp_path / "hub")
    repository = tmp_path / "hub" / "models--owner--name"
    with pytest.raises(ValueError, match=f"model is in snapshots/{COMMIT}$"):
        Encoder(repository)
    with pytest.raises(ValueError, match=f"there are models within: {COMMIT}$"):
        Encoder(repository / "snapshots")
    Encoder(repository / "snapshots" / COMMIT)


def test_folder_below(tmp_path: Path) -> None:
    weights = np.ones((len(VOCABULARY), DIM), np.float32)
    folder = write_static_embedding(
        tmp_path / "model", {"embedding.weight": weights}, normalize=True
    )
    (folder / "1_Normalize").mkdir()
    (folder / "1_Normalize" / "README").touch()
    with pytest.raises(ValueError, match=f"part of the model in the folder above: {folder}$"):
        Encoder(folder / "1_Normalize")


def archive(path: Path, kind: str) -> None:
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("tokenizer.json", "{}")
    else:
        modes: dict[str, Any] = {kind: f"w:{kind}"}
        with tarfile.open(path, modes[kind]) as tar:
            tar.add(__file__, "tokenizer.json")


@pytest.mark.parametrize(
    ("missing", "beside", "words"),
    [
        (MODEL, "model.safetensors.index.json", "several files (model.safetensors.index.json)"),
        (MODEL, "model-00001-of-00002.safetensors", "several files (model-00001-of-00002"),
        (TOKENIZER, "vocab.txt", "a tokenizer of another form lies there (vocab.txt)"),
        (TOKENIZER, "spiece.model", "lies there (spiece.model)"),
    ],
)
def test_missing_file(tmp_path: Path, missing: str, beside: str, words: str) -> None:
    weights = np.ones((len(VOCABULARY), DIM), np.float32)
    folder = write_static_embedding(tmp_path / "model", {"embedding.weight": weights})
    (folder / missing).unlink()
    (folder / beside).touch()
    with pytest.raises(FileNotFoundError) as caught:
        Encoder(folder)
    assert caught.value.filename == str(folder / missing)
    assert words in str(caught.value)


# A file that is given as a model, and what its error says.
FILES: dict[str, tuple[str, bytes, str]] = {
    "safetensors": (MODEL, BERT_TENSORS, "a file of safetensors, a part of a model; give its"),
    "empty safetensors": (MODEL, b"", "a file of safetensors"),
    "shard": ("model-00001-of-00003.safetensors", BERT_TENSORS, "one of several files"),
    "JSON": ("config.json", b"{}", "a file of JSON, a part of a model; give its folder"),
    "tokenizer": (TOKENIZER, b'{"version": "1.0"}', "a file of JSON"),
    "table": (TABLE, bytes(8), "the table of a model; give its folder"),
    "head": (HEAD, BERT_TENSORS, "a file of safetensors"),
    "pointer": (MODEL, POINTER, "a pointer of Git LFS, which stands for a file that was not"),
    "page": ("model.gguf.html", b"<!DOCTYPE html>\n<html>", "a page of the web"),
    "pickle": ("model.pkl", b"\x80\x04\x95", "a pickle; pickles may run any code"),
    "torch": ("pytorch_model.bin", b"PK\3\4" + bytes(26) + b"archive/data.pkl", "torch.save"),
    "old torch": ("pytorch_model.bin", b"\x80\x02\x8a", "a pickle"),
    "ONNX": ("model.onnx", b"\x08\x07\x12\x07pytorch", "a model of ONNX"),
    "adapter": ("adapter_model.safetensors", BERT_TENSORS, "an adapter (PEFT, LoRA)"),
    "GloVe": ("vectors.txt", b"the 0.418 0.24968 -0.41242 0.1217 0.3 1 2 3 4e-05 5 6 7", "GloVe"),
    "word2vec": ("vectors.bin", b"400000 300\nthe \0\1", "word vectors (GloVe, word2vec"),
    "fastText": ("cc.en.bin", (793712314).to_bytes(4, "little") + bytes(9), "fastText"),
    "HDF5": ("model.h5", b"\x89HDF\r\n", "HDF5"),
    "NumPy": ("model.npy", b"\x93NUMPY\1\0", "nibblevec.Table"),
    "Parquet": ("texts.parquet", b"PAR1", "Parquet"),
    "ggml": ("ggml-model.bin", b"lmgg\1\0\0\0", "before GGUF"),
    "SentencePiece": ("tokenizer.model", b"\n\x0e\n\x05", "a part of a tokenizer"),
    "empty": ("model", b"", "it is empty"),
}


@pytest.mark.parametrize("case", FILES)
def test_file(tmp_path: Path, case: str) -> None:
    name, content, words = FILES[case]
    path = lay(tmp_path / "model", {name: content}) / name
    with pytest.raises(NotADirectoryError) as caught:
        Encoder(path)
    assert caught.value.filename == str(path)
    assert words in str(caught.value.strerror)
    shown = CliRunner().invoke(main, ["info", str(path)])
    assert shown.exit_code == 1
    assert f"{path}: not a folder" in shown.output
    assert words in shown.output


@pytest.mark.parametrize("layout", ["float SSE", "quantised SSE", "static", "model2vec"])
@pytest.mark.parametrize(
    "came", [(), ("tokenizer.json",), ("tokenizer.json", "modules.json", HEAD)]
)
def test_a_save_that_did_not_end(tmp_path: Path, layout: str, came: tuple[str, ...]) -> None:
    """A writer was killed: what it wrote is in a hidden folder, but for what had come already."""
    folder = tmp_path / "model"
    weights = np.ones((len(VOCABULARY), DIM), np.float32)
    if layout == "static":
        write_static_embedding(folder, {"embedding.weight": weights})
    elif layout == "model2vec":
        write_model2vec(folder, {"embeddings": weights})
    else:
        write_model(folder)
    if layout == "float SSE":
        (folder / TABLE).rename(folder / MODEL)
    (folder / "ranges.safetensors").write_bytes(BERT_TENSORS)
    hidden = folder / ".files.0a1b2c3d.part"
    hidden.mkdir()
    for path in list(folder.iterdir()):
        if path.is_file() and path.name not in (*came, "ranges.safetensors"):
            path.rename(hidden / path.name)
    with pytest.raises((OSError, ValueError)) as caught:
        Encoder(folder)
    message = str(caught.value)
    assert "a save into it did not end: the new model's files" in message
    assert message.rstrip("'").count(".files.0a1b2c3d.part") == 1
    for wrong in ("rename", "models within", "no weights", "pickle"):
        assert wrong not in message


def test_own_files_are_no_misnamed_weights(tmp_path: Path) -> None:
    folder = lay(tmp_path / "model", {HEAD: b"", "ranges.safetensors": b"", TOKENIZER: b"{}"})
    with pytest.raises(ValueError, match=r"it has a tokenizer and no weights$"):
        Encoder(folder)
    (folder / "weights.safetensors").touch()
    with pytest.raises(ValueError, match=r"is read, not weights\.safetensors: rename it"):
        Encoder(folder)


def test_what_is_not_complete_is_no_model_within(tmp_path: Path) -> None:
    write_model(tmp_path / ".model.0a1b2c3d.part")
    with pytest.raises(ValueError, match="not a model") as caught:
        Encoder(tmp_path)
    assert ".part" not in str(caught.value)
    write_model(tmp_path / "model")
    with pytest.raises(ValueError, match=r"there are models within: model$"):
        Encoder(tmp_path)


@pytest.mark.parametrize("size", [0x5D, 0x280, 0x380, 0x8B1F])
def test_the_size_of_a_header_is_no_beginning_of_another_kind(tmp_path: Path, size: int) -> None:
    """As xz, pickles and gzip begin."""
    folder = write_model(tmp_path / "model")
    (folder / HEAD).write_bytes(struct.pack("<Q", size) + b"{".ljust(size))
    with pytest.raises(ModelFormatError) as caught:
        Encoder(folder)
    for wrong in ("pickle", "archive"):
        assert wrong not in caught.value.problem


@pytest.mark.parametrize("kind", ["zip", "gz", "bz2", "xz", ""])
def test_archive(tmp_path: Path, kind: str) -> None:
    archive(tmp_path / "model.archive", kind)
    with pytest.raises(NotADirectoryError, match="an archive, or compressed; unpack it"):
        Encoder(tmp_path / "model.archive")


def test_file_of_which_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"what")
    with pytest.raises(NotADirectoryError) as caught:
        Encoder(tmp_path / "model")
    assert caught.value.strerror == "not a folder, and not a GGUF file"


@pytest.mark.parametrize("name", [TABLE, HEAD, TOKENIZER])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (POINTER, "; it is a pointer of Git LFS"),
        (b"<html>", "; it is a page of the web"),
        (b"\x1f\x8b\x08" + bytes(30), "; it is an archive, or compressed"),
    ],
)
def test_file_of_a_model(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    """The error stays that of the file and field, and says more."""
    folder = write_model(tmp_path / "model")
    (folder / name).write_bytes(content)
    with pytest.raises(ModelFormatError) as caught:
        Encoder(folder)
    assert caught.value.path == str(folder / name)
    assert words in caught.value.problem
    assert caught.value.args[2] == caught.value.problem


@pytest.mark.parametrize("name", ["modules.json", MODEL, "config_sentence_transformers.json"])
def test_pointer_in_any_file(tmp_path: Path, name: str) -> None:
    weights = np.ones((len(VOCABULARY), DIM), np.float32)
    folder = write_static_embedding(tmp_path / "model", {"embedding.weight": weights})
    (folder / name).write_bytes(POINTER)
    with pytest.raises(ModelFormatError, match="it is a pointer of Git LFS") as caught:
        Encoder(folder)
    assert caught.value.path == str(folder / name)


def test_pointer_of_a_gguf_file(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(POINTER)
    with pytest.raises(ModelFormatError, match=r"magic.*it is a pointer of Git LFS"):
        Encoder(tmp_path / "model.gguf")


@pytest.mark.parametrize(
    ("keys", "has_table", "words"),
    [
        ({"general.architecture": text("llama")}, True, "json: missing; .*it is a llama network"),
        ({"general.architecture": text("clip")}, False, "weight: missing; .*it is a clip network"),
        (
            {"split.no": number("uint16", 0), "split.count": number("uint16", 3)},
            True,
            "split.count: one of 3 files that a model was split into; llama-gguf-split --merge",
        ),
        ({"tokenizer.ggml.tokens": array("string", ["a"])}, True, "missing; a model's whole"),
    ],
)
def test_gguf_of_another_network(
    tmp_path: Path, keys: dict[str, Any], has_table: bool, words: str
) -> None:
    name = "token_embd.weight" if has_table else "v.patch_embd.weight"
    (tmp_path / "model.gguf").write_bytes(gguf_bytes(keys, {name: table_tensor(DIM)[0]}))
    with pytest.raises(ModelFormatError, match=words):
        Encoder(tmp_path / "model.gguf")
