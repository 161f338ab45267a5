"""A good model, to be damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import VOCABULARY, JsonObject, tokenizer_content, write_model

DIM = 30
ROWS = len(VOCABULARY)


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", dim=DIM)


NOT_JSON = "not valid JSON"


def changed(change: Callable[[JsonObject], object]) -> bytes:
    content = tokenizer_content()
    change(content)
    return json.dumps(content).encode()
