"""The packed embedding bag by itself."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

import nibblevec._core as _core
from nibblevec._float_environment import in_default_float_environment
from nibblevec._threads import thread_count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import SupportsIndex

    from numpy.typing import ArrayLike, DTypeLike, NDArray
    from typing_extensions import Buffer

    FloatArray = NDArray[np.float32]

MAX_DIM = 1 << 24

RowFormat = Literal["sse_q4", "float32", "float16", "bfloat16", "int8", "q4_k", "q6_k"]
QuantizedFormat = Literal["sse_q4", "q4_k", "q6_k"]

ROW_FORMATS: tuple[RowFormat, ...] = get_args(RowFormat)
PACKED_FORMATS: tuple[QuantizedFormat, ...] = get_args(QuantizedFormat)
PLAIN_FORMATS = tuple(name for name in ROW_FORMATS if name not in PACKED_FORMATS)


def kernels() -> list[str]:
    """Instruction sets that this CPU runs, the one in use first.

    ``NIBBLEVEC_ISA`` names another than the fastest; the result of a call never depends on it.

    Raises:
        ValueError: ``NIBBLEVEC_ISA`` names one that is unknown or that this CPU lacks.

    >>> "portable" in kernels()
    True
    """
    return _core.kernels()


class Table:
    """Token embeddings kept in few bits (or as floats), summed a bag of tokens at a time.

    The table stays in the bytes it came in: nothing is expanded. Rows are added in token order in
    float32, so the bits depend on neither the instruction set nor the number of threads.

    >>> import numpy as np
    >>> table = Table.quantize(np.eye(4, dtype=np.float32))
    >>> table.sum_rows([0, 1, 1], [0, 1, 3]).round(3)
    array([[0.987, 0.066, 0.066, 0.066],
           [0.132, 1.974, 0.132, 0.132]], dtype=float32)
    """

    def __init__(self, buffer: NDArray[np.uint8], dim: int, format: RowFormat) -> None:
        """Use `from_buffer` or `quantize`."""
        self._buffer = buffer
        self._native = _core.Table(buffer, dim, format)

    @classmethod
    def from_buffer(
        cls, buffer: Buffer | NDArray[Any], *, dim: int, format: RowFormat = "sse_q4"
    ) -> Table:
        """Take a table from anything that holds its bytes: bytes, an array, a memory map.

        Nothing is copied. The table keeps the buffer alive; it must not be changed meanwhile.

        Args:
            buffer: contiguous. ``"sse_q4"``: uint8 [rows, dim / 2], the high nibble being the even
                dimension, then float32 [rows] scales; a weight is ``(q / 7.5 - 1) * scale``.
                ``"float32"``, ``"float16"``, ``"bfloat16"``, ``"int8"``: [rows, dim] of these.
                ``"q4_k"``, ``"q6_k"``: ggml's superblocks of 256 weights, [rows, dim / 256] of 144
                or 210 bytes; a weight is ``(d * scale) * q - (dmin * min)`` or
                ``(d * scale) * (q - 32)``. Little-endian; need not be aligned.
            dim: number of dimensions, even for ``"sse_q4"``, a multiple of 256 for ``"q4_k"`` and
                ``"q6_k"``.
            format: row format.

        Raises:
            ValueError: the size is not a whole number of rows, ``dim`` does not fit the format, a
                scale of a row (or ``d`` or ``dmin`` of a superblock) is not finite, or the buffer
                is not contiguous.

        Source: the published quantised Stable Static Embedding model, `embedding.q4_k_m.bin`;
        for ``"q4_k"`` and ``"q6_k"`` `gguf.quants.dequantize`, whose bits the weights have.
        """
        # Before Python 3.12 the types do not say that an array is a buffer.
        dim = operator.index(dim)
        if not 0 < dim <= MAX_DIM:
            raise ValueError(f"dim {dim} is not in 1..{MAX_DIM}")
        view = memoryview(cast("Buffer", buffer))
        if not view.c_contiguous:
            raise ValueError("the buffer of a table must be contiguous")
        return cls(np.frombuffer(view, np.uint8), dim, format)

    @classmethod
    def quantize(
        cls,
        weights: ArrayLike,
        format: QuantizedFormat = "sse_q4",
        *,
        search: bool = True,
        threads: SupportsIndex | None = None,
    ) -> Table:
        """Pack float rows into a few bits a weight, with the least squared error that is found.

        ``"sse_q4"``: 4 bits a weight and a float32 scale a row, in the format of the published
        model, and with an error that is never above its rule's on any row. ``"q4_k"``, ``"q6_k"``:
        ggml's, 4.5 and 6.5625 bits a weight, with scales for every 32 and 16 weights; no
        superblock is worse than plain rounding between the ends of these. Nothing is random: the
        bytes depend on neither the CPU nor the number of threads.

        Args:
            weights: [rows, dim], taken as float32; ``dim`` even for ``"sse_q4"``, a multiple of
                256 for ``"q4_k"`` and ``"q6_k"``.
            format: row format to pack into.
            search: False for ``"sse_q4"`` by the published rule, bit for bit:
                ``scale = max|row| + 1e-8``, ``q = clip(round_half_even((w / scale + 1) * 7.5), 0,
                15)``, in float32. The other formats have no such rule.
            threads: at most N; None means all that this process may use.

        Raises:
            ValueError: a weight is not finite, or beyond 4,126,752 in ``"q4_k"`` or 257,889,248 in
                ``"q6_k"``, whose scales are float16 (names the row); there is no row; ``dim`` does
                not fit the format; ``search=False`` for another format than ``"sse_q4"``.

        >>> import numpy as np
        >>> weights = np.random.default_rng(0).standard_normal((100, 256), np.float32)
        >>> for format, search in (("sse_q4", False), ("sse_q4", True), ("q4_k", True)):
        ...     table = Table.quantize(weights, format, search=search)
        ...     print(format, table.nbytes, f"{np.square(table.dequantize() - weights).mean():.4f}")
        sse_q4 13200 0.0136
        sse_q4 13200 0.0105
        q4_k 14400 0.0049
        """
        array = _as_float32(weights)
        packed = _core.quantize(array, format, search=search, threads=thread_count(threads))
        return cls(packed, array.shape[1], format)

    @property
    def native(self) -> _core.Table:
        """The same for the kernel."""
        return self._native

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self._native.rows

    @property
    def dim(self) -> int:
        """Number of dimensions of a row."""
        return self._native.dim

    @property
    def format(self) -> RowFormat:
        """Row format, one of those that `from_buffer` lists."""
        return cast(RowFormat, self._native.format)

    @property
    def nbytes(self) -> int:
        """Size of the table in bytes, scales included."""
        return self._buffer.nbytes

    @property
    def buffer(self) -> NDArray[np.uint8]:
        """The bytes of the table, uint8 [nbytes], as `from_buffer` takes them; read-only."""
        view = self._buffer.view()
        view.flags.writeable = False
        return view

    def sum_rows(
        self,
        ids: ArrayLike,
        offsets: ArrayLike,
        *,
        dims: SupportsIndex | None = None,
        per_token_weights: ArrayLike | None = None,
        threads: SupportsIndex | None = None,
        out: FloatArray | None = None,
    ) -> FloatArray:
        """Add up the rows of each bag of tokens.

        Args:
            ids: row numbers of all bags end to end, any integer type, [tokens].
            offsets: start of each bag in ``ids`` and the end of the last, [bags + 1], not
                decreasing.
            dims: only the first N dimensions (the others are not read); None means all.
            per_token_weights: float32 [tokens]; each row is multiplied by its weight first.
            threads: at most N; None means all that this process may use. Short work takes one.
            out: float32 [bags, dims], C-contiguous, written and returned.

        Returns:
            float32 [bags, dims]; an empty bag gives zeros.

        Raises:
            IndexError: an id is not in ``0 .. rows - 1`` (names its position).
            TypeError: ids or offsets are not integers.
            ValueError: offsets decrease or leave ``ids``; ``dims`` is not in ``1 .. dim``; ``out``
                or the weights have another shape or type; ``out`` overlaps the table or the
                weights.
        """
        return self._pool(ids, offsets, dims, per_token_weights, threads, out, mean=False)

    def mean_rows(
        self,
        ids: ArrayLike,
        offsets: ArrayLike,
        *,
        dims: SupportsIndex | None = None,
        per_token_weights: ArrayLike | None = None,
        threads: SupportsIndex | None = None,
        out: FloatArray | None = None,
    ) -> FloatArray:
        """Average the rows of each bag: `sum_rows` divided by the number of its tokens.

        The bits are those of ``torch.nn.EmbeddingBag(mode="mean")`` over the expanded table.
        Arguments, result and errors are those of `sum_rows`.
        """
        return self._pool(ids, offsets, dims, per_token_weights, threads, out, mean=True)

    def dequantize(self, row_ids: ArrayLike | None = None) -> FloatArray:
        """Decode rows to float32.

        Args:
            row_ids: any integer type, [n]; None means all rows.

        Returns:
            float32 [n, dim].

        Raises:
            IndexError: a row number is not in ``0 .. rows - 1``.
        """
        rows = np.arange(self.rows) if row_ids is None else integers(row_ids, "row_ids")
        return _core.dequantize(self._native, rows)

    def _pool(
        self,
        ids: ArrayLike,
        offsets: ArrayLike,
        dims: SupportsIndex | None,
        weights: ArrayLike | None,
        threads: SupportsIndex | None,
        out: FloatArray | None,
        *,
        mean: bool,
    ) -> FloatArray:
        ids = integers(ids, "ids")
        offsets = integers(offsets, "offsets").astype(np.int64, copy=False)
        dims = checked_dims(dims, self.dim, "dims")
        out = output_array(out, (max(len(offsets) - 1, 0), dims))
        if weights is not None:
            weights = _as_float32(weights)
        _core.pool(
            self._native,
            ids,
            offsets,
            out,
            weights=weights,
            mean=mean,
            threads=thread_count(threads),
        )
        return out

    def __reduce__(self) -> tuple[Callable[..., Table], tuple[bytes, int, str]]:
        return type(self)._from_bytes, (self._buffer.tobytes(), self.dim, self.format)

    @classmethod
    def _from_bytes(cls, buffer: bytes, dim: int, format: RowFormat) -> Table:
        return cls.from_buffer(buffer, dim=dim, format=format)

    def __repr__(self) -> str:
        return f"Table({self.format}, rows={self.rows}, dim={self.dim}, nbytes={self.nbytes})"


@in_default_float_environment
def _as_float32(weights: ArrayLike) -> FloatArray:
    return np.require(weights, np.float32, ["C", "A"])


def integers(values: ArrayLike, name: str) -> NDArray[np.integer[Any]]:
    """A one-dimensional contiguous array of integers in native byte order, copied if need be.

    Raises:
        TypeError: other numbers, or none.
        ValueError: another shape.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, not {array.ndim}")
    if array.size == 0 and isinstance(values, (list, tuple)):
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, not {array.dtype}")
    return np.require(array, array.dtype.newbyteorder("="), ["C", "A"])


def checked_dims(dims: SupportsIndex | None, dim: int, name: str) -> int:
    """``dims``, or ``dim`` for None.

    Raises:
        ValueError: not in ``1 .. dim``.
    """
    if dims is None:
        return dim
    count = operator.index(dims)
    if not 1 <= count <= dim:
        raise ValueError(f"{name} {count} is not in 1..{dim}")
    return count


def output_array(
    out: NDArray[Any] | None, shape: Sequence[int], dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """``out`` if it is an array of this shape and type that can be written in place, or a new one.

    Raises:
        TypeError: ``out`` is not an array.
        ValueError: another type, shape or layout, or it is read-only.
    """
    shape = tuple(shape)
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, not {type(out).__name__}")
    if out.dtype != dtype or out.shape != shape:
        expected = f"{np.dtype(dtype)} {list(shape)}"
        raise ValueError(f"out is {out.dtype} {list(out.shape)}, expected {expected}")
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise ValueError("out must be C-contiguous, aligned and writeable")
    return out
