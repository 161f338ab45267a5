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
        looked_for: the files that distinguish it, in words.
        is_in: whether a place has this form; it raises the errors of reading the place.
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
        words: the written file or folder, as messages call it.
        row_formats: row formats that a table may have; the first packed one is preferred.
        write: writes a model, whose losses were refused before, into an empty folder, given by its
            name, or into an open file. A model has a row for each id where `has_row_by_id`.
        losses: features that the layout has no place for, in words, and whether a model has them.
        suffix: end of a file's name; None: a folder is written.
        keeps_name: a model's name and licence are kept.
        suits: whether this is the best layout for a model if the caller names none; the first one
            that suits is taken.
        has_row_by_id: whether a model whose table is in a row format is written with a row for
            each id, without weights.
        needs_float32: whether only float32 rows keep the bits of a model's vectors.
        tells_sums_by_float64: whether a float32 table is written as float64 to say that a model
            has sums in float64.
        decisive_names: files without which a folder is no model of this layout, in the order in
            which they are removed when another model replaces it.
        other_names: other files that such a folder may hold, by their paths.
        own_names: other files of a folder, given by its path, that belong to a model only if their
            content says so.
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
        name: its name in commands.
        words: its name in help, with an article.
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
    """Whether a row for each id, without weights, must be float32 to lose nothing.

    Such rows are products with weights, or rows of sse_q4 in another order.
    """
    rules = model.token_rules
    return rules.weight_of_id is not None or (
        model.table.format == "sse_q4" and rules.ids is not None
    )
