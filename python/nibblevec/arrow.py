"""Arrow in, Arrow out: the callable for distributed engines, and the vectors of `encode_arrow`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nibblevec._arrow_columns import ArrowVectors, ListType, Nulls, check_choice
from nibblevec._encoder import Encoder

if TYPE_CHECKING:
    import os
    from typing import SupportsIndex

__all__ = ["ArrowVectors", "EncodeColumn", "ListType", "Nulls"]


class EncodeColumn:
    """Adds a column of vectors to tables: one picklable callable for distributed engines.

    A worker loads the model, mapped into memory, when it gets this object or makes it; all workers
    of a machine share the table. With ``threads=1``, the default, the engine decides how many
    work at once.

    Args:
        model: an `Encoder`, or the first argument of its constructor.
        column: the column of texts.
        output: name of the column of vectors.
        nulls, list_type, normalize_embeddings, truncate_dim, prompt_name, prompt: as for
            `Encoder.encode_arrow`; Spark needs the list type ``"list"``.
        threads: at most N in a call; None means all that this process may use.

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
            table: a ``pyarrow.Table`` or ``pyarrow.RecordBatch``; any other table with the Arrow C
                interface becomes a ``pyarrow.Table`` first.

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

    def __repr__(self) -> str:
        column = f"column={self._options['column']!r}"
        return f"EncodeColumn({self._encoder!r}, {column}, output={self._output!r})"
