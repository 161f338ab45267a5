"""Containers of a head that are damaged or hostile, and good ones that look odd."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_model_cases import (
    DIM,
    NOT_JSON,
    folder_fixture,  # noqa: F401
)
from bad_models import assert_refused
from tiny_models import HEAD, head_parts, head_vectors, safetensors_file

from nibblevec import Encoder, ModelFormatError
from nibblevec._containers.safetensors import MAX_HEADER_BYTES, read_safetensors

pytestmark = pytest.mark.malformed

HEADER, DATA = head_parts(head_vectors(DIM))
TENSOR_BYTES = 4 * DIM
SMALL = safetensors_file(HEADER, DATA)


def with_entry(name: str = "dyt.beta", **fields: object) -> bytes:
    """The good file, but for fields of one tensor's entry."""
    return safetensors_file({**HEADER, name: {**HEADER[name], **fields}}, DATA)


def without(field: str) -> bytes:
    entry = {key: value for key, value in HEADER["dyt.beta"].items() if key != field}
    return safetensors_file({**HEADER, "dyt.beta": entry}, DATA)


def raw(pattern: str, replacement: str) -> bytes:
    """The good file with a piece of its header's text replaced."""
    text = json.dumps(HEADER)
    assert pattern in text
    return safetensors_file(text.replace(pattern, replacement, 1).encode(), DATA)


def of_length(header_bytes: int) -> bytes:
    """The good file with another length at its beginning."""
    return struct.pack("<Q", header_bytes) + SMALL[8:]


NO_SHAPES: list[Any] = [
    "30", None, 30, {}, [-30], [True], [30.0], ["30"], [[30]], [None], [1 << 63], [1 << 64],
    [-1, -30], [float("nan")], [float("inf")],
]  # fmt: skip
# The sizes of the long ones multiply to numbers of a megabyte.
OTHER_SHAPES: list[list[int]] = [
    [], [29], [31], [0], [30, 2], [1 << 62], [1 << 62, 4], [1 << 62, 1 << 62],
    [1 << 32, 1 << 32, 30], [(1 << 63) - 1] * 9, [(1 << 63) - 1] * 45_000, [2, 0, 1 << 62],
    [1 << 40] * 60_000 + [0],
]  # fmt: skip
NO_OFFSETS: list[Any] = [
    [-4, 116], [120, -1], [120], [120, 240, 360], [], None, 120, "ab", [120.0, 240], [True, 240],
    ["120", "240"], [120, 1 << 64], [[120], [240]],
]  # fmt: skip
OVER_THE_LIMIT = of_length(MAX_HEADER_BYTES + 1) + bytes(MAX_HEADER_BYTES)
CONTAINERS: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "header length", "file of 0 bytes, expected at least 8"),
    "7 bytes": (SMALL[:7], "header length", "file of 7 bytes, expected at least 8"),
    "length 0": (of_length(0), "header", NOT_JSON),
    "only length 0": (bytes(8), "header", NOT_JSON),
    "length 1": (of_length(1), "header", NOT_JSON),
    "length of the rest": (of_length(len(SMALL) - 8), "header", NOT_JSON),
    "length of the rest + 1": (
        of_length(len(SMALL) - 7),
        "header length",
        rf"{len(SMALL) - 7}, expected at most {len(SMALL) - 8} \(what is left of the file\)",
    ),
    "length 2^31": (of_length(1 << 31), "header length", "2147483648, expected at most"),
    "length 2^63": (of_length(1 << 63), "header length", f"{1 << 63}, expected at most"),
    "length 2^64 - 1": (of_length((1 << 64) - 1), "header length", f"{(1 << 64) - 1}, expected"),
    "over the limit": (
        OVER_THE_LIMIT,
        "header length",
        f"{MAX_HEADER_BYTES + 1}, expected at most {MAX_HEADER_BYTES}$",
    ),
    "array": (safetensors_file([]), "header", "begins with"),
    "null": (safetensors_file(None), "header", "begins with"),
    "number": (safetensors_file(1), "header", "begins with"),
    "not JSON": (safetensors_file(b"{]"), "header", NOT_JSON),
    "two objects": (safetensors_file(b"{}{}"), "header", NOT_JSON),
    "NUL after": (safetensors_file(b"{}\0"), "header", NOT_JSON),
    "space before": (safetensors_file(b" {}"), "header", "begins with"),
    "byte order mark": (safetensors_file(b"\xef\xbb\xbf{}"), "header", "begins with"),
    "not UTF-8": (safetensors_file(b'{"\xff": 1}'), "header", NOT_JSON),
    "UTF-16": (safetensors_file("{}".encode("utf-16-le")), "header", NOT_JSON),
    "deep": (safetensors_file(b'{"a":' + b"[" * 500_000), "header", "nested too deeply"),
    "deep objects": (safetensors_file(b'{"a":' * 100_000), "header", "nested too deeply"),
    "number of many digits": (
        safetensors_file(b'{"a": ' + b"9" * 500_000 + b"}"),
        "header",
        NOT_JSON,
    ),
    "key twice": (
        raw('"dyt.beta"', '"dyt.alpha"'),
        "header",
        "key 'dyt.alpha' occurs twice in one object",
    ),
    "key twice, escaped": (
        raw('"dyt.beta"', '"\\u0064yt.alpha"'),
        "header",
        "key 'dyt.alpha' occurs twice in one object",
    ),
    "key twice in a tensor": (
        raw('"dtype": "F32"', '"dtype": "F32", "dtype": "F32"'),
        "header",
        "key 'dtype' occurs twice in one object",
    ),
    "key twice in the metadata": (
        safetensors_file(b'{"__metadata__": {"a": "b", "a": "c"}}'),
        "header",
        "key 'a' occurs twice in one object",
    ),
    "metadata twice": (
        safetensors_file(b'{"__metadata__": {}, "__metadata__": {}}'),
        "header",
        "key '__metadata__' occurs twice",
    ),
    "metadata of numbers": (
        safetensors_file({"__metadata__": {"a": 1}, **HEADER}, DATA),
        "__metadata__",
        "expected an object of strings",
    ),
    "metadata array": (
        safetensors_file({"__metadata__": [], **HEADER}, DATA),
        "__metadata__",
        "expected an object of strings",
    ),
    "metadata false": (
        safetensors_file({"__metadata__": False, **HEADER}, DATA),
        "__metadata__",
        "expected an object of strings",
    ),
    "metadata of null": (
        safetensors_file({"__metadata__": {"a": None}, **HEADER}, DATA),
        "__metadata__",
        "expected an object of strings",
    ),
    "entry array": (
        safetensors_file({**HEADER, "dyt.beta": []}, DATA),
        "dyt.beta",
        "expected exactly dtype, shape and data_offsets",
    ),
    **{
        f"no {field}": (without(field), "dyt.beta", "expected exactly dtype, shape")
        for field in ("dtype", "shape", "data_offsets")
    },
    "a field more": (with_entry(strides=[1]), "dyt.beta", "expected exactly dtype, shape"),
    **{
        f"dtype {dtype!r:.20}": (with_entry(dtype=dtype), "dyt.beta", "dtype .* is not one of")
        for dtype in ("F31", "f32", "", 3, None, ["F32"], "F" * 10_000)
    },
    **{
        f"shape {shape!r:.20}": (with_entry(shape=shape), "dyt.beta", "is not a list of sizes")
        for shape in NO_SHAPES
    },
    **{
        f"shape {shape!r:.30} that does not fit": (
            with_entry(shape=shape),
            "dyt.beta",
            r"120 bytes of data, expected F32 \[",
        )
        for shape in OTHER_SHAPES
    },
    **{
        f"offsets {offsets!r:.20}": (
            with_entry(data_offsets=offsets),
            "dyt.beta",
            "are not two offsets",
        )
        for offsets in NO_OFFSETS
    },
    **{
        f"offsets {offsets} outside": (
            with_entry(data_offsets=offsets),
            "dyt.beta",
            rf"data_offsets \[.*\] do not lie in the {3 * TENSOR_BYTES} bytes of data",
        )
        for offsets in ([240, 120], [300, 420], [360, 480], [1 << 62, (1 << 62) + 120], [0, 361])
    },
    "no whole bytes": (
        safetensors_file(
            {**HEADER, "a": {"dtype": "F4", "shape": [3], "data_offsets": [360, 361]}},
            DATA + b"\0",
        ),
        "a",
        r"1 bytes of data, expected F4 \[3\]",
    ),
    "metadata null twice": (
        safetensors_file(b'{"__metadata__": null, "__metadata__": null}'),
        "header",
        "key '__metadata__' occurs twice",
    ),
    "too few bytes": (
        with_entry(data_offsets=[120, 236]),
        "dyt.beta",
        r"116 bytes of data, expected F32 \[30\]",
    ),
    "overlap": (
        with_entry(data_offsets=[116, 236]),
        "dyt.beta",
        "begins at 116 and overlaps the tensor before it, which ends at 120",
    ),
    "same place": (
        with_entry(data_offsets=[0, 120]),
        "dyt.beta",
        "begins at 0 and overlaps the tensor before it, which ends at 120",
    ),
    "gap": (
        safetensors_file(
            {
                name: {**entry, "data_offsets": [begin + 4 * (begin > 0) for begin in offsets]}
                for name, entry in HEADER.items()
                for offsets in [entry["data_offsets"]]
                if name != "dyt.alpha"
            },
            DATA + bytes(4),
        ),
        "dyt.beta",
        "begins at 124 and leaves a gap before it, which ends at 0",
    ),
    "trailing byte": (SMALL + b"\0", "data", "tensors end at 360, the file's data at 361"),
    "trailing data": (SMALL + DATA, "data", "tensors end at 360, the file's data at 720"),
    "only data": (safetensors_file({}, DATA), "data", "tensors end at 0, the file's data at 360"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTAINERS)
def test_head_container(folder: Path, case: str) -> None:
    content, field, message = CONTAINERS[case]
    (folder / HEAD).write_bytes(content)
    assert_refused(folder, HEAD, field, message, mmap=True)


def test_head_cut_at_every_byte(folder: Path) -> None:
    for size in range(len(SMALL)):
        (folder / HEAD).write_bytes(SMALL[:size])
        with pytest.raises(ModelFormatError) as caught:
            Encoder(folder)
        assert caught.value.path == str(folder / HEAD)


def test_head_with_any_byte_changed(folder: Path) -> None:
    """Either it still is a model, or it is refused as one; nothing else comes out."""
    header_end = len(SMALL) - len(DATA)
    refused = 0
    for position in range(header_end + 8):
        for value in (0, ord('"'), ord("9"), ord("["), 0xFF):
            content = bytearray(SMALL)
            content[position] = value
            (folder / HEAD).write_bytes(content)
            try:
                Encoder(folder)
            except ModelFormatError:
                refused += 1
    assert refused > 4 * header_end


# Bytes of 24 of each.
NEWER_TYPES = {
    "F4": 12, "F6_E2M3": 18, "F6_E3M2": 18, "F8_E4M3": 24, "F8_E5M2": 24, "F8_E8M0": 24,
    "F8_E4M3FNUZ": 24, "F8_E5M2FNUZ": 24, "C64": 192, "BOOL": 24,
}  # fmt: skip


@pytest.mark.parametrize("mmap", [True, False])
def test_good_containers(tmp_path: Path, mmap: bool) -> None:
    """The checks refuse nothing that the format allows."""
    path = tmp_path / HEAD
    backwards = dict(reversed(HEADER.items()))
    empty = {"dtype": "F32", "shape": [0, 1 << 62], "data_offsets": [120, 120]}
    bare = {"dtype": "F32", "shape": [], "data_offsets": [360, 364]}
    cases: list[tuple[Any, bytes]] = [
        (HEADER, DATA),
        (backwards, DATA),
        ({"__metadata__": {"format": "pt"}, **HEADER}, DATA),
        ({"__metadata__": None, **HEADER}, DATA),
        ({**HEADER, "__metadata__": {}}, DATA),
        (
            {"__metadata__": {"": "", "{}": '{"a": [1, {"b": null}]}', "\u202e": "\n"}, **HEADER},
            DATA,
        ),
        (json.dumps(HEADER, indent="\t").replace(":", "\r\n :").encode(), DATA),
        (
            json.dumps({**HEADER, 'caf\u00e9 {}"': bare}, ensure_ascii=False).encode(),
            DATA + bytes(4),
        ),
        *(
            (
                {
                    **HEADER,
                    "other": {"dtype": kind, "shape": [3, 8], "data_offsets": [360, 360 + n]},
                },
                DATA + bytes(n),
            )
            for kind, n in NEWER_TYPES.items()
        ),
        ({**HEADER, "empty": empty}, DATA),
        ({**HEADER, "bare": bare}, DATA + bytes(4)),
        (json.dumps(HEADER).encode() + b"   \n", DATA),
        (json.dumps(HEADER).encode().ljust(MAX_HEADER_BYTES), DATA),
    ]
    for header, data in cases:
        path.write_bytes(safetensors_file(header, data))
        tensors = read_safetensors(str(path), mmap=mmap)
        for name, vector in head_vectors(DIM).items():
            assert tensors[name].data.tobytes() == vector.tobytes()
            assert (tensors[name].dtype, tensors[name].shape) == ("F32", (DIM,))


def test_reads_what_the_safetensors_package_writes(folder: Path) -> None:
    safetensors_numpy = pytest.importorskip("safetensors.numpy")
    expected = Encoder(folder).encode("tea")
    safetensors_numpy.save_file(head_vectors(DIM), str(folder / HEAD), {"format": "np"})
    assert np.array_equal(Encoder(folder).encode("tea"), expected)
