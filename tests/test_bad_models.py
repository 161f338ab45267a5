"""Models that are damaged or hostile: each is refused at once, naming file and field."""

from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from bad_models import assert_refused, left_alone
from tiny_models import (
    HEAD,
    MODEL_FILES,
    TABLE,
    TOKENIZER,
    VOCABULARY,
    JsonObject,
    bpe_content,
    head_parts,
    head_vectors,
    safetensors_file,
    table_bytes,
    tokenizer_content,
    write_model,
)

from nibblevec import Encoder, ModelFormatError
from nibblevec._containers.safetensors import MAX_HEADER_BYTES, read_safetensors

DIM = 30
ROWS = len(VOCABULARY)
ROW_BYTES = DIM // 2 + 4

pytestmark = pytest.mark.malformed

posix_only = pytest.mark.skipif(os.name != "posix", reason="kinds of files that POSIX has")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", dim=DIM)


# The table


@pytest.mark.parametrize("change", [-ROW_BYTES - 1, -256, -255, -3, -2, -1, 1, 2, 3, 255, 256])
def test_table_of_another_size(folder: Path, change: int) -> None:
    content = (folder / TABLE).read_bytes()
    size = len(content) + change
    (folder / TABLE).write_bytes((content + bytes(256))[:size])
    message = f"{size} bytes, expected a whole number of rows of {ROW_BYTES} bytes"
    assert_refused(folder, TABLE, "table", message)


def test_empty_table(folder: Path) -> None:
    (folder / TABLE).write_bytes(b"")
    assert_refused(folder, TABLE, "table", "0 bytes, expected a whole number of rows")


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("row", [0, 1, ROWS - 1])
def test_scale_that_is_not_finite(folder: Path, bad: float, row: int) -> None:
    content = bytearray((folder / TABLE).read_bytes())
    struct.pack_into("<f", content, ROWS * (DIM // 2) + 4 * row, bad)
    (folder / TABLE).write_bytes(content)
    message = rf"scale of row {row} is -?(inf|nan), expected a finite number"
    assert_refused(folder, TABLE, "table", message)


@pytest.mark.parametrize("dim", [1, 3, 29])
def test_odd_dim(folder: Path, dim: int) -> None:
    (folder / HEAD).write_bytes(safetensors_file(*head_parts(head_vectors(dim))))
    (folder / TABLE).write_bytes(bytes((dim // 2 + 4) * ROWS))
    assert_refused(folder, TABLE, "table", f"dim {dim} is odd")


def test_fewer_rows_than_tokens(folder: Path) -> None:
    (folder / TABLE).write_bytes(table_bytes(ROWS - 1, DIM))
    message = rf"{ROWS - 1} rows, expected {ROWS}, one for each token of tokenizer\.json$"
    assert_refused(folder, TABLE, "table", message)


@pytest.mark.parametrize("rows", [-ROWS + 1, -7, -2, -1, 1, 2, 7, 1000])
@pytest.mark.parametrize("tokenizer", ["native", "package"])
def test_table_padded_or_cut_by_whole_rows(folder: Path, rows: int, tokenizer: str) -> None:
    if tokenizer == "package":
        content = changed(lambda content: content.update(pre_tokenizer={"type": "Whitespace"}))
        (folder / TOKENIZER).write_bytes(content)
        Encoder(folder)
    content = (folder / TABLE).read_bytes()
    size = len(content) + rows * ROW_BYTES
    (folder / TABLE).write_bytes(content.ljust(size, b"\0")[:size])
    message = f"{ROWS + rows} rows, expected {ROWS}, one for each token of tokenizer.json"
    with pytest.raises(ModelFormatError) as caught:
        Encoder(folder)
    assert caught.value.path == str(folder / TABLE)
    assert (caught.value.field, caught.value.problem) == ("table", message)


# The head: what its tensors hold

HEAD_NAMES = ("dyt.alpha", "dyt.beta", "dyt.bias")


@pytest.mark.parametrize("name", HEAD_NAMES)
def test_head_tensor_missing(folder: Path, name: str) -> None:
    vectors = head_vectors(DIM)
    del vectors[name]
    (folder / HEAD).write_bytes(safetensors_file(*head_parts(vectors)))
    assert_refused(folder, HEAD, name, "missing; the file holds dyt")


def test_head_without_tensors(folder: Path) -> None:
    (folder / HEAD).write_bytes(safetensors_file({}))
    assert_refused(folder, HEAD, "dyt.alpha", "missing; the file holds -")


def test_head_of_many_other_tensors(folder: Path) -> None:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    (folder / HEAD).write_bytes(safetensors_file({f"other.{i}": entry for i in range(13_000)}))
    assert_refused(folder, HEAD, "dyt.alpha", "missing; the file holds other.0, other.1, ")


@pytest.mark.parametrize("name", ["dyt.beta", "dyt.bias"])
@pytest.mark.parametrize("length", [1, DIM - 1, DIM + 1])
def test_head_tensor_of_another_length(folder: Path, name: str, length: int) -> None:
    vectors = head_vectors(DIM) | {name: np.ones(length, np.float32)}
    (folder / HEAD).write_bytes(safetensors_file(*head_parts(vectors)))
    message = f"length {length}, expected {DIM} as dyt.alpha has"
    assert_refused(folder, HEAD, name, message)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.ones(DIM), r"F64 \[30\]"),
        (np.ones(DIM, np.float16), r"F16 \[30\]"),
        (np.ones(DIM, np.int32), r"I32 \[30\]"),
        (np.ones((DIM, 1), np.float32), r"F32 \[30, 1\]"),
        (np.ones((2, 15), np.float32), r"F32 \[2, 15\]"),
        (np.array(1, np.float32), r"F32 \[\]"),
        (np.ones(0, np.float32), r"F32 \[0\]"),
    ],
)
@pytest.mark.parametrize("name", HEAD_NAMES)
def test_head_tensor_of_another_type_or_shape(
    folder: Path, name: str, array: Any, found: str
) -> None:
    (folder / HEAD).write_bytes(safetensors_file(*head_parts(head_vectors(DIM) | {name: array})))
    assert_refused(folder, HEAD, name, f"{found}, expected F32 with one dimension")


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", HEAD_NAMES)
@pytest.mark.parametrize("position", [0, DIM - 1])
def test_head_value_that_is_not_finite(folder: Path, name: str, bad: float, position: int) -> None:
    vectors = head_vectors(DIM)
    vectors[name][position] = bad
    (folder / HEAD).write_bytes(safetensors_file(*head_parts(vectors)))
    message = f"element {position} is {bad}, expected a finite number"
    assert_refused(folder, HEAD, name, message)


# The head: its container

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


NOT_JSON = "not valid JSON"
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


# The tokenizer


def changed(change: Callable[[JsonObject], object]) -> bytes:
    content = tokenizer_content()
    change(content)
    return json.dumps(content).encode()


def vocabulary_with(**entries: object) -> bytes:
    return changed(lambda content: content["model"]["vocab"].update(entries))


def added_with(*entries: object) -> bytes:
    return changed(lambda content: content["added_tokens"].extend(entries))


def added_token(content: object, number: object) -> JsonObject:
    return {
        "id": number, "content": content, "special": False, "single_word": False, "lstrip": False,
        "rstrip": False, "normalized": False,
    }  # fmt: skip


GOOD_JSON = json.dumps(tokenizer_content()).encode()
OUTSIDE = rf", expected one of 0\.\.{ROWS - 1}"
TOKENIZERS: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "tokenizer", NOT_JSON),
    "not JSON": (b"tokenizer", "tokenizer", NOT_JSON),
    "cut": (GOOD_JSON[:-1], "tokenizer", NOT_JSON),
    "cut in half": (GOOD_JSON[: len(GOOD_JSON) // 2], "tokenizer", NOT_JSON),
    "not UTF-8": (GOOD_JSON.replace(b"tea", b"te\xff"), "tokenizer", NOT_JSON),
    "array": (b"[]", "tokenizer", "expected an object, found an array"),
    "null": (b"null", "tokenizer", "expected an object, found null"),
    "deep": (b"[" * 500_000, "tokenizer", "nested too deeply"),
    "deep objects": (b'{"model":' * 500_000, "tokenizer", "nested too deeply"),
    "no model": (b"{}", "model.vocab", "missing"),
    "model array": (b'{"model": []}', "model.vocab", "missing"),
    "no vocabulary": (
        changed(lambda content: content["model"].pop("vocab")), "model.vocab", "missing",
    ),
    "vocabulary null": (
        changed(lambda content: content["model"].update(vocab=None)), "model.vocab", "missing",
    ),
    "vocabulary number": (
        changed(lambda content: content["model"].update(vocab=3)), "model.vocab", "neither",
    ),
    "token twice": (
        GOOD_JSON.replace(b'"cup"', b'"tea"'), "tokenizer", "key 'tea' occurs twice",
    ),
    "model twice": (
        b'{"model": {}, ' + GOOD_JSON[1:], "tokenizer", "key 'model' occurs twice",
    ),
    "id negative": (vocabulary_with(tea=-1), "model.vocab", "id -1 of 'tea'" + OUTSIDE),
    "id beyond": (vocabulary_with(tea=ROWS), "model.vocab", f"id {ROWS} of 'tea'" + OUTSIDE),
    "id 2^32": (vocabulary_with(tea=1 << 32), "model.vocab", f"id {1 << 32} of 'tea'" + OUTSIDE),
    "id 2^64": (vocabulary_with(tea=1 << 64), "model.vocab", f"id {1 << 64} of 'tea'" + OUTSIDE),
    "id huge": (vocabulary_with(tea=10**4000), "model.vocab", "id 10+ of 'tea'" + OUTSIDE),
    "id bool": (vocabulary_with(tea=True), "model.vocab", "id True of 'tea'" + OUTSIDE),
    "id float": (vocabulary_with(tea=5.0), "model.vocab", r"id 5\.0 of 'tea'" + OUTSIDE),
    "id string": (vocabulary_with(tea="5"), "model.vocab", "id '5' of 'tea'" + OUTSIDE),
    "id null": (vocabulary_with(tea=None), "model.vocab", "id None of 'tea'" + OUTSIDE),
    "id array": (vocabulary_with(tea=[5]), "model.vocab", r"id \[5\] of 'tea'" + OUTSIDE),
    "token of a megabyte": (
        vocabulary_with(**{"x" * 1_000_000: -1}), "model.vocab", "id -1 of 'x+" + OUTSIDE,
    ),
    "added token negative": (
        added_with(added_token("<new>", -1)), "added_tokens", "id -1 of '<new>'" + OUTSIDE,
    ),
    "added token bool": (
        added_with(added_token("<new>", False)), "added_tokens", "id False of '<new>'" + OUTSIDE,
    ),
    "added token without id": (
        added_with({"content": "<new>"}), "added_tokens", "id None of '<new>'" + OUTSIDE,
    ),
    "added token without content": (added_with({"id": 1}), "added_tokens", "has no content"),
    "added token of a number": (added_with(added_token(5, 5)), "added_tokens", "has no content"),
    "added token string": (added_with("<new>"), "added_tokens", "has no content"),
    "added tokens object": (
        changed(lambda content: content.update(added_tokens={"a": 1})),
        "added_tokens",
        "expected an array",
    ),
    "no type of model": (
        changed(lambda content: content["model"].update(type="Sentence")),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "unknown normalizer": (
        changed(lambda content: content.update(normalizer={"type": "Upper"})),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "normalizer of a number": (
        changed(lambda content: content.update(normalizer=3)),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "NaN, which only Python reads": (
        changed(lambda content: content.update(version=float("nan"))),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "unknown version": (
        changed(lambda content: content.update(version="7")),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "no unknown token": (
        changed(lambda content: content["model"].update(unk_token="[NONE]"))
        .replace(b'"tea"', b'"teal"'),
        "tokenizer",
        "tokenizers cannot encode with it",
    ),
    "decoder of a number": (
        changed(lambda content: content.update(decoder=3)),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "unknown decoder": (
        changed(lambda content: content.update(decoder={"type": "Telepathy"})),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "unknown post-processor": (
        changed(lambda content: content.update(post_processor={"type": "Telepathy"})),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "NaN in the padding": (
        changed(lambda content: content.update(padding={
            "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": float("nan"), "pad_type_id": 0, "pad_token": "[PAD]"})),
        "tokenizer",
        "tokenizers cannot load it",
    ),
    "padding of nothing": (
        changed(lambda content: content.update(padding={})), "tokenizer",
        "tokenizers cannot load it",
    ),
    "id of -0": (
        vocabulary_with(tea="zero").replace(b'"zero"', b"-0"), "tokenizer",
        "tokenizers cannot load it",
    ),
    "BPE that drops merges": (
        json.dumps(bpe_content() | {"model": bpe_content()["model"] | {"dropout": 0.1}}).encode(),
        "model.dropout",
        "0.1, with which ids are random, expected null",
    ),
    "Unigram of numbers": (
        changed(
            lambda content: content.update(
                model={"type": "Unigram", "unk_id": 0, "vocab": list(range(ROWS))}, added_tokens=[]
            )
        ),
        "tokenizer",
        "tokenizers cannot load it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TOKENIZERS)
def test_tokenizer(folder: Path, case: str) -> None:
    content, field, message = TOKENIZERS[case]
    (folder / TOKENIZER).write_bytes(content)
    assert_refused(folder, TOKENIZER, field, message, mmap=True)


def test_tokenizer_is_refused_when_the_model_is_loaded(folder: Path) -> None:
    (folder / TOKENIZER).write_bytes(b"{}")
    for _ in range(2):
        with pytest.raises(ModelFormatError):
            Encoder(folder)


def test_added_tokens_restate_or_extend_the_vocabulary(folder: Path) -> None:
    (folder / TABLE).write_bytes(table_bytes(ROWS + 1, DIM))
    (folder / TOKENIZER).write_bytes(added_with(added_token("tea", 5), added_token("<n>", ROWS)))
    encoder = Encoder(folder)
    texts = ["tea", "a <n> b"]
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
    tokens = tokenizer.encode_batch(texts, add_special_tokens=False)
    assert tokens[1].ids == [VOCABULARY.index("a"), ROWS, VOCABULARY.index("b")]
    assert encoder.encode(texts).shape == (2, DIM)


def test_unigram(folder: Path) -> None:
    vocabulary = [["<unk>", 0.0], ["tea", -1.0], ["cup", -2.0]]
    content = tokenizer_content()
    content["model"] = {"type": "Unigram", "unk_id": 0, "vocab": vocabulary}
    content["added_tokens"] = [added_token("<unk>", 0)]
    (folder / TOKENIZER).write_text(json.dumps(content))
    assert_refused(folder, TABLE, "table", f"{ROWS} rows, expected 3, one for each token")
    (folder / TABLE).write_bytes(table_bytes(3, DIM))
    assert Encoder(folder).encode(["tea", "cup", "zebra"]).shape == (3, DIM)
    content["added_tokens"] = [added_token("<unk>", 1)]
    (folder / TOKENIZER).write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="added token '<unk>' has the id 0, not 1"):
        Encoder(folder)
    # An entry is its text, however that is written in Python.
    vocabulary[1][0], content["added_tokens"] = "it's", [added_token("it's", 1)]
    (folder / TOKENIZER).write_text(json.dumps(content))
    assert Encoder(folder).encode("it's").shape == (DIM,)


# Files that are missing, or are not files


@pytest.mark.parametrize("name", MODEL_FILES)
@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("missing", FileNotFoundError),
        ("dangling symlink", FileNotFoundError),
        ("symlink loop", OSError),
        ("directory", IsADirectoryError),
        ("symlinked directory", IsADirectoryError),
        ("FIFO", OSError),
        ("symlinked /dev/zero", OSError),
        ("symlinked /dev/null", OSError),
    ],
)
@posix_only
def test_not_a_regular_file(
    folder: Path, name: str, mmap: bool, kind: str, error: type[OSError]
) -> None:
    path = folder / name
    replace_by(path, kind)
    if name == TABLE and kind == "missing":
        with left_alone(folder), pytest.raises(ValueError, match="looked for " + TABLE):
            Encoder(folder, mmap=mmap)
        return
    with left_alone(folder), pytest.raises(error) as caught:
        Encoder(folder, mmap=mmap)
    assert caught.value.filename == str(path)
    if error is OSError:
        expected = "levels of symbolic links" if kind == "symlink loop" else "Not a regular file"
        assert expected in str(caught.value)


def replace_by(path: Path, kind: str) -> None:
    path.unlink()
    if kind == "dangling symlink":
        path.symlink_to(path.parent / "nothing")
    elif kind == "symlink loop":
        path.symlink_to(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "symlinked directory":
        path.symlink_to(path.parent)
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind.startswith("symlinked /dev/"):
        path.symlink_to(kind.removeprefix("symlinked "))
    else:
        assert kind == "missing"


@pytest.mark.parametrize("kind", ["missing", "FIFO", "symlinked /dev/zero", "directory"])
@posix_only
def test_tokenizer_that_turned_bad_after_loading(folder: Path, kind: str) -> None:
    encoder = Encoder(folder)
    expected = encoder.encode("tea")
    replace_by(folder / TOKENIZER, kind)
    with left_alone(folder):  # it was read, and is held
        assert np.array_equal(encoder.encode("tea"), expected)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A model that users other than root reach, unlike what is under `tmp_path`."""
    outer = Path(tempfile.mkdtemp())
    outer.chmod(0o755)
    yield write_model(outer / "model")
    (outer / "model").chmod(0o755)
    shutil.rmtree(outer)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root reads everything: be somebody else meanwhile."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", MODEL_FILES)
@posix_only
def test_unreadable_file(public_folder: Path, name: str) -> None:
    (public_folder / name).chmod(0)
    with left_alone(public_folder), as_nobody(), pytest.raises(PermissionError) as caught:
        Encoder(public_folder).encode("tea")
    assert caught.value.filename == str(public_folder / name)


@posix_only
def test_unreadable_folder(public_folder: Path) -> None:
    public_folder.chmod(0)
    with as_nobody(), pytest.raises(PermissionError) as caught:
        Encoder(public_folder)
    assert caught.value.filename == str(public_folder)


@posix_only
def test_read_only_model(public_folder: Path) -> None:
    for name in MODEL_FILES:
        (public_folder / name).chmod(0o444)
    public_folder.chmod(0o555)
    with left_alone(public_folder), as_nobody():
        assert Encoder(public_folder).encode(["tea"]).shape == (1, DIM)


# The folder


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Encoder(tmp_path / "nothing")
    assert caught.value.filename == str(tmp_path / "nothing")


def test_file_for_a_folder(folder: Path) -> None:
    with pytest.raises(NotADirectoryError) as caught:
        Encoder(folder / TABLE)
    assert caught.value.filename == str(folder / TABLE)


def test_folder_without_a_model(tmp_path: Path) -> None:
    other_model = (2).to_bytes(8, "little") + b"{}"
    for files in ({}, {"model.safetensors": other_model, "config.json": b"{}"}):
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        with left_alone(tmp_path), pytest.raises(ValueError, match="not a model") as caught:
            Encoder(tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert f"looked for {TABLE}" in str(caught.value)


@pytest.mark.parametrize("bad", [3, 1.5, ["model"], object()])
def test_path_that_is_none(bad: Any) -> None:
    with pytest.raises(TypeError):
        Encoder(bad)


def test_path_with_a_nul() -> None:
    with pytest.raises(ValueError, match="null"):
        Encoder("mo\0del")
