"""A layout: how it is recognised, read and written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nibblevec._layouts.place import Place
from nibblevec._model import Model

if TYPE_CHECKING:
    from nibblevec._layouts.tokenizers import ModelTokenizer


class Form:
    """One form of a layout that is read.

    Attributes:
        looked_for: what tells it from others, in words.
        is_in: whether a place has it; it raises what reading the place raises.
        load: loads the model of such a place.
        is_file: the place is a file; else a folder.
    """

    def __init__(
        self,
        looked_for: str,
        is_in: Callable[[Place], bool],
        load: Callable[[Place], Model],
        is_file: bool = False,
    ) -> None:
        self.looked_for = looked_for
        self.is_in = is_in
        self.load = load
        self.is_file = is_file


def _never(*_: object) -> bool:
    return False


class Writing:
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

    def __init__(
        self,
        words: str,
        row_formats: tuple[str, ...],
        write: Callable[[Model, ModelTokenizer, Any], None],
        losses: Callable[[Model, ModelTokenizer], dict[str, bool]],
        suffix: str | None = None,
        keeps_name: bool = False,
        suits: Callable[[Model], bool] = _never,
        has_row_by_id: Callable[[Model, str], bool] = _never,
        needs_float32: Callable[[Model], bool] = _never,
        tells_sums_by_float64: Callable[[Model], bool] = _never,
        decisive_names: tuple[str, ...] = (),
        other_names: tuple[str, ...] = (),
        own_names: Callable[[str], tuple[str, ...]] = lambda _folder: (),
    ) -> None:
        self.words = words
        self.row_formats = row_formats
        self.write = write
        self.losses = losses
        self.suffix = suffix
        self.keeps_name = keeps_name
        self.suits = suits
        self.has_row_by_id = has_row_by_id
        self.needs_float32 = needs_float32
        self.tells_sums_by_float64 = tells_sums_by_float64
        self.decisive_names = decisive_names
        self.other_names = other_names
        self.own_names = own_names


class Layout:
    """A way in which a model is kept on disk.

    Attributes:
        name: what commands call it.
        words: what it is, as the help says it.
        forms: those that are read.
        files: all files that a folder of it is read from, as paths with ``/``.
        signs: names that make a folder likely to hold it, if all of one set are there.
        writing: how it is written; None: it is only read.
    """

    def __init__(
        self,
        name: str,
        words: str,
        forms: tuple[Form, ...],
        files: tuple[str, ...] = (),
        signs: tuple[frozenset[str], ...] = (),
        writing: Writing | None = None,
    ) -> None:
        self.name = name
        self.words = words
        self.forms = forms
        self.files = files
        self.signs = signs
        self.writing = writing


def row_by_id_needs_float32(model: Model) -> bool:
    """Whether a row for each id, which counts as it is, must be float32 to lose nothing.

    Such rows are products with weights, or rows of sse_q4 in another order.
    """
    rules = model.token_rules
    return rules.weight_of_id is not None or (
        model.table.format == "sse_q4" and rules.ids is not None
    )
