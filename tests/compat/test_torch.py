"""Against torch itself: the embedding bags, and the model as it was published."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import tokenizers
import torch
from bits import FloatArray, assert_same_bits
from numpy.typing import NDArray

import nibblevec
from compat.english_lines import english_lines
from nibblevec import Encoder, Table, _core
from nibblevec._bundled import BUNDLED_MODEL

# What the English lines hardly have.
ODD_TEXTS = ["Żółć naïve Straße", "东京 Ελλάδα", "мир हिन्दी", "emoji😀\u2019s", "a\u0301e\u2014!"]

BAG_LENGTHS = [0, 1, 2, 7, 0, 8, 9, 31, 64, 65, 300, 0]


@pytest.fixture(params=nibblevec.kernels())
def kernel(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[2, 16, 30, 64, 510, 512])
def table(request: pytest.FixtureRequest) -> Table:
    rng = np.random.default_rng(request.param)
    return Table.quantize(rng.standard_normal((1000, request.param)).astype(np.float32))


@dataclass
class Bags:
    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    weights: FloatArray


@pytest.fixture
def bags() -> Bags:
    rng = np.random.default_rng(1)
    offsets = np.concatenate([[0], np.cumsum(BAG_LENGTHS)])
    weights = rng.standard_normal(offsets[-1]).astype(np.float32)
    return Bags(rng.integers(0, 1000, offsets[-1]), offsets, weights)


def pooled(
    table: Table, bags: Bags, kernel: str, *, weighted: bool = False, mean: bool = False
) -> FloatArray:
    rows = np.empty((len(bags.offsets) - 1, table.dim), np.float32)
    weights = bags.weights if weighted else None
    _core.pool(
        table.native, bags.ids, bags.offsets, rows, weights=weights, mean=mean, kernel=kernel
    )
    return rows


def torch_pooled(weights: FloatArray, bags: Bags, mode: str) -> FloatArray:
    bag = torch.nn.EmbeddingBag.from_pretrained(
        torch.from_numpy(weights), mode=mode, include_last_offset=True
    )
    with torch.inference_mode():
        rows = bag(torch.from_numpy(bags.ids), torch.from_numpy(bags.offsets))
    return np.asarray(rows, np.float32)


def test_sum_has_the_bits_of_embedding_bag(table: Table, bags: Bags, kernel: str) -> None:
    expected = torch_pooled(table.dequantize(), bags, "sum")
    assert_same_bits(pooled(table, bags, kernel), expected)
    assert_same_bits(table.sum_rows(bags.ids, bags.offsets), expected)


def test_mean_has_the_bits_of_embedding_bag(table: Table, bags: Bags, kernel: str) -> None:
    expected = torch_pooled(table.dequantize(), bags, "mean")
    assert_same_bits(pooled(table, bags, kernel, mean=True), expected)
    assert_same_bits(table.mean_rows(bags.ids, bags.offsets), expected)


def test_weighted_sum_has_the_bits_of_embedding_bag_over_weighted_rows(
    table: Table, bags: Bags, kernel: str
) -> None:
    weighted_rows = table.dequantize(bags.ids) * bags.weights[:, None]
    each_once = Bags(np.arange(len(bags.ids)), bags.offsets, bags.weights)
    expected = torch_pooled(weighted_rows, each_once, "sum")
    assert_same_bits(pooled(table, bags, kernel, weighted=True), expected)
    summed = table.sum_rows(bags.ids, bags.offsets, per_token_weights=bags.weights)
    assert_same_bits(summed, expected)


def test_weighted_sum_is_close_to_embedding_bag(table: Table, bags: Bags) -> None:
    """torch may fuse the multiplication with the addition, so bits may differ."""
    with torch.inference_mode():
        expected = torch.nn.functional.embedding_bag(
            torch.from_numpy(bags.ids),
            torch.from_numpy(table.dequantize()),
            torch.from_numpy(bags.offsets),
            mode="sum",
            per_sample_weights=torch.from_numpy(bags.weights),
            include_last_offset=True,
        )
    actual = table.sum_rows(bags.ids, bags.offsets, per_token_weights=bags.weights)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dims", [1, 32, 100, 512])
def test_fewer_dims_are_the_bag_of_the_cut_table(bags: Bags, dims: int) -> None:
    rng = np.random.default_rng(3)
    table = Table.quantize(rng.standard_normal((1000, 512)).astype(np.float32))
    cut = np.ascontiguousarray(table.dequantize()[:, :dims])
    assert_same_bits(
        table.mean_rows(bags.ids, bags.offsets, dims=dims), torch_pooled(cut, bags, "mean")
    )


@dataclass
class Published:
    """The published computation, which expands the table to float32."""

    weights: torch.Tensor
    head: dict[str, torch.Tensor]
    tokenizer: tokenizers.Tokenizer

    @classmethod
    def load(cls, folder: Path) -> Published:
        head = safetensors.torch.load_file(folder / "model_rest.safetensors")
        half_dim = len(head["dyt.alpha"]) // 2
        data = np.fromfile(folder / "embedding.q4_k_m.bin", np.uint8)
        rows = len(data) // (half_dim + 4)
        packed = torch.from_numpy(data[: rows * half_dim].reshape(rows, half_dim))
        scales = torch.from_numpy(data[rows * half_dim :].view(np.float32))
        codes = torch.stack([packed >> 4, packed & 15], dim=2).reshape(rows, -1)
        weights = (codes.to(torch.float32) / 7.5 - 1.0) * scales[:, None]
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        return cls(weights, head, tokenizer)

    def encode(self, texts: list[str]) -> torch.Tensor:
        encodings = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        ids = [number for encoding in encodings for number in encoding.ids]
        offsets = np.cumsum([0, *(len(encoding.ids) for encoding in encodings)])
        bag = torch.nn.EmbeddingBag.from_pretrained(
            self.weights, mode="mean", include_last_offset=True
        )
        mean = bag(torch.tensor(ids, dtype=torch.int64), torch.from_numpy(offsets))
        alpha, beta, bias = (self.head[f"dyt.{name}"] for name in ("alpha", "beta", "bias"))
        return beta * torch.tanh(alpha * mean + bias)


@pytest.fixture(scope="module")
def published() -> Published:
    return Published.load(Path(BUNDLED_MODEL))


@pytest.fixture(scope="module")
def texts(pytestconfig: pytest.Config) -> list[str]:
    file: Path | None = pytestconfig.getoption("--texts")
    if file is not None:
        return file.read_text(encoding="utf-8").splitlines()
    lines = english_lines()
    assert len(lines) >= 10_000
    return ["", *ODD_TEXTS, *lines, " ".join(lines[:1000])]


@pytest.fixture(scope="module")
def published_vectors(published: Published, texts: list[str]) -> torch.Tensor:
    return torch.cat(
        [published.encode(texts[begin : begin + 500]) for begin in range(0, len(texts), 500)]
    )


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("dims", [512, 256, 32])
def test_vectors_are_the_published_ones(
    texts: list[str],
    published_vectors: torch.Tensor,
    dims: int,
    normalize: bool,
) -> None:
    expected = published_vectors[:, :dims]
    if normalize:
        expected = torch.nn.functional.normalize(expected, dim=1)
    vectors = Encoder().encode(texts, truncate_dim=dims, normalize_embeddings=normalize)
    difference = float(np.abs(vectors - expected.numpy()).max())
    print(f"{len(texts)} texts, dims {dims}, normalize {normalize}: at most {difference:.3g} apart")
    assert difference <= 5e-7


def test_similarity_is_a_tensor_and_takes_tensors() -> None:
    vectors = Encoder().encode(["Tea is a hot drink.", "A cup of tea.", "Stock markets fell."])
    from_arrays = Encoder().similarity(vectors, vectors)
    from_tensors = Encoder().similarity(torch.from_numpy(vectors), torch.from_numpy(vectors))
    expected = torch.nn.functional.cosine_similarity(
        torch.from_numpy(vectors)[:, None], torch.from_numpy(vectors)[None], dim=2
    )
    for scores in (from_arrays, from_tensors):
        assert isinstance(scores, torch.Tensor)
        assert scores.dtype == torch.float32
        torch.testing.assert_close(scores, expected, rtol=0, atol=1e-6)


def test_flushing_denormals_changes_no_bits(bags: Bags, kernel: str) -> None:
    rng = np.random.default_rng(4)
    packed = Table.quantize(rng.standard_normal((1000, 64)).astype(np.float32)).buffer.copy()
    packed[1000 * 32 :].view(np.float32)[:] = rng.uniform(1e-41, 1e-38, 1000)
    table = Table.from_buffer(packed.data, dim=64)
    texts = ["A cup of tea.", ""]

    def results() -> list[FloatArray]:
        return [
            pooled(table, bags, kernel),
            pooled(table, bags, kernel, weighted=True),
            pooled(table, bags, kernel, mean=True),
            table.dequantize(),
            Encoder().encode(texts, normalize_embeddings=True),
        ]

    expected = results()
    assert 0 < np.abs(expected[3]).max() < np.finfo(np.float32).tiny
    assert torch.set_flush_denormal(True), "this CPU cannot flush denormals"
    try:
        assert float(torch.tensor([1e-40]) * 1) == 0
        actual = results()
    finally:
        torch.set_flush_denormal(False)
    for ours, before in zip(actual, expected, strict=True):
        assert_same_bits(ours, before)
