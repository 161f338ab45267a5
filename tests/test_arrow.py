"""Texts in Arrow arrays, over structs laid down by hand; no Arrow library is needed."""

from __future__ import annotations

import os
import pickle
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrow_by_hand import Column, Producer, bitmap, null, rows_of_array, stream_of_rows, table, utf8
from arrow_cases import (
    TEXTS,
    WITH_NULLS,
    assert_same_rows,
    by_package_fixture,  # noqa: F401
    encoder_fixture,  # noqa: F401
    every_layout,
    expected_rows,
    folder_fixture,  # noqa: F401
)
from bits import FloatArray, assert_same_bits

from nibblevec import Encoder, arrow

# Longer texts are read in pieces of this length.
PIECE_BYTES = 1 << 15


# In


@every_layout
@pytest.mark.parametrize("texts", [TEXTS, WITH_NULLS], ids=["texts", "nulls"])
@pytest.mark.parametrize("offset", [0, 1, 9])
def test_every_layout(
    encoder: Encoder, layout: Callable[..., Column], texts: list[str | None], offset: int
) -> None:
    producer = Producer(layout(texts, offset=offset))
    vectors = encoder.encode_arrow(producer)
    assert producer.all_released_once()
    assert len(vectors) == len(texts)
    assert vectors.null_count == texts.count(None)
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, texts))


@every_layout
@pytest.mark.parametrize("texts", [TEXTS, WITH_NULLS], ids=["texts", "nulls"])
def test_tokenizer_that_is_not_native(
    by_package: Encoder, layout: Callable[..., Column], texts: list[str | None]
) -> None:
    producer = Producer(layout(texts, offset=3))
    vectors = by_package.encode_arrow(producer, prompt="tea ")
    assert producer.all_released_once()
    assert_same_rows(rows_of_array(vectors), expected_rows(by_package, texts, prompt="tea "))


@every_layout
def test_column_of_a_table(encoder: Encoder, layout: Callable[..., Column]) -> None:
    other = Column(b"l", len(TEXTS), [None, bytes(8 * len(TEXTS))], 0)
    columns = {"id": other, "text": layout(WITH_NULLS, offset=1), "": utf8(TEXTS)}
    producer = Producer(table(columns), stream=True)
    vectors = encoder.encode_arrow(producer, column="text")
    assert producer.all_released_once()
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, WITH_NULLS))
    unnamed = rows_of_array(encoder.encode_arrow(Producer(table(columns)), column=""))
    assert_same_rows(unnamed, expected_rows(encoder, [*TEXTS]))


@every_layout
def test_structs_that_are_sliced_and_null(encoder: Encoder, layout: Callable[..., Column]) -> None:
    column = layout(WITH_NULLS, offset=2)
    structs = table({"text": column}, offset=3, length=6)
    valid = [True] * 3 + [True, False, True, True, False, True]
    structs.buffers = [bitmap(valid)]
    structs.null_count = 2
    expected = [
        text if is_valid else None
        for text, is_valid in zip(WITH_NULLS[3:9], valid[3:], strict=True)
    ]
    producer = Producer(structs)
    vectors = encoder.encode_arrow(producer, column="text")
    assert producer.all_released_once()
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, expected))


@every_layout
def test_no_texts(encoder: Encoder, layout: Callable[..., Column]) -> None:
    for producer in (Producer(layout([])), Producer(layout([]), stream=True)):
        vectors = encoder.encode_arrow(producer, truncate_dim=7)
        assert producer.all_released_once()
        assert len(vectors) == 0
        assert vectors.to_numpy().shape == (0, 7)
        assert rows_of_array(vectors) == []
        assert sum(map(len, stream_of_rows(vectors))) == 0


def test_empty_arrays_may_lack_buffers(encoder: Encoder) -> None:
    for column in (
        Column(b"u", 0, [None, None, None]),
        Column(b"U", 0, [None, None, None], offset=5),
        Column(b"vu", 0, [None, None, None]),
        Column(b"i", 0, [None, None], dictionary=utf8([])),
        Column(b"u", 2, [None, struct.pack("<3i", 4, 4, 4), None]),
    ):
        producer = Producer(column)
        assert len(encoder.encode_arrow(producer)) == column.length
        assert producer.all_released_once()


def test_type_of_nulls(encoder: Encoder) -> None:
    vectors = encoder.encode_arrow(Producer(null(3), null(0), null(70)))
    assert vectors.null_count == len(vectors) == 73
    assert rows_of_array(vectors) == [None] * 73
    assert np.isnan(vectors.to_numpy()).all()
    empty = encoder.encode_arrow(Producer(null(3)), nulls="empty")
    assert_same_rows(rows_of_array(empty), expected_rows(encoder, ["", "", ""]))


@every_layout
def test_nulls_as_empty_texts(encoder: Encoder, layout: Callable[..., Column]) -> None:
    vectors = encoder.encode_arrow(Producer(layout(WITH_NULLS)), nulls="empty", prompt="tea ")
    assert vectors.null_count == 0
    expected = expected_rows(encoder, [text or "" for text in WITH_NULLS], prompt="tea ")
    assert_same_rows(rows_of_array(vectors), expected)


@every_layout
def test_nulls_as_errors(encoder: Encoder, layout: Callable[..., Column]) -> None:
    producer = Producer(layout(TEXTS), layout(WITH_NULLS))
    with pytest.raises(ValueError, match=rf"^text {len(TEXTS) + 1} is null$"):
        encoder.encode_arrow(producer, nulls="error")
    assert producer.all_released_once()
    assert len(encoder.encode_arrow(Producer(layout(TEXTS)), nulls="error")) == len(TEXTS)


@pytest.mark.parametrize(
    "options",
    [
        {"prompt": "the hot "},
        {"prompt": "caf"},  # goes on within a word
        {"prompt": "\u4e2d\U0001f600"},
        {"prompt_name": "tea"},
        {"truncate_dim": 7, "normalize_embeddings": True},
        {"threads": 3, "normalize_embeddings": True, "prompt": "a "},
    ],
    ids=str,
)
@every_layout
def test_options_are_those_of_encode(
    folder: Path, layout: Callable[..., Column], options: dict[str, Any]
) -> None:
    encoder = Encoder(folder, prompts={"tea": "a cup of tea: "})
    vectors = encoder.encode_arrow(Producer(layout(WITH_NULLS)), **options)
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, WITH_NULLS, **options))


def test_default_prompt(folder: Path) -> None:
    encoder = Encoder(folder, prompts={"tea": "tea: "}, default_prompt_name="tea")
    vectors = encoder.encode_arrow(Producer(utf8(["a cup"])))
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, ["tea: a cup"], prompt=""))


@pytest.mark.parametrize("native", [True, False])
def test_texts_that_are_cut_are_counted(
    encoder: Encoder, native: bool, request: pytest.FixtureRequest
) -> None:
    if not native:
        encoder = request.getfixturevalue("by_package")
    encoder.max_seq_length = 2
    texts = ["tea", "a cup of tea", None, "tea tea", "a b c d"]
    vectors = encoder.encode_arrow(Producer(utf8(texts[:2]), utf8(texts[2:])))
    assert encoder.truncated_texts == 2
    assert_same_rows(rows_of_array(vectors), expected_rows(encoder, texts))
    encoder.encode_arrow(Producer(utf8(texts)), prompt="a cup of")
    assert encoder.truncated_texts == 4  # a null has no prompt
    encoder.encode_arrow(Producer(utf8(texts)), prompt="a cup of", nulls="empty")
    assert encoder.truncated_texts == 5


def test_bits_do_not_depend_on_threads(encoder: Encoder) -> None:
    texts = ["the stock market fell, a cup of tea! " * (row % 50) for row in range(3000)]
    expected = expected_rows(encoder, [*texts])
    for threads in (1, 4):
        vectors = encoder.encode_arrow(Producer(utf8(texts)), threads=threads)
        assert_same_rows(rows_of_array(vectors), expected)


def test_text_of_megabytes(encoder: Encoder) -> None:
    texts: list[str | None] = ["tea", "the caf\u00e9 fell, a cup of tea! " * 100_000, "cup"]
    for prompt in ("", "a hot "):
        vectors = encoder.encode_arrow(Producer(utf8(texts)), prompt=prompt)
        assert_same_rows(rows_of_array(vectors), expected_rows(encoder, texts, prompt=prompt))


# Bytes that are not UTF-8

INVALID = [
    b"\xff",
    b"tea \x80",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf tea",
    b"\xed\xa0\x80",  # a surrogate
    b"12345678\xed\xbf\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"caf\xc3",
    b"\xe4\xb8",
    b"\xe4\xb8 ",
    b"tea \xf0\x9f\x98",
    b"\xf0\x9f\x98a",
    b"\xc3\xa9\xc3(",
]


def first_invalid(text: bytes) -> int | None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


@pytest.mark.parametrize("text", INVALID)
@pytest.mark.parametrize("native", [True, False])
@every_layout
def test_bytes_that_are_not_utf8(
    encoder: Encoder,
    layout: Callable[..., Column],
    native: bool,
    text: bytes,
    request: pytest.FixtureRequest,
) -> None:
    if not native:
        encoder = request.getfixturevalue("by_package")
    position = first_invalid(text)
    assert position is not None
    texts = ["tea", "a cup", text, "tea"]
    producer = Producer(layout(["tea", None]), layout(texts, offset=1))
    with pytest.raises(ValueError, match=rf"^text 4 is not UTF-8 at byte {position}$"):
        encoder.encode_arrow(producer)
    assert producer.all_released_once()


@pytest.mark.parametrize("prompt", ["", "a hot "])
def test_long_text_that_is_not_utf8(encoder: Encoder, prompt: str) -> None:
    """A long text is read, and checked, in pieces: it fails where the whole does."""
    whole = "caf\u00e9 \u4e2d\u6587 tea \U0001f600".encode() * 5000
    assert len(whole) > 3 * PIECE_BYTES
    for place in (PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 2, 2 * PIECE_BYTES, len(whole)):
        for begin in range(place - 3, place + 1):
            for bad in (b"\xff", b"\x80", b"\xe4\xb8", b"\xf0\x9f\x98", b"\x80\x80\x80\x80"):
                text = whole[:begin] + bad + whole[begin:]
                position = first_invalid(text)
                if position is None:  # it goes on well by chance
                    continue
                with pytest.raises(ValueError, match=rf"^text 1 is not UTF-8 at byte {position}$"):
                    encoder.encode_arrow(Producer(utf8(["tea", text])), prompt=prompt)


def test_all_texts_of_few_bytes(encoder: Encoder) -> None:
    """What is UTF-8 is what Python takes for it."""
    edges = [0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC]
    edges += [0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5]
    chooser = random.Random(5)
    texts = [b"a" * chooser.randrange(9) + bytes([a, b]) for a in edges for b in edges]
    texts += [bytes([a, b, 0x80]) for a in edges[11:] for b in edges]
    texts += [bytes([a, b, 0xBF, 0x80]) for a in edges[17:] for b in edges]
    texts += [bytes([0xF0, 0x9F, a, b]) for a in edges for b in edges[1:9]]
    valid = [text for text in texts if first_invalid(text) is None]
    assert 50 < len(valid) < len(texts) - 500
    vectors = encoder.encode_arrow(Producer(utf8(valid)))
    assert_same_bits(vectors.to_numpy(), encoder.encode([text.decode() for text in valid]))
    for text in texts:
        position = first_invalid(text)
        if position is not None:
            with pytest.raises(ValueError, match=rf"^text 0 is not UTF-8 at byte {position}$"):
                encoder.encode_arrow(Producer(utf8([text])))


def test_every_character(encoder: Encoder) -> None:
    points = [*range(0xD800), *range(0xE000, 0x110000)]
    texts = ["".join(map(chr, points[i : i + 1000])) for i in range(0, len(points), 1000)]
    vectors = encoder.encode_arrow(Producer(utf8(texts, large=True)))
    assert_same_bits(vectors.to_numpy(), encoder.encode(texts))


# Threads, processes, signals


def test_threads_encode_at_once(encoder: Encoder) -> None:
    batches = [[f"tea {seed} {row}" for row in range(400)] for seed in range(12)]
    expected = [encoder.encode(texts) for texts in batches]
    start = threading.Barrier(6)

    def encode(number: int) -> list[FloatArray]:
        start.wait()
        return [
            encoder.encode_arrow(Producer(utf8(batches[i]), utf8([])), threads=2).to_numpy()
            for i in (number, number + 6)
        ]

    with ThreadPoolExecutor(6) as pool:
        for number, results in enumerate(pool.map(encode, range(6))):
            for i, vectors in zip((number, number + 6), results, strict=True):
                assert_same_bits(vectors, expected[i])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_forked_process(encoder: Encoder) -> None:
    texts = ["the stock market fell, a cup of tea! " * 20] * 2000
    vectors = encoder.encode_arrow(Producer(utf8(texts)), threads=2)
    expected = vectors.to_numpy()
    child = os.fork()
    if child == 0:
        again = encoder.encode_arrow(Producer(utf8(texts)), threads=2).to_numpy()
        os._exit(0 if np.array_equal(again, expected) and len(rows_of_array(vectors)) else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT of a subprocess")
def test_ctrl_c_ends_a_call(folder: Path) -> None:
    script = (
        "import sys, nibblevec\n"
        "from arrow_by_hand import *\n"
        "encoder = nibblevec.Encoder(sys.argv[1], threads=1)\n"
        "producer = Producer(utf8(['the stock market fell!'] * 3_000_000))\n"
        "capsules = producer.__arrow_c_array__()\n"
        "class Texts:\n"
        "    def __arrow_c_array__(self): return capsules\n"
        "print('begun', flush=True)\n"
        "encoder.encode_arrow(Texts())\n"
        "print('not interrupted', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
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


def test_needs_no_arrow_library(folder: Path) -> None:
    script = (
        "import sys, nibblevec\n"
        "from arrow_by_hand import *\n"
        "vectors = nibblevec.Encoder(sys.argv[1]).encode_arrow(Producer(utf8(['tea'])))\n"
        "assert len(rows_of_array(vectors)) == 1\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert not set(done.stdout.split()) & {"pyarrow", "pandas", "polars", "tokenizers", "torch"}


# EncodeColumn, as far as it goes without pyarrow; tests/compat has the rest


def test_encode_column_is_small_when_pickled(folder: Path) -> None:
    for model in (folder, Encoder(folder, truncate_dim=9)):
        encode = arrow.EncodeColumn(model, column="text", output="v", list_type="list")
        stored = pickle.dumps(encode)
        assert len(stored) < 2048
        other = pickle.loads(stored)
        assert other._options == encode._options
        assert other._encoder.__getstate__() == encode._encoder.__getstate__()


def test_what_a_callable_says_of_itself(encoder: Encoder) -> None:
    callable_ = arrow.EncodeColumn(encoder, column="body", output="v")
    assert repr(callable_) == f"EncodeColumn({encoder!r}, column='body', output='v')"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nulls": "skip"}, "nulls must be one of 'null', 'empty', 'error', not 'skip'"),
        ({"list_type": "array"}, "list_type must be one of 'fixed', 'list', not 'array'"),
    ],
)
def test_encode_column_refuses_at_once(
    encoder: Encoder, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        arrow.EncodeColumn(encoder, **options)
