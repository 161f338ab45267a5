"""Models into any of the layouts."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from nibblevec._containers.files import ModelFormatError
from nibblevec._containers.tensors import has_wide_weights
from nibblevec._float_environment import in_default_float_environment
from nibblevec._io.output_files import written_file
from nibblevec._io.output_folders import written_folder
from nibblevec._layouts import gguf, load_model, model2vec, sentence_transformers, sse
from nibblevec._layouts.conversion import SUPERBLOCK_WEIGHTS, in_row_format, with_row_by_id
from nibblevec._layouts.losses import losses_of_precision, refuse_losses
from nibblevec._layouts.ranges import RANGES_NAME, write_ranges
from nibblevec._model import Model, TokenizerJson
from nibblevec._printing import warn
from nibblevec._texts import surrogate_in


class Written(NamedTuple):
    """A layout that models are written in.

    Attributes:
        words: what is written.
        row_formats: what a table may be in; of the packed ones the first is the best choice.
        write: writes the files into an empty folder, given by its name, or into an open file.
    """

    words: str
    row_formats: tuple[str, ...]
    write: Callable[[Model, Any], None]


WRITTEN = {
    "gguf": Written(
        "a GGUF file", ("q4_k", "q6_k", "float32", "float16", "bfloat16", "int8"), gguf.write
    ),
    "sse": Written("an SSE folder", ("sse_q4", "float32", "float16", "bfloat16"), sse.write),
    "static": Written(
        "a StaticEmbedding folder",
        ("float32", "float16", "bfloat16"),
        sentence_transformers.write,
    ),
    "model2vec": Written("a Model2Vec folder", ("float32", "float16", "int8"), model2vec.write),
}

# Where there is a row for each id, which counts as it is.
ROW_BY_ID = ("sse", "static")

# Files without which a folder is no model, and others that a layout writes. Before
# sentence-transformers 6.0 `modules.json` named a folder within, where the weights are. The float
# table goes first, since a folder may hold both, of which the other counts; it comes last, since
# `modules.json` says what becomes of it.
DECISIVE_NAMES = (sse.FLOAT_NAME, sentence_transformers.MODULES_NAME, sse.TABLE_NAME)
OTHER_NAMES = (
    TokenizerJson.NAME,
    sse.HEAD_NAME,
    sentence_transformers.SETTINGS_NAME,
    RANGES_NAME,
    # Not written, but read where what is written names its folder.
    os.path.join(sentence_transformers.NORMALIZE_FOLDER, sentence_transformers.MODULE_CONFIG_NAME),
)


def fitting_layout(model: Model, path: str) -> str:
    """Which of the layouts of `WRITTEN` a model is best written in, where nobody says.

    GGUF where the name ends so, else what the model is: with a head SSE, with Model2Vec's rules
    that, else a `StaticEmbedding`.
    """
    if path.rstrip("/").lower().endswith(gguf.SUFFIX):  # a folder called so could not be loaded
        return "gguf"
    if model.head is not None:
        return "sse"
    return "model2vec" if model.token_rules.drops_unknown else "static"


def save_unchanged(model: Model, path: str, *, mmap: bool = True) -> None:
    """Write a model so that it gives, when it is loaded, the vectors that it gives now.

    Rows in a format that the layout does not hold become float32, the weights that they stand for.

    Args:
        model: any model.
        path: a file if it ends in ``.gguf``, else a folder.
        mmap: as for `save_model`.

    Raises:
        OSError: it cannot be written.
        ValueError: as `save_model`, and where only precision would be lost.

    Warns:
        UserWarning: the table is written in more bytes than it has (before anything is written).
    """
    layout = fitting_layout(model, path)
    row_format = _exact_format(model, layout)
    _warn_of_growth(model, path, layout, row_format)
    save_model(model, path, layout, row_format, unchanged=True, mmap=mmap)


def _exact_format(model: Model, layout: str) -> str:
    """The row format of a layout in which no weight of a model changes, nor what is done to it."""
    table, weights = model.table, model.token_rules.weight_of_id
    own = table.format
    widens = False
    if layout in ROW_BY_ID:  # other rows than those that there are
        widens = weights is not None or (own == "sse_q4" and model.token_rules.ids is not None)
    if layout == "static":
        widens |= model.wide_sums
    if layout == "model2vec":
        wide_weights = has_wide_weights(model.token_rules)
        # Float64 sums are told by float64 numbers; a float16 mean by a float16 table.
        widens = wide_weights != model.wide_sums or (
            own == "float16" and model.normalization == "model2vec"
        )
    return "float32" if widens or own not in WRITTEN[layout].row_formats else own


def _warn_of_growth(model: Model, path: str, layout: str, row_format: str) -> None:
    table, rows = model.table, model.table.rows
    if _takes_row_by_id(model, layout, row_format):
        rows = model.token_rules.ids or rows
    number_bytes = {"float32": 4, "float16": 2, "bfloat16": 2}
    if row_format == table.format and rows == table.rows:
        stored_bytes = model.stored_table_bytes
        if stored_bytes is not None and stored_bytes < table.nbytes:
            warn(
                f"{path}: {stored_bytes} bytes of the model's files become {table.nbytes} bytes of"
                f" {row_format}, since rows times float16 weights are kept as a row for each token;"
                " a copy of the files stays as small",
                stacklevel=4,
            )
        return
    if row_format not in number_bytes:
        return
    wide_rows = model.wide_sums and (
        layout == "static" or (layout == "model2vec" and not has_wide_weights(model.token_rules))
    )
    is_wide = row_format == "float32" and wide_rows
    written_bytes = rows * table.dim * (8 if is_wide else number_bytes[row_format])
    if written_bytes <= table.nbytes:
        return
    if table.format in WRITTEN["gguf"].row_formats:
        way_out = "a name that ends in .gguf keeps them"
    elif model.head is not None and layout == "gguf":
        way_out = "a folder keeps them"
    elif table.dim % SUPERBLOCK_WEIGHTS == 0:
        way_out = "quantize='q4_k' packs the float model for a name that ends in .gguf"
    else:
        way_out = "`nibblevec convert --format float16` halves that, with other vectors"
    reason = "wants a row for each token" if rows != table.rows else "has no place for such rows"
    warn(
        f"{path}: {table.nbytes} bytes of {table.format} become {written_bytes} bytes of"
        f" {'float64' if is_wide else row_format}, since {WRITTEN[layout].words} {reason};"
        f" {way_out}",
        stacklevel=4,
    )


@in_default_float_environment
def save_model(
    model: Model,
    path: str,
    layout: str,
    row_format: str | None = None,
    *,
    threads: int | None = None,
    unchanged: bool = False,
    mmap: bool = True,
    look: Callable[[Model, str], None] | None = None,
) -> None:
    """Write a model; what is there under its name is replaced when all is written.

    Args:
        model: any model.
        path: a folder, or a file for ``"gguf"``.
        layout: one of `WRITTEN`.
        row_format: what the table is written in, one of the layout's; None: what it is in.
        threads: to pack a table, at most so many; None means all that this process may use.
        unchanged: refuse where all but the rows would lose precision too, as by another norm.
        mmap: map the table that was written into memory to check it, instead of reading it.
        look: called with the model that was written, loaded again, and with the name that it has
            before it gets its own; it must keep neither.

    Raises:
        OSError: it cannot be written.
        ValueError: ``path`` is empty; the layout has no place for something that the model does, or
            holds no rows of this format; the rows do not fit the format; a prompt holds a lone
            surrogate; what was written cannot be loaded. What was there stays.
    """
    if not path:
        raise ValueError("the name of a model is empty")
    _check_texts(model, path)
    written, source = WRITTEN[layout], model
    if _takes_row_by_id(model, layout, row_format):
        model = with_row_by_id(model)
    row_format = row_format or model.table.format
    if row_format not in written.row_formats:
        raise ValueError(
            f"the layout {layout!r} holds no rows of {row_format}, only of"
            f" {', '.join(written.row_formats)}"
        )
    model = model._replace(table=in_row_format(model.table, row_format, threads=threads))

    def check(unfinished: str) -> None:
        again = _loaded_again(unfinished, mmap=mmap)
        if unchanged:
            refuse_losses(written.words, losses_of_precision(source, again))
        if look is not None:
            look(again, unfinished)

    if layout == "gguf":
        with written_file(path) as file:
            written.write(model, file)
            file.flush()
            check(file.name)
        return
    with written_folder(path, DECISIVE_NAMES, _other_names) as folder:
        written.write(model, folder)
        write_ranges(model.ranges, folder)
        check(folder)


def _takes_row_by_id(model: Model, layout: str, row_format: str | None) -> bool:
    """Whether a layout has a row for each id, or leaves no other choice."""
    weights = model.token_rules.weight_of_id
    if weights is not None and layout == "static":
        # Products in float64 are none that float32 holds.
        return not (model.wide_sums and (row_format or model.table.format) == "float32")
    if weights is not None and layout == "model2vec":  # where they would make sums wide
        return has_wide_weights(model.token_rules) and not model.wide_sums
    return layout in ROW_BY_ID


def _check_texts(model: Model, path: str) -> None:
    """Refuse what no file can hold.

    Raises:
        ValueError: a prompt, its name, or what is said of the model holds a surrogate.
    """
    texts = {"name": model.name, "license": model.license}
    for name, prompt in model.prompts.items():
        texts |= {f"the name of the prompt {name!a:.80}": name, f"prompt {name!a:.80}": prompt}
    for what, text in texts.items():
        if (surrogate := surrogate_in(text or "")) is not None:
            raise ValueError(f"{path}: {what} holds {surrogate}")


def _other_names(folder: str) -> tuple[str, ...]:
    """Those of `OTHER_NAMES`, and ``config.json`` if it is Model2Vec's: many other things have one.

    Raises:
        OSError: it is there and cannot be read, or is not a regular file.
    """
    try:
        is_old_config = model2vec.has_own_config(folder)
    except ModelFormatError:
        is_old_config = False
    return (*OTHER_NAMES, model2vec.CONFIG_NAME) if is_old_config else OTHER_NAMES


def _loaded_again(unfinished: str, *, mmap: bool) -> Model:
    """What was written, so that nothing takes the place of a model that cannot be loaded.

    Raises:
        ValueError: it cannot (the file, which nobody will see, is not named).
    """
    try:
        written = load_model(unfinished, mmap=mmap)
        written.load_tokenizer(warns=False)
    except ModelFormatError as error:
        problem = f"what was written cannot be loaded: {error.field}: {error.problem}"
        raise ValueError(problem) from error
    return written
