"""A set in BEIR's layout, files of pairs, and a model to evaluate."""

from __future__ import annotations

import importlib.util
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tiny_models import write_model

from nibblevec import evaluation
from nibblevec._cli import main

JsonObject = dict[str, Any]


def needs_libraries(test: Any) -> Any:
    """Elsewhere the extra test brings `ir-measures`, and tests fail without it."""
    skip = pytest.mark.skipif(
        platform.machine() == "aarch64" and importlib.util.find_spec("ir_measures") is None,
        reason="pytrec-eval-terrier has no wheel for Linux on ARM",
    )
    return pytest.mark.foreign(skip(test))


@pytest.fixture(name="model", scope="module")
def model_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("evaluation") / "model")


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


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["eval", *map(str, arguments)])


def assert_fails(result: Result, code: int, message: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


@pytest.fixture
def _libraries_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with files is found before they are needed."""
    monkeypatch.setattr(evaluation, "check_installed", lambda: None)
