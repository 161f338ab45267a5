"""The command `nibblevec eval`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from evaluation_cases import (
    GOOD_PAIRS,
    JUDGEMENTS,
    QUERIES,
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
from nibblevec.evaluation import RETRIEVAL_MEASURES, evaluate, fit_ranges, means, read_set


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
