"""Models to write, and what tells which of them a folder holds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from tiny_models import VOCABULARY, head_vectors, tokenizer_content

from nibblevec import Table
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.saving import save_model
from nibblevec._model import DynamicTanh, Model, TokenizerJson
from nibblevec._precision import RangesKey
from nibblevec._token_rules import TokenRules, Truncation

DIM = 8
ROWS = len(VOCABULARY)

posix_only = pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")


def a_model(layout: str, number: int) -> Model:
    """Models of one layout of which no two files are equal."""
    random = np.random.default_rng(number)
    rows = random.standard_normal((ROWS, DIM), np.float32)
    # White space is enough to tell one tokenizer from another.
    content = json.dumps(tokenizer_content()).encode() + b" " * number
    model = Model(
        "test",
        Table.from_buffer(rows, dim=DIM, format="float32"),
        TokenizerJson("somewhere", content),
        ranges={RangesKey(False, 3): np.array([[-number] * 3, [number] * 3], np.float32)},
    )
    if layout in ("sse", "sse_q4", "gguf"):
        model = model._replace(dynamic_tanh=DynamicTanh(*head_vectors(DIM, number).values()))
    if layout == "sse_q4":
        model = model._replace(table=Table.quantize(rows))
    if layout == "model2vec":
        rules = TokenRules(Truncation(number), cuts_characters=True, drops_unknown=True)
        return model._replace(token_rules=rules, normalization="model2vec")
    if layout == "static":
        model = model._replace(normalization="torch" if number % 2 else None)
    return model._replace(prompts={"query": f"{number} "})


LAYOUTS = ("sse", "sse_q4", "static", "model2vec")
PAIRS = [
    ("static", "model2vec"), ("model2vec", "static"), ("static", "static"),
    ("sse_q4", "sse"), ("sse", "static"),
]  # fmt: skip


def save(layout: str, number: int, path: Path) -> None:
    save_model(a_model(layout, number), str(path), layout.removesuffix("_q4"))


def fingerprint(model: Model) -> object:
    """All that files of a model say."""
    return (
        model.table.dequantize().tobytes(),
        model.tokenizer_json.read(),
        None if model.dynamic_tanh is None else model.dynamic_tanh.alpha.tobytes(),
        model.normalization,
        model.token_rules.truncation,
        dict(model.prompts),
        {kind: numbers.tobytes() for kind, numbers in model.ranges.items()},
    )


def fingerprints(tmp_path: Path, *models: tuple[str, int]) -> dict[object, str]:
    known: dict[object, str] = {}
    for layout, number in models:
        path = tmp_path / f"alone {layout} {number}"
        save(layout, number, path)
        known[json.dumps(repr(fingerprint(load_model(path))))] = f"{layout} {number}"
    return known


def which(known: dict[object, str], path: Path) -> str:
    """Which of the models a folder holds; an error otherwise."""
    try:
        model = load_model(path)
    except (OSError, ValueError):
        return "none"
    return known.get(json.dumps(repr(fingerprint(model))), "a mixture")
