"""Similarity, search and measures against sentence-transformers' own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers.sentence_transformer.evaluation import (
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
)
from sentence_transformers.util import SimilarityFunction
from sentence_transformers.util import semantic_search as their_semantic_search

from compat.english_lines import english_lines
from nibblevec import Encoder, semantic_search
from nibblevec._similarity import (
    SIMILARITY_FUNCTIONS,
    SimilarityName,
    most_similar,
    similarity,
    similarity_pairwise,
)
from nibblevec.evaluation import RETRIEVAL_MEASURES, PairSet, RetrievalSet, evaluate

every_function = pytest.mark.parametrize("function", SIMILARITY_FUNCTIONS)


def random_vectors(rows: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, 64), dtype=np.float32)


@every_function
@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy, list])
def test_similarity(function: SimilarityName, convert: Any) -> None:
    left, right = random_vectors(20, 1), random_vectors(30, 2)
    scores = similarity(convert(left), convert(right), function)
    expected = SimilarityFunction.to_similarity_fn(function)(left, right)
    assert isinstance(scores, torch.Tensor)
    assert (scores.dtype, scores.shape) == (expected.dtype, expected.shape)
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)
    one = similarity(convert(left)[0], convert(right), function)
    torch.testing.assert_close(one, expected[:1], rtol=1e-5, atol=1e-5)


@every_function
def test_similarity_pairwise(function: SimilarityName) -> None:
    left, right = random_vectors(20, 3), random_vectors(20, 4)
    scores = similarity_pairwise(torch.from_numpy(left), right, function)
    expected = SimilarityFunction.to_similarity_pairwise_fn(function)(left, right)
    assert isinstance(scores, torch.Tensor)
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)


def test_tensors_that_numpy_does_not_take() -> None:
    vectors = torch.from_numpy(random_vectors(5, 5))
    expected = similarity(vectors, vectors)
    learned = vectors.clone().requires_grad_()
    for other in (learned, list(learned)):
        assert torch.equal(torch.as_tensor(similarity(other, vectors)), torch.as_tensor(expected))
    halves = vectors.bfloat16()
    torch.testing.assert_close(similarity(halves, halves), expected, rtol=0, atol=0.02)


def test_name_of_the_function_as_their_enum() -> None:
    encoder = Encoder()
    for member in (SimilarityFunction.DOT_PRODUCT, SimilarityFunction.MANHATTAN):
        encoder.similarity_fn_name = member
        assert encoder.similarity_fn_name == member.value
        assert type(encoder.similarity_fn_name) is str
    with pytest.raises(ValueError, match="no similarity function 'maxsim'"):
        encoder.similarity_fn_name = SimilarityFunction.MAXSIM


@every_function
def test_semantic_search(function: SimilarityName) -> None:
    queries, corpus = random_vectors(30, 6), random_vectors(1000, 7)
    theirs = their_semantic_search(
        torch.from_numpy(queries),
        torch.from_numpy(corpus),
        top_k=15,
        corpus_chunk_size=300,
        score_function=SimilarityFunction.to_similarity_fn(function),
    )
    ours = semantic_search(torch.from_numpy(queries), corpus, top_k=15, score_function=function)
    for our_hits, their_hits in zip(ours, theirs, strict=True):
        assert [hit.keys() for hit in our_hits] == [hit.keys() for hit in their_hits]
        assert [hit["corpus_id"] for hit in our_hits] == [hit["corpus_id"] for hit in their_hits]
        np.testing.assert_allclose(
            [hit["score"] for hit in our_hits], [hit["score"] for hit in their_hits], rtol=1e-5
        )


def test_measures_of_retrieval() -> None:
    encoder = Encoder()
    # Of equally similar lines sentence-transformers puts another first, so there must not be any.
    lines = [line for line in english_lines() if len(set(line.lower().split())) >= 5][:3000]
    directions = encoder.encode(lines, normalize_embeddings=True).round(3)
    lines = list(dict(zip(map(bytes, directions), lines, strict=True)).values())
    assert len(lines) > 2000
    # A line is found by a half of its words, and so is the line after it.
    documents = {f"d{number}": line for number, line in enumerate(lines)}
    queries = {f"q{number}": " ".join(line.split()[::2]) for number, line in enumerate(lines[:100])}
    judgements = {f"q{n}": {f"d{n}": 1, f"d{n + 1}": 1} for n in range(100)}
    (result,) = evaluate(encoder, RetrievalSet("lines", documents, queries, judgements))

    ids, scores = most_similar(
        encoder.encode(list(queries.values())), encoder.encode(list(documents.values())), 100
    )
    assert (np.diff(scores) < 0).all()
    names = list(documents)
    hits = [
        [{"corpus_id": names[row], "score": score} for row, score in zip(*found, strict=True)]
        for found in zip(ids.tolist(), scores.tolist(), strict=True)
    ]
    relevant = {query: set(judged) for query, judged in judgements.items()}
    theirs = InformationRetrievalEvaluator(queries, documents, relevant).compute_metrics(hits)
    assert 0.1 < result.measures["ndcg@10"] < 0.99
    for name in RETRIEVAL_MEASURES:
        measure, k = name.split("@")
        assert result.measures[name] == pytest.approx(float(theirs[f"{measure}@k"][int(k)])), name


@every_function
def test_measures_of_pairs(function: SimilarityName) -> None:
    lines = english_lines()[:201]
    left, right = lines[:-1], lines[1:]
    scores = np.random.default_rng(8).integers(0, 6, 200).tolist()
    encoder = Encoder(similarity_fn_name=function)
    (result,) = evaluate(encoder, PairSet("lines", left, right, scores))

    class Embedded(EmbeddingSimilarityEvaluator):  # type: ignore[misc]
        def embed_inputs(self, model: Any, sentences: Any, **_: Any) -> Any:
            return model.encode(sentences)

        def store_metrics_in_model_card_data(self, *_: Any) -> None:
            pass

    theirs = Embedded(left, right, scores, main_similarity=function, write_csv=False)(encoder)
    for name, value in result.measures.items():
        assert value == pytest.approx(theirs[f"{name}_{function}"], abs=1e-5)
