"""The stored vectors, which every kernel reproduces: see golden/README.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import assert_same_bits
from numpy.typing import NDArray

import nibblevec
from nibblevec import Table, _core
from nibblevec._table import RowFormat

FOLDER = Path(__file__).parent / "golden"
Golden = dict[str, NDArray[Any]]

every_kernel = pytest.mark.parametrize("kernel", nibblevec.kernels())


def load(path: Path) -> Golden:
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def golden() -> Golden:
    return load(FOLDER / "golden.npz")


@every_kernel
@pytest.mark.parametrize(
    "name",
    [
        "sums",
        "weighted_sums",
        "means",
        "dyt",
        "dyt_normalized",
        "truncated_normalized",
        "float_sums",
    ],
)
def test_pooled(golden: Golden, kernel: str, name: str) -> None:
    expected = golden[name]
    if name == "float_sums":
        weights = golden["float_weights"]
        table = Table.from_buffer(weights, dim=weights.shape[1], format="float32")
        ids = golden["float_ids"]
    else:
        packed = golden["codes"].tobytes() + golden["scales"].tobytes()
        table = Table.from_buffer(packed, dim=2 * golden["codes"].shape[1])
        ids = golden["ids"]
    head = _core.DynamicTanh(golden["alpha"], golden["beta"], golden["bias"])
    out = np.empty_like(expected)
    _core.pool(
        table.native,
        ids,
        golden["offsets"],
        out,
        weights=golden["token_weights"] if name == "weighted_sums" else None,
        dynamic_tanh=None if name.endswith(("sums", "means")) else head,
        mean=not name.endswith("sums"),
        normalize=name.endswith("normalized"),
        kernel=kernel,
    )
    assert_same_bits(out, expected)


@every_kernel
@pytest.mark.parametrize(
    ("row_format", "stored", "unit"),
    [("int8", "int8_numbers", 1), ("q4_k", "q4_k_blocks", 144), ("q6_k", "q6_k_blocks", 210)],
)
def test_sums_of_other_formats(
    golden: Golden, kernel: str, row_format: RowFormat, stored: str, unit: int
) -> None:
    dim = golden[stored].shape[1] // unit * (256 if unit > 1 else 1)
    table = Table.from_buffer(golden[stored], dim=dim, format=row_format)
    if unit > 1:
        assert_same_bits(table.dequantize(), golden[f"{row_format}_decoded"])
    for name in (f"{row_format}_sums", f"{row_format}_weighted_sums"):
        if name in golden:
            out = np.empty_like(golden[name])
            weights = golden["token_weights"] if "weighted" in name else None
            _core.pool(
                table.native,
                golden["float_ids"],
                golden["offsets"],
                out,
                weights=weights,
                kernel=kernel,
            )
            assert_same_bits(out, golden[name])


@every_kernel
def test_tanh(golden: Golden, kernel: str) -> None:
    ones = np.ones(golden["tanh_inputs"].size, np.float32)
    out = golden["tanh_inputs"][None].copy()
    _core.apply_head(
        out,
        np.ones(1, np.uint64),
        dynamic_tanh=_core.DynamicTanh(ones, ones, -0.0 * ones),
        kernel=kernel,
    )
    assert_same_bits(out[0], golden["tanh_outputs"])


def test_decoded(golden: Golden) -> None:
    packed = golden["codes"].tobytes() + golden["scales"].tobytes()
    table = Table.from_buffer(packed, dim=golden["decoded"].shape[1])
    assert_same_bits(table.dequantize(), golden["decoded"])


def test_quantized(golden: Golden) -> None:
    table = Table.quantize(golden["float_weights"], search=False)
    assert table.buffer.tobytes() == golden["quantized"].tobytes()


def test_generator_reproduces_the_file(golden: Golden, tmp_path: Path) -> None:
    path = tmp_path / "again.npz"
    subprocess.run([sys.executable, str(FOLDER / "make_golden.py"), str(path)], check=True)
    again = load(path)
    assert again.keys() == golden.keys()
    for name, array in golden.items():
        assert again[name].dtype == array.dtype, name
        assert again[name].shape == array.shape, name
        assert again[name].tobytes() == array.tobytes(), name


def test_readme_tells_every_array(golden: Golden) -> None:
    told = {}
    for line in (FOLDER / "README.md").read_text().splitlines():
        row = re.fullmatch(r"\| (`.*`) \| (\w+) (\[.*\]) \| .* \|", line)
        if row:
            for name in re.findall(r"`(\w+)`", row[1]):
                told[name] = f"{row[2]} {row[3]}"
    assert told == {name: f"{array.dtype} {list(array.shape)}" for name, array in golden.items()}
