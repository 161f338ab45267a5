"""``nibblevec encode``: files of texts to a file of vectors."""

from __future__ import annotations

import os
import time
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from nibblevec._blocks import text_batches
from nibblevec._cli.common import (
    TEXT_FILE,
    Command,
    check_texts,
    column_option,
    ending_at_signals,
    path_or_name,
    quiet_option,
    threads_option,
)
from nibblevec._io.standard_streams import STANDARD_STREAM
from nibblevec._io.text_files import read_texts
from nibblevec._io.vector_files import vector_writer, writer_for
from nibblevec._precision import PRECISIONS
from nibblevec._progress import ProgressBar

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from nibblevec._encoder import Encoder
    from nibblevec._io.vector_files import VectorWriter
    from nibblevec._precision import Precision

# A block that is encoded and written at a time ends at either of these.
BLOCK_TEXTS = 8192
BLOCK_CHARACTERS = 1 << 22


@click.command(cls=Command)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=TEXT_FILE)
@click.option(
    "-o",
    "--output",
    "out",
    metavar="OUT",
    required=True,
    help="A .npy file ([texts, dims], float32 unless --precision says otherwise), a .jsonl or"
    " .ndjson file, or - for JSON lines on stdout.",
)
@click.option(
    "--model",
    metavar="MODEL",
    help='Folder or GGUF file of a model, its name on the Hugging Face hub, or "bundled", the'
    " default.",
)
@column_option
@click.option(
    "--truncate-dim",
    metavar="N",
    type=click.IntRange(min=1),
    help="Only the first N dims.  [default: as the model says, most say all]",
)
@click.option(
    "--normalize/--no-normalize",
    default=True,
    show_default=True,
    help="Scale each vector to length 1.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    show_default=True,
    help="Type of the values. int8 and uint8 take the ranges that are stored with the model; binary"
    " and ubinary keep eight dims in a byte.",
)
@click.option(
    "--prompt-name",
    metavar="NAME",
    help="Put the model's prompt of this name before each text.  [default: the model's default]",
)
@click.option(
    "--max-length",
    metavar="N",
    type=click.IntRange(min=1),
    help="Cut each text after N tokens.  [default: as the model says]",
)
@threads_option("At most N threads.")
@quiet_option
def encode(
    inputs: tuple[str, ...],
    out: str,
    model: str | None,
    column: str | None,
    truncate_dim: int | None,
    normalize: bool,
    precision: Precision,
    prompt_name: str | None,
    max_length: int | None,
    threads: int | None,
    quiet: bool,
) -> None:
    """Write the vector of every text of the INPUTs, in order.

    An INPUT is a file with a text a line, a .jsonl or .ndjson file (or .jl, .jsonlines, .ldjson
    ...) with a JSON object a line (its text is under --column), or - for stdin, a text a line.
    Files are UTF-8; lines end in LF or CRLF, and may be of any length. Other encodings, lines that
    end in CR alone, NULs and files of other kinds, by their name (.csv, .json, .parquet, .gz ...)
    or their content, are refused.

    OUT appears when it is complete: it is written beside its final name and then renamed. Lines on
    stdout are written as soon as the input pauses, so a program may write a line and read its
    vector.
    """
    writer = _checked_output(out, inputs)
    check_texts(inputs, column, "INPUT")
    with ending_at_signals():
        encoder = _encoder(model, max_length, threads)
        options: dict[str, Any] = {
            "truncate_dim": truncate_dim,
            "normalize_embeddings": normalize,
            "precision": precision,
            "prompt_name": prompt_name,
            "show_progress_bar": False,
        }
        try:
            width, dtype = _shape_of(encoder, options)
        except ValueError as error:  # the model has no such dims, prompt or ranges
            raise click.UsageError(str(error)) from None
        begin = time.perf_counter()
        count = 0
        with (
            vector_writer(out, writer, width, dtype) as vectors,
            ProgressBar(shown=not quiet, unit=" rows", unit_scale=True) as bar,
        ):
            for block in _blocks(read_texts(inputs, column), somebody_waits=out == STANDARD_STREAM):
                vectors.write(block, encoder.encode(block, **options))
                count += len(block)
                bar.update(len(block))
        seconds = time.perf_counter() - begin
    if not quiet:
        rate = count / seconds if seconds > 0 else 0.0
        click.echo(f"{count} texts in {seconds:.2f} s ({rate:.0f} rows/s)", err=True)


def _checked_output(out: str, inputs: tuple[str, ...]) -> type[VectorWriter]:
    """The writer for OUT; an OUT that would fail, or destroy an input, is refused before any work.

    Raises:
        click.BadParameter: it is refused.
    """
    if out == STANDARD_STREAM:
        return writer_for(out)
    if os.path.isdir(out):
        raise click.BadParameter(f"{out} is a folder", param_hint="-o")
    if os.path.exists(out) and not os.path.isfile(out):
        raise click.BadParameter(f"{out} is not a regular file", param_hint="-o")
    try:
        writer = writer_for(out)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="-o") from None
    if not os.path.isdir(os.path.dirname(os.path.realpath(out))):
        raise click.BadParameter(f"the folder of {out} does not exist", param_hint="-o")
    for path in inputs:
        if path != STANDARD_STREAM and os.path.exists(out) and os.path.samefile(path, out):
            raise click.BadParameter(f"{out} is also an input", param_hint="-o")
    return writer


def _encoder(model: str | None, max_length: int | None, threads: int | None) -> Encoder:
    from nibblevec import Encoder, kernels
    from nibblevec._threads import available_cpus, thread_count

    # Wrong values in the environment are reported before anything is written.
    kernels()
    thread_count(threads)
    if threads is not None:
        # The `tokenizers` package reads the variable when it starts its threads.
        os.environ["RAYON_NUM_THREADS"] = str(min(threads, available_cpus()))
    return Encoder(path_or_name(model), max_seq_length=max_length, threads=threads)


def _shape_of(encoder: Encoder, options: dict[str, Any]) -> tuple[int, np.dtype[Any]]:
    """Width and type of the vectors that these options of `Encoder.encode` give.

    Raises:
        ValueError: the model has no such dims, prompt or ranges.
    """
    options = {name: value for name, value in options.items() if name != "show_progress_bar"}
    call = encoder._planned_call(**options)
    return call.width, call.dtype


def _blocks(lists: Iterator[list[str]], *, somebody_waits: bool) -> Iterator[tuple[str, ...]]:
    """The texts in blocks; if somebody waits for their vectors, a block ends with each list."""
    for texts in lists if somebody_waits else (chain.from_iterable(lists),):
        yield from text_batches(texts, BLOCK_TEXTS, BLOCK_CHARACTERS)
