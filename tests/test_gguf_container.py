"""The container of GGUF files: what the format allows is read, everything else is refused."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_models import left_alone
from tiny_gguf import (
    ARRAY,
    KINDS,
    STRING,
    TYPES,
    Tensor,
    array,
    gguf_bytes,
    number,
    padded,
    string,
    text,
)

from nibblevec import ModelFormatError
from nibblevec._containers.gguf_reader import MAX_COUNT, GgufFile, read_gguf
from nibblevec._containers.gguf_writer import write_gguf
from nibblevec._containers.stored_tensors import Tensor as FileTensor

NUMBERS: dict[str, Any] = {
    "uint8": 255, "int8": -128, "uint16": 65535, "int16": -32768, "uint32": (1 << 32) - 1,
    "int32": -(1 << 31), "float32": 0.5, "bool": 1, "uint64": (1 << 64) - 1, "int64": -(1 << 63),
    "float64": -0.1,
}  # fmt: skip
VECTOR = np.arange(10, dtype=np.float32)
MATRIX = np.arange(6, dtype=np.int32).reshape(2, 3)

KEYS = {
    "general.architecture": text("sse"),
    **{f"a.{kind}": number(kind, value) for kind, value in NUMBERS.items()},
    **{f"an.array.{kind}": array(kind, [value, value]) for kind, value in NUMBERS.items()},
    "an.array.string": array("string", ["", "tea", "caf\u00e9"]),
    "an.empty.array": array("string", []),
    "an.empty.string": text(""),
}
TENSORS = {"vector": Tensor.of(VECTOR), "matrix": Tensor.of(MATRIX)}
GOOD = gguf_bytes(KEYS, TENSORS)
SMALL = gguf_bytes({"a.key": text("tea"), "b": array("string", ["c"])}, TENSORS)


def read(path: Path, content: bytes) -> GgufFile:
    path.write_bytes(content)
    return read_gguf(str(path))


# What is read


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("last_padding", [True, False])
def test_everything_is_read(tmp_path: Path, mmap: bool, version: int, last_padding: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(gguf_bytes(KEYS, TENSORS, version=version, last_padding=last_padding))
    file = read_gguf(str(path), mmap=mmap)
    assert list(file.metadata) == list(KEYS)
    assert file.string("general.architecture") == "sse"
    assert file.string_bytes("an.empty.string") == b""
    assert file.strings("an.array.string") == ["", "tea", "caf\u00e9"]
    assert file.strings("an.empty.array") == []
    assert file.boolean("a.bool") is True
    for kind, value in NUMBERS.items():
        assert file.metadata[f"a.{kind}"] == (kind, None, value)
        held = file.metadata[f"an.array.{kind}"]
        assert (held.type_name, held.length) == (kind, 2)
        assert bytes(held.data) == 2 * struct.pack(KINDS[kind][1], value)
        if value > 0 and "int" in kind:
            assert file.size(f"a.{kind}") == value
    for name in ("string", "string_bytes", "strings", "boolean", "size"):
        assert getattr(file, name)("nothing") is None
    assert list(file.tensors) == list(TENSORS)
    vector, matrix = file.tensors.values()
    assert (vector.dtype, vector.shape, vector.data.tobytes()) == ("F32", (10,), VECTOR.tobytes())
    assert (matrix.dtype, matrix.shape, matrix.data.tobytes()) == ("I32", (2, 3), MATRIX.tobytes())


@pytest.mark.parametrize("alignment", [8, 16, 64, 1024])
def test_alignment(tmp_path: Path, alignment: int) -> None:
    keys = {"general.alignment": number("uint32", alignment)}
    file = read(tmp_path / "file", gguf_bytes(keys, TENSORS, alignment=alignment))
    assert file.tensors["matrix"].data.tobytes() == MATRIX.tobytes()


OTHER_GOOD: dict[str, tuple[dict[str, bytes], dict[str, Tensor]]] = {
    "nothing": ({}, {}),
    "no tensors": (KEYS, {}),
    "no keys": ({}, TENSORS),
    "tensors of no bytes": (
        {},
        {
            "a": Tensor(0, (0, 1 << 62), b""),
            "b": Tensor(0, (0,), b""),
            **TENSORS,
            "c": Tensor(0, (0,), b"", 96),
        },
    ),
    "no dimensions": ({}, {"bare": Tensor(TYPES["F32"], (), bytes(4))}),
    "four dimensions": ({}, {"four": Tensor(TYPES["Q8_0"], (32, 2, 1, 3), bytes(6 * 34))}),
    "entries in another order than the data": (
        {},
        {
            "late": Tensor(TYPES["F32"], (10,), bytes(40), 64),
            "early": Tensor(TYPES["F32"], (10,), bytes(40), 0),
        },
    ),
}


@pytest.mark.parametrize("case", OTHER_GOOD)
def test_other_good_files(tmp_path: Path, case: str) -> None:
    keys, tensors = OTHER_GOOD[case]
    assert list(read(tmp_path / "file", gguf_bytes(keys, tensors)).tensors) == list(tensors)


def test_a_file_without_tensors_may_end_with_its_header(tmp_path: Path) -> None:
    keys = {"key": number("uint8", 3)}
    header_bytes = 24 + len(string("key") + keys["key"])
    content = gguf_bytes(keys, {})
    assert len(content) > header_bytes
    for size in range(header_bytes, len(content) + 1):
        assert read(tmp_path / "file", content[:size]).size("key") == 3


def test_text_that_is_not_asked_for_may_be_anything(tmp_path: Path) -> None:
    file = read(tmp_path / "file", gguf_bytes({"a": text(b"\xff")}, TENSORS))
    assert file.string_bytes("a") == b"\xff"
    with pytest.raises(ModelFormatError, match="a: not UTF-8"):
        file.string("a")


@pytest.mark.parametrize(
    ("ask", "key", "problem"),
    [
        ("string", "a.uint32", "uint32 4294967295, expected a string"),
        ("string", "an.array.string", "an array of string, expected a string"),
        ("string_bytes", "a.bool", "bool 1, expected a string"),
        ("boolean", "general.architecture", "a string, expected a bool"),
        ("boolean", "an.array.bool", "an array of bool, expected a bool"),
        ("size", "a.int32", "int32 -2147483648, expected a whole number from 0 up"),
        ("size", "a.float64", "float64 -0.1, expected a whole number"),
        ("size", "a.bool", "bool 1, expected a whole number"),
        ("size", "an.array.uint8", "an array of uint8, expected a whole number"),
        ("strings", "general.architecture", "a string, expected an array of strings"),
        ("strings", "an.array.uint8", "an array of uint8, expected an array of strings"),
    ],
)
def test_value_of_another_type(tmp_path: Path, ask: str, key: str, problem: str) -> None:
    file = read(tmp_path / "file", GOOD)
    with pytest.raises(ModelFormatError) as caught:
        getattr(file, ask)(key)
    assert (caught.value.path, caught.value.field) == (str(tmp_path / "file"), key)
    assert problem in caught.value.problem


# What is refused


def with_key(name: str | bytes, value: bytes) -> bytes:
    return gguf_bytes([("first", text("tea")), (name, value)], TENSORS)


def with_tensor(name: str | bytes = "vector", **fields: Any) -> bytes:
    changed = TENSORS["vector"]._replace(**fields)
    return gguf_bytes({}, [("matrix", TENSORS["matrix"]), (name, changed)])


HUGE = (1 << 31, 1 << 32, 1 << 61, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)

BAD: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "magic", "4 bytes from 0 on, but 0 are there"),
    "other magic": (gguf_bytes({}, TENSORS, magic=b"GGML"), "magic", "b'GGML', expected b'GGUF'"),
    "swapped magic": (gguf_bytes({}, TENSORS, magic=b"FUGG"), "magic", "expected b'GGUF'"),
    **{
        f"version {version}": (
            gguf_bytes({}, TENSORS, version=version),
            "version",
            f"{version}, expected 2 or 3",
        )
        for version in (0, 1, 4, 1 << 31)
    },
    "big-endian": (
        gguf_bytes({}, TENSORS, version=3 << 24),
        "version",
        "50331648, a file of big-endian numbers, expected 2 or 3",
    ),
    **{
        f"{count} tensors": (
            gguf_bytes({}, TENSORS, tensor_count=count),
            "tensor count",
            f"{count}, expected at most {MAX_COUNT}",
        )
        for count in (MAX_COUNT + 1, *HUGE)
    },
    **{
        f"{count} keys": (
            gguf_bytes({}, TENSORS, key_count=count),
            "key count",
            f"{count}, expected at most {MAX_COUNT}",
        )
        for count in (MAX_COUNT + 1, *HUGE)
    },
    "more tensors than there are": (
        gguf_bytes({}, {}, tensor_count=1000),
        "",  # the padding was taken for a name
        "4 bytes from 32 on, but 32 are there",
    ),
    "more keys than there are": (
        gguf_bytes({}, {}, key_count=1000), "", "4 bytes from 32 on, but 32 are there",
    ),
    "no keys counted": (gguf_bytes(KEYS, TENSORS, key_count=0), "general.architecture", ""),
    **{
        f"key of length {length}": (
            with_key("x", text("")).replace(string("x"), string("x", length)),
            "key 1",
            f"a name of {length} bytes, expected at most 65535",
        )
        for length in (1 << 16, *HUGE)
    },
    "key longer than the file": (
        with_key("x", text("")).replace(string("x"), string("x", 65535)),
        "key 1",
        "65535 bytes from 60 on, but",
    ),
    "key that is not UTF-8": (with_key(b"\xff", text("")), "key 1", "not UTF-8"),
    "key twice": (with_key("first", text("")), "first", "occurs twice"),
    "key twice, of another type": (with_key("first", number("bool", 0)), "first", "occurs twice"),
    "empty key twice": (
        gguf_bytes([("", text("")), ("", text(""))], TENSORS), "", "occurs twice",
    ),
    **{
        f"value of type {kind}": (
            with_key("x", struct.pack("<I", kind)),
            "x",
            f"a value of the unknown type {kind}",
        )
        for kind in (13, 255, (1 << 32) - 1)
    },
    **{
        f"array of type {kind}": (
            with_key("x", struct.pack("<IIQ", ARRAY, kind, 0)),
            "x",
            f"an array of the unknown type {kind}",
        )
        for kind in (13, 255, (1 << 32) - 1)
    },
    "array of arrays": (
        with_key("x", struct.pack("<IIQ", ARRAY, ARRAY, 1) + struct.pack("<IQ", 0, 0)),
        "x",
        "an array of an array, expected a simple type",
    ),
    "deep arrays": (
        with_key("x", struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * 100_000),
        "x",
        "an array of an array",
    ),
    **{
        f"bool {value}": (with_key("x", number("uint8", value).replace(
            struct.pack("<I", 0), struct.pack("<I", 7))), "x", f"bool {value}, expected 0 or 1")
        for value in (2, 255)
    },
    **{
        f"string of length {length}": (with_key("x", text("tea", length)), "x", f"{length} bytes")
        for length in (10_000, *HUGE)
    },
    **{
        f"array of {count} {kind}": (with_key("x", array(kind, [1], count)), "x", "bytes from")
        for count in (10_000, *HUGE)
        for kind in ("uint8", "uint32", "float64")
    },
    **{
        f"array of {count} strings": (
            with_key("x", array("string", ["tea"], count)), "x", "bytes from",
        )
        for count in (10_000, *HUGE)
    },
    **{
        f"array of a string of length {length}": (
            with_key("x", struct.pack("<IIQ", ARRAY, STRING, 3) + string("a") + string("b", length)
                     + string("c")),
            "x",
            "bytes from",
        )
        for length in (10_000, *HUGE)
    },
    **{
        f"alignment {value}": (
            gguf_bytes({"general.alignment": number("uint32", value)}, TENSORS),
            "general.alignment",
            f"{value}, expected a power of two from 8 up",
        )
        for value in (0, 1, 4, 7, 24, 33, (1 << 32) - 1)
    },
    "alignment beyond the file": (
        gguf_bytes({"general.alignment": number("uint32", 1 << 31)}, TENSORS),
        "vector",
        "ends at 40, but there are 0 bytes of data",
    ),
    "alignment of another type": (
        gguf_bytes({"general.alignment": number("uint64", 32)}, TENSORS),
        "general.alignment",
        "uint64 32, expected a uint32",
    ),
    "alignment string": (
        gguf_bytes({"general.alignment": text("32")}, TENSORS),
        "general.alignment",
        "a string, expected a uint32",
    ),
    "alignment array": (
        gguf_bytes({"general.alignment": array("uint32", [32])}, TENSORS),
        "general.alignment",
        "an array of uint32, expected a uint32",
    ),
    **{
        f"tensor name of length {length}": (
            with_tensor("n" * 64).replace(string("n" * 64), string("n" * 64, length)),
            "tensor 1",
            f"a name of {length} bytes, expected at most 64",
        )
        for length in (65, *HUGE)
    },
    "tensor name that is not UTF-8": (with_tensor(b"\xff"), "tensor 1", "not UTF-8"),
    "tensor twice": (with_tensor("matrix"), "matrix", "occurs twice"),
    **{
        f"{count} dimensions": (
            with_tensor(dimensions=count), "vector", f"{count} dimensions, expected at most 4",
        )
        for count in (5, 1 << 16, (1 << 32) - 1)
    },
    **{
        f"tensor of type {kind}": (with_tensor(kind=kind), "vector", f"of the unknown type {kind}")
        for kind in (4, 5, 31, 99, (1 << 32) - 1)
    },
    **{
        f"tensor of {sizes}": (with_tensor(sizes=sizes), "vector", "bytes of data")
        for sizes in ((1 << 62,), (11 * 8,), (1 << 63, 1 << 63, 1 << 63, 1 << 63), ((1 << 64) - 1,))
    },
    "tensor of fewer": (with_tensor(sizes=(1,)), "data", "tensors end at 36, padded 64, the"),
    "tensor of none": (with_tensor(sizes=(0,)), "data", "tensors end at 32, padded 32"),
    "no whole blocks": (
        with_tensor(kind=TYPES["Q8_0"], sizes=(33,)),
        "vector",
        "rows of 33, expected whole blocks of 32 for Q8_0",
    ),
    "no whole superblocks": (
        with_tensor(kind=TYPES["Q4_K"], sizes=(128, 2)),
        "vector",
        "rows of 128, expected whole blocks of 256 for Q4_K",
    ),
    "overlap": (
        with_tensor(offset=0),
        "vector",
        "begins at 0, expected 32: it overlaps the tensor before",
    ),
    "unaligned": (with_tensor(offset=28), "vector", "begins at 28, expected 32: there is a gap"),
    "gap": (with_tensor(offset=64), "vector", "begins at 64, expected 32: there is a gap"),
    **{
        f"offset {offset}": (with_tensor(offset=offset), "vector", f"begins at {offset}, expected")
        for offset in HUGE
    },
    "first tensor not at 0": (
        gguf_bytes({}, {"a": Tensor.of(VECTOR)._replace(offset=32)}) + bytes(32),
        "a",
        "begins at 32, expected 0",
    ),
    "trailing byte": (GOOD + b"\0", "data", "tensors end at"),
    "trailing data": (GOOD + bytes(1 << 16), "data", "tensors end at"),
    "trailing byte, not padded": (
        gguf_bytes({}, TENSORS, last_padding=False) + b"\0", "data", "tensors end at 88, padded 96",
    ),
    "data without tensors": (
        gguf_bytes({}, {}) + bytes(32), "data", "tensors end at 0, padded 0, the file's data at 32",
    ),
    "a megabyte of empty keys": (
        gguf_bytes([(f"{i}", text("")) for i in range(MAX_COUNT)], {}, key_count=MAX_COUNT + 1),
        "key count",
        f"{MAX_COUNT + 1}, expected at most",
    ),
}  # fmt: skip


@pytest.mark.malformed
@pytest.mark.parametrize("case", BAD)
def test_bad_container(tmp_path: Path, case: str) -> None:
    content, field, problem = BAD[case]
    path = tmp_path / "file"
    path.write_bytes(content)
    for mmap in (True, False):
        with left_alone(tmp_path), pytest.raises(ModelFormatError) as caught:
            read_gguf(str(path), mmap=mmap)
        assert caught.value.path == str(path)
        assert problem in caught.value.problem
        if problem:
            assert caught.value.field == field
        assert len(str(caught.value)) < len(str(path)) + 500


@pytest.mark.malformed
def test_cut_at_every_byte(tmp_path: Path) -> None:
    last_data = len(gguf_bytes(KEYS, TENSORS, last_padding=False))
    for size in range(len(GOOD)):
        if size == last_data:
            continue
        with pytest.raises(ModelFormatError) as caught:
            read(tmp_path / "file", GOOD[:size])
        assert caught.value.path == str(tmp_path / "file")


@pytest.mark.malformed
def test_any_byte_changed(tmp_path: Path) -> None:
    """Either it still is such a file, or it is refused as one; nothing else comes out."""
    refused = 0
    header_bytes = len(SMALL) - padded(VECTOR.nbytes, 32) - 32
    for position in range(header_bytes):
        for value in (0, 0x7F, 0xFF):
            content = bytearray(SMALL)
            content[position] = value
            try:
                read(tmp_path / "file", bytes(content))
            except ModelFormatError:
                refused += 1
    assert refused > 1.5 * header_bytes


@pytest.mark.malformed
@pytest.mark.parametrize(
    "content",
    [
        gguf_bytes([(f"{i}", text("")) for i in range(MAX_COUNT)], {}),
        gguf_bytes({"x": array("string", [""] * 400_000)}, {}),
        gguf_bytes({}, [(f"{i}", Tensor(0, (0,), b"", 0)) for i in range(MAX_COUNT)]),
    ],
    ids=["keys", "strings", "tensors"],
)
def test_work_and_memory_are_bounded(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with left_alone(tmp_path):
        read_gguf(str(tmp_path / "file"))


# What is written


def test_what_is_written_is_read(tmp_path: Path) -> None:
    metadata: dict[str, Any] = {
        "general.architecture": "sse",
        "text": "caf\u00e9",
        "bytes": b"{}",
        "yes": True,
        "no": False,
        "small": (1 << 32) - 1,
        "large": 1 << 32,
        "none": [],
        "some": ["", "tea"],
    }
    tensors = {
        "vector": FileTensor("F32", (10,), VECTOR.view(np.uint8)),
        "matrix": FileTensor("I32", (2, 3), MATRIX.view(np.uint8)),
    }
    buffer = io.BytesIO()
    write_gguf(buffer, metadata, tensors)
    kinds = {
        "text": text("caf\u00e9"),
        "bytes": text("{}"),
        "yes": number("bool", 1),
        "no": number("bool", 0),
        "small": number("uint32", (1 << 32) - 1),
        "large": number("uint64", 1 << 32),
        "none": array("string", []),
        "some": array("string", ["", "tea"]),
    }
    assert buffer.getvalue() == gguf_bytes({"general.architecture": text("sse"), **kinds}, TENSORS)
    file = read(tmp_path / "file", buffer.getvalue())
    assert file.size("large") == 1 << 32
    assert file.tensors["matrix"].shape == (2, 3)
