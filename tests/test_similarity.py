"""Similarity functions, and the exact search that stands on them."""

from __future__ import annotations

import enum
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_models import write_model

from nibblevec import Encoder, semantic_search
from nibblevec._precision import Precision
from nibblevec._similarity import (
    LEFT_ROWS,
    RIGHT_ROWS,
    RIGHT_VALUES,
    SIMILARITY_FUNCTIONS,
    SimilarityName,
    most_similar,
    similarity,
    similarity_pairwise,
)

Array = NDArray[Any]
Score = Callable[[Array, Array], float]

# Two vectors at a time, as each function is written down.
FORMULAS: dict[SimilarityName, Score] = {
    "cosine": lambda a, b: float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)),
    "dot": lambda a, b: float(a @ b),
    "euclidean": lambda a, b: -float(np.sqrt(((a - b) ** 2).sum())),
    "manhattan": lambda a, b: -float(np.abs(a - b).sum()),
}

every_function = pytest.mark.parametrize("function", SIMILARITY_FUNCTIONS)


def random_vectors(rows: int, dims: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, dims)).astype(np.float32)


def by_formula(left: Array, right: Array, function: SimilarityName) -> NDArray[np.float32]:
    left, right = left.astype(np.float64), right.astype(np.float64)
    return np.array([[FORMULAS[function](a, b) for b in right] for a in left], np.float32)


def array(scores: Any) -> NDArray[np.float32]:
    assert isinstance(scores, np.ndarray)
    assert scores.dtype == np.float32
    return scores


def test_every_function_has_a_formula() -> None:
    assert tuple(FORMULAS) == SIMILARITY_FUNCTIONS


@every_function
@pytest.mark.parametrize(
    ("n", "m", "dims"), [(1, 1, 1), (3, 5, 30), (LEFT_ROWS + 1, 2, 3), (2, RIGHT_ROWS + 1, 2)]
)
def test_similarity_equals_the_formula(function: SimilarityName, n: int, m: int, dims: int) -> None:
    left, right = random_vectors(n, dims, 1), random_vectors(m, dims, 2)
    scores = array(similarity(left, right, function))
    np.testing.assert_allclose(scores, by_formula(left, right, function), rtol=2e-7, atol=1e-7)


@every_function
@pytest.mark.parametrize(("rows", "dims"), [(0, 4), (1, 3), (7, 30), (RIGHT_ROWS + 3, 2)])
def test_pairwise_is_the_diagonal(function: SimilarityName, rows: int, dims: int) -> None:
    left, right = random_vectors(rows, dims, 3), random_vectors(rows, dims, 4)
    scores = array(similarity_pairwise(left, right, function))
    expected = np.array(
        [
            FORMULAS[function](a, b)
            for a, b in zip(left.astype("f8"), right.astype("f8"), strict=True)
        ]
    )
    assert scores.shape == (rows,)
    np.testing.assert_allclose(scores, expected, rtol=2e-7, atol=1e-7)


@every_function
def test_pairwise_takes_one_vector_for_all(function: SimilarityName) -> None:
    one, many = random_vectors(1, 5, 5)[0], random_vectors(4, 5, 6)
    expected = array(similarity(one, many, function))[0]
    for scores in (
        similarity_pairwise(one, many, function),
        similarity_pairwise(many, one, function),
    ):
        np.testing.assert_allclose(array(scores), expected, rtol=1e-6)


@every_function
def test_pairwise_of_two_vectors_is_one_number(function: SimilarityName) -> None:
    one, other = random_vectors(2, 5, 8)
    expected = array(similarity(one, other, function))[0, 0]
    for a, b in ((one, other), (one.tolist(), other.tolist())):
        score = array(similarity_pairwise(a, b, function))
        assert score.shape == ()
        assert score.dtype == np.float32
        np.testing.assert_allclose(score, expected, rtol=1e-6)
    assert array(similarity_pairwise(one, other[np.newaxis], function)).shape == (1,)


@every_function
def test_a_vector_and_itself(function: SimilarityName) -> None:
    vectors = random_vectors(50, 33, 7)
    expected = np.einsum("ij,ij->i", vectors, vectors, dtype="f8") if function == "dot" else 0
    expected = 1 if function == "cosine" else expected
    np.testing.assert_allclose(
        array(similarity_pairwise(vectors, vectors, function)), expected, 1e-7
    )
    # The product of lengths leaves an error of 3e-8 of them in a distance.
    diagonal = array(similarity(vectors, vectors, function)).diagonal()
    np.testing.assert_allclose(diagonal, expected, rtol=1e-7, atol=1e-6)


def test_large_numbers_do_not_overflow() -> None:
    large = np.full((1, 4), 3e38, np.float32)
    assert array(similarity(large, large)).tolist() == [[1.0]]
    assert array(similarity(large, -large, "euclidean"))[0, 0] == -np.inf  # beyond float32 itself
    assert array(similarity(large / 4, -large / 4, "euclidean"))[0, 0] == np.float32(-3e38)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float16, np.float64, ">f4"])
def test_other_types_of_numbers(dtype: Any) -> None:
    left = np.array([[100, 100, 3], [0, 0, 7]], dtype)
    right = np.array([[100, 100, 1]], dtype)
    precision: Precision | None = "float32" if left.dtype.kind == "i" else None
    scores = array(similarity(left, right, "dot", precision=precision))
    assert scores.tolist() == [[20003.0], [7.0]]


@pytest.mark.parametrize("call", [similarity, similarity_pairwise])
def test_unknown_function(call: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="no similarity function 'maxsim'; there are cosine, dot"):
        call([1.0], [1.0], "maxsim")


def test_pairwise_of_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="embeddings1 has 2 rows, embeddings2 has 3"):
        similarity_pairwise(np.ones((2, 4)), np.ones((3, 4)))
    with pytest.raises(ValueError, match="embeddings1 has 4 dims, embeddings2 has 1"):
        similarity_pairwise(np.ones((2, 4)), np.ones((2, 1)))


# Precisions

BITS: tuple[Precision, ...] = ("binary", "ubinary")
# Of the bits that differ, and of how many there are.
BIT_FORMULAS: dict[SimilarityName, Callable[[int, int], float]] = {
    "cosine": lambda h, b: 1 - 2 * h / b,
    "dot": lambda h, b: b - 2 * h,
    "euclidean": lambda h, _: -2 * h**0.5,
    "manhattan": lambda h, _: -2 * h,
}


def random_bits(rows: int, columns: int, seed: int, precision: Precision) -> Array:
    packed = np.random.default_rng(seed).integers(0, 256, (rows, columns)).astype(np.uint8)
    return packed if precision == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)


def hamming(left: Array, right: Array) -> Array:
    """How many bits differ, counted byte by byte by Python."""
    bytes_of = [[row.tobytes() for row in rows] for rows in (left, right)]
    return np.array(
        [[sum((a ^ b).bit_count() for a, b in zip(x, y, strict=True)) for y in bytes_of[1]]
         for x in bytes_of[0]]
    )  # fmt: skip


@every_function
def test_the_nearest_bits_are_those_of_the_least_hamming_distance(function: SimilarityName) -> None:
    query, corpus = np.array([[128, 1]], np.uint8), np.array([[0, 1], [127, 1]], np.uint8)
    (hits,) = semantic_search(query, corpus, score_function=function, precision="ubinary")
    assert [hit["corpus_id"] for hit in hits] == [0, 1]
    formula = BIT_FORMULAS[function]
    assert [hit["score"] for hit in hits] == [
        np.float32(formula(1, 16)),
        np.float32(formula(8, 16)),
    ]


@every_function
@pytest.mark.parametrize("precision", BITS)
@pytest.mark.parametrize("columns", [1, 3, 8, 65])
def test_bits_are_compared_by_hamming_distance(
    function: SimilarityName, precision: Precision, columns: int
) -> None:
    left = random_bits(7, columns, 20, precision)
    right = np.concatenate([random_bits(40, columns, 21, precision), left[:2]])
    formula = BIT_FORMULAS[function]
    apart = hamming(left, right)
    expected = np.array([[formula(h, 8 * columns) for h in row] for row in apart], np.float32)
    assert np.array_equal(array(similarity(left, right, function, precision=precision)), expected)
    pairs = array(similarity_pairwise(left, right[:7], function, precision=precision))
    assert np.array_equal(pairs, expected[:, :7].diagonal())
    ids, scores = most_similar(left, right, 42, function, precision=precision)
    order = np.argsort(apart, axis=1, kind="stable")  # of equally far ones the first comes first
    assert np.array_equal(ids, order)
    assert np.array_equal(scores, np.take_along_axis(expected, order, 1))


@pytest.mark.parametrize("top_k", [1, 9, 300])
def test_search_of_bits_over_many_blocks(top_k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nibblevec._similarity.LEFT_ROWS", 3)
    monkeypatch.setattr("nibblevec._similarity.RIGHT_VALUES", 24 * 20)
    queries, corpus = random_bits(8, 3, 22, "ubinary"), random_bits(300, 3, 23, "ubinary")
    ids, _ = most_similar(queries, corpus, top_k, precision="ubinary")
    expected = np.argsort(hamming(queries, corpus), axis=1, kind="stable")[:, :top_k]
    assert np.array_equal(ids, expected)


def test_search_of_bits_is_bounded_in_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "bits.npy", random_bits(100_000, 64, 24, "ubinary"))
    mapped = np.load(tmp_path / "bits.npy", mmap_mode="r")
    tracemalloc.start()
    try:
        ids, scores = most_similar(mapped[[5, 99_999]], mapped, 3, precision="ubinary")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (ids[:, 0].tolist(), scores[:, 0].tolist()) == ([5, 99_999], [1, 1])
    assert peak < 80 << 20  # all bits as float64 are 400 MB


@every_function
def test_codes_are_compared_as_the_numbers_they_stand_for(function: SimilarityName) -> None:
    rng = np.random.default_rng(25)
    left = rng.integers(-128, 128, (5, 9)).astype(np.int8)
    right = rng.integers(-128, 128, (6, 9)).astype(np.int8)
    expected = array(similarity(left.astype(np.float32), right.astype(np.float32), function))
    assert np.array_equal(array(similarity(left, right, function, precision="int8")), expected)
    a, b = ((codes.astype(np.int16) + 128).astype(np.uint8) for codes in (left, right))
    assert np.array_equal(array(similarity(a, b, function, precision="uint8")), expected)


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_texts_are_as_alike_in_every_precision(precision: Precision) -> None:
    model = Encoder()
    texts = ["Tea is a hot drink.", "A cup of tea.", "The stock market fell."]
    exact = array(model.similarity(*[model.encode(texts, normalize_embeddings=True)] * 2))
    codes = model.encode(texts, normalize_embeddings=True, precision=precision)
    scores = array(model.similarity(codes, codes, precision=precision))
    np.testing.assert_allclose(scores, exact, atol=0.02 if precision in ("int8", "uint8") else 0.25)
    assert scores[0, 1] > scores[0, 2] + 0.2
    pairs = array(model.similarity_pairwise(codes[0], codes, precision=precision))
    np.testing.assert_allclose(pairs, scores[0], rtol=1e-6)


def calls(left: Any, right: Any, **options: Any) -> list[Callable[[], Any]]:
    model = Encoder()
    return [
        lambda: similarity(left, right, **options),
        lambda: similarity_pairwise(left, right, **options),
        lambda: semantic_search(left, right, **options),
        lambda: most_similar(left, right, 1, **options),
        lambda: model.similarity(left, right, **options),
        lambda: model.similarity_pairwise(left, right, **options),
    ]


INT8, UINT8 = np.array([[1, -2]], np.int8), np.array([[1, 254]], np.uint8)
FLOATS = np.array([[1.0, -2.0]], np.float32)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (INT8, "are int8, .* packed bits: say precision='int8' or precision='binary'$"),
        (UINT8, "are uint8, .* packed bits: say precision='uint8' or precision='ubinary'$"),
        (UINT8[0], "are uint8, which are codes or packed"),
        ([UINT8[0]], "are uint8, which are codes or packed"),
        ([UINT8[0], INT8[0]], "are u?int8, which are codes or packed"),
        ([UINT8[0], FLOATS[0]], "are uint8, which are codes or packed"),
        ([list(UINT8[0])], "are uint8, which are codes or packed"),
        (UINT8 > 1, r"are bool, which are bits: np\.packbits .* \.astype\(np\.float32\)"),
        ([[True, False]], "are bool, which are bits"),
        (np.empty((0, 2), np.uint8), "are uint8, which are codes or packed"),
    ],
)
def test_rows_that_may_be_codes_or_bits_are_refused(rows: Any, message: str) -> None:
    for call in [*calls(rows, FLOATS), *calls(FLOATS, rows), *calls(rows, rows)]:
        with pytest.raises(ValueError, match=message):
            call()
    for call in calls(rows, rows, precision="float32"):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("precision", "rows", "message"),
    [
        ("ubinary", FLOATS, "are float32, precision 'ubinary' is uint8: encode both sides with"),
        ("ubinary", INT8, "are int8, precision 'ubinary' is uint8"),
        ("binary", UINT8, "are uint8, precision 'binary' is int8"),
        ("binary", [UINT8[0], INT8[0]], "are int8, uint8, precision 'binary' is int8"),
        ("int8", UINT8, "are uint8, precision 'int8' is int8"),
        ("uint8", INT8, "are int8, precision 'uint8' is uint8"),
        ("int8", FLOATS, "are float32, precision 'int8' is int8"),
        ("ubinary", UINT8 > 1, "are bool, precision 'ubinary' is uint8"),
        ("ubinary", [[1, 256]], r"hold numbers that are not in 0\.\.255, as uint8"),
        ("ubinary", [[-1, 5]], r"not in 0\.\.255, as uint8"),
        ("binary", [[128, 5]], r"not in -128\.\.127, as int8"),
        ("bits", UINT8, "no precision 'bits'; there are float32"),
    ],
)
def test_rows_of_another_precision_are_refused(precision: Any, rows: Any, message: str) -> None:
    for call in calls(rows, rows, precision=precision):
        with pytest.raises(ValueError, match=message):
            call()
    if precision == "ubinary":
        for call in [
            *calls(rows, UINT8, precision=precision),
            *calls(UINT8, rows, precision=precision),
        ]:
            with pytest.raises(ValueError, match=message):
                call()


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_a_precision_takes_lists_of_int(precision: Precision) -> None:
    rows = random_bits(4, 5, 26, "ubinary" if precision[0] == "u" else "binary")
    expected = array(similarity(rows, rows, precision=precision))
    for other in (rows.tolist(), rows.astype(np.int64), list(rows)):
        assert np.array_equal(array(similarity(other, rows, precision=precision)), expected)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.uint64, list])
def test_integers_that_do_not_say_what_they_are(dtype: Any) -> None:
    packed = np.array([[128, 1]], np.uint8)
    rows: Any = packed.tolist() if dtype is list else packed.astype(dtype)
    for call in calls(rows, rows):
        with pytest.raises(ValueError, match="may be codes or packed bits: say precision"):
            call()


def test_a_column_of_vectors() -> None:
    rows = random_bits(3, 5, 26, "ubinary")
    column = np.empty(len(rows), object)
    column[:] = list(rows)
    expected = array(similarity(rows, rows, precision="ubinary"))
    assert np.array_equal(array(similarity(column, column, precision="ubinary")), expected)


@pytest.mark.parametrize("rows", [[b"\x80\x01"], ["12"], np.array(["2026-01-01"], "M8[D]"), [1j]])
def test_what_is_no_number_is_refused(rows: Any) -> None:
    for call in calls(rows, rows):
        with pytest.raises(TypeError, match="expected numbers"):
            call()


# On the encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("similarity") / "model")


def test_encoder_compares_by_cosine_unless_told(folder: Path) -> None:
    encoder = Encoder(folder)
    assert encoder.similarity_fn_name == "cosine"
    left, right = random_vectors(2, 4, 8), random_vectors(2, 4, 9)
    for function in SIMILARITY_FUNCTIONS:
        encoder.similarity_fn_name = function
        assert encoder.similarity_fn_name == function
        for scores, expected in [
            (encoder.similarity(left, right), similarity(left, right, function)),
            (encoder.similarity_pairwise(left, right), similarity_pairwise(left, right, function)),
        ]:
            assert np.array_equal(array(scores), array(expected))
    encoder.similarity_fn_name = None
    assert encoder.similarity_fn_name == "cosine"


def test_encoder_takes_the_function_of_the_caller_and_keeps_it(folder: Path) -> None:
    import pickle

    encoder = Encoder(folder, similarity_fn_name="manhattan")
    assert pickle.loads(pickle.dumps(encoder)).similarity_fn_name == "manhattan"
    with pytest.raises(ValueError, match="no similarity function 'maxsim'"):
        Encoder(folder, similarity_fn_name="maxsim")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no similarity function 'maxsim'"):
        encoder.similarity_fn_name = "maxsim"  # type: ignore[assignment]
    assert encoder.similarity_fn_name == "manhattan"


def test_encoder_takes_an_enum(folder: Path) -> None:
    functions = enum.Enum("functions", {"DOT_PRODUCT": "dot"})
    encoder = Encoder(folder, similarity_fn_name=functions["DOT_PRODUCT"])  # type: ignore[arg-type]
    assert type(encoder.similarity_fn_name) is str
    assert encoder.similarity_fn_name == "dot"


# The search


def sorted_by_formula(
    queries: Array, corpus: Array, top_k: int, function: SimilarityName
) -> NDArray[np.int64]:
    scores = by_formula(queries, corpus, function)
    return np.argsort(-scores, axis=1, kind="stable")[:, :top_k]


@every_function
@pytest.mark.parametrize("top_k", [1, 2, 10, 40, 41, 1000])
def test_search_sorts_the_whole_corpus(function: SimilarityName, top_k: int) -> None:
    queries, corpus = random_vectors(5, 6, 10), random_vectors(40, 6, 11)
    hits = semantic_search(queries, corpus, top_k, score_function=function)
    expected = sorted_by_formula(queries, corpus, top_k, function)
    assert [[hit["corpus_id"] for hit in row] for row in hits] == expected.tolist()
    for query, row in zip(queries, hits, strict=True):
        for hit in row:
            assert type(hit["corpus_id"]) is int
            assert type(hit["score"]) is float
            score = FORMULAS[function](query.astype("f8"), corpus[hit["corpus_id"]].astype("f8"))
            assert hit["score"] == pytest.approx(score, rel=1e-6, abs=1e-7)


@every_function
@pytest.mark.parametrize("top_k", [1, 7, 90])
def test_search_over_many_blocks(
    function: SimilarityName, top_k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nibblevec._similarity.LEFT_ROWS", 3)
    monkeypatch.setattr("nibblevec._similarity.RIGHT_ROWS", 20)
    queries, corpus = random_vectors(10, 5, 12), random_vectors(407, 5, 13)
    ids, scores = most_similar(queries, corpus, top_k, function)
    everything = array(similarity(queries, corpus, function))
    expected = np.argsort(-everything, axis=1, kind="stable")[:, :top_k]
    assert np.array_equal(ids, expected)
    assert np.array_equal(scores, np.take_along_axis(everything, expected, 1))


@pytest.mark.parametrize("top_k", [1, 5, 3000])
def test_of_equals_the_first_comes_first(top_k: int) -> None:
    # Few distinct vectors, so that equals stand at the last place and in every block.
    distinct = random_vectors(5, 4, 14)
    of = np.random.default_rng(15).integers(0, 5, 2 * RIGHT_ROWS + 17)
    ids, scores = most_similar(distinct, distinct[of], top_k)
    expected = np.argsort(-array(similarity(distinct, distinct))[:, of], axis=1, kind="stable")
    assert np.array_equal(ids, expected[:, :top_k])
    assert (scores[:, 0] == 1).all()


def test_all_are_equal() -> None:
    ids, scores = most_similar(np.ones((3, 4)), np.zeros((2 * RIGHT_ROWS + 9, 4)), 6)
    assert np.array_equal(ids, np.tile(np.arange(6), (3, 1)))
    assert not scores.any()


def test_what_is_no_number_comes_last() -> None:
    corpus = np.array([[np.nan, 1], [1, 0], [0, np.nan], [-1, 0]], np.float32)
    ids, scores = most_similar(np.array([1.0, 0.0]), corpus, 4)
    assert ids.tolist() == [[1, 3, 0, 2]]
    assert scores.tolist() == [[1, -1, -np.inf, -np.inf]]


def test_search_of_and_among_nothing() -> None:
    assert semantic_search(np.empty((0, 3)), np.ones((2, 3))) == []
    assert semantic_search(np.ones((2, 3)), np.empty((0, 3))) == [[], []]


def test_search_takes_one_query_and_lists() -> None:
    assert semantic_search([0.0, 2.0], [[1.0, 0.0], [0.0, 1.0]], top_k=1) == [
        [{"corpus_id": 1, "score": 1.0}]
    ]


def test_search_takes_a_memmap(tmp_path: Path) -> None:
    vectors = random_vectors(100, 8, 16)
    vectors.tofile(tmp_path / "vectors")
    mapped = np.memmap(tmp_path / "vectors", np.float32, "r", shape=vectors.shape)
    assert semantic_search(vectors[:3], mapped) == semantic_search(vectors[:3], vectors)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(3), np.ones((2, 4))), "query_embeddings has 3 dims, corpus_embeddings has 4"),
        ((np.ones((1, 1, 3)), np.ones(3)), "query_embeddings must have one or two dimensions"),
        ((np.ones(3), np.ones((2, 3)), 0), "top_k must be at least 1, not 0"),
        ((np.ones(3), np.ones((2, 3)), -5), "top_k must be at least 1, not -5"),
    ],
)
def test_search_of_what_does_not_fit(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        semantic_search(*arguments)
    with pytest.raises(TypeError):
        semantic_search(np.ones(3), np.ones((2, 3)), 1.5)  # type: ignore[arg-type]


def test_memory_of_a_search_is_bounded() -> None:
    dims = 64
    corpus = np.zeros((10 * RIGHT_VALUES // dims, dims), np.int8)  # 160 MB in float64
    corpus[7] = 1
    tracemalloc.start()
    try:
        ids, _ = most_similar(np.ones((64, dims), np.int8), corpus, 1, precision="int8")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (ids == 7).all()
    assert peak < 80 << 20
