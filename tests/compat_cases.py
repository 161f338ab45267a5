"""The model and the texts of tests of compatibility."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import write_model

from nibblevec import Encoder

DIM = 30
TEXTS = ["a cup of tea", "", "the stock market fell"]
PROMPTS = {"query": "tea is ", "passage": "the market ", "other": "un"}


@pytest.fixture(name="folder", scope="module")
def folder_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("compat") / "model", dim=DIM)


@pytest.fixture(name="encoder")
def encoder_fixture(folder: Path) -> Encoder:
    return Encoder(folder, prompts=PROMPTS)
