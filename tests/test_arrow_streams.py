"""Streams of Arrow arrays and the capsules that hold them, whole and failing."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from arrow_by_hand import (
    ARRAY,
    SCHEMA,
    Column,
    GetLastError,
    GetNext,
    GetSchema,
    Producer,
    ReleaseArray,
    ReleaseSchema,
    ReleaseStream,
    capsule,
    rows_of_array,
    stream_of_rows,
    utf8,
)
from arrow_cases import (
    FEW,
    TEXTS,
    WITH_NULLS,
    assert_refused,
    assert_same_rows,
    changed,
    encoder_fixture,  # noqa: F401
    every_layout,
    expected_rows,
    failing,
    folder_fixture,  # noqa: F401
)

from nibblevec import Encoder
from nibblevec._vectors import BLOCK_TEXTS

# Streams


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


# Capsules


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
