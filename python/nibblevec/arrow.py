"""Arrow in, Arrow out, by the Arrow C interface: whoever speaks it, and no package needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nibblevec import _core

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence
    from typing import SupportsIndex

    from nibblevec.encoder import Encoder

# What a text that is null gives: a null, what an empty text gives, or a ValueError.
Nulls = Literal["null", "empty", "error"]

# What a vector is to Arrow: FixedSizeList<float32>[dims], or List<float32>.
ListType = Literal["fixed", "list"]

# A List has int32 offsets: so many numbers at most are in one array.
MAX_LIST_NUMBERS = (1 << 31) - 1


def check_choice(value: object, choices: Any, name: str) -> None:
    """Refuse what is none of a Literal's values.

    Raises:
        ValueError: it is not (names ``name`` and the values).
    """
    known = get_args(choices)
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, not {value!r:.80}")


def text_batches(obj: Any, column: str | None, nulls: Nulls) -> Iterator[_core.TextBatch]:
    """The texts of an object that speaks the Arrow C interface, checked, a few arrays at a time.

    Args:
        obj: has ``__arrow_c_array__`` or ``__arrow_c_stream__``; what it hands out is released
            when it has been read, or when the iterator is closed.
        column: where ``obj`` gives structs (a table): the column of this name.
        nulls: see `Nulls`.

    Raises:
        TypeError: ``obj`` does not speak it, or the column holds no texts; ``column`` is no str.
        ValueError: no column has this name, or one must be named; a text is null and ``nulls`` is
            ``"error"`` (names its row); an array contradicts itself or the specification.
        OSError: the producer failed (ValueError or MemoryError where it says EINVAL or ENOMEM).
    """
    if column is not None and not isinstance(column, str):
        raise TypeError(f"column is {type(column).__name__}, expected str")
    empty = nulls == "empty"
    if hasattr(obj, "__arrow_c_array__"):
        schema, array = obj.__arrow_c_array__()
        reader = _core.TextReader.of_array(schema, array, column=column, nulls_are_empty=empty)
    elif hasattr(obj, "__arrow_c_stream__"):
        stream = obj.__arrow_c_stream__()
        reader = _core.TextReader.of_stream(stream, column=column, nulls_are_empty=empty)
    else:
        raise TypeError(
            f"{type(obj).__name__} has neither __arrow_c_array__ nor __arrow_c_stream__"
        )
    while (batch := reader.read()) is not None:
        if nulls == "error" and batch.first_null is not None:
            raise ValueError(f"text {batch.first_number + batch.first_null} is null")
        yield batch


class ArrowVectors:
    """A column of vectors, float32 [dims] each or null, that any Arrow library takes.

    ``pyarrow.array(vectors)``, ``pyarrow.chunked_array(vectors)``, ``polars.Series(vectors)`` and
    the like copy nothing. The memory lives for as long as anybody uses it.

    See `Encoder.encode_arrow`.
    """

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
        """How many are null."""
        return sum(part.null_count for part in self._parts)

    def to_numpy(self) -> NDArray[np.float32]:
        """The vectors, float32 [n, dims], read-only; NaN in the rows of nulls.

        Nothing is copied, unless they came from several arrays and are put together now.
        """
        array = self._whole().array
        array.flags.writeable = False
        return array

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.to_numpy(), dtype, copy=copy)

    def _whole(self) -> _core.VectorRows:
        if len(self._parts) != 1:
            self._parts = [_core.VectorRows.joined(self._parts, self._dims)]
        return self._parts[0]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __arrow_c_schema__(self) -> object:
        return _core.arrow_schema(self._dims, self._list_type)

    # What consumers may ask for is one of what `encode_arrow` was asked for already.
    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        array = _core.arrow_array(self._whole(), self._list_type)
        return self.__arrow_c_schema__(), array

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return _core.arrow_stream(self._parts, self._dims, self._list_type, MAX_LIST_NUMBERS)

    def __repr__(self) -> str:
        return f"ArrowVectors({len(self)}, dims={self._dims}, list_type={self._list_type!r})"


class EncodeColumn:
    """Adds a column of vectors to tables: one picklable callable for distributed engines.

    A worker loads the model, mapped into memory, when it gets this object or makes it; all workers
    of a machine share the table. With ``threads=1``, the default, the engine decides how many
    work at once.

    Args:
        model: an `Encoder`, or what the constructor of one takes first.
        column: the column of texts.
        output: name of the column of vectors.
        nulls: as for `Encoder.encode_arrow`, like the rest.
        list_type: ditto; ``"list"`` for Spark.
        normalize_embeddings: ditto.
        truncate_dim: ditto.
        prompt_name: ditto.
        prompt: ditto.
        threads: of a call.

    Raises:
        ValueError: ``nulls`` or ``list_type`` is none of its values; as the constructor of
            `Encoder`.
    """

    def __init__(
        self,
        model: Encoder | str | os.PathLike[str] | None = None,
        *,
        column: str = "text",
        output: str = "embedding",
        nulls: Nulls = "null",
        list_type: ListType = "fixed",
        normalize_embeddings: bool = False,
        truncate_dim: SupportsIndex | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        threads: SupportsIndex | None = 1,
    ) -> None:
        from nibblevec.encoder import Encoder

        check_choice(nulls, Nulls, "nulls")
        check_choice(list_type, ListType, "list_type")
        self._encoder = model if isinstance(model, Encoder) else Encoder(model)
        self._output = output
        self._options: dict[str, Any] = {
            "column": column,
            "nulls": nulls,
            "list_type": list_type,
            "normalize_embeddings": normalize_embeddings,
            "truncate_dim": truncate_dim,
            "prompt_name": prompt_name,
            "prompt": prompt,
            "threads": threads,
        }

    def __call__(self, table: Any) -> Any:
        """The table with the column of vectors behind its own.

        Args:
            table: a ``pyarrow.Table`` or ``pyarrow.RecordBatch``; what else speaks the Arrow C
                interface as a table does becomes a ``pyarrow.Table`` first, which imports pyarrow.

        Raises:
            ValueError: it has a column of the output's name; as `Encoder.encode_arrow`.
            TypeError: as `Encoder.encode_arrow`.
        """
        import pyarrow

        if not isinstance(table, (pyarrow.Table, pyarrow.RecordBatch)):
            table = pyarrow.table(table)
        if self._output in table.schema.names:
            raise ValueError(f"there is a column named {self._output!r} already")
        vectors = self._encoder.encode_arrow(table, **self._options)
        if isinstance(table, pyarrow.Table):
            return table.append_column(self._output, pyarrow.chunked_array(vectors))
        return table.append_column(self._output, pyarrow.array(vectors))
