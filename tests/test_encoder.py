"""`Encoder`: what `encode` takes and gives, and how it behaves among threads and processes."""

from __future__ import annotations

import copy
import json
import logging
import multiprocessing
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import bits
from numpy.typing import NDArray
from tiny_models import (
    HEAD,
    TABLE,
    TOKENIZER,
    VOCABULARY,
    published_vectors,
    tokenizer_content,
    write_model,
)

from nibblevec import Encoder, ModelFormatError, _vectors
from nibblevec._bundled import BUNDLED_MODEL
from nibblevec._precision import PRECISIONS, Precision
from nibblevec._tokenization.package import PackageTokenizer
from nibblevec._vectors import BLOCK_TEXTS, ROUNDED_BLOCK_TEXTS, write_floats

DIM = 30

ODD_TEXTS = [
    "",
    " \t\n",
    "\x00",
    "tea\x00cup",
    "[CLS]",
    "[CLS] tea [SEP]",
    "[cls] tea",
    "a[UNK]b",
    "[PAD][PAD]",
    "\U0001f600",
    "tea \U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 cup",
    "caf\u00e9",
    "cafe\u0301",
    "TEA",
    "\u4e2d\u6587tea",
    "\ufeffthe cup",
    "\u00ad\u200b\u2028",
    "\x7f\x01\x85",
    "b" * 100,
    "b" * 101,
    "b" * 200,
    "unable, playing!",
    "zzz",
    "'-'",
    "tea" * 3,
    "\ufffd\uffff\U0010ffff",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("encoder") / "model", dim=DIM)


@pytest.fixture
def encoder(folder: Path) -> Encoder:
    return Encoder(folder)


def many_texts(count: int, seed: int = 1) -> list[str]:
    words = [*VOCABULARY[5:], "zebra", "walking", "played", "[SEP]"]
    chooser = random.Random(seed)
    return [" ".join(chooser.choices(words, k=chooser.randrange(12))) for _ in range(count)]


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


# What comes out


@pytest.mark.parametrize("dims", [None, 1, 2, 15, 16, 29])
@pytest.mark.parametrize("normalize", [False, True])
def test_equals_the_published_formula(
    encoder: Encoder, folder: Path, dims: int | None, normalize: bool
) -> None:
    texts = ODD_TEXTS + many_texts(200)
    expected = published_vectors(folder, texts, dims=dims, normalize=normalize)
    vectors = encoder.encode(texts, truncate_dim=dims, normalize_embeddings=normalize)
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dim", [2, 14, 62, 64, 514])
def test_equals_the_published_formula_in_other_widths(tmp_path: Path, dim: int) -> None:
    folder = write_model(tmp_path / "model", dim=dim, seed=dim)
    expected = published_vectors(folder, ODD_TEXTS)
    np.testing.assert_allclose(Encoder(folder).encode(ODD_TEXTS), expected, rtol=0, atol=1e-6)


def test_bundled_model_equals_the_published_formula() -> None:
    texts = [
        "Tea is a hot drink.",
        "\u4e2d\u6587 caf\u00e9 \U0001f600 [SEP] uncharacteristically",
        "",
    ]
    expected = published_vectors(Path(BUNDLED_MODEL), texts, normalize=True)
    vectors = Encoder().encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-6)


def test_padding_is_ignored_and_truncation_is_not(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", dim=DIM)
    content = tokenizer_content()
    content["padding"] = {
        "strategy": {"Fixed": 20},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    content["truncation"] = {
        "direction": "Right",
        "max_length": 3,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    plain = Encoder(write_model(tmp_path / "plain", dim=DIM))
    (folder / TOKENIZER).write_text(json.dumps(content))
    vectors = Encoder(folder).encode(["tea", "a cup of tea", ""])
    assert np.array_equal(bits(vectors), bits(plain.encode(["tea", "a cup of", ""])))


def test_text_of_megabytes(encoder: Encoder, folder: Path) -> None:
    texts = ["tea", "the stock market fell, a cup of tea! " * 60_000, "cup"]
    vectors = encoder.encode(texts)
    np.testing.assert_allclose(vectors, published_vectors(folder, texts), rtol=0, atol=1e-6)
    assert np.array_equal(bits(vectors[::2]), bits(encoder.encode(["tea", "cup"])))


def test_word_of_a_megabyte_is_one_unknown_token(encoder: Encoder) -> None:
    assert np.array_equal(bits(encoder.encode("b" * 1_000_000)), bits(encoder.encode("[UNK]")))


def test_bits_do_not_depend_on_the_batch(encoder: Encoder) -> None:
    texts = ODD_TEXTS + many_texts(2 * BLOCK_TEXTS + 77)
    vectors = encoder.encode(texts, normalize_embeddings=True)
    assert not np.array_equal(vectors[-1], vectors[-2])
    for row in [*range(len(ODD_TEXTS)), BLOCK_TEXTS - 1, BLOCK_TEXTS, len(texts) - 1]:
        alone = encoder.encode([texts[row]], normalize_embeddings=True)[0]
        assert np.array_equal(bits(alone), bits(vectors[row])), row
    backwards = encoder.encode(texts[::-1], normalize_embeddings=True)[::-1]
    assert np.array_equal(bits(backwards), bits(vectors))


def test_package_gets_blocks_of_few_characters(
    folder: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["tea " * 15, "cup", "tea " * 15, "drink", "tea " * 15, "the"]
    content = (folder / TOKENIZER).read_bytes()
    package = PackageTokenizer(content, str(folder / TOKENIZER), "asked for")
    blocks = []
    encode_batch = PackageTokenizer.encode_batch

    def counted(
        tokenizer: PackageTokenizer, block: tuple[str, ...], *args: Any, **options: Any
    ) -> Any:
        blocks.append(len(block))
        return encode_batch(tokenizer, block, *args, **options)

    monkeypatch.setattr(PackageTokenizer, "encode_batch", counted)
    monkeypatch.setattr(_vectors, "PACKAGE_BLOCK_CHARACTERS", 100)
    expected = encoder.encode(texts)
    monkeypatch.setattr(encoder, "_tokenizer", package)
    vectors = encoder.encode(texts)
    assert blocks == [3, 3]
    assert np.array_equal(bits(vectors), bits(expected))


def test_bits_do_not_depend_on_threads(folder: Path) -> None:
    # Enough work for threads to start.
    texts = [" ".join(many_texts(20, seed)) for seed in range(1200)]
    expected = Encoder(folder, threads=1).encode(texts)
    for threads in (2, 7, np.int64(3)):
        assert np.array_equal(bits(Encoder(folder).encode(texts, threads=threads)), bits(expected))
    assert np.array_equal(bits(Encoder(folder, threads=4).encode(texts)), bits(expected))


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads(folder: Path, encoder: Encoder, threads: int) -> None:
    with pytest.raises(ValueError, match=f"threads must be at least 1, not {threads}"):
        encoder.encode(["tea"], threads=threads)
    with pytest.raises(ValueError, match=f"threads must be at least 1, not {threads}"):
        Encoder(folder, threads=threads)


def test_threads_from_the_environment(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIBBLEVEC_NUM_THREADS", "2")
    assert encoder.encode(["tea"]).shape == (1, DIM)
    for bad in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("NIBBLEVEC_NUM_THREADS", bad)
        with pytest.raises(ValueError, match="NIBBLEVEC_NUM_THREADS must be a whole number"):
            encoder.encode(["tea"])


@pytest.mark.parametrize("dims", [*range(1, 19), 29, DIM, np.int16(5), True])
def test_truncation_is_a_prefix(folder: Path, encoder: Encoder, dims: Any) -> None:
    texts = ODD_TEXTS + many_texts(40)
    full = encoder.encode(texts)
    truncated = encoder.encode(texts, truncate_dim=dims)
    assert truncated.shape == (len(texts), int(dims))
    assert np.array_equal(bits(truncated), bits(full[:, : int(dims)]))
    assert np.array_equal(bits(Encoder(folder, truncate_dim=dims).encode(texts)), bits(truncated))


@pytest.mark.parametrize("dims", [0, DIM + 1, -1, 1 << 70])
def test_truncation_outside_of_the_model(folder: Path, encoder: Encoder, dims: int) -> None:
    message = rf"truncate_dim {dims} is not in 1\.\.{DIM}"
    with pytest.raises(ValueError, match=message):
        encoder.encode(["tea"], truncate_dim=dims)
    with pytest.raises(ValueError, match=message):
        Encoder(folder, truncate_dim=dims)


@pytest.mark.parametrize("option", ["truncate_dim", "batch_size", "threads"])
@pytest.mark.parametrize("value", [1.0, "1", float("nan")])
def test_option_that_is_no_whole_number(encoder: Encoder, option: str, value: Any) -> None:
    with pytest.raises(TypeError, match="integer"):
        encoder.encode(["tea"], **{option: value})


def test_truncation_of_the_call_wins(folder: Path) -> None:
    encoder = Encoder(folder, truncate_dim=8)
    assert encoder.get_embedding_dimension() == 8
    assert encoder.encode("tea").shape == (8,)
    assert encoder.encode("tea", truncate_dim=20).shape == (20,)
    assert encoder.encode("tea").shape == (8,)


def test_embedding_dimension(encoder: Encoder) -> None:
    assert encoder.get_embedding_dimension() == DIM
    assert Encoder().get_embedding_dimension() == 512
    assert "truncate_dim=30" in repr(encoder)


@pytest.mark.parametrize("dims", [1, 17, DIM])
def test_normalized_after_truncation(encoder: Encoder, dims: int) -> None:
    vectors = encoder.encode(many_texts(60), truncate_dim=dims, normalize_embeddings=True)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    plain = encoder.encode(many_texts(60), truncate_dim=dims)
    lengths = np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, plain / lengths, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 32, 10**9, np.int32(5)])
def test_batch_size_changes_nothing(encoder: Encoder, batch_size: Any) -> None:
    texts = many_texts(100)
    vectors = encoder.encode(texts, batch_size=batch_size, show_progress_bar=True)
    assert np.array_equal(bits(vectors), bits(encoder.encode(texts)))


@pytest.mark.parametrize("batch_size", [0, -3])
def test_batch_size_below_one(encoder: Encoder, batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, not {batch_size}"):
        encoder.encode(["tea"], batch_size=batch_size)


def test_progress_bar(encoder: Encoder, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["tea"] * (BLOCK_TEXTS + 6)
    encoder.encode(texts, show_progress_bar=False)
    encoder.encode(texts)
    assert capsys.readouterr() == ("", "")
    encoder.encode(texts, show_progress_bar=True, batch_size=10)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Batches: 100%" in shown.err
    batches = -(-len(texts) // 10)
    assert f"{batches}/{batches}" in shown.err
    encoder.encode([], show_progress_bar=True)
    assert capsys.readouterr().out == ""


def test_progress_bar_follows_the_log(
    encoder: Encoder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("nibblevec")
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.manager._clear_cache()  # type: ignore[attr-defined]
    try:
        encoder.encode(["tea"])
        assert "Batches: 100%" in capsys.readouterr().err
        encoder.encode(["tea"], show_progress_bar=False)
        assert capsys.readouterr().err == ""
    finally:
        logger.manager._clear_cache()  # type: ignore[attr-defined]


# out=


def test_out_is_written_and_returned(encoder: Encoder, tmp_path: Path) -> None:
    texts = many_texts(BLOCK_TEXTS + 50)
    expected = encoder.encode(texts)
    out = np.full(expected.shape, np.nan, np.float32)
    assert encoder.encode(texts, out=out) is out
    assert np.array_equal(bits(out), bits(expected))

    mapped = np.memmap(tmp_path / "vectors", np.float32, "w+", shape=expected.shape)
    assert encoder.encode(texts, out=mapped) is mapped
    mapped.flush()
    stored = np.fromfile(tmp_path / "vectors", np.float32).reshape(expected.shape)
    assert np.array_equal(bits(stored), bits(expected))


def test_out_of_one_text(encoder: Encoder) -> None:
    out = np.full(DIM, np.nan, np.float32)
    assert encoder.encode("tea", out=out) is out
    assert np.array_equal(bits(out), bits(encoder.encode("tea")))
    with pytest.raises(ValueError, match=r"out is float32 \[1, 30\], expected float32 \[30\]"):
        encoder.encode("tea", out=np.empty((1, DIM), np.float32))
    with pytest.raises(ValueError, match=r"out is float32 \[30\], expected float32 \[1, 30\]"):
        encoder.encode(["tea"], out=out)


def test_out_inside_of_an_array(encoder: Encoder) -> None:
    whole = np.full((6, DIM), np.nan, np.float32)
    encoder.encode(["tea", "cup"], out=whole[2:4])
    assert np.array_equal(bits(whole[2:4]), bits(encoder.encode(["tea", "cup"])))
    assert np.isnan(whole[:2]).all()
    assert np.isnan(whole[4:]).all()


def test_out_of_no_texts(encoder: Encoder) -> None:
    out = np.empty((0, DIM), np.float32)
    assert encoder.encode([], out=out) is out


def read_only() -> NDArray[np.float32]:
    array = np.zeros((2, DIM), np.float32)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((3, DIM), np.float32), r"out is float32 \[3, 30\], expected float32 \[2, 30\]"),
        (np.zeros((2, DIM - 1), np.float32), r"\[2, 29\], expected float32 \[2, 30\]"),
        (np.zeros(2 * DIM, np.float32), r"\[60\], expected float32 \[2, 30\]"),
        (np.zeros((2, DIM)), "out is float64"),
        (np.zeros((2, DIM), np.float16), "out is float16"),
        (np.zeros((2, DIM), ">f4"), "out is >f4"),
        (np.zeros((2, DIM), np.int32), "out is int32"),
        (np.zeros((DIM, 2), np.float32).T, "C-contiguous"),
        (np.zeros((2, 2 * DIM), np.float32)[:, ::2], "C-contiguous"),
        (np.zeros((4, DIM), np.float32)[::2], "C-contiguous"),
        (read_only(), "writeable"),
    ],
)
def test_out_that_does_not_fit(encoder: Encoder, out: Any, message: str) -> None:
    before = out.copy()
    with pytest.raises(ValueError, match=message):
        encoder.encode(["tea", "cup"], out=out)
    assert np.array_equal(out, before)


def test_out_that_is_not_aligned(encoder: Encoder) -> None:
    memory = np.zeros(8 * DIM + 4, np.uint8)
    begin = 1 if memory.ctypes.data % 4 == 0 else 0
    out = memory[begin : begin + 8 * DIM].view(np.float32).reshape(2, DIM)
    assert not out.flags.aligned
    with pytest.raises(ValueError, match="aligned"):
        encoder.encode(["tea", "cup"], out=out)


def test_out_that_is_no_array(encoder: Encoder) -> None:
    with pytest.raises(TypeError, match="out must be a NumPy array, not list"):
        encoder.encode(["tea"], out=[[0.0] * DIM])  # type: ignore[call-overload]


def test_results_are_independent(encoder: Encoder) -> None:
    first = encoder.encode(["tea"])
    copied = first.copy()
    second = encoder.encode(["cup"])
    assert not np.shares_memory(first, second)
    first[:] = 0
    assert np.array_equal(bits(encoder.encode(["tea"])), bits(copied))


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


# similarity


def test_similarity(encoder: Encoder) -> None:
    a = np.array([[1, 0], [3, 4], [0, 0]], np.float32)
    b = np.array([[2, 0], [0, -5]], np.float32)
    scores = encoder.similarity(a, b)
    assert isinstance(scores, np.ndarray)
    assert scores.dtype == np.float32
    expected = np.array([[1, 0], [0.6, -0.8], [0, 0]])
    np.testing.assert_allclose(scores, expected, atol=1e-7)


def test_similarity_takes_vectors_lists_and_other_types(encoder: Encoder) -> None:
    inputs: list[Any] = [[3.0, 4.0], [[3.0, 4.0]], (3.0, 4), np.array([3, 4.0], np.float16)]
    for a in inputs:
        assert float(encoder.similarity(a, [0.0, 1.0])[0, 0]) == pytest.approx(0.8)
    for a in ([3, 4], np.array([3, 4])):
        scores = encoder.similarity(a, [0, 1], precision="float32")
        assert float(scores[0, 0]) == pytest.approx(0.8)
    rows = [np.array([3, 4], np.float32), np.array([0, 1], np.float32)]
    assert encoder.similarity(rows, rows).shape == (2, 2)


def test_similarity_is_a_tensor_where_torch_is_imported(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = types.ModuleType("torch")
    torch.from_numpy = lambda array: ("tensor", array)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    kind, scores = encoder.similarity([3.0, 4.0], [0.0, 1.0])
    assert kind == "tensor"
    assert float(scores[0, 0]) == pytest.approx(0.8)


def test_similarity_of_nothing(encoder: Encoder) -> None:
    assert encoder.similarity(np.empty((0, 4)), np.ones((3, 4))).shape == (0, 3)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), "embeddings1 has 3 dims, embeddings2 has 4"),
        (np.ones(3), np.ones(1), "embeddings1 has 3 dims, embeddings2 has 1"),
        (np.ones((1, 1, 3)), np.ones(3), "embeddings1 must have one or two dimensions, not 3"),
        (np.ones(3), np.float32(1), "embeddings2 must have one or two dimensions, not 0"),
    ],
)
def test_similarity_of_what_does_not_fit(encoder: Encoder, a: Any, b: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encoder.similarity(a, b)


def test_texts_without_tokens_are_as_the_page_about_the_model_says() -> None:
    model = Encoder()
    texts = ["", " ", "\u200b", "tea", "?", "\U0001f600"]
    ids, offsets = model.tokenize(texts)
    assert len(ids) == offsets[-1]
    assert np.flatnonzero(np.diff(offsets)).tolist() == [3, 4, 5]
    vectors = model.encode(texts)
    assert vectors[1].tobytes() == vectors[2].tobytes() == vectors[0].tobytes()
    assert np.linalg.norm(vectors[0]) == pytest.approx(0.22, abs=0.005)
    units = model.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1, rtol=1e-6)
    scores = model.similarity(units[0], units[3:])[0]
    assert float(scores[1]) == pytest.approx(0.24, abs=0.005)
    assert float(scores[0]) < min(float(scores[1]), float(scores[2]))


def test_similarity_tells_tea_from_stocks() -> None:
    model = Encoder()
    vectors = model.encode(["Tea is a hot drink.", "A cup of tea.", "The stock market fell."])
    scores = model.similarity(vectors, vectors)
    np.testing.assert_allclose(np.diag(scores), 1, atol=1e-6)
    assert scores[0, 1] > scores[0, 2] + 0.2


# Pickling and copies


def test_pickle(folder: Path) -> None:
    encoder = Encoder(folder, truncate_dim=11, threads=2, mmap=False)
    stored = pickle.dumps(encoder)
    assert len(stored) < 1024
    other = pickle.loads(stored)
    assert other.get_embedding_dimension() == 11
    assert other.__getstate__() == encoder.__getstate__()
    texts = many_texts(30)
    assert np.array_equal(bits(other.encode(texts)), bits(encoder.encode(texts)))


def test_pickle_of_the_bundled_model() -> None:
    stored = pickle.dumps(Encoder())
    assert len(stored) < 512
    assert os.fsencode(os.path.dirname(BUNDLED_MODEL)) not in stored
    other = pickle.loads(stored)
    assert np.array_equal(bits(other.encode("tea")), bits(Encoder().encode("tea")))


@pytest.mark.parametrize("name", [TABLE, HEAD, TOKENIZER])
def test_pickle_of_a_model_that_changed(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "model")
    stored = pickle.dumps(Encoder(folder))
    other = write_model(tmp_path / "other", seed=8)
    if name == TOKENIZER:
        content = tokenizer_content()
        content["model"]["vocab"].update({"tea": 7, "a": 5})
        (other / name).write_text(json.dumps(content))
    pickle.loads(stored)
    os.replace(other / name, folder / name)
    with pytest.raises(ValueError, match="is not the one that was pickled") as caught:
        pickle.loads(stored)
    assert str(folder) in str(caught.value)


def test_pickle_of_a_model_that_is_gone(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    stored = pickle.dumps(Encoder(folder))
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        pickle.loads(stored)


def test_pickle_from_another_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    encoder = Encoder("model")
    expected = encoder.encode("tea")
    stored = pickle.dumps(encoder)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert np.array_equal(bits(pickle.loads(stored).encode("tea")), bits(expected))
    monkeypatch.chdir(tmp_path)
    late = Encoder(Path("model"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert np.array_equal(bits(late.encode("tea")), bits(expected))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copy(encoder: Encoder, copied: Callable[[Encoder], Encoder]) -> None:
    other = copied(encoder)
    assert other is not encoder
    assert np.array_equal(bits(other.encode("tea")), bits(encoder.encode("tea")))


def test_error_survives_pickling(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / HEAD).write_bytes(b"")
    with pytest.raises(ModelFormatError) as caught:
        Encoder(folder)
    other = pickle.loads(pickle.dumps(caught.value))
    assert type(other) is ModelFormatError
    assert str(other) == str(caught.value)
    assert (other.path, other.field) == (str(folder / HEAD), "header length")


@pytest.mark.skipif(sys.platform == "win32", reason="a mapped file cannot be replaced there")
def test_replaced_model_stays_as_it_was_loaded(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    encoder = Encoder(folder)
    expected = encoder.encode("a cup of tea")
    digest = encoder.__getstate__()["digest"]
    other = write_model(tmp_path / "other", seed=9)
    for name in (TABLE, HEAD, TOKENIZER):
        os.replace(other / name, folder / name)
    (folder / TOKENIZER).write_text(json.dumps(tokenizer_content(), indent=1))
    assert encoder.__getstate__()["digest"] == digest
    assert np.array_equal(bits(encoder.encode("a cup of tea")), bits(expected))
    assert not np.array_equal(Encoder(folder).encode("a cup of tea"), expected)


@pytest.mark.parametrize("mmap", [True, False])
def test_mapped_or_read(folder: Path, encoder: Encoder, mmap: bool) -> None:
    other = Encoder(str(folder), mmap=mmap)
    texts = many_texts(20)
    assert np.array_equal(bits(other.encode(texts)), bits(encoder.encode(texts)))


# Threads, processes, signals


def test_spawned_processes(encoder: Encoder) -> None:
    batches = [many_texts(20, seed) for seed in range(4)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.map(encoder.encode, batches)
    for texts, vectors in zip(batches, results, strict=True):
        assert np.array_equal(bits(vectors), bits(encoder.encode(texts)))


def test_threads_encode_at_once(folder: Path) -> None:
    batches = [many_texts(400, seed) for seed in range(12)]
    expected = [Encoder(folder).encode(texts) for texts in batches]
    shared = Encoder(folder)  # its tokenizer is not loaded yet
    start = threading.Barrier(6)

    def encode(number: int) -> list[NDArray[np.float32]]:
        start.wait()
        return [shared.encode(batches[i], threads=2) for i in (number, number + 6)]

    with ThreadPoolExecutor(6) as pool:
        for number, results in enumerate(pool.map(encode, range(6))):
            for i, vectors in zip((number, number + 6), results, strict=True):
                assert np.array_equal(bits(vectors), bits(expected[i]))


def test_list_changes_during_the_call(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = many_texts(BLOCK_TEXTS + 100)
    expected = Encoder(folder).encode(texts)
    changing = list(texts)

    def encode_while_another_thread_changes(*args: Any, **options: Any) -> Any:
        thread = threading.Thread(target=lambda: changing.insert(0, changing.pop()))
        thread.start()
        thread.join()
        changing[100:] = ["the market fell"] * 3
        return write_floats(*args, **options)

    monkeypatch.setattr("nibblevec._vectors.write_floats", encode_while_another_thread_changes)
    vectors = Encoder(folder).encode(changing)
    assert changing != texts
    assert np.array_equal(bits(vectors), bits(expected))


def test_memory_of_a_call_is_bounded(encoder: Encoder) -> None:
    texts = many_texts(BLOCK_TEXTS)
    encoder.encode(texts)
    out = np.empty((20 * len(texts), DIM), np.float32)
    many = tuple(texts * 20)
    tracemalloc.start()
    try:
        encoder.encode(many, out=out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT of a subprocess")
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_ends_a_long_call(folder: Path, threads: int) -> None:
    script = (
        "import sys, nibblevec\n"
        "model = nibblevec.Encoder(sys.argv[1], threads=int(sys.argv[2]))\n"
        "model.encode('tea')\n"
        "texts = ['the stock market fell, a cup of tea!'] * 3_000_000\n"
        "print('begun', flush=True)\n"
        "model.encode(texts)\n"
        "print('not interrupted', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder), str(threads)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.3)
    assert process.poll() is None
    begin = time.perf_counter()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    seconds = time.perf_counter() - begin
    assert "KeyboardInterrupt" in err
    assert out == ""
    assert process.returncode == -signal.SIGINT
    assert seconds < 1
