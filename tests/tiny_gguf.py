"""GGUF files for tests, written by hand from the specification, field after field."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tables import random_table
from tiny_models import VOCABULARY, head_vectors, tokenizer_content

ALIGNMENT = 32

KINDS = {
    "uint8": (0, "<B"), "int8": (1, "<b"), "uint16": (2, "<H"), "int16": (3, "<h"),
    "uint32": (4, "<I"), "int32": (5, "<i"), "float32": (6, "<f"), "bool": (7, "<B"),
    "uint64": (10, "<Q"), "int64": (11, "<q"), "float64": (12, "<d"),
}  # fmt: skip
STRING, ARRAY = 8, 9

TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8, "Q4_K": 12, "Q6_K": 14, "I32": 26, "BF16": 30}

ROWS = len(VOCABULARY)
TABLE = "token_embd.weight"
TOKENIZER_KEY = "tokenizer.huggingface.json"


def string(content: str | bytes, length: int | None = None) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return struct.pack("<Q", len(data) if length is None else length) + data


def number(kind: str, value: Any) -> bytes:
    """A value with its type, of a key."""
    type_number, spelling = KINDS[kind]
    return struct.pack("<I", type_number) + struct.pack(spelling, value)


def text(content: str | bytes, length: int | None = None) -> bytes:
    return struct.pack("<I", STRING) + string(content, length)


def array(kind: str, values: Sequence[Any], count: int | None = None) -> bytes:
    held = len(values) if count is None else count
    if kind == "string":
        return struct.pack("<IIQ", ARRAY, STRING, held) + b"".join(map(string, values))
    type_number, spelling = KINDS[kind]
    items = b"".join(struct.pack(spelling, value) for value in values)
    return struct.pack("<IIQ", ARRAY, type_number, held) + items


class Tensor(NamedTuple):
    """A tensor; what is None follows from the others."""

    kind: int
    sizes: Sequence[int]
    data: bytes
    offset: int | None = None
    dimensions: int | None = None

    @classmethod
    def of(cls, numbers: NDArray[Any]) -> Tensor:
        """An array, the rows first; uint16 stands for bfloat16."""
        types = {"float32": "F32", "float16": "F16", "uint16": "BF16", "int32": "I32"}
        return cls(TYPES[types[numbers.dtype.name]], numbers.shape[::-1], numbers.tobytes())


def padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def gguf_bytes(
    keys: Mapping[str, bytes] | Sequence[tuple[str | bytes, bytes]],
    tensors: Mapping[str, Tensor] | Sequence[tuple[str | bytes, Tensor]],
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    tensor_count: int | None = None,
    key_count: int | None = None,
    alignment: int = ALIGNMENT,
    last_padding: bool = True,
) -> bytes:
    """A whole file: values are given as `number`, `text` and `array` make them."""
    key_list = list(keys.items()) if isinstance(keys, Mapping) else keys
    tensor_list = list(tensors.items()) if isinstance(tensors, Mapping) else tensors
    header = magic + struct.pack("<I", version)
    header += struct.pack("<Q", len(tensor_list) if tensor_count is None else tensor_count)
    header += struct.pack("<Q", len(key_list) if key_count is None else key_count)
    for key, value in key_list:
        header += string(key) + value
    data = b""
    for name, tensor in tensor_list:
        data = data.ljust(padded(len(data), alignment), b"\0")
        dimensions = len(tensor.sizes) if tensor.dimensions is None else tensor.dimensions
        header += string(name) + struct.pack("<I", dimensions)
        header += struct.pack(f"<{len(tensor.sizes)}Q", *tensor.sizes)
        offset = len(data) if tensor.offset is None else tensor.offset
        header += struct.pack("<IQ", tensor.kind, offset)
        data += tensor.data
    if last_padding:
        data = data.ljust(padded(len(data), alignment), b"\0")
    return header.ljust(padded(len(header), alignment), b"\0") + data


def tokenizer_json() -> bytes:
    return json.dumps(tokenizer_content()).encode()


def model_keys() -> dict[str, bytes]:
    """Keys that a model needs."""
    return {"general.architecture": text("sse"), TOKENIZER_KEY: text(tokenizer_json())}


def head_tensors(dim: int) -> dict[str, Tensor]:
    return {name: Tensor.of(vector) for name, vector in head_vectors(dim).items()}


def table_tensor(
    dim: int, row_format: str = "float32", rows: int = ROWS
) -> tuple[Tensor, NDArray[np.float32]]:
    """A random table, and its rows decoded."""
    content, decoded = random_table(row_format, rows, dim, np.random.default_rng(dim))
    types = {
        "float32": "F32", "float16": "F16", "bfloat16": "BF16", "q4_k": "Q4_K", "q6_k": "Q6_K",
    }  # fmt: skip
    return Tensor(TYPES[types[row_format]], (dim, rows), content), decoded
