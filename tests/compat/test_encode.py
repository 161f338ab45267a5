"""Every way to call `encode`, on sentence-transformers and on ours, with the same table.

Where the two differ on purpose, the row names the difference, and docs/coming-from.md explains it.
"""

from __future__ import annotations

import decimal
import inspect
import json
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import datasets
import numpy as np
import pandas
import polars
import pyarrow
import pytest
import tokenizers
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from sentence_transformers.util.quantization import quantize_embeddings
from tiny_models import VOCABULARY, tokenizer_content

from nibblevec import Encoder
from nibblevec._precision import RangesKey

DIM = 30
PROMPTS = {"query": "tea is ", "other": "un"}
TEXTS = ["a cup of tea", "", "the stock market fell", "able, walking!", "caf\u00e9 \U0001f600"]
PAGE = Path(__file__).parents[2] / "docs" / "coming-from.md"

Call = Callable[[Any], Any]


class Row(NamedTuple):
    """A call of both.

    Attributes:
        name: what is tried.
        call: takes the model.
        difference: in the words of the page, why the results are not the same; None: they are.
        ours: the call of ours, if it is another.
        gives: what ours gives where the results differ: the type of an error, or a result as
            `described`.
        options: of both constructors.
        units: in the last place of a float32, that numbers may be apart by.
    """

    name: str
    call: Call
    difference: str | None = None
    ours: Call | None = None
    gives: Any = None
    options: Mapping[str, Any] = MappingProxyType({})
    units: int = 0


def encoding(*arguments: Any, **options: Any) -> Call:
    return lambda model: model.encode(*arguments, **options)


def collected(collect: Callable[[list[str]], Any], count: int | None = None) -> Call:
    """Texts that are collected anew for each call: some can be taken once only."""
    return lambda model: model.encode(collect(TEXTS[:count]))


def similarities(first: Any, second: Any) -> Call:
    """Their types and shapes; the numbers differ in their last bits."""

    def compared(model: Any) -> list[Any]:
        vectors = model.encode(first), model.encode(second)
        return [described(f(*vectors)) for f in (model.similarity, model.similarity_pairwise)]

    return compared


def similar_bytes(made_in: str, **options: Any) -> Call:
    return lambda model: model.similarity(*[model.encode(TEXTS, precision=made_in)] * 2, **options)


def array(dtype: str, *shape: int) -> tuple[str, str, tuple[int, ...]]:
    return ("ndarray", dtype, shape)


LAST_BITS = "Last bits of normalised vectors"
NO_TEXTS = "No texts"
COLLECTIONS = "What is a list of texts"
MISTAKES = "Mistakes are named"
DIMS = "Dims that a model has not"
KEYWORDS = "Unknown keywords"
STORED = "Ranges of int8 and uint8"
COMPARED = "What bytes are compared as"
FLOAT16 = "float16"
FEATURES = "What a text alone would give"
TOKENS = "Tokens"
SIZES = "Sizes below 1"

COUNTS: dict[str, Any] = {"a str": TEXTS[0], **{str(n): TEXTS[:n] for n in (1, 2, 5)}}
PRECISIONS = ("float32", "int8", "uint8", "binary", "ubinary", None)
BYTES = ("int8", "uint8")

INPUTS = [
    Row("a str", encoding(TEXTS[0])),
    Row("a subclass of str", encoding(np.str_(TEXTS[0]))),
    Row("a list", encoding(TEXTS)),
    Row("a tuple", collected(tuple)),
    Row("an array of str", collected(np.array)),
    Row("an array of objects", collected(lambda texts: np.array(texts, object))),
    Row("a column of datasets", collected(lambda t: datasets.Dataset.from_dict({"t": t})["t"])),
    Row("an empty str", encoding("")),
    Row("a list of an empty str", encoding([""])),
    Row("another name of inputs", encoding(sentences=TEXTS)),
    Row("no list", encoding([]), NO_TEXTS, gives=array("float32", 0, DIM)),
    Row("no tuple", encoding(()), NO_TEXTS, gives=array("float32", 0, DIM)),
    Row("no list, Tensors", encoding([], convert_to_numpy=False)),
    Row(
        "no list, a Tensor",
        encoding([], convert_to_tensor=True),
        NO_TEXTS,
        gives=("Tensor", "float32", (0, DIM)),
    ),
    Row("no inputs", encoding()),
    *(
        Row(f"{bad!r} for inputs", encoding(bad))
        for bad in (None, float("nan"), b"tea", 3, np.array("tea"), {"text": "tea"})
    ),
    *(
        Row(f"{bad!r} in a list", encoding(["tea", bad]))
        for bad in (None, float("nan"), b"tea", 3, ["tea"], {"text": "tea"}, pandas.NA)
    ),
    Row("a lone surrogate", encoding(["\ud800"]), MISTAKES, gives=ValueError),
    Row("a pair", encoding([("tea", "cup")]), COLLECTIONS, gives=TypeError),
    Row("two dimensions", encoding(np.array([["tea", "cup"]])), COLLECTIONS, gives=TypeError),
    Row(
        "a generator",
        lambda model: model.encode(text for text in TEXTS),
        COLLECTIONS,
        gives=array("float32", len(TEXTS), DIM),
    ),
    Row("a set", encoding({"tea"}), COLLECTIONS, gives=array("float32", 1, DIM)),
    *(
        Row(
            f"{name} of length {count}",
            collected(collect, count),
            COLLECTIONS,
            gives=array("float32", count, DIM),
        )
        for name, collect in {
            "a Series of pandas": pandas.Series,
            "a Series of polars": polars.Series,
            "an array of pyarrow": pyarrow.array,
            "chunks of pyarrow": lambda texts: pyarrow.chunked_array([texts[:1], texts[1:]]),
        }.items()
        for count in (1, 2, 3)
    ),
]

CONVERSIONS = [
    *(
        Row(f"{options} of {name}", encoding(inputs, **options))
        for name, inputs in {"a str": TEXTS[0], "a list": TEXTS}.items()
        for options in (
            {"convert_to_tensor": True},
            {"convert_to_numpy": False},
            {"convert_to_numpy": False, "convert_to_tensor": True},
            {"convert_to_numpy": True, "convert_to_tensor": True},
        )
    ),
    *(
        Row(f"features of one str, {options}", encoding("a cup", output_value=None, **options))
        for options in (
            {},
            {"truncate_dim": 8},
            {"normalize_embeddings": True},
            {"convert_to_tensor": True},
            {"prompt": "tea "},
        )
    ),
    Row(
        "features of texts",
        encoding(TEXTS, output_value=None),
        FEATURES,
        gives=[
            {
                "input_ids": ("Tensor", "int64", (count,)),
                "offsets": ("Tensor", "int64", ()),
                "sentence_embedding": ("Tensor", "float32", (DIM,)),
            }
            for count in (4, 0, 4, 5, 2)
        ],
    ),
    Row("features of no texts", encoding([], output_value=None)),
    Row("features in bits", encoding("a", output_value=None, precision="int8")),
    Row(
        "embeddings of tokens",
        encoding(TEXTS, output_value="token_embeddings"),
        TOKENS,
        gives=ValueError,
    ),
    Row("another output", encoding(TEXTS, output_value="logits"), TOKENS, gives=ValueError),
]

IN_BITS = [
    *(
        Row(f"{precision} of {count}, {options}", encoding(inputs, precision=precision, **options))
        for precision in PRECISIONS
        if precision not in BYTES
        for count, inputs in COUNTS.items()
        for options in ({}, {"convert_to_tensor": True}, {"truncate_dim": 9})
    ),
    # What the call itself has for ranges, as sentence-transformers does.
    *(
        Row(
            f"{precision} of {count}, {options}",
            encoding(inputs, precision=precision, **options),
            ours=encoding(inputs, precision=precision, ranges="call", **options),
        )
        for precision in BYTES
        for count, inputs in COUNTS.items()
        for options in ({}, {"convert_to_numpy": False}, {"truncate_dim": 9})
    ),
    *(
        Row(
            f"{precision} of {count} with stored ranges",
            encoding(inputs, precision=precision),
            STORED,
            gives=array(precision, *shape, DIM),
        )
        for precision in BYTES
        for count, inputs, shape in (
            ("a str", TEXTS[0], ()), (1, TEXTS[:1], (1,)), (5, TEXTS, (5,))
        )
    ),
    Row("bits of no texts", encoding([], precision="binary"), NO_TEXTS, gives=array("int8", 0, 4)),
    *(
        Row(f"similarities of {precision}", similar_bytes(precision), COMPARED, gives=ValueError)
        for precision in ("int8", "uint8", "binary", "ubinary")
    ),
    Row(
        "similarities of bits that say what they are",
        similar_bytes("ubinary"),
        COMPARED,
        ours=similar_bytes("ubinary", precision="ubinary"),
        gives=("Tensor", "float32", (5, 5)),
    ),
    Row("float16", encoding(TEXTS, precision="float16"), FLOAT16, gives=array("float16", 5, DIM)),
    Row("all in float16", lambda m: m.to(torch.float16).encode(TEXTS), FLOAT16, gives=ValueError),
    Row("half a model", lambda model: model.half().encode(TEXTS), FLOAT16, gives=AttributeError),
    Row("float64", encoding(TEXTS, precision="float64")),
]  # fmt: skip

LENGTHS = [
    *(Row(f"the first {d} dims", encoding(TEXTS, truncate_dim=d)) for d in (None, 1, 8, 29, DIM)),
    *(
        Row(f"the first {dims} dims", encoding(TEXTS, truncate_dim=dims), DIMS, gives=ValueError)
        for dims in (DIM + 1, 0, -1)
    ),
    *(Row(f"the first {d!r} dims", encoding(TEXTS, truncate_dim=d)) for d in (1.5, "8")),
    Row("dims of the constructor", encoding(TEXTS), options={"truncate_dim": 8}),
    Row("more dims", encoding(TEXTS, truncate_dim=20), options={"truncate_dim": 8}),
    Row("dims of a model", lambda m: m.get_embedding_dimension(), options={"truncate_dim": 8}),
    Row("truncate_dim", lambda model: model.truncate_dim, options={"truncate_dim": 8}),
    *(
        Row(
            f"normalised, {options}",
            encoding(inputs, normalize_embeddings=True, **options),
            LAST_BITS,
            units=2,
        )
        for inputs in (TEXTS[0], TEXTS)
        for options in ({}, {"truncate_dim": 9}, {"convert_to_tensor": True})
    ),
    Row("normalised bits", encoding(TEXTS, normalize_embeddings=True, precision="ubinary")),
]

OPTIONS = [
    *(Row(f"batches of {size}", encoding(TEXTS, batch_size=size)) for size in (1, 2, 1000, 0, -1)),
    Row("chunks of 0", encoding(TEXTS, chunk_size=0), SIZES, gives=ValueError),
    Row("the CPU", encoding(TEXTS, device="cpu")),
    Row("a progress bar", encoding(TEXTS, show_progress_bar=True)),
    Row("an unknown keyword", encoding(TEXTS, precisionn="int8"), KEYWORDS, gives=TypeError),
    Row("a task", encoding(TEXTS, task="query"), KEYWORDS, gives=TypeError),
    Row("all by position", encoding(
        TEXTS, None, "un", 2, False, "sentence_embedding", "ubinary", True, False, None, True, 9,
        None, None,
    )),
]  # fmt: skip

PROMPTED = [
    Row("a prompt by name", encoding(TEXTS, "query")),
    Row("an empty prompt by name", encoding(TEXTS, "document")),
    Row("a prompt", encoding(TEXTS, prompt="un")),
    Row("a prompt and a name", encoding(TEXTS, "query", "un")),
    Row("a prompt and no such name", encoding(TEXTS, "nothing", "un")),
    Row("no such prompt", encoding(TEXTS, "nothing")),
    Row("prompts", lambda model: model.prompts),
    *(
        Row(f"{name}, {options}", call, options=options)
        for options in (
            {},
            {"default_prompt_name": "other"},
            {"prompts": {"query": "the ", "passage": "tea ", "corpus": "cup "}},
            {"prompts": {"query": None, "document": "tea ", "other": "hot "}},
            {"prompts": {"query": "", "other": ""}, "default_prompt_name": "query"},
        )
        for name, call in {
            "encode": encoding(TEXTS),
            "a query": lambda model: model.encode_query(TEXTS[0]),
            "queries": lambda model: model.encode_query(TEXTS),
            "documents": lambda model: model.encode_document(TEXTS),
            "queries by name": lambda model: model.encode_query(TEXTS, "other"),
            "documents with a prompt": lambda model: model.encode_document(TEXTS, prompt="un"),
            "prompts": lambda model: model.prompts,
            "default_prompt_name": lambda model: model.default_prompt_name,
        }.items()
    ),
]

REST = [
    Row("truncate_embeddings", lambda model: truncated(model, 8)),
    Row("get_sentence_embedding_dimension", lambda m: m.get_sentence_embedding_dimension()),
    Row("device", lambda model: model.device),
    Row("similarity_fn_name", lambda model: model.similarity_fn_name),
    *(
        Row(f"similarities of {first} and {second}", similarities(COUNTS[first], COUNTS[second]))
        for first, second in (("a str", "a str"), ("a str", "5"), ("5", "a str"), ("5", "5"))
    ),
    Row("truncate_sentence_embeddings", lambda model: truncated(model, 8, "_sentence")),
    Row("the model on the CPU", lambda model: model.to("cpu").eval().cpu().encode(TEXTS)),
    Row("the model in float32", lambda model: model.to(torch.float32).encode(TEXTS)),
    Row("an evaluator", lambda model: model.evaluate(lambda _, path: {"at": path})),
    Row("preprocess", lambda m: m.preprocess(TEXTS, prompt="un"), TOKENS, gives={
        "input_ids": array("int64", 17), "offsets": array("int64", 5)}),
    Row("tokenize", lambda model: list(model.tokenize(TEXTS)), TOKENS, gives=[
        array("uint32", 15), array("int64", 6)]),
    Row("a changed tokenizer", lambda model: cut_by_tokenizer(model, 2), TOKENS, gives=array(
        "float32", len(TEXTS), DIM)),
    Row("max_seq_length", lambda model: model.max_seq_length, TOKENS, gives=None),
]  # fmt: skip

ROWS = [*INPUTS, *CONVERSIONS, *IN_BITS, *LENGTHS, *OPTIONS, *PROMPTED, *REST]


def cut_by_tokenizer(model: Any, length: int) -> Any:
    model.tokenizer.enable_truncation(length)
    return model.encode(TEXTS)


def truncated(model: Any, dims: int, older: str = "") -> Any:
    with getattr(model, f"truncate{older}_embeddings")(dims):
        return model.encode(TEXTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    rows = np.random.default_rng(1).standard_normal((len(VOCABULARY), DIM)).astype(np.float32)
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(tokenizer_content()))
    module = StaticEmbedding(tokenizer, embedding_weights=rows)
    model = SentenceTransformer(modules=[module], device="cpu", prompts=PROMPTS)
    path = str(tmp_path_factory.mktemp("encode") / "model")
    model.save_pretrained(path, create_model_card=False)
    return path


def result_of(call: Call, model: Any) -> Any:
    """What a call gives, or the type of its error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecated names
        try:
            return call(model)
        except Exception as error:
            return type(error)


def described(result: Any) -> Any:
    """Types and shapes of a result."""
    if isinstance(result, torch.Tensor):
        return ("Tensor", str(result.dtype).removeprefix("torch."), tuple(result.shape))
    if isinstance(result, np.ndarray):
        return ("ndarray", result.dtype.name, result.shape)
    if isinstance(result, list):
        return [described(item) for item in result]
    if isinstance(result, dict):
        return {name: described(item) for name, item in result.items()}
    return result


def arrays_of(result: Any) -> list[NDArray[Any]]:
    """All numbers of a result."""
    if isinstance(result, (torch.Tensor, np.ndarray)):
        return [np.asarray(result)]
    items = result.values() if isinstance(result, dict) else result
    return (
        [a for item in items for a in arrays_of(item)] if isinstance(result, (list, dict)) else []
    )


def units_apart(ours: NDArray[Any], theirs: NDArray[Any]) -> int:
    """How many numbers of the type lie between, at most."""
    if ours.dtype != np.float32:
        return int(not np.array_equal(ours, theirs))
    first, second = (
        np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
        for bits in (a.view(np.int32).astype(np.int64) for a in (ours, theirs))
    )
    return int(np.abs(first - second).max(initial=0))


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_row(folder: str, row: Row) -> None:
    theirs = result_of(row.call, SentenceTransformer(folder, device="cpu", **row.options))
    model = Encoder(folder, device="cpu", **row.options)
    if row.difference == STORED:
        model.fit_ranges(TEXTS)
    ours = result_of(row.ours or row.call, model)
    same_types = described(ours) == described(theirs)
    apart = [
        units_apart(a, b) for a, b in zip(arrays_of(ours), arrays_of(theirs), strict=same_types)
        if a.shape == b.shape
    ]  # fmt: skip
    if row.difference is None or row.units:
        assert same_types, (described(ours), described(theirs))
        assert max(apart, default=0) <= row.units
    else:
        assert not (same_types and max(apart, default=0) == 0), "no difference any more"
        assert described(ours) == row.gives


def test_an_error_of_ours_names_the_row(folder: str) -> None:
    unlike: list[Any] = [None, float("nan"), b"tea", 3, pandas.NA]
    for bad in unlike:
        with pytest.raises(TypeError, match=rf"^text 1 is {type(bad).__name__}, expected str; "):
            Encoder(folder).encode(["tea", bad])


def test_what_is_missing_is_what_pandas_says(folder: str) -> None:
    model = Encoder(folder)
    expected = model.encode("")
    candidates: list[Any] = [
        *(None, float("nan"), complex("nan"), pandas.NA, pandas.NaT, decimal.Decimal("NaN")),
        *(np.float16("nan"), np.float32("nan"), np.datetime64("NaT"), np.timedelta64("NaT")),
        *(0.0, 1, b"", "", "nan", decimal.Decimal(0), np.datetime64(0, "s"), pandas.Timestamp(0)),
    ]
    assert [bool(pandas.isna(value)) for value in candidates] == [True] * 10 + [False] * 8
    for value in candidates:
        if pandas.isna(value) or value == "":
            assert np.array_equal(model.encode([value], nulls="empty")[0], expected)
        elif value != "nan":
            with pytest.raises(TypeError, match=r"^text 0 is "):
                model.encode([value], nulls="empty")


def test_pandas_with_missing_texts(folder: str) -> None:
    model = Encoder(folder)
    expected = model.encode(["tea", "", "cup"])
    for dtype in (object, "str", "string"):
        series = pandas.Series(["tea", None, "cup"], dtype=dtype)
        assert np.array_equal(model.encode(series, nulls="empty"), expected)
        with pytest.raises(TypeError, match=r"^text 1 is \w+, expected str; nulls='empty'"):
            model.encode(series)
    with pytest.raises(TypeError, match="one dimension of str, not DataFrame with 2"):
        model.encode(pandas.DataFrame({"text": ["tea"]}))


def test_the_page_lists_the_differences_of_the_table() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## Deliberate differences")[2]
    listed = re.findall(r"^- \*\*(.+?)\.\*\* \S", section.partition("\n## ")[0], re.MULTILINE)
    assert sorted(listed) == sorted({row.difference for row in ROWS if row.difference})


@pytest.mark.parametrize(
    "name",
    [
        *("encode", "encode_multi_process", "__init__", "evaluate", "save_pretrained"),
        *("similarity", "similarity_pairwise", "truncate_embeddings", "start_multi_process_pool"),
    ],
)
def test_names_order_and_defaults(name: str) -> None:
    """Ours may have more, by keyword only."""
    theirs, ours = (
        {
            parameter.name: parameter
            for parameter in inspect.signature(getattr(model, name)).parameters.values()
            if parameter.kind is not parameter.VAR_KEYWORD
        }
        for model in (SentenceTransformer, Encoder)
    )
    positional = [p.name for p in theirs.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == [p.name for p in ours.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert set(theirs) <= set(ours)
    for parameter in theirs.values():
        if parameter.name != "inputs":  # which has another name besides
            assert ours[parameter.name].default == parameter.default


def test_their_quantiser_with_our_ranges_gives_our_bytes(folder: str) -> None:
    model = Encoder(folder)
    model.fit_ranges(TEXTS)
    for normalize in (False, True):
        vectors = model.encode(TEXTS, normalize_embeddings=normalize)
        ranges = model.ranges[RangesKey(normalize, DIM)]
        for precision in BYTES:
            expected = quantize_embeddings(vectors, precision, ranges=ranges)
            kind: Any = precision
            ours = model.encode(TEXTS, normalize_embeddings=normalize, precision=kind)
            assert np.array_equal(ours, expected)


def test_our_pool_is_stopped_by_their_method(folder: str) -> None:
    pool = Encoder(folder).start_multi_process_pool(["cpu", "cpu"])
    SentenceTransformer.stop_multi_process_pool(pool)
