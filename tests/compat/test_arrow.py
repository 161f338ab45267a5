"""Against pyarrow, polars, pandas and DuckDB: their texts in, vectors out into each."""

from __future__ import annotations

import gc
import os
import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from bits import FloatArray, assert_same_bits
from pyarrow import dataset, parquet

from compat.english_lines import english_lines
from nibblevec import Encoder
from nibblevec.arrow import ArrowVectors, EncodeColumn, ListType

DIMS = 512


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture(scope="module")
def texts() -> list[str | None]:
    odd = [
        "",
        "\u4e2d\u6587 caf\u00e9 \U0001f600",
        "a\x00b",
        "twelve bytes",
        "thirteen byte",
        "x" * 5000,
    ]
    lines: list[str | None] = [*odd, *english_lines()[:3000]]
    lines[5::7] = [None] * len(lines[5::7])
    return lines


@pytest.fixture(scope="module")
def expected(encoder: Encoder, texts: list[str | None]) -> FloatArray:
    """NaN in the rows of nulls."""
    rows = encoder.encode([text or "" for text in texts])
    rows[[text is None for text in texts]] = np.nan
    return rows


def numpy_of(column: pa.Array | pa.ChunkedArray) -> FloatArray:
    """The rows of a column of vectors, after every check that pyarrow has."""
    column.validate(full=True)
    rows = np.full((len(column), DIMS), np.nan, np.float32)
    valid = np.asarray(column.is_valid())
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [np.asarray(chunk.flatten()) for chunk in chunks]  # of what is not null
    rows[valid] = np.concatenate([np.empty(0, np.float32), *parts]).reshape(-1, DIMS)
    return rows


def in_chunks(array: pa.Array, *ends: int) -> pa.ChunkedArray:
    begins = [0, *ends]
    return pa.chunked_array(
        [array[begin:end] for begin, end in zip(begins, [*ends, len(array)], strict=True)]
    )


ARROW_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int16(), pa.string()),
    pa.dictionary(pa.int32(), pa.large_string()),
    pa.dictionary(pa.uint64(), pa.string()),
]
every_arrow_type = pytest.mark.parametrize("arrow_type", ARROW_TYPES, ids=str)
every_list_type = pytest.mark.parametrize("list_type", ["fixed", "list"])


def array_of(texts: list[str | None], arrow_type: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(arrow_type):
        return pa.array(texts, arrow_type.value_type).dictionary_encode().cast(arrow_type)
    return pa.array(texts, arrow_type)


# pyarrow


@every_arrow_type
def test_arrays(
    encoder: Encoder, texts: list[str | None], expected: FloatArray, arrow_type: pa.DataType
) -> None:
    array = array_of(texts, arrow_type)
    assert array.type == arrow_type
    chunked = in_chunks(array, 1, 1, 100, 2000)
    for obj, rows in (
        (array, expected),
        (array[3:1999], expected[3:1999]),
        (array[-1:], expected[-1:]),
        (array[:0], expected[:0]),
        (chunked, expected),
        (chunked[50:2500], expected[50:2500]),
        (chunked[:0], expected[:0]),
    ):
        vectors = encoder.encode_arrow(obj)
        assert_same_bits(vectors.to_numpy(), rows)
        assert vectors.null_count == obj.null_count


@every_arrow_type
def test_tables(
    encoder: Encoder, texts: list[str | None], expected: FloatArray, arrow_type: pa.DataType
) -> None:
    array = array_of(texts, arrow_type)
    table = pa.table({"id": range(len(texts)), "text": array})
    batch = table.to_batches()[0]
    struct = pa.StructArray.from_arrays(
        [array], ["text"], mask=pa.array([row % 2 == 0 for row in range(len(texts))])
    )
    half = expected.copy()
    half[::2] = np.nan
    for obj, rows in (
        (table, expected),
        (table[7:2001], expected[7:2001]),
        (pa.concat_tables([table[:9], table[9:9], table[9:]]), expected),
        (batch, expected),
        (batch[7:2001], expected[7:2001]),
        (pa.RecordBatchReader.from_batches(table.schema, iter([batch[:5], batch[5:]])), expected),
        (struct, half),
        (struct[11:99], half[11:99]),
        (pa.chunked_array([struct[:11], struct[11:]]), half),
    ):
        assert_same_bits(encoder.encode_arrow(obj, column="text").to_numpy(), rows)


def test_arrays_of_nulls(encoder: Encoder) -> None:
    assert numpy_of(pa.array(encoder.encode_arrow(pa.nulls(9)))).shape == (9, DIMS)
    assert encoder.encode_arrow(pa.array([None] * 9, pa.string())).null_count == 9


def test_texts_that_are_not_utf8(encoder: Encoder) -> None:
    array = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\3\0\0\0\5\0\0\0"), pa.py_buffer(b"tea\xc3(")]
    )
    with pytest.raises(ValueError, match="text 1 is not UTF-8 at byte 0"):
        encoder.encode_arrow(array)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (pa.array([1]), "int64"),
        (pa.array([1.5]), "double (float64)"),
        (pa.array([["tea"]]), "list<string>"),
        (pa.array([[{"a": "tea"}]]), "list<struct<a: string>>"),
        (pa.array([0], pa.timestamp("us", "UTC")), "timestamp[us, tz=UTC]"),
        (pa.array([True]), "bool"),
        (pa.RunEndEncodedArray.from_arrays([2], ["tea"]), "run_end_encoded<int64, string>"),
        (pa.array([bytes(16)], pa.uuid()), "extension<arrow.uuid> of fixed_size_binary[16]"),
    ],
)
def test_arrays_of_no_texts(encoder: Encoder, array: pa.Array, words: str) -> None:
    for obj, column, name in (
        (array, None, "the Arrow array"),
        (pa.table({"price": array}), "price", "column 'price'"),
    ):
        with pytest.raises(TypeError, match=re.escape(f"{name} is {words}, not text;")):
            encoder.encode_arrow(obj, column=column)


BINARY_TYPES = [pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary("i4", pa.binary())]


@pytest.mark.parametrize("kind", BINARY_TYPES, ids=str)
def test_binary_that_is_utf8(
    encoder: Encoder, texts: list[str | None], expected: FloatArray, kind: pa.DataType
) -> None:
    array = pa.array([None if text is None else text.encode() for text in texts], pa.binary())
    array = array.dictionary_encode() if pa.types.is_dictionary(kind) else array.cast(kind)
    chunks = pa.chunked_array([array[:5], array[5:]])
    for obj, column in ((array, None), (chunks, None), (pa.table({"text": array}), "text")):
        assert_same_bits(encoder.encode_arrow(obj, column=column).to_numpy(), expected)
    assert_same_bits(encoder.encode_arrow(array[11:99]).to_numpy(), expected[11:99])


def test_binary_of_polars(encoder: Encoder) -> None:
    series = pl.Series([b"tea", None, "caf\u00e9".encode()])
    vectors = encoder.encode_arrow(series)
    assert vectors.null_count == 1
    assert_same_bits(vectors.to_numpy()[[0, 2]], encoder.encode(["tea", "caf\u00e9"]))


def test_what_hands_out_a_reader(
    encoder: Encoder, texts: list[str | None], expected: FloatArray, tmp_path: Path
) -> None:
    table = pa.table({"id": range(len(texts)), "text": texts})
    parquet.write_table(table, tmp_path / "texts.parquet", row_group_size=100)
    source = dataset.dataset(tmp_path)
    fragment = next(iter(source.get_fragments()))
    for obj in (source, source.scanner(), fragment, dataset.dataset(table), table.to_reader()):
        assert_same_bits(encoder.encode_arrow(obj, column="text").to_numpy(), expected)
    connection = duckdb.connect()
    connection.register("source", table)
    relation = connection.sql("SELECT text FROM source ORDER BY id")
    assert_same_bits(encoder.encode_arrow(relation, column="text").to_numpy(), expected)
    executed = connection.execute("SELECT text FROM source ORDER BY id")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a relation is faster
        assert_same_bits(encoder.encode_arrow(executed, column="text").to_numpy(), expected)
    with pytest.raises(TypeError, match=r"what its collect\(\) gives may have one"):
        encoder.encode_arrow(pl.LazyFrame({"text": ["tea"]}), column="text")
    with pytest.raises(TypeError, match=r"what its read\(\) gives may have one"):
        encoder.encode_arrow(parquet.ParquetFile(tmp_path / "texts.parquet"), column="text")


@pytest.mark.parametrize("list_type", ["fixed", "list"])
def test_pickled_vectors_are_the_same_to_pyarrow(
    encoder: Encoder, texts: list[str | None], list_type: ListType
) -> None:
    many = texts * 6
    vectors = encoder.encode_arrow(pa.chunked_array([many, many]), list_type=list_type)
    before, after = (
        pa.chunked_array(obj) for obj in (vectors, pickle.loads(pickle.dumps(vectors)))
    )
    assert before.num_chunks == after.num_chunks == 2
    assert before.type == after.type
    assert before.is_valid().equals(after.is_valid())
    assert before.drop_null().equals(after.drop_null())


def test_reader_that_fails(encoder: Encoder) -> None:
    schema = pa.schema({"text": pa.string()})

    def batches() -> Any:
        yield pa.record_batch({"text": ["tea"]})
        raise RuntimeError("the disk is gone")

    reader = pa.RecordBatchReader.from_batches(schema, batches())
    with pytest.raises((OSError, ValueError), match="the disk is gone"):
        encoder.encode_arrow(reader, column="text")


@every_list_type
def test_into_pyarrow(
    encoder: Encoder, texts: list[str | None], expected: FloatArray, list_type: ListType
) -> None:
    item = pa.field("item", pa.float32())
    arrow_type = pa.list_(item, DIMS) if list_type == "fixed" else pa.list_(item)
    for obj in (pa.array(texts), in_chunks(pa.array(texts), 10, 20)):
        vectors = encoder.encode_arrow(obj, list_type=list_type)
        array, chunked = pa.array(vectors), pa.chunked_array(vectors)
        assert array.type == chunked.type == arrow_type == pa.field(vectors).type
        assert_same_bits(numpy_of(array), expected)
        assert_same_bits(numpy_of(chunked), expected)
        assert array.values.buffers()[1].address == vectors.to_numpy().ctypes.data
        del vectors
        gc.collect()
        assert_same_bits(numpy_of(array), expected)


def test_lists_of_more_than_2_to_31_numbers_are_refused_as_one(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nibblevec._arrow_columns.MAX_LIST_VALUES", 16 * DIMS)
    chunked = pa.chunked_array(encoder.encode_arrow(pa.array(["tea"] * 50), list_type="list"))
    assert [len(chunk) for chunk in chunked.chunks] == [16, 16, 16, 2]
    assert_same_bits(numpy_of(chunked), encoder.encode(["tea"] * 50))


# polars


@pytest.mark.parametrize("polars_type", [pl.String, pl.Categorical, pl.Enum], ids=str)
@every_list_type
def test_polars(
    encoder: Encoder,
    texts: list[str | None],
    expected: FloatArray,
    polars_type: Any,
    list_type: ListType,
) -> None:
    dtype = (
        pl.Enum(pl.Series(texts).drop_nulls().unique()) if polars_type is pl.Enum else polars_type
    )
    series = pl.Series("text", texts, dtype)
    chunked = pl.concat([series[:9], series[9:9], series[9:]], rechunk=False)
    for obj, rows in (
        (series, expected),
        (series[5:900], expected[5:900]),
        (chunked, expected),
        (chunked[3:2000], expected[3:2000]),
        (series[:0], expected[:0]),
    ):
        vectors = encoder.encode_arrow(obj, list_type=list_type)
        assert_same_bits(vectors.to_numpy(), rows)
        column = pl.Series("embedding", vectors)
        assert column.dtype == (
            pl.Array(pl.Float32, DIMS) if list_type == "fixed" else pl.List(pl.Float32)
        )
        assert column.null_count() == obj.null_count()
        assert_same_bits(numpy_of(column.to_arrow()), rows)
        frame = obj.alias("text").to_frame()
        assert_same_bits(encoder.encode_arrow(frame, column="text").to_numpy(), rows)


def test_polars_map_batches(
    encoder: Encoder, texts: list[str | None], expected: FloatArray
) -> None:
    frame = pl.DataFrame({"text": texts})
    embed = pl.col("text").map_batches(
        lambda texts: pl.Series(encoder.encode_arrow(texts)),
        return_dtype=pl.Array(pl.Float32, DIMS),
    )
    for result in (
        frame.with_columns(embedding=embed),
        frame.lazy().with_columns(embedding=embed).collect(),
    ):
        assert_same_bits(numpy_of(result["embedding"].to_arrow()), expected)


# pandas


@pytest.mark.parametrize(
    "dtype", ["str", "string[pyarrow]", "string[python]", "object", "category"]
)
def test_pandas(
    encoder: Encoder, texts: list[str | None], expected: FloatArray, dtype: str
) -> None:
    series = pd.Series(texts, dtype=dtype, name="text")
    for obj, rows in (
        (series, expected),
        (series[5:900], expected[5:900]),
        (series[:0], expected[:0]),
    ):
        assert_same_bits(encoder.encode_arrow(obj.astype(dtype)).to_numpy(), rows)
    vectors = encoder.encode_arrow(series.to_frame(), column="text")
    assert_same_bits(vectors.to_numpy(), expected)
    column = pd.Series.from_arrow(vectors)
    assert len(column) == len(texts)
    for row in (0, 5, len(texts) - 1):
        if texts[row] is None:
            assert column[row] is None
        else:
            assert_same_bits(np.asarray(column[row], np.float32), expected[row])


# DuckDB


def test_duckdb(encoder: Encoder, texts: list[str | None], expected: FloatArray) -> None:
    source = pa.table({"id": range(len(texts)), "text": texts})
    with duckdb.connect() as connection:
        relation = connection.from_arrow(source).order("id")
        vectors = encoder.encode_arrow(relation, column="text")
        assert_same_bits(vectors.to_numpy(), expected)
        result = source.append_column("embedding", pa.chunked_array(vectors))
        back = connection.from_arrow(result).order("id").fetchnumpy()["embedding"]
        mask = np.ma.getmaskarray(back)
        for row in (0, 5, len(texts) - 1):
            assert bool(mask[row].all()) == (texts[row] is None)
            if texts[row] is not None:
                assert_same_bits(np.asarray(back[row], np.float32), expected[row])


def test_duckdb_function(encoder: Encoder, texts: list[str | None], expected: FloatArray) -> None:
    source = pa.table({"id": range(len(texts)), "text": texts})
    connection: Any
    with duckdb.connect() as connection:
        connection.register("source", source)
        connection.create_function(
            "embed",
            lambda texts: pa.chunked_array(encoder.encode_arrow(texts)),
            ["VARCHAR"],
            f"FLOAT[{DIMS}]",
            type="arrow",
            null_handling="special",
        )
        result = connection.sql("SELECT embed(text) AS v FROM source ORDER BY id").to_arrow_table()
        assert_same_bits(numpy_of(result["v"]), expected)


@pytest.mark.parametrize("processes", [None, 2])
def test_datasets_map(
    encoder: Encoder, texts: list[str | None], expected: FloatArray, processes: int | None
) -> None:
    dataset = datasets.Dataset.from_dict({"text": texts}).with_format("arrow")
    embed = EncodeColumn(encoder, column="text", output="embedding")
    result = dataset.map(embed, batched=True, batch_size=7, num_proc=processes)
    assert result.features["embedding"] == datasets.List(datasets.Value("float32"), length=DIMS)
    assert_same_bits(numpy_of(result.data.column("embedding")), expected)


def test_page_about_arrow() -> None:
    page = (Path(__file__).parents[2] / "docs" / "arrow.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 7
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "arrow.md", "exec"), names)
    assert names["embed"](names["source"]).schema.names == ["id", "text", "embedding"]
    assert names["vectors"].null_count == 1


# EncodeColumn


@every_list_type
@pytest.mark.parametrize("kind", ["table", "batch", "sliced", "empty"])
def test_encode_column(
    encoder: Encoder,
    texts: list[str | None],
    expected: FloatArray,
    list_type: ListType,
    kind: str,
) -> None:
    table = pa.table({"text": texts, "id": range(len(texts))}, metadata={"who": "me"})
    given: dict[str, Callable[[], Any]] = {
        "table": lambda: pa.concat_tables([table[:9], table[9:]]),
        "batch": lambda: table.to_batches()[0],
        "sliced": lambda: table.to_batches()[0][7:99],
        "empty": lambda: table[:0],
    }
    source = given[kind]()
    rows = {"sliced": expected[7:99], "empty": expected[:0]}.get(kind, expected)
    encode = EncodeColumn(encoder, column="text", output="v", list_type=list_type)
    for callable_ in (encode, pickle.loads(pickle.dumps(encode))):
        result = callable_(source)
        assert type(result) is type(source)
        assert result.schema.names == ["text", "id", "v"]
        assert result.schema.metadata == {b"who": b"me"}
        assert result.select(["text", "id"]).equals(source.select(["text", "id"]))
        assert_same_bits(numpy_of(result["v"]), rows)


def test_encode_column_of_other_tables(
    encoder: Encoder, texts: list[str | None], expected: FloatArray
) -> None:
    encode = EncodeColumn(encoder, truncate_dim=None, nulls="null")
    for table in (
        pl.DataFrame({"text": texts}),
        pd.DataFrame({"text": pd.Series(texts, dtype="str")}),
    ):
        result = encode(table)
        assert isinstance(result, pa.Table)
        assert_same_bits(numpy_of(result["embedding"]), expected)


def test_encode_column_refuses(encoder: Encoder) -> None:
    table = pa.table({"text": ["tea", None], "embedding": [1, 2]})
    with pytest.raises(ValueError, match="there is a column named 'embedding' already"):
        EncodeColumn(encoder)(table)
    with pytest.raises(ValueError, match="no column has the name 'body'"):
        EncodeColumn(encoder, column="body", output="v")(table)
    with pytest.raises(ValueError, match="text 1 is null"):
        EncodeColumn(encoder, output="v", nulls="error")(table)
    with pytest.raises(TypeError, match="column 'embedding' is int64, not text"):
        EncodeColumn(encoder, column="embedding", output="v")(table)


def test_vectors_may_be_used_by_all_at_once(
    encoder: Encoder, expected: FloatArray, texts: list[str | None]
) -> None:
    vectors: ArrowVectors = encoder.encode_arrow(pl.Series(texts))
    held = [pa.array(vectors), pl.Series(vectors), vectors.to_numpy(), pa.chunked_array(vectors)]
    del vectors
    gc.collect()
    assert_same_bits(numpy_of(held[0]), expected)
    assert_same_bits(numpy_of(held[1].to_arrow()), expected)
    assert_same_bits(held[2], expected)
    assert_same_bits(numpy_of(held[3]), expected)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc/self/statm")
def test_memory_is_flat(texts: list[str | None]) -> None:
    encoder = Encoder(threads=1)
    few = texts[6:306]
    table = pa.table({"text": few})
    encoded = table["text"].dictionary_encode()
    frame = pl.DataFrame({"text": few})
    series = pd.Series(few, dtype="str")
    embed = EncodeColumn(encoder, output="v", list_type="list")
    connection: Any
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")

        def call() -> None:
            vectors = encoder.encode_arrow(table, column="text")
            pa.array(vectors)
            pa.chunked_array(vectors)
            encoder.encode_arrow(encoded)
            embed(table)
            pl.Series(encoder.encode_arrow(frame["text"]))
            pd.Series.from_arrow(encoder.encode_arrow(series))
            encoder.encode_arrow(connection.from_arrow(table), column="text")
            with pytest.raises(ValueError, match="is null"):
                encoder.encode_arrow(table, column="text", nulls="error")

        def calls(count: int) -> int:
            for _ in range(count):
                call()
            gc.collect()
            with open("/proc/self/statm", encoding="ascii") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        before = calls(200)
        # A leak of one column of vectors in each call would be 600 MB.
        assert calls(1000) - before < 8 << 20
