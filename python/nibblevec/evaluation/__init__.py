"""How good a model is: retrieval over folders in BEIR's layout, and scored pairs of sentences."""

from __future__ import annotations

import csv
import importlib.util
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np

from nibblevec._compat.methods import document_prompt_name
from nibblevec._float_environment import in_default_float_environment
from nibblevec._io.errors import InputError
from nibblevec._io.file_kinds import is_json_lines
from nibblevec._io.json_lines import json_objects, text_under
from nibblevec._io.lines import read_lines
from nibblevec._io.refusals import check_input
from nibblevec._precision import (
    Precision,
    RangesOf,
    checked_precision,
    has_ranges,
    numbers,
    stored_ranges,
)
from nibblevec._printing import printable
from nibblevec._similarity import most_similar, similarity_pairwise

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

# So many documents are ranked for each query, and for its reciprocal rank; no measure sees more.
RANKED_DOCUMENTS = 100
RANKED_FOR_RECIPROCAL = 10

# `ir-measures` counts the documents of every grade up to the highest.
MAX_RELEVANCE = 10_000

# Names that scored pairs go by in files that have names: two sentences and a score.
PAIR_COLUMNS = (
    ("sentence1", "sentence2", "score"),
    ("sentence1", "sentence2", "similarity_score"),
    ("sentence1", "sentence2", "label"),
    ("sentence_A", "sentence_B", "relatedness_score"),
)

# STSbenchmark has no names, but these columns, and sometimes more: genre, file, year, number,
# score, sentence, sentence.
BENCHMARK_COLUMNS = 7


class RetrievalSet(NamedTuple):
    """Texts to find, texts to find them by, and what is relevant to what.

    Attributes:
        name: what the set is called.
        documents: texts by their ids.
        queries: texts by their ids; only those that have judgements.
        judgements: relevance by the id of a query and that of a document; 0 and less is not
            relevant, as are documents without judgement.
    """

    name: str
    documents: dict[str, str]
    queries: dict[str, str]
    judgements: dict[str, dict[str, int]]


class PairSet(NamedTuple):
    """Pairs of sentences, with how similar people found them.

    Attributes:
        name: what the set is called.
        left: the first sentence of each pair.
        right: the second one.
        scores: how similar they are, on any scale.
    """

    name: str
    left: list[str]
    right: list[str]
    scores: list[float]


class Result(NamedTuple):
    """Measures of one set at so many dims.

    Attributes:
        data: name of the set.
        task: what was measured.
        dims: dims of the vectors.
        precision: type of their numbers.
        sizes: how many documents and queries, or pairs, or (of a mean) sets.
        measures: from 0 to 1, correlations from -1, by name.
    """

    data: str
    task: Literal["retrieval", "sts"]
    dims: int
    precision: str
    sizes: dict[str, int]
    measures: dict[str, float]


def check_installed() -> None:
    """See that the libraries that work out the measures are there, without importing them.

    Raises:
        ImportError: one is missing (names the extra that brings it).
    """
    for module, package in (("ir_measures", "ir-measures"), ("scipy", "scipy")):
        if importlib.util.find_spec(module) is None:
            raise ImportError(
                f"evaluation needs {package}: pip install 'nibblevec[eval]'", name=module
            )


def distinct_names(paths: Sequence[str]) -> list[str]:
    """The ends of paths, as long as it takes to tell one from the others.

    >>> distinct_names(["sets/cats/beir", "sets/dogs/beir", "sets/pairs.tsv"])
    ['cats/beir', 'dogs/beir', 'pairs.tsv']
    """
    parts = [os.path.abspath(path).replace(os.sep, "/").split("/") for path in paths]
    names = []
    for own in parts:
        length = 1
        while length < len(own) and sum(other[-length:] == own[-length:] for other in parts) > 1:
            length += 1
        names.append("/".join(own[-length:]))
    return names


def read_set(
    path: str, *, split: str | None = None, name: str | None = None
) -> RetrievalSet | PairSet:
    """Read a folder in BEIR's layout, or a file of scored pairs.

    Raises:
        OSError: a file is missing or cannot be read.
        InputError: see `read_retrieval_set` and `read_pair_set`.
    """
    name = os.path.basename(os.path.normpath(path)) if name is None else name
    if os.path.isdir(path):
        return read_retrieval_set(path, split=split, name=name)
    return read_pair_set(path, name=name)


def read_retrieval_set(folder: str, *, split: str | None = None, name: str) -> RetrievalSet:
    """Read a folder in BEIR's layout.

    ``corpus.jsonl`` has ``_id``, ``text`` and maybe ``title``, which goes before the text;
    ``queries.jsonl`` has ``_id`` and ``text``; a file of the folder ``qrels`` has columns
    ``query-id``, ``corpus-id`` and ``score``, divided by tabs and named in its first line.
    Of documents of the same id the last one is taken, as by BEIR's own reader, and judgements of
    documents that are not there are kept, as they count in its measures, for nobody can find them
    (ArguAna has some); both with a warning in the log.

    Args:
        folder: where they are.
        split: ``qrels/SPLIT.tsv`` is read; None means ``test``, or the only one.
        name: what the set is to be called.

    Raises:
        OSError: a file is missing or cannot be read.
        InputError: there is no such split, or one must be chosen; a line is not what it must be, a
            query's id or a judgement appears twice, a query's id is unknown (names file and
            line); nothing in the corpus is relevant.
    """
    documents: dict[str, str] = {}
    path = os.path.join(folder, "corpus.jsonl")
    for document, number, record in _records_by_id(path):
        if document in documents:
            what = f"the id {document!r:.80} was there before, this document takes its place"
            _log_warning("%s, line %d: %s", printable(path), number, what)
        text = text_under("text", record, path, number)
        title = ""
        if record.get("title") is not None:
            title = text_under("title", record, path, number)
        documents[document] = f"{title} {text}".strip()

    path = os.path.join(folder, "queries.jsonl")
    queries: dict[str, str] = {}
    for query, number, record in _records_by_id(path):
        if query in queries:
            raise InputError(f"{path}, line {number}: the id {query!r:.80} was there before")
        queries[query] = text_under("text", record, path, number)

    path = _judgements_path(folder, split)
    judgements: dict[str, dict[str, int]] = {}
    first_unknown, unknown = "", 0
    for number, query, document, relevance in _judgement_lines(path):
        if query not in queries:
            raise InputError(f"{path}, line {number}: no query has the id {query!r:.80}")
        if document not in documents:
            first_unknown = (
                first_unknown or f"{path}, line {number}: no document has the id {document!r:.80}"
            )
            unknown += 1
        judged = judgements.setdefault(query, {})
        if document in judged:
            pair = f"query {query!r:.80} and document {document!r:.80}"
            raise InputError(f"{path}, line {number}: {pair} were judged before")
        judged[document] = relevance
    relevant = {
        document
        for judged in judgements.values()
        for document, relevance in judged.items()
        if relevance > 0
    }
    if not relevant:
        raise InputError(f"{path}: no document is relevant to any query")
    if unknown and not relevant & documents.keys():
        raise InputError(f"{first_unknown}, nor that of any other relevant one")
    if unknown:
        what = f"{unknown} judgements are of such documents, which count as not found"
        _log_warning("%s; %s", printable(first_unknown), what)
    return RetrievalSet(
        name, documents, {query: queries[query] for query in judgements}, judgements
    )


def _log_warning(message: str, *values: object) -> None:
    with suppress(OSError, ValueError):  # a handler's stderr is closed
        logging.getLogger(__name__).warning(message, *values, stacklevel=2)


def _records_by_id(path: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Id, number of the line and content of each JSON object."""
    for number, record in json_objects(read_lines(path), path):
        if type(record.get("_id")) is int:
            record["_id"] = str(record["_id"])
        name = text_under("_id", record, path, number)
        if "\0" in name:  # the library would take it as the end
            raise InputError(f"{path}, line {number}: a NUL in the id {name!r:.80}")
        yield name, number, record


def _judgements_path(folder: str, split: str | None) -> str:
    place = os.path.join(folder, "qrels")
    names = sorted(name for name in os.listdir(place) if name.endswith(".tsv"))
    splits = [name.removesuffix(".tsv") for name in names]
    if split is None and (len(splits) == 1 or "test" in splits):
        split = "test" if "test" in splits else splits[0]
    if split is None or split not in splits:
        problem = "which split?" if split is None and splits else f"no {split or 'test'}.tsv"
        found = ", ".join(names) or "no .tsv file"
        raise InputError(f"{place}: {problem} (it holds {found})")
    return os.path.join(place, f"{split}.tsv")


def _judgement_lines(path: str) -> Iterator[tuple[int, str, str, int]]:
    """Number of the line, query, document and relevance."""
    columns: list[str] = []
    wanted = ("query-id", "corpus-id", "score")
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split("\t")
        if not columns:
            columns = fields
            if not set(wanted) <= set(columns):
                expected, found = ", ".join(wanted), ", ".join(map(repr, columns))
                problem = f"expected columns {expected}, found {found:.200}"
                raise InputError(f"{path}, line {number}: {problem}")
            continue
        if not line.strip():
            continue
        _check_columns(path, number, fields, len(columns))
        query, document, score = (fields[columns.index(name)] for name in wanted)
        relevance = _read_number(int, score)
        if relevance is None or abs(relevance) > MAX_RELEVANCE:
            raise InputError(
                f"{path}, line {number}: the score {score!r:.80} is no integer between"
                f" {-MAX_RELEVANCE} and {MAX_RELEVANCE}"
            )
        yield number, query, document, relevance


def _check_columns(path: str, number: int, fields: Sequence[str], count: int) -> None:
    if len(fields) != count:
        problem = f"expected {count} columns, found {len(fields)}"
        raise InputError(f"{path}, line {number}: {problem}")


def read_pair_set(path: str, *, name: str) -> PairSet:
    """Read a file of scored pairs of sentences.

    A file of JSON lines by its name, or a table of columns divided by tabs (in which quotes mean
    nothing) if there is one in its first line, else by commas. The columns are known by their
    names, those of one of `PAIR_COLUMNS`; without names there are three, the score being the first
    or the last, or those of STSbenchmark. A pair without score is passed over.

    Args:
        path: the file.
        name: what the set is to be called.

    Raises:
        OSError: the file is missing or cannot be read.
        InputKindError: it is of another kind.
        InputError: a line is not what it must be (names it); there are fewer than two scores, or
            all are equal.
    """
    check_input(path, may_be_table=True)
    if is_json_lines(path):
        pairs = list(_json_pairs(path))
    else:
        pairs = list(_table_pairs(path))
    if len({score for _, _, score in pairs}) < 2:
        raise InputError(
            f"{path}: {len(pairs)} scored pairs, no two of which differ in their score"
        )
    left, right, scores = map(list, zip(*pairs, strict=True))
    return PairSet(name, left, right, scores)


Pair = tuple[str, str, float]
Number = TypeVar("Number", int, float)


def _json_pairs(path: str) -> Iterator[Pair]:
    for number, record in json_objects(read_lines(path), path):
        names = next((names for names in PAIR_COLUMNS if set(names) <= set(record)), None)
        if names is None:
            expected = ", ".join(PAIR_COLUMNS[0])
            found = ", ".join(map(repr, record)) or "nothing"
            raise InputError(f"{path}, line {number}: expected keys {expected}, found {found:.200}")
        left, right = (text_under(name, record, path, number) for name in names[:2])
        score = record[names[2]]
        if score is None:
            continue
        if type(score) not in (int, float) or not math.isfinite(score):
            raise InputError(f"{path}, line {number}: the score {score!r:.80} is no number")
        yield left, right, float(score)


def _table_pairs(path: str) -> Iterator[Pair]:
    rows = list(_table_rows(path))
    if not rows:
        return
    header = rows[0][1]
    names = next((names for names in PAIR_COLUMNS if set(names) <= set(header)), None)
    if names is not None:
        columns = [header.index(name) for name in names]
        del rows[0]
    elif len(header) >= BENCHMARK_COLUMNS:
        columns = [5, 6, 4]
    elif len(header) == 3:
        columns = _three_columns(path, rows)
    else:
        raise InputError(
            f"{path}, line {rows[0][0]}: {len(header)} columns, expected 3, {BENCHMARK_COLUMNS} or"
            f" more, or names ({', '.join(PAIR_COLUMNS[0])})"
        )
    for number, fields in rows:
        if names is None and len(header) >= BENCHMARK_COLUMNS:
            if len(fields) < BENCHMARK_COLUMNS:
                _check_columns(path, number, fields, BENCHMARK_COLUMNS)
        else:
            _check_columns(path, number, fields, len(header))
        left, right, score = (fields[column] for column in columns)
        if not score.strip():
            continue
        value = _number(score)
        if value is None:
            raise InputError(f"{path}, line {number}: the score {score!r:.80} is no number")
        yield left, right, value


def _table_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the (last) line and fields of each row that is not blank."""
    lines = read_lines(path)
    first = next(lines, "")
    if "\t" in first:
        for number, line in enumerate((first, *lines), 1):
            if line.strip():
                yield number, line.split("\t")
        return

    def with_ends() -> Iterator[str]:  # a quoted field may go on in the next line
        yield first + "\n"
        for line in lines:
            yield line + "\n"

    reader = csv.reader(with_ends(), strict=True)
    try:
        for fields in reader:
            if fields:
                yield reader.line_num, fields
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}") from None


def _three_columns(path: str, rows: Sequence[tuple[int, list[str]]]) -> list[int]:
    """Places of two sentences and their score, which is the only number of the outer two."""
    for _, fields in rows:
        first, last = _number(fields[0]) is not None, _number(fields[-1]) is not None
        if first != last:
            return [1, 2, 0] if first else [0, 1, 2]
    raise InputError(f"{path}: neither the first nor the last of 3 columns holds scores")


def _number(field: str) -> float | None:
    value = _read_number(float, field)
    return value if value is not None and math.isfinite(value) else None


def _read_number(kind: Callable[[str], Number], field: str) -> Number | None:
    if "_" in field:  # in a number it is Python's only
        return None
    try:
        return kind(field)
    except ValueError:
        return None


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
        data: what to measure it on.
        truncate_dims: keep the first so many dims, each in turn; None means those of the encoder.
            In float32 texts are embedded once: a vector of fewer dims is the prefix of one of more.
        precisions: what numbers of vectors are kept in, each in turn.
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
    kinds = [_Kind(dims, checked_precision(name)) for dims in sizes for name in precisions]
    for kind in kinds:
        if has_ranges(kind.precision):  # better said before any work
            stored_ranges(encoder.ranges, ranges_needed(encoder, kind.dims))
    if isinstance(data, RetrievalSet):
        measured = _retrieval(encoder, data, kinds, skip_identical_ids)
    else:
        measured = _pairs(encoder, data, kinds)
    return list(measured)


def ranges_needed(encoder: Encoder, dims: int) -> RangesOf:
    """Which ranges int8 and uint8 take here: those of vectors as they are compared."""
    return RangesOf(encoder.similarity_fn_name == "cosine", dims)


@in_default_float_environment
def fit_ranges(
    encoder: Encoder, data: RetrievalSet | PairSet, truncate_dims: Sequence[int]
) -> None:
    """Fit the encoder's ranges to what a set searches or compares, as `evaluate` embeds it.

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


class _Kind(NamedTuple):
    """What vectors are kept in."""

    dims: int
    precision: Precision


def _retrieval(
    encoder: Encoder, data: RetrievalSet, kinds: Sequence[_Kind], skip_identical_ids: bool
) -> Iterator[Result]:
    import ir_measures

    wanted = {name: ir_measures.parse_measure(text) for name, text in RETRIEVAL_MEASURES.items()}
    evaluator = ir_measures.evaluator(list(wanted.values()), data.judgements)
    documents = sorted(data.documents)
    corpus = [data.documents[document] for document in documents]
    counts = {"documents": len(documents), "queries": len(data.queries)}
    for kind, document_vectors, query_vectors in zip(
        kinds,
        _vectors(encoder.encode_document, corpus, kinds, encoder.similarity_fn_name),
        _vectors(
            encoder.encode_query, list(data.queries.values()), kinds, encoder.similarity_fn_name
        ),
        strict=True,
    ):
        run: dict[str, dict[str, float]] = {query: {} for query in data.queries}
        # Of equally similar documents `ir-measures` puts the one with the greatest id first, as
        # trec_eval does, but for the reciprocal rank the one with the least, as MS MARCO does. It
        # gets what either may rank; what one of them adds stands behind what the other ranks.
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
        yield Result(data.name, "retrieval", *kind, counts, measures)


def _pairs(encoder: Encoder, data: PairSet, kinds: Sequence[_Kind]) -> Iterator[Result]:
    from scipy import stats

    counts = {"pairs": len(data.scores)}
    for kind, left, right in zip(
        kinds,
        _vectors(encoder.encode, data.left, kinds, encoder.similarity_fn_name),
        _vectors(encoder.encode, data.right, kinds, encoder.similarity_fn_name),
        strict=True,
    ):
        similarities = np.asarray(similarity_pairwise(left, right, encoder.similarity_fn_name))
        if (similarities == similarities[0]).all():
            raise ValueError(f"{data.name}: all similarities are equal, no correlation is defined")
        measures = {
            "spearman": float(stats.spearmanr(similarities, data.scores)[0]),
            "pearson": float(stats.pearsonr(similarities, data.scores)[0]),
        }
        yield Result(data.name, "sts", *kind, counts, measures)


def _vectors(
    encode: Callable[..., NDArray[Any]],
    texts: Sequence[str],
    kinds: Sequence[_Kind],
    similarity: SimilarityName,
) -> Iterator[FloatArray]:
    """The vectors of each kind, as float32 [texts, dims]."""
    sizes = [kind.dims for kind in kinds if kind.precision == "float32"]
    vectors = None
    if sizes:  # of fewer dims they are prefixes
        vectors = encode(texts, truncate_dim=max(sizes), show_progress_bar=False)
    for dims, precision in kinds:
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
        yield numbers(codes, precision, dims)


def means(results: Sequence[Result]) -> list[Result]:
    """Mean of each measure over the sets, for each task, number of dims and precision.

    >>> sts = {"task": "sts", "dims": 64, "precision": "float32", "sizes": {"pairs": 9}}
    >>> a, b = ({"spearman": value, "pearson": value} for value in (0.25, 0.75))
    >>> means([Result("a", measures=a, **sts), Result("b", measures=b, **sts)])[0].measures
    {'spearman': 0.5, 'pearson': 0.5}
    """
    groups: dict[tuple[str, int, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.task, result.dims, result.precision), []).append(result)
    return [
        members[0]._replace(
            data="mean",
            sizes={"sets": len(members)},
            measures={
                name: math.fsum(member.measures[name] for member in members) / len(members)
                for name in members[0].measures
            },
        )
        for members in groups.values()
    ]


def as_table(results: Sequence[Result]) -> str:
    """The results and, of several sets, their means, a line each, tasks apart."""
    tables = []
    for task in ("retrieval", "sts"):
        lines = [result for result in results if result.task == task]
        if len({result.data for result in lines}) > 1:
            lines += means(lines)
        if lines:
            tables.append(_aligned([_header(lines[0]), *map(_row, lines)]))
    return "\n\n".join(tables)


def _header(result: Result) -> list[str]:
    short = {"accuracy": "acc", "precision": "P", "recall": "R", "ndcg": "nDCG"}
    labels = []
    for name in result.measures:
        measure, at, k = name.partition("@")
        labels.append(short.get(measure, measure.upper() if at else measure) + at + k)
    return ["data", "dims", "precision", *labels]


def _row(result: Result) -> list[str]:
    numbers = [f"{value:.4f}" for value in result.measures.values()]
    return [printable(result.data), str(result.dims), result.precision, *numbers]


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines, the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def as_json(model: str, similarity: str, results: Sequence[Result]) -> dict[str, Any]:
    """The results, and their means over the sets, as what JSON is made of."""

    def flat(result: Result) -> dict[str, Any]:
        content = result._asdict()
        sizes, measures = content.pop("sizes"), content.pop("measures")
        return {**content, **sizes, "measures": measures}

    return {
        "model": model,
        "similarity": similarity,
        "results": [flat(result) for result in results],
        "means": [flat(result) for result in means(results)],
    }
