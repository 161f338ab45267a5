"""Vectors in fewer bits, with the arithmetic of sentence-transformers.

Source: what `quantize_embeddings` of sentence-transformers 6.2 computes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from nibblevec._float_environment import in_default_float_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]

Precision = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

# Types of the arrays of vectors in each precision.
DTYPES: dict[Precision, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "int8": np.dtype(np.int8),
    "uint8": np.dtype(np.uint8),
    "binary": np.dtype(np.int8),
    "ubinary": np.dtype(np.uint8),
}

# Number of steps into which int8 and uint8 divide the range of a dim.
STEPS = 255

# The code of int8 that the greatest value of a sample gets.
GREATEST_CODE = 127

# Where a range begins and ends if a step is 1, so that the code is the nearest integer: half a step
# below the least one, and half a step above the one before the greatest, which has the rest.
CENTRED = (-128.5, 126.5)


class RangesKey(NamedTuple):
    """Which vectors ranges belong to: those of other dims, or of another length, have others."""

    normalized: bool
    dims: int


def checked_precision(precision: str | None) -> Precision:
    """The precision of this name; None is float32.

    Raises:
        ValueError: there is no such precision.
    """
    if precision is None:
        return "float32"
    for known in PRECISIONS:
        if precision == known:
            return known
    raise ValueError(f"no precision {precision!r}; there are {', '.join(PRECISIONS)}")


def is_bits(precision: Precision) -> bool:
    """Whether a dim is a bit, eight of which are a byte."""
    return precision in ("binary", "ubinary")


def width_of(precision: Precision, dims: int) -> int:
    """Length of a vector in an array: ``"binary"`` and ``"ubinary"`` keep eight dims in a byte."""
    return -(-dims // 8) if is_bits(precision) else dims


def has_ranges(precision: Precision) -> bool:
    """Whether codes depend on the range of each dim."""
    return precision in ("int8", "uint8")


@in_default_float_environment
def ranges_of_vectors(vectors: FloatArray) -> FloatArray:
    """The least and the greatest value of each dim, float32 [2, dims].

    Raises:
        ValueError: there are fewer than two vectors.
    """
    if len(vectors) < 2:
        raise ValueError(f"the ranges of a call come from two vectors at least, not {len(vectors)}")
    return np.stack([vectors.min(axis=0), vectors.max(axis=0)])


@in_default_float_environment
def greatest_magnitude(vectors: FloatArray) -> float:
    """The greatest absolute value of [n, dims]; 0 if there is none, a NaN if there is one."""
    return float(np.max(np.abs(vectors), initial=0))


@in_default_float_environment
def centred_ranges(greatest: float, dims: int) -> FloatArray:
    """One range for all dims, float32 [2, dims], in which 0 is in the middle of int8's code 0.

    So an int8 is the value over one step, rounded, and dot products and cosines of such vectors
    are those of the values. With a range of its own for each dim, as `ranges_of_vectors` finds
    them, each dim would have another weight and another place of 0.

    Args:
        greatest: the value that gets the code 127.
        dims: number of dims.

    Raises:
        ValueError: ``greatest`` is 0, or too large or small for float32 steps.
    """
    step = greatest / GREATEST_CODE
    range_of_dim = np.array([step * end for end in CENTRED], np.float32)
    if not (np.isfinite(range_of_dim).all() and range_of_dim[0] < range_of_dim[1]):
        raise ValueError(
            f"the greatest number in the sample's vectors is {greatest}: it has no steps"
        )
    return np.repeat(range_of_dim[:, np.newaxis], dims, axis=1)


def stored_ranges(ranges: Mapping[RangesKey, FloatArray], wanted: RangesKey) -> FloatArray:
    """The ranges of these vectors.

    Raises:
        ValueError: there are none.
    """
    if wanted in ranges:
        return ranges[wanted]
    raise ValueError(
        f"no ranges are stored for {wanted.dims} dims, {_length(wanted.normalized)} (there are:"
        f" {ranges_in_words(ranges) or 'none'}); fit them once with fit_ranges(sample), or take"
        " those of each call with ranges='call'"
    )


def ranges_in_words(ranges: Mapping[RangesKey, FloatArray]) -> str:
    """The dims that there are ranges for; nothing if there are none."""
    return "; ".join(
        f"{', '.join(map(str, sizes))} dims, {_length(normalized)}"
        for normalized in (True, False)
        if (sizes := sorted(key.dims for key in ranges if key.normalized == normalized))
    )


def _length(normalized: bool) -> str:
    return "normalised" if normalized else "not normalised"


@in_default_float_environment
def quantize(
    vectors: FloatArray, precision: Precision, out: NDArray[Any], ranges: FloatArray | None = None
) -> None:
    """Write vectors in a precision.

    A value becomes the step of its dim's range that it is in, 0..255, and less 128 for int8; a
    value outside the range becomes the nearest step, a NaN the least. A bit says whether a value is
    above 0, the first dim being the highest bit of the first byte; binary is ubinary less 128.

    Args:
        vectors: float32 [n, dims]; scratch space afterwards.
        precision: any.
        out: [n, `width_of`] of `DTYPES`.
        ranges: least and greatest value of each dim, float32 [2, dims]; of int8 and uint8 only.
    """
    if is_bits(precision):
        bits = np.packbits(vectors > 0, axis=-1)
        out[...] = bits if precision == "ubinary" else (bits ^ 0x80).view(np.int8)
        return
    if ranges is not None:
        least, greatest = ranges
        steps = (greatest - least) / np.float32(STEPS)
        steps[steps == 0] = 1
        np.subtract(vectors, least, out=vectors)
        np.divide(vectors, steps, out=vectors)
        np.floor(vectors, out=vectors)
        np.fmin(np.fmax(vectors, 0, out=vectors), STEPS, out=vectors)  # of a NaN the other one
        if precision == "int8":
            vectors -= 128
    np.copyto(out, vectors, casting="unsafe")


@in_default_float_environment
def values_of(codes: NDArray[Any], precision: Precision, dims: int) -> FloatArray:
    """The values that vectors in a precision stand for in comparisons, float32 [n, dims].

    Codes of int8 and uint8 stand for themselves (uint8 less 128), in steps of their range; a bit
    stands for 1 or -1.

    Args:
        codes: [n, `width_of`] of `DTYPES`.
        precision: theirs.
        dims: of the vectors.
    """
    if is_bits(precision):
        packed = codes.view(np.uint8) ^ np.uint8(0x80 if precision == "binary" else 0)
        bits = np.unpackbits(packed, axis=-1, count=dims)
        return bits.astype(np.float32) * 2 - 1
    values = codes.astype(np.float32)
    return values - 128 if precision == "uint8" else values
