"""The texts that Encoder takes: one, many, an iterator; and what is no text."""

from __future__ import annotations

import re
import tracemalloc
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import bits
from encoder_cases import (
    DIM,
    ODD_TEXTS,
    encoder_fixture,  # noqa: F401
    folder_fixture,  # noqa: F401
    many_texts,
)
from tiny_models import published_vectors

from nibblevec import Encoder
from nibblevec._precision import PRECISIONS, Precision
from nibblevec._vectors import BLOCK_TEXTS, ROUNDED_BLOCK_TEXTS

# What goes in


def test_single_text_gives_one_dimension(encoder: Encoder) -> None:
    vector = encoder.encode("a cup of tea")
    assert vector.shape == (DIM,)
    assert vector.dtype == np.float32
    assert np.array_equal(bits(vector), bits(encoder.encode(["a cup of tea"])[0]))


@pytest.mark.parametrize(
    "collect",
    [
        list,
        tuple,
        iter,
        lambda texts: (text for text in texts),
        np.array,
        lambda texts: np.array(texts, object),
        lambda texts: dict.fromkeys(texts).keys(),
    ],
    ids=["list", "tuple", "iterator", "generator", "ndarray", "object ndarray", "keys"],
)
def test_any_iterable_of_texts(encoder: Encoder, collect: Callable[[list[str]], Any]) -> None:
    texts = ["tea", "", "the stock market fell", "caf\u00e9 \U0001f600"]
    vectors = encoder.encode(collect(texts))
    assert vectors.shape == (4, DIM)
    assert np.array_equal(bits(vectors), bits(encoder.encode(texts)))


def test_subclass_of_str(encoder: Encoder) -> None:
    class Text(str):
        __slots__ = ()

    assert np.array_equal(bits(encoder.encode([Text("tea")])), bits(encoder.encode(["tea"])))
    assert encoder.encode(Text("tea")).shape == (DIM,)
    assert encoder.encode(np.str_("tea")).shape == (DIM,)


@pytest.mark.parametrize("empty", [[], (), iter(()), np.array([], str)])
def test_no_texts(encoder: Encoder, empty: Any) -> None:
    vectors = encoder.encode(empty)
    assert vectors.shape == (0, DIM)
    assert vectors.dtype == np.float32
    assert encoder.encode([], truncate_dim=7).shape == (0, 7)


def test_text_without_tokens_is_the_head_of_zeros(encoder: Encoder, folder: Path) -> None:
    expected = published_vectors(folder, [""])[0]
    assert np.any(expected != 0)
    for text in ("", " ", "\x00", "\n\t"):
        np.testing.assert_allclose(encoder.encode(text), expected, rtol=0, atol=1e-6)


def named(row: int, kind: str, advice: str = "") -> str:
    """What an error says of a text that is no str, as a pattern."""
    return "^" + re.escape(f"text {row} is {kind}, expected str{advice}") + "$"


MISSING = "; nulls='empty' takes a missing text{} as an empty one"


@pytest.mark.parametrize(
    ("bad", "name", "advice"),
    [
        (None, "NoneType", MISSING.format("")),
        (float("nan"), "float", MISSING.format(" (nan)")),
        (
            np.float32("nan"),
            "float32",
            "; nulls='empty' takes a missing text (nan) as an empty one",
        ),
        (b"tea", "bytes", "; .decode() makes a text of it"),
        (bytearray(b"tea"), "bytearray", "; .decode() makes a text of it"),
        (memoryview(b"tea"), "memoryview", "; bytes(...).decode() makes a text of it"),
        (1, "int", "; str(...) makes a text of 1"),
        (np.float32(1), "float32", "; str(...) makes a text of 1.0"),
        (True, "bool", "; str(...) makes a text of True"),
        (["tea"], "list", ""),
    ],
)
@pytest.mark.parametrize("row", [0, 3, BLOCK_TEXTS + 1])
def test_what_is_not_a_text_is_named_by_row(
    encoder: Encoder, bad: object, name: str, advice: str, row: int
) -> None:
    texts: list[Any] = ["tea"] * (row + 2)
    texts[row] = bad
    for call in (encoder.encode, encoder.tokenize, encoder.fit_ranges, encoder.preprocess):
        with pytest.raises(TypeError, match=named(row, name, advice)):
            call(texts)
    with pytest.raises(TypeError, match=named(row, name, advice)):
        list(encoder.encode_iter(texts, batch_size=100))


@pytest.mark.parametrize("bad", [None, 3, 1.5, b"tea", bytearray(b"tea"), memoryview(b"tea")])
def test_what_is_no_iterable_of_texts(encoder: Encoder, bad: Any) -> None:
    with pytest.raises(TypeError):
        encoder.encode(bad)


@pytest.mark.parametrize(
    "bad", [{"text": ["tea"]}, {}, types.MappingProxyType({"text": "tea"})], ids=repr
)
def test_names_of_columns_are_no_texts(encoder: Encoder, bad: Any) -> None:
    kind = type(bad).__name__
    for call in (encoder.encode, encoder.tokenize, encoder.fit_ranges, encoder.encode_iter):
        with pytest.raises(TypeError, match=f"iterable of str, not {kind}, which gives its keys"):
            call(bad)


@pytest.mark.parametrize("shape", [(), (2, 1), (0, 2), (1, 1, 1)], ids=str)
def test_array_that_has_not_one_dimension(encoder: Encoder, shape: tuple[int, ...]) -> None:
    for dtype in ("U3", object):
        message = f"expected one dimension of str, not ndarray with {len(shape)}"
        with pytest.raises(TypeError, match=message):
            encoder.encode(np.full(shape, "tea", dtype))


LONE = "; errors='replace' puts U+FFFD in its place"
PAIR = "; errors='replace' makes it the character that it stands for"


@pytest.mark.parametrize(
    ("text", "what", "advice"),
    [
        ("\ud800", "a lone surrogate at character 0", LONE),
        ("tea \udfff", "a lone surrogate at character 4", LONE),
        ("\ud83d tea \ude00", "a lone surrogate at character 0", LONE),
        ("\ude00\ud83d", "a lone surrogate at character 0", LONE),
        ("tea \ud83d\ud83d\ude00", "a lone surrogate at character 4", LONE),
        ("\ud83d\ude00", "a surrogate pair at character 0", PAIR),
        ("tea \udbff\udfff\ud800", "a surrogate pair at character 4", PAIR),
        ("\U0001f600\ud800\udc00 tea", "a surrogate pair at character 1", PAIR),
    ],
)
@pytest.mark.parametrize("row", [0, 2, BLOCK_TEXTS, 2 * BLOCK_TEXTS + 5])
def test_surrogates_are_named_by_row(
    encoder: Encoder, text: str, what: str, advice: str, row: int
) -> None:
    texts = ["tea"] * (row + 1)
    texts[row] = text
    with pytest.raises(ValueError, match=f"^text {row} holds {what}{re.escape(advice)}$"):
        encoder.encode(texts)
    with pytest.raises(ValueError, match=f"^the prompt holds {what}$"):
        encoder.encode("tea", prompt=text)


def test_lone_surrogate_alone(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match="text 0 holds a lone surrogate at character 1"):
        encoder.encode("a\ud800")


@pytest.mark.parametrize("keyword", ["batchsize", "prompt_nam", "precisionn"])
def test_unknown_keyword(encoder: Encoder, keyword: str) -> None:
    with pytest.raises(TypeError, match=keyword):
        encoder.encode(["tea"], **{keyword: 1})  # type: ignore[call-overload]


def test_unknown_keyword_of_the_constructor() -> None:
    with pytest.raises(TypeError, match="dims"):
        Encoder(dims=3)  # type: ignore[call-arg]


# encode_iter


@pytest.mark.parametrize("batch_size", [1, 7, 100, 101, 10**30, np.int32(33)])
def test_iterator_gives_the_same_vectors(encoder: Encoder, batch_size: Any) -> None:
    texts = ODD_TEXTS + many_texts(100 - len(ODD_TEXTS))
    options: dict[str, Any] = {"normalize_embeddings": True, "truncate_dim": 9, "prompt": "a "}
    arrays = list(encoder.encode_iter(iter(texts), batch_size=batch_size, **options))
    sizes = [len(texts[i : i + batch_size]) for i in range(0, len(texts), int(batch_size))]
    assert [array.shape for array in arrays] == [(size, 9) for size in sizes]
    assert np.array_equal(bits(np.concatenate(arrays)), bits(encoder.encode(texts, **options)))


def test_iterator_takes_no_more_than_it_gives(encoder: Encoder) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"tea {taken}"

    arrays = encoder.encode_iter(endless(), batch_size=5)
    assert taken == 0
    for count in (5, 10, 15):
        assert next(arrays).shape == (5, DIM)
        assert taken == count


def test_iterator_keeps_no_texts(encoder: Encoder) -> None:
    texts = (f"tea {row}" + " cup" * 50 for row in range(30 * 1024))
    next(encoder.encode_iter(texts, batch_size=1024))
    tracemalloc.start()
    try:
        for _ in encoder.encode_iter(texts, batch_size=1024):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20  # of 29 batches of 300 KB each, one or two


def test_iterator_over_nothing(encoder: Encoder) -> None:
    assert list(encoder.encode_iter([])) == []


def test_iterator_names_rows_and_counts_from_the_first(encoder: Encoder) -> None:
    texts: list[Any] = ["tea"] * 7 + [None]
    arrays = encoder.encode_iter(texts, batch_size=3)
    assert len(next(arrays)) == len(next(arrays)) == 3
    with pytest.raises(TypeError, match="text 7 is NoneType, expected str"):
        next(arrays)
    encoder.max_seq_length = 1
    for _ in encoder.encode_iter(["tea cup", "tea", "tea cup", "a cup"], batch_size=3):
        pass
    assert encoder.truncated_texts == 3


@pytest.mark.parametrize("precision", [*PRECISIONS, None])
@pytest.mark.parametrize("batch_size", [3, 4 * ROUNDED_BLOCK_TEXTS])
def test_encode_iter_in_a_precision(
    folder: Path, precision: Precision | None, batch_size: int
) -> None:
    encoder = Encoder(folder)
    encoder.fit_ranges(ODD_TEXTS)
    texts = ODD_TEXTS * (1 if batch_size == 3 else 2 * ROUNDED_BLOCK_TEXTS // len(ODD_TEXTS))
    options: Any = {"precision": precision, "normalize_embeddings": True}
    arrays = list(encoder.encode_iter(iter(texts), batch_size=batch_size, **options))
    expected = encoder.encode(texts, **options)
    assert {array.dtype for array in arrays} == {expected.dtype}
    assert np.concatenate(arrays).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("texts", "options", "error", "message"),
    [
        ("tea", {}, TypeError, "expected an iterable of str, not str"),
        (b"tea", {}, TypeError, "expected an iterable of str, not bytes"),
        (3, {}, TypeError, "expected an iterable of str, not int"),
        (["tea"], {"batch_size": 0}, ValueError, "batch_size must be at least 1, not 0"),
        (["tea"], {"batch_size": 1.5}, TypeError, "integer"),
        (["tea"], {"truncate_dim": 31}, ValueError, "truncate_dim 31 is not in"),
        (["tea"], {"prompt_name": "tea"}, ValueError, "no prompt has the name 'tea'"),
        (["tea"], {"threads": 0}, ValueError, "threads must be at least 1"),
        (["tea"], {"precision": "int8"}, ValueError, "no ranges are stored"),
        (["tea"], {"precision": "int4"}, ValueError, "no precision 'int4'"),
    ],
)
def test_iterator_refuses_at_once(
    encoder: Encoder, texts: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        encoder.encode_iter(texts, **options)
