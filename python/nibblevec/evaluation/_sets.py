"""Sets that a model is measured on: folders in BEIR's layout, files of scored pairs."""

from __future__ import annotations

import csv
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from nibblevec._io.errors import InputError
from nibblevec._io.file_kinds import is_json_lines
from nibblevec._io.json_lines import json_objects, text_under
from nibblevec._io.lines import read_lines
from nibblevec._io.refusals import check_input
from nibblevec._printing import printable

# `ir-measures` counts the documents of every grade up to the highest.
MAX_RELEVANCE = 10_000

# Names of the columns of scored pairs: two sentences and a score.
PAIR_COLUMNS = (
    ("sentence1", "sentence2", "score"),
    ("sentence1", "sentence2", "similarity_score"),
    ("sentence1", "sentence2", "label"),
    ("sentence_A", "sentence_B", "relatedness_score"),
)

# STSbenchmark has no names of columns, but at least these: genre, file, year, number, score,
# sentence, sentence.
BENCHMARK_COLUMNS = 7


class RetrievalSet(NamedTuple):
    """Documents, queries, and which document is relevant to which query.

    Attributes:
        name: of the set.
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
    """Pairs of sentences, with scores of their similarity that people gave.

    Attributes:
        name: of the set.
        left: the first sentence of each pair.
        right: the second one.
        scores: their similarity, on any scale.
    """

    name: str
    left: list[str]
    right: list[str]
    scores: list[float]


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
    As in BEIR's own reader and measures, the last document of an id is taken, and judgements of
    missing documents count as not found (ArguAna has some); both with a warning in the log.

    Args:
        folder: that holds these files.
        split: ``qrels/SPLIT.tsv`` is read; None means ``test``, or the only one.
        name: of the set.

    Raises:
        OSError: a file is missing or cannot be read.
        InputError: there is no such split, or one must be chosen; a line is not as described, a
            query's id or a judgement appears twice, a query's id is unknown (names file and
            line); nothing in the corpus is relevant.
    """
    documents: dict[str, str] = {}
    path = os.path.join(folder, "corpus.jsonl")
    for document, number, record in _records_by_id(path):
        if document in documents:
            problem = f"the id {document!r:.80} was there before, this document takes its place"
            _log_warning("%s, line %d: %s", printable(path), number, problem)
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
        effect = f"{unknown} judgements are of such documents, which count as not found"
        _log_warning("%s; %s", printable(first_unknown), effect)
    return RetrievalSet(
        name, documents, {query: queries[query] for query in judgements}, judgements
    )


def _log_warning(message: str, *values: object) -> None:
    with suppress(OSError, ValueError):  # a handler's stderr is closed
        logging.getLogger("nibblevec.evaluation").warning(message, *values, stacklevel=2)


def _records_by_id(path: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Id, number of the line and content of each JSON object."""
    for number, record in json_objects(read_lines(path), path):
        if type(record.get("_id")) is int:
            record["_id"] = str(record["_id"])
        name = text_under("_id", record, path, number)
        if "\0" in name:  # `ir-measures` would take it as the end
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
        name: of the set.

    Raises:
        OSError: the file is missing or cannot be read.
        InputKindError: it is of another kind.
        InputError: a line is not as described (names it); there are fewer than two scores, or
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


def _read_number(number_type: Callable[[str], Number], field: str) -> Number | None:
    if "_" in field:  # in a number it is Python's only
        return None
    try:
        return number_type(field)
    except ValueError:
        return None
