"""Models to convert, and what tests compare of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tables import random_table
from tiny_models import VOCABULARY, head_vectors, tokenizer_content

from nibblevec import Table
from nibblevec._cli import main
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.saving import save_model
from nibblevec._layouts.tokenizers import load_tokenizer_of
from nibblevec._model import DynamicTanh, Model, TokenizerJson
from nibblevec._token_rules import TokenRules, Truncation
from nibblevec._vectors import write_floats

DIM = 256
ROWS = len(VOCABULARY)
TEXTS = ["A cup of hot tea.", "the stock market fell", "", "unable, walking: 12 caf\u00e9s", "tea"]

posix_only = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


def tokenizer(**changes: Any) -> TokenizerJson:
    content = json.dumps({**tokenizer_content(), **changes}).encode()
    return TokenizerJson("somewhere", content)


def sse_model(row_format: str = "float32", dim: int = DIM, **fields: Any) -> Model:
    content, _ = random_table(row_format, ROWS, dim, np.random.default_rng(dim))
    table = Table.from_buffer(content, dim=dim, format=row_format)  # type: ignore[arg-type]
    return Model("test", table, tokenizer(), DynamicTanh(*head_vectors(dim).values()), **fields)


def plain_model(row_format: str = "float32", **fields: Any) -> Model:
    return sse_model(row_format)._replace(dynamic_tanh=None, **fields)


MODEL2VEC_RULES = TokenRules(Truncation(5), cuts_characters=True, drops_unknown=True)
MAPPING = np.random.default_rng(3).integers(0, ROWS, ROWS).astype(np.uint32)

SETTINGS: dict[str, Any] = {
    "prompts": {"query": "tea: ", "caf\u00e9": ""},
    "default_prompt_name": "query",
    "similarity_fn_name": "dot",
    "truncate_dim": 100,
}


def said_to_grow() -> Any:
    return pytest.warns(UserWarning, match=r"[0-9]+ bytes of \w+ become [0-9]+ bytes of float")


def vectors_of(model: Model) -> Any:
    tokens = load_tokenizer_of(model)
    out = np.empty((len(TEXTS), model.table.dim), np.float32)
    write_floats(model, tokens, tuple(TEXTS), tokens.truncation, out, normalize=False)
    return out


def written(model: Model, path: Path, layout: str, row_format: str | None = None) -> Model:
    save_model(model, str(path), layout, row_format)
    return load_model(path)


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def convert(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["convert", *arguments])


def lines_of(result: Result) -> dict[str, str]:
    assert result.exit_code == 0, result.output
    pairs = (line.split(":", 1) for line in result.output.splitlines())
    return {name: value.strip() for name, value in pairs}


@pytest.fixture(name="source")
def source_fixture() -> str:
    save_model(sse_model(**SETTINGS), "source", "sse")
    return "source"
