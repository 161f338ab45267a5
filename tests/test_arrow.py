"""Arrow in and Arrow out, over structs laid down by hand; no Arrow library is needed."""

from __future__ import annotations

import copy
import ctypes
import errno
import gc
import multiprocessing
import os
import pickle
import random
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrow_by_hand import (
    ARRAY,
    SCHEMA,
    ArrowArray,
    ArrowSchema,
    Column,
    GetLastError,
    GetNext,
    GetSchema,
    Producer,
    ReleaseArray,
    ReleaseSchema,
    ReleaseStream,
    binary,
    bitmap,
    capsule,
    dictionary,
    exported_type,
    fixed_size,
    metadata,
    null,
    release,
    rows_of_array,
    stream_of_rows,
    table,
    take,
    utf8,
    utf8_view,
)
from bits import FloatArray, assert_same_bits
from tiny_models import TOKENIZER, write_model

from nibblevec import Encoder, _core, arrow
from nibblevec import _arrow_columns as arrow_columns
from nibblevec._arrow_columns import ArrowVectors
from nibblevec._tokenization.package import PackageTokenizer
from nibblevec._vectors import BLOCK_TEXTS

DIM = 30

# Longer texts are read in pieces of this length.
PIECE_BYTES = 1 << 15

TEXTS = [
    "a cup of tea",
    "",
    "the stock market fell, a cup of tea was hot!",
    "caf\u00e9",
    "\u4e2d\u6587 tea \U0001f600",
    "unable, playing! caf\u00e9 \U0001f600 and some more words",
    "tea\x00cup",
    "twelve bytes",
    "thirteen byte",
    "[CLS] \ufffd\uffff\U0010ffff",
    "b" * 200,
    "\ud7ff\ue000 \u07ff\u0800",
]
WITH_NULLS = [None if row % 3 == 1 else text for row, text in enumerate(TEXTS)]

LAYOUTS: dict[str, Callable[..., Column]] = {
    "utf8": utf8,
    "large_utf8": lambda texts, **options: utf8(texts, large=True, **options),
    "utf8_view": utf8_view,
    **{
        f"dictionary<{index}>": lambda texts, index=index, **options: dictionary(
            texts, index, **options
        )
        for index in "cCsSiIlL"
    },
    "dictionary<c, utf8_view>": lambda texts, **options: dictionary(
        texts, "c", values=utf8_view, **options
    ),
    "binary": lambda texts, **options: binary(utf8(texts, **options)),
    "large_binary": lambda texts, **options: binary(utf8(texts, large=True, **options)),
    "binary_view": lambda texts, **options: binary(utf8_view(texts, **options)),
    "dictionary<i, binary>": lambda texts, **options: dictionary(
        texts, "i", values=lambda known: binary(utf8(known)), **options
    ),
    "dictionary<S, binary_view>": lambda texts, **options: dictionary(
        texts, "S", values=lambda known: binary(utf8_view(known)), **options
    ),
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("arrow") / "model", dim=DIM)


@pytest.fixture
def encoder(folder: Path) -> Encoder:
    return Encoder(folder)


@pytest.fixture
def by_package(encoder: Encoder, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Encoder:
    """The same encoder, its tokenizer run by the package."""
    path = folder / TOKENIZER
    package = PackageTokenizer(path.read_bytes(), str(path), "asked for")
    monkeypatch.setattr(encoder, "_tokenizer", package)
    return encoder


def expected_rows(
    encoder: Encoder, texts: list[str | None], **options: Any
) -> list[FloatArray | None]:
    vectors = encoder.encode([text or "" for text in texts], **options)
    return [None if text is None else row for text, row in zip(texts, vectors, strict=True)]


def assert_same_rows(actual: list[FloatArray | None], expected: list[FloatArray | None]) -> None:
    assert [row is None for row in actual] == [row is None for row in expected]
    for ours, theirs in zip(actual, expected, strict=True):
        if ours is not None and theirs is not None:
            assert_same_bits(ours, theirs)


# In


@every_layout
@pytest.mark.parametrize("texts", [TEXTS, WITH_NULLS], ids=["texts", "nulls"])
@pytest.mark.parametrize("offset", [0, 1, 9])
def test_every_layout(
    encoder: Encoder, layout: Callable[..., Column], texts: list[str | None], offset: int
) -> None:
    producer = Producer(layout(texts, offset=offset))
    vectors = encoder.encode_arrow(producer)
    assert producer.all_released_once()
    assert len(vectors) == len(texts)
    assert vectors.null_count == texts.count(None)
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, texts))


@every_layout
@pytest.mark.parametrize("texts", [TEXTS, WITH_NULLS], ids=["texts", "nulls"])
def test_tokenizer_that_is_not_native(
    by_package: Encoder, layout: Callable[..., Column], texts: list[str | None]
) -> None:
    producer = Producer(layout(texts, offset=3))
    vectors = by_package.encode_arrow(producer, prompt="tea ")
    assert producer.all_released_once()
    assert_same_rows(rows_of_array(vectors), expected_rows(by_package, texts, prompt="tea "))


@every_layout
def test_streams(encoder: Encoder, layout: Callable[..., Column]) -> None:
    parts = [WITH_NULLS[:5], [], WITH_NULLS[5:6], WITH_NULLS[6:], []]
    producer = Producer(*(layout(part, offset=2) for part in parts))
    vectors = encoder.encode_arrow(producer)
    assert producer.given == {"schema": 1, "array": 5, "stream": 1}
    assert producer.all_released_once()
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, WITH_NULLS))


def test_stream_of_many_arrays(encoder: Encoder) -> None:
    texts = [f"tea {row} a cup" if row % 5 else None for row in range(2 * BLOCK_TEXTS + 500)]
    sizes = [1, 0, 700, BLOCK_TEXTS, 63, 1, 9000]
    parts = []
    begin = 0
    for size in [*sizes, len(texts) - sum(sizes)]:
        parts.append(utf8(texts[begin : begin + size]))
        begin += size
    producer = Producer(*parts)
    vectors = encoder.encode_arrow(producer)
    assert producer.all_released_once()
    expected = expected_rows(encoder, texts)
    arrays = list(stream_of_rows(vectors))
    assert len(arrays) == 2  # small ones were put together
    assert_same_rows([row for rows in arrays for row in rows], expected)
    assert_same_rows(rows_of_array(vectors), expected)
    assert_same_rows([row for rows in stream_of_rows(vectors) for row in rows], expected)


def test_stream_of_one_array(encoder: Encoder) -> None:
    producer = Producer(utf8(TEXTS), stream=True)
    assert_same_rows(
        rows_of_array(encoder.encode_arrow(producer)), expected_rows(encoder, [*TEXTS])
    )
    assert producer.all_released_once()


@every_layout
def test_column_of_a_table(encoder: Encoder, layout: Callable[..., Column]) -> None:
    other = Column(b"l", len(TEXTS), [None, bytes(8 * len(TEXTS))], 0)
    columns = {"id": other, "text": layout(WITH_NULLS, offset=1), "": utf8(TEXTS)}
    producer = Producer(table(columns), stream=True)
    vectors = encoder.encode_arrow(producer, column="text")
    assert producer.all_released_once()
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, WITH_NULLS))
    unnamed = rows_of_array(encoder.encode_arrow(Producer(table(columns)), column=""))
    assert_same_rows(unnamed, expected_rows(encoder, [*TEXTS]))


@every_layout
def test_structs_that_are_sliced_and_null(encoder: Encoder, layout: Callable[..., Column]) -> None:
    column = layout(WITH_NULLS, offset=2)
    structs = table({"text": column}, offset=3, length=6)
    valid = [True] * 3 + [True, False, True, True, False, True]
    structs.buffers = [bitmap(valid)]
    structs.null_count = 2
    expected = [
        text if is_valid else None
        for text, is_valid in zip(WITH_NULLS[3:9], valid[3:], strict=True)
    ]
    producer = Producer(structs)
    vectors = encoder.encode_arrow(producer, column="text")
    assert producer.all_released_once()
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, expected))


@every_layout
def test_no_texts(encoder: Encoder, layout: Callable[..., Column]) -> None:
    for producer in (Producer(layout([])), Producer(layout([]), stream=True)):
        vectors = encoder.encode_arrow(producer, truncate_dim=7)
        assert producer.all_released_once()
        assert len(vectors) == 0
        assert vectors.to_numpy().shape == (0, 7)
        assert rows_of_array(vectors) == []
        assert sum(map(len, stream_of_rows(vectors))) == 0


def test_empty_arrays_may_lack_buffers(encoder: Encoder) -> None:
    for column in (
        Column(b"u", 0, [None, None, None]),
        Column(b"U", 0, [None, None, None], offset=5),
        Column(b"vu", 0, [None, None, None]),
        Column(b"i", 0, [None, None], dictionary=utf8([])),
        Column(b"u", 2, [None, struct.pack("<3i", 4, 4, 4), None]),
    ):
        producer = Producer(column)
        assert len(encoder.encode_arrow(producer)) == column.length
        assert producer.all_released_once()


def test_type_of_nulls(encoder: Encoder) -> None:
    vectors = encoder.encode_arrow(Producer(null(3), null(0), null(70)))
    assert vectors.null_count == len(vectors) == 73
    assert rows_of_array(vectors) == [None] * 73
    assert np.isnan(vectors.to_numpy()).all()
    empty = encoder.encode_arrow(Producer(null(3)), nulls="empty")
    assert_same_rows(rows_of_array(empty), expected_rows(encoder, ["", "", ""]))


@every_layout
def test_nulls_as_empty_texts(encoder: Encoder, layout: Callable[..., Column]) -> None:
    vectors = encoder.encode_arrow(Producer(layout(WITH_NULLS)), nulls="empty", prompt="tea ")
    assert vectors.null_count == 0
    expected = expected_rows(encoder, [text or "" for text in WITH_NULLS], prompt="tea ")
    assert_same_rows(rows_of_array(vectors), expected)


@every_layout
def test_nulls_as_errors(encoder: Encoder, layout: Callable[..., Column]) -> None:
    producer = Producer(layout(TEXTS), layout(WITH_NULLS))
    with pytest.raises(ValueError, match=rf"^text {len(TEXTS) + 1} is null$"):
        encoder.encode_arrow(producer, nulls="error")
    assert producer.all_released_once()
    assert len(encoder.encode_arrow(Producer(layout(TEXTS)), nulls="error")) == len(TEXTS)


@pytest.mark.parametrize(
    "options",
    [
        {"prompt": "the hot "},
        {"prompt": "caf"},  # goes on within a word
        {"prompt": "\u4e2d\U0001f600"},
        {"prompt_name": "tea"},
        {"truncate_dim": 7, "normalize_embeddings": True},
        {"threads": 3, "normalize_embeddings": True, "prompt": "a "},
    ],
    ids=str,
)
@every_layout
def test_options_are_those_of_encode(
    folder: Path, layout: Callable[..., Column], options: dict[str, Any]
) -> None:
    encoder = Encoder(folder, prompts={"tea": "a cup of tea: "})
    vectors = encoder.encode_arrow(Producer(layout(WITH_NULLS)), **options)
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, WITH_NULLS, **options))


def test_default_prompt(folder: Path) -> None:
    encoder = Encoder(folder, prompts={"tea": "tea: "}, default_prompt_name="tea")
    vectors = encoder.encode_arrow(Producer(utf8(["a cup"])))
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, ["tea: a cup"], prompt=""))


@pytest.mark.parametrize("native", [True, False])
def test_texts_that_are_cut_are_counted(
    encoder: Encoder, native: bool, request: pytest.FixtureRequest
) -> None:
    if not native:
        encoder = request.getfixturevalue("by_package")
    encoder.max_seq_length = 2
    texts = ["tea", "a cup of tea", None, "tea tea", "a b c d"]
    vectors = encoder.encode_arrow(Producer(utf8(texts[:2]), utf8(texts[2:])))
    assert encoder.truncated_texts == 2
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, texts))
    encoder.encode_arrow(Producer(utf8(texts)), prompt="a cup of")
    assert encoder.truncated_texts == 4  # a null has no prompt
    encoder.encode_arrow(Producer(utf8(texts)), prompt="a cup of", nulls="empty")
    assert encoder.truncated_texts == 5


def test_bits_do_not_depend_on_threads(encoder: Encoder) -> None:
    texts = ["the stock market fell, a cup of tea! " * (row % 50) for row in range(3000)]
    expected = expected_rows(encoder, [*texts])
    for threads in (1, 4):
        vectors = encoder.encode_arrow(Producer(utf8(texts)), threads=threads)
        assert_same_rows(rows_of_array(vectors), expected)


def test_text_of_megabytes(encoder: Encoder) -> None:
    texts: list[str | None] = ["tea", "the caf\u00e9 fell, a cup of tea! " * 100_000, "cup"]
    for prompt in ("", "a hot "):
        vectors = encoder.encode_arrow(Producer(utf8(texts)), prompt=prompt)
        assert_same_rows(rows_of_array(vectors), expected_rows(encoder, texts, prompt=prompt))


# What is no Arrow, or no texts


ITERABLE = "; encode takes any iterable of str"
LISTED = "; encode takes a str, a list and an array of str"


class Lazy:
    """What must be collected first, as a LazyFrame of polars."""

    def collect(self) -> None:
        raise AssertionError("the caller's to ask for")


class NoReader:
    """What has a method of this name that does something else."""

    def to_reader(self) -> int:
        return 3


@pytest.mark.parametrize(
    ("bad", "advice"),
    [
        (None, ""),
        (3, ""),
        ("tea", LISTED),
        (["tea"], LISTED),
        (np.array(["tea"]), LISTED),
        (iter(["tea"]), ITERABLE),
        (Lazy(), r"; what its collect\(\) gives may have one"),
        (Lazy, ""),
        (NoReader(), ""),
        (Producer, ""),
        (ArrowVectors, ""),
    ],
)
def test_what_does_not_speak_arrow(encoder: Encoder, bad: Any, advice: str) -> None:
    message = f"^{type(bad).__name__} has neither __arrow_c_array__ nor __arrow_c_stream__{advice}$"
    with pytest.raises(TypeError, match=message):
        encoder.encode_arrow(bad)


class Scanner:
    """Hands out a reader, as that of pyarrow."""

    def __init__(self, method: str, reader: Producer) -> None:
        setattr(self, method, lambda: reader)


class Dataset:
    """Hands out a scanner of some columns, as that of pyarrow."""

    def __init__(self, reader: Producer) -> None:
        self.reader = reader
        self.asked: list[Any] = []

    def scanner(self, **options: Any) -> Scanner:
        self.asked.append(options)
        return Scanner("to_reader", self.reader)


@pytest.mark.parametrize("method", arrow_columns.READER_METHODS)
def test_readers_that_are_handed_out(encoder: Encoder, method: str) -> None:
    producer = Producer(utf8(TEXTS), utf8(WITH_NULLS))
    vectors = encoder.encode_arrow(Scanner(method, producer))
    assert producer.all_released_once()
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, [*TEXTS, *WITH_NULLS]))


def test_of_a_dataset_the_column_alone_is_read(encoder: Encoder) -> None:
    dataset = Dataset(Producer(table({"text": utf8(TEXTS)}), stream=True))
    vectors = encoder.encode_arrow(dataset, column="text")
    assert dataset.asked == [{"columns": ["text"]}]
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, list(TEXTS)))
    dataset = Dataset(Producer(table({"text": utf8(TEXTS)}), stream=True))
    with pytest.raises(ValueError, match="no column is named, there are 'text'"):
        encoder.encode_arrow(dataset)
    assert dataset.asked == [{}]


@pytest.mark.parametrize("size", [1, 3, 16])
@pytest.mark.parametrize("offset", [0, 9])
def test_texts_of_a_fixed_size(encoder: Encoder, size: int, offset: int) -> None:
    texts: list[Any] = ["tea cup hot and more"[row : row + size] for row in range(4)] * 3
    texts[5] = None
    for column in (
        fixed_size(texts, offset=offset),
        dictionary(texts, "c", offset=offset, values=fixed_size),
    ):
        for producer in (Producer(column), Producer(column, stream=True)):
            vectors = encoder.encode_arrow(producer)
            assert producer.all_released_once()
            assert_same_rows(rows_of_array(vectors), expected_rows(encoder, texts))
    structs = table({"other": utf8(FEW * 6), "text": fixed_size(texts)}, offset=2, length=7)
    vectors = encoder.encode_arrow(Producer(structs), column="text")
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, texts[2:9]))
    with pytest.raises(ValueError, match="text 1 is not UTF-8 at byte 0"):
        encoder.encode_arrow(Producer(fixed_size([b"tea", b"\xff--"])))


def schema_of(format: str, *children: Column | None, **fields: Any) -> Column:
    return Column(format.encode(), 1, [None], children=list(children), schema_fields=fields)


def named_schema(name: str, format: str, *children: Column) -> Column:
    return Column(format.encode(), 1, [None], name=name.encode(), children=list(children))


EXTENSION = "ARROW:extension:name"
KEPT: list[Any] = []


def kept(content: bytes) -> int:
    """The address of bytes that stay where they are."""
    KEPT.append(ctypes.create_string_buffer(content, len(content)))
    return ctypes.addressof(KEPT[-1])


FORMATS = {
    "b": "bool",
    "c": "int8",
    "C": "uint8",
    "s": "int16",
    "S": "uint16",
    "i": "int32",
    "I": "uint32",
    "l": "int64",
    "L": "uint64",
    "e": "halffloat (float16)",
    "f": "float (float32)",
    "g": "double (float64)",
    "d:19,10": "decimal128(19,10)",
    "d:19,10,32": "decimal32(19,10)",
    "d:40,-2,256": "decimal256(40,-2)",
    "tdD": "date32[day]",
    "tdm": "date64[ms]",
    "tts": "time32[s]",
    "ttm": "time32[ms]",
    "ttu": "time64[us]",
    "ttn": "time64[ns]",
    "tss:": "timestamp[s]",
    "tsm:": "timestamp[ms]",
    "tsu:UTC": "timestamp[us, tz=UTC]",
    "tsn:Europe/Berlin": "timestamp[ns, tz=Europe/Berlin]",
    "tDs": "duration[s]",
    "tDm": "duration[ms]",
    "tDu": "duration[us]",
    "tDn": "duration[ns]",
    "tiM": "month_interval",
    "tiD": "day_time_interval",
    "tin": "month_day_nano_interval",
    "w:0": "fixed_size_binary[0]",
    "w:-3": "fixed_size_binary[-3]",
    "w:3x": "fixed_size_binary[3x]",
    "w:4294967297": "fixed_size_binary[4294967297]",
    "": "of the Arrow format ''",
    "uu": "of the Arrow format 'uu'",
    "x": "of the Arrow format 'x'",
    "\u00e9": "of the Arrow format '\u00e9'",
    "tsx:": "of the Arrow format 'tsx:'",
    "ts": "of the Arrow format 'ts'",
    "+x": "of the Arrow format '+x'",
    "+l": "list<>",
    "+s:": "of the Arrow format '+s:'",
}

OTHER_TYPES: dict[str, tuple[Callable[[], Column], str]] = {
    **{code: (partial(schema_of, code), words) for code, words in FORMATS.items()},
    "list": (lambda: schema_of("+l", schema_of("u")), "list<string>"),
    "large_list": (lambda: schema_of("+L", schema_of("g")), "large_list<double (float64)>"),
    "list_view": (lambda: schema_of("+vl", schema_of("vu")), "list_view<string_view>"),
    "large_list_view": (lambda: schema_of("+vL", schema_of("z")), "large_list_view<binary>"),
    "vectors": (
        lambda: schema_of("+w:3", schema_of("f")),
        "fixed_size_list<float (float32)>[3]",
    ),
    "lists of lists": (
        lambda: schema_of("+l", schema_of("+l", schema_of("n"))),
        "list<list<null>>",
    ),
    "struct in a list": (
        lambda: schema_of("+l", schema_of("+s", named_schema("a", "u"), named_schema("b", "i"))),
        "list<struct<a: string, b: int32>>",
    ),
    "map": (
        lambda: schema_of("+m", schema_of("+s", named_schema("key", "u"), named_schema("v", "i"))),
        "map<struct<key: string, v: int32>>",
    ),
    "dense union": (
        lambda: schema_of("+ud:0,1", named_schema("a", "u"), named_schema("b", "b")),
        "dense_union<a: string, b: bool>",
    ),
    "sparse union": (lambda: schema_of("+us:0", named_schema("a", "u")), "sparse_union<a: string>"),
    "run ends": (
        lambda: schema_of("+r", named_schema("run_ends", "i"), named_schema("values", "u")),
        "run_end_encoded<int32, string>",
    ),
    "uuid": (
        lambda: schema_of("w:16", metadata=kept(metadata({"a": "b", EXTENSION: "arrow.uuid"}))),
        "extension<arrow.uuid> of fixed_size_binary[16]",
    ),
    "bytes of an extension": (
        lambda: schema_of("z", metadata=kept(metadata({EXTENSION: "geoarrow.wkb"}))),
        "extension<geoarrow.wkb> of binary",
    ),
    "list of nothing": (lambda: schema_of("+l", None), "list<...>"),
    "children that are missing": (lambda: schema_of("+l", n_children=5), "list<>"),
}


@pytest.mark.parametrize("name", OTHER_TYPES)
def test_column_of_another_type(encoder: Encoder, name: str) -> None:
    make, words = OTHER_TYPES[name]
    message = re.escape(f" is {words}, not text; expected string, large_string, string_view,")
    for producer in (Producer(make()), Producer(make(), stream=True)):
        with pytest.raises(TypeError, match=f"^the Arrow array{message}"):
            encoder.encode_arrow(producer)
        assert producer.released["schema"] == producer.given["schema"] == 1
        assert producer.all_released_once()
    structs = table({"text": utf8(FEW), "price": make()})
    for producer in (Producer(structs), Producer(structs, stream=True)):
        with pytest.raises(TypeError, match=f"^column 'price'{message}"):
            encoder.encode_arrow(producer, column="price")
        assert producer.all_released_once()
    encoded = Column(b"c", 1, [None, bytes(64)], dictionary=make())
    whole = re.escape(f"the Arrow array is dictionary<values={words}, indices=int8>, not text;")
    with pytest.raises(TypeError, match=f"^{whole}"):
        encoder.encode_arrow(Producer(encoded))


def test_words_of_a_type_are_few(encoder: Encoder) -> None:
    deep = schema_of("u")
    for _ in range(200):
        deep = schema_of("+l", deep)
    wide = schema_of("+l", schema_of("+s", *(named_schema("n" * 500, "u") for _ in range(200))))
    for column in (deep, wide):
        with pytest.raises(TypeError, match=r"is list<.*\.\.\.>+, not text") as caught:
            encoder.encode_arrow(Producer(column))
        assert len(str(caught.value)) < 600


def test_text_of_an_extension_is_text(encoder: Encoder) -> None:
    column = changed(utf8(TEXTS), schema_fields={"metadata": kept(metadata({EXTENSION: "json"}))})
    vectors = encoder.encode_arrow(Producer(column))
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, list(TEXTS)))
    # What is no extension says nothing of the bytes.
    for content in (metadata({"a": "b"}), metadata({}), struct.pack("=ii", 1, -5)):
        column = changed(binary(utf8(TEXTS)), schema_fields={"metadata": kept(content)})
        assert len(encoder.encode_arrow(Producer(column))) == len(TEXTS)


def test_vectors_are_no_texts(encoder: Encoder) -> None:
    vectors = encoder.encode_arrow(Producer(utf8(TEXTS)))
    with pytest.raises(TypeError, match=r"is fixed_size_list<float \(float32\)>\[30\], not text"):
        encoder.encode_arrow(vectors)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (None, "no column is named, there are 'a', 'b', 'b'$"),
        ("c", "no column has the name 'c', there are 'a', 'b', 'b'$"),
        ("b", "two columns are named 'b'$"),
        ("\u00e9", "no column has the name"),
        ("a\x00", "no column has the name"),
    ],
)
def test_columns_that_are_not_there(encoder: Encoder, column: str | None, message: str) -> None:
    columns = {"a": utf8(TEXTS), "b": utf8(TEXTS), "c": utf8(TEXTS)}
    structs = table(columns)
    columns["c"].name = b"b"
    producer = Producer(structs)
    with pytest.raises(ValueError, match=message):
        encoder.encode_arrow(producer, column=column)
    assert producer.all_released_once()


def test_names_of_columns_are_shown_in_whole_characters(encoder: Encoder) -> None:
    for name in ("\u4e2d" * 27, "a" + "\u4e2d" * 27, "\U0001f600" * 21, "a" * 81):
        shown = name.encode()[:80].decode(errors="ignore")
        for column, message in (
            (None, f"no column is named, there are '{shown}'$"),
            ("text", f"no column has the name 'text', there are '{shown}'$"),
        ):
            with pytest.raises(ValueError, match=message):
                encoder.encode_arrow(Producer(table({name: utf8(TEXTS)})), column=column)
        with pytest.raises(ValueError, match=f"no column has the name '{shown}', there are 'a'$"):
            encoder.encode_arrow(Producer(table({"a": utf8(TEXTS)})), column=name)


def test_table_of_no_columns(encoder: Encoder) -> None:
    for column, message in ((None, "no column is named"), ("a", "no column has the name 'a'")):
        producer = Producer(Column(b"+s", 0, [None]))
        with pytest.raises(ValueError, match=f"{message}, there are none$"):
            encoder.encode_arrow(producer, column=column)
        assert producer.all_released_once()


def test_what_a_producer_says_need_not_be_utf8(encoder: Encoder) -> None:
    with pytest.raises(TypeError, match="is of the Arrow format 'x\ufffd', not text"):
        encoder.encode_arrow(Producer(Column(b"x\xff", 1, [None])))
    structs = table({"a": utf8(TEXTS)})
    structs.children[0].name = b"caf\xe9"  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="there are 'caf\ufffd'"):
        encoder.encode_arrow(Producer(structs), column="a")
    for code, error in ((errno.EIO, OSError), (errno.EINVAL, ValueError)):
        with pytest.raises(error, match="Arrow stream: caf\ufffd") as caught:
            encoder.encode_arrow(Producer(utf8(FEW), stream=True, **failing(code, b"caf\xe9")))
        assert not isinstance(caught.value, UnicodeError)


@pytest.mark.parametrize("column", [0, b"text", ["text"]])
def test_columns_that_are_no_names(encoder: Encoder, column: Any) -> None:
    producer = Producer(table({"text": utf8(TEXTS)}))
    with pytest.raises(TypeError, match=f"^column is {type(column).__name__}, expected str$"):
        encoder.encode_arrow(producer, column=column)
    assert producer.given == {"schema": 0, "array": 0, "stream": 0}


def test_column_of_an_array(encoder: Encoder) -> None:
    producer = Producer(utf8(TEXTS))
    with pytest.raises(ValueError, match="a column is named, but there are none"):
        encoder.encode_arrow(producer, column="text")
    assert producer.all_released_once()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("nulls", "skip", "nulls must be one of 'null', 'empty', 'error', not 'skip'"),
        ("nulls", None, "nulls must be one of"),
        ("list_type", "large", "list_type must be one of 'fixed', 'list', not 'large'"),
        ("prompt_name", "tea", "no prompt has the name 'tea'"),
        ("truncate_dim", 31, r"truncate_dim 31 is not in 1\.\.30"),
        ("threads", 0, "threads must be at least 1"),
        ("prompt", "a\ud800", "the prompt holds a lone surrogate at character 1"),
    ],
)
def test_options_that_are_refused(encoder: Encoder, option: str, value: Any, message: str) -> None:
    producer = Producer(utf8(TEXTS))
    with pytest.raises(ValueError, match=message):
        encoder.encode_arrow(producer, **{option: value})
    assert producer.all_released_once()


def test_prompt_that_is_no_text(by_package: Encoder) -> None:
    with pytest.raises(ValueError, match="the prompt holds a lone surrogate at character 1"):
        by_package.encode_arrow(Producer(utf8(TEXTS)), prompt="a\ud800")
    with pytest.raises(TypeError, match="prompt is bytes"):
        by_package.encode_arrow(Producer(utf8(TEXTS)), prompt=b"a")  # type: ignore[arg-type]


# Bytes that are not UTF-8

INVALID = [
    b"\xff",
    b"tea \x80",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf tea",
    b"\xed\xa0\x80",  # a surrogate
    b"12345678\xed\xbf\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"caf\xc3",
    b"\xe4\xb8",
    b"\xe4\xb8 ",
    b"tea \xf0\x9f\x98",
    b"\xf0\x9f\x98a",
    b"\xc3\xa9\xc3(",
]


def first_invalid(text: bytes) -> int | None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


@pytest.mark.parametrize("text", INVALID)
@pytest.mark.parametrize("native", [True, False])
@every_layout
def test_bytes_that_are_not_utf8(
    encoder: Encoder,
    layout: Callable[..., Column],
    native: bool,
    text: bytes,
    request: pytest.FixtureRequest,
) -> None:
    if not native:
        encoder = request.getfixturevalue("by_package")
    position = first_invalid(text)
    assert position is not None
    texts = ["tea", "a cup", text, "tea"]
    producer = Producer(layout(["tea", None]), layout(texts, offset=1))
    with pytest.raises(ValueError, match=rf"^text 4 is not UTF-8 at byte {position}$"):
        encoder.encode_arrow(producer)
    assert producer.all_released_once()


@pytest.mark.parametrize("prompt", ["", "a hot "])
def test_long_text_that_is_not_utf8(encoder: Encoder, prompt: str) -> None:
    """A long text is read, and checked, in pieces: it fails where the whole does."""
    whole = "caf\u00e9 \u4e2d\u6587 tea \U0001f600".encode() * 5000
    assert len(whole) > 3 * PIECE_BYTES
    for place in (PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 2, 2 * PIECE_BYTES, len(whole)):
        for begin in range(place - 3, place + 1):
            for bad in (b"\xff", b"\x80", b"\xe4\xb8", b"\xf0\x9f\x98", b"\x80\x80\x80\x80"):
                text = whole[:begin] + bad + whole[begin:]
                position = first_invalid(text)
                if position is None:  # it goes on well by chance
                    continue
                with pytest.raises(ValueError, match=rf"^text 1 is not UTF-8 at byte {position}$"):
                    encoder.encode_arrow(Producer(utf8(["tea", text])), prompt=prompt)


def test_all_texts_of_few_bytes(encoder: Encoder) -> None:
    """What is UTF-8 is what Python takes for it."""
    edges = [0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC]
    edges += [0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5]
    chooser = random.Random(5)
    texts = [b"a" * chooser.randrange(9) + bytes([a, b]) for a in edges for b in edges]
    texts += [bytes([a, b, 0x80]) for a in edges[11:] for b in edges]
    texts += [bytes([a, b, 0xBF, 0x80]) for a in edges[17:] for b in edges]
    texts += [bytes([0xF0, 0x9F, a, b]) for a in edges for b in edges[1:9]]
    valid = [text for text in texts if first_invalid(text) is None]
    assert 50 < len(valid) < len(texts) - 500
    vectors = encoder.encode_arrow(Producer(utf8(valid)))
    assert_same_bits(vectors.to_numpy(), encoder.encode([text.decode() for text in valid]))
    for text in texts:
        position = first_invalid(text)
        if position is not None:
            with pytest.raises(ValueError, match=rf"^text 0 is not UTF-8 at byte {position}$"):
                encoder.encode_arrow(Producer(utf8([text])))


def test_every_character(encoder: Encoder) -> None:
    points = [*range(0xD800), *range(0xE000, 0x110000)]
    texts = ["".join(map(chr, points[i : i + 1000])) for i in range(0, len(points), 1000)]
    vectors = encoder.encode_arrow(Producer(utf8(texts, large=True)))
    assert_same_bits(vectors.to_numpy(), encoder.encode(texts))


# Structs that contradict themselves or the specification


def changed(column: Column, **changes: Any) -> Column:
    for name, value in changes.items():
        setattr(column, name, value)
    return column


def with_buffer(column: Column, number: int, content: bytes | None) -> Column:
    column.buffers[number] = content
    return column


def offsets(*numbers: int, letter: str = "i") -> bytes:
    return struct.pack(f"<{len(numbers)}{letter}", *numbers)


def view(length: int, buffer: int = 0, offset: int = 0) -> bytes:
    return struct.pack("<i4sii", length, b"abcd", buffer, offset)


def views(*content: bytes, sizes: bytes = struct.pack("<q", 20)) -> Column:
    return Column(b"vu", len(content), [None, b"".join(content), b"abcdefghijklmnopqrst", sizes], 0)


FEW = ["tea", "cup", "hot"]
MAX = (1 << 63) - 1

HOSTILE: dict[str, tuple[Callable[[], Column], str]] = {
    "length below 0": (lambda: changed(utf8(FEW), length=-1), "its length is -1"),
    "least length": (lambda: changed(utf8(FEW), length=-MAX - 1), "its length is -92233720368547"),
    "offset below 0": (lambda: changed(utf8(FEW), offset=-1), "its offset is -1"),
    "offset and length that overflow": (
        lambda: changed(utf8(FEW), offset=MAX, length=MAX),
        rf"its offset is \d+, its length {MAX}",
    ),
    "offset out of all memory": (lambda: changed(utf8(FEW), offset=1 << 60), "its offset is"),
    "length out of all memory": (
        lambda: changed(utf8(FEW), length=1 << 56, null_count=0),
        "offsets are more than there are addresses",
    ),
    "bitmap of a length out of all memory": (
        lambda: changed(utf8([*FEW, None]), length=1 << 56, null_count=-1),
        "offsets are more than there are addresses",
    ),
    "bitmap of views out of all memory": (
        lambda: changed(utf8_view([*FEW, None]), length=1 << 56, null_count=-1),
        "views are more than there are addresses",
    ),
    "bitmap of indices out of all memory": (
        lambda: changed(dictionary([*FEW, None], "i"), length=1 << 56, null_count=-1),
        "indices are more than there are addresses",
    ),
    "null_count below -1": (lambda: changed(utf8(FEW), null_count=-2), "its null_count is -2"),
    "null_count above length": (
        lambda: changed(utf8(FEW), null_count=4),
        "its null_count is 4, its length 3",
    ),
    "null_count without a bitmap": (
        lambda: changed(utf8(FEW), null_count=1),
        "its null_count is 1, but 0 are null",
    ),
    "null_count too low": (
        lambda: changed(utf8([*FEW, None, None]), null_count=1),
        "its null_count is 1, but 2 are null",
    ),
    "null_count zero": (
        lambda: changed(utf8([*FEW * 40, None]), null_count=0),
        "its null_count is 0, but 1 are null",
    ),
    "null_count of indices": (
        lambda: changed(dictionary([None, "tea"]), null_count=2),
        "its null_count is 2, but 1 are null",
    ),
    "two buffers": (lambda: changed(utf8(FEW), buffers=[None, bytes(16)]), "it has 2 buffers"),
    "four buffers": (
        lambda: changed(utf8(FEW), buffers=[None, bytes(16), b"", b""]),
        "it has 4 buffers",
    ),
    "buffers below 0": (
        lambda: changed(utf8(FEW), array_fields={"n_buffers": -1}),
        "it has -1 buffers",
    ),
    "two buffers of views": (
        lambda: changed(utf8_view(FEW), buffers=[None, bytes(48)]),
        "it has 2 buffers",
    ),
    "buffers beyond 2^31 of views": (
        lambda: changed(utf8_view(FEW), array_fields={"n_buffers": 1 << 40}),
        "it has 1099511627776 buffers",
    ),
    "three buffers of indices": (
        lambda: changed(dictionary(FEW), buffers=[None, bytes(3), b""]),
        "it has 3 buffers",
    ),
    "buffers of nulls": (lambda: changed(null(2), buffers=[None, None]), "it has 2 buffers"),
    "no buffers": (
        lambda: changed(utf8(FEW), array_fields={"buffers": None}),
        "its buffers are missing",
    ),
    "no offsets": (lambda: with_buffer(utf8(FEW), 1, None), "its offsets are missing"),
    "no bytes": (lambda: with_buffer(utf8(FEW), 2, None), "its bytes are missing"),
    "no indices": (lambda: with_buffer(dictionary(FEW), 1, None), "its indices are missing"),
    "no views": (lambda: with_buffer(utf8_view(FEW), 1, None), "its views are missing"),
    "no sizes": (lambda: with_buffer(utf8_view(FEW), 4, None), "its sizes of buffers are missing"),
    "no buffer of views": (
        lambda: with_buffer(utf8_view([20 * "a"]), 2, None),
        "its bytes are missing",
    ),
    "three buffers of a fixed size": (
        lambda: changed(fixed_size(FEW), buffers=[None, bytes(9), b""]),
        "it has 3 buffers",
    ),
    "no texts of a fixed size": (
        lambda: with_buffer(fixed_size(FEW), 1, None),
        "its texts are missing",
    ),
    "texts of a fixed size out of all memory": (
        lambda: changed(fixed_size(FEW), length=1 << 56, null_count=0),
        "texts are more than there are addresses",
    ),
    "null_count of texts of a fixed size": (
        lambda: changed(fixed_size([*FEW, None]), null_count=0),
        "its null_count is 0, but 1 are null",
    ),
    "first offset below 0": (
        lambda: with_buffer(utf8(FEW), 1, offsets(-3, 3, 6, 9)),
        "its first offset is -3",
    ),
    "offsets that decrease": (
        lambda: with_buffer(utf8(FEW), 1, offsets(0, 6, 3, 9)),
        "text 1: its offsets are 6 and 3",
    ),
    "offsets that rise and fall back": (
        lambda: with_buffer(utf8(FEW), 1, offsets(0, 1 << 30, 1 << 30, 9)),
        "text 0: its offsets are 0 and 1073741824, the first of all is 0, the last 9",
    ),
    "offsets that fall below 0": (
        lambda: with_buffer(utf8(FEW), 1, offsets(0, -(1 << 31), 9, 9)),
        "text 0: its offsets are 0 and -2147483648",
    ),
    "offsets of nulls that decrease": (
        lambda: with_buffer(utf8([None, None, None]), 1, offsets(0, 2, 1, 2)),
        "text 1: its offsets are 2 and 1",
    ),
    "large offsets that decrease": (
        lambda: with_buffer(utf8(FEW, large=True), 1, offsets(0, 3, 2, 9, letter="q")),
        "text 1: its offsets are 3 and 2",
    ),
    "large offset out of all memory": (
        lambda: with_buffer(utf8(FEW, large=True), 1, offsets(0, 3, 6, 1 << 62, letter="q")),
        f"{1 << 62} bytes are more than there are addresses",
    ),
    "largest offset": (
        lambda: with_buffer(utf8(FEW, large=True), 1, offsets(0, MAX, MAX, MAX, letter="q")),
        f"{MAX} bytes are more than there are addresses",
    ),
    "view of a length below 0": (lambda: views(view(-1)), "text 0: its length is -1"),
    "view of the next buffer": (lambda: views(view(13, 1)), "text 0: it lies in buffer 1 of 1"),
    "view of a buffer below 0": (lambda: views(view(13, -1)), "text 0: it lies in buffer -1 of 1"),
    "view beyond its buffer": (
        lambda: views(view(20), view(13, 0, 8)),
        "text 1: 13 bytes at 8 of a buffer of 20",
    ),
    "view of all bytes there are": (
        lambda: views(view((1 << 31) - 1, 0, (1 << 31) - 1)),
        "text 0: 2147483647 bytes at 2147483647 of a buffer of 20",
    ),
    "view of an offset below 0": (
        lambda: views(view(13, 0, -1)),
        "text 0: 13 bytes at -1 of a buffer of 20",
    ),
    "view without buffers": (
        lambda: Column(b"vu", 1, [None, view(13), None], 0),
        "text 0: it lies in buffer 0 of 0",
    ),
    "buffer of a size below 0": (
        lambda: views(view(3), sizes=struct.pack("<q", -1)),
        "a buffer of -1 bytes",
    ),
    "buffer out of all memory": (
        lambda: views(view(3), sizes=struct.pack("<q", MAX)),
        f"{MAX} bytes are more than there are addresses",
    ),
    "index below 0": (
        lambda: with_buffer(dictionary(FEW), 1, bytes([0, 0xFF, 0])),
        "text 1: its index is -1, its dictionary has 3",
    ),
    "index beyond the dictionary": (
        lambda: with_buffer(dictionary(FEW, "C"), 1, bytes([0, 3, 0])),
        "text 1: its index is 3, its dictionary has 3",
    ),
    "greatest index": (
        lambda: with_buffer(dictionary(FEW, "L"), 1, offsets(0, -1, 0, letter="q")),
        f"text 1: its index is {2 * MAX + 1}, its dictionary has 3",
    ),
    "least index": (
        lambda: with_buffer(dictionary(FEW, "l"), 1, offsets(0, -MAX - 1, 0, letter="q")),
        f"text 1: its index is {-MAX - 1}, its dictionary has 3",
    ),
    "index into nothing": (
        lambda: changed(dictionary(["tea"]), dictionary=utf8([])),
        "text 0: its index is 0, its dictionary has 0",
    ),
    "dictionary that is missing": (
        lambda: changed(dictionary(FEW), array_fields={"dictionary": None}),
        "its dictionary is missing",
    ),
    "dictionary of offsets that decrease": (
        lambda: changed(dictionary(FEW), dictionary=with_buffer(utf8(FEW), 1, offsets(0, 6, 3, 9))),
        "text of the dictionary 1: its offsets are 6 and 3",
    ),
    "dictionary of offsets before the first": (
        lambda: changed(dictionary(FEW), dictionary=with_buffer(utf8(FEW), 1, offsets(5, 0, 3, 5))),
        "text of the dictionary 0: its offsets are 5 and 0",
    ),
    "dictionary of offsets beyond the last, of no bytes": (
        lambda: changed(
            with_buffer(dictionary(FEW), 1, bytes([1, 1, 1])),
            dictionary=Column(b"u", 3, [None, offsets(5, 0, 3, 5), None]),
        ),
        "text of the dictionary 1: its offsets are 0 and 3, the first of all is 5, the last 5",
    ),
    "dictionary of views beyond their buffer": (
        lambda: changed(dictionary(FEW), dictionary=views(view(3), view(3), view(13, 0, 8))),
        "text of the dictionary 2: 13 bytes at 8 of a buffer of 20",
    ),
    "dictionary of a length below 0": (
        lambda: changed(dictionary(FEW), dictionary=changed(utf8(FEW), length=-1)),
        "Arrow dictionary: its length is -1",
    ),
    "indices that are texts": (
        lambda: changed(dictionary(FEW), format=b"u"),
        "a dictionary with indices of the format 'u'",
    ),
    "indices that are floats": (
        lambda: changed(dictionary(FEW), format=b"f"),
        "a dictionary with indices of the format 'f'",
    ),
    "no format": (lambda: changed(utf8(FEW), format=None), "it has no format"),
    "no format of the dictionary": (
        lambda: changed(dictionary(FEW), dictionary=changed(utf8(FEW), format=None)),
        "Arrow schema of the dictionary: it has no format",
    ),
    "dictionary that is released": (
        lambda: changed(
            dictionary(FEW), dictionary=changed(utf8(FEW), array_fields={"release": ReleaseArray()})
        ),
        "Arrow dictionary: it is released",
    ),
}


def take_one_of_three(structs: Column) -> None:
    """The last offset says that there are no bytes."""
    structs.length = 1
    structs.children[1] = Column(b"u", 3, [None, offsets(0, 1 << 30, 0, 0), None], name=b"text")


HOSTILE_STRUCTS: dict[str, tuple[Callable[[Column], None], str]] = {
    "length below 0": (lambda t: setattr(t, "length", -1), "Arrow struct: its length is -1"),
    "offset below 0": (lambda t: setattr(t, "offset", -1), "Arrow struct: its offset is -1"),
    "longer than its child": (
        lambda t: setattr(t, "length", 4),
        "Arrow array: its length is 3, that of its structs 4",
    ),
    "child of a length out of all memory": (
        lambda t: t.children.__setitem__(
            1, changed(utf8([*FEW, None]), length=1 << 56, null_count=-1, name=b"text")
        ),
        "offsets are more than there are addresses",
    ),
    "beyond its child": (
        lambda t: setattr(t, "offset", 1),
        "Arrow array: its length is 3, that of its structs 4",
    ),
    "no buffers": (lambda t: setattr(t, "buffers", []), "Arrow struct: it has 0 buffers"),
    "null_count": (lambda t: setattr(t, "null_count", 1), "its null_count is 1, but 0 are null"),
    "one child": (
        lambda t: t.array_fields.update(n_children=1),
        "it has 1 children, its schema 2",
    ),
    "three children": (
        lambda t: t.array_fields.update(n_children=3),
        "it has 3 children, its schema 2",
    ),
    "children below 0": (
        lambda t: t.array_fields.update(n_children=-2),
        "it has -2 children, its schema 2",
    ),
    "no children": (lambda t: t.array_fields.update(children=None), "its child is missing"),
    "children below 0 in the schema": (
        lambda t: t.schema_fields.update(n_children=-1),
        "Arrow schema: it has -1 children",
    ),
    "no children in the schema": (
        lambda t: t.schema_fields.update(children=None),
        "Arrow schema: its children are missing",
    ),
    "child that is missing": (
        lambda t: t.children.__setitem__(0, None),
        "Arrow schema of a column: it is missing",
    ),
    "child that is released": (
        lambda t: t.children[1].array_fields.update(release=ReleaseArray()),  # type: ignore[union-attr]
        "Arrow array: it is released",
    ),
    "child whose schema is released": (
        lambda t: t.children[1].schema_fields.update(release=ReleaseSchema()),  # type: ignore[union-attr]
        "Arrow schema of a column: it is released",
    ),
    "offsets that rise beyond the part that is taken": (
        take_one_of_three,
        "its bytes are missing",
    ),
}


def assert_refused(encoder: Encoder, producer: Producer, column: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        encoder.encode_arrow(producer, column=column)
    del caught
    assert producer.all_released_once()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_array(encoder: Encoder, name: str) -> None:
    make, message = HOSTILE[name]
    assert_refused(encoder, Producer(make()), None, message)
    assert_refused(encoder, Producer(make(), stream=True), None, message)
    column = make()
    structs = table({"other": utf8(FEW), "text": column}, length=max(column.length, 0))
    assert_refused(encoder, Producer(structs), "text", message)


def test_hostile_array_behind_others(encoder: Encoder) -> None:
    bad = with_buffer(utf8(FEW), 1, offsets(0, 6, 3, 9))
    producer = Producer(utf8(TEXTS), bad)
    message = f"text {len(TEXTS) + 1}: its offsets are 6 and 3"
    assert_refused(encoder, producer, None, message)
    assert producer.given["array"] == 2


@pytest.mark.parametrize("name", HOSTILE_STRUCTS)
def test_hostile_structs(encoder: Encoder, name: str) -> None:
    change, message = HOSTILE_STRUCTS[name]
    structs = table({"other": utf8(FEW), "text": utf8(FEW)})
    change(structs)
    assert_refused(encoder, Producer(structs), "text", message)


def test_what_is_not_looked_at_may_be_anything(encoder: Encoder) -> None:
    """Slots that are null, texts that no index leads to, other columns."""
    expected = expected_rows(encoder, [None, "tea"])
    texts = [None, "tea"]
    null_view = with_buffer(utf8_view(texts), 1, view(-1, 9, -9) + struct.pack("<i12s", 3, b"tea"))
    null_index = with_buffer(dictionary(texts), 1, bytes([0xFF, 1]))
    bad_value = changed(dictionary(texts), dictionary=utf8([None, "tea", b"\xff"]))
    unused = with_buffer(utf8([None, "tea", "cup"]), 1, offsets(0, 0, 3, 1, 6))
    unused.length, unused.null_count = 4, -1
    bad_offsets = changed(dictionary(texts), dictionary=unused)
    bad_column = changed(utf8(FEW), length=-1)
    bad_table = table({"text": utf8(texts), "other": bad_column}, length=2)
    for column in (null_view, null_index, bad_value, bad_offsets):
        assert_same_rows(rows_of_array(encoder.encode_arrow(Producer(column))), expected)
    vectors = encoder.encode_arrow(Producer(bad_table), column="text")
    assert_same_rows(rows_of_array(vectors), expected)


@pytest.mark.parametrize("length", [1 << 40, 1 << 56, 1 << 57], ids=hex)
def test_nulls_beyond_all_memory(encoder: Encoder, length: int) -> None:
    """They take up none themselves; nothing is done for each of them before that is seen."""
    structs = table({"text": null(length)})
    encoded = Column(b"c", 1, [None, b"\0"], dictionary=null(length))
    for producer, column in ((Producer(null(length)), None), (Producer(structs), "text")):
        with pytest.raises(MemoryError) as caught:
            encoder.encode_arrow(producer, column=column)
        del caught
        assert producer.all_released_once()
    assert encoder.encode_arrow(Producer(encoded)).null_count == 1


def test_buffers_that_are_not_aligned(encoder: Encoder) -> None:
    for make in LAYOUTS.values():
        column = make(WITH_NULLS)
        kept = []
        for number, content in enumerate(column.buffers):
            if isinstance(content, bytes):
                memory = ctypes.create_string_buffer(b"?" + content, len(content) + 1)
                kept.append(memory)
                column.buffers[number] = ctypes.addressof(memory) + 1
        vectors = encoder.encode_arrow(Producer(column))
        assert_same_rows(rows_of_array(vectors), expected_rows(encoder, WITH_NULLS))


class Capsules:
    def __init__(self, *capsules: object) -> None:
        if len(capsules) == 1:
            self.__arrow_c_stream__ = lambda: capsules[0]
        else:
            self.__arrow_c_array__ = lambda: capsules


def test_capsules_of_other_names(encoder: Encoder) -> None:
    producer = Producer(utf8(FEW))
    schema, array = producer.schema(utf8(FEW)), producer.array(utf8(FEW))
    for capsules in (
        (capsule(array, ARRAY), capsule(schema, SCHEMA)),
        (capsule(schema, b"schema"), capsule(array, ARRAY)),
        (3, capsule(array, ARRAY)),
        (capsule(array, ARRAY),),
        (None,),
    ):
        with pytest.raises(TypeError, match="expected a capsule named 'arrow_"):
            encoder.encode_arrow(Capsules(*capsules))
    assert producer.released == {"schema": 0, "array": 0, "stream": 0}
    with pytest.raises(TypeError, match="expected a capsule named 'arrow_array'"):
        encoder.encode_arrow(Capsules(capsule(schema, SCHEMA), "array"))
    assert producer.released == {"schema": 1, "array": 0, "stream": 0}


def test_capsules_that_are_used_twice(encoder: Encoder) -> None:
    producer = Producer(utf8(FEW))
    capsules = producer.__arrow_c_array__()
    assert len(encoder.encode_arrow(Capsules(*capsules))) == 3
    with pytest.raises(ValueError, match="'arrow_schema' is released, or was taken before"):
        encoder.encode_arrow(Capsules(*capsules))
    assert producer.all_released_once()
    other = Producer(utf8(FEW))
    with pytest.raises(ValueError, match="'arrow_array' is released, or was taken before"):
        encoder.encode_arrow(Capsules(other.__arrow_c_array__()[0], capsules[1]))
    stream = Producer(utf8(FEW), stream=True)
    taken = stream.__arrow_c_stream__()
    assert len(encoder.encode_arrow(Capsules(taken))) == 3
    with pytest.raises(ValueError, match="'arrow_array_stream' is released, or was taken before"):
        encoder.encode_arrow(Capsules(taken))
    assert stream.all_released_once()


@pytest.mark.parametrize("kind", ["schema", "array"])
def test_structs_that_are_released(encoder: Encoder, kind: str) -> None:
    release = ReleaseSchema() if kind == "schema" else ReleaseArray()
    producer = Producer(changed(utf8(FEW), **{f"{kind}_fields": {"release": release}}))
    with pytest.raises(ValueError, match=f"'arrow_{kind}' is released"):
        encoder.encode_arrow(producer)
    # The array stays in its capsule where the schema is refused.
    assert producer.released == {"schema": kind == "array", "array": 0, "stream": 0}


# Streams that fail


def failing(code: int, message: bytes | None) -> dict[str, Any]:
    address = None
    if message is not None:
        address = ctypes.cast(ctypes.c_char_p(message), ctypes.c_void_p).value
    return {
        "get_next": GetNext(lambda *_: code),
        "get_last_error": GetLastError(lambda _: address),
    }


@pytest.mark.parametrize("function", ["get_next", "get_schema"])
@pytest.mark.parametrize(
    ("code", "text", "error", "message"),
    [
        (errno.EIO, b"the disk is gone", OSError, "the disk is gone"),
        (errno.EINVAL, b"no such thing", ValueError, "Arrow stream: no such thing"),
        (errno.EIO, None, OSError, "Arrow stream: "),
        (errno.ENOMEM, None, MemoryError, "bad_alloc"),
        (-1, b"odd", OSError, "odd"),
    ],
)
def test_stream_that_fails(
    encoder: Encoder,
    function: str,
    code: int,
    text: bytes | None,
    error: type[Exception],
    message: str,
) -> None:
    fields = failing(code, text)
    if function == "get_schema":
        fields["get_schema"] = GetSchema(lambda *_: code)
    producer = Producer(utf8(FEW), stream=True, **fields)
    with pytest.raises(error, match=message) as caught:
        encoder.encode_arrow(producer)
    if error is OSError:
        assert caught.value.errno == code  # type: ignore[attr-defined]
    del caught
    assert producer.all_released_once()


@pytest.mark.parametrize("missing", [{"get_next": GetNext()}, {"get_schema": GetSchema()}])
def test_stream_without_its_functions(encoder: Encoder, missing: dict[str, Any]) -> None:
    producer = Producer(utf8(FEW), stream=True, **missing)
    assert_refused(encoder, producer, None, "Arrow stream: its functions are missing")


def test_stream_without_an_error(encoder: Encoder) -> None:
    fields = {"get_next": GetNext(lambda *_: errno.EINVAL), "get_last_error": GetLastError()}
    producer = Producer(utf8(FEW), stream=True, **fields)
    assert_refused(encoder, producer, None, "Arrow stream: ")


def test_stream_that_is_released(encoder: Encoder) -> None:
    producer = Producer(utf8(FEW), stream=True, release=ReleaseStream())
    assert_refused(encoder, producer, None, "'arrow_array_stream' is released")


def test_object_that_fails(encoder: Encoder) -> None:
    class Failing:
        def __arrow_c_stream__(self) -> object:
            raise RuntimeError("not today")

    with pytest.raises(RuntimeError, match="not today"):
        encoder.encode_arrow(Failing())


def random_column(chooser: random.Random) -> Column:
    texts: list[Any] = [
        chooser.choice(
            [None, "", "tea", "a cup of tea and more", b"\xff", "caf\u00e9 \u4e2d\u6587"]
        )
        for _ in range(chooser.randrange(12))
    ]
    return chooser.choice(list(LAYOUTS.values()))(texts, offset=chooser.randrange(3))


def spoil(column: Column, chooser: random.Random) -> None:
    """Change what can be seen to be wrong, and leave what cannot."""
    if column.format == b"vu" and chooser.random() < 0.7:
        buffer = column.buffers[1]
        assert isinstance(buffer, bytes)
        if buffer:
            numbers = np.frombuffer(buffer, "<i4").copy()
            # No inline view grows beyond the views themselves.
            place = chooser.randrange(len(numbers))
            numbers[place] = chooser.choice([-1, 0, 1, 12, 13, 1 << 30, -(1 << 31), (1 << 31) - 1])
            column.buffers[1] = numbers.tobytes()
        return
    if column.dictionary is not None and chooser.random() < 0.6:
        if chooser.random() < 0.5:
            spoil(column.dictionary, chooser)
        elif isinstance(column.buffers[1], bytes) and column.buffers[1]:
            indices = bytearray(column.buffers[1])
            indices[chooser.randrange(len(indices))] = chooser.randrange(256)
            column.buffers[1] = bytes(indices)
        return
    name, value = chooser.choice(
        [
            ("length", chooser.randrange(-2, max(column.length, 1))),
            ("offset", chooser.randrange(-2, column.offset + 1)),
            ("null_count", chooser.randrange(-3, 12)),
            ("buffers", column.buffers[: chooser.randrange(4)]),
            ("buffers", [None] * len(column.buffers)),
            ("format", chooser.choice([b"u", b"vu", b"U", b"n", b"+s", b"i", b"", None])),
        ]
    )
    if name == "format":  # of another width than the buffers only where it is refused
        value = value if value in (b"n", b"+s", b"", None) else b"+x"
    setattr(column, name, value)


@pytest.mark.parametrize("seed", range(20))
def test_random_structs(encoder: Encoder, seed: int) -> None:
    """Whatever is wrong: a result or an error, and everything released once."""
    chooser = random.Random(seed)
    outcomes: set[type] = set()
    for _ in range(100):
        columns = [random_column(chooser)]
        if chooser.random() < 0.8:
            spoil(columns[0], chooser)
        name = None
        if chooser.random() < 0.3:
            columns = [table({"text": columns[0], "other": utf8(FEW)}, length=chooser.randrange(4))]
            name = "text"
        producer = Producer(*columns, stream=chooser.random() < 0.3)
        try:
            vectors = encoder.encode_arrow(producer, column=name)
        except (ValueError, TypeError) as error:
            outcomes.add(type(error))
            del error
        else:
            outcomes.add(ArrowVectors)
            assert len(rows_of_array(vectors)) == len(vectors)
        assert producer.all_released_once(), (producer.released, producer.given, producer.errors)
    assert {ValueError, ArrowVectors} <= outcomes


# Out


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


# Threads, processes, signals


def test_threads_encode_at_once(encoder: Encoder) -> None:
    batches = [[f"tea {seed} {row}" for row in range(400)] for seed in range(12)]
    expected = [encoder.encode(texts) for texts in batches]
    start = threading.Barrier(6)

    def encode(number: int) -> list[FloatArray]:
        start.wait()
        return [
            encoder.encode_arrow(Producer(utf8(batches[i]), utf8([])), threads=2).to_numpy()
            for i in (number, number + 6)
        ]

    with ThreadPoolExecutor(6) as pool:
        for number, results in enumerate(pool.map(encode, range(6))):
            for i, vectors in zip((number, number + 6), results, strict=True):
                assert_same_bits(vectors, expected[i])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_forked_process(encoder: Encoder) -> None:
    texts = ["the stock market fell, a cup of tea! " * 20] * 2000
    vectors = encoder.encode_arrow(Producer(utf8(texts)), threads=2)
    expected = vectors.to_numpy()
    child = os.fork()
    if child == 0:
        again = encoder.encode_arrow(Producer(utf8(texts)), threads=2).to_numpy()
        os._exit(0 if np.array_equal(again, expected) and len(rows_of_array(vectors)) else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT of a subprocess")
def test_ctrl_c_ends_a_call(folder: Path) -> None:
    script = (
        "import sys, nibblevec\n"
        "from arrow_by_hand import *\n"
        "encoder = nibblevec.Encoder(sys.argv[1], threads=1)\n"
        "producer = Producer(utf8(['the stock market fell!'] * 3_000_000))\n"
        "capsules = producer.__arrow_c_array__()\n"
        "class Texts:\n"
        "    def __arrow_c_array__(self): return capsules\n"
        "print('begun', flush=True)\n"
        "encoder.encode_arrow(Texts())\n"
        "print('not interrupted', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.3)
    assert process.poll() is None
    begin = time.perf_counter()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    seconds = time.perf_counter() - begin
    assert "KeyboardInterrupt" in err
    assert out == ""
    assert process.returncode == -signal.SIGINT
    assert seconds < 1


def test_needs_no_arrow_library(folder: Path) -> None:
    script = (
        "import sys, nibblevec\n"
        "from arrow_by_hand import *\n"
        "vectors = nibblevec.Encoder(sys.argv[1]).encode_arrow(Producer(utf8(['tea'])))\n"
        "assert len(rows_of_array(vectors)) == 1\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert not set(done.stdout.split()) & {"pyarrow", "pandas", "polars", "tokenizers", "torch"}


# EncodeColumn, as far as it goes without pyarrow; tests/compat has the rest


def test_encode_column_is_small_when_pickled(folder: Path) -> None:
    for model in (folder, Encoder(folder, truncate_dim=9)):
        encode = arrow.EncodeColumn(model, column="text", output="v", list_type="list")
        stored = pickle.dumps(encode)
        assert len(stored) < 2048
        other = pickle.loads(stored)
        assert other._options == encode._options
        assert other._encoder.__getstate__() == encode._encoder.__getstate__()


def test_what_a_callable_says_of_itself(encoder: Encoder) -> None:
    callable_ = arrow.EncodeColumn(encoder, column="body", output="v")
    assert repr(callable_) == f"EncodeColumn({encoder!r}, column='body', output='v')"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nulls": "skip"}, "nulls must be one of 'null', 'empty', 'error', not 'skip'"),
        ({"list_type": "array"}, "list_type must be one of 'fixed', 'list', not 'array'"),
    ],
)
def test_encode_column_refuses_at_once(
    encoder: Encoder, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        arrow.EncodeColumn(encoder, **options)
