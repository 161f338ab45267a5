"""Measures of retrieval and of scored pairs."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_cases import (
    JsonObject,
    model_fixture,  # noqa: F401
    needs_libraries,
)
from numpy.typing import NDArray
from tiny_models import VOCABULARY

from nibblevec import Encoder
from nibblevec._precision import PRECISIONS
from nibblevec.evaluation import (
    RETRIEVAL_MEASURES,
    STS_MEASURES,
    PairSet,
    RetrievalSet,
    evaluate,
    fit_ranges,
)


class Fixed:
    """An encoder whose texts are their own vectors: numbers with spaces between them."""

    similarity_fn_name = "cosine"

    def __init__(self, dims: int = 2) -> None:
        self.dims = dims
        self.calls: list[tuple[str, int]] = []

    def get_embedding_dimension(self) -> int:
        return self.dims

    def encode(
        self,
        texts: Sequence[str],
        *,
        truncate_dim: int,
        show_progress_bar: bool,
        of: str = "text",
    ) -> NDArray[np.float32]:
        assert not show_progress_bar
        self.calls.append((of, truncate_dim))
        rows = [[float(number) for number in text.split()] for text in texts]
        return np.array(rows, np.float32)[:, :truncate_dim]

    def encode_query(self, texts: Sequence[str], **options: Any) -> NDArray[np.float32]:
        return self.encode(texts, of="query", **options)

    def encode_document(self, texts: Sequence[str], **options: Any) -> NDArray[np.float32]:
        return self.encode(texts, of="document", **options)


def measured(data: RetrievalSet | PairSet, encoder: Any = None, **options: Any) -> JsonObject:
    fixed: Any = Fixed()
    (result,) = evaluate(encoder or fixed, data, **options)
    return result.measures


def at_angle(degrees: float) -> str:
    return f"{math.cos(math.radians(degrees))} {math.sin(math.radians(degrees))}"


@needs_libraries
def test_retrieval_by_hand() -> None:
    # Documents 1 to 12 stand in this order before each query.
    documents = {str(rank): at_angle(5 * rank) for rank in range(1, 13)}
    queries = dict.fromkeys(("a", "b", "c"), at_angle(0))
    judgements = {
        "a": {"2": 1, "5": 2, "11": 1, "12": 0},  # two of three are found among ten
        "b": {"1": 1, "3": -1},  # all is well
        "c": {"1": 0},  # nothing is relevant
    }
    measures = measured(RetrievalSet("hand", documents, queries, judgements))
    ideal = 2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    of_a_and_b = {
        "ndcg@10": ((1 / math.log2(3) + 2 / math.log2(6)) / ideal, 1),
        "mrr@10": (1 / 2, 1),
        "map@100": ((1 / 2 + 2 / 5 + 3 / 11) / 3, 1),
        **{f"accuracy@{k}": (k >= 2, 1) for k in (1, 3, 5, 10)},
        **{f"precision@{k}": (((k >= 2) + (k >= 5)) / k, 1 / k) for k in (1, 3, 5, 10)},
        **{f"recall@{k}": (((k >= 2) + (k >= 5)) / 3, 1) for k in (1, 3, 5, 10)},
    }
    assert set(measures) == set(RETRIEVAL_MEASURES) == set(of_a_and_b)
    for name, (of_a, of_b) in of_a_and_b.items():
        assert measures[name] == pytest.approx((of_a + of_b) / 3, abs=1e-12), name


@needs_libraries
def test_more_than_a_hundred_are_relevant() -> None:
    documents = {str(rank): at_angle(rank / 4) for rank in range(1, 151)}
    judgements = {"a": dict.fromkeys(documents, 1)}
    measures = measured(RetrievalSet("many", documents, {"a": at_angle(0)}, judgements))
    assert measures["map@100"] == pytest.approx(100 / 150)  # of all that are relevant
    assert measures["ndcg@10"] == measures["precision@10"] == 1
    assert measures["recall@10"] == pytest.approx(10 / 150)


@needs_libraries
@pytest.mark.parametrize(("relevant", "rank"), [("x9", 1), ("x5", 5), ("x0", 10)])
def test_of_equals_the_greatest_id_comes_first(relevant: str, rank: int) -> None:
    documents = {f"x{number}": at_angle(30) for number in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7)}
    data = RetrievalSet("ties", documents, {"a": at_angle(0)}, {"a": {relevant: 1}})
    measures = measured(data)
    assert measures["map@100"] == pytest.approx(1 / rank)
    assert measures["accuracy@1"] == (rank == 1)
    assert measures["accuracy@5"] == (rank <= 5)


@needs_libraries
@pytest.mark.parametrize(("relevant", "precision"), [("050", 1 / 100), ("049", 0)])
def test_equals_at_the_last_place(relevant: str, precision: float) -> None:
    documents = {f"{number:03}": at_angle(30) for number in range(150)}
    data = RetrievalSet("ties", documents, {"a": at_angle(0)}, {"a": {relevant: 1}})
    assert measured(data)["map@100"] == pytest.approx(precision)


@needs_libraries
@pytest.mark.parametrize("dims", [30, 8, 1])
def test_retrieval_equals_the_whole_ranking(model: Path, dims: int) -> None:
    """Every document is ranked, by cosines worked out in float64; many are equal."""
    import ir_measures

    random = np.random.default_rng(dims)
    words = [word for word in VOCABULARY if word.isalpha()]
    texts = [" ".join(random.choice(words, random.integers(0, 5))) for _ in range(400)]
    documents = {str(number): text for number, text in enumerate(texts)}
    queries = {str(number): " ".join(random.choice(words, 3)) for number in range(20)}
    judgements = {
        query: {str(i): int(random.integers(-1, 4)) for i in random.choice(400, 150, replace=False)}
        for query in queries
    }
    encoder = Encoder(model)
    (result,) = evaluate(encoder, RetrievalSet("all", documents, queries, judgements), [dims])

    def directions(texts: Mapping[str, str]) -> NDArray[np.float64]:
        vectors = encoder.encode(list(texts.values()), truncate_dim=dims).astype(np.float64)
        lengths: NDArray[np.float64] = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / lengths

    cosines = directions(queries) @ directions(documents).T
    run = {
        query: dict(zip(documents, row.tolist(), strict=True))
        for query, row in zip(queries, cosines.astype(np.float32), strict=True)
    }
    measures = {name: ir_measures.parse_measure(text) for name, text in RETRIEVAL_MEASURES.items()}
    expected = ir_measures.calc_aggregate(list(measures.values()), judgements, run)
    for name, measure in measures.items():
        assert result.measures[name] == pytest.approx(expected[measure], abs=1e-6), name


@needs_libraries
def test_dims_are_prefixes_of_one_encode() -> None:
    # By all dims "near" is first, by the first two "far".
    documents = {"near": "1 1 0", "far": "1 0 9"}
    data = RetrievalSet("dims", documents, {"a": "1 0 0"}, {"a": {"near": 1}})
    encoder = Fixed(3)
    results = evaluate(encoder, data, [3, 2])  # type: ignore[arg-type]
    assert [(result.dims, result.measures["mrr@10"]) for result in results] == [(3, 1), (2, 0.5)]
    assert encoder.calls == [("document", 3), ("query", 3)]
    encoder = Fixed(3)
    assert [result.dims for result in evaluate(encoder, data)] == [3]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="truncate_dims must be at least 1, not 0"):
        evaluate(encoder, data, [2, 0])  # type: ignore[arg-type]


@needs_libraries
def test_precisions() -> None:
    texts = {"near": "tea", "far": "tea cup", "other": "the market fell"}
    data = RetrievalSet("precisions", texts, {"a": "hot tea"}, {"a": {"near": 1}})
    encoder = Encoder()
    results = evaluate(encoder, data, [64, 512], precisions=PRECISIONS)
    kinds = [(dims, precision) for dims in (64, 512) for precision in PRECISIONS]
    assert [(result.dims, result.precision) for result in results] == kinds
    for result in results:
        options: dict[str, Any] = {
            "truncate_dim": result.dims, "precision": result.precision,
            "normalize_embeddings": True,
        }  # fmt: skip
        found = encoder.encode([*texts.values(), "hot tea"], **options)
        if "binary" in result.precision:
            bits = found.view(np.uint8) ^ np.uint8(128 * (result.precision == "binary"))
            found = np.unpackbits(bits, axis=1)[:, : result.dims] * 2.0 - 1
        elif result.precision == "uint8":
            found = found.astype(float) - 128
        found = found.astype(np.float64)
        *documents, query = found / np.linalg.norm(found, axis=1, keepdims=True)
        scores = np.array(documents) @ query
        assert result.measures["mrr@10"] == pytest.approx(1 / (1 + (scores > scores[0]).sum()))
    with pytest.raises(ValueError, match="no precision 'int4'"):
        evaluate(encoder, data, precisions=["int4"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="no ranges are stored for 100 dims"):
        evaluate(encoder, data, [100], precisions=["int8"])
    assert evaluate(encoder, data, []) == evaluate(encoder, data, precisions=[]) == []


@needs_libraries
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_ranges_of_a_set(model: Path, similarity: Any) -> None:
    documents = {"1": "a cup of tea", "2": "the stock market fell", "3": "able"}
    retrieval = RetrievalSet("r", documents, {"a": "hot cup", "b": "fell"}, {"a": {"1": 1}})
    pairs = PairSet("p", ["tea", "cup", "able"], ["hot", "tea", "play"], [1.0, 2.0, 3.0])
    sentences = ["tea", "cup", "able", "hot", "tea", "play"]
    for data, texts in ((retrieval, [*documents.values()]), (pairs, sentences)):
        options: Any = {"similarity_fn_name": similarity, "prompts": {"passage": "hot drink "}}
        encoder, by_hand = Encoder(model, **options), Encoder(model, **options)
        del encoder.prompts["document"]
        with pytest.raises(ValueError, match="no ranges are stored for 30 dims"):
            evaluate(encoder, data, precisions=["int8"])
        fit_ranges(encoder, data, [8, 30])
        prompt_name = "passage" if data is retrieval else None
        by_hand.fit_ranges(texts, truncate_dim=[8, 30], prompt_name=prompt_name)
        for kind, ranges in by_hand.ranges.items():
            assert np.array_equal(encoder.ranges[kind], ranges)
        results = evaluate(encoder, data, [8, 30], precisions=["int8", "uint8"])
        assert [result.dims for result in results] == [8, 8, 30, 30]
        assert results[0].measures == results[1].measures


@needs_libraries
@pytest.mark.parametrize("precision", ["float32", "ubinary"])
@pytest.mark.parametrize(
    ("prompts", "of_queries", "of_documents", "of_pairs"),
    [
        ({"query": "tea is ", "document": "un", "hot": "hot "}, "tea is ", "un", "hot "),
        ({"query": "tea is ", "passage": "un", "hot": "hot "}, "tea is ", "un", "hot "),
        ({"hot": "hot "}, "hot ", "hot ", "hot "),  # the default prompt
    ],
)
def test_prompts(
    model: Path,
    prompts: dict[str, str],
    of_queries: str,
    of_documents: str,
    of_pairs: str,
    precision: Any,
) -> None:
    texts = ["a cup of tea", "the stock market fell", "able", "play", "hot", "unable to play"]
    documents = dict(zip("123456", texts, strict=True))
    queries = {"a": "cup", "b": "market play"}
    judgements = {"a": {"1": 1, "5": 1}, "b": {"2": 1, "6": 1}}
    encoder = Encoder(model)
    encoder.prompts = prompts
    encoder.default_prompt_name = "hot"

    def prompted(prompt: str, by_id: dict[str, str]) -> dict[str, str]:
        return {name: prompt + text for name, text in by_id.items()}

    def measures(encoder: Encoder, data: RetrievalSet | PairSet) -> JsonObject:
        (result,) = evaluate(encoder, data, precisions=[precision])
        return result.measures

    plain = Encoder(model)
    assert measures(encoder, RetrievalSet("r", documents, queries, judgements)) == measures(
        plain,
        RetrievalSet(
            "r", prompted(of_documents, documents), prompted(of_queries, queries), judgements
        ),
    )
    scores = [3.0, 1.0, 2.0]
    assert measures(encoder, PairSet("p", texts[:3], texts[3:], scores)) == measures(
        plain,
        PairSet(
            "p",
            [of_pairs + text for text in texts[:3]],
            [of_pairs + text for text in texts[3:]],
            scores,
        ),
    )


@needs_libraries
def test_similarity_is_that_of_the_model() -> None:
    documents = {"same way": "1 0", "long": "9 9"}
    data = RetrievalSet("dot", documents, {"a": "2 0"}, {"a": {"long": 1}})
    encoder = Fixed()
    assert measured(data, encoder)["mrr@10"] == 0.5
    encoder.similarity_fn_name = "dot"
    assert measured(data, encoder)["mrr@10"] == 1


@needs_libraries
def test_a_query_that_is_a_document() -> None:
    documents = {"a": at_angle(0), "b": at_angle(10), "c": at_angle(20)}
    data = RetrievalSet("arguments", documents, {"a": at_angle(0)}, {"a": {"b": 1}})
    assert measured(data)["mrr@10"] == 0.5
    assert measured(data, skip_identical_ids=True)["mrr@10"] == 1
    alone = RetrievalSet("alone", {"a": at_angle(0)}, {"a": at_angle(0)}, {"a": {"a": 1}})
    assert measured(alone)["mrr@10"] == 1
    assert measured(alone, skip_identical_ids=True)["mrr@10"] == 0


@needs_libraries
def test_skipping_does_not_shorten_the_ranking() -> None:
    documents = {f"{number:03}": at_angle(number / 4) for number in range(150)}
    data = RetrievalSet("long", documents, {"000": at_angle(0)}, {"000": {"100": 1}})
    assert measured(data)["map@100"] == 0
    assert measured(data, skip_identical_ids=True)["map@100"] == pytest.approx(1 / 100)


@needs_libraries
def test_pairs_by_hand() -> None:
    angles = [0, 10, 30, 40, 60]
    scores = [5.0, 4.0, 1.0, 3.0, 2.0]
    data = PairSet("hand", [at_angle(0)] * 5, [at_angle(angle) for angle in angles], scores)
    encoder = Fixed()
    measures = measured(data, encoder)
    assert tuple(measures) == STS_MEASURES
    # Ranks of the cosines 5 4 3 2 1, of the scores 5 4 1 3 2.
    assert measures["spearman"] == pytest.approx(1 - 6 * (0 + 0 + 4 + 1 + 1) / (5 * 24))
    x = np.cos(np.radians(angles)) - np.cos(np.radians(angles)).mean()
    y = np.array(scores) - 3
    assert measures["pearson"] == pytest.approx(x @ y / math.sqrt(x @ x * (y @ y)), abs=1e-6)
    assert encoder.calls == [("text", 2), ("text", 2)]
    (result,) = evaluate(Fixed(), data)  # type: ignore[arg-type]
    assert (result.task, result.dims, result.sizes) == ("sts", 2, {"pairs": 5})


@needs_libraries
def test_equal_cosines_of_pairs_share_their_rank() -> None:
    # Lengths do not matter, nor may their rounding: all four cosines are the same.
    left = ["1 2", "3 6", "0.1 0.2", "1 0"]
    data = PairSet("ties", left, ["3 1", "9 3", "0.3 0.1", "0 1"], [4.0, 4.0, 4.0, 1.0])
    assert measured(data)["spearman"] == pytest.approx(1)


@needs_libraries
def test_correlation_that_is_not_defined() -> None:
    data = PairSet("flat", ["1 0"] * 3, ["1 0"] * 3, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="flat: all similarities are equal"):
        evaluate(Fixed(), data)  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", ["ir_measures", "scipy"])
def test_libraries_that_are_missing(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_measures", sys)
    monkeypatch.setitem(sys.modules, "scipy", sys)
    monkeypatch.setitem(sys.modules, missing, None)
    package = missing.replace("_", "-")
    with pytest.raises(ImportError, match=rf"needs {package}: pip install 'nibblevec\[eval\]'"):
        evaluate(Fixed(), PairSet("any", ["1 0"], ["1 0"], [1.0]))  # type: ignore[arg-type]
