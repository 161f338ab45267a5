"""``nibblevec verify``: a model's vectors against a second computation."""

from __future__ import annotations

import click

from nibblevec._cli.common import (
    TEXT_FILE,
    Command,
    check_texts,
    column_option,
    load,
    optional_model_argument,
)
from nibblevec._io.text_files import read_texts


@click.command(cls=Command)
@optional_model_argument
@click.argument("texts", metavar="[TEXTS]...", nargs=-1, type=TEXT_FILE)
@column_option
def verify(model: str | None, texts: tuple[str, ...], column: str | None) -> None:
    """Compare a model's vectors with those that plain NumPy and tokenizers give.

    MODEL is a folder, a GGUF file, a name on the Hugging Face hub, or "bundled", the default.
    TEXTS are files as for encode; some texts are built in and always compared.

    Every row of the table, and the ids and the mean of every text must be equal to the bit. The
    head is recomputed in float64; its values may be as far from that as float32 operations and a
    tanh within 2 units in the last place are. The exit code is 1 at the first difference.
    """
    from itertools import chain

    check_texts(texts, column, "TEXTS")
    from nibblevec._verification import BUILT_IN_TEXTS, Difference
    from nibblevec._verification import verify as compare

    outcome = compare(
        *(load(model), load(model)),
        chain(BUILT_IN_TEXTS, chain.from_iterable(read_texts(texts, column))),
    )
    if isinstance(outcome, Difference):
        where = "the tables differ"
        number = outcome.text_number
        if number is not None:
            given = number - len(BUILT_IN_TEXTS)
            where = f"row {given} of the texts" if given >= 0 else f"built-in text {number}"
        raise click.ClickException(f"{where}: {outcome.problem}")
    click.echo(
        f"{outcome.texts} texts, {outcome.tokens} tokens: rows, ids and means are equal to the bit,"
        f" vectors within {outcome.worst:.0%} of the allowed distance"
    )
