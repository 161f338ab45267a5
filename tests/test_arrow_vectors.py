"""Vectors as Arrow arrays: types, copies, pickles, lifetimes."""

from __future__ import annotations

import copy
import ctypes
import gc
import multiprocessing
import os
import pickle
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from arrow_by_hand import (
    ARRAY,
    SCHEMA,
    ArrowArray,
    ArrowSchema,
    Producer,
    exported_type,
    release,
    rows_of_array,
    stream_of_rows,
    take,
    utf8,
    utf8_view,
)
from arrow_cases import (
    DIM,
    FEW,
    TEXTS,
    WITH_NULLS,
    assert_same_rows,
    encoder_fixture,  # noqa: F401
    expected_rows,
    folder_fixture,  # noqa: F401
    offsets,
    with_buffer,
)
from bits import assert_same_bits

from nibblevec import Encoder, _core, arrow
from nibblevec import _arrow_columns as arrow_columns
from nibblevec._arrow_columns import ArrowVectors


@pytest.mark.parametrize("list_type", ["fixed", "list"])
@pytest.mark.parametrize("texts", [TEXTS, WITH_NULLS], ids=["texts", "nulls"])
def test_types_of_lists(
    encoder: Encoder, list_type: arrow.ListType, texts: list[str | None]
) -> None:
    vectors = encoder.encode_arrow(Producer(utf8(texts)), list_type=list_type, truncate_dim=7)
    schema = take(vectors.__arrow_c_schema__(), SCHEMA, ArrowSchema)
    assert exported_type(schema) == {"fixed": "+w:7", "list": "+l"}[list_type]
    release(schema)
    expected = expected_rows(encoder, texts, truncate_dim=7)
    assert_same_rows(rows_of_array(vectors), expected)
    (rows,) = stream_of_rows(vectors)
    assert_same_rows(rows, expected)
    assert vectors.dims == 7
    assert repr(vectors) == f"ArrowVectors(12, dims=7, list_type='{list_type}')"


@pytest.mark.parametrize("numbers", [1, 8 * DIM, 17 * DIM, 10**9])
def test_lists_come_in_arrays_of_few_numbers(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, numbers: int
) -> None:
    texts = [f"tea {row}" if row % 7 else None for row in range(100)]
    vectors = encoder.encode_arrow(Producer(utf8(texts)), list_type="list")
    monkeypatch.setattr(arrow_columns, "MAX_LIST_VALUES", numbers)
    arrays = list(stream_of_rows(vectors))
    most = max(8, numbers // DIM // 8 * 8)
    assert [len(rows) for rows in arrays] == [min(most, 100 - i) for i in range(0, 100, most)]
    assert_same_rows([row for rows in arrays for row in rows], expected_rows(encoder, texts))


def test_as_numpy(encoder: Encoder) -> None:
    vectors = encoder.encode_arrow(Producer(utf8(WITH_NULLS)))
    array = vectors.to_numpy()
    assert array.flags.aligned
    assert not array.flags.writeable
    assert np.shares_memory(array, vectors.to_numpy())
    assert np.shares_memory(array, np.asarray(vectors))
    assert not np.shares_memory(array, np.array(vectors))
    assert np.asarray(vectors, np.float64).dtype == np.float64
    rows = expected_rows(encoder, WITH_NULLS)
    for row, expected in zip(array, rows, strict=True):
        if expected is None:
            assert np.isnan(row).all()
        else:
            assert_same_bits(row, expected)
    del vectors
    gc.collect()
    assert array.shape == (len(rows), DIM)
    assert_same_bits(array[0], encoder.encode(TEXTS[0]))


def as_bytes(vectors: ArrowVectors) -> list[bytes | None]:
    return [None if row is None else row.tobytes() for row in rows_of_array(vectors)]


def copies(vectors: ArrowVectors) -> Iterator[ArrowVectors]:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.loads(pickle.dumps(vectors, protocol))
    yield copy.copy(vectors)
    yield copy.deepcopy(vectors)
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(vectors, 5, buffer_callback=buffers.append)
    yield pickle.loads(pickled, buffers=buffers)
    if len(vectors):
        assert len(pickled) < 1000 + len(vectors)
        assert sum(buffer.raw().nbytes for buffer in buffers) == 4 * len(vectors) * vectors.dims


@pytest.mark.parametrize("list_type", ["fixed", "list"])
@pytest.mark.parametrize(
    "arrays",
    [[TEXTS], [WITH_NULLS], [["tea"] * 9 + [None]], [[None]], [[]], [], [TEXTS, [], WITH_NULLS]],
    ids=len,
)
def test_pickled_and_copied(
    encoder: Encoder, arrays: list[list[str | None]], list_type: arrow.ListType
) -> None:
    producer = Producer(*map(utf8, arrays or [[]]), stream=True)
    vectors = encoder.encode_arrow(producer, list_type=list_type)
    expected = expected_rows(encoder, [text for texts in arrays for text in texts])
    for other in copies(vectors):
        assert repr(other) == repr(vectors)
        assert other.null_count == vectors.null_count
        assert_same_rows(rows_of_array(other), expected)
        assert_same_rows([row for rows in stream_of_rows(other) for row in rows], expected)
        schema = take(other.__arrow_c_schema__(), SCHEMA, ArrowSchema)
        assert exported_type(schema) == {"fixed": f"+w:{DIM}", "list": "+l"}[list_type]
        release(schema)
        assert not other.to_numpy().flags.writeable
        assert_same_bits(other.to_numpy(), vectors.to_numpy())


def test_pickled_chunks_stay_chunks(encoder: Encoder) -> None:
    many = ["tea"] * (1 << 14)
    vectors = encoder.encode_arrow(Producer(utf8(many), utf8([*many, None]), utf8(["cup"])))
    twin = pickle.loads(pickle.dumps(vectors))
    assert [len(rows) for rows in stream_of_rows(twin)] == [1 << 14, (1 << 14) + 1, 1]
    assert as_bytes(twin) == as_bytes(vectors)
    assert as_bytes(twin) == as_bytes(pickle.loads(pickle.dumps(twin)))  # put together meanwhile


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_of_processes_returns_vectors(encoder: Encoder, method: str) -> None:
    context = multiprocessing.get_context(method)
    vectors = encoder.encode_arrow(Producer(utf8(WITH_NULLS)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads
        with context.Pool(1) as pool:
            (twin,) = pool.map(copy.copy, [vectors])
    assert as_bytes(twin) == as_bytes(vectors)


@pytest.mark.parametrize(
    "state",
    [
        (),
        (np.zeros((2, 3), np.float32), b"", 1),
        (np.zeros(3, np.float32), b""),
        (np.zeros((2, 0), np.float32), b""),
        (np.zeros((9, 3), np.float32), b"\0"),
        (np.zeros((9, 3), np.float32), b"\0\0\0"),
    ],
)
def test_states_that_are_none(state: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="rows"):
        _core.VectorRows.of_state(state)


def test_child_may_be_moved_out(encoder: Encoder) -> None:
    """A consumer may keep a child and release the rest."""
    vectors = encoder.encode_arrow(Producer(utf8(TEXTS)))
    expected = vectors.to_numpy().copy()
    schema_capsule, array_capsule = vectors.__arrow_c_array__()
    schema = take(schema_capsule, SCHEMA, ArrowSchema)
    array = take(array_capsule, ARRAY, ArrowArray)
    del vectors
    kept = []
    for content, kind in ((schema, ArrowSchema), (array, ArrowArray)):
        child = kind()
        ctypes.memmove(ctypes.byref(child), content.children[0], ctypes.sizeof(kind))
        content.children[0].contents.release = type(child.release)()
        release(content)
        kept.append(child)
    gc.collect()
    assert kept[0].format == b"f"
    numbers = (ctypes.c_float * expected.size).from_address(kept[1].buffers[1])
    assert_same_bits(np.ctypeslib.as_array(numbers).reshape(expected.shape), expected)
    for child in kept:
        release(child)


def test_stream_outlives_the_vectors(encoder: Encoder) -> None:
    vectors = encoder.encode_arrow(Producer(utf8(TEXTS)))
    rows = stream_of_rows(vectors)
    del vectors
    gc.collect()
    assert_same_rows(next(rows), expected_rows(encoder, [*TEXTS]))


def test_capsules_may_be_dropped(encoder: Encoder) -> None:
    vectors = encoder.encode_arrow(Producer(utf8(TEXTS)))
    for _ in range(3):
        vectors.__arrow_c_schema__()
        vectors.__arrow_c_array__(None)
        vectors.__arrow_c_stream__(requested_schema=None)
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, [*TEXTS]))


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.measured
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc/self/statm")
def test_memory_is_flat(encoder: Encoder) -> None:
    texts = [f"tea {row}, a cup" if row % 9 else None for row in range(100)]
    bad = with_buffer(utf8(FEW), 1, offsets(0, 6, 3, 9))

    def call() -> None:
        for column in (utf8(texts), utf8_view(texts)):
            vectors = encoder.encode_arrow(Producer(column, column), list_type="list")
            assert len(rows_of_array(vectors)) == 200
            vectors.__arrow_c_array__()
            vectors.__arrow_c_stream__()
        with pytest.raises(ValueError, match="offsets"):
            encoder.encode_arrow(Producer(utf8(texts), bad))

    def calls(count: int) -> int:
        for _ in range(count):
            call()
        gc.collect()
        return resident_bytes()

    before = calls(100)
    grown = calls(1000) - before
    print(f"{grown} bytes more after 1,000 calls")
    # A leak of the vectors would be 48 MB, of their 400 offsets 1.6 MB.
    assert grown < 1 << 20
