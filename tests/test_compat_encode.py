"""What code for sentence-transformers passes to `encode` and what it gets, without torch."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bits import assert_same_bits
from compat_cases import (
    DIM,
    TEXTS,
    encoder_fixture,  # noqa: F401
    folder_fixture,  # noqa: F401
)

from nibblevec import Encoder


def test_names_and_order_of_encode() -> None:
    parameters = inspect.signature(Encoder.encode).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == [
        *("self", "inputs", "prompt_name", "prompt", "batch_size", "show_progress_bar"),
        *("output_value", "precision", "convert_to_numpy", "convert_to_tensor", "device"),
        *("normalize_embeddings", "truncate_dim", "pool", "chunk_size"),
    ]
    assert [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] == [
        *("threads", "out", "errors", "nulls", "ranges", "sentences"),
    ]


def test_sentences_is_another_name_of_inputs(encoder: Encoder) -> None:
    assert_same_bits(encoder.encode(sentences=TEXTS), encoder.encode(TEXTS))
    assert_same_bits(encoder.encode(sentences="tea"), encoder.encode("tea"))
    with pytest.raises(TypeError, match="two names of one argument"):
        encoder.encode(TEXTS, sentences=TEXTS)
    with pytest.raises(TypeError, match="expected a str or an iterable of str, not NoneType"):
        encoder.encode()


class Arrow:
    """An array whose items are objects of its own, as those of pyarrow."""

    def __init__(self, texts: list[Any]) -> None:
        self._texts = texts

    def __iter__(self) -> Iterator[object]:
        return (SimpleNamespace(as_py=lambda text=text: text) for text in self._texts)

    def to_pylist(self) -> list[Any]:
        return self._texts


class OtherArrow(Arrow):
    """One whose items are plain, as those of daft."""

    def __iter__(self) -> Iterator[object]:
        return iter(self._texts)


class Series:
    """A column that counts its dimensions, as those of pandas."""

    ndim = 1

    def __init__(self, texts: list[Any]) -> None:
        self._texts = texts

    def __iter__(self) -> Iterator[Any]:
        return iter(self._texts)


class Frame(Series):
    """A table, which gives the names of its columns."""

    ndim = 2


@pytest.mark.parametrize("collect", [Arrow, OtherArrow, Series, np.array, tuple, iter])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_collections_of_texts(
    encoder: Encoder, collect: Callable[[list[str]], Any], count: int
) -> None:
    expected = encoder.encode(TEXTS[:count])
    assert_same_bits(encoder.encode(collect(TEXTS[:count])), expected)
    arrays = list(encoder.encode_iter(collect(TEXTS[:count]), batch_size=2))
    assert_same_bits(np.concatenate([expected[:0], *arrays]), expected)


def test_a_table_is_no_collection_of_texts(encoder: Encoder) -> None:
    with pytest.raises(TypeError, match="one dimension of str, not Frame with 2"):
        encoder.encode_iter(Frame(["a", "b"]))
    with pytest.raises(TypeError, match="one dimension of str, not Frame with 2"):
        encoder.encode(Frame(["text", "id"]))


def every_call(encoder: Encoder, **options: Any) -> dict[str, Callable[[Any], Any]]:
    """All that takes texts, each with what it gives as bytes."""

    def fitted(texts: Any) -> bytes:
        encoder.fit_ranges(texts, **options)
        return b"".join(ranges.tobytes() for ranges in encoder.ranges.values())

    def joined(arrays: Any) -> bytes:
        return b"".join(array.tobytes() for array in arrays)

    return {
        "encode": lambda texts: encoder.encode(texts, **options).tobytes(),
        "encode_query": lambda texts: encoder.encode_query(texts, **options).tobytes(),
        "encode_document": lambda texts: encoder.encode_document(texts, **options).tobytes(),
        "encode_multi_process": lambda texts: encoder.encode_multi_process(
            texts, encoder.start_multi_process_pool(), **options
        ).tobytes(),
        "encode_iter": lambda texts: joined(encoder.encode_iter(texts, batch_size=2, **options)),
        "tokenize": lambda texts: joined(encoder.tokenize(texts, **options)),
        "preprocess": lambda texts: joined(encoder.preprocess(texts, "un", **options).values()),
        "fit_ranges": fitted,
    }


CALLS = (
    *("encode", "encode_query", "encode_document", "encode_multi_process", "encode_iter"),
    *("tokenize", "preprocess", "fit_ranges"),
)


def test_every_call_is_tried(encoder: Encoder) -> None:
    assert tuple(every_call(encoder)) == CALLS


class NotEqualToItself:
    """No missing text, though it looks like one."""

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


MISSING = [
    None,
    float("nan"),
    complex("nan"),
    np.float64("nan"),
    np.float32("nan"),
    np.float16("nan"),
    np.longdouble("nan"),
    np.datetime64("NaT"),
    np.timedelta64("NaT"),
    Decimal("NaN"),
    Decimal("sNaN"),
]


@pytest.mark.parametrize("missing", MISSING, ids=repr)
@pytest.mark.parametrize("collect", [list, Arrow, Series])
def test_missing_texts(encoder: Encoder, missing: Any, collect: Any) -> None:
    texts = ["tea", missing, "cup"]
    expected = encoder.encode(["tea", "", "cup"])
    assert_same_bits(encoder.encode(collect(texts), nulls="empty"), expected)
    with pytest.raises(TypeError, match=rf"^text 1 is {type(missing).__name__}, .*nulls='empty'"):
        encoder.encode(collect(texts))
    with pytest.raises(ValueError, match="nulls must be 'error' or 'empty', not 'null'"):
        encoder.encode(TEXTS, nulls="null")  # type: ignore[call-overload]


def test_missing_texts_of_pandas(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = types.ModuleType("pandas")
    monkeypatch.setitem(sys.modules, "pandas", pandas)  # as while it is being imported
    with pytest.raises(TypeError, match=r"^text 0 is object, expected str$"):
        encoder.encode([object()], nulls="empty")  # type: ignore[call-overload]
    pandas.NA, pandas.NaT = NotEqualToItself(), NotEqualToItself()  # type: ignore[attr-defined]
    for missing in (pandas.NA, pandas.NaT):
        assert_same_bits(
            encoder.encode(["tea", missing], nulls="empty"), encoder.encode(["tea", ""])
        )


@pytest.mark.parametrize("call", CALLS)
def test_every_call_takes_missing_texts_as_empty(encoder: Encoder, call: str) -> None:
    texts, expected = ["tea cup", None, "hot", float("nan")], ["tea cup", "", "hot", ""]
    plain, lenient = every_call(encoder)[call], every_call(encoder, nulls="empty")[call]
    assert lenient(texts) == plain(expected)
    assert lenient(iter(texts)) == plain(expected)
    with pytest.raises(TypeError, match=r"^text 1 is NoneType, .*nulls='empty'"):
        plain(texts)
    with pytest.raises(ValueError, match="nulls must be 'error' or 'empty', not 'null'"):
        every_call(encoder, nulls="null")[call](expected)


@pytest.mark.parametrize(
    "other", [1.5, b"tea", 7, np.float32(1), Decimal(1), np.datetime64(0, "s"), NotEqualToItself()]
)
def test_what_is_not_missing_is_refused_still(encoder: Encoder, other: Any) -> None:
    with pytest.raises(TypeError, match=r"^text 1 is "):
        encoder.encode(["tea", other], nulls="empty")


# What surrogates become.
REPAIRED = (
    ("\ud800", "\ufffd"),
    ("tea \udfff cup", "tea \ufffd cup"),
    ("\ud83d\ude00", "\U0001f600"),
    ("a \ud83d\ude00\ud83d\ude00 b", "a \U0001f600\U0001f600 b"),
    ("\ud83d\ud83d\ude00\ude00", "\ufffd\U0001f600\ufffd"),
    ("\ude00\ud83d", "\ufffd\ufffd"),
    ("\ud800\udc00\udbff\udfff", "\U00010000\U0010ffff"),
    ("\U0001f600\ud83d\ude00 caf\u00e9", "\U0001f600\U0001f600 caf\u00e9"),
    ("caf\u00e9 \U0001f600", "caf\u00e9 \U0001f600"),
    ("tea", "tea"),
)


@pytest.mark.parametrize("call", CALLS)
def test_surrogates_are_repaired(encoder: Encoder, call: str) -> None:
    plain, lenient = every_call(encoder)[call], every_call(encoder, errors="replace")[call]
    assert lenient([text for text, _ in REPAIRED]) == plain([text for _, text in REPAIRED])
    for text, repaired in REPAIRED:
        assert lenient([text]) == plain([repaired])
    with pytest.raises(ValueError, match=r"text 1 holds a surrogate pair at character \d; errors="):
        plain(["tea", "\ud83d\ude00"])
    with pytest.raises(TypeError, match=r"^text 0 is int"):
        lenient([3])
    with pytest.raises(ValueError, match="errors must be 'raise' or 'replace', not 'ignore'"):
        every_call(encoder, errors="ignore")[call](TEXTS)


def test_surrogates_of_prompts_are_repaired(encoder: Encoder) -> None:
    for text, repaired in REPAIRED:
        options: Any = {"prompt": text, "errors": "replace"}
        expected = encoder.encode(repaired + "a \ufffd")
        assert_same_bits(encoder.encode("a \udc80", **options), expected)
        assert_same_bits(next(encoder.encode_iter(["a \udc80"], **options)), expected[np.newaxis])
        ids = encoder.preprocess("a \udc80", **options)["input_ids"]
        assert ids.tolist() == encoder.tokenize(repaired + "a \ufffd")[0].tolist()


@pytest.mark.parametrize("size", [0, -1])
@pytest.mark.parametrize("name", ["batch_size", "chunk_size", "threads"])
def test_sizes_below_1(encoder: Encoder, name: str, size: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not {size}"):
        encoder.encode(TEXTS, **{name: size})  # type: ignore[call-overload]


@pytest.mark.parametrize("value", ["token_embeddings", "embeddings", "", 1])
def test_other_output_values(encoder: Encoder, value: Any) -> None:
    with pytest.raises(ValueError, match=f"output_value .*{value}"):
        encoder.encode(TEXTS, output_value=value)


def test_output_value_none_has_no_precision_and_no_out(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match="no precision, no out"):
        encoder.encode(TEXTS, output_value=None, precision="ubinary")
    with pytest.raises(ValueError, match="no precision, no out"):
        encoder.encode(TEXTS, output_value=None, out=np.empty((3, DIM), np.float32))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"q": 1}, "the prompt 'q' is int, expected str"),
        ({1: "q"}, "the name of a prompt is int, expected str"),
        (["q"], "prompts are list, expected a dict of str"),
    ],
)
def test_what_are_no_prompts(folder: Path, prompts: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Encoder(folder, prompts=prompts)
    encoder = Encoder(folder)
    with pytest.raises(TypeError, match=message):
        encoder.prompts = prompts


def test_what_fails_in_a_property_is_told(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise AttributeError("the cause")

    monkeypatch.setattr("nibblevec._tokenization.package.load_package_tokenizer", fail)
    with pytest.raises(AttributeError, match="the cause"):
        _ = encoder.tokenizer


def test_torch_that_must_not_be_imported(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert encoder.to("cpu") is encoder
    assert encoder.device == "cpu"
    vectors = encoder.encode(TEXTS[:2])
    assert isinstance(encoder.similarity(vectors, vectors), np.ndarray)
