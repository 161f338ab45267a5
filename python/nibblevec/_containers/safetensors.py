"""Headers of safetensors files, read with every promise of the format checked.

The library's own reader copies tensors and accepts duplicate keys.

Source: the format's specification, https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from json.decoder import JSONDecodeError
from typing import TYPE_CHECKING, Any, NamedTuple

from nibblevec._containers.files import ModelFile, ModelFormatError
from nibblevec._containers.json_files import as_format_errors, json_decoder, repeated_key
from nibblevec._containers.stored_tensors import StoredTensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nibblevec._containers.stored_tensors import Tensor

# The format's own limit: its library refuses longer headers.
MAX_HEADER_BYTES = 100_000_000

# A tensor of 64 dimensions, NumPy's limit, is described in less than 2,000.
MAX_ENTRY_CHARACTERS = 1 << 20

# Other JSON is read up to this many characters: each three may make a small object.
MAX_OTHER_CHARACTERS = 1 << 16

LENGTH_BYTES = 8

METADATA = "__metadata__"

# Source: `Dtype` of the library, 0.8.
ITEM_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "I32": 32, "U32": 32, "I64": 64, "U64": 64,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip


def read_safetensors(path: str, *, mmap: bool = True) -> dict[str, StoredTensor]:
    """Open a safetensors file and check all of its header, of which nothing is mapped.

    Args:
        path: a regular file.
        mmap: map the bytes of tensors into memory, when they are asked for, instead of reading
            them.

    Returns:
        The tensors by name.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
        ModelFormatError: the header is cut, too long, not JSON, repeats a key; a type, shape or
            offset is wrong; tensors overlap, leave gaps, or end elsewhere than the file.
    """
    file = ModelFile(path, mmap=mmap)
    if file.size < LENGTH_BYTES:
        raise ModelFormatError(
            path, "header length", f"file of {file.size} bytes, expected at least 8"
        )
    header_bytes = int.from_bytes(file.read(0, LENGTH_BYTES, "header length").data, "little")
    room = file.size - LENGTH_BYTES
    if header_bytes > min(room, MAX_HEADER_BYTES):
        raise ModelFormatError(
            path,
            "header length",
            f"{header_bytes}, expected at most {min(room, MAX_HEADER_BYTES)}"
            + (" (what is left of the file)" if room < MAX_HEADER_BYTES else ""),
        )
    data_begin = LENGTH_BYTES + header_bytes
    header = file.read(LENGTH_BYTES, data_begin, "header")
    if header_bytes and header[0] != ord("{"):
        raise ModelFormatError(
            path, "header", f"begins with {bytes(header[:1].data)!r}, expected b'{{'"
        )
    with as_format_errors(path, "header"):
        entries = _read_entries(_Header(str(header.data, "utf-8"), path), path)
    data_bytes = file.size - data_begin
    for name, entry in entries.items():
        _check_span(entry, name, data_bytes, path)
    _check_cover(entries, data_bytes, path)
    return {
        name: StoredTensor(name, dtype, shape, file, data_begin + begin, data_begin + end)
        for name, (dtype, shape, begin, end) in entries.items()
    }


class _Entry(NamedTuple):
    """The entry of a tensor in a header; ``begin`` and ``end`` count from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class _Header:
    """A header in JSON, whose members are read one after another.

    Objects for a whole long header would need twenty times its memory.
    """

    _white_space = re.compile(r"[ \t\n\r]*")

    def __init__(self, text: str, path: str) -> None:
        self._text = text
        self._decoder = json_decoder(path, "header")
        self._position = 0

    def names(self) -> Iterator[str]:
        """The name of each member of the object that begins here.

        The value of each must be read, or passed, before the next name is asked for.
        """
        self._expect("{")
        if not self.passes("}"):
            while True:
                name = self.string()
                self._expect(":")
                yield name
                if self.passes("}"):
                    break
                self._expect(",")

    def end(self) -> None:
        """Expect nothing more."""
        self._skip_white_space()
        if self._position != len(self._text):
            raise JSONDecodeError("Extra data", self._text, self._position)

    def string(self) -> str:
        """The string that begins here."""
        if not self.is_at('"'):
            raise JSONDecodeError("Expecting a string", self._text, self._position)
        text: str
        text, self._position = self._decoder.raw_decode(self._text, self._position)
        return text

    def value(self) -> tuple[Any, bool]:
        """The value that begins here, and whether reading must end with it.

        It must after an array, and after an object that holds another one: neither is an entry.
        """
        self._skip_white_space()
        begin = self._position
        if not self._text.startswith(("{", "["), begin):
            value, self._position = self._decoder.raw_decode(self._text, begin)
            return value, False
        furthest = begin + MAX_ENTRY_CHARACTERS
        # Entries hold no other objects, and no brace in a string.
        end = self._text.find("}", begin, furthest) + 1
        if end and self._text[begin] == "{":
            with suppress(JSONDecodeError):
                value, length = self._decoder.raw_decode(self._text[begin:end])
                self._position = begin + length
                return value, False
        value, _ = self._decoder.raw_decode(self._text[begin : begin + MAX_OTHER_CHARACTERS])
        return value, True

    def passes(self, mark: str) -> bool:
        """Whether this mark stands here; if so, go past it."""
        self._skip_white_space()
        stands = self._text.startswith(mark, self._position)
        if stands:
            self._position += len(mark)
        return stands

    def is_at(self, mark: str) -> bool:
        """Whether this mark stands here."""
        self._skip_white_space()
        return self._text.startswith(mark, self._position)

    def _expect(self, mark: str) -> None:
        if not self.passes(mark):
            raise JSONDecodeError(f"Expecting {mark!r}", self._text, self._position)

    def _skip_white_space(self) -> None:
        found = self._white_space.match(self._text, self._position)
        assert found is not None
        self._position = found.end()


def _read_entries(header: _Header, path: str) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    passed: set[str] = set()
    first_problem: ModelFormatError | None = None
    for name in header.names():
        if name in entries or name in passed:
            raise repeated_key(name, path, "header")
        if name == METADATA:
            passed.add(name)
            _check_metadata(header, path)
            continue
        value, is_last = header.value()
        try:
            entries[name] = _entry(value, name, path)
        except ModelFormatError as problem:
            if is_last:
                raise
            passed.add(name)  # an error of the JSON, further on, is raised first
            first_problem = first_problem or problem
    header.end()
    if first_problem is not None:
        raise first_problem
    return entries


def _check_metadata(header: _Header, path: str) -> None:
    """Pass the metadata, which nothing here needs: null, or an object of strings."""
    if header.passes("null"):
        return
    keys: set[str] = set()
    if header.is_at("{"):
        for key in header.names():
            if key in keys:
                raise repeated_key(key, path, "header")
            keys.add(key)
            if not header.is_at('"'):
                break
            header.string()
        else:
            return
    raise ModelFormatError(path, METADATA, "expected an object of strings, or null")


def _entry(value: Any, name: str, path: str) -> _Entry:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ModelFormatError(path, name, "expected exactly dtype, shape and data_offsets")
    dtype = value["dtype"]
    if not isinstance(dtype, str) or dtype not in ITEM_BITS:
        raise ModelFormatError(
            path, name, f"dtype {dtype!r:.80} is not one of {', '.join(ITEM_BITS)}"
        )
    shape = value["shape"]
    if not isinstance(shape, list) or not all(map(_is_size, shape)):
        raise ModelFormatError(path, name, f"shape {shape!r:.80} is not a list of sizes")
    offsets = value["data_offsets"]
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise ModelFormatError(path, name, f"data_offsets {offsets!r:.80} are not two offsets")
    return _Entry(dtype, tuple(shape), *offsets)


def _check_span(entry: _Entry, name: str, data_bytes: int, path: str) -> None:
    begin, end = entry.begin, entry.end
    if not begin <= end <= data_bytes:
        raise ModelFormatError(
            path, name, f"data_offsets {[begin, end]} do not lie in the {data_bytes} bytes of data"
        )
    if _bits_of(entry, 8 * (end - begin)) != 8 * (end - begin):
        raise ModelFormatError(
            path,
            name,
            f"{end - begin} bytes of data, expected {entry.dtype} {list(entry.shape)!r:.80}",
        )


def _bits_of(entry: _Entry, limit: int) -> int:
    """Number of bits of a tensor, or any number above ``limit`` if there are more.

    The product of all sizes in a long header would take seconds.
    """
    if 0 in entry.shape:
        return 0
    product = ITEM_BITS[entry.dtype]
    for size in entry.shape:
        product *= size
        if product > limit:
            break
    return product


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _check_cover(entries: dict[str, _Entry], data_bytes: int, path: str) -> None:
    covered = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.begin != covered:
            what = "overlaps the tensor before" if entry.begin < covered else "leaves a gap before"
            raise ModelFormatError(
                path, name, f"begins at {entry.begin} and {what} it, which ends at {covered}"
            )
        covered = entry.end
    if covered != data_bytes:
        raise ModelFormatError(
            path, "data", f"tensors end at {covered}, the file's data at {data_bytes}"
        )


def write_safetensors(path: str, tensors: dict[str, Tensor]) -> None:
    """Write a new safetensors file.

    The library is not used: it has no bfloat16 for NumPy, makes a second copy of the data, and
    its versions take tensors in different ways.

    Args:
        path: the file.
        tensors: by name. Those of wider items are written first, so that each is aligned.

    Raises:
        OSError: the file exists, or cannot be written (names it).
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    in_order = sorted(tensors, key=lambda name: -ITEM_BITS[tensors[name].dtype])
    end = 0
    for name, tensor in ((name, tensors[name]) for name in in_order):
        begin, end = end, end + tensor.data.nbytes
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    encoded = json.dumps(header).encode()
    encoded = encoded.ljust(-(-len(encoded) // LENGTH_BYTES) * LENGTH_BYTES)
    from nibblevec._io.errors import errors_named

    with errors_named(path), open(path, "xb") as file:
        file.write(len(encoded).to_bytes(LENGTH_BYTES, "little") + encoded)
        for name in in_order:
            file.write(tensors[name].data.data)
