"""Float SSE models: right ones give the formula's vectors, damaged ones are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import tokenizers
from bad_models import assert_refused
from bits import assert_same_bits
from numpy.typing import NDArray
from tiny_models import (
    HEAD,
    TABLE,
    TOKENIZER,
    VOCABULARY,
    head_parts,
    head_vectors,
    safetensors_file,
    tokenizer_content,
)

from nibblevec import Encoder

MODEL = "model.safetensors"
WEIGHT = "embedding.weight"
ROWS = len(VOCABULARY)
TEXTS = ["A cup of hot tea.", "the stock market fell", "", "unable, walking: 12 caf\u00e9s", "tea"]

Tensors = dict[str, NDArray[Any]]


def rounded(array: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """The numbers as safetensors keeps them; uint16 stands for bfloat16."""
    if dtype == "BF16":
        return (array.view(np.uint32) >> 16).astype(np.uint16)
    return array.astype({"F32": np.float32, "F16": np.float16}[dtype])


def widened(array: NDArray[Any]) -> NDArray[np.float32]:
    if array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32)


def tensors_of(dim: int, dtype: str = "F32", head_dtype: str = "F32") -> Tensors:
    random = np.random.default_rng(dim)
    weight = random.standard_normal((ROWS, dim)).astype(np.float32)
    head = {name: rounded(vector, head_dtype) for name, vector in head_vectors(dim).items()}
    return {**head, WEIGHT: rounded(weight, dtype)}


def file_of(tensors: Tensors, **extra: object) -> bytes:
    header, data = head_parts(tensors)
    return safetensors_file({**header, **extra}, data)


def write(folder: Path, tensors: Tensors) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / MODEL).write_bytes(file_of(tensors))
    (folder / TOKENIZER).write_text(json.dumps(tokenizer_content()), encoding="utf-8")
    return folder


def expected(folder: Path, tensors: Tensors, normalize: bool) -> NDArray[np.float32]:
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
    bags = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    offsets = np.concatenate([[0], np.cumsum([len(bag) for bag in bags])])
    sums = reference.sum_rows(widened(tensors[WEIGHT]), np.concatenate(bags).astype(int), offsets)
    alpha, beta, bias = (widened(tensors[f"dyt.{name}"]) for name in ("alpha", "beta", "bias"))
    return reference.head(
        sums,
        np.diff(offsets),
        vectors=(alpha, beta, bias),
        with_mean=True,
        with_normalize=normalize,
    )


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("dim", [1, 31, 384, 512])
def test_vectors(tmp_path: Path, dim: int, dtype: str, mmap: bool) -> None:
    tensors = tensors_of(dim, dtype)
    folder = write(tmp_path / "model", tensors)
    model = Encoder(folder, mmap=mmap)
    assert model.get_embedding_dimension() == dim
    for normalize in (False, True):
        vectors = model.encode(TEXTS, normalize_embeddings=normalize)
        assert_same_bits(vectors, expected(folder, tensors, normalize))


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_head_of_16_bits(tmp_path: Path, dtype: str) -> None:
    tensors = tensors_of(34, head_dtype=dtype)
    folder = write(tmp_path / "model", tensors)
    assert_same_bits(Encoder(folder).encode(TEXTS), expected(folder, tensors, False))


def test_any_tokenizer(tmp_path: Path) -> None:
    tensors = tensors_of(16)
    folder = write(tmp_path / "model", tensors)
    unigram = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"},
        "model": {
            "type": "Unigram",
            "unk_id": 0,
            "vocab": [["<unk>", 0.0], ["_", -3.0], ["t", -2.0], ["ea", -2.5], ["_tea", -1.0]],
        },
    }
    (folder / TOKENIZER).write_text(json.dumps(unigram), encoding="utf-8")
    assert_same_bits(Encoder(folder).encode(TEXTS), expected(folder, tensors, False))


def test_quantized_wins(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", tensors_of(16))
    (folder / TABLE).write_bytes(bytes(ROWS * 12))
    with pytest.raises(FileNotFoundError) as caught:
        Encoder(folder)
    assert caught.value.filename == str(folder / HEAD)


# Damaged models

DIM = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "model", tensors_of(DIM))


def without(name: str) -> Tensors:
    return {key: value for key, value in tensors_of(DIM).items() if key != name}


BAD_TENSORS: dict[str, tuple[Tensors, str, str]] = {
    "no weight": (without(WEIGHT), WEIGHT, "missing; the file holds dyt.alpha"),
    "no alpha": (without("dyt.alpha"), "dyt.alpha", "missing"),
    "no bias": (without("dyt.bias"), "dyt.bias", "missing"),
    "weight of one dimension": (
        {**tensors_of(DIM), WEIGHT: np.zeros(DIM, np.float32)},
        WEIGHT,
        r"F32 \[6\], expected one of F32, F16, BF16 with two dimensions",
    ),
    "weight of integers": (
        {**tensors_of(DIM), WEIGHT: np.zeros((ROWS, DIM), np.int32)},
        WEIGHT,
        "I32 .*, expected one of",
    ),
    "weight of doubles": (
        {**tensors_of(DIM), WEIGHT: np.zeros((ROWS, DIM))},
        WEIGHT,
        "F64 .*, expected one of",
    ),
    "no rows": (
        {**tensors_of(DIM), WEIGHT: np.zeros((0, DIM), np.float32)},
        WEIGHT,
        r"shape \[0, 6\], expected \[rows, 6\]",
    ),
    "another dim": (
        {**tensors_of(DIM), WEIGHT: np.zeros((ROWS, DIM + 1), np.float32)},
        WEIGHT,
        r"expected \[rows, 6\]",
    ),
    "head of integers": (
        {**tensors_of(DIM), "dyt.beta": np.zeros(DIM, np.int32)},
        "dyt.beta",
        "I32 .*, expected F32 or F16 or BF16",
    ),
    "head of another length": (
        {**tensors_of(DIM), "dyt.bias": np.zeros(DIM - 1, np.float32)},
        "dyt.bias",
        "length 5, expected 6",
    ),
    "infinite half": (
        {**tensors_of(DIM), "dyt.alpha": np.array([1, 2, 3, np.inf, 5, 6], np.float16)},
        "dyt.alpha",
        "element 3 is inf",
    ),
    "bfloat16 that is no number": (
        {**tensors_of(DIM), "dyt.beta": np.array([0, 0, 0, 0, 0, 0x7FC0], np.uint16)},
        "dyt.beta",
        "element 5 is nan",
    ),
}


@pytest.mark.malformed
@pytest.mark.parametrize("case", BAD_TENSORS)
def test_bad_tensors(folder: Path, case: str) -> None:
    tensors, field, message = BAD_TENSORS[case]
    (folder / MODEL).write_bytes(file_of(tensors))
    assert_refused(folder, MODEL, field, message)


@pytest.mark.malformed
def test_fewer_rows_than_tokens(folder: Path) -> None:
    tensors = tensors_of(DIM)
    (folder / MODEL).write_bytes(file_of({**tensors, WEIGHT: tensors[WEIGHT][:-1]}))
    assert_refused(folder, TOKENIZER, "model.vocab", "expected one of")


# Every number of the header, as nothing, the least, the greatest and what wraps around.
NUMBERS = (0, 1, -1, 2**31 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 1e3, True, None, "6")
PLACES = [
    (name, field, index)
    for name in (WEIGHT, "dyt.alpha")
    for field, count in (("shape", 2 if name == WEIGHT else 1), ("data_offsets", 2))
    for index in range(count)
]


@pytest.mark.malformed
@pytest.mark.parametrize("value", NUMBERS, ids=repr)
@pytest.mark.parametrize(("name", "field", "index"), PLACES)
def test_every_number_of_the_header(
    folder: Path, name: str, field: str, index: int, value: object
) -> None:
    header, data = head_parts(tensors_of(DIM))
    if header[name][field][index] == value and type(value) is int:
        return  # the number that belongs there
    header[name][field][index] = value
    (folder / MODEL).write_bytes(safetensors_file(header, data))
    # Which tensor does not fit is a matter of order where offsets move: any one of them.
    fields = "|".join((*tensors_of(DIM), "data"))
    assert_refused(folder, MODEL, None, fields)


@pytest.mark.malformed
def test_cut_at_every_byte_of_the_header_and_at_places_in_the_data(folder: Path) -> None:
    content = (folder / MODEL).read_bytes()
    header_end = 8 + int.from_bytes(content[:8], "little")
    step = max(1, (len(content) - header_end) // 100)
    places = [*range(header_end), *range(header_end, len(content), step)]
    assert len(places) > header_end + 90
    for place in places:
        (folder / MODEL).write_bytes(content[:place])
        assert_refused(folder, MODEL, None, "expected|JSON|bytes", mmap=place % 2 == 0)


@pytest.mark.malformed
@pytest.mark.parametrize(
    ("content", "field", "message"),
    [
        (file_of(tensors_of(DIM)) + b"\0", "data", "tensors end at"),
        (b"\xff" * 8 + b"{}", "header length", "expected at most"),
        (safetensors_file(b"[" * 200_000), "header", "begin"),
        (safetensors_file(b'{"a":' * 100_000), "header", "nested too deeply"),
        (safetensors_file(b'{"dyt.alpha":1,"dyt.alpha":1}'), "header", "occurs twice"),
        (file_of(tensors_of(DIM), __metadata__={"a": 1}), "__metadata__", "strings"),
        (file_of(tensors_of(DIM), __metadata__=[]), "__metadata__", "strings"),
    ],
    ids=["padded", "length", "deep arrays", "deep objects", "repeated", "number", "array"],
)
def test_bad_containers(folder: Path, content: bytes, field: str, message: str) -> None:
    (folder / MODEL).write_bytes(content)
    assert_refused(folder, MODEL, field, message)
