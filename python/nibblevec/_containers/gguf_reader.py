"""GGUF files, read with every promise of the format checked.

The `gguf` package's own reader makes an array of each number of a header, takes a cut file for one
with less data, and lets tensors overlap.

Source: the format's specification, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from nibblevec._containers.files import MAX_TOKENIZER_BYTES, ModelFile, ModelFormatError
from nibblevec._containers.gguf_format import (
    ARRAY,
    BOOL,
    DEFAULT_ALIGNMENT,
    MAGIC,
    STRING,
    TENSOR_TYPES,
    padded,
)
from nibblevec._containers.stored_tensors import StoredTensor

# Version 1 had counts of 32 bits. Version 3 has a big-endian variant, which is not read.
READ_VERSIONS = (2, 3)

MIN_ALIGNMENT = 8

# The specification's bounds of a key and of a tensor's name, and ggml's of dimensions.
MAX_KEY_BYTES = (1 << 16) - 1
MAX_NAME_BYTES = 64
MAX_DIMENSIONS = 4

# Bounds of the cost of a header, many times what the largest models need. Half of the bytes are for
# the longest tokenizer.json that is read, half for the tokens that other readers use.
MAX_COUNT = 1 << 14
MAX_STRINGS = 1 << 22
MAX_HEADER_BYTES = 2 * MAX_TOKENIZER_BYTES

# Bytes of a header that are read at a time.
CHUNK_BYTES = 1 << 16

# Types of values: name, and how `struct` spells one.
SCALARS = {
    0: ("uint8", "<B"),
    1: ("int8", "<b"),
    2: ("uint16", "<H"),
    3: ("int16", "<h"),
    4: ("uint32", "<I"),
    5: ("int32", "<i"),
    6: ("float32", "<f"),
    7: ("bool", "<B"),
    10: ("uint64", "<Q"),
    11: ("int64", "<q"),
    12: ("float64", "<d"),
}


class Value(NamedTuple):
    """A value of the metadata.

    Attributes:
        type_name: of the value; of its items if it is an array.
        length: number of items of an array, else None.
        data: a number, or a `_FilePart`: the bytes of a string, or of all items of an array.
    """

    type_name: str
    length: int | None
    data: Any


class GgufFile(NamedTuple):
    """The content of a GGUF file.

    Attributes:
        path: the file.
        metadata: values by key.
        tensors: by name; their shapes have the rows first, as arrays do; the format has them last.
    """

    path: str
    metadata: dict[str, Value]
    tensors: dict[str, StoredTensor]

    def string(self, key: str) -> str | None:
        """The string under this key; None if there is no such key.

        Raises:
            ModelFormatError: not a string, or not UTF-8.
        """
        value = self._value(key, "string", "a string")
        return None if value is None else _text(bytes(value.data), self.path, key)

    def string_bytes(self, key: str, max_bytes: int = MAX_HEADER_BYTES) -> bytes | None:
        """The bytes of the string under this key, unchecked; None if there is no such key.

        Raises:
            ModelFormatError: not a string, or longer than ``max_bytes``.
        """
        value = self._value(key, "string", "a string")
        if value is None:
            return None
        part: _FilePart = value.data
        if part.end - part.begin > max_bytes:
            problem = f"{part.end - part.begin} bytes, expected at most {max_bytes}"
            raise ModelFormatError(self.path, key, problem)
        return bytes(part)

    def boolean(self, key: str) -> bool | None:
        """The boolean under this key; None if there is no such key.

        Raises:
            ModelFormatError: not a boolean.
        """
        value = self._value(key, "bool", "a bool")
        return None if value is None else bool(value.data)

    def size(self, key: str) -> int | None:
        """The whole number from 0 up, of any type, under this key; None if there is no such key.

        Raises:
            ModelFormatError: not a whole number, or below 0.
        """
        value = self.metadata.get(key)
        if value is None:
            return None
        if value.length is not None or "int" not in value.type_name or value.data < 0:
            raise ModelFormatError(
                self.path, key, f"{_in_words(value)}, expected a whole number from 0 up"
            )
        return int(value.data)

    def strings(self, key: str) -> list[str] | None:
        """The array of strings under this key; None if there is no such key.

        Raises:
            ModelFormatError: not an array of strings, or one is not UTF-8.
        """
        value = self.metadata.get(key)
        if value is None:
            return None
        if value.length is None or value.type_name != "string":
            raise ModelFormatError(
                self.path, key, f"{_in_words(value)}, expected an array of strings"
            )
        cursor = _Cursor(*value.data)
        return [
            _text(cursor.take(cursor.number("<Q", key), key), self.path, key)
            for _ in range(value.length)
        ]

    def _value(self, key: str, type_name: str, expected: str) -> Value | None:
        value = self.metadata.get(key)
        if value is not None and (value.length is not None or value.type_name != type_name):
            raise ModelFormatError(self.path, key, f"{_in_words(value)}, expected {expected}")
        return value


def _in_words(value: Value) -> str:
    if value.length is not None:
        return f"an array of {value.type_name}"
    return "a string" if value.type_name == "string" else f"{value.type_name} {value.data}"


def _text(data: bytes | memoryview, path: str, field: str) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise ModelFormatError(path, field, f"not UTF-8: {error}") from None


class _FilePart(NamedTuple):
    """Bytes of a file that are read when they are asked for."""

    file: ModelFile
    begin: int
    end: int

    def __bytes__(self) -> bytes:
        return self.file.read(self.begin, self.end, "header").tobytes()


class _Cursor:
    """A place in a header, which moves on as its bytes are taken, or passed unread."""

    def __init__(self, file: ModelFile, begin: int, end: int) -> None:
        self.path = file.path
        self.position = begin
        self._file = file
        self._end = end
        self._chunk = memoryview(b"")
        self._chunk_begin = begin

    def take(self, count: int, field: str) -> memoryview:
        """The next ``count`` bytes.

        Raises:
            ModelFormatError: there are fewer, or the header becomes longer than it may be.
        """
        return self.taken_or_more(count, field, passes=True)[:count]

    def taken_or_more(self, count: int, field: str, *, passes: bool = False) -> memoryview:
        """The next ``count`` bytes and what is in memory after them.

        The cursor passes ``count`` bytes if ``passes``, else it stays.

        Raises:
            ModelFormatError: as `take`.
        """
        begin = self.position
        end = self._checked_end(count, field)
        if not self._chunk_begin <= begin <= end <= self._chunk_begin + len(self._chunk):
            chunk_end = min(max(end, begin + CHUNK_BYTES), self._end)
            self._chunk = self._file.read(begin, chunk_end, field).data
            self._chunk_begin = begin
        if passes:
            self.position = end
        return self._chunk[begin - self._chunk_begin :]

    def part(self, count: int, field: str) -> _FilePart:
        """Pass ``count`` bytes, which are read if they are needed.

        Raises:
            ModelFormatError: as `take`.
        """
        begin = self.position
        self.position = self._checked_end(count, field)
        return _FilePart(self._file, begin, self.position)

    def part_since(self, begin: int) -> _FilePart:
        """The bytes that were passed since this position."""
        return _FilePart(self._file, begin, self.position)

    def check(self, count: int, field: str) -> None:
        """Check that ``count`` bytes follow.

        Raises:
            ModelFormatError: as `take`.
        """
        self._checked_end(count, field)

    def _checked_end(self, count: int, field: str) -> int:
        begin, end = self.position, self.position + count
        if end > self._end:
            raise ModelFormatError(
                self.path, field, f"{count} bytes from {begin} on, but {self._end} are there"
            )
        if end > MAX_HEADER_BYTES:
            raise ModelFormatError(
                self.path, field, f"ends at {end}, expected a header of at most {MAX_HEADER_BYTES}"
            )
        return end

    def number(self, spelling: str, field: str) -> Any:
        return struct.unpack(spelling, self.take(struct.calcsize(spelling), field))[0]

    def string(self, field: str) -> _FilePart:
        return self.part(self.number("<Q", field), field)

    def name(self, field: str, max_bytes: int) -> str:
        """A string that names something.

        Raises:
            ModelFormatError: it is longer than ``max_bytes``, or not UTF-8.
        """
        length = self.number("<Q", field)
        if length > max_bytes:
            raise ModelFormatError(
                self.path, field, f"a name of {length} bytes, expected at most {max_bytes}"
            )
        return _text(self.take(length, field), self.path, field)


def read_gguf(path: str, *, mmap: bool = True) -> GgufFile:
    """Open a GGUF file and check all of its header, of which nothing is mapped.

    Args:
        path: a regular file.
        mmap: map the bytes of tensors into memory, when they are asked for, instead of reading
            them.

    Returns:
        Its metadata and tensors; strings, arrays and tensors are read when they are asked for.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
        ModelFormatError: the magic, version, a count, length, type, shape, offset or the alignment
            is wrong; a key or a name occurs twice; tensors overlap, leave gaps, or end elsewhere
            than the file, padding aside; the file is cut; the header is longer than
            `MAX_HEADER_BYTES`.
    """
    file = ModelFile(path, mmap=mmap)
    cursor = _Cursor(file, 0, file.size)
    magic = bytes(cursor.take(len(MAGIC), "magic"))
    if magic != MAGIC:
        raise ModelFormatError(path, "magic", f"{magic!r}, expected {MAGIC!r}")
    version = cursor.number("<I", "version")
    if version not in READ_VERSIONS:
        expected = " or ".join(map(str, READ_VERSIONS))
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        hint = ", a file of big-endian numbers" if swapped in READ_VERSIONS else ""
        raise ModelFormatError(path, "version", f"{version}{hint}, expected {expected}")
    tensor_count, key_count = (_count(cursor, f"{what} count") for what in ("tensor", "key"))
    metadata: dict[str, Value] = {}
    for number in range(key_count):
        key = cursor.name(f"key {number}", MAX_KEY_BYTES)
        if key in metadata:
            raise ModelFormatError(path, key, "occurs twice")
        metadata[key] = _value(cursor, key)
    entries: dict[str, _Entry] = {}
    for number in range(tensor_count):
        name = cursor.name(f"tensor {number}", MAX_NAME_BYTES)
        if name in entries:
            raise ModelFormatError(path, name, "occurs twice")
        entries[name] = _entry(cursor, name)
    alignment = _alignment(metadata, path)
    data_begin = padded(cursor.position, alignment)
    _check_cover(entries, alignment, file.size - data_begin, path)
    return GgufFile(
        path,
        metadata,
        {
            name: StoredTensor(
                name,
                entry.dtype,
                entry.shape,
                file,
                data_begin + entry.begin,
                data_begin + entry.end,
            )
            for name, entry in entries.items()
        },
    )


def _count(cursor: _Cursor, field: str) -> int:
    count: int = cursor.number("<Q", field)
    if count > MAX_COUNT:
        raise ModelFormatError(cursor.path, field, f"{count}, expected at most {MAX_COUNT}")
    return count


def _value(cursor: _Cursor, key: str) -> Value:
    value_type = cursor.number("<I", key)
    if value_type in SCALARS:
        name, spelling = SCALARS[value_type]
        number = cursor.number(spelling, key)
        if value_type == BOOL and number > 1:
            raise ModelFormatError(cursor.path, key, f"bool {number}, expected 0 or 1")
        return Value(name, None, number)
    if value_type == STRING:
        return Value("string", None, cursor.string(key))
    if value_type != ARRAY:
        raise ModelFormatError(cursor.path, key, f"a value of the unknown type {value_type}")
    value_type = cursor.number("<I", key)
    count = cursor.number("<Q", key)
    if value_type in SCALARS:
        name, spelling = SCALARS[value_type]
        return Value(name, count, cursor.part(count * struct.calcsize(spelling), key))
    if value_type != STRING:
        what = "an array" if value_type == ARRAY else f"the unknown type {value_type}"
        raise ModelFormatError(cursor.path, key, f"an array of {what}, expected a simple type")
    begin = cursor.position
    cursor.check(8 * count, key)
    if count > MAX_STRINGS:
        raise ModelFormatError(
            cursor.path, key, f"an array of {count} strings, expected at most {MAX_STRINGS}"
        )
    _skip_strings(cursor, count, key)
    return Value("string", count, cursor.part_since(begin))


def _skip_strings(cursor: _Cursor, count: int, key: str) -> None:
    """Pass ``count`` strings."""
    length_at = struct.Struct("<Q").unpack_from
    while count:
        chunk = cursor.taken_or_more(8, key)
        position, last = 0, len(chunk) - 8
        while count and position <= last:
            position += 8 + length_at(chunk, position)[0]
            count -= 1
        cursor.part(position, key)


class _Entry(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def _entry(cursor: _Cursor, name: str) -> _Entry:
    path = cursor.path
    dimensions = cursor.number("<I", name)
    if dimensions > MAX_DIMENSIONS:
        raise ModelFormatError(
            path, name, f"{dimensions} dimensions, expected at most {MAX_DIMENSIONS}"
        )
    sizes = struct.unpack(f"<{dimensions}Q", cursor.take(8 * dimensions, name))
    tensor_type = cursor.number("<I", name)
    begin = cursor.number("<Q", name)
    if tensor_type not in TENSOR_TYPES:
        raise ModelFormatError(path, name, f"of the unknown type {tensor_type}")
    dtype, block_weights, block_bytes = TENSOR_TYPES[tensor_type]
    weights = 1
    for size in sizes:
        weights *= size
    row = sizes[0] if sizes else 1
    if row % block_weights:
        raise ModelFormatError(
            path, name, f"rows of {row}, expected whole blocks of {block_weights} for {dtype}"
        )
    return _Entry(dtype, sizes[::-1], begin, begin + weights // block_weights * block_bytes)


def _alignment(metadata: dict[str, Value], path: str) -> int:
    key = "general.alignment"
    value = metadata.get(key)
    if value is None:
        return DEFAULT_ALIGNMENT
    alignment = value.data
    if value.length is not None or value.type_name != "uint32":
        raise ModelFormatError(path, key, f"{_in_words(value)}, expected a uint32")
    if alignment < MIN_ALIGNMENT or alignment & (alignment - 1):
        raise ModelFormatError(
            path, key, f"{alignment}, expected a power of two from {MIN_ALIGNMENT} up"
        )
    return int(alignment)


def _check_cover(entries: dict[str, _Entry], alignment: int, room: int, path: str) -> None:
    end = covered = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != covered:
            what = "it overlaps" if entry.begin < end else "there is a gap after"
            raise ModelFormatError(
                path,
                name,
                f"begins at {entry.begin}, expected {covered}: {what} the tensor before",
            )
        end = entry.end
        covered = padded(end, alignment)
        if end > room:
            raise ModelFormatError(
                path, name, f"ends at {end}, but there are {max(room, 0)} bytes of data"
            )
    if max(room, 0) not in (end, covered):
        raise ModelFormatError(
            path, "data", f"tensors end at {end}, padded {covered}, the file's data at {room}"
        )
