"""GGUF files, written.

Source: the format's specification, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from typing import IO, TYPE_CHECKING

from nibblevec._containers.gguf_format import (
    ARRAY,
    BOOL,
    DEFAULT_ALIGNMENT,
    MAGIC,
    STRING,
    TENSOR_TYPES,
    UINT32,
    UINT64,
    padded,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nibblevec._containers.stored_tensors import Tensor

    GgufValue = str | bytes | bool | int | Sequence[str]

WRITTEN_VERSION = 3


def write_gguf(
    file: IO[bytes],
    metadata: Mapping[str, GgufValue],
    tensors: Mapping[str, Tensor],
) -> None:
    """Write a whole GGUF file.

    Args:
        file: written from its beginning.
        metadata: a str, or the bytes of one, becomes a string, a bool a bool, an int a uint32
            or, where that is too small, a uint64, a sequence an array of strings.
        tensors: by name; a shape has the rows first.
    """
    type_numbers = {name: number for number, (name, _, _) in TENSOR_TYPES.items()}
    parts = [MAGIC, struct.pack("<IQQ", WRITTEN_VERSION, len(tensors), len(metadata))]
    for key, value in metadata.items():
        parts += [_packed_string(key), _packed_value(value)]
    begin = 0
    for name, tensor in tensors.items():
        sizes = tensor.shape[::-1]
        parts.append(_packed_string(name))
        parts.append(struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes))
        parts.append(struct.pack("<IQ", type_numbers[tensor.dtype], begin))
        begin = padded(begin + tensor.data.nbytes, DEFAULT_ALIGNMENT)
    header = b"".join(parts)
    file.write(header.ljust(padded(len(header), DEFAULT_ALIGNMENT), b"\0"))
    for tensor in tensors.values():
        file.write(tensor.data.data)
        file.write(bytes(-tensor.data.nbytes % DEFAULT_ALIGNMENT))


def _packed_string(text: str | bytes) -> bytes:
    encoded = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(encoded)) + encoded


def _packed_value(value: GgufValue) -> bytes:
    if isinstance(value, (str, bytes)):
        return struct.pack("<I", STRING) + _packed_string(value)
    if isinstance(value, bool):
        return struct.pack("<IB", BOOL, value)
    if isinstance(value, int):
        fits = value < 1 << 32
        return struct.pack("<II" if fits else "<IQ", UINT32 if fits else UINT64, value)
    items = b"".join(map(_packed_string, value))
    return struct.pack("<IIQ", ARRAY, STRING, len(value)) + items
