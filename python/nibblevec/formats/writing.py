"""Models into any of the layouts."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from nibblevec.conversion import in_row_format, with_row_by_id
from nibblevec.float_environment import in_default_float_environment
from nibblevec.formats import gguf, load_model, model2vec, sentence_transformers, sse
from nibblevec.formats.ranges import RANGES_NAME, write_ranges
from nibblevec.model import Model, TokenizerJson
from nibblevec.model_files import ModelFormatError
from nibblevec.output_files import written_file, written_folder
from nibblevec.texts import surrogate_in


class Written(NamedTuple):
    """A layout that models are written in.

    Attributes:
        row_formats: what a table may be in; of the packed ones the first is the best choice.
        write: writes the files into an empty folder, given by its name, or into an open file.
    """

    row_formats: tuple[str, ...]
    write: Callable[[Model, Any], None]


WRITTEN = {
    "gguf": Written(("q4_k", "q6_k", "float32", "float16", "bfloat16", "int8"), gguf.write),
    "sse": Written(("sse_q4", "float32", "float16", "bfloat16"), sse.write),
    "static": Written(("float32", "float16", "bfloat16"), sentence_transformers.write),
    "model2vec": Written(("float32", "float16", "int8"), model2vec.write),
}

# Where there is a row for each id, which counts as it is.
ROW_BY_ID = ("sse", "static")

# Files without which a folder is no model, and others that a layout writes. Before
# sentence-transformers 6.0 `modules.json` named a folder within, where the weights are.
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


@in_default_float_environment
def save_model(
    model: Model,
    path: str,
    layout: str,
    row_format: str | None = None,
    *,
    threads: int | None = None,
) -> None:
    """Write a model; what is there under its name is replaced when all is written.

    Args:
        model: any model.
        path: a folder, or a file for ``"gguf"``.
        layout: one of `WRITTEN`.
        row_format: what the table is written in, one of the layout's; None: what it is in.
        threads: to pack a table, at most so many; None means all that this process may use.

    Raises:
        OSError: it cannot be written.
        ValueError: ``path`` is empty; the layout has no place for something that the model does, or
            holds no rows of this format; the rows do not fit the format; a prompt holds a lone
            surrogate; what was written cannot be loaded. What was there stays.
    """
    if not path:
        raise ValueError("the name of a model is empty")
    _check_texts(model, path)
    written = WRITTEN[layout]
    if layout in ROW_BY_ID:
        model = with_row_by_id(model)
    row_format = row_format or model.table.format
    if row_format not in written.row_formats:
        raise ValueError(
            f"the layout {layout!r} holds no rows of {row_format}, only of"
            f" {', '.join(written.row_formats)}"
        )
    model = model._replace(table=in_row_format(model.table, row_format, threads=threads))
    if layout == "gguf":
        with written_file(path) as file:
            written.write(model, file)
            file.flush()
            _check_loads(file.name)
        return
    with written_folder(path, DECISIVE_NAMES, _other_names(path)) as folder:
        written.write(model, folder)
        write_ranges(model.ranges, folder)
        _check_loads(folder)


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


def _check_loads(unfinished: str) -> None:
    """Refuse to put in the place of a model what cannot be loaded.

    Raises:
        ValueError: it cannot (the file, which nobody will see, is not named).
    """
    try:
        load_model(unfinished).load_tokenizer()
    except ModelFormatError as error:
        problem = f"what was written cannot be loaded: {error.field}: {error.problem}"
        raise ValueError(problem) from error
