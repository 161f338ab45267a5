"""The command line."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, NoReturn

import click
from click.core import ParameterSource

from nibblevec import batch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

# So many texts, or so many characters if that is less, are encoded and written at a time.
BLOCK_TEXTS = 8192
BLOCK_CHARACTERS = 1 << 22


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nibblevec", prog_name="nibblevec")
def main() -> None:
    """Static text embeddings straight from a 4-bit table."""


@main.command()
@click.argument(
    "inputs",
    metavar="INPUT...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
)
@click.option(
    "-o",
    "--output",
    "out",
    metavar="OUT",
    required=True,
    help="A .npy file (float32 [texts, dims]), a .jsonl or .ndjson file, or - for JSON lines on"
    " stdout.",
)
@click.option(
    "--model",
    metavar="MODEL",
    help="Folder of a model, or its name on the Hugging Face hub.  [default: the bundled one]",
)
@click.option(
    "--column",
    default="text",
    show_default=True,
    help="Key of the text in a line of a .jsonl or .ndjson input.",
)
@click.option(
    "--truncate-dim",
    metavar="N",
    type=click.IntRange(min=1),
    help="Only the first N dims.  [default: all]",
)
@click.option(
    "--normalize/--no-normalize",
    default=True,
    show_default=True,
    help="Scale each vector to length 1.",
)
@click.option(
    "--threads",
    metavar="N",
    type=click.IntRange(min=1),
    help="At most N threads.  [default: the CPUs that this process may use]",
)
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@click.pass_context
def encode(
    context: click.Context,
    inputs: tuple[str, ...],
    out: str,
    model: str | None,
    column: str,
    truncate_dim: int | None,
    normalize: bool,
    threads: int | None,
    quiet: bool,
) -> None:
    """Write the vector of every text of the INPUTs, in order.

    An INPUT is a file with a text a line, a .jsonl or .ndjson file with a JSON object a line (its
    text is under --column), or - for stdin, a text a line. Files are UTF-8; lines end in LF or
    CRLF, and may be of any length.

    OUT appears when it is complete: it is written beside its final name and then renamed.
    """
    _check_output(out, inputs)
    if context.get_parameter_source("column") is ParameterSource.COMMANDLINE and not any(
        path.lower().endswith(batch.JSON_LINES_SUFFIXES) for path in inputs
    ):
        suffixes = " or ".join(batch.JSON_LINES_SUFFIXES)
        raise click.BadParameter(f"no INPUT ends in {suffixes}", param_hint="--column")
    try:
        with _ending_at_sigterm():
            rows, seconds = _encode(
                inputs, out, model, column, truncate_dim, normalize, threads, quiet
            )
    except BrokenPipeError:
        raise  # click ends quietly when the reader of stdout went away
    except (OSError, ValueError) as error:
        raise _failure(error) from error
    if not quiet:
        rate = rows / seconds if seconds > 0 else 0.0
        click.echo(f"{rows} texts in {seconds:.2f} s ({rate:.0f} rows/s)", err=True)


def _encode(
    inputs: tuple[str, ...],
    out: str,
    model: str | None,
    column: str,
    truncate_dim: int | None,
    normalize: bool,
    threads: int | None,
    quiet: bool,
) -> tuple[int, float]:
    from tqdm import tqdm

    from nibblevec import Encoder, kernels
    from nibblevec.threads import available_cpus, thread_count

    # What the environment asks for wrongly is said before anything is written.
    kernels()
    thread_count(threads)
    if threads is not None:
        # The threads of `tokenizers`: it reads the variable when it starts so many.
        os.environ["RAYON_NUM_THREADS"] = str(min(threads, available_cpus()))
    encoder = Encoder(model, threads=threads)
    dims = encoder.get_embedding_dimension() if truncate_dim is None else truncate_dim
    if dims > encoder.get_embedding_dimension():
        problem = f"{dims} is not in the range 1<=x<={encoder.get_embedding_dimension()}."
        raise click.BadParameter(problem, param_hint="--truncate-dim")
    texts = batch.read_texts(inputs, column)
    begin = time.perf_counter()
    rows = 0
    with (
        batch.vector_writer(out, dims) as writer,
        tqdm(unit=" rows", unit_scale=True, disable=quiet, file=sys.stderr) as bar,
    ):
        while block := _take(texts):
            vectors = encoder.encode(
                block,
                truncate_dim=dims,
                normalize_embeddings=normalize,
                show_progress_bar=False,
            )
            writer.write(block, vectors)
            rows += len(block)
            bar.update(len(block))
    return rows, time.perf_counter() - begin


def _take(texts: Iterator[str]) -> list[str]:
    block: list[str] = []
    characters = 0
    for text in islice(texts, BLOCK_TEXTS):
        block.append(text)
        characters += len(text)
        if characters >= BLOCK_CHARACTERS:
            break
    return block


def _check_output(out: str, inputs: tuple[str, ...]) -> None:
    """Refuse before any work what would only fail, or destroy an input, at its end."""
    if out == batch.STANDARD_STREAM:
        return
    if os.path.isdir(out):
        raise click.BadParameter(f"{out} is a folder", param_hint="-o")
    if os.path.exists(out) and not os.path.isfile(out):
        raise click.BadParameter(f"{out} is not a regular file", param_hint="-o")
    if os.path.splitext(out)[1].lower() not in batch.WRITERS:
        suffixes = ", ".join(batch.WRITERS)
        raise click.BadParameter(f"{out} must end in {suffixes}, or be -", param_hint="-o")
    if not os.path.isdir(os.path.dirname(os.path.realpath(out))):
        raise click.BadParameter(f"the folder of {out} does not exist", param_hint="-o")
    for path in inputs:
        if path != batch.STANDARD_STREAM and os.path.exists(out) and os.path.samefile(path, out):
            raise click.BadParameter(f"{out} is also an input", param_hint="-o")


@contextmanager
def _ending_at_sigterm() -> Iterator[None]:
    """SIGTERM ends the process as an exception does, which removes what is unfinished."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)  # a second one must not disturb the removal
        raise SystemExit(128 + number)

    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _failure(error: Exception) -> click.ClickException:
    if isinstance(error, NotADirectoryError):
        return click.ClickException(f"{error.filename}: not a folder")
    return click.ClickException(str(error))


@main.command()
@click.argument("model", metavar="[MODEL]", required=False)
def info(model: str | None) -> None:
    """Tell what a model is and how this machine runs it.

    MODEL is the folder of a model or its name on the Hugging Face hub, by default the bundled one.
    """
    from nibblevec import kernels
    from nibblevec.encoder import BUNDLED_MODEL
    from nibblevec.formats import load_model
    from nibblevec.hub import find_model
    from nibblevec.threads import thread_count

    try:
        loaded = load_model(BUNDLED_MODEL if model is None else find_model(model).folder)
        tokenizer = loaded.load_tokenizer()
        names = kernels()
        threads = thread_count(None)
    except (OSError, ValueError) as error:
        raise _failure(error) from error
    table = loaded.table
    others = f" (also: {', '.join(names[1:])})" if names[1:] else ""
    for name, value in {
        "model": model or "bundled",
        "layout": loaded.layout,
        "row format": table.format,
        "rows": table.rows,
        "dims": table.dim,
        "table bytes": table.nbytes,
        "tokenizer": f"{loaded.tokenizer.path}, {tokenizer.path_taken}",
        "kernel": names[0] + others,
        "threads": threads,
    }.items():
        click.echo(f"{name + ':':<13}{value}")
