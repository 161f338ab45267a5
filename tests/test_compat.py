"""What code for sentence-transformers calls and passes, without torch (see tests/compat for it)."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import shutil
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bits import assert_same_bits
from tiny_models import TOKENIZER, write_model

from nibblevec import Encoder

DIM = 30
TEXTS = ["a cup of tea", "", "the stock market fell"]
PROMPTS = {"query": "tea is ", "passage": "the market ", "other": "un"}

without_torch = pytest.mark.skipif("torch" in sys.modules, reason="torch has been imported")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("compat") / "model", dim=DIM)


@pytest.fixture
def encoder(folder: Path) -> Encoder:
    return Encoder(folder, prompts=PROMPTS)


# The constructor


@pytest.mark.parametrize(
    "options",
    [
        {"device": None},
        {"device": "cpu"},
        {"device": "cpu:0"},
        {"trust_remote_code": True},
        {"modules": []},
        {"use_auth_token": False},
        {"use_auth_token": "secret", "token": "secret"},
        {"model_kwargs": {}},
        {"model_kwargs": {"dtype": "float32", "torch_dtype": "auto", "device_map": "cpu"}},
        {
            "processor_kwargs": {},
            "tokenizer_kwargs": None,
            "config_kwargs": {},
            "model_card_data": None,
        },
        {"backend": "torch"},
    ],
    ids=str,
)
def test_arguments_that_ask_for_what_is_done_anyway(folder: Path, options: Any) -> None:
    assert_same_bits(Encoder(folder, **options).encode(TEXTS), Encoder(folder).encode(TEXTS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modules": ["a module"]}, "^modules is not taken: a model is loaded whole"),
        ({"use_auth_token": "secret"}, "^use_auth_token is not taken: give the token as token"),
        ({"use_auth_token": True, "token": "a"}, "^use_auth_token is not taken"),
        ({"model_kwargs": {"dtype": "float16"}}, "'dtype': 'float16' is not done.*precision"),
        ({"model_kwargs": {"device_map": "cuda"}}, "'device_map': 'cuda' is not done"),
        ({"model_kwargs": {"attn_implementation": "sdpa"}}, "'attn_implementation'"),
        ({"tokenizer_kwargs": {"max_length": 8}}, "^tokenizer_kwargs is .* max_seq_length cuts"),
        ({"processor_kwargs": {"max_length": 8}}, "^processor_kwargs is .* max_seq_length cuts"),
        ({"config_kwargs": {"a": 1}}, "^config_kwargs is not taken: there is no config"),
        ({"model_card_data": SimpleNamespace()}, "^model_card_data is not taken: no model card"),
        ({"backend": "onnx"}, "^backend 'onnx' is not there: kernels of nibblevec's own"),
    ],
    ids=str,
)
def test_arguments_that_ask_for_what_is_not_done(folder: Path, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Encoder(folder, **options)


DEVICE_CALLS: list[Callable[[Path, Any], object]] = [
    lambda folder, device: Encoder(folder, device=device),
    lambda folder, device: Encoder(folder).encode(TEXTS, device=device),
    lambda folder, device: Encoder(folder).to(device),
    lambda folder, device: Encoder(folder).start_multi_process_pool(
        device if isinstance(device, list) else [device]
    ),
]


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", 0, ["cpu", "cuda:0", "cuda:1"]])
@pytest.mark.parametrize("call", DEVICE_CALLS)
def test_a_device_that_is_not_used_gives_one_warning(
    folder: Path, call: Callable[[Path, Any], object], device: Any
) -> None:
    named = "cuda:0" if isinstance(device, list) else str(device)
    with pytest.warns(UserWarning, match=f"runs on the CPU.*: {named} is not used") as caught:
        call(folder, device)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("device", [None, "cpu", "cpu:3", ["cpu", "cpu"], []])
@pytest.mark.parametrize("call", DEVICE_CALLS)
def test_the_cpu_gives_no_warning(
    folder: Path, call: Callable[[Path, Any], object], device: Any
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(folder, device)


# Prompts


def test_prompts_of_queries_and_documents(encoder: Encoder) -> None:
    def with_prompt(prompt: str) -> bytes:
        return encoder.encode([prompt + text for text in TEXTS]).tobytes()

    assert encoder.encode_query(TEXTS).tobytes() == with_prompt("tea is ")
    assert encoder.encode_query(TEXTS, "other").tobytes() == with_prompt("un")
    assert encoder.encode_query(TEXTS, prompt="a ").tobytes() == with_prompt("a ")
    # "document" comes before "passage", and every model has it.
    assert encoder.encode_document(TEXTS).tobytes() == with_prompt("")
    encoder.prompts = {"corpus": "a ", "passage": "the market "}
    assert encoder.encode_document(TEXTS).tobytes() == with_prompt("the market ")
    assert encoder.encode_query(TEXTS).tobytes() == with_prompt("")
    del encoder.prompts["passage"]
    assert encoder.encode_document(TEXTS).tobytes() == with_prompt("a ")
    encoder.prompts = {}
    assert encoder.encode_document(TEXTS).tobytes() == with_prompt("")
    with pytest.raises(ValueError, match="no prompt has the name 'query'"):
        encoder.encode_query(TEXTS, prompt_name="query")


def test_the_default_prompt_is_for_encode_alone(folder: Path) -> None:
    encoder = Encoder(folder, prompts=PROMPTS, default_prompt_name="other")
    plain = Encoder(folder)
    assert_same_bits(encoder.encode(["able"]), plain.encode(["unable"]))
    assert_same_bits(encoder.encode_document(["able"]), plain.encode(["able"]))
    assert_same_bits(encoder.encode_query(["hot"]), plain.encode(["tea is hot"]))
    encoder.default_prompt_name = None
    assert_same_bits(encoder.encode(["able"]), plain.encode(["able"]))
    with pytest.raises(ValueError, match="no prompt has the name 'nothing'"):
        encoder.default_prompt_name = "nothing"
    assert encoder.default_prompt_name is None


def test_prompts_that_are_none(folder: Path) -> None:
    saved = Encoder(folder, prompts={"query": "tea ", "other": None})
    assert saved.prompts == {"query": "tea ", "document": "", "other": ""}
    assert Encoder(folder, prompts={"query": None}).prompts["query"] == ""


def test_prompts_that_are_gone(folder: Path, tmp_path: Path) -> None:
    """As in sentence-transformers a prompt that is None is none, and so is a default without."""
    encoder = Encoder(folder, prompts=PROMPTS, default_prompt_name="other")
    plain = Encoder(folder)
    encoder.prompts["query"] = None  # type: ignore[assignment]
    assert_same_bits(encoder.encode_query(TEXTS), plain.encode(TEXTS))
    del encoder.prompts["other"]
    assert_same_bits(encoder.encode(TEXTS), plain.encode(TEXTS))
    assert_same_bits(pickle.loads(pickle.dumps(encoder)).encode(TEXTS), plain.encode(TEXTS))
    with pytest.raises(ValueError, match="no prompt has the name 'other'"):
        encoder.encode(TEXTS, "other")
    encoder.save_pretrained(tmp_path / "model")
    again = Encoder(tmp_path / "model")
    assert again.default_prompt_name is None
    assert again.prompts == {"query": "", "document": "", "passage": "the market "}
    again.default_prompt_name = "query"  # an empty prompt, which every model has
    again.save_pretrained(tmp_path / "model")
    assert Encoder(tmp_path / "model").default_prompt_name == "query"


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_copies_have_the_prompts_that_were_set(
    folder: Path, tmp_path: Path, copied: Callable[[Encoder], Encoder]
) -> None:
    """Not those that the model brings, which the constructor would add again."""
    told = tmp_path / "told"
    Encoder(folder, prompts=PROMPTS, default_prompt_name="other").save_pretrained(told)
    for prompts in ({}, {"query": "a ", "corpus": "cup "}, {"other": "able "}):
        encoder = Encoder(told)
        encoder.prompts = dict(prompts)
        encoder.default_prompt_name = None
        twin = copied(encoder)
        assert (twin.prompts, twin.default_prompt_name) == (prompts, None)
        assert_same_bits(twin.encode(["able"]), Encoder(folder).encode(["able"]))
        assert_same_bits(twin.encode_query(TEXTS), encoder.encode_query(TEXTS))
        twin.prompts["new"] = "tea"
        assert encoder.prompts == prompts


def test_queries_take_what_encode_takes(encoder: Encoder) -> None:
    for method in (encoder.encode_query, encoder.encode_document):
        vectors = method(
            *(TEXTS, None, "a ", 8, False, "sentence_embedding", "ubinary"),
            *(True, False, "cpu", True, 9),
        )
        assert (vectors.dtype, vectors.shape) == (np.uint8, (3, 2))
        assert method(sentences=TEXTS, threads=1).shape == (3, DIM)
        with pytest.raises(TypeError, match="precisionn"):
            method(TEXTS, precisionn="int8")  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="not NoneType"):
            method()


# `encode`


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


# Pools, and the rest


def test_pools_are_stand_ins(encoder: Encoder) -> None:
    pool = encoder.start_multi_process_pool()
    expected = encoder.encode(TEXTS, normalize_embeddings=True, truncate_dim=8)
    options: Any = {"normalize_embeddings": True, "truncate_dim": 8, "chunk_size": 2}
    assert_same_bits(encoder.encode(TEXTS, pool=pool, **options), expected)
    assert_same_bits(encoder.encode_multi_process(TEXTS, pool, **options), expected)
    with_prompt = encoder.encode_multi_process(TEXTS, pool, "query", precision="binary")
    assert np.array_equal(with_prompt, encoder.encode_query(TEXTS, precision="binary"))
    encoder.stop_multi_process_pool(pool)
    Encoder.stop_multi_process_pool(pool)
    # What sentence-transformers' own method does, which LangChain calls with a pool of ours.
    assert pool["processes"] == []
    pool["input"].cancel_join_thread()
    pool["input"].close()
    pool["output"].close()


def test_truncate_embeddings(encoder: Encoder) -> None:
    assert encoder.truncate_dim is None
    with encoder.truncate_embeddings(8):
        assert encoder.truncate_dim == encoder.get_embedding_dimension() == 8
        assert encoder.get_sentence_embedding_dimension() == 8
        assert encoder.encode(TEXTS).shape == (3, 8)
        with encoder.truncate_embeddings(None):
            assert encoder.encode("tea").shape == (DIM,)
        assert encoder.encode("tea").shape == (8,)
    assert encoder.truncate_dim is None
    with pytest.raises(RuntimeError, match="out of it"), encoder.truncate_embeddings(8):
        raise RuntimeError("out of it")
    assert encoder.encode("tea").shape == (DIM,)
    for dims in (0, DIM + 1):
        with pytest.raises(ValueError, match=rf"truncate_dim {dims} is not in 1\.\.30"):
            encoder.truncate_dim = dims
        with (
            pytest.raises(ValueError, match=rf"truncate_dim {dims} is not in"),
            encoder.truncate_embeddings(dims),
        ):
            pass
    assert encoder.truncate_dim is None


@pytest.mark.parametrize("dims", [None, 5])
def test_truncate_dim_is_pickled(encoder: Encoder, dims: int | None) -> None:
    encoder.truncate_dim = dims
    twin = pickle.loads(pickle.dumps(encoder))
    assert twin.truncate_dim == dims
    assert_same_bits(twin.encode(TEXTS), encoder.encode(TEXTS))
    assert copy.deepcopy(encoder).truncate_dim == dims


@pytest.mark.parametrize("name", ["cosine", "dot"])
def test_how_vectors_are_compared_is_saved(folder: Path, tmp_path: Path, name: Any) -> None:
    Encoder(folder, similarity_fn_name=name).save_pretrained(tmp_path / "model")
    assert Encoder(tmp_path / "model").similarity_fn_name == name
    settings = tmp_path / "model" / "config_sentence_transformers.json"
    assert settings.exists() == (name == "dot")
    # What it was is told again, though it is the default.
    Encoder(tmp_path / "model", similarity_fn_name="cosine").save_pretrained(tmp_path / "model")
    assert Encoder(tmp_path / "model").similarity_fn_name == "cosine"


def test_the_tokenizer_is_read_once(folder: Path, tmp_path: Path) -> None:
    padded = shutil.copytree(folder, tmp_path / "model") / TOKENIZER
    content = json.loads(padded.read_text())
    content["padding"] = {
        **{"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None},
        **{"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
    }
    padded.write_text(json.dumps(content))
    encoder = Encoder(padded.parent)
    tokenizer = encoder.tokenizer
    assert encoder.tokenizer is tokenizer
    encodings = tokenizer.encode_batch(TEXTS, add_special_tokens=False)
    ids, offsets = encoder.tokenize(TEXTS)
    assert [len(encoding.ids) for encoding in encodings] == np.diff(offsets).tolist()
    tokenizer.enable_truncation(1)  # the caller's own affair
    assert np.array_equal(encoder.tokenize(TEXTS)[0], ids)
    assert copy.deepcopy(encoder).tokenizer.truncation is None


def test_max_seq_length_by_its_older_name(encoder: Encoder) -> None:
    assert encoder.get_max_seq_length() is None
    encoder.max_seq_length = 5
    assert encoder.get_max_seq_length() == 5


def test_preprocess_takes_a_prompt(encoder: Encoder) -> None:
    for prompt in (None, "", "the market "):
        ours = encoder.preprocess(TEXTS, prompt=prompt)
        expected = encoder.preprocess([(prompt or "") + text for text in TEXTS])
        assert {name: array.tolist() for name, array in ours.items()} == {
            name: array.tolist() for name, array in expected.items()
        }


@without_torch
def test_the_device_is_the_cpu(encoder: Encoder) -> None:
    assert encoder.device == "cpu"
    assert encoder.to("cpu") is encoder
    assert encoder.eval() is encoder


def test_the_model_goes_nowhere(encoder: Encoder) -> None:
    assert encoder.cpu() is encoder
    with pytest.warns(UserWarning, match="runs on the CPU.*: cuda:1 is not used") as caught:
        assert encoder.cuda(1) is encoder
    assert [warning.filename for warning in caught] == [__file__]
    assert encoder.to("cpu", "float32") is encoder
    assert encoder.to(dtype="torch.float32") is encoder
    for numbers in ("torch.float16", "torch.bfloat16", "float64"):
        with pytest.raises(ValueError, match=f"{numbers} is not done: vectors are float32"):
            encoder.to(dtype=numbers)


def test_an_evaluator_is_called_with_the_model(encoder: Encoder, tmp_path: Path) -> None:
    def evaluator(model: Encoder, output_path: str | None) -> Any:
        return model, output_path

    assert encoder.evaluate(evaluator) == (encoder, None)
    path = str(tmp_path / "a" / "b")
    assert encoder.evaluate(evaluator, path) == (encoder, path)
    assert (tmp_path / "a" / "b").is_dir()


def test_saving_takes_the_arguments_of_sentence_transformers(
    encoder: Encoder, tmp_path: Path
) -> None:
    arguments: Any = ("a name", True, ["a dataset"], True)
    for number, save in enumerate((encoder.save, encoder.save_pretrained)):
        save(tmp_path / f"{number}", *arguments)
        save(tmp_path / f"{number} by name", safe_serialization=True, create_model_card=False)
        for name in (f"{number}", f"{number} by name"):
            assert_same_bits(Encoder(tmp_path / name).encode(TEXTS), encoder.encode(TEXTS))
        with pytest.raises(ValueError, match="safe_serialization is True always"):
            save(tmp_path / "pickled", safe_serialization=False)
    assert not (tmp_path / "pickled").exists()


def test_truncate_embeddings_by_its_older_name(encoder: Encoder) -> None:
    with encoder.truncate_sentence_embeddings(8):
        assert encoder.encode("tea").shape == (8,)
    assert encoder.encode("tea").shape == (DIM,)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("half", "precision='float16'"),
        ("bfloat16", "precision='float16'"),
        ("push_to_hub", "save_pretrained writes"),
        ("save_to_hub", "save_pretrained writes"),
        ("parameters", "no modules of torch"),
        ("forward", "no modules of torch"),
        ("fit", "no modules of torch"),
        ("train", "no modules of torch"),
        ("nothing", "^'Encoder' object has no attribute 'nothing'$"),
    ],
)
def test_what_is_not_there_says_what_is(encoder: Encoder, name: str, advice: str) -> None:
    assert not hasattr(encoder, name)
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'") as caught:
        getattr(encoder, name)
    assert caught.match(advice)
    assert (caught.value.name, caught.value.obj) == (name, encoder)


def test_measures_of_evaluators_are_kept(encoder: Encoder, folder: Path) -> None:
    card = encoder.model_card_data
    assert card.base_model == str(folder)
    assert Encoder().model_card_data.base_model == "nibblevec-en-512"
    card.set_evaluation_metrics("evaluator", {"ndcg": 0.5}, 1, 20)
    card.set_evaluation_metrics("evaluator", {"ndcg": 0.6}, epoch=2, step=40)
    assert card.eval_results_dict == {"evaluator": {"ndcg": 0.6}}


class InAnotherOrder(Encoder):
    """Takes names only, has other defaults, and is asked for what it knows."""

    seen: dict[str, Any]

    def encode(self, inputs: Any, *, normalize_embeddings: bool = True, **options: Any) -> Any:  # type: ignore[override]
        self.seen = {"inputs": inputs, "normalize_embeddings": normalize_embeddings, **options}
        return super().encode(inputs, normalize_embeddings=normalize_embeddings, **options)

    def save_pretrained(self, path: Any, *, create_model_card: bool = False, **_: Any) -> None:  # type: ignore[override]
        self.seen = {"create_model_card": create_model_card}
        super().save_pretrained(path)


def test_a_subclass_gets_arguments_by_name(folder: Path, tmp_path: Path) -> None:
    encoder = InAnotherOrder(folder, prompts={"query": "tea "})
    plain = Encoder(folder, prompts={"query": "tea "})
    assert_same_bits(
        encoder.encode_query(TEXTS), plain.encode_query(TEXTS, normalize_embeddings=True)
    )
    assert encoder.seen == {"inputs": TEXTS, "normalize_embeddings": True, "prompt_name": "query"}
    encoder.encode_document(TEXTS, None, "cup ", 8, False, "sentence_embedding", "float16")
    assert encoder.seen == {
        "inputs": TEXTS,
        "normalize_embeddings": True,
        "prompt": "cup ",
        "batch_size": 8,
        "show_progress_bar": False,
        "output_value": "sentence_embedding",
        "precision": "float16",
    }
    pool = encoder.start_multi_process_pool()
    vectors = encoder.encode_multi_process(TEXTS, pool, None, "cup ", 8)
    assert_same_bits(vectors, plain.encode(TEXTS, prompt="cup "))
    encoder.save(tmp_path / "model", "a name", True)
    assert encoder.seen == {"create_model_card": True}


def test_arguments_without_a_name_that_are_too_many(encoder: Encoder) -> None:
    for call in (encoder.encode_query, encoder.encode_document):
        with pytest.raises(TypeError, match="12 arguments without a name, expected at most 11"):
            call(TEXTS, None, None, *[None] * 12)
        with pytest.raises(TypeError, match="argument 'batch_size' is given twice"):
            call(TEXTS, None, None, 8, batch_size=8)
    with pytest.raises(TypeError, match="5 arguments without a name"):
        encoder.save("model", None, True, None, True, None)
