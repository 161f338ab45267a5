"""The second computation, with which `nibblevec verify` compares: right, and it sees mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from click.testing import CliRunner, Result
from tables import FORMATS, random_table
from tiny_models import (
    TABLE,
    TOKENIZER,
    VOCABULARY,
    head_vectors,
    tokenizer_content,
    write_model,
)

import nibblevec
from nibblevec import Table, _core
from nibblevec import _verification as verification
from nibblevec._cli import main
from nibblevec._layouts.loading import load_model
from nibblevec._model import DynamicTanh, Model, TokenizerJson
from nibblevec._token_rules import TokenRules, Truncation
from nibblevec._vectors import write_floats
from nibblevec._verification import (
    BUILT_IN_TEXTS,
    Agreement,
    Difference,
    plain_head,
    plain_mean,
    plain_rows,
    verify,
)

ROWS = len(VOCABULARY)
DIM = 256
TEXTS = (*BUILT_IN_TEXTS, "tea cup of hot tea, unable " * 30)
MAPPING = np.random.default_rng(3).integers(0, ROWS, ROWS).astype(np.uint32)
WEIGHTS = np.random.default_rng(4).standard_normal(ROWS)


def a_model(row_format: str = "float32", *, has_dynamic_tanh: bool = True, **fields: Any) -> Model:
    content, _ = random_table(row_format, ROWS, DIM, np.random.default_rng(DIM))
    return Model(
        "test",
        Table.from_buffer(content, dim=DIM, format=row_format),  # type: ignore[arg-type]
        TokenizerJson("somewhere", json.dumps(tokenizer_content()).encode()),
        DynamicTanh(*head_vectors(DIM).values()) if has_dynamic_tanh else None,
        **fields,
    )


@pytest.mark.parametrize("row_format", FORMATS)
def test_rows_are_those_of_the_oracle(row_format: str) -> None:
    for dim in (DIM, 2 * DIM):
        content, rows = random_table(row_format, ROWS, dim, np.random.default_rng(dim))
        table = Table.from_buffer(content, dim=dim, format=row_format)  # type: ignore[arg-type]
        ids = np.array([3, 0, ROWS - 1, 3])
        found = plain_rows(table, ids)
        assert np.array_equal(found.view(np.uint32), rows[ids].view(np.uint32))


MODELS: dict[str, Model] = {
    **{row_format: a_model(row_format) for row_format in FORMATS},
    "mean": a_model(has_dynamic_tanh=False),
    "normalised": a_model(has_dynamic_tanh=False, normalization="torch"),
    "normalised head": a_model(normalization="torch"),
    "length": a_model(token_rules=TokenRules(Truncation(3))),
    "end": a_model(token_rules=TokenRules(Truncation(3, keep_end=True))),
    "Model2Vec": a_model(
        has_dynamic_tanh=False,
        normalization="model2vec",
        token_rules=TokenRules(Truncation(7), cuts_characters=True, drops_unknown=True),
    ),
    "Model2Vec, float16": a_model(
        "float16",
        has_dynamic_tanh=False,
        normalization="model2vec_float16",
        token_rules=TokenRules(
            Truncation(None),
            drops_unknown=True,
            row_of_id=MAPPING,
            weight_of_id=WEIGHTS.astype(np.float32),
        ),
    ),
    "float64 weights": a_model(
        has_dynamic_tanh=False, token_rules=TokenRules(weight_of_id=WEIGHTS)
    ),
    "wide sums of narrow weights": a_model(
        has_dynamic_tanh=False,
        token_rules=TokenRules(weight_of_id=WEIGHTS.astype(np.float32)),
        wide_sums=True,
    ),
    "wide": a_model(
        has_dynamic_tanh=False,
        normalization="model2vec",
        token_rules=TokenRules(row_of_id=MAPPING, weight_of_id=WEIGHTS),
        wide_sums=True,
    ),
    "wide, float16": a_model(
        "float16",
        has_dynamic_tanh=False,
        normalization="model2vec_float16",
        token_rules=TokenRules(row_of_id=MAPPING, weight_of_id=WEIGHTS),
        wide_sums=True,
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_every_kind_of_model_agrees(case: str) -> None:
    outcome = verify(MODELS[case], MODELS[case], TEXTS)
    assert isinstance(outcome, Agreement), outcome
    assert outcome.texts == len(TEXTS)
    assert outcome.tokens > 30
    assert outcome.worst <= 1


@pytest.mark.parametrize("normalization", [None, "torch", "model2vec"])
def test_rows_whose_squares_leave_float32(normalization: Any) -> None:
    """From sums that are infinite, over those near the limit, to those that are nothing."""
    rows = np.random.default_rng(5).standard_normal((ROWS, DIM))
    scales = [10.0**power for power in range(-44, 36)] + [2.0**60 * (1 + i / 8) for i in range(8)]
    for scale in scales:
        table = Table.from_buffer((rows * scale).astype(np.float32), dim=DIM, format="float32")
        model = a_model(has_dynamic_tanh=False, normalization=normalization)._replace(table=table)
        outcome = verify(model, model, TEXTS[:12])
        assert isinstance(outcome, Agreement), (scale, outcome)
        assert outcome.worst <= 1


def test_a_tokenizer_of_the_package_agrees() -> None:
    model = {
        "type": "Unigram",
        "unk_id": 0,
        "vocab": [["<unk>", 0.0], ["_", -3.0], ["t", -2.0], ["ea", -2.5], ["_tea", -1.0]],
    }
    metaspace = {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"}
    content = json.dumps({"version": "1.0", "pre_tokenizer": metaspace, "model": model}).encode()
    tokens = []
    for drops in (False, True):
        plain = a_model(token_rules=TokenRules(drops_unknown=drops))
        plain = plain._replace(tokenizer_json=TokenizerJson("somewhere", content))
        outcome = verify(plain, plain, TEXTS)
        assert isinstance(outcome, Agreement), outcome
        tokens.append(outcome.tokens)
    assert tokens[0] > tokens[1] > 0


def test_more_texts_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "BLOCK_TEXTS", 7)
    monkeypatch.setattr(verification, "BLOCK_WEIGHTS", 5 * DIM)
    model = a_model()
    outcome = verify(model, model, iter(TEXTS))
    assert isinstance(outcome, Agreement)
    assert outcome.texts == len(TEXTS)


def test_means_and_heads_are_those_of_the_oracle() -> None:
    model = a_model()
    rows = model.table.dequantize()
    ids = [5, 7, 5, 0]
    sums = reference.sum_rows(rows, np.array(ids), [0, 4])
    mean = plain_mean(model, ids)
    assert np.array_equal(mean, reference.mean(sums, np.array([4]))[0])
    assert plain_mean(model, []).tolist() == [0] * DIM
    assert model.dynamic_tanh
    vectors = (model.dynamic_tanh.alpha, model.dynamic_tanh.beta, model.dynamic_tanh.bias)
    alpha, beta, bias = vectors
    exact = beta * np.tanh((alpha * mean + bias).astype("f8"))
    for normalize in (False, True):
        expected, allowed = plain_head(model, mean[None], normalize=normalize)
        length = np.linalg.norm(exact) if normalize else 1
        np.testing.assert_allclose(expected[0], exact / length, rtol=1e-12)
        assert (allowed < 1e-6 * (np.abs(expected) + 1)).all()
        fast = reference.head(
            sums, np.array([4]), vectors=vectors, with_mean=True, with_normalize=normalize
        )
        assert (np.abs(fast - expected) <= allowed).all()


# It sees mistakes


def difference(fast: Model, plain: Model) -> Difference:
    outcome = verify(fast, plain, TEXTS)
    assert isinstance(outcome, Difference), outcome
    return outcome


@pytest.mark.parametrize("row_format", FORMATS)
def test_one_bit_of_a_row(row_format: str) -> None:
    model = a_model(row_format)
    content = bytearray(model.table.buffer)
    content[len(content) // 2] ^= 1
    other = Table.from_buffer(content, dim=DIM, format=row_format)  # type: ignore[arg-type]
    found = difference(model, model._replace(table=other))
    assert found.text_number is None
    assert found.problem.startswith("row ")
    assert "of the table, dim" in found.problem


def test_other_rows() -> None:
    model = a_model()
    fewer = Table.from_buffer(model.table.buffer[: -4 * DIM], dim=DIM, format="float32")
    found = difference(model, model._replace(table=fewer))
    assert found == Difference(None, f"{model.table!r} was loaded, {fewer!r} when loaded again")


def test_other_ids() -> None:
    model = a_model()
    content = tokenizer_content()
    vocabulary = content["model"]["vocab"]
    vocabulary["tea"], vocabulary["cup"] = vocabulary["cup"], vocabulary["tea"]
    tokenizer = TokenizerJson("somewhere", json.dumps(content).encode())
    found = difference(model, model._replace(tokenizer_json=tokenizer))
    row = BUILT_IN_TEXTS.index("tea " * 16 + "tea")
    problem = f"token 0: fast {VOCABULARY.index('tea')}, tokenizers {VOCABULARY.index('cup')}"
    assert found.text_number == row
    assert found.problem.endswith(problem)


def test_fewer_ids() -> None:
    model = a_model()
    found = difference(model, model._replace(token_rules=TokenRules(Truncation(2))))
    assert "token 2: fast " in found.problem
    assert found.problem.endswith("tokenizers none")


def test_another_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """One unit in the last place of one number of one text."""
    right = _core.encode

    def wrong(*arguments: Any, **options: Any) -> int:
        cut = right(*arguments, **options)
        out = arguments[3]
        if options["dynamic_tanh"] is None:
            out.view(np.uint32)[8, 17] += 1
        return cut

    model = a_model()
    monkeypatch.setattr(_core, "encode", wrong)
    found = difference(model, model)
    assert found.text_number == 8
    assert "the mean at dim 17: fast " in found.problem


@pytest.mark.parametrize("case", ["float32", "normalised", "Model2Vec", "wide"])
@pytest.mark.parametrize("normalize", [False, True])
def test_another_vector(case: str, normalize: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: Any, **options: Any) -> int:
        cut = write_floats(*arguments, **options)
        model, _, _, _, out = arguments
        if options["normalize"] == normalize and (model.dynamic_tanh or model.normalization):
            out[8, 17] += np.abs(out[8]).max() * 3e-5
        return cut

    monkeypatch.setattr("nibblevec._verification.write_floats", wrong)
    found = difference(MODELS[case], MODELS[case])
    assert (found.text_number, type(found.text_number)) == (8, int)
    kind = "the vector of length 1 at dim 17" if normalize else "the vector at dim 17"
    assert kind in found.problem


def test_another_head() -> None:
    model = a_model()
    own = model.dynamic_tanh
    assert own
    beta = own.beta.copy()
    beta[200] *= np.float32(1.0001)
    other = model._replace(dynamic_tanh=DynamicTanh(own.alpha, beta, own.bias))
    assert "the vector at dim 200" in difference(model, other).problem
    assert "the vector at dim 0" in difference(a_model(normalization="torch"), model).problem


# The command line


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["verify", *arguments], input=stdin)


@pytest.mark.parametrize("arguments", [[], ["bundled"]])
def test_bundled_model(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{len(BUILT_IN_TEXTS)} texts, ")


def test_given_texts(tmp_path: Path) -> None:
    folder = str(write_model(tmp_path / "model"))
    Path("a.txt").write_text("tea\n\ncup\n", encoding="utf-8")
    Path("b.jsonl").write_text('{"body": "hot"}\n', encoding="utf-8")
    result = run(folder, "a.txt", "-", "b.jsonl", "--column", "body", stdin=b"x\ny\n")
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{len(BUILT_IN_TEXTS) + 6} texts, ")
    result = run(folder, "nothing.txt")
    assert result.exit_code == 2
    Path("c.txt").write_bytes(b"tea\n\xff\n")
    result = run(folder, "c.txt")
    assert result.exit_code == 1
    assert "Error: c.txt, line 2: not UTF-8" in result.output
    result = run("./nothing")
    assert result.exit_code == 1
    assert "No such folder" in result.output


def test_a_model_that_changes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was loaded first is compared with what is there afterwards."""
    folder = write_model(tmp_path / "model")
    loads = []

    def load_and_change(*arguments: Any, **options: Any) -> Model:
        loaded = load_model(*arguments, **options)
        loads.append(loaded)
        content = bytearray((folder / TABLE).read_bytes())
        content[40] ^= 0x10
        (folder / TABLE).unlink()
        (folder / TABLE).write_bytes(content)
        return loaded

    monkeypatch.setattr("nibblevec._layouts.loading.load_model", load_and_change)
    result = run(str(folder))
    assert result.exit_code == 1
    assert "Error: the tables differ: row 2 of the table, dim 20: fast " in result.output
    assert len(loads) == 2


def test_a_kernel_that_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(write_model(tmp_path / "model"))
    Path("a.txt").write_text("cup\ntea\n", encoding="utf-8")
    right = _core.encode

    def wrong(*arguments: Any, **options: Any) -> int:
        cut = right(*arguments, **options)
        for row, text in enumerate(arguments[2]):
            if text == "tea":
                arguments[3][row, 3] *= np.float32(1.5)
        return cut

    monkeypatch.setattr(_core, "encode", wrong)
    result = run(folder, "a.txt")
    assert result.exit_code == 1
    assert "Error: row 1 of the texts: 'tea': the mean at dim 3: fast " in result.output
    monkeypatch.setattr(_core, "encode", right)
    assert run(folder, "a.txt").exit_code == 0


@pytest.mark.parametrize("isa", nibblevec.kernels())
def test_every_kernel_agrees(isa: str, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    done = subprocess.run(
        [sys.executable, "-m", "nibblevec", "verify", str(model)],
        env={**os.environ, "NIBBLEVEC_ISA": isa}, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"equal to the bit" in done.stdout


def test_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / TOKENIZER).write_text("{}")
    result = run(str(folder))
    assert result.exit_code == 1
    assert "model.vocab: missing" in result.output
