"""Measures of retrieval and of scored pairs, and the files that they are measured on."""

from __future__ import annotations

import importlib.util
import json
import math
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from tiny_models import VOCABULARY, write_model

from nibblevec import Encoder, evaluation
from nibblevec._cli import main
from nibblevec._precision import PRECISIONS
from nibblevec.evaluation import (
    RETRIEVAL_MEASURES,
    STS_MEASURES,
    InputError,
    PairSet,
    RetrievalSet,
    evaluate,
    fit_ranges,
    means,
    read_pair_set,
    read_retrieval_set,
    read_set,
)

JsonObject = dict[str, Any]


def needs_libraries(test: Any) -> Any:
    """Elsewhere the extra test brings `ir-measures`, and tests fail without it."""
    skip = pytest.mark.skipif(
        platform.machine() == "aarch64" and importlib.util.find_spec("ir_measures") is None,
        reason="pytrec-eval-terrier has no wheel for Linux on ARM",
    )
    return pytest.mark.foreign(skip(test))


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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("evaluation") / "model")


# Measures


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


# Folders in BEIR's layout

CORPUS: list[JsonObject] = [
    {"_id": "1", "title": "Tea", "text": "a hot drink"},
    {"_id": "2", "title": "", "text": "the stock market", "metadata": {"url": "none"}},
    {"_id": 3, "text": "caf\u00e9 \u4e2d"},
    {"_id": "four", "title": None, "text": ""},
]
QUERIES: list[JsonObject] = [
    {"_id": "a", "text": "a cup of tea"},
    {"_id": "2", "text": "a market that fell"},
    {"_id": "not judged", "text": "play"},
]
JUDGEMENTS = [("a", "1", 2), ("2", "2", 1), ("2", "3", 0)]


def json_lines(records: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def judgement_lines(judgements: Sequence[tuple[str, str, object]]) -> bytes:
    lines = [("query-id", "corpus-id", "score"), *judgements]
    return "".join("\t".join(map(str, line)) + "\n" for line in lines).encode()


def write_folder(folder: Path, **contents: bytes) -> Path:
    """Write a whole set, whose files are good unless given."""
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_bytes(contents.get("corpus", json_lines(CORPUS)))
    (folder / "queries.jsonl").write_bytes(contents.get("queries", json_lines(QUERIES)))
    qrels = contents.get("qrels", judgement_lines(JUDGEMENTS))
    (folder / "qrels" / "test.tsv").write_bytes(qrels)
    return folder


def test_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = read_set(str(write_folder(tmp_path / "tiny")))
    assert data == RetrievalSet(
        "tiny",
        {"1": "Tea a hot drink", "2": "the stock market", "3": "caf\u00e9 \u4e2d", "four": ""},
        {"a": "a cup of tea", "2": "a market that fell"},
        {"a": {"1": 2}, "2": {"2": 1, "3": 0}},
    )
    assert not caplog.records


def test_folder_as_other_systems_write_it(tmp_path: Path) -> None:
    plain = write_folder(tmp_path / "plain")
    contents = {
        "corpus": b"\xef\xbb\xbf" + json_lines(CORPUS).replace(b"\n", b"\r\n") + b"\r\n",
        "queries": json_lines(QUERIES).replace(b"\n", b"\n\n").rstrip(),
        "qrels": judgement_lines(JUDGEMENTS).replace(b"\n", b"\r\n") + b"\r\n",
    }
    other = write_folder(tmp_path / "other", **contents)
    assert read_retrieval_set(str(other), name="") == read_retrieval_set(str(plain), name="")


def test_columns_of_judgements_go_by_their_names(tmp_path: Path) -> None:
    qrels = b"score\tquery-id\tremark\tcorpus-id\n-1\ta\t\t1\n1\t2\tgood\t2\n"
    data = read_retrieval_set(str(write_folder(tmp_path / "set", qrels=qrels)), name="set")
    assert data.judgements == {"a": {"1": -1}, "2": {"2": 1}}


def test_last_of_documents_with_one_id(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = json_lines([*CORPUS, {"_id": "1", "text": "another"}])
    folder = write_folder(tmp_path / "set", corpus=corpus)
    assert read_retrieval_set(str(folder), name="set").documents["1"] == "another"
    (record,) = caplog.records
    assert f"{folder / 'corpus.jsonl'}, line 5: the id '1' was there before" in record.message


@needs_libraries
def test_judged_documents_that_are_not_in_the_corpus(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in ArguAna: no model finds them, BEIR and `ir-measures` count them."""
    qrels = judgement_lines([("a", "1", 1), ("a", "5", 1), ("a", "6", 0), ("2", "7", 1)])
    folder = write_folder(tmp_path / "set", qrels=qrels)
    data = read_retrieval_set(str(folder), name="set")
    assert data.judgements == {"a": {"1": 1, "5": 1, "6": 0}, "2": {"7": 1}}
    (record,) = caplog.records
    where = f"{folder / 'qrels' / 'test.tsv'}, line 3"
    assert record.message == (
        f"{where}: no document has the id '5'; 3 judgements are of such documents, which count as"
        " not found"
    )
    (result,) = evaluate(Encoder(), data)
    assert result.measures["recall@10"] == (1 / 2 + 0) / 2


def test_splits(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set")
    place = folder / "qrels"
    (place / "dev.tsv").write_bytes(judgement_lines([("a", "2", 1)]))
    (place / "notes.txt").write_bytes(b"")

    def judgements(split: str | None) -> JsonObject:
        return read_retrieval_set(str(folder), split=split, name="set").judgements

    assert judgements("dev") == {"a": {"2": 1}}
    assert judgements(None) == judgements("test") != judgements("dev")
    with pytest.raises(InputError, match=r"qrels: no train\.tsv \(it holds dev\.tsv, test\.tsv\)"):
        judgements("train")
    (place / "test.tsv").rename(place / "train.tsv")
    with pytest.raises(InputError, match=r"which split\? \(it holds dev\.tsv, train\.tsv\)"):
        judgements(None)
    (place / "train.tsv").unlink()
    assert judgements(None) == {"a": {"2": 1}}
    (place / "dev.tsv").unlink()
    with pytest.raises(InputError, match=r"qrels: no test\.tsv \(it holds no \.tsv file\)"):
        judgements(None)


SURROGATE = b'{"_id": "\\ud800", "text": "tea"}\n'

BAD_FOLDERS = [
    (
        "corpus",
        b'{"_id": "1", "text": "tea"}\n{"_id": "2", "text": "te',
        "corpus.jsonl, line 2: not JSON",
    ),
    ("corpus", b'["1", "tea"]\n', "corpus.jsonl, line 1: not a JSON object"),
    ("corpus", b'{"_id": "1"}\n', "corpus.jsonl, line 1: no text under 'text' (it has '_id')"),
    ("corpus", b'\n{"text": "tea"}\n', "corpus.jsonl, line 2: no text under '_id' (it has 'text')"),
    ("corpus", b'{"_id": true, "text": ""}\n', "line 1: no text under '_id' (not text)"),
    (
        "corpus",
        b'{"_id": "1", "text": 1}\n',
        "corpus.jsonl, line 1: no text under 'text' (not text)",
    ),
    (
        "corpus",
        b'{"_id": "1", "title": 1, "text": ""}\n',
        "line 1: no text under 'title' (not text)",
    ),
    (
        "corpus",
        b'{"_id": "a\\u0000", "text": ""}\n',
        r"corpus.jsonl, line 1: a NUL in the id 'a\x00'",
    ),
    ("corpus", SURROGATE, "corpus.jsonl, line 1: a lone surrogate at character 0"),
    ("corpus", b'{"_id": "1", "text": "\xe9"}\n', "corpus.jsonl, line 1: not UTF-8"),
    ("corpus", b"", "test.tsv, line 2: no document has the id '1'"),
    (
        "queries",
        json_lines([*QUERIES, QUERIES[0]]),
        "queries.jsonl, line 4: the id 'a' was there before",
    ),
    ("queries", json_lines(QUERIES[:1]), "test.tsv, line 3: no query has the id '2'"),
    ("queries", b"tea\n", "queries.jsonl, line 1: not JSON"),
    (
        "qrels",
        judgement_lines([("a", "5", 1), ("a", "1", 0), ("2", "6", 1)]),
        "test.tsv, line 2: no document has the id '5', nor that of any other relevant one",
    ),
    (
        "qrels",
        judgement_lines([*JUDGEMENTS, ("b", "1", 1)]),
        "test.tsv, line 5: no query has the id 'b'",
    ),
    (
        "qrels",
        judgement_lines([*JUDGEMENTS, ("a", "1", 1)]),
        "line 5: query 'a' and document '1' were judged before",
    ),
    (
        "qrels",
        judgement_lines([("a", "1", 0.5)]),
        "line 2: the score '0.5' is no integer between -10000",
    ),
    ("qrels", judgement_lines([("a", "1", "1_0")]), "line 2: the score '1_0' is no integer"),
    ("qrels", judgement_lines([("a", "1", "")]), "test.tsv, line 2: the score '' is no integer"),
    (
        "qrels",
        judgement_lines([("a", "1", 10**10)]),
        "line 2: the score '10000000000' is no integer",
    ),
    (
        "qrels",
        b"query-id\tcorpus-id\tscore\na\t1\n",
        "test.tsv, line 2: expected 3 columns, found 2",
    ),
    (
        "qrels",
        b"query-id\tcorpus-id\tscore\na 1 1\n",
        "test.tsv, line 2: expected 3 columns, found 1",
    ),
    (
        "qrels",
        b"a\t1\t1\n",
        "line 1: expected columns query-id, corpus-id, score, found 'a', '1', '1'",
    ),
    ("qrels", b"a 0 1 1\n", "line 1: expected columns query-id, corpus-id, score, found 'a 0 1 1'"),
    ("qrels", b"", "test.tsv: no document is relevant to any query"),
    ("qrels", judgement_lines([]), "test.tsv: no document is relevant to any query"),
    ("qrels", judgement_lines([("a", "1", 0)]), "test.tsv: no document is relevant to any query"),
]


# Files of scored pairs

EXPECTED_PAIRS = PairSet(
    "pairs", ["a cup, of tea", 'the "stock" fell', "tea"], ["tea", "b c", "hot"], [4.5, 0, 5]
)

GOOD_PAIRS = {
    "score first.tsv": '4.5\ta cup, of tea\ttea\n0\tthe "stock" fell\tb c\n5\ttea\thot\n',
    "score first, not all scored.tsv": (
        '\tcup\tcup\n4.5\ta cup, of tea\ttea\r\n0\tthe "stock" fell\tb c\n\n \ta\tb\n5\ttea\thot'
    ),
    "score last.csv": '"a cup, of tea",tea,4.5\r\n"the ""stock"" fell",b c,0\r\ntea,hot,5\r\n',
    "names.csv": (
        'score,sentence1,sentence2\n4.5,"a cup, of tea",tea\n'
        '0,"the ""stock"" fell",b c\n5,tea,hot\n'
    ),
    "names.tsv": (
        "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tjudgement\n"
        '1\ta cup, of tea\ttea\t4.5\tNEUTRAL\n2\tthe "stock" fell\tb c\t0\t\n3\ttea\thot\t5\tX\n'
    ),
    "glue.tsv": (
        "index\tsentence1\tsentence2\tlabel\n"
        '0\ta cup, of tea\ttea\t4.5\n1\tthe "stock" fell\tb c\t0.0\n2\ttea\thot\t5.0\n'
    ),
    "benchmark.csv": (
        "news\tMSR\t2012\t0001\t4.500\ta cup, of tea\ttea\n"
        'news\tMSR\t2012\t0002\t0.000\tthe "stock" fell\tb c\tsource\tsource\n'
        "news\tMSR\t2012\t0003\t5.000\ttea\thot\n"
    ),
    "pairs.jsonl": (
        '{"sentence1": "a cup, of tea", "sentence2": "tea", "score": 4.5}\n\n'
        '{"sentence1": "the \\"stock\\" fell", "sentence2": "b c", "score": 0}\n'
        '{"sentence1": "no", "sentence2": "score", "score": null}\n'
        '{"sentence1": "tea", "sentence2": "hot", "score": 5, "more": []}\n'
    ),
    "glue.jsonl": (
        '{"sentence1": "a cup, of tea", "sentence2": "tea", "label": 4.5, "idx": 0}\n'
        '{"sentence1": "the \\"stock\\" fell", "sentence2": "b c", "label": 0, "idx": 1}\n'
        '{"sentence1": "tea", "sentence2": "hot", "label": 5, "idx": 2}\n'
    ),
    "pairs.ndjson": (
        '{"sentence1": "a cup, of tea", "sentence2": "tea", "similarity_score": 4.5}\n'
        '{"sentence1": "the \\"stock\\" fell", "sentence2": "b c", "similarity_score": 0}\n'
        '{"sentence1": "tea", "sentence2": "hot", "similarity_score": 5}\n'
    ),
}


@pytest.mark.parametrize("name", GOOD_PAIRS)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_pairs(tmp_path: Path, name: str, mark: bytes) -> None:
    (tmp_path / name).write_bytes(mark + GOOD_PAIRS[name].encode())
    assert read_pair_set(str(tmp_path / name), name="pairs") == EXPECTED_PAIRS
    assert read_set(str(tmp_path / name)).name == name


def test_quoted_sentence_over_two_lines(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_bytes(b'"a cup\nof tea",tea,1\ntea,hot,2\n')
    data = read_pair_set(str(tmp_path / "pairs.csv"), name="pairs")
    assert data.left == ["a cup\nof tea", "tea"]


BAD_PAIRS = [
    ("a.tsv", "1\ta\tb\n2\ta\n", "a.tsv, line 2: expected 3 columns, found 2"),
    ("a.tsv", "1\ta\tb\n2\ta\tb\t\n", "a.tsv, line 2: expected 3 columns, found 4"),
    ("a.tsv", "1\ta\tb\ntwo\ta\tb\n", "a.tsv, line 2: the score 'two' is no number"),
    ("a.tsv", "1\ta\tb\n1_0\ta\tb\n", "a.tsv, line 2: the score '1_0' is no number"),
    ("a.tsv", "1\ta\tb\nnan\ta\tb\n", "a.tsv, line 2: the score 'nan' is no number"),
    ("a.tsv", "1\ta\tb\ninf\ta\tb\n", "a.tsv, line 2: the score 'inf' is no number"),
    (
        "a.tsv",
        "a\tb\tc\nd\te\tf\n",
        "a.tsv: neither the first nor the last of 3 columns holds scores",
    ),
    (
        "a.tsv",
        "a\tb\n1\t2\n",
        "a.tsv, line 1: 2 columns, expected 3, 7 or more, or names (sentence1,",
    ),
    ("a.csv", "one line\n", "a.csv, line 1: 1 columns, expected 3, 7 or more, or names"),
    ("a.csv", 'a,b,1\n"a,b,2\n', "a.csv, line 2: unexpected end of data"),
    ("a.csv", 'a,b,1\n"a"b,b,2\n', "a.csv, line 2: "),
    ("a.csv", "a,b,1\na,b,1\n", "a.csv: 2 scored pairs, no two of which differ in their score"),
    ("a.csv", "a,b,1\n", "a.csv: 1 scored pairs, no two of which differ"),
    ("a.csv", "sentence1,sentence2,score\n", "a.csv: 0 scored pairs"),
    ("a.csv", "", "a.csv: 0 scored pairs"),
    ("a.csv", "sentence1,sentence2,score\na,b,c,d\n", "a.csv, line 2: expected 3 columns, found 4"),
    ("a.csv", "g\tf\ty\t1\t1\ta\tb\ng\tf\ty\t1\t1\ta\n", "line 2: expected 7 columns, found 6"),
    (
        "a.jsonl",
        '{"sentence1": "a", "sentence2": "b", "score": null}\n',
        "a.jsonl: 0 scored pairs",
    ),
    (
        "a.jsonl",
        '\n{"sentence1": "a", "sentence2": "b", "similarity": 4}\n',
        "line 2: expected keys sentence1, sentence2, score, found 'sentence1', 'sentence2', 'simil",
    ),
    (
        "a.jsonl",
        '{"sentence1": "a", "score": 1}\n',
        "a.jsonl, line 1: expected keys sentence1, sentence2, score, found 'sentence1', 'score'",
    ),
    (
        "a.jsonl",
        '{"sentence1": "a", "sentence2": null, "score": 1}\n',
        "a.jsonl, line 1: no text under 'sentence2' (not text)",
    ),
    (
        "a.jsonl",
        "{}\n",
        "a.jsonl, line 1: expected keys sentence1, sentence2, score, found nothing",
    ),
    (
        "a.jsonl",
        '{"sentence1": "a", "sentence2": "b", "score": "1"}\n',
        "line 1: the score '1' is no",
    ),
    (
        "a.jsonl",
        '{"sentence1": "a", "sentence2": "b", "score": NaN}\n',
        "line 1: the score nan is no",
    ),
    ("a.jsonl", "{", "a.jsonl, line 1: not JSON"),
]


# The command


@pytest.fixture
def sets(tmp_path: Path) -> list[str]:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(GOOD_PAIRS["names.csv"])
    other = json_lines([*QUERIES[:2], {"_id": "c", "text": "hot"}])
    qrels = judgement_lines([*JUDGEMENTS, ("c", "1", 1), ("c", "four", 3)])
    return [
        str(write_folder(tmp_path / "one" / "beir")),
        str(pairs),
        str(write_folder(tmp_path / "two" / "beir", queries=other, qrels=qrels)),
    ]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["eval", *map(str, arguments)])


def assert_fails(result: Result, code: int, message: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


@needs_libraries
def test_example_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).resolve().parents[1] / "docs" / "evaluation.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block, str(page), "exec"), {})
    assert capsys.readouterr().out.splitlines() == [
        f"{dims} {precision} 1.0" for dims in (512, 64) for precision in ("float32", "int8")
    ]


@needs_libraries
def test_command_measures_more_dims_than_a_model_keeps(
    model: Path, sets: list[str], tmp_path: Path
) -> None:
    Encoder(model, truncate_dim=8).save_pretrained(tmp_path / "short")
    result = run(tmp_path / "short", sets[0], "--truncate-dim", "30", "--json")
    expected = run(model, sets[0], "--json")
    assert result.exit_code == expected.exit_code == 0, result.output
    assert json.loads(result.stdout)["results"] == json.loads(expected.stdout)["results"]
    kept = json.loads(run(tmp_path / "short", sets[0], "--json").stdout)["results"]
    assert [entry["dims"] for entry in kept] == [8]


@needs_libraries
def test_command_gives_json(model: Path, sets: list[str]) -> None:
    result = run(model, *sets, "--truncate-dim", "30,7", "--json")
    assert result.exit_code == 0, result.output
    names = ["one/beir", "pairs.csv", "two/beir"]
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == names
    content = json.loads(result.stdout)
    assert (content["model"], content["similarity"]) == (str(model), "cosine")
    expected = [
        measures
        for path, name in zip(sets, names, strict=True)
        for measures in evaluate(Encoder(model), read_set(path, name=name), [30, 7])
    ]
    assert [
        (entry["data"], entry["task"], entry["dims"], entry["precision"], entry["measures"])
        for entry in content["results"]
    ] == [(entry.data, entry.task, entry.dims, "float32", entry.measures) for entry in expected]
    first, pairs = content["results"][0], content["results"][2]
    assert (first["documents"], first["queries"], pairs["pairs"]) == (4, 2, 3)
    assert [(entry["task"], entry["dims"], entry["sets"]) for entry in content["means"]] == [
        *(("retrieval", 30, 2), ("retrieval", 7, 2), ("sts", 30, 1), ("sts", 7, 1))
    ]
    assert [entry["measures"] for entry in content["means"]] == [
        mean.measures for mean in means(expected)
    ]
    for name in RETRIEVAL_MEASURES:
        of_both = (expected[0].measures[name] + expected[4].measures[name]) / 2
        assert content["means"][0]["measures"][name] == pytest.approx(of_both)


@needs_libraries
def test_command_prints_tables(model: Path, sets: list[str]) -> None:
    result = run(model, *sets, "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    retrieval, sts = (
        [line.split() for line in table.splitlines()] for table in result.stdout.split("\n\n")
    )
    assert retrieval[0] == [
        *("data", "dims", "precision", "nDCG@10", "MRR@10", "MAP@100"),
        *("acc@1", "acc@3", "acc@5", "acc@10"),
        *("P@1", "P@3", "P@5", "P@10", "R@1", "R@3", "R@5", "R@10"),
    ]
    assert [line[0] for line in retrieval] == ["data", "one/beir", "two/beir", "mean"]
    assert sts[0] == ["data", "dims", "precision", "spearman", "pearson"]
    assert [line[0] for line in sts] == ["data", "pairs.csv"]  # no mean of one
    content = json.loads(run(model, *sets, "--quiet", "--json").stdout)
    of_the_first = content["results"][0]["measures"].values()
    assert retrieval[1][1:] == ["30", "float32", *(f"{value:.4f}" for value in of_the_first)]
    of_the_mean = content["means"][0]["measures"].values()
    assert retrieval[3][3:] == [f"{value:.4f}" for value in of_the_mean]


@needs_libraries
def test_command_with_the_bundled_model_and_options(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set")
    (folder / "qrels" / "dev.tsv").write_bytes(judgement_lines([("2", "2", 1), ("2", "1", 1)]))
    result = run("bundled", folder, "--json", "--quiet", "--split", "dev")
    assert result.exit_code == 0, result.output
    (entry,) = json.loads(result.stdout)["results"]
    assert (entry["dims"], entry["queries"]) == (512, 1)
    assert entry["measures"]["recall@10"] == 1
    result = run("bundled", folder, "--quiet", "--split", "dev", "--precision", "ubinary,int8")
    assert [line.split()[1:3] for line in result.stdout.splitlines()] == [
        *(["dims", "precision"], ["512", "ubinary"], ["512", "int8"])
    ]
    skipping = run("bundled", folder, "--json", "--split", "dev", "--skip-identical-ids")
    assert json.loads(skipping.stdout)["results"][0]["measures"]["recall@10"] == 0.5


@needs_libraries
def test_command_fits_ranges(model: Path, sets: list[str]) -> None:
    options = ("--precision", "float32, int8", "--truncate-dim", "8, 30", "--json", "--quiet")
    result = run(model, *sets, *options, "--fit-ranges")
    assert result.exit_code == 0, result.output
    expected = []
    for path, name in zip(sets, ["one/beir", "pairs.csv", "two/beir"], strict=True):
        encoder, data = Encoder(model), read_set(path, name=name)
        fit_ranges(encoder, data, [8, 30])
        expected += evaluate(encoder, data, [8, 30], precisions=["float32", "int8"])
    found = json.loads(result.stdout)["results"]
    assert [entry["measures"] for entry in found] == [entry.measures for entry in expected]
    assert [(entry["dims"], entry["precision"]) for entry in found] == [
        (entry.dims, entry.precision) for entry in expected
    ]


def test_command_without_the_libraries(
    model: Path, sets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    message = "Error: evaluation needs ir-measures: pip install 'nibblevec[eval]'"
    assert_fails(run(model, *sets), 1, message)


@pytest.fixture
def _libraries_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with files is found before they are needed."""
    monkeypatch.setattr(evaluation, "check_installed", lambda: None)


@pytest.mark.usefixtures("_libraries_not_asked_for")
@pytest.mark.parametrize(("file", "content", "message"), BAD_FOLDERS)
def test_bad_folder(model: Path, tmp_path: Path, file: str, content: bytes, message: str) -> None:
    folder = write_folder(tmp_path / "set", **{file: content})
    with pytest.raises(InputError) as caught:
        read_set(str(folder))
    assert str(folder) in str(caught.value)
    assert message in str(caught.value)
    assert_fails(run(model, folder), 1, str(caught.value))


@pytest.mark.usefixtures("_libraries_not_asked_for")
@pytest.mark.parametrize(("name", "content", "message"), BAD_PAIRS)
def test_bad_pairs(model: Path, tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        read_set(str(tmp_path / name))
    assert str(tmp_path / name) in str(caught.value)
    assert message in str(caught.value)
    assert_fails(run(model, tmp_path / name), 1, " ".join(str(caught.value).split()))


@pytest.mark.usefixtures("_libraries_not_asked_for")
@pytest.mark.parametrize("missing", ["corpus.jsonl", "queries.jsonl", "qrels"])
def test_folder_that_lacks_a_file(model: Path, tmp_path: Path, missing: str) -> None:
    folder = write_folder(tmp_path / "set")
    (folder / missing).rename(folder / "elsewhere")
    assert_fails(run(model, folder), 1, str(folder / missing))


@pytest.mark.usefixtures("_libraries_not_asked_for")
def test_wrong_usage(model: Path, sets: list[str], tmp_path: Path) -> None:
    cases: list[tuple[list[object], str]] = [
        ([], "Missing argument 'MODEL'"),
        ([model], "Missing argument 'DATA...'"),
        ([model, tmp_path / "nothing"], "does not exist"),
        ([model, *sets, "--truncate-dim", "0"], "0 is not in the range x>=1."),
        ([model, *sets, "--truncate-dim", "16,x"], "'16,x' is not a number, or several divided by"),
        ([model, *sets, "--truncate-dim", "8,31"], "31 is not in the range 1<=x<=30."),
        ([model, *sets, sets[0] + "/"], "is given twice"),
        (
            [model, *sets, "--precision", "float32,int8"],
            "--precision: no ranges are stored for int8 of 30 dims; --fit-ranges takes those of",
        ),
        (
            ["bundled", *sets, "--precision", "uint8", "--truncate-dim", "512,100"],
            "no ranges are stored for uint8 of 100 dims",
        ),
        ([model, *sets, "--fit-ranges"], "--fit-ranges: no --precision int8 or uint8"),
        ([model, sets[1], "--split", "dev"], "--split: no DATA is a folder"),
        ([model, sets[1], "--skip-identical-ids"], "--skip-identical-ids: no DATA is a folder"),
    ]
    for arguments, message in cases:
        assert_fails(run(*arguments), 2, message)


@pytest.mark.usefixtures("_libraries_not_asked_for")
def test_model_that_is_none(sets: list[str], tmp_path: Path) -> None:
    assert_fails(run(tmp_path, *sets), 1, str(tmp_path))
