"""Ids, means and vectors computed a second time, without any code of the fast path.

Rows are decoded with NumPy from the bytes of the table, ids come from the `tokenizers` package, and
the rows of a text are added one by one. Ids, decoded rows and means must be equal to the bit. The
head is recomputed in float64, from which the vectors may be as far as docs/numerics.md allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nibblevec._blocks import batches, slices
from nibblevec._float_environment import in_default_float_environment
from nibblevec._layouts.tokenizers import load_tokenizer_of
from nibblevec._token_rules import Truncation
from nibblevec._tokenization.package import load_package_tokenizer
from nibblevec._vectors import write_floats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from nibblevec._model import Model, Normalization
    from nibblevec._table import Table
    from nibblevec._tokenization.tokenizer import Tokenizer

    FloatArray = NDArray[np.float32]
    ByteArray = NDArray[np.uint8]

BLOCK_TEXTS = 512
BLOCK_WEIGHTS = 1 << 22

# The unit roundoff of float32: no operation is further off, relative to its result.
UNIT = 2.0**-24
TANH_ULP = 2
# The greatest float32, and the least above zero.
MAX = float(np.finfo(np.float32).max)
TINY = 2.0**-149

BUILT_IN_TEXTS = (
    "Static embeddings add up one row for each token.",
    "The quick brown fox jumps over the lazy dog.",
    "",
    " ",
    "\t\r\n",
    "a",
    "A",
    "?",
    "tea tea tea tea tea tea tea tea tea tea tea tea tea tea tea tea tea",
    "unbelievably antidisestablishmentarianism internationalisation",
    "It's 3.14159 o'clock -- isn't it?! (Yes; \u20ac 1,000.00 & 50% off.)",
    "https://example.org/path?query=1&other=two#fragment user@example.org",
    "def f(x): return x**2 + 0x7f  # comment",
    "Na\u00efve caf\u00e9s r\u00e9sum\u00e9d \u00c5ngstr\u00f6m's \u00fcber-co\u00f6peration.",
    "e\u0301 a\u0308\u0323 n\u0303 \u1e69 \ufb01ne \u2460 \u00bd \u2122",
    "\u201cCurly\u201d \u2018quotes\u2019 \u2013 dashes \u2014 and\u2026 dots\u00a0.",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!",
    "\u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 \u03ba\u03cc\u03c3\u03bc\u03b5\u03c2",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u4e2d\u6587\u5b57 mixed\u6df7\u5408text",
    "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c \u30ab\u30bf\u30ab\u30ca",
    "\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "\u0130stanbul \u0131\u015f\u0131k STRASSE stra\u00dfe \u1e9e",
    "nul\x00inside control\x01\x02\x1f\x7f\x85 \u200b\u00ad\ufeff marks",
    "\ufffd \uffff \U0010ffff \ue000",
    "[CLS] special [SEP] [UNK] [MASK] [PAD] <s> </s> <unk> <|endoftext|>",
    "[cls] [Sep] [ MASK ] [[UNK]]",
    "##ing ##s #hash ## #",
    "x" * 99,
    "x" * 100,
    "x" * 101,
    "supercalifragilistic" * 20,
    "!?" * 64,
    "0123456789" * 30,
    "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 12,
    "Each sentence of a long text adds its rows to the same sum, one after another. " * 40,
)


class Difference(NamedTuple):
    """The first place where the fast path and the plain one differ.

    Attributes:
        text_number: number of the text; None: the tables differ.
        problem: place, and both values there.
    """

    text_number: int | None
    problem: str


class Agreement(NamedTuple):
    """The amount that was compared, if all of it agreed.

    Attributes:
        texts: number of texts.
        tokens: number of their tokens.
        worst: greatest distance of a vector's value from float64, as a part of the allowed one.
    """

    texts: int
    tokens: int
    worst: float


@in_default_float_environment
def verify(fast: Model, plain: Model, texts: Iterable[str]) -> Difference | Agreement:
    """Compare the vectors of a model with those that are computed plainly.

    Args:
        fast: the model, as it is used.
        plain: the same one, loaded anew: only its bytes and settings are used.
        texts: taken a block at a time.

    Returns:
        The first difference, or the amount that was compared.

    Raises:
        OSError: a file of the tokenizer cannot be read.
        ModelFormatError: the tokenizer is not valid.
        ValueError: a text holds a lone surrogate.
    """
    difference = _compare_table(fast.table, plain)
    if difference is not None:
        return difference
    paths = _Paths(fast, load_tokenizer_of(fast), plain, _plain_tokenizer(plain))
    count = tokens = 0
    worst = 0.0
    for block in batches(texts, BLOCK_TEXTS):
        outcome = _compare_texts(paths, block, count)
        if isinstance(outcome, Difference):
            return outcome
        count += outcome.texts
        tokens += outcome.tokens
        worst = max(worst, outcome.worst)
    return Agreement(count, tokens, worst)


class _Paths(NamedTuple):
    fast: Model
    tokenizer: Tokenizer
    plain: Model
    plain_ids: Callable[[str], list[int]]


def _compare_table(fast: Table, plain: Model) -> Difference | None:
    rows, dim = plain.table.rows, plain.table.dim
    if (fast.rows, fast.dim) != (rows, dim):
        return Difference(None, f"{fast!r} was loaded, {plain.table!r} when loaded again")
    for block in slices(rows, max(1, BLOCK_WEIGHTS // dim)):
        ids = np.arange(block.start, block.stop)
        different = _first_difference(fast.dequantize(ids), plain_rows(plain.table, ids))
        if different is not None:
            row, problem = different
            return Difference(None, f"row {block.start + row} of the table, {problem}")
    return None


def _compare_texts(
    paths: _Paths, texts: tuple[str, ...], first_number: int
) -> Difference | Agreement:
    def named(place: int, problem: str) -> Difference:
        return Difference(first_number + place, f"{texts[place]!a:.60}: {problem}")

    fast, plain = paths.fast, paths.plain
    truncation = paths.tokenizer.truncation
    tokens = paths.tokenizer.encode_batch(texts, truncation, first_number=first_number)
    bags = [paths.plain_ids(text) for text in texts]
    for place, bag in enumerate(bags):
        found = tokens.ids[tokens.offsets[place] : tokens.offsets[place + 1]].tolist()
        if found != bag:
            return named(place, _first_other_id(found, bag))

    def fast_vectors(model: Model, normalize: bool) -> FloatArray:
        out = np.empty((len(texts), plain.table.dim), np.float32)
        write_floats(
            model,
            paths.tokenizer,
            texts,
            truncation,
            out,
            normalize=normalize,
            first_number=first_number,
        )
        return out

    means = np.stack([plain_mean(plain, bag) for bag in bags])
    bare = fast._replace(dynamic_tanh=None, normalization=None)
    different = _first_difference(fast_vectors(bare, normalize=False), means)
    if different is not None:
        return named(different[0], f"the mean at {different[1]}")
    worst = 0.0
    for normalize in (False, True):
        vectors = fast_vectors(fast, normalize)
        expected, allowed = plain_head(plain, means, normalize=normalize)
        with np.errstate(all="ignore"):
            apart = np.abs(vectors - expected)
        good = (apart <= allowed) | (vectors == expected)  # or infinite both
        good |= np.isnan(vectors) & np.isnan(expected)
        if not good.all():
            place, dim = np.argwhere(~good)[0]
            return named(
                int(place),
                f"the vector{' of length 1' if normalize else ''} at dim {dim}: fast"
                f" {vectors[place, dim]}, plain {expected[place, dim]},"
                f" {apart[place, dim]:.3g} apart, at most {allowed[place, dim]:.3g} allowed",
            )
        inexact = apart > 0
        if inexact.any():
            worst = max(worst, float((apart[inexact] / allowed[inexact]).max()))
    return Agreement(len(texts), sum(map(len, bags)), worst)


def _first_other_id(found: list[int], expected: list[int]) -> str:
    common = min(len(found), len(expected))
    position = next((i for i in range(common) if found[i] != expected[i]), common)

    def there(ids: list[int]) -> str:
        return str(ids[position]) if position < len(ids) else "none"

    return f"token {position}: fast {there(found)}, tokenizers {there(expected)}"


def _first_difference(fast: FloatArray, plain: FloatArray) -> tuple[int, str] | None:
    """The row of the first value with other bits, and both values; any NaN equals any other."""
    same = fast.view(np.uint32) == plain.view(np.uint32)
    same |= np.isnan(fast) & np.isnan(plain)
    if same.all():
        return None
    row, dim = np.argwhere(~same)[0]
    return int(row), f"dim {dim}: fast {fast[row, dim]:.9g}, plain {plain[row, dim]:.9g}"


def _plain_tokenizer(model: Model) -> Callable[[str], list[int]]:
    """The ids of a text, by the `tokenizers` package and the model's own rules."""
    import json
    import statistics

    rules = model.token_rules
    tokenizer = load_package_tokenizer(model.tokenizer_json.read(), model.tokenizer_json.path)
    tokenizer.no_padding()
    own = tokenizer.truncation
    tokenizer.no_truncation()
    truncation = rules.truncation
    if truncation is None and own is not None:
        truncation = Truncation(own["max_length"], own["direction"] == "left")
    max_length, keep_end = truncation or Truncation()
    characters = None
    if rules.cuts_characters and max_length is not None:
        lengths = [len(token) for token in tokenizer.get_vocab(with_added_tokens=True)]
        characters = max_length * int(statistics.median(lengths))
    unknown = None
    if rules.drops_unknown:
        settings = json.loads(tokenizer.to_str())["model"]
        unknown = settings.get("unk_id")  # as Unigram has it; others name the token
        if settings.get("unk_token") is not None:
            unknown = tokenizer.token_to_id(settings["unk_token"])

    def tokenize(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text[:characters], add_special_tokens=False).ids
        if max_length is not None and len(ids) > max_length:
            ids = ids[len(ids) - max_length :] if keep_end else ids[:max_length]
        return [token_id for token_id in ids if token_id != unknown]

    return tokenize


def plain_mean(model: Model, ids: list[int]) -> FloatArray:
    """Mean of the rows of a text, float32 [dim]: from +0.0, one addition a token, in their order.

    Args:
        model: of its table and its token rules. A row times a float64 weight is rounded once;
            where sums are wide, all is float64 up to the mean, of float16 rows one rounded to odd.
        ids: of the text.
    """
    if not ids:
        return np.zeros(model.table.dim, np.float32)
    rules = model.token_rules
    bag = np.asarray(ids, np.int64)
    row_ids = bag if rules.row_of_id is None else rules.row_of_id[bag].astype(np.int64)
    dtype: type[np.floating[Any]] = np.float64 if model.wide_sums else np.float32
    rows: NDArray[np.floating[Any]] = plain_rows(model.table, row_ids).astype(dtype)
    total = np.zeros(model.table.dim, dtype)
    with np.errstate(all="ignore"):
        if rules.weight_of_id is not None:
            rows = (rows * rules.weight_of_id[bag, np.newaxis]).astype(dtype)
        for row in rows:
            total += row
        mean: NDArray[np.floating[Any]] = total / dtype(len(ids))
        if model.wide_sums and model.table.format == "float16":
            return _rounded_to_odd(mean)
        return mean.astype(np.float32)


def _rounded_to_odd(exact: NDArray[np.floating[Any]]) -> FloatArray:
    """To float32; a value between two of them becomes the one whose last bit is set.

    Rounding it on to float16 then gives what rounding to float16 at once does.
    """
    nearest = exact.astype(np.float32)
    outwards = np.where(exact > nearest, np.float32(np.inf), np.float32(-np.inf))
    is_even = nearest.view(np.uint32) % 2 == 0
    return np.where(is_even & (nearest != exact), np.nextafter(nearest, outwards), nearest)


def plain_head(
    model: Model, means: FloatArray, *, normalize: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vectors in float64, and how far from each value the fast path may be, both [n, dim].

    Dynamic Tanh: tanh may be 2 units in the last place off, its product with beta is rounded. The
    length of a vector: no sum of n squares rounds more than n / 8 + 12 times, whichever of the
    orders of docs/numerics.md it has; half of its relative error is that of its root, which is
    rounded once, as the division by it is. Where squares leave the range of float32 the length is
    infinite, or 0, as in the fast path.

    Args:
        model: of its head and its normalization.
        means: float32 [n, dim].
        normalize: scale each vector to length 1 at the end.
    """
    vectors = means.astype(np.float64)
    allowed = np.zeros_like(vectors)
    with np.errstate(all="ignore"):
        if model.dynamic_tanh is not None:
            tanh = model.dynamic_tanh
            inner = tanh.alpha * means + tanh.bias  # float32, rounded twice, as the fast path does
            bent = np.tanh(inner.astype(np.float64))
            vectors = tanh.beta.astype(np.float64) * bent
            allowed = TANH_ULP * _last_place(bent) * np.abs(tanh.beta) + _last_place(vectors)
        if model.normalization == "model2vec_float16":
            vectors = vectors.astype(np.float16).astype(np.float64)
        scalings = [model.normalization] if model.normalization is not None else []
        if normalize:
            scalings.append("torch")
        for normalization in scalings:
            vectors, allowed = _scaled(vectors, allowed, normalization)
    return vectors, allowed


def _scaled(
    vectors: NDArray[np.float64], allowed: NDArray[np.float64], normalization: Normalization
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vectors divided by their lengths, and how far from each value the fast path may be."""
    dims = vectors.shape[1]
    squares = (vectors * vectors).sum(axis=1, keepdims=True)
    # An error of each value moves the norm by at most the norm of the errors.
    moved = np.sqrt((allowed * allowed).sum(axis=1, keepdims=True))
    rounding = (dims / 8 + 12) * UNIT
    # A sum of squares beyond float32 is infinite; near that limit, it may be.
    near = np.abs(squares - MAX) <= 2.02 * (MAX * rounding + np.sqrt(MAX) * moved)
    squares = np.where(squares > MAX, np.inf, squares)

    def divisors(squares: NDArray[np.float64]) -> NDArray[np.float64]:
        norms = np.sqrt(np.maximum(squares, 0))
        return np.maximum(norms, 1e-12) if normalization == "torch" else norms + 1e-32

    # Below 2^-126 a square is rounded to a multiple of 2^-149.
    lost = dims * TINY / 2
    least, greatest = divisors(squares - lost), divisors(squares + lost)
    magnitudes = np.abs(vectors)
    allowed = (
        allowed / least
        + magnitudes / least * (moved / least + rounding / 2 + 2 * UNIT) * 1.01
        + magnitudes * (1 / least - 1 / greatest)
        + TINY
    )
    scaled = vectors / divisors(squares)
    return scaled, np.where(near | np.isinf(moved), np.inf, allowed)


def _last_place(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """One unit in the last place of the float32 nearest to each."""
    return np.spacing(np.abs(values).astype(np.float32)).astype(np.float64)


def plain_rows(table: Table, row_ids: NDArray[np.integer[Any]]) -> FloatArray:
    """Rows of a table decoded with NumPy from its bytes, float32 [n, dim].

    Args:
        table: only its bytes are used, and their row format.
        row_ids: [n], each below the rows of the table.
    """
    decode = {
        "sse_q4": _sse_q4,
        "q4_k": _q4_k,
        "q6_k": _q6_k,
        "float32": _plain("<f4"),
        "float16": _plain("<f2"),
        "int8": _plain("<i1"),
        "bfloat16": _bfloat16,
    }[table.format]
    with np.errstate(all="ignore"):
        return decode(table.buffer, table.rows, row_ids)


def _sse_q4(data: ByteArray, rows: int, row_ids: NDArray[Any]) -> FloatArray:
    scales = np.frombuffer(data[len(data) - 4 * rows :].tobytes(), "<f4")[row_ids]
    codes = data[: len(data) - 4 * rows].reshape(rows, -1)[row_ids]
    levels = np.stack([codes >> 4, codes & 15], axis=2).reshape(len(row_ids), -1)
    steps = levels.astype(np.float32) / np.float32(7.5) - np.float32(1)
    weights: FloatArray = steps * scales[:, np.newaxis]
    return weights


def _q4_k(data: ByteArray, rows: int, row_ids: NDArray[Any]) -> FloatArray:
    blocks = data.reshape(rows, -1, 144)[row_ids]
    d = _halves(blocks[..., 0:2])
    dmin = _halves(blocks[..., 2:4])
    low, high, mixed = (blocks[..., begin : begin + 4] for begin in (4, 8, 12))
    scale = np.concatenate([low & 63, (mixed & 15) | (low >> 6) << 4], axis=-1)
    least = np.concatenate([high & 63, (mixed >> 4) | (high >> 6) << 4], axis=-1)
    codes = blocks[..., 16:].reshape(*blocks.shape[:2], 4, 1, 32)
    q = np.concatenate([codes & 15, codes >> 4], axis=3).reshape(*blocks.shape[:2], 8, 32)
    slope = (d * scale)[..., np.newaxis]
    offset = (dmin * least)[..., np.newaxis]
    weights: FloatArray = slope * q - offset
    return weights.reshape(len(row_ids), -1)


def _q6_k(data: ByteArray, rows: int, row_ids: NDArray[Any]) -> FloatArray:
    blocks = data.reshape(rows, -1, 210)[row_ids]
    shape = blocks.shape[:2]
    lower = blocks[..., :128].reshape(*shape, 2, 1, 64)
    lower = np.concatenate([lower & 15, lower >> 4], axis=3).reshape(*shape, 256)
    upper = blocks[..., 128:192].reshape(*shape, 2, 1, 32)
    upper = np.concatenate([upper >> shift & 3 for shift in (0, 2, 4, 6)], axis=3)
    q = (lower | upper.reshape(*shape, 256) << 4).astype(np.int8) - np.int8(32)
    scales = blocks[..., 192:208].view(np.int8).astype(np.float32)
    steps = (_halves(blocks[..., 208:210]) * scales)[..., np.newaxis]
    weights: FloatArray = steps * q.reshape(*shape, 16, 16).astype(np.float32)
    return weights.reshape(len(row_ids), -1)


def _halves(pairs: ByteArray) -> FloatArray:
    """Float16, two bytes each, as float32 [..., 1]."""
    return np.ascontiguousarray(pairs).view("<f2").astype(np.float32)


def _plain(spelling: str) -> Callable[[ByteArray, int, NDArray[Any]], FloatArray]:
    """Decoder of weights of a type that NumPy has."""

    def decode(data: ByteArray, rows: int, row_ids: NDArray[Any]) -> FloatArray:
        weights = data.reshape(rows, -1)[row_ids].view(spelling)
        return np.asarray(weights, np.float32)

    return decode


def _bfloat16(data: ByteArray, rows: int, row_ids: NDArray[Any]) -> FloatArray:
    halves = data.reshape(rows, -1)[row_ids].view("<u2").astype(np.uint32)
    weights: FloatArray = (halves << 16).view(np.float32)
    return weights
