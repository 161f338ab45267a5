"""Texts and tokenizers for tests of ids."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from compare_tokenizers import MARKS, ODDITIES, SCRIPTS
from hypothesis import strategies as st
from tiny_models import TOKENIZER, JsonObject
from tokenizer_pairs import NORMALIZERS, Pair, content_with

from nibblevec._bundled import BUNDLED_MODEL

PIECE_CHARACTERS = 1 << 15  # longer texts are read in pieces of this length


def bundled_content() -> JsonObject:
    content: JsonObject = json.loads(Path(BUNDLED_MODEL, TOKENIZER).read_bytes())
    return content


@pytest.fixture(name="bundled", scope="module")
def bundled_fixture() -> Pair:
    return Pair(bundled_content())


ASSIGNED = [
    chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Co", "Cs")
]


def spelling(normalizer: JsonObject) -> Pair:
    return Pair(
        content_with(["[UNK]", *ASSIGNED], normalizer=normalizer, continuing_subword_prefix="")
    )


@pytest.fixture(name="spelling_uncased", scope="module")
def spelling_uncased_fixture() -> Pair:
    return spelling(NORMALIZERS[0])


CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from([*map(chr, MARKS), *ODDITIES]),
    st.sampled_from(SCRIPTS).flatmap(lambda script: st.integers(script[0], script[1] - 1).map(chr)),
)
PARTS = st.one_of(
    CHARACTERS,
    st.sampled_from(["tea", "Tea", "unable", "##able", "[MASK]", "[MASK", "[[CLS]", "[UNK]", "é"]),
    st.builds(lambda part, times: part * times, CHARACTERS, st.integers(1, 140)),
)
TEXTS = st.lists(PARTS, max_size=20).map("".join)
