"""Against model2vec: what it writes, reads and computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from model2vec import StaticModel
from numpy.typing import NDArray

from compat.english_lines import mixed_texts
from nibblevec import Encoder
from nibblevec._bundled import BUNDLED_MODEL

DIM = 64
MAPPED_ROWS = 3000
TEXTS = 5000


@pytest.fixture(scope="module")
def texts(pytestconfig: pytest.Config) -> list[str]:
    texts = mixed_texts(pytestconfig.getoption("--texts"), TEXTS)
    assert len(texts) > TEXTS
    return texts


def wordpiece() -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(str(Path(BUNDLED_MODEL) / "tokenizer.json"))


def trained(model: Any, trainer: Any) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    # Few letters, so that there are others.
    tokenizer.train_from_iterator(["the mean of the rows of all the tokens", "a table"], trainer)
    return tokenizer


def bpe() -> tokenizers.Tokenizer:
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"])
    return trained(tokenizers.models.BPE(unk_token="<unk>"), trainer)


def unigram() -> tokenizers.Tokenizer:
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=60, special_tokens=["<pad>", "<unk>"], unk_token="<unk>"
    )
    return trained(tokenizers.models.Unigram(), trainer)


TOKENIZERS = {"WordPiece": wordpiece, "BPE": bpe, "Unigram": unigram}


def write(
    folder: Path,
    dtype: str,
    *,
    mapped: bool = False,
    weights_dtype: str | None = None,
    tokenizer: str = "WordPiece",
    **options: Any,
) -> Path:
    """A model as model2vec saves it, which is as one of sentence-transformers too."""
    content = TOKENIZERS[tokenizer]()
    ids = content.get_vocab_size()
    random = np.random.default_rng(1)
    vectors: NDArray[Any] = random.standard_normal((MAPPED_ROWS if mapped else ids, DIM))
    if dtype == "int8":
        vectors = np.rint(vectors * 30)
    # What a file asks for is replaced, or left out.
    content.enable_truncation(3, direction="left")
    content.enable_padding(length=20)
    StaticModel(
        vectors.astype(dtype),
        content,
        weights=None
        if weights_dtype is None
        else random.uniform(0.1, 2, ids).astype(weights_dtype),
        token_mapping=random.integers(0, MAPPED_ROWS, ids) if mapped else None,
        **options,
    ).save_pretrained(folder)
    assert (folder / "modules.json").exists()
    return folder


def assert_equal(folder: Path, texts: list[str], *, in_halves: bool = False) -> None:
    theirs = StaticModel.from_pretrained(folder).encode(texts)
    ours = Encoder(folder).encode(texts)
    if theirs.dtype == np.float16 or in_halves:
        assert np.array_equal(ours.astype(np.float16), theirs)
        return
    difference = float(np.abs(ours - theirs).max())
    print(f"{len(texts)} texts: at most {difference:.3g} apart")
    assert difference <= 1e-6


@pytest.mark.parametrize("max_length", [8, 512, None])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("weights_dtype", [None, "float16", "float32", "float64"])
@pytest.mark.parametrize("mapped", [False, True], ids=["rows", "mapping"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int8"])
def test_vectors(
    tmp_path: Path,
    texts: list[str],
    dtype: str,
    mapped: bool,
    weights_dtype: str | None,
    normalize: bool,
    max_length: int | None,
) -> None:
    folder = write(
        tmp_path,
        dtype,
        mapped=mapped,
        weights_dtype=weights_dtype,
        normalize=normalize,
        max_length=max_length,
    )
    # Means of int8 rows times float16 weights are float16 in the form of float32.
    in_halves = (dtype, weights_dtype, normalize) == ("int8", "float16", False)
    assert_equal(folder, texts, in_halves=in_halves)


@pytest.mark.parametrize("max_length", [8, 512, None])
@pytest.mark.parametrize("tokenizer", ["BPE", "Unigram"])
def test_other_tokenizers(
    tmp_path: Path, texts: list[str], tokenizer: str, max_length: int | None
) -> None:
    folder = write(
        tmp_path,
        "float32",
        mapped=True,
        weights_dtype="float32",
        tokenizer=tokenizer,
        normalize=True,
        max_length=max_length,
    )
    assert_equal(folder, texts)


@pytest.mark.parametrize("dims", [1, 8, 130, 300])
def test_other_dims(tmp_path: Path, texts: list[str], dims: int) -> None:
    """Sums of squares are added in an order that depends on how many there are."""
    tokenizer = wordpiece()
    vectors = np.random.default_rng(dims).standard_normal((tokenizer.get_vocab_size(), dims))
    for dtype in (np.float32, np.float16):
        folder = tmp_path / np.dtype(dtype).name
        model = StaticModel(vectors.astype(dtype), tokenizer, normalize=True)
        model.save_pretrained(folder)
        assert_equal(folder, texts[:1000])


def test_max_length_of_a_call(tmp_path: Path, texts: list[str]) -> None:
    folder = write(tmp_path, "float32")
    theirs = StaticModel.from_pretrained(folder).encode(texts, max_length=5)
    difference = np.abs(Encoder(folder, max_seq_length=5).encode(texts) - theirs).max()
    assert difference <= 1e-6
