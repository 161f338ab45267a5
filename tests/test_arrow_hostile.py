"""Arrow structs that contradict themselves or the specification."""

from __future__ import annotations

import ctypes
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from arrow_by_hand import (
    Column,
    Producer,
    ReleaseArray,
    ReleaseSchema,
    dictionary,
    fixed_size,
    null,
    rows_of_array,
    table,
    utf8,
    utf8_view,
)
from arrow_cases import (
    FEW,
    LAYOUTS,
    TEXTS,
    WITH_NULLS,
    assert_refused,
    assert_same_rows,
    changed,
    encoder_fixture,  # noqa: F401
    expected_rows,
    folder_fixture,  # noqa: F401
    offsets,
    with_buffer,
)

from nibblevec import Encoder
from nibblevec._arrow_columns import ArrowVectors


def view(length: int, buffer: int = 0, offset: int = 0) -> bytes:
    return struct.pack("<i4sii", length, b"abcd", buffer, offset)


def views(*content: bytes, sizes: bytes = struct.pack("<q", 20)) -> Column:
    return Column(b"vu", len(content), [None, b"".join(content), b"abcdefghijklmnopqrst", sizes], 0)


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
