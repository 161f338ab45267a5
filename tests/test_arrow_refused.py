"""What encode_arrow refuses: objects that are no Arrow, columns that hold no texts, options."""

from __future__ import annotations

import ctypes
import errno
import re
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from arrow_by_hand import (
    Column,
    Producer,
    binary,
    dictionary,
    fixed_size,
    metadata,
    rows_of_array,
    table,
    utf8,
)
from arrow_cases import (
    FEW,
    TEXTS,
    WITH_NULLS,
    assert_same_rows,
    by_package_fixture,  # noqa: F401
    changed,
    encoder_fixture,  # noqa: F401
    expected_rows,
    failing,
    folder_fixture,  # noqa: F401
)

from nibblevec import Encoder
from nibblevec import _arrow_columns as arrow_columns
from nibblevec._arrow_columns import ArrowVectors

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
