"""The files of evaluation: folders in BEIR's layout, files of scored pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluation_cases import (
    CORPUS,
    GOOD_PAIRS,
    JUDGEMENTS,
    QUERIES,
    JsonObject,
    _libraries_not_asked_for,  # noqa: F401
    assert_fails,
    json_lines,
    judgement_lines,
    model_fixture,  # noqa: F401
    needs_libraries,
    run,
    write_folder,
)

from nibblevec import Encoder
from nibblevec.evaluation import (
    InputError,
    PairSet,
    RetrievalSet,
    evaluate,
    read_pair_set,
    read_retrieval_set,
    read_set,
)

# Folders in BEIR's layout


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


# Files that are refused


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
