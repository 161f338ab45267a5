"""Whatever a call computes, it computes in the default floating-point environment."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from float_modes import FLUSH_DENORMALS, UPWARD, mxcsr_bits, on_x86_linux
from numpy.typing import NDArray
from tiny_models import (
    VOCABULARY,
    JsonObject,
    unigram_content,
    write_model,
    write_model2vec,
    write_static_embedding,
)

import nibblevec
from nibblevec import Encoder, Table, _core, semantic_search
from nibblevec._layouts.distance import distance
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.row_formats import in_row_format
from nibblevec._layouts.saving import save_model
from nibblevec._precision import Precision
from nibblevec._similarity import SimilarityName, similarity, similarity_pairwise
from nibblevec._verification import verify

TEXTS = ("a cup of hot tea", "the stock market fell.", "tea is a drink", "un cafe", "b c d 1")
# So small that what becomes of them is denormal in float32, or so large that it rounds.
SIZES = (1.0, 1e-38, 1e-42)


@functools.cache
def numbers(kind: str, size: float, columns: int = 34) -> NDArray[Any]:
    with np.errstate(all="ignore"):
        wide = np.random.default_rng(3).standard_normal((len(VOCABULARY), columns)) * size
        return wide.astype(kind)


def unigram_of_near_scores() -> JsonObject:
    """Ways to cut a word whose scores differ in their last bits, or by denormal numbers, only."""
    content = unigram_content()
    content["model"]["vocab"] += [
        *(["a", -0.1], ["b", -0.2], ["ab", -0.30000000000000004], ["_a", -0.7]),
        *(["_ab", -0.1 - 0.7 - 0.1], ["c", -1e-310], ["_c", -2e-310], ["cc", -3e-310]),
    ]
    return content


def write_models(folder: Path, size: float) -> None:
    """What computations read. Here numbers are made, too, that they take from `numbers`."""
    for kind in ("float16", "float32", "float64"):
        write_static_embedding(folder / kind, {"embedding.weight": numbers(kind, size)})
        weights = (np.linspace(0.01, 1, len(VOCABULARY)) * size).astype(kind)
        plain = {"embeddings": numbers("float32", 1), "weights": weights}
        write_model2vec(folder / f"weights-{kind}", plain)
    halves = {
        "embeddings": numbers("float16", max(size, 1e-6)),
        "weights": np.linspace(0.01, 1, len(VOCABULARY)).astype(np.float16),
    }
    write_model2vec(folder / "halves", halves)
    unigram = unigram_of_near_scores()
    tensors = {"embedding.weight": numbers("float64", 1)[: len(unigram["model"]["vocab"])]}
    write_static_embedding(folder / "unigram", tensors, tokenizer=unigram)
    write_model(folder / "sse")
    for kind in ("float32", "float64"):
        numbers(kind, size, 256)


def vectors(encoder: Encoder, **options: Any) -> NDArray[Any]:
    return np.asarray(encoder.encode(TEXTS, **options))


def content_of(path: Path) -> NDArray[np.uint8]:
    return np.frombuffer(path.read_bytes(), np.uint8)


def of_tables(folder: Path, size: float) -> Iterator[Any]:
    for kind in ("float16", "float32", "float64"):
        encoder = Encoder(folder / kind)
        yield encoder.table.dequantize()
        yield vectors(encoder)
    table = Table.from_buffer(numbers("float32", size), dim=34, format="float32")
    yield table.sum_rows([1, 2, 3], [0, 3], per_token_weights=[0.1, 1e-39, 3.0])


def of_weights(folder: Path, _size: float) -> Iterator[Any]:
    for name in ("weights-float16", "weights-float32", "weights-float64", "halves"):
        model = load_model(folder / name)
        yield model.table.dequantize()
        if model.token_rules.weight_of_id is not None:
            yield model.token_rules.weight_of_id
        yield vectors(Encoder(folder / name))


def of_precisions(_folder: Path, _size: float) -> Iterator[Any]:
    encoder = Encoder()
    for precision in get_args(Precision):
        yield vectors(encoder, precision=precision)
        if precision in ("int8", "uint8"):
            yield vectors(encoder, precision=precision, ranges="call", truncate_dim=64)
        yield from encoder.encode_iter(TEXTS, precision=precision, batch_size=2)


def of_fitted_ranges(folder: Path, _size: float) -> Iterator[Any]:
    encoder = Encoder(folder / "float32")
    try:
        encoder.fit_ranges(TEXTS, truncate_dim=[34, 5])
    except ValueError as error:  # too small for steps
        yield np.frombuffer(str(error).encode(), np.uint8)
        return
    yield from encoder.ranges.values()
    yield vectors(encoder, precision="int8")


def of_packing(_folder: Path, size: float) -> Iterator[Any]:
    wide = numbers("float64", size, 256)
    for row_format in ("sse_q4", "q4_k", "q6_k"):
        yield Table.quantize(wide, row_format).buffer
    yield Table.quantize(wide, search=False).buffer
    table = Table.from_buffer(numbers("float32", size, 256), dim=256, format="float32")
    for row_format in ("float16", "bfloat16", "sse_q4"):
        yield in_row_format(table, row_format).buffer


def of_saving(folder: Path, _size: float) -> Iterator[Any]:
    model = load_model(folder / "sse")
    with tempfile.TemporaryDirectory() as name:
        saved = Path(name) / "saved"
        save_model(model, str(saved), "sse", "float16")
        yield content_of(saved / "model.safetensors")
        yield np.array(distance(model, load_model(saved)))
        packed = Encoder(saved, quantize="sse_q4")
        yield packed.table.buffer
        packed.save_pretrained(Path(name) / "packed")
        yield content_of(Path(name) / "packed" / "embedding.q4_k_m.bin")


def of_similarities(_folder: Path, size: float) -> Iterator[Any]:
    for kind in ("float32", "float64"):
        left, right = numbers(kind, size)[:7], numbers(kind, size)[7:19]
        for name in get_args(SimilarityName):
            yield similarity(left, right, name)
            yield similarity_pairwise(left, right[:7], name)
            hits = semantic_search(left, right, 3, score_function=name)
            yield np.array([[hit["corpus_id"], hit["score"]] for row in hits for hit in row])


def of_package_tokenizer(folder: Path, _size: float) -> Iterator[Any]:
    encoder = Encoder(folder / "unigram")
    yield from encoder.tokenize(["ab abab tea", "ccc cc c", "abc", "aab"])


def of_verification(folder: Path, _size: float) -> Iterator[Any]:
    outcome = verify(load_model(folder / "sse"), load_model(folder / "sse"), TEXTS)
    yield np.frombuffer(repr(outcome).encode(), np.uint8)


COMPUTATIONS: list[Callable[[Path, float], Iterator[Any]]] = [
    of_tables,
    of_weights,
    of_precisions,
    of_fitted_ranges,
    of_packing,
    of_saving,
    of_similarities,
    of_package_tokenizer,
    of_verification,
]


def all_bytes(parts: list[Any]) -> list[bytes]:
    return [np.ascontiguousarray(part).tobytes() for part in parts]


@on_x86_linux
@pytest.mark.parametrize("mode", [UPWARD, FLUSH_DENORMALS], ids=["upward", "flushed"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("computation", COMPUTATIONS, ids=lambda function: function.__name__)
def test_mode_of_the_caller_changes_nothing(
    computation: Callable[[Path, float], Iterator[Any]], size: float, mode: int, tmp_path: Path
) -> None:
    write_models(tmp_path, size)
    expected = all_bytes(list(computation(tmp_path, size)))
    with mxcsr_bits(mode):
        actual = list(computation(tmp_path, size))
        is_still_set = np.float32(1) + np.float32(2**-30) > 1
        is_still_flushed = np.float32(1.1754944e-38) * np.float32(0.5) == 0
    assert is_still_set == (mode == UPWARD)
    assert is_still_flushed == (mode == FLUSH_DENORMALS)
    assert all_bytes(actual) == expected


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("computation", COMPUTATIONS, ids=lambda function: function.__name__)
def test_errors_that_the_caller_asks_of_numpy_are_none(
    computation: Callable[[Path, float], Iterator[Any]], size: float, tmp_path: Path
) -> None:
    write_models(tmp_path, size)
    expected = all_bytes(list(computation(tmp_path, size)))
    with np.errstate(all="raise"):
        actual = list(computation(tmp_path, size))
        assert set(np.geterr().values()) == {"raise"}
    assert all_bytes(actual) == expected


@on_x86_linux
def test_an_error_gives_the_mode_back() -> None:
    with mxcsr_bits(UPWARD):
        with pytest.raises(ValueError, match="no similarity function"):
            nibblevec.semantic_search([1.0], [[1.0]], score_function="x")  # type: ignore[arg-type]
        assert np.float32(1) + np.float32(2**-30) > 1
        with _core.DefaultFloatEnvironment(), _core.DefaultFloatEnvironment():
            assert not np.float32(1) + np.float32(2**-30) > 1
        assert np.float32(1) + np.float32(2**-30) > 1
