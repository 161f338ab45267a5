"""What tests of Arrow share: texts in every type of Arrow, and the model that encodes them."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from arrow_by_hand import (
    Column,
    GetLastError,
    GetNext,
    Producer,
    binary,
    dictionary,
    utf8,
    utf8_view,
)
from bits import FloatArray, assert_same_bits
from tiny_models import TOKENIZER, write_model

from nibblevec import Encoder
from nibblevec._tokenization.package import PackageTokenizer

DIM = 30

TEXTS = [
    "a cup of tea",
    "",
    "the stock market fell, a cup of tea was hot!",
    "caf\u00e9",
    "\u4e2d\u6587 tea \U0001f600",
    "unable, playing! caf\u00e9 \U0001f600 and some more words",
    "tea\x00cup",
    "twelve bytes",
    "thirteen byte",
    "[CLS] \ufffd\uffff\U0010ffff",
    "b" * 200,
    "\ud7ff\ue000 \u07ff\u0800",
]
WITH_NULLS = [None if row % 3 == 1 else text for row, text in enumerate(TEXTS)]

LAYOUTS: dict[str, Callable[..., Column]] = {
    "utf8": utf8,
    "large_utf8": lambda texts, **options: utf8(texts, large=True, **options),
    "utf8_view": utf8_view,
    **{
        f"dictionary<{index}>": lambda texts, index=index, **options: dictionary(
            texts, index, **options
        )
        for index in "cCsSiIlL"
    },
    "dictionary<c, utf8_view>": lambda texts, **options: dictionary(
        texts, "c", values=utf8_view, **options
    ),
    "binary": lambda texts, **options: binary(utf8(texts, **options)),
    "large_binary": lambda texts, **options: binary(utf8(texts, large=True, **options)),
    "binary_view": lambda texts, **options: binary(utf8_view(texts, **options)),
    "dictionary<i, binary>": lambda texts, **options: dictionary(
        texts, "i", values=lambda known: binary(utf8(known)), **options
    ),
    "dictionary<S, binary_view>": lambda texts, **options: dictionary(
        texts, "S", values=lambda known: binary(utf8_view(known)), **options
    ),
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


@pytest.fixture(name="folder", scope="module")
def folder_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("arrow") / "model", dim=DIM)


@pytest.fixture(name="encoder")
def encoder_fixture(folder: Path) -> Encoder:
    return Encoder(folder)


@pytest.fixture(name="by_package")
def by_package_fixture(encoder: Encoder, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Encoder:
    """The same encoder, its tokenizer run by the package."""
    path = folder / TOKENIZER
    package = PackageTokenizer(path.read_bytes(), str(path), "asked for")
    monkeypatch.setattr(encoder, "_tokenizer", package)
    return encoder


def expected_rows(
    encoder: Encoder, texts: list[str | None], **options: Any
) -> list[FloatArray | None]:
    vectors = encoder.encode([text or "" for text in texts], **options)
    return [None if text is None else row for text, row in zip(texts, vectors, strict=True)]


def assert_same_rows(actual: list[FloatArray | None], expected: list[FloatArray | None]) -> None:
    assert [row is None for row in actual] == [row is None for row in expected]
    for ours, theirs in zip(actual, expected, strict=True):
        if ours is not None and theirs is not None:
            assert_same_bits(ours, theirs)


def changed(column: Column, **changes: Any) -> Column:
    for name, value in changes.items():
        setattr(column, name, value)
    return column


def with_buffer(column: Column, number: int, content: bytes | None) -> Column:
    column.buffers[number] = content
    return column


def offsets(*numbers: int, letter: str = "i") -> bytes:
    return struct.pack(f"<{len(numbers)}{letter}", *numbers)


FEW = ["tea", "cup", "hot"]


def assert_refused(encoder: Encoder, producer: Producer, column: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        encoder.encode_arrow(producer, column=column)
    del caught
    assert producer.all_released_once()


def failing(code: int, message: bytes | None) -> dict[str, Any]:
    address = None
    if message is not None:
        address = ctypes.cast(ctypes.c_char_p(message), ctypes.c_void_p).value
    return {
        "get_next": GetNext(lambda *_: code),
        "get_last_error": GetLastError(lambda _: address),
    }
