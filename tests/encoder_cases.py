"""The model and the texts of tests of Encoder."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tiny_models import VOCABULARY, write_model

from nibblevec import Encoder

DIM = 30

ODD_TEXTS = [
    "",
    " \t\n",
    "\x00",
    "tea\x00cup",
    "[CLS]",
    "[CLS] tea [SEP]",
    "[cls] tea",
    "a[UNK]b",
    "[PAD][PAD]",
    "\U0001f600",
    "tea \U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 cup",
    "caf\u00e9",
    "cafe\u0301",
    "TEA",
    "\u4e2d\u6587tea",
    "\ufeffthe cup",
    "\u00ad\u200b\u2028",
    "\x7f\x01\x85",
    "b" * 100,
    "b" * 101,
    "b" * 200,
    "unable, playing!",
    "zzz",
    "'-'",
    "tea" * 3,
    "\ufffd\uffff\U0010ffff",
]


@pytest.fixture(name="folder", scope="module")
def folder_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("encoder") / "model", dim=DIM)


@pytest.fixture(name="encoder")
def encoder_fixture(folder: Path) -> Encoder:
    return Encoder(folder)


def many_texts(count: int, seed: int = 1) -> list[str]:
    words = [*VOCABULARY[5:], "zebra", "walking", "played", "[SEP]"]
    chooser = random.Random(seed)
    return [" ".join(chooser.choices(words, k=chooser.randrange(12))) for _ in range(count)]
