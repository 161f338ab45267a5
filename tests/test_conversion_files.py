"""Conversion: the folders and files that are written, replaced and left."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from bits import assert_same_bits
from conversion_cases import (
    DIM,
    MODEL2VEC_RULES,
    ROWS,
    SETTINGS,
    TEXTS,
    plain_model,
    posix_only,
    said_to_grow,
    sse_model,
    vectors_of,
    working_directory,  # noqa: F401
    written,
)
from tiny_gguf import TABLE as GGUF_TABLE
from tiny_gguf import gguf_bytes, head_tensors, model_keys, table_tensor
from tiny_models import TABLE, TOKENIZER, head_vectors, write_model

from nibblevec import Encoder, Table
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.saving import save_model
from nibblevec._model import DynamicTanh, Model


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
