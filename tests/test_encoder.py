"""`Encoder`: the vectors that `encode` and `similarity` give, and the options."""

from __future__ import annotations

import json
import logging
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import bits
from encoder_cases import (
    DIM,
    ODD_TEXTS,
    encoder_fixture,  # noqa: F401
    folder_fixture,  # noqa: F401
    many_texts,
)
from numpy.typing import NDArray
from tiny_models import TOKENIZER, published_vectors, tokenizer_content, write_model

from nibblevec import Encoder, _vectors
from nibblevec._bundled import BUNDLED_MODEL
from nibblevec._tokenization.package import PackageTokenizer
from nibblevec._vectors import BLOCK_TEXTS

# What comes out


@pytest.mark.parametrize("dims", [None, 1, 2, 15, 16, 29])
@pytest.mark.parametrize("normalize", [False, True])
def test_equals_the_published_formula(
    encoder: Encoder, folder: Path, dims: int | None, normalize: bool
) -> None:
    texts = ODD_TEXTS + many_texts(200)
    expected = published_vectors(folder, texts, dims=dims, normalize=normalize)
    vectors = encoder.encode(texts, truncate_dim=dims, normalize_embeddings=normalize)
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dim", [2, 14, 62, 64, 514])
def test_equals_the_published_formula_in_other_widths(tmp_path: Path, dim: int) -> None:
    folder = write_model(tmp_path / "model", dim=dim, seed=dim)
    expected = published_vectors(folder, ODD_TEXTS)
    np.testing.assert_allclose(Encoder(folder).encode(ODD_TEXTS), expected, rtol=0, atol=1e-6)


def test_bundled_model_equals_the_published_formula() -> None:
    texts = [
        "Tea is a hot drink.",
        "\u4e2d\u6587 caf\u00e9 \U0001f600 [SEP] uncharacteristically",
        "",
    ]
    expected = published_vectors(Path(BUNDLED_MODEL), texts, normalize=True)
    vectors = Encoder().encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-6)


def test_padding_is_ignored_and_truncation_is_not(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", dim=DIM)
    content = tokenizer_content()
    content["padding"] = {
        "strategy": {"Fixed": 20},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    content["truncation"] = {
        "direction": "Right",
        "max_length": 3,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    plain = Encoder(write_model(tmp_path / "plain", dim=DIM))
    (folder / TOKENIZER).write_text(json.dumps(content))
    vectors = Encoder(folder).encode(["tea", "a cup of tea", ""])
    assert np.array_equal(bits(vectors), bits(plain.encode(["tea", "a cup of", ""])))


def test_text_of_megabytes(encoder: Encoder, folder: Path) -> None:
    texts = ["tea", "the stock market fell, a cup of tea! " * 60_000, "cup"]
    vectors = encoder.encode(texts)
    np.testing.assert_allclose(vectors, published_vectors(folder, texts), rtol=0, atol=1e-6)
    assert np.array_equal(bits(vectors[::2]), bits(encoder.encode(["tea", "cup"])))


def test_word_of_a_megabyte_is_one_unknown_token(encoder: Encoder) -> None:
    assert np.array_equal(bits(encoder.encode("b" * 1_000_000)), bits(encoder.encode("[UNK]")))


def test_bits_do_not_depend_on_the_batch(encoder: Encoder) -> None:
    texts = ODD_TEXTS + many_texts(2 * BLOCK_TEXTS + 77)
    vectors = encoder.encode(texts, normalize_embeddings=True)
    assert not np.array_equal(vectors[-1], vectors[-2])
    for row in [*range(len(ODD_TEXTS)), BLOCK_TEXTS - 1, BLOCK_TEXTS, len(texts) - 1]:
        alone = encoder.encode([texts[row]], normalize_embeddings=True)[0]
        assert np.array_equal(bits(alone), bits(vectors[row])), row
    backwards = encoder.encode(texts[::-1], normalize_embeddings=True)[::-1]
    assert np.array_equal(bits(backwards), bits(vectors))


def test_package_gets_blocks_of_few_characters(
    folder: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["tea " * 15, "cup", "tea " * 15, "drink", "tea " * 15, "the"]
    content = (folder / TOKENIZER).read_bytes()
    package = PackageTokenizer(content, str(folder / TOKENIZER), "asked for")
    blocks = []
    encode_batch = PackageTokenizer.encode_batch

    def counted(
        tokenizer: PackageTokenizer, block: tuple[str, ...], *args: Any, **options: Any
    ) -> Any:
        blocks.append(len(block))
        return encode_batch(tokenizer, block, *args, **options)

    monkeypatch.setattr(PackageTokenizer, "encode_batch", counted)
    monkeypatch.setattr(_vectors, "PACKAGE_BLOCK_CHARACTERS", 100)
    expected = encoder.encode(texts)
    monkeypatch.setattr(encoder, "_tokenizer", package)
    vectors = encoder.encode(texts)
    assert blocks == [3, 3]
    assert np.array_equal(bits(vectors), bits(expected))


def test_bits_do_not_depend_on_threads(folder: Path) -> None:
    # Enough work for threads to start.
    texts = [" ".join(many_texts(20, seed)) for seed in range(1200)]
    expected = Encoder(folder, threads=1).encode(texts)
    for threads in (2, 7, np.int64(3)):
        assert np.array_equal(bits(Encoder(folder).encode(texts, threads=threads)), bits(expected))
    assert np.array_equal(bits(Encoder(folder, threads=4).encode(texts)), bits(expected))


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads(folder: Path, encoder: Encoder, threads: int) -> None:
    with pytest.raises(ValueError, match=f"threads must be at least 1, not {threads}"):
        encoder.encode(["tea"], threads=threads)
    with pytest.raises(ValueError, match=f"threads must be at least 1, not {threads}"):
        Encoder(folder, threads=threads)


def test_threads_from_the_environment(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIBBLEVEC_NUM_THREADS", "2")
    assert encoder.encode(["tea"]).shape == (1, DIM)
    for bad in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("NIBBLEVEC_NUM_THREADS", bad)
        with pytest.raises(ValueError, match="NIBBLEVEC_NUM_THREADS must be a whole number"):
            encoder.encode(["tea"])


@pytest.mark.parametrize("dims", [*range(1, 19), 29, DIM, np.int16(5), True])
def test_truncation_is_a_prefix(folder: Path, encoder: Encoder, dims: Any) -> None:
    texts = ODD_TEXTS + many_texts(40)
    full = encoder.encode(texts)
    truncated = encoder.encode(texts, truncate_dim=dims)
    assert truncated.shape == (len(texts), int(dims))
    assert np.array_equal(bits(truncated), bits(full[:, : int(dims)]))
    assert np.array_equal(bits(Encoder(folder, truncate_dim=dims).encode(texts)), bits(truncated))


@pytest.mark.parametrize("dims", [0, DIM + 1, -1, 1 << 70])
def test_truncation_outside_of_the_model(folder: Path, encoder: Encoder, dims: int) -> None:
    message = rf"truncate_dim {dims} is not in 1\.\.{DIM}"
    with pytest.raises(ValueError, match=message):
        encoder.encode(["tea"], truncate_dim=dims)
    with pytest.raises(ValueError, match=message):
        Encoder(folder, truncate_dim=dims)


@pytest.mark.parametrize("option", ["truncate_dim", "batch_size", "threads"])
@pytest.mark.parametrize("value", [1.0, "1", float("nan")])
def test_option_that_is_no_whole_number(encoder: Encoder, option: str, value: Any) -> None:
    with pytest.raises(TypeError, match="integer"):
        encoder.encode(["tea"], **{option: value})


def test_truncation_of_the_call_wins(folder: Path) -> None:
    encoder = Encoder(folder, truncate_dim=8)
    assert encoder.get_embedding_dimension() == 8
    assert encoder.encode("tea").shape == (8,)
    assert encoder.encode("tea", truncate_dim=20).shape == (20,)
    assert encoder.encode("tea").shape == (8,)


def test_embedding_dimension(encoder: Encoder) -> None:
    assert encoder.get_embedding_dimension() == DIM
    assert Encoder().get_embedding_dimension() == 512
    assert "truncate_dim=30" in repr(encoder)


@pytest.mark.parametrize("dims", [1, 17, DIM])
def test_normalized_after_truncation(encoder: Encoder, dims: int) -> None:
    vectors = encoder.encode(many_texts(60), truncate_dim=dims, normalize_embeddings=True)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    plain = encoder.encode(many_texts(60), truncate_dim=dims)
    lengths = np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, plain / lengths, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 32, 10**9, np.int32(5)])
def test_batch_size_changes_nothing(encoder: Encoder, batch_size: Any) -> None:
    texts = many_texts(100)
    vectors = encoder.encode(texts, batch_size=batch_size, show_progress_bar=True)
    assert np.array_equal(bits(vectors), bits(encoder.encode(texts)))


@pytest.mark.parametrize("batch_size", [0, -3])
def test_batch_size_below_one(encoder: Encoder, batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, not {batch_size}"):
        encoder.encode(["tea"], batch_size=batch_size)


def test_progress_bar(encoder: Encoder, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["tea"] * (BLOCK_TEXTS + 6)
    encoder.encode(texts, show_progress_bar=False)
    encoder.encode(texts)
    assert capsys.readouterr() == ("", "")
    encoder.encode(texts, show_progress_bar=True, batch_size=10)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Batches: 100%" in shown.err
    batches = -(-len(texts) // 10)
    assert f"{batches}/{batches}" in shown.err
    encoder.encode([], show_progress_bar=True)
    assert capsys.readouterr().out == ""


def test_progress_bar_follows_the_log(
    encoder: Encoder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("nibblevec")
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.manager._clear_cache()  # type: ignore[attr-defined]
    try:
        encoder.encode(["tea"])
        assert "Batches: 100%" in capsys.readouterr().err
        encoder.encode(["tea"], show_progress_bar=False)
        assert capsys.readouterr().err == ""
    finally:
        logger.manager._clear_cache()  # type: ignore[attr-defined]


# out=


def test_out_is_written_and_returned(encoder: Encoder, tmp_path: Path) -> None:
    texts = many_texts(BLOCK_TEXTS + 50)
    expected = encoder.encode(texts)
    out = np.full(expected.shape, np.nan, np.float32)
    assert encoder.encode(texts, out=out) is out
    assert np.array_equal(bits(out), bits(expected))

    mapped = np.memmap(tmp_path / "vectors", np.float32, "w+", shape=expected.shape)
    assert encoder.encode(texts, out=mapped) is mapped
    mapped.flush()
    stored = np.fromfile(tmp_path / "vectors", np.float32).reshape(expected.shape)
    assert np.array_equal(bits(stored), bits(expected))


def test_out_of_one_text(encoder: Encoder) -> None:
    out = np.full(DIM, np.nan, np.float32)
    assert encoder.encode("tea", out=out) is out
    assert np.array_equal(bits(out), bits(encoder.encode("tea")))
    with pytest.raises(ValueError, match=r"out is float32 \[1, 30\], expected float32 \[30\]"):
        encoder.encode("tea", out=np.empty((1, DIM), np.float32))
    with pytest.raises(ValueError, match=r"out is float32 \[30\], expected float32 \[1, 30\]"):
        encoder.encode(["tea"], out=out)


def test_out_inside_of_an_array(encoder: Encoder) -> None:
    whole = np.full((6, DIM), np.nan, np.float32)
    encoder.encode(["tea", "cup"], out=whole[2:4])
    assert np.array_equal(bits(whole[2:4]), bits(encoder.encode(["tea", "cup"])))
    assert np.isnan(whole[:2]).all()
    assert np.isnan(whole[4:]).all()


def test_out_of_no_texts(encoder: Encoder) -> None:
    out = np.empty((0, DIM), np.float32)
    assert encoder.encode([], out=out) is out


def read_only() -> NDArray[np.float32]:
    array = np.zeros((2, DIM), np.float32)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((3, DIM), np.float32), r"out is float32 \[3, 30\], expected float32 \[2, 30\]"),
        (np.zeros((2, DIM - 1), np.float32), r"\[2, 29\], expected float32 \[2, 30\]"),
        (np.zeros(2 * DIM, np.float32), r"\[60\], expected float32 \[2, 30\]"),
        (np.zeros((2, DIM)), "out is float64"),
        (np.zeros((2, DIM), np.float16), "out is float16"),
        (np.zeros((2, DIM), ">f4"), "out is >f4"),
        (np.zeros((2, DIM), np.int32), "out is int32"),
        (np.zeros((DIM, 2), np.float32).T, "C-contiguous"),
        (np.zeros((2, 2 * DIM), np.float32)[:, ::2], "C-contiguous"),
        (np.zeros((4, DIM), np.float32)[::2], "C-contiguous"),
        (read_only(), "writeable"),
    ],
)
def test_out_that_does_not_fit(encoder: Encoder, out: Any, message: str) -> None:
    before = out.copy()
    with pytest.raises(ValueError, match=message):
        encoder.encode(["tea", "cup"], out=out)
    assert np.array_equal(out, before)


def test_out_that_is_not_aligned(encoder: Encoder) -> None:
    memory = np.zeros(8 * DIM + 4, np.uint8)
    begin = 1 if memory.ctypes.data % 4 == 0 else 0
    out = memory[begin : begin + 8 * DIM].view(np.float32).reshape(2, DIM)
    assert not out.flags.aligned
    with pytest.raises(ValueError, match="aligned"):
        encoder.encode(["tea", "cup"], out=out)


def test_out_that_is_no_array(encoder: Encoder) -> None:
    with pytest.raises(TypeError, match="out must be a NumPy array, not list"):
        encoder.encode(["tea"], out=[[0.0] * DIM])  # type: ignore[call-overload]


def test_results_are_independent(encoder: Encoder) -> None:
    first = encoder.encode(["tea"])
    copied = first.copy()
    second = encoder.encode(["cup"])
    assert not np.shares_memory(first, second)
    first[:] = 0
    assert np.array_equal(bits(encoder.encode(["tea"])), bits(copied))


# similarity


def test_similarity(encoder: Encoder) -> None:
    a = np.array([[1, 0], [3, 4], [0, 0]], np.float32)
    b = np.array([[2, 0], [0, -5]], np.float32)
    scores = encoder.similarity(a, b)
    assert isinstance(scores, np.ndarray)
    assert scores.dtype == np.float32
    expected = np.array([[1, 0], [0.6, -0.8], [0, 0]])
    np.testing.assert_allclose(scores, expected, atol=1e-7)


def test_similarity_takes_vectors_lists_and_other_types(encoder: Encoder) -> None:
    inputs: list[Any] = [[3.0, 4.0], [[3.0, 4.0]], (3.0, 4), np.array([3, 4.0], np.float16)]
    for a in inputs:
        assert float(encoder.similarity(a, [0.0, 1.0])[0, 0]) == pytest.approx(0.8)
    for a in ([3, 4], np.array([3, 4])):
        scores = encoder.similarity(a, [0, 1], precision="float32")
        assert float(scores[0, 0]) == pytest.approx(0.8)
    rows = [np.array([3, 4], np.float32), np.array([0, 1], np.float32)]
    assert encoder.similarity(rows, rows).shape == (2, 2)


def test_similarity_is_a_tensor_where_torch_is_imported(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = types.ModuleType("torch")
    torch.from_numpy = lambda array: ("tensor", array)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    kind, scores = encoder.similarity([3.0, 4.0], [0.0, 1.0])
    assert kind == "tensor"
    assert float(scores[0, 0]) == pytest.approx(0.8)


def test_similarity_of_nothing(encoder: Encoder) -> None:
    assert encoder.similarity(np.empty((0, 4)), np.ones((3, 4))).shape == (0, 3)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), "embeddings1 has 3 dims, embeddings2 has 4"),
        (np.ones(3), np.ones(1), "embeddings1 has 3 dims, embeddings2 has 1"),
        (np.ones((1, 1, 3)), np.ones(3), "embeddings1 must have one or two dimensions, not 3"),
        (np.ones(3), np.float32(1), "embeddings2 must have one or two dimensions, not 0"),
    ],
)
def test_similarity_of_what_does_not_fit(encoder: Encoder, a: Any, b: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encoder.similarity(a, b)


def test_texts_without_tokens_are_as_the_page_about_the_model_says() -> None:
    model = Encoder()
    texts = ["", " ", "\u200b", "tea", "?", "\U0001f600"]
    ids, offsets = model.tokenize(texts)
    assert len(ids) == offsets[-1]
    assert np.flatnonzero(np.diff(offsets)).tolist() == [3, 4, 5]
    vectors = model.encode(texts)
    assert vectors[1].tobytes() == vectors[2].tobytes() == vectors[0].tobytes()
    assert np.linalg.norm(vectors[0]) == pytest.approx(0.22, abs=0.005)
    units = model.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1, rtol=1e-6)
    scores = model.similarity(units[0], units[3:])[0]
    assert float(scores[1]) == pytest.approx(0.24, abs=0.005)
    assert float(scores[0]) < min(float(scores[1]), float(scores[2]))


def test_similarity_tells_tea_from_stocks() -> None:
    model = Encoder()
    vectors = model.encode(["Tea is a hot drink.", "A cup of tea.", "The stock market fell."])
    scores = model.similarity(vectors, vectors)
    np.testing.assert_allclose(np.diag(scores), 1, atol=1e-6)
    assert scores[0, 1] > scores[0, 2] + 0.2
