"""Similarity of vectors, and the most similar ones."""

from __future__ import annotations

import operator
import sys
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypedDict, get_args

import numpy as np

from nibblevec._blocks import slices
from nibblevec._float_environment import in_default_float_environment
from nibblevec._precision import DTYPES, checked_precision, is_bits, values_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from nibblevec._precision import Precision

    FloatArray = NDArray[np.float32]
    DoubleArray = NDArray[np.float64]

    class Hit(TypedDict):
        """An entry in the result of `semantic_search`."""

        corpus_id: int
        score: float


SimilarityName = Literal["cosine", "dot", "euclidean", "manhattan"]

SIMILARITY_FUNCTIONS: tuple[SimilarityName, ...] = get_args(SimilarityName)

# The bounds of a block that is compared at a time: vectors of either side, and values of the right
# one. In float64 these are 16 MB each for the right side and for the scores.
LEFT_ROWS = 256
RIGHT_ROWS = 8192
RIGHT_VALUES = 1 << 21

NO_ROW = np.iinfo(np.int64).max

# Types whose values may be codes, which are not compared as numbers, and the way out.
AMBIGUOUS_DTYPES = {
    np.dtype(np.int8): "codes or packed bits: say precision='int8' or precision='binary'",
    np.dtype(np.uint8): "codes or packed bits: say precision='uint8' or precision='ubinary'",
    np.dtype(np.bool_): "bits: np.packbits packs them for precision='ubinary', .astype(np.float32)"
    " makes them numbers",
}

# The same for other integers, those of Python too: JSON and lists keep packed bits as such.
AMBIGUOUS_INTEGERS = (
    "integers, which may be codes or packed bits: say precision='ubinary' or the other precision"
    " that encode made them in, or precision='float32' if they are numbers"
)


def checked_similarity(function: object) -> SimilarityName:
    """The name of a similarity function, given as a str or as sentence-transformers' enum.

    Raises:
        ValueError: there is no such function.
    """
    name = getattr(function, "value", function)
    if name not in SIMILARITY_FUNCTIONS:
        names = ", ".join(SIMILARITY_FUNCTIONS)
        raise ValueError(f"no similarity function {name!r}; there are {names}")
    return name


@in_default_float_environment
def similarity(
    embeddings1: Any,
    embeddings2: Any,
    function: SimilarityName = "cosine",
    *,
    precision: Precision | None = None,
) -> FloatArray | torch.Tensor:
    """Similarity of every vector of ``embeddings1`` with every one of ``embeddings2``.

    Computed in float64 and rounded once; a distance is negated, so that more is nearer.

    Args:
        embeddings1: [n, dims] or [dims]: an array, a list of vectors or a torch Tensor.
        embeddings2: [m, dims] or [dims].
        function: cosine, dot, euclidean or manhattan.
        precision: the one in which `Encoder.encode` made both; None takes floats. Integers do not
            tell codes from packed bits, so they need one; ``"float32"`` takes wider ones than int8
            and uint8 as numbers. Codes of ``"int8"`` and ``"uint8"`` are compared as they are,
            uint8 less 128. A bit of ``"binary"`` and ``"ubinary"`` stands for 1 or -1: where ``h``
            of ``b`` bits differ (the Hamming distance; ``b`` is eight a byte, and the bits that
            fill the last byte are equal), the cosine is ``1 - 2 * h / b``, the dot product
            ``b - 2 * h``, the euclidean distance ``2 * sqrt(h)``, the manhattan distance ``2 * h``:
            every order is that of ``h``.

    Returns:
        float32 [n, m]. A torch Tensor if torch has been imported (what code written for
        sentence-transformers expects), else an array.

    Raises:
        TypeError: an input holds no numbers.
        ValueError: an input has more than two dimensions, or their dims differ; there is no such
            function or precision; integers or bools come without a precision, or rows
            are not of the precision that is named.

    >>> similarity([[3.0, 4.0]], [[0.0, 1.0], [3.0, 4.0]], "euclidean").tolist()
    [[-4.242640495300293, 0.0]]
    >>> similarity(np.uint8([[128, 1]]), np.uint8([[0, 1], [127, 1]]), precision="ubinary").tolist()
    [[0.875, 0.0]]
    """
    function, row_precision = checked_similarity(function), checked_precision(precision)
    left = _rows(embeddings1, "embeddings1", precision)
    right = _rows(embeddings2, "embeddings2", precision)
    _check_same_dims(left, right)
    scores = np.empty((len(left), len(right)), np.float32)
    for right_rows in slices(len(right), _right_rows(right, row_precision)):
        right_block = _prepared(right[right_rows], function, row_precision)
        for left_rows in slices(len(left), LEFT_ROWS):
            left_block = _prepared(left[left_rows], function, row_precision)
            exact = _scores(left_block, right_block, function, row_precision)
            scores[left_rows, right_rows] = _rounded(exact)
    return _as_host_expects(scores)


@in_default_float_environment
def similarity_pairwise(
    embeddings1: Any,
    embeddings2: Any,
    function: SimilarityName = "cosine",
    *,
    precision: Precision | None = None,
) -> FloatArray | torch.Tensor:
    """Similarity of each vector of ``embeddings1`` with the one in the same row of ``embeddings2``.

    Args:
        embeddings1: [n, dims] or [dims]: an array, a list of vectors or a torch Tensor.
        embeddings2: [n, dims]; or one vector on either side, for all of the other.
        function: cosine, dot, euclidean or manhattan.
        precision: as for `similarity`.

    Returns:
        float32 [n], as the diagonal of `similarity`, or [] for two single vectors; an array or a
        Tensor as there.

    Raises:
        TypeError: as `similarity`.
        ValueError: an input has more than two dimensions, or their dims or rows differ; further as
            `similarity`.

    >>> similarity_pairwise([[3.0, 4.0], [2.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]], "dot").tolist()
    [4.0, 2.0]
    """
    function, row_precision = checked_similarity(function), checked_precision(precision)
    left = _array(embeddings1, "embeddings1", precision)
    right = _array(embeddings2, "embeddings2", precision)
    shape = () if left.ndim == right.ndim == 1 else (-1,)
    left, right = np.atleast_2d(left), np.atleast_2d(right)
    _check_same_dims(left, right)
    if len(left) != len(right) and 1 not in (len(left), len(right)):
        raise ValueError(f"embeddings1 has {len(left)} rows, embeddings2 has {len(right)}")
    left, right = np.broadcast_arrays(left, right)
    scores = np.empty(len(left), np.float32)
    for rows in slices(len(left), _right_rows(left, row_precision)):
        a, b = (
            _prepared(left[rows], function, row_precision),
            _prepared(right[rows], function, row_precision),
        )
        if is_bits(row_precision):
            exact = _scores_of_bits(np.einsum("ij,ij->i", a, b), a.shape[1], function)
        elif function == "euclidean":
            exact = 0 - np.linalg.norm(a - b, axis=1)
        elif function == "manhattan":
            exact = 0 - np.abs(a - b).sum(axis=1)
        else:
            exact = np.einsum("ij,ij->i", a, b)
        scores[rows] = _rounded(exact)
    return _as_host_expects(scores.reshape(shape))


@in_default_float_environment  # for `tolist`, too
def semantic_search(
    query_embeddings: Any,
    corpus_embeddings: Any,
    top_k: SupportsIndex = 10,
    *,
    score_function: SimilarityName = "cosine",
    precision: Precision | None = None,
) -> list[list[Hit]]:
    """The most similar vectors of a corpus, for each query.

    The search is exact. It needs the memory of the result and about 64 MB for a corpus of any size,
    which may be a ``np.memmap``.

    Args:
        query_embeddings: [n, dims] or [dims]: an array, a list of vectors or a torch Tensor.
        corpus_embeddings: [m, dims].
        top_k: number of vectors for each query (all of a smaller corpus).
        score_function: cosine, dot, euclidean or manhattan.
        precision: the one in which `Encoder.encode` made queries and corpus, see `similarity`; None
            takes floats. With ``"binary"`` and ``"ubinary"`` vectors are ordered by Hamming
            distance, and a score is the similarity of their bits, which stand for 1 and -1.

    Returns:
        for each query a list of ``{"corpus_id": row of the corpus, "score": similarity}``, the most
        similar first; equal ones in the order of the corpus.

    Raises:
        TypeError: as `similarity`.
        ValueError: ``top_k`` is below 1; further as `similarity`.

    >>> import numpy as np
    >>> corpus = [[1.0, 0.0], [0.0, 1.0], [3.0, 0.0]]
    >>> semantic_search([2.0, 0.0], corpus, top_k=2)
    [[{'corpus_id': 0, 'score': 1.0}, {'corpus_id': 2, 'score': 1.0}]]
    >>> bits = np.array([[0, 1], [127, 1]], np.uint8)
    >>> semantic_search(np.array([128, 1], np.uint8), bits, top_k=1, precision="ubinary")
    [[{'corpus_id': 0, 'score': 0.875}]]
    """
    ids, scores = most_similar(
        query_embeddings, corpus_embeddings, top_k, score_function, precision=precision
    )
    return [
        [{"corpus_id": row, "score": score} for row, score in zip(*hits, strict=True)]
        for hits in zip(ids.tolist(), scores.tolist(), strict=True)
    ]


@in_default_float_environment
def most_similar(
    queries: Any,
    corpus: Any,
    top_k: SupportsIndex,
    function: SimilarityName = "cosine",
    *,
    precision: Precision | None = None,
) -> tuple[NDArray[np.int64], FloatArray]:
    """The result of `semantic_search`, in arrays.

    Returns:
        rows of the corpus, int64 [n, k], and their similarities, float32 [n, k], with k =
        min(top_k, m). A similarity that is not a number counts, and is given, as minus infinity.

    Raises:
        TypeError: as `semantic_search`.
        ValueError: as `semantic_search`.
    """
    function, row_precision = checked_similarity(function), checked_precision(precision)
    wanted = operator.index(top_k)
    if wanted < 1:
        raise ValueError(f"top_k must be at least 1, not {wanted}")
    left = _rows(queries, "query_embeddings", precision)
    right = _rows(corpus, "corpus_embeddings", precision)
    _check_same_dims(left, right, "query_embeddings", "corpus_embeddings")
    wanted = min(wanted, len(right))
    # Distances, since a sort puts the least first. Places that nothing has filled come last.
    best = np.full((len(left), wanted), np.inf, np.float32)
    best_ids = np.full((len(left), wanted), NO_ROW, np.int64)
    for right_rows in slices(len(right) if wanted else 0, _right_rows(right, row_precision)):
        right_block = _prepared(right[right_rows], function, row_precision)
        for left_rows in slices(len(left), LEFT_ROWS):
            left_block = _prepared(left[left_rows], function, row_precision)
            scores = _scores(left_block, right_block, function, row_precision)
            distances = -_rounded(scores)
            distances[np.isnan(distances)] = np.inf
            _keep_least(best[left_rows], best_ids[left_rows], distances, right_rows.start)
    return best_ids, -best


def _keep_least(
    best: FloatArray, best_ids: NDArray[np.int64], distances: FloatArray, first_id: int
) -> None:
    """Put into ``best`` [n, k], sorted, the least of it and of ``distances`` [n, m].

    Equal distances stay in the order of their ids, of which those in ``best`` are the lower ones.
    """
    rows, wanted = best.shape
    # A distance that equals the last of the best stands behind it, unless that place is empty.
    chosen = (distances < best[:, -1:]) | (best_ids[:, -1:] == NO_ROW)
    if np.count_nonzero(chosen) > 4 * best.size and distances.shape[1] > wanted:
        chosen &= distances <= np.partition(distances, wanted - 1, axis=1)[:, wanted - 1, None]
    chosen_rows, chosen_ids = np.nonzero(chosen)
    if not len(chosen_rows):
        return
    row_of = np.concatenate([np.repeat(np.arange(rows), wanted), chosen_rows])
    distance_of = np.concatenate([best.ravel(), distances[chosen]])
    id_of = np.concatenate([best_ids.ravel(), first_id + chosen_ids])
    order = np.lexsort((id_of, distance_of, row_of))
    begins = np.searchsorted(row_of[order], np.arange(rows))
    kept = order[begins[:, np.newaxis] + np.arange(wanted)]
    best[:], best_ids[:] = distance_of[kept], id_of[kept]


def _rows(vectors: Any, name: str, precision: Precision | None) -> NDArray[Any]:
    return np.atleast_2d(_array(vectors, name, precision))


def _array(vectors: Any, name: str, precision: Precision | None) -> NDArray[Any]:
    if str(getattr(vectors, "dtype", "")) == "object" and getattr(vectors, "ndim", 0) == 1:
        vectors = list(vectors)  # a column of vectors
    items = []
    if isinstance(vectors, list | tuple):
        vectors = items = [_without_torch(vector) for vector in vectors]
    array = np.asarray(_without_torch(vectors))
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} must have one or two dimensions, not {array.ndim}")
    # Items of a list have types of their own, from which NumPy makes a wider one.
    item_dtypes = {item.dtype for item in items if isinstance(item, np.ndarray | np.generic)}
    dtypes = sorted({array.dtype, *item_dtypes}, key=str)
    for dtype in dtypes:
        if dtype.kind in "SUMmcO":
            raise TypeError(f"{name} are {dtype}, expected numbers")
    if precision not in (None, "float32", "float16"):
        return _in_type_of(array, dtypes, name, precision)
    for dtype in dtypes:
        if dtype in AMBIGUOUS_DTYPES:
            raise ValueError(f"{name} are {dtype}, which are {AMBIGUOUS_DTYPES[dtype]}")
    if precision is None and array.dtype.kind in "iu":
        raise ValueError(f"{name} are {array.dtype}, which are {AMBIGUOUS_INTEGERS}")
    return array


def _in_type_of(
    array: NDArray[Any], dtypes: list[np.dtype[Any]], name: str, precision: Precision
) -> NDArray[Any]:
    """Codes or packed bits in the type of their precision; other integers are taken too."""
    expected = DTYPES[precision]
    if dtypes == [expected]:
        return array
    refused = [
        str(dtype) for dtype in dtypes if dtype in AMBIGUOUS_DTYPES or dtype.kind not in "iu"
    ]
    if refused:
        raise ValueError(
            f"{name} are {', '.join(refused)}, precision {precision!r} is {expected}: encode both"
            f" sides with precision={precision!r}"
        )
    range_of_type = np.iinfo(expected)
    least, greatest = int(range_of_type.min), int(range_of_type.max)
    if array.size and not (least <= array.min() and array.max() <= greatest):
        raise ValueError(f"{name} hold numbers that are not in {least}..{greatest}, as {expected}")
    return array.astype(expected)


def _without_torch(vectors: Any) -> Any:
    """A Tensor as an array: NumPy takes none that has gradients, is bfloat16 or on a device."""
    if not hasattr(vectors, "detach"):
        return vectors
    tensor = vectors.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _check_same_dims(
    left: NDArray[Any],
    right: NDArray[Any],
    left_name: str = "embeddings1",
    right_name: str = "embeddings2",
) -> None:
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"{left_name} has {left.shape[1]} dims, {right_name} has {right.shape[1]}")


def _right_rows(right: NDArray[Any], precision: Precision) -> int:
    dims: int = right.shape[1] * (8 if is_bits(precision) else 1)
    return max(1, min(RIGHT_ROWS, RIGHT_VALUES // max(1, dims)))


def _prepared(rows: NDArray[Any], function: SimilarityName, precision: Precision) -> DoubleArray:
    """Rows in float64, for cosines of length 1, but bits as 1 and -1."""
    if precision not in ("float32", "float16"):
        rows = values_of(
            rows, precision, 8 * rows.shape[1] if is_bits(precision) else rows.shape[1]
        )
    # A copy even of float64: contiguous rows are summed in the same order wherever they stand.
    exact = np.array(rows, np.float64, order="C")
    if function == "cosine" and not is_bits(precision):
        norms = np.sqrt(np.einsum("ij,ij->i", exact, exact))
        exact /= np.maximum(norms, 1e-12)[:, np.newaxis]
    return exact


def _scores(
    left: DoubleArray, right: DoubleArray, function: SimilarityName, precision: Precision
) -> DoubleArray:
    """Similarities [n, m] of prepared rows.

    Equal rows get equal scores, once these are rounded to float32, wherever they stand: an order of
    additions that depends on the place changes the last bits of float64 only. So do rows of bits
    that are equally far.
    """
    if is_bits(precision):
        return _scores_of_bits(left @ right.T, left.shape[1], function)
    if function == "manhattan":
        return np.stack([0 - np.abs(right - row).sum(axis=1) for row in left])
    products: DoubleArray = left @ right.T
    if function != "euclidean":
        return products
    # For vectors that nearly coincide the error is at most 3e-8 of their length.
    squares = np.einsum("ij,ij->i", left, left)[:, np.newaxis] - 2 * products
    squares += np.einsum("ij,ij->i", right, right)
    distances: DoubleArray = 0 - np.sqrt(np.maximum(squares, 0))
    return distances


def _scores_of_bits(products: DoubleArray, bits: int, function: SimilarityName) -> DoubleArray:
    """Similarities of N bits, by the dot products of 1 and -1, which are exact."""
    scores: DoubleArray = products
    if function == "cosine":
        scores = products / max(1, bits)
    elif function == "euclidean":  # a bit that differs adds 4 to the square, and takes 2 here
        scores = 0 - np.sqrt(2 * (bits - products))
    elif function == "manhattan":
        scores = products - bits
    return scores


def _rounded(scores: DoubleArray) -> FloatArray:
    return scores.astype(np.float32)


def _as_host_expects(scores: FloatArray) -> FloatArray | torch.Tensor:
    if sys.modules.get("torch") is not None:
        import torch

        return torch.from_numpy(scores)
    return scores
