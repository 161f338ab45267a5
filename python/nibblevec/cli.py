"""The command line."""

from __future__ import annotations

import os
import sys
import time
from itertools import islice
from typing import TYPE_CHECKING

import click

from nibblevec import batch

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    help="A .npy file (float32 [texts, dims]), a .jsonl file, or - for JSON lines on stdout.",
)
@click.option(
    "--model",
    metavar="FOLDER",
    type=click.Path(exists=True),
    help="Folder of a model.  [default: the bundled one]",
)
@click.option(
    "--column",
    default="text",
    show_default=True,
    help="Key of the text in a line of a .jsonl input.",
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
def encode(
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

    An INPUT is a file with a text a line, a .jsonl file with a JSON object a line (its text is
    under --column), or - for stdin, a text a line. Files are UTF-8.

    OUT appears when it is complete: it is written beside its final name and then renamed.
    """
    _check_output(out, inputs)
    if threads is not None:
        # The threads of `tokenizers`; it reads the variable when it starts them.
        os.environ["RAYON_NUM_THREADS"] = str(threads)
    try:
        rows, seconds = _encode(inputs, out, model, column, truncate_dim, normalize, threads, quiet)
    except BrokenPipeError:
        raise  # click ends quietly when the reader of stdout went away
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
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

    from nibblevec import Encoder

    encoder = Encoder(model, truncate_dim=truncate_dim, threads=threads)
    texts = batch.read_texts(inputs, column)
    begin = time.perf_counter()
    rows = 0
    with (
        tqdm(unit=" rows", unit_scale=True, disable=quiet, file=sys.stderr) as bar,
        batch.vector_writer(out, encoder.get_embedding_dimension()) as writer,
    ):
        while block := _take(texts):
            vectors = encoder.encode(block, normalize_embeddings=normalize, show_progress_bar=False)
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
    if os.path.splitext(out)[1].lower() not in batch.WRITERS:
        suffixes = ", ".join(batch.WRITERS)
        raise click.BadParameter(f"{out} must end in {suffixes}, or be -", param_hint="-o")
    if not os.path.isdir(os.path.dirname(os.path.abspath(out))):
        raise click.BadParameter(f"the folder of {out} does not exist", param_hint="-o")
    for path in inputs:
        if path != batch.STANDARD_STREAM and os.path.exists(out) and os.path.samefile(path, out):
            raise click.BadParameter(f"{out} is also an input", param_hint="-o")


@main.command()
@click.argument("model", metavar="[MODEL]", required=False, type=click.Path(exists=True))
def info(model: str | None) -> None:
    """Tell what a model is and how this machine runs it.

    MODEL is the folder of a model, by default the bundled one.
    """
    from nibblevec import kernels
    from nibblevec.encoder import BUNDLED_MODEL
    from nibblevec.formats import load_model
    from nibblevec.threads import thread_count
    from nibblevec.tokenizer import load_tokenizer

    try:
        loaded = load_model(model or BUNDLED_MODEL)
        tokenizer = load_tokenizer(
            loaded.tokenizer_json(), loaded.tokenizer_path, loaded.table.rows
        )
        names = kernels()
        threads = thread_count(None)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    table = loaded.table
    others = f" (also: {', '.join(names[1:])})" if names[1:] else ""
    for name, value in {
        "model": model or "bundled",
        "layout": loaded.layout,
        "row format": table.format,
        "rows": table.rows,
        "dims": table.dim,
        "table bytes": table.nbytes,
        "tokenizer": f"{loaded.tokenizer_path}, {tokenizer.path_taken}",
        "kernel": names[0] + others,
        "threads": threads,
    }.items():
        click.echo(f"{name + ':':<13}{value}")
