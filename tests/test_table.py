"""The public Table, as its docstrings promise."""

from __future__ import annotations

import array
import ast
import copy
import gc
import mmap
import os
import pickle
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import reference
from bits import assert_same_bits
from numpy.typing import ArrayLike, NDArray
from tables import FORMATS, SUPERBLOCK_FORMATS, decode_superblocks, random_superblocks

import nibblevec
from nibblevec import Table
from nibblevec import _threads as threads
from nibblevec._table import RowFormat
from nibblevec._threads import thread_count

FloatArray = NDArray[np.float32]

ROWS, DIM = 5, 6


def codes_and_scales() -> tuple[NDArray[np.uint8], FloatArray]:
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (ROWS, DIM // 2)).astype(np.uint8)
    return codes, np.array([0.5, -0.25, 1.0, 0.0, 3e-40], np.float32)


@pytest.fixture
def packed() -> bytes:
    return reference.pack_sse_q4(*codes_and_scales())


@pytest.fixture
def rows() -> FloatArray:
    return reference.decode_sse_q4(*codes_and_scales())


@pytest.fixture
def table(packed: bytes) -> Table:
    return Table.from_buffer(packed, dim=DIM)


# from_buffer


def test_from_buffer_takes_every_kind_of_buffer(
    packed: bytes, rows: FloatArray, tmp_path: Path
) -> None:
    path = tmp_path / "table"
    path.write_bytes(packed)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    for buffer in (
        packed,
        bytearray(packed),
        memoryview(packed),
        memoryview(b"?" + packed)[1:],
        array.array("B", packed),
        np.frombuffer(packed, np.uint8),
        np.frombuffer(packed, np.int8).reshape(5, -1),
        np.memmap(path, np.uint8, "r"),
        mapped,
    ):
        table = Table.from_buffer(buffer, dim=DIM)
        assert (table.rows, table.dim, table.format) == (ROWS, DIM, "sse_q4")
        assert table.nbytes == len(packed) == ROWS * (DIM // 2 + 4)
        assert table.buffer.tobytes() == packed
        assert_same_bits(table.dequantize(), rows)


def test_from_buffer_of_floats() -> None:
    weights = np.arange(12, dtype=np.float32).reshape(4, 3)
    weights[0] = [-0.0, np.nan, np.inf]
    for buffer in (weights, weights.tobytes(), array.array("f", weights.ravel())):
        table = Table.from_buffer(buffer, dim=3, format="float32")
        assert (table.rows, table.dim, table.format, table.nbytes) == (4, 3, "float32", 48)
        assert_same_bits(table.dequantize(), weights)
        assert_same_bits(table.sum_rows([1, 2], [0, 2]), weights[1:2] + weights[2:3])


def test_from_buffer_copies_nothing_and_keeps_the_buffer_alive(packed: bytes) -> None:
    owner = bytearray(packed)
    table = Table.from_buffer(owner, dim=DIM)
    assert np.shares_memory(table.buffer, np.frombuffer(owner, np.uint8))
    with pytest.raises(BufferError):
        owner.clear()

    memory = mmap.mmap(-1, len(packed))
    memory[:] = packed
    table = Table.from_buffer(memory, dim=DIM)
    with pytest.raises(BufferError):
        memory.close()
    before = table.dequantize()
    del memory
    gc.collect()
    assert_same_bits(table.dequantize(), before)


def test_buffer_goes_round_and_is_read_only(packed: bytes) -> None:
    table = Table.from_buffer(bytearray(packed), dim=DIM)
    again = Table.from_buffer(table.buffer, dim=DIM)
    assert again.buffer.tobytes() == packed
    assert table.buffer.dtype == np.uint8
    assert table.buffer.shape == (len(packed),)
    with pytest.raises(ValueError, match="read-only"):
        table.buffer[0] = 1


@pytest.mark.parametrize("size", [0, 1, 6, 8, 34, 36])
def test_from_buffer_refuses_sizes(size: int) -> None:
    with pytest.raises(ValueError, match=f"^{size} bytes.*rows of 7 bytes.*sse_q4, dim 6"):
        Table.from_buffer(bytes(size), dim=6)


@pytest.mark.parametrize("size", [0, 4, 13])
def test_from_buffer_refuses_sizes_of_floats(size: int) -> None:
    with pytest.raises(ValueError, match=f"^{size} bytes.*rows of 12 bytes.*float32, dim 3"):
        Table.from_buffer(bytes(size), dim=3, format="float32")


@pytest.mark.parametrize(
    ("dim", "row_format", "message"),
    [
        (5, "sse_q4", "dim 5 is odd"),
        (0, "sse_q4", "dim 0 "),
        (0, "float32", "dim 0 "),
        (-1, "sse_q4", "dim -1 "),
        (1 << 25, "sse_q4", "dim 33554432 "),
        (6, "q8", f"'q8'.*{', '.join(FORMATS)}"),
        (128, "q4_k", "dim 128 is not a multiple of 256, the superblock of q4_k"),
        (257, "q6_k", "dim 257 is not a multiple of 256, the superblock of q6_k"),
    ],
)
def test_from_buffer_refuses_dims_and_formats(dim: int, row_format: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Table.from_buffer(bytes(70), dim=dim, format=row_format)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 3, 4])
def test_from_buffer_names_the_scale_that_is_not_finite(bad: float, row: int) -> None:
    codes, scales = codes_and_scales()
    scales[row] = bad
    with pytest.raises(ValueError, match=f"^scale of row {row} is "):
        Table.from_buffer(reference.pack_sse_q4(codes, scales), dim=DIM)


def superblocks(row_format: str) -> NDArray[np.uint8]:
    return random_superblocks(row_format, 5, 512, np.random.default_rng(3))


@pytest.mark.parametrize("row_format", SUPERBLOCK_FORMATS)
def test_from_buffer_of_superblocks(row_format: RowFormat) -> None:
    blocks = superblocks(row_format)
    rows = decode_superblocks(row_format, blocks)
    for buffer in (blocks, blocks.tobytes(), memoryview(b"?" + blocks.tobytes())[1:]):
        table = Table.from_buffer(buffer, dim=512, format=row_format)
        assert (table.rows, table.dim, table.format) == (5, 512, row_format)
        assert table.nbytes == blocks.size
        assert_same_bits(table.dequantize([4, 0]), rows[[4, 0]])
        assert_same_bits(table.sum_rows([4, 0], [0, 2], dims=300), (rows[4] + rows[0])[None, :300])
        again = pickle.loads(pickle.dumps(table))
        assert (again.dim, again.format) == (512, row_format)
        assert again.buffer.tobytes() == blocks.tobytes()


@pytest.mark.parametrize("row_format", SUPERBLOCK_FORMATS)
@pytest.mark.parametrize("off_by", [-1, 1])
def test_from_buffer_refuses_sizes_of_superblocks(row_format: RowFormat, off_by: int) -> None:
    row_bytes = 2 * SUPERBLOCK_FORMATS[row_format][0]
    size = 3 * row_bytes + off_by
    message = f"^{size} bytes.*rows of {row_bytes} bytes.*{row_format}, dim 512"
    with pytest.raises(ValueError, match=message):
        Table.from_buffer(bytes(size), dim=512, format=row_format)


@pytest.mark.parametrize(
    ("row_format", "name", "place"), [("q4_k", "d", 0), ("q4_k", "dmin", 2), ("q6_k", "d", 208)]
)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("row", "block"), [(0, 0), (2, 1), (4, 1)])
def test_from_buffer_names_the_superblock_that_is_not_finite(
    row_format: RowFormat, name: str, place: int, bad: float, row: int, block: int
) -> None:
    blocks = superblocks(row_format).reshape(5, 2, -1)
    blocks[row, block, place : place + 2] = np.array([bad], "<f2").view(np.uint8)
    with pytest.raises(ValueError, match=f"^{name} of superblock {block} of row {row} is "):
        Table.from_buffer(blocks, dim=512, format=row_format)


def test_from_buffer_of_int8() -> None:
    numbers = np.array([[-128, 127, 0], [5, -1, 3]], np.int8)
    table = Table.from_buffer(numbers, dim=3, format="int8")
    assert (table.rows, table.dim, table.format, table.nbytes) == (2, 3, "int8", 6)
    assert table.dequantize().tolist() == numbers.tolist()
    assert table.sum_rows([0, 1, 1], [0, 3]).tolist() == [[-118, 125, 6]]
    with pytest.raises(ValueError, match=r"^7 bytes.*rows of 3 bytes.*int8, dim 3"):
        Table.from_buffer(bytes(7), dim=3, format="int8")


def test_from_buffer_refuses_strides(packed: bytes) -> None:
    square = np.zeros((14, 7), np.uint8)
    for buffer in (
        memoryview(packed * 2)[::2],
        np.zeros(70, np.uint8)[::-1],
        square.T,
        square[:, 1:],
    ):
        with pytest.raises(ValueError, match="contiguous"):
            Table.from_buffer(buffer, dim=DIM)


def test_from_buffer_refuses_what_is_no_buffer() -> None:
    with pytest.raises(TypeError):
        Table.from_buffer(cast(bytes, [1, 2, 3]), dim=DIM)


# Copies


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(table: Table, packed: bytes, protocol: int) -> None:
    for again in (pickle.loads(pickle.dumps(table, protocol)), copy.deepcopy(table)):
        assert isinstance(again, Table)
        assert (again.rows, again.dim, again.format) == (ROWS, DIM, "sse_q4")
        assert again.buffer.tobytes() == packed
    floats = Table.from_buffer(bytes(24), dim=3, format="float32")
    again = pickle.loads(pickle.dumps(floats, protocol))
    assert (again.rows, again.dim, again.format) == (2, 3, "float32")


def test_repr(table: Table) -> None:
    assert repr(table) == "Table(sse_q4, rows=5, dim=6, nbytes=35)"


# dequantize


def test_dequantize() -> None:
    codes = np.arange(256, dtype=np.uint8)[None].repeat(4, axis=0)
    scales = np.array([1.5, -0.0, 0.0, 1e-40], np.float32)
    table = Table.from_buffer(reference.pack_sse_q4(codes, scales), dim=512)
    expected = reference.decode_sse_q4(codes, scales)
    assert (expected.view(np.uint32) == 1 << 31).any()
    assert_same_bits(table.dequantize(), expected)
    assert_same_bits(table.dequantize([3, 0, 3]), expected[[3, 0, 3]])
    assert_same_bits(table.dequantize(np.array([2], ">u2")), expected[[2]])
    assert table.dequantize([]).shape == (0, 512)
    many = np.arange(1000) % 4
    assert_same_bits(table.dequantize(many), expected[many])


def test_dequantize_keeps_the_bits_of_floats() -> None:
    words = np.array([1 << 31, 0x7FC01234, 0xFF800000, 1], np.uint32)
    table = Table.from_buffer(words, dim=2, format="float32")
    assert table.dequantize().tobytes() == words.tobytes()


def test_dequantize_errors(table: Table) -> None:
    with pytest.raises(IndexError, match=r"id 5 at position 1 .* 5 rows"):
        table.dequantize([0, 5])
    with pytest.raises(IndexError, match=r"id -1 at position 0 .* 5 rows"):
        table.dequantize([-1])
    with pytest.raises(TypeError, match="row_ids must be integers"):
        table.dequantize([0.0])
    with pytest.raises(ValueError, match="row_ids must have one dimension"):
        table.dequantize([[0]])


# Sums and means


def test_sums_and_means(table: Table, rows: FloatArray) -> None:
    ids = [0, 1, 2, 3, 4, 4, 1]
    offsets = [0, 0, 1, 4, 7]
    sums = reference.sum_rows(rows, np.array(ids), offsets)
    assert_same_bits(table.sum_rows(ids, offsets), sums)
    means = reference.mean(sums, np.diff(offsets))
    assert_same_bits(table.mean_rows(ids, offsets), means)
    assert not means[0].view(np.uint32).any()
    assert_same_bits(table.sum_rows(ids, offsets, dims=3), sums[:, :3])
    assert_same_bits(table.mean_rows(ids, offsets, dims=np.int64(1)), means[:, :1])


def test_bags_need_not_cover_the_ids(table: Table, rows: FloatArray) -> None:
    actual = table.sum_rows([4, 0, 1, 2], [1, 2, 3])
    assert_same_bits(actual, np.float32(0) + rows[:2])


@pytest.mark.parametrize(
    "dtype",
    [order + kind for order in "<>" for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")],
)
def test_integer_types(table: Table, dtype: str) -> None:
    ids, offsets = [4, 0, 2, 1, 1, 3], [0, 2, 6]
    expected = table.sum_rows(ids, offsets)
    typed = np.array(ids, dtype)
    assert_same_bits(table.sum_rows(typed, np.array(offsets, dtype)), expected)
    doubled = typed.repeat(2)
    assert_same_bits(table.sum_rows(doubled[::2], offsets), expected)
    assert_same_bits(table.sum_rows(typed[::-1].copy()[::-1], offsets), expected)
    unaligned = np.frombuffer(b"?" + typed.tobytes(), np.uint8)[1:].view(dtype)
    assert_same_bits(table.sum_rows(unaligned, offsets), expected)
    read_only = typed.copy()
    read_only.flags.writeable = False
    assert_same_bits(table.sum_rows(read_only, offsets), expected)
    with pytest.raises(IndexError, match="id 5 at position 2 is not below the table's 5 rows"):
        table.sum_rows(np.array([0, 1, 5], dtype), [0, 1])


def test_ids_of_unsigned_bytes_reach_all_of_256_rows() -> None:
    table = Table.from_buffer(np.arange(256, dtype=np.float32), dim=1, format="float32")
    ids = np.arange(256, dtype=np.uint8)
    assert table.sum_rows(ids, np.arange(257)).ravel().tolist() == list(range(256))


def test_sequences_of_integers(table: Table) -> None:
    expected = table.sum_rows(np.array([1, 2]), np.array([0, 2]))
    assert_same_bits(table.sum_rows((1, 2), (0, 2)), expected)
    assert_same_bits(table.sum_rows(array.array("h", [1, 2]), range(0, 3, 2)), expected)


def test_no_tokens_and_no_bags(table: Table) -> None:
    assert not table.sum_rows([], [0, 0]).view(np.uint32).any()
    assert table.sum_rows([], [0]).shape == (0, DIM)
    assert table.mean_rows([1, 2], [1], dims=2).shape == (0, 2)
    assert table.sum_rows(np.empty(0, np.int32), [0, 0, 0]).tolist() == [[0.0] * DIM] * 2


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([0, 5], "id 5 at position 1 is not below the table's 5 rows"),
        ([0, 0, -1], "id -1 at position 2 is not below the table's 5 rows"),
        (np.array([-128], np.int8), "id -128 at position 0 "),
        (np.array([255], np.uint8), "id 255 at position 0 "),
        (np.array([0, 1 << 32]), "id 4294967296 at position 1 "),
        (np.array([(1 << 64) - 1], np.uint64), "id 18446744073709551615 at position 0 "),
        (np.array([-(1 << 63)]), "id -9223372036854775808 at position 0 "),
        (np.array([(1 << 32) - 1], np.uint32), "id 4294967295 at position 0 "),
    ],
)
def test_ids_that_are_no_rows(table: Table, ids: ArrayLike, message: str) -> None:
    out = np.full((1, DIM), 7, np.float32)
    for call in (table.sum_rows, table.mean_rows):
        with pytest.raises(IndexError, match=message):
            call(ids, [0, 1], out=out)
    assert (out == 7).all()


@pytest.mark.parametrize("bad", [[0.0, 1.0], ["0"], [True], [None], np.empty(0, np.float32)])
def test_ids_and_offsets_must_be_integers(table: Table, bad: ArrayLike) -> None:
    with pytest.raises(TypeError, match="ids must be integers"):
        table.sum_rows(bad, [0, 1])
    with pytest.raises(TypeError, match="offsets must be integers"):
        table.sum_rows([0, 1], bad)


def test_ids_and_offsets_have_one_dimension(table: Table) -> None:
    with pytest.raises(ValueError, match="ids must have one dimension"):
        table.sum_rows([[0]], [0, 1])
    with pytest.raises(ValueError, match="offsets must have one dimension"):
        table.sum_rows([0], [[0, 1]])
    with pytest.raises(ValueError, match="ids must have one dimension"):
        table.sum_rows(0, [0, 1])


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([0, 2, 1], "offsets decrease at position 2: 2 then 1"),
        ([1, 0], "offsets decrease at position 1: 1 then 0"),
        ([-1, 2], r"offsets\[0\] is -1"),
        ([0, -1], "offsets decrease"),
        ([0, 4], "offsets end at 4, past the 3 ids"),
        ([4], "offsets end at 4, past the 3 ids"),
        ([0, (1 << 63) - 1], "offsets end at 9223372036854775807"),
        (np.array([0, 1 << 63], np.uint64), "offsets"),
        ([], "offsets must have .* at least one element"),
    ],
)
def test_offsets_that_are_no_bags(table: Table, offsets: ArrayLike, message: str) -> None:
    for call in (table.sum_rows, table.mean_rows):
        with pytest.raises(ValueError, match=message):
            call([0, 1, 2], offsets)


@pytest.mark.parametrize("dims", [0, DIM + 1, -1, 1 << 70])
def test_dims_out_of_range(table: Table, dims: int) -> None:
    with pytest.raises(ValueError, match=f"dims {dims} is not in 1..6"):
        table.sum_rows([0], [0, 1], dims=dims)


def test_dims_are_whole(table: Table) -> None:
    with pytest.raises((TypeError, AttributeError)):
        table.sum_rows([0], [0, 1], dims=cast(int, 2.0))


def test_out_is_written_and_returned(table: Table) -> None:
    expected = table.sum_rows([0, 1, 2], [0, 1, 3], dims=5)
    whole = np.full((4, 5), 7, np.float32)
    out = whole[1:3]
    assert table.sum_rows([0, 1, 2], [0, 1, 3], dims=5, out=out) is out
    assert_same_bits(whole[1:3], expected)
    assert (whole[[0, 3]] == 7).all()


def read_only(shape: tuple[int, ...]) -> FloatArray:
    out = np.zeros(shape, np.float32)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((2, DIM)), "float64"),
        (np.zeros((2, DIM), ">f4"), "out is"),
        (np.zeros((2, DIM), np.int32), "int32"),
        (np.zeros((3, DIM), np.float32), r"\[3, 6\], expected float32 \[2, 6\]"),
        (np.zeros((2, DIM + 1), np.float32), r"\[2, 7\]"),
        (np.zeros(2 * DIM, np.float32), r"\[12\]"),
        (np.zeros((DIM, 2), np.float32).T, "C-contiguous"),
        (np.zeros((2, 2 * DIM), np.float32)[:, ::2], "C-contiguous"),
        (np.zeros((2, DIM), np.float32)[::-1], "C-contiguous"),
        (read_only((2, DIM)), "writeable"),
    ],
)
def test_out_of_another_kind(table: Table, out: FloatArray, message: str) -> None:
    before = out.tobytes()
    for call in (table.sum_rows, table.mean_rows):
        with pytest.raises(ValueError, match=message):
            call([0, 1], [0, 1, 2], out=out)
    assert out.tobytes() == before


def test_out_is_an_array(table: Table) -> None:
    with pytest.raises(TypeError, match="out must be a NumPy array, not list"):
        table.sum_rows([0], [0, 1], out=cast(FloatArray, [[0.0] * DIM]))


def test_per_token_weights(table: Table, rows: FloatArray) -> None:
    ids, offsets = np.array([0, 1, 2, 4]), [0, 3, 4]
    weights = np.array([0.5, -2, np.float32(1) / 3, 0], np.float32)
    sums = reference.sum_rows(rows, ids, offsets, weights)
    others: list[ArrayLike] = [
        weights,
        weights.astype(">f4"),
        weights.astype(np.float64),
        weights.repeat(3)[::3],
        weights.tolist(),
    ]
    for other in others:
        assert_same_bits(table.sum_rows(ids, offsets, per_token_weights=other), sums)
    means = reference.mean(sums, np.diff(offsets))
    assert_same_bits(table.mean_rows(ids, offsets, per_token_weights=weights), means)
    assert_same_bits(
        table.sum_rows(ids, offsets, per_token_weights=[1, 1, 1, 1]), table.sum_rows(ids, offsets)
    )


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (2, 1), ()])
def test_per_token_weights_are_as_many_as_ids(table: Table, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="per-token weights"):
        table.sum_rows([0, 1], [0, 2], per_token_weights=np.ones(shape, np.float32))


# Threads


def test_threads_of_a_call(table: Table) -> None:
    expected = table.sum_rows([0, 1], [0, 2])
    for count in (1, 2, 1000, 1 << 70, np.uint8(3)):
        assert_same_bits(table.sum_rows([0, 1], [0, 2], threads=count), expected)
    for bad in (0, -1):
        with pytest.raises(ValueError, match=f"threads must be at least 1, not {bad}"):
            table.sum_rows([0, 1], [0, 2], threads=bad)
    with pytest.raises(TypeError):
        table.sum_rows([0, 1], [0, 2], threads=cast(int, "2"))


def test_thread_count_from_the_environment(monkeypatch: pytest.MonkeyPatch, table: Table) -> None:
    monkeypatch.setenv("NIBBLEVEC_NUM_THREADS", "5")
    assert thread_count(None) == 5
    assert thread_count(3) == 3
    monkeypatch.setenv("NIBBLEVEC_NUM_THREADS", "9" * 30)
    assert table.sum_rows([0], [0, 1]).shape == (1, DIM)
    for bad in ("0", "-1", "1.5", "many", " "):
        monkeypatch.setenv("NIBBLEVEC_NUM_THREADS", bad)
        with pytest.raises(ValueError, match=f"NIBBLEVEC_NUM_THREADS .*{bad!r}"):
            table.sum_rows([0], [0, 1])
        assert thread_count(3) == 3
    monkeypatch.setenv("NIBBLEVEC_NUM_THREADS", "")
    without = thread_count(None)
    monkeypatch.delenv("NIBBLEVEC_NUM_THREADS")
    assert thread_count(None) == without


@pytest.mark.skipif(sys.platform != "linux", reason="needs sched_setaffinity")
def test_thread_count_follows_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIBBLEVEC_NUM_THREADS", raising=False)
    before = os.sched_getaffinity(0)
    assert 1 <= thread_count(None) <= len(before)
    monkeypatch.setattr(threads, "_quota_cpus", lambda: 1 << 20)
    assert thread_count(None) == len(before)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert thread_count(None) == 1
    finally:
        os.sched_setaffinity(0, before)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert thread_count(None) == 64
    for quota, expected in ((3, 3), (0, 1)):
        monkeypatch.setattr(threads, "_quota_cpus", lambda quota=quota: quota)
        assert thread_count(None) == expected


# Instruction sets

ISA_PROGRAM = """
import nibblevec
table = nibblevec.Table.quantize([[0.5, -1.0], [0.25, 2.0]])
for call in (nibblevec.kernels, lambda: table.sum_rows([0, 1], [0, 2]).tobytes().hex()):
    try:
        print(call())
    except ValueError as error:
        print("ValueError", error)
"""


def run_with_isa(isa: str | None) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name != "NIBBLEVEC_ISA"}
    if isa is not None:
        environment["NIBBLEVEC_ISA"] = isa
    result = subprocess.run(
        [sys.executable, "-c", ISA_PROGRAM],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return result.stdout.splitlines()


def test_kernels() -> None:
    names = nibblevec.kernels()
    assert len(set(names)) == len(names)
    assert set(names) <= {"portable", "avx2", "avx512", "neon"}
    assert "portable" in names


def test_isa_by_name() -> None:
    best_first, expected_sum = run_with_isa(None)
    assert run_with_isa("") == [best_first, expected_sum]
    names = ast.literal_eval(best_first)
    assert set(names) == set(nibblevec.kernels())
    for name in names:
        listed = [name, *(other for other in names if other != name)]
        assert run_with_isa(name) == [str(listed), expected_sum]


@pytest.mark.parametrize("name", ["sse9", "AVX2", "portable "])
def test_unknown_isa(name: str) -> None:
    for line in run_with_isa(name):
        assert line.startswith(f"ValueError NIBBLEVEC_ISA: no kernel named '{name}'")
        assert set(line.split("runs: ")[1].split(", ")) == set(nibblevec.kernels())


def test_out_that_overlaps_what_is_read() -> None:
    numbers = np.ones((4, 8), np.float32)
    table = Table.from_buffer(numbers, dim=8, format="float32")
    with pytest.raises(ValueError, match="out overlaps the table"):
        table.sum_rows([0, 1], [0, 1, 2], out=numbers[:2])
    weights = np.ones(16, np.float32)
    with pytest.raises(ValueError, match="out overlaps the weights"):
        table.sum_rows([0] * 16, [0, 8, 16], per_token_weights=weights, out=weights.reshape(2, 8))
    # Ids and offsets are copied, so these may be overwritten.
    ids = np.zeros(16, np.uint32)
    sums = table.sum_rows(ids, [0, 8, 16], out=ids.view(np.float32).reshape(2, 8))
    assert (sums == 8).all()
    memory = np.zeros(8, np.float32)
    offsets = memory.view(np.int64)[:2]
    offsets[1] = 3
    assert (table.sum_rows([0, 0, 0], offsets, out=memory.reshape(1, 8)) == 3).all()


def test_ids_that_change_during_the_call() -> None:
    table = Table.quantize(np.eye(64, dtype=np.float32))
    ids = np.zeros(4_000_000, np.uint32)
    offsets = np.arange(0, len(ids) + 1, 1000)
    expected = table.sum_rows(ids, offsets)
    done = threading.Event()

    def disturb() -> None:
        while not done.is_set():
            ids[len(ids) // 2 :] = 0xFFFFFFF0
            ids[len(ids) // 2 :] = 0

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(5):
            with suppress(IndexError):  # what is seen at the start of the call counts
                assert_same_bits(table.sum_rows(ids, offsets), expected)
    finally:
        done.set()
        thread.join()
