"""Measures of a model on a set: retrieval by `ir-measures`, correlations by `scipy`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from nibblevec._compat.methods import document_prompt_name
from nibblevec._float_environment import in_default_float_environment
from nibblevec._precision import (
    Precision,
    RangesKey,
    checked_precision,
    has_ranges,
    stored_ranges,
    values_of,
)
from nibblevec._similarity import most_similar, similarity_pairwise
from nibblevec.evaluation._sets import PairSet, RetrievalSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nibblevec._encoder import Encoder
    from nibblevec._similarity import SimilarityName

    FloatArray = NDArray[np.float32]

CUTOFFS = (1, 3, 5, 10)

# The measures under the names that sentence-transformers' evaluators give them, and as
# `ir-measures` calls them.
RETRIEVAL_MEASURES = {
    "ndcg@10": "nDCG@10",
    "mrr@10": "RR@10",
    "map@100": "AP@100",
    **{f"accuracy@{k}": f"Success@{k}" for k in CUTOFFS},
    **{f"precision@{k}": f"P@{k}" for k in CUTOFFS},
    **{f"recall@{k}": f"R@{k}" for k in CUTOFFS},
}
STS_MEASURES = ("spearman", "pearson")

# The documents that are ranked for each query, and for its reciprocal rank; no measure sees more.
RANKED_DOCUMENTS = 100
RANKED_FOR_RECIPROCAL = 10


class Result(NamedTuple):
    """Measures of one set, with vectors of one number of dims and one precision.

    Attributes:
        data: name of the set.
        task: the kind of measures.
        dims: dims of the vectors.
        precision: type of their values.
        sizes: numbers of documents and queries, or of pairs, or (of a mean) of sets.
        measures: from 0 to 1, correlations from -1, by name.
    """

    data: str
    task: Literal["retrieval", "sts"]
    dims: int
    precision: str
    sizes: dict[str, int]
    measures: dict[str, float]


def check_installed() -> None:
    """Check that the libraries that compute the measures are installed, without importing them.

    Raises:
        ImportError: one is missing (names the extra that brings it).
    """
    for module, package in (("ir_measures", "ir-measures"), ("scipy", "scipy")):
        if importlib.util.find_spec(module) is None:
            raise ImportError(
                f"evaluation needs {package}: pip install 'nibblevec[eval]'", name=module
            )


@in_default_float_environment
def evaluate(
    encoder: Encoder,
    data: RetrievalSet | PairSet,
    truncate_dims: Sequence[int] | None = None,
    *,
    precisions: Sequence[Precision] = ("float32",),
    skip_identical_ids: bool = False,
) -> list[Result]:
    """Measure a model on a set, by `ir-measures` and `scipy`.

    Vectors are compared as the model's `similarity_fn_name` says, cosine for most. In another
    precision than float32 they are those of `Encoder.encode`, normalised if cosines are asked for,
    and their codes are compared as numbers: uint8 less 128, a bit as 1 or -1. Queries get the
    prompts of `Encoder.encode_query`, documents those of `Encoder.encode_document`, sentences of
    pairs those of `Encoder.encode`.

    A measure of retrieval is the mean over all judged queries. nDCG takes the judgements as grades,
    MAP@100 divides by the number of all relevant documents. Equally similar documents stand in the
    order in which `ir-measures` puts them.

    Args:
        encoder: the model.
        data: the set.
        truncate_dims: keep the first N dims, for each N in turn; None means those of the encoder.
            In float32 texts are embedded once: a vector of fewer dims is the prefix of one of more.
        precisions: types of the values of vectors, each in turn.
        skip_identical_ids: a query does not find the document that has its own id, as where
            queries are documents themselves.

    Returns:
        a result for each number of dims and, of these, for each precision, in the order given.

    Raises:
        ImportError: `ir-measures` or `scipy` is missing (names the extra that brings it).
        ValueError: a number of dims is not in 1..dim; there is no such precision, or the model has
            no ranges for it; all similarities of pairs are equal, which leaves their correlation
            undefined.
    """
    check_installed()
    sizes = [encoder.get_embedding_dimension()] if truncate_dims is None else list(truncate_dims)
    if min(sizes, default=1) < 1:
        raise ValueError(f"truncate_dims must be at least 1, not {min(sizes)}")
    forms = [_Form(dims, checked_precision(name)) for dims in sizes for name in precisions]
    for form in forms:
        if has_ranges(form.precision):  # missing ones are reported before any work
            stored_ranges(encoder.ranges, ranges_needed(encoder, form.dims))
    if isinstance(data, RetrievalSet):
        measured = _retrieval(encoder, data, forms, skip_identical_ids)
    else:
        measured = _pairs(encoder, data, forms)
    return list(measured)


def ranges_needed(encoder: Encoder, dims: int) -> RangesKey:
    """The key of the ranges that int8 and uint8 take here: of vectors as they are compared."""
    return RangesKey(encoder.similarity_fn_name == "cosine", dims)


@in_default_float_environment
def fit_ranges(
    encoder: Encoder, data: RetrievalSet | PairSet, truncate_dims: Sequence[int]
) -> None:
    """Fit the encoder's ranges to the texts that a set searches or compares, as `evaluate` does.

    Args:
        encoder: gets ranges for each number of dims, see `Encoder.fit_ranges`.
        data: its documents are the sample, or all sentences of its pairs.
        truncate_dims: numbers of dims.

    Raises:
        ValueError: as `Encoder.fit_ranges`.
    """
    if isinstance(data, RetrievalSet):
        name = document_prompt_name(encoder.prompts)
        texts = list(data.documents.values())
        encoder.fit_ranges(texts, truncate_dim=truncate_dims, prompt_name=name)
    else:
        encoder.fit_ranges(data.left + data.right, truncate_dim=truncate_dims)


class _Form(NamedTuple):
    """The form in which vectors are kept and measured."""

    dims: int
    precision: Precision


def _retrieval(
    encoder: Encoder, data: RetrievalSet, forms: Sequence[_Form], skip_identical_ids: bool
) -> Iterator[Result]:
    import ir_measures

    wanted = {name: ir_measures.parse_measure(text) for name, text in RETRIEVAL_MEASURES.items()}
    evaluator = ir_measures.evaluator(list(wanted.values()), data.judgements)
    documents = sorted(data.documents)
    corpus = [data.documents[document] for document in documents]
    counts = {"documents": len(documents), "queries": len(data.queries)}
    for form, document_vectors, query_vectors in zip(
        forms,
        _vectors(encoder.encode_document, corpus, forms, encoder.similarity_fn_name),
        _vectors(
            encoder.encode_query, list(data.queries.values()), forms, encoder.similarity_fn_name
        ),
        strict=True,
    ):
        run: dict[str, dict[str, float]] = {query: {} for query in data.queries}
        # Of equally similar documents `ir-measures` puts the one with the greatest id first, as
        # trec_eval does, but for the reciprocal rank the one with the least, as MS MARCO does. The
        # run holds the documents of both orders; those that one adds stand behind the other's.
        for names, vectors, ranked in (
            (documents[::-1], document_vectors[::-1], RANKED_DOCUMENTS),
            (documents, document_vectors, RANKED_FOR_RECIPROCAL),
        ):
            ids, scores = most_similar(
                query_vectors, vectors, ranked + skip_identical_ids, encoder.similarity_fn_name
            )
            for found, rows, values in zip(
                run.values(), ids.tolist(), scores.tolist(), strict=True
            ):
                found.update(zip(map(names.__getitem__, rows), values, strict=True))
        if skip_identical_ids:
            for query, found in run.items():
                found.pop(query, None)
        measured = evaluator.calc_aggregate(run)
        measures = {name: float(measured[measure]) for name, measure in wanted.items()}
        yield Result(data.name, "retrieval", *form, counts, measures)


def _pairs(encoder: Encoder, data: PairSet, forms: Sequence[_Form]) -> Iterator[Result]:
    from scipy import stats

    counts = {"pairs": len(data.scores)}
    for form, left, right in zip(
        forms,
        _vectors(encoder.encode, data.left, forms, encoder.similarity_fn_name),
        _vectors(encoder.encode, data.right, forms, encoder.similarity_fn_name),
        strict=True,
    ):
        similarities = np.asarray(similarity_pairwise(left, right, encoder.similarity_fn_name))
        if (similarities == similarities[0]).all():
            raise ValueError(f"{data.name}: all similarities are equal, no correlation is defined")
        measures = {
            "spearman": float(stats.spearmanr(similarities, data.scores)[0]),
            "pearson": float(stats.pearsonr(similarities, data.scores)[0]),
        }
        yield Result(data.name, "sts", *form, counts, measures)


def _vectors(
    encode: Callable[..., NDArray[Any]],
    texts: Sequence[str],
    forms: Sequence[_Form],
    similarity: SimilarityName,
) -> Iterator[FloatArray]:
    """The vectors in each form, as float32 [texts, dims]."""
    sizes = [form.dims for form in forms if form.precision == "float32"]
    vectors = None
    if sizes:  # of fewer dims they are prefixes
        vectors = encode(texts, truncate_dim=max(sizes), show_progress_bar=False)
    for dims, precision in forms:
        if precision == "float32" and vectors is not None:
            yield vectors[:, :dims]
            continue
        codes = encode(
            texts,
            truncate_dim=dims,
            precision=precision,
            normalize_embeddings=similarity == "cosine",
            show_progress_bar=False,
        )
        yield values_of(codes, precision, dims)
