"""A model, and the command `nibblevec encode` that runs within the process of the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from tiny_models import write_model

from nibblevec import Encoder
from nibblevec._cli import main

DIM = 30
TEXTS = [
    "a cup of tea",
    "",
    "caf\u00e9 \U0001f600 \u4e2d\u6587",
    'the "stock" market\\ fell',
    " tea ",
]

posix_only = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


@pytest.fixture(name="model", scope="module")
def model_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("cli") / "model", dim=DIM)


@pytest.fixture(name="encoder", scope="module")
def encoder_fixture(model: Path) -> Encoder:
    return Encoder(model)


@pytest.fixture(name="working_directory", autouse=True)
def working_directory_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # `--threads` sets it for the process, which here is that of the tests.
    monkeypatch.setenv("RAYON_NUM_THREADS", os.environ.get("RAYON_NUM_THREADS", ""))
    return tmp_path


Encode = Callable[..., Result]


@pytest.fixture(name="encode")
def encode_fixture(model: Path) -> Encode:
    def run(*arguments: str, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(main, ["encode", "--model", str(model), *arguments], input=stdin)

    return run


def write(name: str, texts: Sequence[str]) -> str:
    Path(name).write_bytes("".join(f"{text}\n" for text in texts).encode())
    return name


def write_json_lines(name: str, records: Sequence[object]) -> str:
    Path(name).write_bytes(b"".join(json.dumps(record).encode() + b"\n" for record in records))
    return name


def read_json_lines(content: bytes) -> tuple[list[str], NDArray[np.float32]]:
    records = [json.loads(line) for line in content.decode().splitlines()]
    assert all(set(record) == {"text", "embedding"} for record in records)
    texts = [record["text"] for record in records]
    return texts, np.array([record["embedding"] for record in records], np.float32)


def assert_ok(result: Result) -> None:
    assert result.exit_code == 0, result.output


def assert_fails(result: Result, code: int, *messages: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    for message in messages:
        assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(name="richer", scope="module")
def richer_fixture(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with ranges and a prompt."""
    folder = tmp_path_factory.mktemp("cli") / "richer"
    tuned = Encoder(model, prompts={"query": "hot "})
    tuned.fit_ranges(TEXTS)
    tuned.save_pretrained(folder)
    return folder


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "nibblevec", *arguments]


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    options.setdefault("stdout", subprocess.PIPE)
    # With it a failing stdout has nothing left that could fail again.
    options.setdefault("env", {**os.environ, "PYTHONUNBUFFERED": ""})
    return subprocess.run(
        command(*arguments), stderr=subprocess.PIPE, timeout=60, check=False, **options
    )
