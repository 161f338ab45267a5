"""Models converted into another layout or row format, and what that changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, NamedTuple

from nibblevec._layouts.distance import Distance, distance
from nibblevec._layouts.registry import COMPLETE, WRITTEN
from nibblevec._layouts.row_formats import fitting_format
from nibblevec._layouts.saving import fitting_layout, save_model
from nibblevec._layouts.tokenizers import ModelTokenizer

if TYPE_CHECKING:
    from nibblevec._model import Model


class ConversionError(ValueError):
    """An argument of `convert` does not go with the others, or with the model.

    Attributes:
        argument: its name.
    """

    def __init__(
        self, argument: Literal["out", "row_format", "name", "license"], problem: str
    ) -> None:
        super().__init__(problem)
        self.argument = argument


class Converted(NamedTuple):
    """The written model.

    Attributes:
        layout: of the written model, in words.
        row_format: of its table.
        file_bytes: size of all its files.
        table_bytes: size of its table.
        source_table_bytes: size of the source's table.
        distance: of its rows from those of the source.
    """

    layout: str
    row_format: str
    file_bytes: int
    table_bytes: int
    source_table_bytes: int
    distance: Distance


def convert(
    source: Model,
    out: str,
    layout: str | None = None,
    row_format: str | None = None,
    *,
    name: str | None = None,
    license: str | None = None,
    threads: int | None = None,
) -> Converted:
    """Write a model in another layout or row format; it is loaded again and compared.

    Args:
        source: any model.
        out: a file if it ends in the suffix of the layout, else a folder; replaced if it is there.
        layout: one of `WRITTEN`; None: the one that fits ``out`` and the model.
        row_format: of the table; None: the source's own if the layout holds it, else the layout's
            packed one, else float32.
        name: of the model; None: the source's.
        license: of the model; None: the source's.
        threads: quantise on at most N; None: the CPUs that this process may use.

    Raises:
        ConversionError: ``out`` lacks the suffix of the layout, or has that of another one; the
            layout keeps no name or licence, or holds no rows of this format.
        OSError: a file cannot be read or written.
        ValueError: see `save_model`.
    """
    source = source._replace(name=name or source.name, license=license or source.license)
    tokenizer = ModelTokenizer(source, warns=True)
    tokenizer.loaded  # noqa: B018  # its errors come before anything is written
    layout = layout or fitting_layout(source, out)
    writing = WRITTEN[layout]
    _check_suffix(out, layout)
    if not writing.keeps_name and (name or license):
        problem = f"only {COMPLETE.words} has a place for it"
        raise ConversionError("name" if name else "license", problem)
    allowed = writing.row_formats
    if row_format is None:
        row_format = fitting_format(source.table, allowed)
    elif writing.tells_sums_by_float64(source):
        source = source._replace(wide_sums=False)  # else float32 would be written as float64
    if row_format not in allowed:
        problem = f"{layout} holds {', '.join(allowed)}, not {row_format}"
        raise ConversionError("row_format", problem)
    results: list[Converted] = []

    def look(written: Model, path: str) -> None:
        results.append(
            Converted(
                written.layout,
                written.table.format,
                _bytes_of(path),
                written.table.nbytes,
                source.table.nbytes,
                distance(source, written),
            )
        )

    # Not afterwards: another process may replace it at once.
    save_model(source, out, layout, row_format, tokenizer=tokenizer, threads=threads, look=look)
    return results[0]


def _check_suffix(out: str, layout: str) -> None:
    name = out.rstrip("/").lower()
    own = WRITTEN[layout].suffix
    if own is not None and not name.endswith(own):
        raise ConversionError("out", f"{WRITTEN[layout].words} must end in {own}")
    for writing in WRITTEN.values():
        if writing.suffix not in (None, own) and name.endswith(writing.suffix):
            raise ConversionError("out", f"only {writing.words} may end in {writing.suffix}")


def _bytes_of(path: str) -> int:
    if not os.path.isdir(path):
        return os.path.getsize(path)
    return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())
