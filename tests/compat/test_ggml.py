"""Against ggml's own quantiser, by the `ggml-python` package."""

from __future__ import annotations

import ctypes
import importlib.metadata
from typing import cast

import ggml
import gguf
import numpy as np
import pytest
import reference
import safetensors.numpy
from bits import FloatArray, assert_same_bits
from numpy.typing import NDArray

import nibblevec
from nibblevec import Table, _core
from nibblevec._table import QuantizedFormat

TYPES = {"q4_k": gguf.GGMLQuantizationType.Q4_K, "q6_k": gguf.GGMLQuantizationType.Q6_K}

every_format = pytest.mark.parametrize("row_format", TYPES)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "weights" in metafunc.fixturenames:
        tables = ["normal", "student", "wordllama"]
        if metafunc.config.getoption("--table"):
            tables.append("table")
        metafunc.parametrize("weights", tables, indirect=True, scope="module")


@pytest.fixture(scope="module")
def weights(request: pytest.FixtureRequest) -> FloatArray:
    """A table of floats: two random ones, WordLlama's of its wheel, that of the command line."""
    rng = np.random.default_rng(1)
    if request.param == "normal":
        return rng.standard_normal((8000, 512)).astype(np.float32)
    if request.param == "student":
        return rng.standard_t(3, (8000, 512)).astype(np.float32)
    file = request.config.getoption("--table")
    if request.param == "wordllama":
        wheel = importlib.metadata.distribution("wordllama")
        file = wheel.locate_file("wordllama/weights/l2_supercat_256.safetensors")
    return np.asarray(safetensors.numpy.load_file(str(file))["embedding.weight"], np.float32)


def quantized_by_ggml(weights: FloatArray, row_format: str) -> NDArray[np.uint8]:
    block_dims, block_bytes = gguf.GGML_QUANT_SIZES[TYPES[row_format]]
    rows, dim = weights.shape
    packed = np.empty((rows, dim // block_dims * block_bytes), np.uint8)
    size = ggml.ggml_quantize_chunk(
        int(TYPES[row_format]),
        weights.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
        ctypes.c_void_p(packed.ctypes.data),
        0,
        rows,
        dim,
        None,
    )
    assert size == packed.nbytes
    return packed


def dequantized(packed: NDArray[np.uint8], row_format: str) -> FloatArray:
    return np.asarray(gguf.quants.dequantize(packed, TYPES[row_format]), np.float32)


def root_mean_square(errors: FloatArray) -> float:
    return float(np.sqrt(np.square(errors.astype(np.float64)).mean()))


@every_format
def test_error_is_not_above_that_of_ggml(weights: FloatArray, row_format: str) -> None:
    table = Table.quantize(weights, cast(QuantizedFormat, row_format))
    ours = dequantized(table.buffer.reshape(len(weights), -1), row_format)
    assert_same_bits(table.dequantize(), ours)
    theirs = dequantized(quantized_by_ggml(weights, row_format), row_format)
    errors = root_mean_square(ours - weights), root_mean_square(theirs - weights)
    print(f"{row_format}: {errors[0]:.6g}, ggml {errors[1]:.6g}, {errors[0] / errors[1]:.4f}")
    assert errors[0] <= errors[1]


def test_sse_q4_is_never_worse_than_the_published_rule(weights: FloatArray) -> None:
    searched = Table.quantize(weights).dequantize()
    published = reference.decode_sse_q4(*reference.quantize_sse_q4(weights))
    assert_same_bits(Table.quantize(weights, search=False).dequantize(), published)
    ours, theirs = (
        np.square(rows.astype(np.float64) - weights).sum(axis=1) for rows in (searched, published)
    )
    errors = np.sqrt(ours.sum() / weights.size), np.sqrt(theirs.sum() / weights.size)
    print(f"sse_q4: {errors[0]:.6g}, published {errors[1]:.6g}, {errors[0] / errors[1]:.4f}")
    assert (ours <= theirs).all()


@every_format
@pytest.mark.parametrize("kernel", nibblevec.kernels())
def test_sums_of_what_ggml_quantized(row_format: str, kernel: str) -> None:
    rng = np.random.default_rng(2)
    weights = rng.standard_normal((500, 512)).astype(np.float32)
    packed = quantized_by_ggml(weights, row_format)
    rows = dequantized(packed, row_format)
    table = Table.from_buffer(packed, dim=512, format=cast(QuantizedFormat, row_format))
    assert_same_bits(table.dequantize(), rows)
    offsets = np.concatenate([[0], np.cumsum([500, 0, 1, 2, 7, 20, 255])])
    ids = np.concatenate([np.arange(500), rng.integers(0, 500, offsets[-1] - 500)])
    out = np.empty((len(offsets) - 1, 512), np.float32)
    _core.pool(table.native, ids, offsets, out, kernel=kernel)
    assert_same_bits(out, reference.sum_rows(rows, ids, offsets))
