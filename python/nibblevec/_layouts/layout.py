"""A layout: how it is recognised, read and written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from nibblevec._layouts.place import Place
from nibblevec._model import Model

if TYPE_CHECKING:
    from nibblevec._layouts.tokenizers import ModelTokenizer


class Form(NamedTuple):
    """One form of a layout that is read.

    Attributes:
        looked_for: what tells it from others, in words.
        is_in: whether a place has it; it raises what reading the place raises.
        load: loads the model of such a place.
        is_file: the place is a file; else a folder.
    """

    looked_for: str
    is_in: Callable[[Place], bool]
    load: Callable[[Place], Model]
    is_file: bool = False


def _never(*_: object) -> bool:
    return False


class Writing(NamedTuple):
    """How models are written in a layout.

    Attributes:
        words: what is written, as messages say it.
        row_formats: what a table may be in; of the packed ones the first is the best choice.
        write: writes a model, whose losses were refused before, into an empty folder, given by its
            name, or into an open file. A model has a row for each id where `has_row_by_id`.
        losses: what the layout has no place for, in words, and whether a model needs it.
        suffix: end of a file's name; None: a folder is written.
        keeps_name: a model's name and licence are kept.
        suits: whether a model is best written in this layout where nobody says; the first one that
            suits is taken.
        has_row_by_id: whether a model is written with a row for each id, which counts as it is, if
            its table is in a row format.
        needs_float32: whether a model's vectors change in any row format but float32.
        tells_sums_by_float64: whether a model's sums in float64 are kept by writing a float32 table
            as float64.
        decisive_names: files without which a folder is no model of this layout, in the order in
            which they go when another model takes its place.
        other_names: other files that such a folder may hold, by their paths.
        own_names: more of them, in a folder given by its name, where only its content tells whether
            they are a model's.
    """

    words: str
    row_formats: tuple[str, ...]
    write: Callable[[Model, ModelTokenizer, Any], None]
    losses: Callable[[Model, ModelTokenizer], dict[str, bool]]
    suffix: str | None = None
    keeps_name: bool = False
    suits: Callable[[Model], bool] = _never
    has_row_by_id: Callable[[Model, str], bool] = _never
    needs_float32: Callable[[Model], bool] = _never
    tells_sums_by_float64: Callable[[Model], bool] = _never
    decisive_names: tuple[str, ...] = ()
    other_names: tuple[str, ...] = ()
    own_names: Callable[[str], tuple[str, ...]] = lambda _folder: ()


class Layout(NamedTuple):
    """A way in which a model is kept on disk.

    Attributes:
        name: what commands call it.
        words: what it is, as the help says it.
        forms: those that are read.
        files: all files that a folder of it is read from, as paths with ``/``.
        signs: names that make a folder likely to hold it, if all of one set are there.
        writing: how it is written; None: it is only read.
    """

    name: str
    words: str
    forms: tuple[Form, ...]
    files: tuple[str, ...] = ()
    signs: tuple[frozenset[str], ...] = ()
    writing: Writing | None = None
