"""Headers of safetensors files, read with every promise of the format checked.

The library's own reader copies tensors and accepts duplicate keys.

Source: the format's specification, https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nibblevec.model_files import ModelFormatError, map_file, parse_json_object
from nibblevec.output_files import errors_named

# The models we read have a dozen tensors, about 100 bytes of header each.
MAX_HEADER_BYTES = 1 << 20

LENGTH_BYTES = 8

ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip


class Tensor(NamedTuple):
    """One tensor: its type as the format spells it, its shape, its bytes within the file."""

    dtype: str
    shape: tuple[int, ...]
    data: NDArray[np.uint8]


def read_safetensors(path: str, *, mmap: bool = True) -> dict[str, Tensor]:
    """Open a safetensors file and check all of its header.

    Args:
        path: a regular file.
        mmap: map it into memory instead of reading it.

    Returns:
        The tensors by name; their bytes are views into the file.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
        ModelFormatError: the header is cut, too long, not JSON, repeats a key; a type, shape or
            offset is wrong; tensors overlap, leave gaps, or end elsewhere than the file.
    """
    file = map_file(path, mmap=mmap)
    if file.size < LENGTH_BYTES:
        raise ModelFormatError(
            path, "header length", f"file of {file.size} bytes, expected at least 8"
        )
    header_bytes = int.from_bytes(file[:LENGTH_BYTES].tobytes(), "little")
    room = file.size - LENGTH_BYTES
    if header_bytes > min(room, MAX_HEADER_BYTES):
        raise ModelFormatError(
            path,
            "header length",
            f"{header_bytes}, expected at most {min(room, MAX_HEADER_BYTES)}"
            + (" (what is left of the file)" if room < MAX_HEADER_BYTES else ""),
        )
    data_begin = LENGTH_BYTES + header_bytes
    header_json = file[LENGTH_BYTES:data_begin].tobytes()
    if header_json and not header_json.startswith(b"{"):
        raise ModelFormatError(path, "header", f"begins with {header_json[:1]!r}, expected b'{{'")
    header = parse_json_object(header_json, path, "header")
    _check_metadata(header.pop("__metadata__", {}), path)
    data = file[data_begin:]
    spans = {name: _checked_span(entry, name, data.size, path) for name, entry in header.items()}
    _check_cover(spans, data.size, path)
    return {
        name: Tensor(header[name]["dtype"], tuple(header[name]["shape"]), data[begin:end])
        for name, (begin, end) in spans.items()
    }


def _check_metadata(metadata: Any, path: str) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ModelFormatError(path, "__metadata__", "expected an object of strings")


def _checked_span(entry: Any, name: str, data_bytes: int, path: str) -> tuple[int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ModelFormatError(path, name, "expected exactly dtype, shape and data_offsets")
    dtype = entry["dtype"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise ModelFormatError(
            path, name, f"dtype {dtype!r:.80} is not one of {', '.join(ITEM_BYTES)}"
        )
    shape = entry["shape"]
    if not isinstance(shape, list) or not all(map(_is_size, shape)):
        raise ModelFormatError(path, name, f"shape {shape!r:.80} is not a list of sizes")
    offsets = entry["data_offsets"]
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise ModelFormatError(path, name, f"data_offsets {offsets!r:.80} are not two offsets")
    begin, end = offsets
    if not begin <= end <= data_bytes:
        raise ModelFormatError(
            path, name, f"data_offsets {offsets} do not lie in the {data_bytes} bytes of data"
        )
    if _bytes_of(dtype, shape, end - begin) != end - begin:
        raise ModelFormatError(
            path, name, f"{end - begin} bytes of data, expected {dtype} {shape!r:.80}"
        )
    return begin, end


def _bytes_of(dtype: str, shape: list[int], limit: int) -> int:
    """Bytes of a tensor; some number above ``limit`` if they are more.

    The product of all the sizes that a header has room for would take seconds.
    """
    if 0 in shape:
        return 0
    product = ITEM_BYTES[dtype]
    for size in shape:
        product *= size
        if product > limit:
            break
    return product


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _check_cover(spans: dict[str, tuple[int, int]], data_bytes: int, path: str) -> None:
    covered = 0
    for name, (begin, end) in sorted(spans.items(), key=lambda item: item[1]):
        if begin != covered:
            what = "overlaps the tensor before" if begin < covered else "leaves a gap before"
            raise ModelFormatError(
                path, name, f"begins at {begin} and {what} it, which ends at {covered}"
            )
        covered = end
    if covered != data_bytes:
        raise ModelFormatError(
            path, "data", f"tensors end at {covered}, the file's data at {data_bytes}"
        )


def write_safetensors(path: str, tensors: dict[str, Tensor]) -> None:
    """Write a new safetensors file.

    By hand, since the library has no bfloat16 for NumPy, wants a second copy of the data, and
    takes the tensors otherwise in each of its versions.

    Args:
        path: the file.
        tensors: by name. Those of wider numbers come first: so each is aligned to its numbers.

    Raises:
        OSError: the file exists, or cannot be written (names it).
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    in_order = sorted(tensors, key=lambda name: -ITEM_BYTES[tensors[name].dtype])
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
    with errors_named(path), open(path, "xb") as file:
        file.write(len(encoded).to_bytes(LENGTH_BYTES, "little") + encoded)
        for name in in_order:
            file.write(tensors[name].data.data)
