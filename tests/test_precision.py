"""Vectors in fewer bits: the arithmetic, ranges that are fitted once, and where they are kept."""

from __future__ import annotations

import pickle
import re
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import make_ranges
import numpy as np
import pytest
from bad_models import assert_refused
from bits import assert_same_bits
from numpy.typing import NDArray
from tiny_models import safetensors_file, write_model

from nibblevec import Encoder
from nibblevec._bundled import BUNDLED_MODEL
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.ranges import RANGES_NAME, read_ranges
from nibblevec._layouts.saving import save_model
from nibblevec._precision import (
    DTYPES,
    PRECISIONS,
    Precision,
    RangesKey,
    quantize,
    ranges_of_vectors,
    values_of,
    width_of,
)
from nibblevec._vectors import ROUNDED_BLOCK_TEXTS

FloatArray = NDArray[np.float32]

DIM = 30
TEXTS = [
    "a cup of tea",
    "",
    "the stock market fell",
    "tea",
    "a hot drink, walking",
    "un",
    "caf\u00e9",
]
BYTES: tuple[Precision, ...] = ("int8", "uint8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("precision") / "model", dim=DIM)


@pytest.fixture
def encoder(folder: Path) -> Encoder:
    model = Encoder(folder)
    model.fit_ranges(TEXTS, truncate_dim=[DIM, 9])
    return model


def plain_bytes(number: Any, least: Any, greatest: Any) -> int:
    """A code by the published arithmetic, in float32, for one number."""
    f = np.float32
    step = (f(greatest) - f(least)) / f(255)
    if step == 0:
        step = f(1)
    return int(min(max(np.floor((f(number) - f(least)) / step), 0), 255))


# The arithmetic


@pytest.mark.parametrize("precision", BYTES)
def test_codes_of_bytes(precision: Precision) -> None:
    ranges = np.array([[-1, 0, -0.5, 2, -1e38], [1, 10, -0.25, 2, 1e38]], np.float32)
    numbers = [-7, -1, -0.5, -0.251, 0, -0.0, 1e-45, 0.5, 0.999, 1, 2, 2.5, 3, 9.99, 10, 1e30]
    vectors = np.repeat(np.array(numbers, np.float32)[:, np.newaxis], 5, axis=1)
    expected = [[plain_bytes(number, *ranges[:, dim]) for dim in range(5)] for number in numbers]
    out = np.empty(vectors.shape, DTYPES[precision])
    quantize(vectors, precision, out, ranges)
    assert (out.astype(int) + (128 if precision == "int8" else 0)).tolist() == expected


@pytest.mark.parametrize("precision", BYTES)
def test_what_is_no_number_has_a_code_too(precision: Precision) -> None:
    vectors = np.array([[np.nan, np.inf, -np.inf]], np.float32)
    out = np.empty((1, 3), DTYPES[precision])
    quantize(vectors, precision, out, np.array([[-1] * 3, [1] * 3], np.float32))
    assert out.tolist() == [[0, 255, 0] if precision == "uint8" else [-128, 127, -128]]


@pytest.mark.parametrize("dims", [1, 7, 8, 9, 16, 30])
def test_bits(dims: int) -> None:
    vectors = np.random.default_rng(1).standard_normal((40, dims)).astype(np.float32)
    vectors[0], vectors[1, ::2] = 0, -0.0
    vectors[2, 0] = np.nan
    expected = [
        [sum(128 >> i for i in range(8) if byte + i < dims and row[byte + i] > 0)
         for byte in range(0, dims, 8)]
        for row in vectors
    ]  # fmt: skip
    for precision, less in (("ubinary", 0), ("binary", 128)):
        kind: Any = precision
        out = np.empty((40, width_of(kind, dims)), DTYPES[kind])
        quantize(vectors.copy(), kind, out)
        assert (out.astype(int) + less).tolist() == expected


def test_float16_is_the_nearest() -> None:
    vectors = np.array([[1 + 2**-11, 1 + 3 * 2**-11, 1e6, -1e6, 3e-8, np.nan]], np.float32)
    out = np.empty(vectors.shape, np.float16)
    quantize(vectors, "float16", out)
    expected = [1, 1 + 2**-9, np.inf, -np.inf, 2**-24 * (3e-8 > 2**-25), np.nan]
    np.testing.assert_array_equal(out[0], expected)


# `encode`


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("dims", [DIM, 9])
@pytest.mark.parametrize("precision", [*PRECISIONS, None])
def test_a_precision_is_the_last_step(
    encoder: Encoder, precision: Precision | None, dims: int, normalize: bool
) -> None:
    options: Any = {"truncate_dim": dims, "normalize_embeddings": normalize}
    vectors = encoder.encode(TEXTS, **options)
    kind = precision or "float32"
    expected = np.empty((len(TEXTS), width_of(kind, dims)), DTYPES[kind])
    ranges = encoder.ranges[RangesKey(normalize, dims)] if kind in BYTES else None
    quantize(vectors.copy(), kind, expected, ranges)
    ours = encoder.encode(TEXTS, precision=precision, **options)
    assert (ours.dtype, ours.shape) == (expected.dtype, expected.shape)
    assert ours.tobytes() == expected.tobytes()
    single = encoder.encode(TEXTS[0], precision=precision, **options)
    assert single.shape == expected.shape[1:]
    assert single.tobytes() == expected[0].tobytes()
    nothing = encoder.encode([], precision=precision, **options)
    assert (nothing.dtype, nothing.shape) == (expected.dtype, (0, expected.shape[1]))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_text_alone_has_the_bytes_that_it_has_among_10_000(precision: Precision) -> None:
    model = Encoder()
    query = "How hot is a cup of tea?"
    texts = [f"text {number} about tea and {number % 97} markets" for number in range(10_000)]
    for row in (0, ROUNDED_BLOCK_TEXTS, 9_999):
        texts[row] = query
    for options in product((False, True), (512, 32)):
        asked: Any = dict(zip(("normalize_embeddings", "truncate_dim"), options, strict=True))
        alone = model.encode(query, precision=precision, **asked)
        among = model.encode(texts, precision=precision, **asked)
        for row in (0, ROUNDED_BLOCK_TEXTS, 9_999):
            assert among[row].tobytes() == alone.tobytes()


@pytest.mark.parametrize("precision", BYTES)
@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:2]])
def test_ranges_of_a_call(encoder: Encoder, precision: Precision, texts: list[str]) -> None:
    vectors = encoder.encode(texts)
    expected = np.empty(vectors.shape, DTYPES[precision])
    ranges = np.stack([vectors.min(axis=0), vectors.max(axis=0)])
    assert_same_bits(ranges_of_vectors(vectors), ranges)
    quantize(vectors.copy(), precision, expected, ranges)
    assert np.array_equal(encoder.encode(texts, precision=precision, ranges="call"), expected)
    assert not np.array_equal(encoder.encode(texts, precision=precision), expected)


def test_ranges_of_a_call_need_two_texts(encoder: Encoder) -> None:
    for texts in ("tea", ["tea"]):
        with pytest.raises(ValueError, match="two vectors at least, not 1"):
            encoder.encode(texts, precision="int8", ranges="call")
    assert encoder.encode([], precision="int8", ranges="call").shape == (0, DIM)


def test_ranges_count_for_bytes_only(encoder: Encoder) -> None:
    whole = encoder.encode(["tea"], precision="ubinary", ranges="call")
    assert np.array_equal(whole, encoder.encode(["tea"], precision="ubinary"))
    with pytest.raises(ValueError, match="ranges must be None or 'call', not 'batch'"):
        encoder.encode(["tea"], ranges="batch")  # type: ignore[call-overload]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_out(encoder: Encoder, precision: Precision, tmp_path: Path) -> None:
    expected = encoder.encode(TEXTS, precision=precision)
    out = np.lib.format.open_memmap(
        tmp_path / "out.npy", mode="w+", dtype=expected.dtype, shape=expected.shape
    )
    assert encoder.encode(TEXTS, precision=precision, out=out) is out
    assert out.tobytes() == expected.tobytes()
    wrong = np.empty(expected.shape, np.int16)
    with pytest.raises(ValueError, match=rf"out is int16 .*, expected {expected.dtype} \[7, "):
        encoder.encode(TEXTS, precision=precision, out=wrong)


@pytest.mark.parametrize("precision", ["float64", "INT8", "", "bits"])
def test_no_such_precision(encoder: Encoder, precision: Any) -> None:
    with pytest.raises(ValueError, match=f"no precision {precision!r}; there are float32, float16"):
        encoder.encode(["tea"], precision=precision)


# Ranges that are fitted once


def test_fitted_ranges_have_one_step_around_zero(encoder: Encoder) -> None:
    for kind, ranges in encoder.ranges.items():
        vectors = encoder.encode(
            TEXTS, truncate_dim=kind.dims, normalize_embeddings=kind.normalized
        )
        step = np.abs(vectors).max() / 127
        np.testing.assert_allclose(ranges[0], -128.5 * step, rtol=1e-6)
        np.testing.assert_allclose(ranges[1], 126.5 * step, rtol=1e-6)
        codes = encoder.encode(
            TEXTS,
            truncate_dim=kind.dims,
            normalize_embeddings=kind.normalized,
            precision="int8",
        )
        assert np.abs(codes).max() == 127
        # Rounded to the nearest, but for what float32 makes of the middle between two codes.
        assert np.abs(codes - vectors / step).max() < 0.5001
    assert set(encoder.ranges) == {RangesKey(n, d) for n in (False, True) for d in (9, DIM)}


def test_ranges_replace_those_of_the_same_kind_only(encoder: Encoder) -> None:
    before = encoder.ranges
    encoder.fit_ranges(["tea"], truncate_dim=9)
    after = encoder.ranges
    for kind, ranges in before.items():
        assert (ranges.tobytes() == after[kind].tobytes()) == (kind.dims != 9)


def test_ranges_of_the_dims_and_prompt_of_calls(folder: Path) -> None:
    model = Encoder(folder, truncate_dim=12, prompts={"query": "un tea "})
    model.fit_ranges(TEXTS, prompt_name="query")
    assert set(model.ranges) == {RangesKey(False, 12), RangesKey(True, 12)}
    other = Encoder(folder, truncate_dim=12)
    other.fit_ranges(["un tea " + text for text in TEXTS])
    for kind, ranges in model.ranges.items():
        assert_same_bits(ranges, other.ranges[kind])


def test_ranges_of_more_texts_than_a_block(folder: Path) -> None:
    model, other = Encoder(folder), Encoder(folder)
    model.fit_ranges([*["tea"] * ROUNDED_BLOCK_TEXTS, "market", "cup"])
    other.fit_ranges(["tea", "market", "cup"])
    for kind, ranges in model.ranges.items():
        assert_same_bits(ranges, other.ranges[kind])


@pytest.mark.parametrize("precision", BYTES)
def test_no_ranges(folder: Path, precision: Precision) -> None:
    model = Encoder(folder)
    with pytest.raises(ValueError, match=r"30 dims, not normalised \(there are: none\).*fit_range"):
        model.encode(["tea"], precision=precision)
    model.fit_ranges(TEXTS, truncate_dim=9)
    with pytest.raises(ValueError, match=r"8 dims, normalised \(there are: 9 dims, norm.*; 9"):
        model.encode([], precision=precision, truncate_dim=8, normalize_embeddings=True)


def test_samples_without_a_range(folder: Path, tmp_path: Path) -> None:
    model = Encoder(folder)
    with pytest.raises(ValueError, match="the sample holds no texts"):
        model.fit_ranges([])
    with pytest.raises(TypeError, match="text 1 is int"):
        model.fit_ranges(["tea", 1])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"truncate_dim 31 is not in 1\.\.30"):
        model.fit_ranges(TEXTS, truncate_dim=[9, 31])
    assert model.ranges == {}
    shutil.copytree(folder, tmp_path / "huge")
    head = (tmp_path / "huge" / "model_rest.safetensors").read_bytes()
    begin = 8 + int.from_bytes(head[:8], "little")
    numbers = np.full((len(head) - begin) // 4, 3.4e38, np.float32)
    (tmp_path / "huge" / "model_rest.safetensors").write_bytes(head[:begin] + numbers.tobytes())
    with pytest.raises(ValueError, match=r"greatest number in the sample's vectors is 3\.\d+e\+38"):
        Encoder(tmp_path / "huge").fit_ranges(TEXTS)


# Where they are kept


@pytest.mark.parametrize("name", ["model", "model.gguf"])
def test_saved_with_the_model(encoder: Encoder, tmp_path: Path, name: str) -> None:
    model = encoder
    if name.endswith("gguf"):  # which has no rows of sse_q4
        save_model(load_model(encoder_folder(encoder)), str(tmp_path / "f.gguf"), "gguf", "float32")
        model = Encoder(tmp_path / "f.gguf")
        model.fit_ranges(TEXTS, truncate_dim=[DIM, 9])
    model.save_pretrained(tmp_path / name)
    saved = Encoder(tmp_path / name)
    assert set(saved.ranges) == set(model.ranges)
    for kind, ranges in model.ranges.items():
        assert_same_bits(saved.ranges[kind], ranges)
        options: Any = {
            "truncate_dim": kind.dims,
            "normalize_embeddings": kind.normalized,
            "precision": "int8",
        }
        assert np.array_equal(saved.encode(TEXTS, **options), model.encode(TEXTS, **options))


def encoder_folder(encoder: Encoder) -> str:
    assert encoder._source is not None
    return encoder._source.folder


@pytest.mark.parametrize("layout", ["static", "model2vec"])
def test_kept_in_folders_of_other_layouts(encoder: Encoder, tmp_path: Path, layout: str) -> None:
    model = load_model(encoder_folder(encoder))._replace(dynamic_tanh=None, ranges=encoder.ranges)
    if layout == "model2vec":
        rules = model.token_rules._replace(drops_unknown=True, cuts_characters=True)
        model = model._replace(token_rules=rules)
    save_model(model, str(tmp_path / "model"), layout, "float32")
    loaded = load_model(tmp_path / "model")
    assert set(loaded.ranges) == set(encoder.ranges)
    # A model without any leaves none of another behind.
    save_model(model._replace(ranges={}), str(tmp_path / "model"), layout, "float32")
    assert load_model(tmp_path / "model").ranges == {}
    assert not (tmp_path / "model" / RANGES_NAME).exists()


def test_pickled(encoder: Encoder) -> None:
    twin = pickle.loads(pickle.dumps(encoder))
    assert np.array_equal(
        twin.encode(TEXTS, precision="int8"), encoder.encode(TEXTS, precision="int8")
    )
    assert len(pickle.dumps(encoder)) < 4 << 10


def test_a_model_with_other_ranges_is_another(encoder: Encoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path / "model")
    pickled = pickle.dumps(Encoder(tmp_path / "model"))
    encoder.fit_ranges(["tea"])
    encoder.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="not the one that was pickled"):
        pickle.loads(pickled)


def tensor(dims: int, dtype: str = "F32", shape: list[int] | None = None) -> dict[str, Any]:
    shape = shape or [2, dims]
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, 4 * shape[0] * shape[1]]}


@pytest.mark.malformed
@pytest.mark.parametrize(
    ("name", "header", "numbers", "problem"),
    [
        ("normalized.3", tensor(3), [0, 0, 0, 1, -1, 1], "dim 1 has the range 0.0 to -1.0"),
        ("normalized.1", tensor(1), [0, np.nan], "dim 0 has the range 0.0 to nan"),
        ("normalized.1", tensor(1), [-np.inf, 0], "dim 0 has the range -inf to 0.0"),
        ("unnormalized.3", tensor(2), [0] * 4, "expected the name unnormalized.2 or normalized.2"),
        ("ranges.2", tensor(2), [0] * 4, "expected the name unnormalized.2 or normalized.2"),
        ("", tensor(2), [0] * 4, "expected the name unnormalized.2 or normalized.2"),
        ("normalized.31", tensor(31), [0] * 62, "31 dims, expected 1..30"),
        ("normalized.0", tensor(0), [], "0 dims, expected 1..30"),
        ("normalized.2", tensor(2, "I32"), [0] * 4, "I32 [2, 2], expected F32 [2, dims]"),
        ("normalized.2", tensor(2, shape=[3, 2]), [0] * 6, "F32 [3, 2], expected F32 [2, dims]"),
    ],
)
def test_malformed_ranges(
    folder: Path, tmp_path: Path, name: str, header: Any, numbers: list[float], problem: str
) -> None:
    shutil.copytree(folder, tmp_path / "model")
    content = safetensors_file({name: header}, np.array(numbers, np.float32).tobytes())
    (tmp_path / "model" / RANGES_NAME).write_bytes(content)
    assert_refused(tmp_path / "model", RANGES_NAME, name, re.escape(problem))


# Those of the bundled model


def test_ranges_of_the_bundled_model_are_what_the_tool_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = Path(BUNDLED_MODEL) / RANGES_NAME
    assert set(read_ranges(BUNDLED_MODEL, 512)) == {
        RangesKey(normalized, dims) for normalized in (False, True) for dims in make_ranges.DIMS
    }
    monkeypatch.setattr("sys.argv", ["make_ranges.py", "-o", str(tmp_path)])
    make_ranges.main()
    assert (tmp_path / RANGES_NAME).read_bytes() == shipped.read_bytes()


def test_ranges_of_texts_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "texts.txt").write_text("Tea is hot.\nA cup of tea.\n", encoding="utf-8")
    arguments = ["make_ranges.py", "--texts", str(tmp_path / "texts.txt"), "-o", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    make_ranges.main()
    model = Encoder()
    model.fit_ranges(["Tea is hot.", "A cup of tea."], truncate_dim=64)
    made = read_ranges(str(tmp_path), 512)
    for normalized in (False, True):
        assert_same_bits(made[RangesKey(normalized, 64)], model.ranges[RangesKey(normalized, 64)])


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("dims", make_ranges.DIMS)
def test_int8_keeps_the_cosines_of_the_bundled_model(dims: int, normalize: bool) -> None:
    model = Encoder()
    texts = make_ranges.generated_texts()[:2000]
    options: Any = {"truncate_dim": dims, "normalize_embeddings": normalize}
    exact = model.encode(texts, **options)
    codes = model.encode(texts, precision="int8", **options).astype(np.float32)
    rows = {}
    for name, vectors in (("exact", exact), ("codes", codes)):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        rows[name] = vectors / np.maximum(lengths, 1e-12)
    error = np.abs(rows["exact"] @ rows["exact"].T - rows["codes"] @ rows["codes"].T)
    print(f"{dims} dims, normalised {normalize}: cosines {error.mean():.4f} apart")
    assert error.mean() < 0.01
    lossy = model.encode(texts, precision="int8", ranges="call", **options).astype(np.float32)
    lossy /= np.linalg.norm(lossy, axis=1, keepdims=True)
    assert np.abs(rows["exact"] @ rows["exact"].T - lossy @ lossy.T).mean() > 2 * error.mean()


@pytest.mark.parametrize("dims", [5, 8, 13])
def test_what_codes_are_compared_as(dims: int) -> None:
    rng = np.random.default_rng(dims)
    vectors = rng.standard_normal((4, dims)).astype(np.float32)
    signs = np.where(vectors > 0, 1, -1)
    codes = rng.integers(-128, 128, (4, dims)).astype(np.int8)
    packed = np.packbits(vectors > 0, axis=-1)
    expected: list[tuple[Precision, NDArray[Any], NDArray[Any]]] = [
        ("float32", vectors, vectors),
        ("float16", vectors.astype(np.float16), vectors.astype(np.float16)),
        ("int8", codes, codes),
        ("uint8", (codes.astype(int) + 128).astype(np.uint8), codes),
        ("ubinary", packed, signs),
        ("binary", (packed.astype(int) - 128).astype(np.int8), signs),
    ]
    for precision, stored, compared in expected:
        found = values_of(stored, precision, dims)
        assert found.dtype == np.float32
        assert np.array_equal(found, compared), precision
