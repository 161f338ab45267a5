"""Models written in any layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from nibblevec._containers.files import ModelFormatError
from nibblevec._float_environment import in_default_float_environment
from nibblevec._io.output_files import written_file
from nibblevec._io.output_folders import written_folder
from nibblevec._layouts.layout import Writing
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.losses import losses_of_precision, refuse_losses
from nibblevec._layouts.ranges import write_ranges
from nibblevec._layouts.registry import COMPLETE, DECISIVE_NAMES, WRITTEN, other_names
from nibblevec._layouts.row_formats import SUPERBLOCK_WEIGHTS, in_row_format, with_row_by_id
from nibblevec._layouts.tokenizers import ModelTokenizer
from nibblevec._model import Model
from nibblevec._printing import warn
from nibblevec._texts import surrogate_in

if TYPE_CHECKING:
    from nibblevec._tokenization.ids import IdsInUse

# Bytes of a weight in the row formats that a table may grow into.
WEIGHT_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def fitting_layout(model: Model, path: str) -> str:
    """The best of the layouts of `WRITTEN` for a model, if the caller names none.

    The one whose files end as the name does, else the first one that suits the model: SSE with a
    Dynamic Tanh, Model2Vec with its rules, else a `StaticEmbedding`.
    """
    name = path.rstrip("/").lower()  # a folder called as a file could not be loaded
    for layout, writing in WRITTEN.items():
        if writing.suffix is not None and name.endswith(writing.suffix):
            return layout
    return next(layout for layout, writing in WRITTEN.items() if writing.suits(model))


def save_unchanged(
    model: Model, path: str, *, ids: IdsInUse | None = None, mmap: bool = True
) -> None:
    """Write a model so that it gives, when it is loaded, the vectors that it gives now.

    Rows in a format that the layout does not hold are decoded to float32.

    Args:
        model: any model.
        path: a file if it ends in ``.gguf``, else a folder.
        ids: those of the model's tokens, if the caller has them.
        mmap: as for `save_model`.

    Raises:
        OSError: it cannot be written.
        ValueError: as `save_model`, and where only precision would be lost.

    Warns:
        UserWarning: the table is written in more bytes than it has (before anything is written).
    """
    layout = fitting_layout(model, path)
    writing = WRITTEN[layout]
    row_format = _exact_format(model, writing)
    _warn_of_growth(model, path, writing, row_format)
    tokenizer = ModelTokenizer(model, ids=ids)
    save_model(model, path, layout, row_format, tokenizer=tokenizer, unchanged=True, mmap=mmap)


def _exact_format(model: Model, writing: Writing) -> str:
    """The row format of a layout in which the vectors of a model keep their bits."""
    own = model.table.format
    return "float32" if own not in writing.row_formats or writing.needs_float32(model) else own


def _warn_of_growth(model: Model, path: str, writing: Writing, row_format: str) -> None:
    table, rows = model.table, model.table.rows
    if writing.has_row_by_id(model, row_format):
        rows = model.token_rules.ids or rows
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
    if row_format not in WEIGHT_BYTES:
        return
    is_wide = row_format == "float32" and model.wide_sums and writing.tells_sums_by_float64(model)
    written_bytes = rows * table.dim * (8 if is_wide else WEIGHT_BYTES[row_format])
    if written_bytes <= table.nbytes:
        return
    if table.format in COMPLETE.row_formats:
        way_out = f"a name that ends in {COMPLETE.suffix} keeps them"
    elif model.dynamic_tanh is not None and writing is COMPLETE:
        way_out = "a folder keeps them"
    elif table.dim % SUPERBLOCK_WEIGHTS == 0:
        way_out = f"quantize='q4_k' packs the float model for a name that ends in {COMPLETE.suffix}"
    else:
        way_out = "`nibblevec convert --format float16` halves that, with other vectors"
    reason = "wants a row for each token" if rows != table.rows else "has no place for such rows"
    warn(
        f"{path}: {table.nbytes} bytes of {table.format} become {written_bytes} bytes of"
        f" {'float64' if is_wide else row_format}, since {writing.words} {reason}; {way_out}",
        stacklevel=4,
    )


@in_default_float_environment
def save_model(
    model: Model,
    path: str,
    layout: str,
    row_format: str | None = None,
    *,
    tokenizer: ModelTokenizer | None = None,
    threads: int | None = None,
    unchanged: bool = False,
    mmap: bool = True,
    look: Callable[[Model, str], None] | None = None,
) -> None:
    """Write a model; an old one of the same name is replaced when all is written.

    The written model and its tokenizer are loaded again before they get their name.

    Args:
        model: any model.
        path: a folder, or a file for ``"gguf"``.
        layout: one of `WRITTEN`.
        row_format: of the written table, one of the layout's; None: the table's own.
        tokenizer: that of the model, if the caller has it.
        threads: pack on at most N; None: the CPUs that this process may use.
        unchanged: refuse other losses of precision than those of rows, such as another norm.
        mmap: map the table that was written into memory to check it, instead of reading it.
        look: called with the written model, loaded again, and its temporary path; it must keep
            neither.

    Raises:
        OSError: it cannot be written.
        ValueError: ``path`` is empty; the layout has no place for a feature of the model, or holds
            no rows of this format; the rows do not fit the format; a prompt holds a lone surrogate;
            the written model cannot be loaded. An old model stays.
    """
    if not path:
        raise ValueError("the name of a model is empty")
    _check_texts(model, path)
    writing = WRITTEN[layout]
    model_tokenizer = tokenizer or ModelTokenizer(model)
    if writing.has_row_by_id(model, row_format or model.table.format):
        model = with_row_by_id(model)
    row_format = row_format or model.table.format
    if row_format not in writing.row_formats:
        raise ValueError(
            f"the layout {layout!r} holds no rows of {row_format}, only of"
            f" {', '.join(writing.row_formats)}"
        )
    model = model._replace(table=in_row_format(model.table, row_format, threads=threads))

    def write(target: str | IO[bytes]) -> None:
        refuse_losses(writing.words, writing.losses(model, model_tokenizer), COMPLETE.words)
        writing.write(model, model_tokenizer, target)

    def check(unfinished: str) -> None:
        written = _loaded_again(unfinished, mmap=mmap)
        if unchanged:
            losses = losses_of_precision(model_tokenizer, written)
            refuse_losses(writing.words, losses, COMPLETE.words)
        if look is not None:
            look(written.model, unfinished)

    if writing.suffix is not None:
        with written_file(path) as file:
            write(file)
            file.flush()
            check(file.name)
        return
    with written_folder(path, DECISIVE_NAMES, other_names) as folder:
        write(folder)
        write_ranges(model.ranges, folder)
        check(folder)


def _check_texts(model: Model, path: str) -> None:
    """Refuse texts that no file can hold.

    Raises:
        ValueError: a prompt, its name, or the model's name or licence holds a surrogate.
    """
    texts = {"name": model.name, "license": model.license}
    for name, prompt in model.prompts.items():
        texts |= {f"the name of the prompt {name!a:.80}": name, f"prompt {name!a:.80}": prompt}
    for what, text in texts.items():
        if (surrogate := surrogate_in(text or "")) is not None:
            raise ValueError(f"{path}: {what} holds {surrogate}")


def _loaded_again(unfinished: str, *, mmap: bool) -> ModelTokenizer:
    """The written model, loaded before it replaces another one.

    Raises:
        ValueError: it cannot be loaded (the file is temporary, so it is not named).
    """
    try:
        written = ModelTokenizer(load_model(unfinished, mmap=mmap))
        written.loaded  # noqa: B018  # it may be refused too
    except ModelFormatError as error:
        problem = f"what was written cannot be loaded: {error.field}: {error.problem}"
        raise ValueError(problem) from error
    return written
