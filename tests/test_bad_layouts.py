"""Damaged or hostile StaticEmbedding and Model2Vec: refused, naming file and field."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_models import assert_refused, left_alone
from numpy.typing import NDArray
from tiny_models import (
    GENERATIONS,
    MODEL,
    NORMALIZE,
    TOKENIZER,
    VOCABULARY,
    JsonObject,
    bpe_content,
    head_parts,
    safetensors_file,
    tokenizer_content,
    write_model2vec,
    write_static_embedding,
)

from nibblevec import Encoder, ModelFormatError

pytestmark = pytest.mark.malformed

ROWS = len(VOCABULARY)
DIM = 6
MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
CONFIG = "config.json"

STATIC, _ = GENERATIONS["3"]

Tensors = dict[str, NDArray[Any]]

# A value of every type that JSON has, and of sizes that its readers differ about.
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 1 << 63, 1 << 64, 10**400, 0.5, 1e400, float("nan"), "", "tea",
    "x" * 1_000_000, "\ud800", [], [1], ["tea"], [[]], {}, {"tea": 1},
]  # fmt: skip


def file_of(tensors: Tensors) -> bytes:
    return safetensors_file(*head_parts(tensors))


def numbers(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def tensors_of(*, rows: int = 7, ids: int = ROWS) -> Tensors:
    return {
        "embeddings": numbers(rows, DIM),
        "mapping": np.arange(ids, dtype=np.int64) % rows,
        "weights": np.linspace(0.5, 2, ids),
    }


@pytest.fixture
def static(tmp_path: Path) -> Path:
    return write_static_embedding(
        tmp_path / "static",
        {"embedding.weight": numbers(ROWS, DIM)},
        generation="3",
        normalize=True,
    )


@pytest.fixture
def model2vec(tmp_path: Path) -> Path:
    return write_model2vec(tmp_path / "model2vec", tensors_of(), config={"normalize": True})


# modules.json


def entry(kind: object = STATIC, path: object = "0_StaticEmbedding") -> JsonObject:
    return {"idx": 0, "name": "0", "path": path, "type": kind}


NO_PLACES = (
    "..", "../other", "a/../../b", "/etc", "0_StaticEmbedding/..", "..\\other", "C:\\", "C:",
    "a\0b", "/",
)  # fmt: skip

BAD_MODULES: dict[str, tuple[object, str, str]] = {
    "object": ({}, "modules", "expected an array, found an object"),
    "null": (None, "modules", "expected an array, found null"),
    "string": ("tea", "modules", "expected an array, found a string"),
    **{
        f"entry {value!r:.20}": ([value], "module 0", "expected an object with type and path")
        for value in VALUES
        if value != "\ud800"
    },
    **{
        f"type {value!r:.20}": ([entry(kind=value)], "module 0", "expected an object with type")
        for value in VALUES
        if not isinstance(value, str)
    },
    **{
        f"path {value!r:.20}": ([entry(path=value)], "module 0", "expected an object with type")
        for value in VALUES
        if not isinstance(value, str)
    },
    **{
        f"path {place!r}": ([entry(path=place)], "module 0", "leaves the model's folder")
        for place in NO_PLACES
    },
    "no path": ([{"type": STATIC}], "module 0", "expected an object with type and path"),
    "no type": ([{"path": ""}], "module 0", "expected an object with type and path"),
    "second entry": ([entry(), 3], "module 1", "expected an object with type and path, found 3"),
    "Dense after": (
        [entry(), entry("sentence_transformers.models.Dense", "1_Dense")],
        "module 1",
        "'sentence_transformers.models.Dense' is not supported; one Normalize may follow",
    ),
    "Dense after Normalize": (
        [entry(), entry(NORMALIZE, "1_Normalize"), entry("models.Dense", "2_Dense")],
        "module 2",
        "'models.Dense' is not supported",
    ),
    "two Normalize": (
        [entry(), entry(NORMALIZE, "1_Normalize"), entry(NORMALIZE, "2_Normalize")],
        "module 2",
        "'sentence_transformers.models.Normalize' is not supported",
    ),
    "another StaticEmbedding": (
        [entry(), entry()],
        "module 1",
        "StaticEmbedding' is not supported",
    ),
    "type of a megabyte": ([entry(), entry("x" * 1_000_000)], "module 1", "is not supported"),
}


@pytest.mark.parametrize("case", BAD_MODULES)
def test_modules(static: Path, case: str) -> None:
    content, field, message = BAD_MODULES[case]
    (static / MODULES).write_text(json.dumps(content))
    assert_refused(static, MODULES, field, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'[{"type": "a", "type": "b", "path": ""}]', "key 'type' occurs twice"),
        (b"[9" + b"9" * 100_000 + b"]", "not valid JSON"),
    ],
    ids=["empty", "not UTF-8", "deep", "key twice", "number"],
)
def test_json_of_every_file(static: Path, model2vec: Path, content: bytes, message: str) -> None:
    (static / MODULES).write_bytes(content)
    assert_refused(static, MODULES, "modules", message)
    if content.startswith(b"["):
        content = content.replace(b"[", b'{"a":[', 1)[:-1] + b"]}"
    (model2vec / CONFIG).write_bytes(content)
    assert_refused(model2vec, CONFIG, "config", message)
    static_again = write_static_embedding(
        static.parent / "again", {"embedding.weight": numbers(ROWS, DIM)}
    )
    (static_again / SETTINGS).write_bytes(content)
    assert_refused(static_again, SETTINGS, "settings", message)


@pytest.mark.parametrize("name", [MODULES, SETTINGS, CONFIG])
def test_json_cut_at_every_byte(static: Path, model2vec: Path, name: str) -> None:
    """Either it still is a model, or the file is named."""
    folder = model2vec if name == CONFIG else static
    content = {
        MODULES: json.dumps([entry(), entry(NORMALIZE, "1_Normalize")]),
        SETTINGS: json.dumps(GOOD_SETTINGS),
        CONFIG: json.dumps({"normalize": True, "max_length": 100}),
    }[name].encode()
    for size in range(len(content)):
        (folder / name).write_bytes(content[:size])
        with pytest.raises(ModelFormatError) as caught:
            Encoder(folder)
        assert caught.value.path == str(folder / name)
    (folder / name).write_bytes(content)
    assert Encoder(folder).encode("tea").shape[0] in (3, DIM)


def test_config_of_normalize(static: Path) -> None:
    config = static / "1_Normalize" / CONFIG
    config.parent.mkdir()
    relative = os.path.join("1_Normalize", CONFIG)
    for value in VALUES:
        if value in (None, "sentence_embedding") or value == "\ud800":
            continue
        for field in ("module_input_name", "module_output_name"):
            config.write_text(json.dumps({field: value}))
            assert_refused(static, relative, field, "expected 'sentence_embedding'", mmap=True)
    config.write_text("[]")
    assert_refused(static, relative, "config", "expected an object, found an array")


# config_sentence_transformers.json

GOOD_SETTINGS: JsonObject = {
    "prompts": {"query": "tea: ", "a": "b"}, "default_prompt_name": "a", "truncate_dim": 3,
    "similarity_fn_name": "cosine",
}  # fmt: skip


@pytest.mark.parametrize("field", GOOD_SETTINGS)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{value!r:.20}")
def test_settings_of_every_type(static: Path, field: str, value: Any) -> None:
    content = {**GOOD_SETTINGS, field: value}
    (static / SETTINGS).write_text(json.dumps(content))
    messages = {
        "prompts": None if value == {} else "expected an object, found",
        "default_prompt_name": (
            "is not the name of a prompt" if isinstance(value, str) else "expected a string or null"
        ),
        "truncate_dim": "expected a positive integer or null, found",
        "similarity_fn_name": "expected a string or null, found",
    }
    message = messages[field]
    good = {
        "prompts": False,
        "default_prompt_name": value is None,
        "truncate_dim": value is None or (type(value) is int and value > 0),
        "similarity_fn_name": value is None or isinstance(value, str),
    }[field]
    if field == "prompts" and value == {"tea": 1}:
        assert_refused(static, SETTINGS, "prompts.tea", "expected a string or null, found a number")
    elif field == "prompts" and value == {}:
        assert_refused(static, SETTINGS, "default_prompt_name", "'a' is not the name of a prompt")
    elif good:
        assert Encoder(static).encode("tea").shape[0] >= 1
    else:
        assert message is not None
        assert_refused(static, SETTINGS, field, message)


def test_prompts_of_every_type(static: Path) -> None:
    for value in VALUES:
        (static / SETTINGS).write_text(json.dumps({"prompts": {"query": value}}))
        if value is None or isinstance(value, str):
            Encoder(static)
        else:
            message = "expected a string or null, found"
            assert_refused(static, SETTINGS, "prompts.query", message, mmap=True)


# config.json of Model2Vec


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{value!r:.20}")
def test_config_of_every_type(model2vec: Path, value: Any) -> None:
    (model2vec / CONFIG).write_text(json.dumps({"normalize": value}))
    if value is None or isinstance(value, bool):
        assert Encoder(model2vec).encode("tea").shape == (DIM,)
    else:
        assert_refused(model2vec, CONFIG, "normalize", "expected a boolean, found")
    (model2vec / CONFIG).write_text(json.dumps({"max_length": value}))
    if value is None or (type(value) is int and value > 0):
        assert Encoder(model2vec).encode("tea").shape == (DIM,)
    else:
        message = "expected a positive integer or null, found"
        assert_refused(model2vec, CONFIG, "max_length", message)


def test_config_that_is_no_object(model2vec: Path) -> None:
    (model2vec / CONFIG).write_text("[]")
    assert_refused(model2vec, CONFIG, "config", "expected an object, found an array")


# Tensors


def changed(**tensors: NDArray[Any]) -> Tensors:
    return {**tensors_of(), **tensors}


def at(array: NDArray[Any], position: int, value: object) -> NDArray[Any]:
    array = array.copy()
    array[position] = value
    return array


MAPPING = tensors_of()["mapping"]
WEIGHTS = tensors_of()["weights"]
ONE_OF_ROWS = r", expected one of 0\.\.6"

BAD_TENSORS: dict[str, tuple[Tensors, str, str]] = {
    "table of one dimension": (changed(embeddings=numbers(7)), "embeddings", "with two dimensions"),
    "table of three": (changed(embeddings=numbers(7, 1, 1)), "embeddings", "with two dimensions"),
    "table of integers": (
        changed(embeddings=np.ones((7, DIM), np.int32)),
        "embeddings",
        r"I32 \[7, 6\], expected one of F32, F16, BF16, F64, I8 with two dimensions",
    ),
    "no rows": (changed(embeddings=numbers(0, DIM)), "embeddings", r"shape \[0, 6\], .*not empty"),
    "no dims": (changed(embeddings=numbers(7, 0)), "embeddings", r"shape \[7, 0\], .*not empty"),
    "too large for float32": (
        changed(embeddings=at(np.ones((7, DIM)), 3, 1e39)),
        "embeddings",
        r"1e\+39 in row 3 is too large for float32",
    ),
    "mapping of floats": (changed(mapping=np.ones(ROWS)), "mapping", r"F64 \[\d+\], expected I8"),
    "mapping of two dimensions": (changed(mapping=MAPPING[None]), "mapping", "one dimension"),
    "mapping empty": (changed(mapping=MAPPING[:0]), "mapping", "one dimension, not empty"),
    "mapping beyond": (
        changed(mapping=at(MAPPING, 5, 7)), "mapping", "element 5 is 7" + ONE_OF_ROWS,
    ),
    "mapping negative": (
        changed(mapping=at(MAPPING, ROWS - 1, -1)), "mapping", f"element {ROWS - 1} is -1",
    ),
    "mapping 2^32": (
        changed(mapping=at(MAPPING, 0, 1 << 32)), "mapping", "element 0 is 4294967296",
    ),
    "mapping 2^64 - 1": (
        changed(mapping=at(MAPPING.astype(np.uint64), 0, (1 << 64) - 1)),
        "mapping",
        f"element 0 is {(1 << 64) - 1}",
    ),
    "weights of integers": (
        changed(weights=np.ones(ROWS, np.int32)), "weights", "I32 .*, expected F32 or F16",
    ),
    "weights of two dimensions": (changed(weights=WEIGHTS[None]), "weights", "one dimension"),
    "weights empty": (changed(weights=WEIGHTS[:0]), "weights", "one dimension, not empty"),
    "weights too short": (
        changed(weights=WEIGHTS[1:]),
        "weights",
        f"length {ROWS - 1}, expected {ROWS} as mapping has",
    ),
    "weights too long": (
        changed(weights=np.ones(ROWS + 1)), "weights", f"length {ROWS + 1}, expected {ROWS}",
    ),
    "weights of fewer tokens than rows": (
        {"embeddings": numbers(ROWS, DIM), "weights": WEIGHTS[1:]},
        "weights",
        f"length {ROWS - 1}, expected {ROWS} as the table has rows",
    ),
    **{
        f"weight {bad} of {dtype}": (
            changed(weights=at(WEIGHTS.astype(dtype), 4, bad)),
            "weights",
            f"element 4 is {bad}, expected a finite number",
        )
        for bad in (np.inf, -np.inf, np.nan)
        for dtype in ("float32", "float16", "float64")
    },
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_tensors(model2vec: Path, case: str) -> None:
    tensors, field, message = BAD_TENSORS[case]
    (model2vec / MODEL).write_bytes(file_of(tensors))
    assert_refused(model2vec, MODEL, field, message)
    # The same where modules.json makes it a StaticEmbedding.
    (model2vec / MODULES).write_text(json.dumps([entry(path="")]))
    assert_refused(model2vec, MODEL, field, message)


def test_static_embedding_without_a_table(static: Path) -> None:
    path = os.path.join("0_StaticEmbedding", MODEL)
    (static / path).write_bytes(file_of({"linear.weight": numbers(ROWS, DIM)}))
    assert_refused(static, path, "embedding.weight", "missing; the file holds linear.weight")


@pytest.mark.parametrize("tokenizer", [tokenizer_content(), bpe_content()], ids=["native", "BPE"])
def test_more_tokens_than_the_mapping_has(model2vec: Path, tokenizer: JsonObject) -> None:
    ids = len(tokenizer["model"]["vocab"])
    (model2vec / TOKENIZER).write_text(json.dumps(tokenizer))
    for held in (
        tensors_of(ids=ids - 1),
        {"embeddings": numbers(ids - 1, DIM)},
        {"embeddings": numbers(ids - 1, DIM), "weights": np.ones(ids - 1, np.float32)},
    ):
        (model2vec / MODEL).write_bytes(file_of(held))
        message = rf"id {ids - 1} of .*, expected one of 0\.\.{ids - 2}"
        assert_refused(model2vec, TOKENIZER, "model.vocab", message)
    (model2vec / MODEL).write_bytes(file_of(tensors_of(ids=ids)))
    Encoder(model2vec).encode("tea")


def test_tensors_cut_at_every_byte(model2vec: Path) -> None:
    content = (model2vec / MODEL).read_bytes()
    header_end = 8 + int.from_bytes(content[:8], "little")
    for size in [*range(header_end), *range(header_end, len(content), 7)]:
        (model2vec / MODEL).write_bytes(content[:size])
        with pytest.raises(ModelFormatError) as caught:
            Encoder(model2vec)
        assert caught.value.path == str(model2vec / MODEL)


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("name", [MODEL, TOKENIZER])
def test_missing_file(tmp_path: Path, generation: str, name: str) -> None:
    folder = write_static_embedding(
        tmp_path / "model", {"embedding.weight": numbers(ROWS, DIM)}, generation=generation
    )
    path = folder / GENERATIONS[generation][1] / name
    path.unlink()
    with left_alone(folder), pytest.raises(FileNotFoundError) as caught:
        Encoder(folder)
    assert caught.value.filename == str(path)


@pytest.mark.skipif(os.name != "posix", reason="kinds of files that POSIX has")
@pytest.mark.parametrize("kind", ["directory", "FIFO", "/dev/zero", "dangling"])
def test_what_is_no_file(static: Path, model2vec: Path, kind: str) -> None:
    paths = [
        static / MODULES,
        static / "0_StaticEmbedding" / MODEL,
        static / "0_StaticEmbedding" / TOKENIZER,
        static / SETTINGS,
        model2vec / CONFIG,
        model2vec / MODEL,
        model2vec / TOKENIZER,
    ]
    for path in paths:
        content = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        if kind == "directory":
            path.mkdir()
        elif kind == "FIFO":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero" if kind == "/dev/zero" else "nothing")
        folder = model2vec if path.parent == model2vec else static
        with left_alone(folder), pytest.raises(OSError, match=path.name) as caught:
            Encoder(folder)
        assert caught.value.filename == str(path)
        path.rmdir() if kind == "directory" else path.unlink()
        if content is not None:
            path.write_bytes(content)


def test_pickled_weights(static: Path) -> None:
    folder = static / "0_StaticEmbedding"
    (folder / MODEL).rename(folder / "pytorch_model.bin")
    message = "pickles are not read; save as model.safetensors"
    assert_refused(static, "0_StaticEmbedding/pytorch_model.bin", "weights", message)
