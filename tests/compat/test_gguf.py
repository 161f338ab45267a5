"""Against the `gguf` package, which decodes ggml's blocks and writes files, and ggml itself."""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import ggml
import gguf
import numpy as np
import pytest
import reference
import tokenizers
from bits import FloatArray, assert_same_bits
from numpy.typing import NDArray
from tables import SUPERBLOCK_FORMATS, random_superblocks
from tiny_models import VOCABULARY, head_vectors, tokenizer_content

import nibblevec
from nibblevec import Encoder, ModelFormatError, Table, _core
from nibblevec._containers.gguf_format import TENSOR_TYPES
from nibblevec._layouts.loading import load_model
from nibblevec._table import RowFormat
from nibblevec._verification import Agreement, verify

ROWS = 300
TYPES = {"q4_k": gguf.GGMLQuantizationType.Q4_K, "q6_k": gguf.GGMLQuantizationType.Q6_K}
# Smallest, largest subnormal; smallest normal; largest; zeros.
EXTREME_HALVES = np.array(
    [6e-8, -6e-8, 6.0976e-5, -6.0976e-5, 6.1035e-5, 65504, -65504, 0.0, -0.0], np.float16
)

every_format = pytest.mark.parametrize("row_format", SUPERBLOCK_FORMATS)
every_dim = pytest.mark.parametrize("dim", [256, 512, 1024])
every_scale = pytest.mark.parametrize("extreme", [False, True], ids=["random", "extreme"])


@pytest.fixture(params=nibblevec.kernels())
def kernel(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def random_rows(row_format: str, dim: int, extreme: bool) -> NDArray[np.uint8]:
    rng = np.random.default_rng(dim + extreme)
    blocks = random_superblocks(row_format, ROWS, dim, rng)
    if extreme:
        block_bytes, places, _ = SUPERBLOCK_FORMATS[row_format]
        each = blocks.reshape(-1, block_bytes)
        for place in places:
            halves = rng.choice(EXTREME_HALVES, (len(each), 1)).astype("<f2")
            each[:, place : place + 2] = halves.view(np.uint8)
    return blocks


def dequantized(row_format: str, blocks: NDArray[np.uint8]) -> FloatArray:
    return np.asarray(gguf.quants.dequantize(blocks, TYPES[row_format]), np.float32)


@every_format
@every_dim
@every_scale
def test_weights_are_those_of_gguf(row_format: RowFormat, dim: int, extreme: bool) -> None:
    blocks = random_rows(row_format, dim, extreme)
    expected = dequantized(row_format, blocks)
    table = Table.from_buffer(blocks, dim=dim, format=row_format)
    assert np.isfinite(expected).all()
    assert_same_bits(table.dequantize(), expected)


@every_format
@every_dim
@every_scale
def test_sums_are_those_of_rows_of_gguf(
    row_format: RowFormat, dim: int, extreme: bool, kernel: str
) -> None:
    blocks = random_rows(row_format, dim, extreme)
    rows = dequantized(row_format, blocks)
    table = Table.from_buffer(blocks, dim=dim, format=row_format)
    rng = np.random.default_rng(dim)
    offsets = np.concatenate([[0], np.cumsum([ROWS, 0, *[1] * ROWS, 2, 7, 63, 64, 65, 500])])
    ids = rng.integers(0, ROWS, offsets[-1])
    ids[:ROWS] = np.arange(ROWS)
    token_weights = rng.standard_normal(len(ids)).astype(np.float32)
    for weights in (None, token_weights):
        expected = reference.sum_rows(rows, ids, offsets, weights)
        for dims in (dim, dim - 1, dim // 2 + 1, 1):
            out = np.empty((len(offsets) - 1, dims), np.float32)
            _core.pool(table.native, ids, offsets, out, weights=weights, kernel=kernel)
            assert_same_bits(out, expected[:, :dims])


# Files that other packages wrote

VOCABULARY_ROWS = len(VOCABULARY)
TEXTS = ["A cup of hot tea.", "the stock market fell", "", "unable, walking: 12 caf\u00e9s", "tea"]


def quantized_by_ggml(rows: FloatArray, name: str) -> NDArray[np.uint8]:
    """What `ggml_quantize_chunk` makes of rows, uint8 [rows, row_bytes]."""
    kind = gguf.GGMLQuantizationType[name]
    block_weights, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    out = np.zeros((len(rows), rows.shape[1] // block_weights * block_bytes), np.uint8)
    written = ggml.ggml_quantize_chunk(
        int(kind),
        rows.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
        out.ctypes.data_as(ctypes.c_void_p),
        0,
        len(rows),
        rows.shape[1],
        None,
    )
    assert written == out.nbytes
    return out


def written_by_gguf(
    path: Path, blocks: NDArray[Any], name: str, **tensors: NDArray[np.float32]
) -> None:
    writer = gguf.GGUFWriter(path, "sse")
    writer.add_name("by another")
    writer.add_string("tokenizer.huggingface.json", json.dumps(tokenizer_content()))
    writer.add_array("tokenizer.ggml.tokens", list(VOCABULARY))
    for key, vector in tensors.items():
        writer.add_tensor(f"dyt.{key}", vector)
    kind = gguf.GGMLQuantizationType[name]
    writer.add_tensor("token_embd.weight", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def sums_of(rows: FloatArray) -> tuple[list[list[int]], FloatArray]:
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(tokenizer_content()))
    bags = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    offsets = np.concatenate([[0], np.cumsum([len(bag) for bag in bags])])
    return bags, reference.sum_rows(rows, np.concatenate(bags).astype(int), offsets)


@pytest.mark.parametrize("name", ["Q4_K", "Q6_K"])
@pytest.mark.parametrize("dim", [256, 512])
@pytest.mark.parametrize("head", [False, True])
def test_tables_of_ggml_load_and_agree(tmp_path: Path, name: str, dim: int, head: bool) -> None:
    rows = np.random.default_rng(dim).standard_normal((VOCABULARY_ROWS, dim)).astype(np.float32)
    blocks = quantized_by_ggml(rows, name)
    vectors = {key.removeprefix("dyt."): vector for key, vector in head_vectors(dim).items()}
    path = tmp_path / "model.gguf"
    written_by_gguf(path, blocks, name, **(vectors if head else {}))
    decoded = np.asarray(
        gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name]), np.float32
    )
    model = load_model(path)
    assert (model.name, model.table.format) == ("by another", name.lower())
    bags, sums = sums_of(decoded)
    ids = np.concatenate(bags).astype(int)
    offsets = np.concatenate([[0], np.cumsum([len(bag) for bag in bags])])
    assert_same_bits(model.table.sum_rows(ids, offsets), sums)
    expected = reference.head(
        sums,
        np.array([len(bag) for bag in bags]),
        vectors=(vectors["alpha"], vectors["beta"], vectors["bias"]) if head else None,
        with_mean=True,
        with_normalize=False,
    )
    assert_same_bits(Encoder(path).encode(TEXTS), expected)
    assert isinstance(verify(model, model, TEXTS), Agreement)


@pytest.mark.parametrize(
    "name",
    ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"],
)
def test_other_types_become_what_gguf_makes_of_them(tmp_path: Path, name: str) -> None:
    rows = np.random.default_rng(1).standard_normal((VOCABULARY_ROWS, 96)).astype(np.float32)
    kind = gguf.GGMLQuantizationType[name]
    blocks = gguf.quants.quantize(rows, kind)
    path = tmp_path / "model.gguf"
    written_by_gguf(path, blocks, name)
    expected = np.asarray(gguf.quants.dequantize(blocks, kind), np.float32)
    assert_same_bits(load_model(path).table.dequantize(), expected)
    assert Encoder(path).encode(TEXTS).shape == (len(TEXTS), 96)


@pytest.mark.parametrize("name", ["Q5_K", "Q2_K", "Q3_K"])
def test_other_k_quants_become_what_gguf_makes_of_them(tmp_path: Path, name: str) -> None:
    rows = np.random.default_rng(1).standard_normal((VOCABULARY_ROWS, 256)).astype(np.float32)
    blocks = quantized_by_ggml(rows, name)
    path = tmp_path / "model.gguf"
    written_by_gguf(path, blocks, name)
    expected = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name])
    assert_same_bits(load_model(path).table.dequantize(), np.asarray(expected, np.float32))


def test_sizes_of_blocks_are_those_of_gguf() -> None:
    ours = {name: (weights, size) for name, weights, size in TENSOR_TYPES.values()}
    theirs = {kind.name: sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert ours == {name: theirs[name] for name in ours}
    assert {number: gguf.GGMLQuantizationType(number).name for number in TENSOR_TYPES} == {
        number: name for number, (name, _, _) in TENSOR_TYPES.items()
    }


def test_a_type_that_gguf_is_needed_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(1).standard_normal((VOCABULARY_ROWS, 96)).astype(np.float32)
    path = tmp_path / "model.gguf"
    written_by_gguf(path, gguf.quants.quantize(rows, gguf.GGMLQuantizationType.Q8_0), "Q8_0")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModelFormatError, match=r"pip install 'nibblevec\[gguf\]'") as caught:
        Encoder(path)
    assert caught.value.field == "token_embd.weight"


def test_a_weight_that_is_not_finite(tmp_path: Path) -> None:
    rows = np.ones((VOCABULARY_ROWS, 32), np.float32)
    blocks = gguf.quants.quantize(rows, gguf.GGMLQuantizationType.Q8_0)
    blocks[3, :2] = np.array([np.inf], "<f2").view(np.uint8)
    path = tmp_path / "model.gguf"
    written_by_gguf(path, blocks, "Q8_0")
    with pytest.raises(ModelFormatError, match="row 3 holds a weight that is not finite"):
        Encoder(path)
