"""Columns of texts and of vectors over the Arrow C interface, without any package of Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

import nibblevec._core as _core

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

# The vector of a null text: a null, that of an empty text, or a ValueError.
Nulls = Literal["null", "empty", "error"]

# The Arrow type of a vector: FixedSizeList<float32>[dims], or List<float32>.
ListType = Literal["fixed", "list"]

# A List has int32 offsets, which bounds the values of one array.
MAX_LIST_VALUES = (1 << 31) - 1


def check_choice(value: object, choices: Any, name: str) -> None:
    """Refuse a value that a Literal does not have.

    Raises:
        ValueError: it is not (names ``name`` and the values).
    """
    known = get_args(choices)
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, not {value!r:.80}")


# Methods that give a reader of record batches: of a Scanner of pyarrow, of DuckDB.
READER_METHODS = ("to_reader", "to_arrow_reader")

# Methods whose result has the interface: of a LazyFrame; of a Spark and a Daft DataFrame; of ibis;
# of a Dataset of Hugging Face; of a ParquetFile. They may cost memory or use the network, so errors
# name them and the caller calls them.
OTHER_METHODS = ("collect", "toArrow", "to_arrow", "to_pyarrow", "to_polars", "read")


def _speaker(obj: Any, column: str | None) -> Any:
    """``obj``, or the reader that it gives."""
    if not _speaks(obj):
        reader = _reader_of(obj, column)
        if _speaks(reader):
            return reader
        found = type(obj).__name__
        raise TypeError(
            f"{found} has neither __arrow_c_array__ nor __arrow_c_stream__{_way_out(obj)}"
        )
    return obj


def _speaks(obj: Any) -> bool:
    # A class has the methods of its instances, and gives no texts.
    return not isinstance(obj, type) and (
        hasattr(obj, "__arrow_c_array__") or hasattr(obj, "__arrow_c_stream__")
    )


def _reader_of(obj: Any, column: str | None) -> Any:
    if isinstance(obj, type):
        return None
    if _can(obj, "scanner"):  # a Dataset of pyarrow, or a fragment of one: of no other columns
        obj = obj.scanner() if column is None else obj.scanner(columns=[column])
    method = next((name for name in READER_METHODS if _can(obj, name)), None)
    return None if method is None else getattr(obj, method)()


def _can(obj: Any, name: str) -> bool:
    return callable(getattr(obj, name, None))


def _way_out(obj: Any) -> str:
    if isinstance(obj, (str, list, tuple, np.ndarray)):
        return "; encode takes a str, a list and an array of str"
    method = next((name for name in OTHER_METHODS if _can(obj, name)), None)
    if method is not None and not isinstance(obj, type):
        return f"; what its {method}() gives may have one"
    return "; encode takes any iterable of str" if hasattr(obj, "__iter__") else ""


def text_batches(obj: Any, column: str | None, nulls: Nulls) -> Iterator[_core.TextBatch]:
    """The texts of an object with the Arrow C interface, checked, a few arrays at a time.

    Args:
        obj: has ``__arrow_c_array__`` or ``__arrow_c_stream__``, or gives a reader that has; its
            arrays are released when they have been read, or when the iterator is closed.
        column: name of the column of texts if ``obj`` is a table (gives structs).
        nulls: see `Nulls`.

    Raises:
        TypeError: ``obj`` has no such interface, or the column no texts; ``column`` is no str.
        ValueError: no column has this name, or one must be named; a text is null and ``nulls`` is
            ``"error"`` (names its number); an array contradicts itself or the specification.
        OSError: the producer failed (ValueError or MemoryError where it says EINVAL or ENOMEM).
    """
    if column is not None and not isinstance(column, str):
        raise TypeError(f"column is {type(column).__name__}, expected str")
    empty = nulls == "empty"
    speaker = _speaker(obj, column)
    if hasattr(speaker, "__arrow_c_array__"):
        schema, array = speaker.__arrow_c_array__()
        reader = _core.TextReader.of_array(schema, array, column=column, nulls_are_empty=empty)
    else:
        stream = speaker.__arrow_c_stream__()
        reader = _core.TextReader.of_stream(stream, column=column, nulls_are_empty=empty)
    while (batch := reader.read()) is not None:
        if nulls == "error" and batch.first_null is not None:
            raise ValueError(f"text {batch.first_number + batch.first_null} is null")
        yield batch


class ArrowVectors:
    """A column of vectors, float32 [dims] each or null, that any Arrow library takes.

    ``pyarrow.array(vectors)``, ``pyarrow.chunked_array(vectors)``, ``polars.Series(vectors)`` and
    the like copy nothing. The memory lives as long as any user of it. Vectors can be pickled.

    See `Encoder.encode_arrow`.
    """

    __module__ = "nibblevec.arrow"  # where it is public, for pickles

    def __init__(self, parts: Sequence[_core.VectorRows], dims: int, list_type: ListType) -> None:
        """Use `Encoder.encode_arrow`."""
        self._parts = list(parts)
        self._dims = dims
        self._list_type = list_type

    @property
    def dims(self) -> int:
        """Length of a vector."""
        return self._dims

    @property
    def null_count(self) -> int:
        """Number of null vectors."""
        return sum(part.null_count for part in self._parts)

    def to_numpy(self) -> NDArray[np.float32]:
        """The vectors, float32 [n, dims], read-only; NaN in the rows of nulls.

        An index such as FAISS takes NaN without an error: leave these rows out, see docs/arrow.md.
        Nothing is copied, unless the vectors came from several arrays and are joined now.
        """
        array = self._whole().array
        array.flags.writeable = False
        return array

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is None:  # which NumPy before 2 does not take
            return np.asarray(self.to_numpy(), dtype)
        return np.array(self.to_numpy(), dtype, copy=copy)

    def _whole(self) -> _core.VectorRows:
        if len(self._parts) != 1:
            self._parts = [_core.VectorRows.joined(self._parts, self._dims)]
        return self._parts[0]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __arrow_c_schema__(self) -> object:
        return _core.arrow_schema(self._dims, self._list_type)

    # A requested schema is ignored, as the protocol allows: `encode_arrow` was told the type.
    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        array = _core.arrow_array(self._whole(), self._list_type)
        return self.__arrow_c_schema__(), array

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return _core.arrow_stream(self._parts, self._dims, self._list_type, MAX_LIST_VALUES)

    def __reduce__(self) -> tuple[Any, ...]:
        states = [part.state() for part in self._parts]
        return type(self)._of_states, (states, self._dims, self._list_type)

    @classmethod
    def _of_states(
        cls, states: list[tuple[NDArray[np.float32], bytes]], dims: int, list_type: ListType
    ) -> ArrowVectors:
        parts = [_core.VectorRows.of_state(state) for state in states]
        return cls(parts, dims, list_type)

    def __repr__(self) -> str:
        return f"ArrowVectors({len(self)}, dims={self._dims}, list_type={self._list_type!r})"
