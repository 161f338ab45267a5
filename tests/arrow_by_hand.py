"""Arrow's C interface by hand: a producer that can lie, and a consumer that looks closely."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bits import FloatArray

Texts = Sequence["str | bytes | None"]


class ArrowSchema(ctypes.Structure):
    pass


class ArrowArray(ctypes.Structure):
    pass


class ArrowArrayStream(ctypes.Structure):
    pass


ReleaseSchema = ctypes.CFUNCTYPE(None, ctypes.POINTER(ArrowSchema))
ReleaseArray = ctypes.CFUNCTYPE(None, ctypes.POINTER(ArrowArray))
ReleaseStream = ctypes.CFUNCTYPE(None, ctypes.POINTER(ArrowArrayStream))
GetSchema = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ArrowArrayStream), ctypes.POINTER(ArrowSchema)
)
GetNext = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ArrowArrayStream), ctypes.POINTER(ArrowArray)
)
GetLastError = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(ArrowArrayStream))

ArrowSchema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_void_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(ArrowSchema))),
    ("dictionary", ctypes.POINTER(ArrowSchema)),
    ("release", ReleaseSchema),
    ("private_data", ctypes.c_void_p),
]
ArrowArray._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(ArrowArray))),
    ("dictionary", ctypes.POINTER(ArrowArray)),
    ("release", ReleaseArray),
    ("private_data", ctypes.c_void_p),
]
ArrowArrayStream._fields_ = [
    ("get_schema", GetSchema),
    ("get_next", GetNext),
    ("get_last_error", GetLastError),
    ("release", ReleaseStream),
    ("private_data", ctypes.c_void_p),
]

_python = ctypes.pythonapi
_python.PyCapsule_New.restype = ctypes.py_object
_python.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_python.PyCapsule_GetPointer.restype = ctypes.c_void_p
_python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_python.PyMem_RawMalloc.restype = ctypes.c_void_p
_python.PyMem_RawMalloc.argtypes = [ctypes.c_size_t]
_python.PyMem_RawFree.argtypes = [ctypes.c_void_p]

SCHEMA, ARRAY, STREAM = b"arrow_schema", b"arrow_array", b"arrow_array_stream"


def capsule(content: ctypes.Structure, name: bytes) -> object:
    """A capsule of a struct that stays with the caller."""
    return _python.PyCapsule_New(ctypes.addressof(content), name, None)


class Memory:
    """Bytes that malloc gave, so that a sanitizer sees who reads beyond them or after their end."""

    def __init__(self, content: bytes) -> None:
        self.address = _python.PyMem_RawMalloc(len(content))
        ctypes.memmove(self.address, content, len(content))

    def free(self) -> None:
        ctypes.memset(self.address, 0xFF, 1)
        _python.PyMem_RawFree(self.address)


@dataclass
class Column:
    """An array before it is laid down: its fields as they are to stand there, right or wrong.

    A buffer is bytes, None for a null pointer, or an address.
    """

    format: bytes | None
    length: int
    buffers: list[bytes | int | None]
    null_count: int = -1
    offset: int = 0
    name: bytes | None = b""
    children: list[Column | None] = field(default_factory=list)
    dictionary: Column | None = None
    # Fields of the structs that are to stand there instead.
    array_fields: dict[str, Any] = field(default_factory=dict)
    schema_fields: dict[str, Any] = field(default_factory=dict)


class Producer:
    """Hands out a column, as an array or as a stream of several, and counts the releases.

    Attributes:
        released: how often the top schema, arrays and the stream were released, by name.
        given: how often they were handed out.
    """

    def __init__(self, *columns: Column, stream: bool = False, **stream_fields: Any) -> None:
        self.columns = columns
        self.stream = stream or len(columns) != 1
        self.stream_fields = stream_fields
        self.released = {"schema": 0, "array": 0, "stream": 0}
        self.given = {"schema": 0, "array": 0, "stream": 0}
        self.errors: list[str] = []
        self._kept: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        if name == ("__arrow_c_stream__" if self.__dict__["stream"] else "__arrow_c_array__"):
            return self._stream_capsule if self.stream else self._array_capsules
        raise AttributeError(name)

    def all_released_once(self) -> bool:
        return self.released == self.given and not self.errors

    def _array_capsules(self) -> tuple[object, object]:
        schema, array = self.schema(self.columns[0]), self.array(self.columns[0])
        return capsule(schema, SCHEMA), capsule(array, ARRAY)

    def _stream_capsule(self) -> object:
        stream = ArrowArrayStream()
        columns = iter(self.columns)

        def get_schema(_: Any, out: Any) -> int:
            ctypes.memmove(
                out, ctypes.byref(self.schema(self.columns[0])), ctypes.sizeof(ArrowSchema)
            )
            return 0

        def get_next(_: Any, out: Any) -> int:
            column = next(columns, None)
            array = ArrowArray() if column is None else self.array(column)
            ctypes.memmove(out, ctypes.byref(array), ctypes.sizeof(ArrowArray))
            return 0

        def release(pointer: Any) -> None:
            self._count("stream", pointer)
            pointer.contents.release = ReleaseStream()

        stream.get_schema = GetSchema(get_schema)
        stream.get_next = GetNext(get_next)
        stream.get_last_error = GetLastError(lambda _: None)
        stream.release = ReleaseStream(release)
        for name, value in self.stream_fields.items():
            setattr(stream, name, value)
        self._kept.append((stream, get_schema, get_next, release))
        if stream.release:
            self.given["stream"] += 1
        return capsule(stream, STREAM)

    def schema(self, column: Column, *, is_top: bool = True) -> ArrowSchema:
        schema = ArrowSchema(column.format, column.name)
        below = [c and self.schema(c, is_top=False) for c in column.children]
        children = self._pointers(ArrowSchema, below)
        schema.n_children = len(column.children)
        schema.children = children
        if column.dictionary is not None:
            below = [*below, self.schema(column.dictionary, is_top=False)]
            schema.dictionary = ctypes.pointer(below[-1])

        def release(pointer: Any) -> None:
            self._count("schema" if is_top else None, pointer)
            _release_all(below)
            pointer.contents.release = ReleaseSchema()

        schema.release = ReleaseSchema(release)
        for name, value in column.schema_fields.items():
            setattr(schema, name, value)
        self._kept.append((schema, children, release, dict(column.schema_fields)))
        if is_top and schema.release:
            self.given["schema"] += 1
        return schema

    def array(self, column: Column, *, is_top: bool = True) -> ArrowArray:
        array = ArrowArray(column.length, column.null_count, column.offset, len(column.buffers))
        memories = [Memory(b) if isinstance(b, bytes) else None for b in column.buffers]
        addresses: list[Any] = [
            memory.address if memory else buffer
            for memory, buffer in zip(memories, column.buffers, strict=True)
        ]
        buffers = (ctypes.c_void_p * len(addresses))(*addresses)
        array.buffers = ctypes.cast(buffers, ctypes.POINTER(ctypes.c_void_p))
        below = [c and self.array(c, is_top=False) for c in column.children]
        children = self._pointers(ArrowArray, below)
        array.n_children = len(column.children)
        array.children = children
        if column.dictionary is not None:
            below = [*below, self.array(column.dictionary, is_top=False)]
            array.dictionary = ctypes.pointer(below[-1])

        def release(pointer: Any) -> None:
            self._count("array" if is_top else None, pointer)
            for memory in memories:
                if memory is not None:
                    memory.free()
            _release_all(below)
            pointer.contents.release = ReleaseArray()

        array.release = ReleaseArray(release)
        for name, value in column.array_fields.items():
            setattr(array, name, value)
        self._kept.append((array, buffers, children, release, dict(column.array_fields)))
        if is_top and array.release:
            self.given["array"] += 1
        return array

    def _pointers(self, kind: Any, structs: list[Any]) -> Any:
        if not structs:
            return None
        pointers = (ctypes.POINTER(kind) * len(structs))()
        for i, content in enumerate(structs):
            if content is not None:
                pointers[i] = ctypes.pointer(content)
        self._kept.append(pointers)
        return ctypes.cast(pointers, ctypes.POINTER(ctypes.POINTER(kind)))

    def _count(self, name: str | None, pointer: Any) -> None:
        if not pointer.contents.release:
            self.errors.append(f"{name} was released twice")
        if name is not None:
            self.released[name] += 1


def _release_all(structs: list[Any]) -> None:
    """Those that are there, whatever the struct above them says."""
    for content in structs:
        if content and content.release:
            content.release(ctypes.byref(content))


# Columns of texts. `offset` slots of rubbish stand before them.


def _encoded(texts: Texts) -> list[bytes]:
    return [
        b"" if text is None else text.encode() if isinstance(text, str) else text for text in texts
    ]


def bitmap(valid: Iterable[bool]) -> bytes:
    return np.packbits(np.array(list(valid), bool), bitorder="little").tobytes()


def _validity(texts: Texts, offset: int) -> dict[str, Any]:
    nulls = sum(text is None for text in texts)
    bits = bitmap([i % 2 == 0 for i in range(offset)] + [text is not None for text in texts])
    return {"buffer": bits if nulls else None, "null_count": nulls}


def utf8(texts: Texts, *, large: bool = False, offset: int = 0) -> Column:
    parts = [b"\xff rubbish"] * offset + _encoded(texts)
    ends = np.cumsum([0, *map(len, parts)]).astype("<i8" if large else "<i4")
    validity = _validity(texts, offset)
    buffers = [validity["buffer"], ends.tobytes(), b"".join(parts)]
    return Column(b"U" if large else b"u", len(texts), buffers, validity["null_count"], offset)


def utf8_view(texts: Texts, *, offset: int = 0) -> Column:
    data = [b"", b""]
    views = []
    for number, text in enumerate([b"\xff rubbish of many bytes"] * offset + _encoded(texts)):
        if len(text) <= 12:
            views.append(struct.pack("<i12s", len(text), text))
        else:
            where = number % 2
            views.append(struct.pack("<i4sii", len(text), text[:4], where, len(data[where])))
            data[where] += text
    validity = _validity(texts, offset)
    sizes = struct.pack("<qq", *map(len, data))
    buffers = [validity["buffer"], b"".join(views), *data, sizes]
    return Column(b"vu", len(texts), buffers, validity["null_count"], offset)


def binary(column: Column) -> Column:
    """The same column, its texts not said to be UTF-8."""
    column.format = {b"u": b"z", b"U": b"Z", b"vu": b"vz"}[column.format or b""]
    return column


def fixed_size(texts: Texts, *, offset: int = 0) -> Column:
    """Texts of one size."""
    size = next(len(text) for text in _encoded(texts) if text)
    parts = [b"\xff" * size] * offset + [text or b"\xff" * size for text in _encoded(texts)]
    assert {len(part) for part in parts} == {size}
    validity = _validity(texts, offset)
    buffers = [validity["buffer"], b"".join(parts)]
    return Column(b"w:%d" % size, len(texts), buffers, validity["null_count"], offset)


def metadata(pairs: dict[str, str]) -> bytes:
    """That of a schema, in this machine's order of bytes."""
    texts = [text.encode() for pair in pairs.items() for text in pair]
    return struct.pack("=i", len(pairs)) + b"".join(
        struct.pack("=i", len(text)) + text for text in texts
    )


def dictionary(texts: Texts, index: str = "c", *, offset: int = 0, values: Any = utf8) -> Column:
    """Nulls are null indices (even rows) or null values (odd ones)."""
    known = list(dict.fromkeys(texts))
    numbers = [known.index(text) for text in texts]
    valid = [text is not None or row % 2 == 1 for row, text in enumerate(texts)]
    bits = bitmap([True] * offset + valid)
    dtype = np.dtype(
        {"c": "i1", "C": "u1", "s": "<i2", "S": "<u2"}.get(index)
        or {"i": "<i4", "I": "<u4", "l": "<i8", "L": "<u8"}[index]
    )
    indices = np.array([99] * offset + numbers).astype(dtype)
    return Column(
        index.encode(),
        len(texts),
        [bits, indices.tobytes()],
        valid.count(False),
        offset,
        dictionary=values(known),
    )


def null(count: int) -> Column:
    return Column(b"n", count, [], count)


def table(columns: dict[str, Column], *, offset: int = 0, length: int | None = None) -> Column:
    children = list(columns.values())
    for name, column in columns.items():
        column.name = name.encode()
    count = children[0].length - offset if length is None else length
    return Column(b"+s", count, [None], 0, offset, children=list(children))


# The consumer


def take(content: Any, name: bytes, kind: Any) -> Any:
    """Move a struct out of its capsule."""
    pointer = ctypes.cast(_python.PyCapsule_GetPointer(content, name), ctypes.POINTER(kind))
    assert pointer.contents.release, f"{name!r} is released"
    taken = kind()
    ctypes.memmove(ctypes.byref(taken), pointer, ctypes.sizeof(kind))
    pointer.contents.release = type(pointer.contents.release)()
    return taken


def release(content: Any) -> None:
    content.release(ctypes.byref(content))
    assert not content.release


def exported_type(schema: ArrowSchema) -> str:
    """What `pyarrow` would call it."""
    assert schema.name == b""
    assert schema.n_children == 1
    assert not schema.dictionary
    child = schema.children[0].contents
    assert (child.format, child.name, child.n_children) == (b"f", b"item", 0)
    assert child.release
    assert schema.flags == child.flags == 2
    return str(schema.format.decode())


def exported_rows(schema: ArrowSchema, array: ArrowArray) -> list[FloatArray | None]:
    """A copy of each row, None for a null."""
    kind = exported_type(schema)
    assert array.offset == 0
    assert array.n_children == 1
    child = array.children[0].contents
    assert (child.null_count, child.offset, child.n_buffers, child.n_children) == (0, 0, 2, 0)
    assert not child.buffers[0]
    assert child.buffers[1] % 64 == 0
    numbers = np.ctypeslib.as_array((ctypes.c_float * child.length).from_address(child.buffers[1]))
    if kind == "+l":
        assert array.n_buffers == 2
        offsets = list((ctypes.c_int32 * (array.length + 1)).from_address(array.buffers[1]))
    else:
        assert array.n_buffers == 1
        dims = int(kind.removeprefix("+w:"))
        offsets = [dims * row for row in range(array.length + 1)]
    assert offsets[-1] == child.length
    valid = np.ones(array.length, bool)
    if array.buffers[0]:
        size = (array.length + 7) // 8
        bits = np.frombuffer(ctypes.string_at(array.buffers[0], size), np.uint8)
        valid = np.unpackbits(bits, bitorder="little")[: array.length].astype(bool)
    assert array.null_count == int((~valid).sum())
    return [
        numbers[begin:end].copy() if is_valid else None
        for begin, end, is_valid in zip(offsets, offsets[1:], valid, strict=False)
    ]


def rows_of_array(vectors: Any) -> list[FloatArray | None]:
    schema_capsule, array_capsule = vectors.__arrow_c_array__()
    schema = take(schema_capsule, SCHEMA, ArrowSchema)
    array = take(array_capsule, ARRAY, ArrowArray)
    rows = exported_rows(schema, array)
    release(schema)
    release(array)
    return rows


def stream_of_rows(vectors: Any) -> Iterator[list[FloatArray | None]]:
    """The rows of one array after the other."""
    stream = take(vectors.__arrow_c_stream__(), STREAM, ArrowArrayStream)
    schema = ArrowSchema()
    assert stream.get_schema(ctypes.byref(stream), ctypes.byref(schema)) == 0
    while True:
        array = ArrowArray()
        assert stream.get_next(ctypes.byref(stream), ctypes.byref(array)) == 0
        if not array.release:
            break
        yield exported_rows(schema, array)
        release(array)
    release(schema)
    release(stream)
