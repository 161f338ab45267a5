"""``nibblevec convert``: a model in another layout or row format."""

from __future__ import annotations

import os

import click

from nibblevec._cli.common import (
    Command,
    ending_at_signals,
    load,
    model_argument,
    print_lines,
    threads_option,
)
from nibblevec._layouts.registry import LAYOUTS, WRITTEN
from nibblevec._table import PACKED_FORMATS, PLAIN_FORMATS


@click.command(cls=Command)
@model_argument
@click.argument("out", metavar="OUT")
@click.option(
    "--to",
    "layout",
    type=click.Choice(list(WRITTEN)),
    help=f"Layout of OUT: {', '.join(layout.words for layout in LAYOUTS if layout.writing)}."
    "  [default: gguf if OUT ends in .gguf, else the folder that fits the model]",
)
@click.option(
    "--format",
    "row_format",
    type=click.Choice([*PLAIN_FORMATS, *PACKED_FORMATS]),
    help="Row format of the table; packed ones are quantised. 4 bits packed into other 4 bits"
    " lose again: sse_q4, as bundled, into q4_k; float32 loses nothing.  [default: that of MODEL if"
    " the layout holds it, else its 4 bits, else float32]",
)
@click.option("--name", metavar="NAME", help="Name of the model, kept in a GGUF file.")
@click.option("--license", "license_", metavar="LICENSE", help="Its licence, kept in a GGUF file.")
@threads_option("Quantise on at most N threads.")
@click.option("--force", is_flag=True, help="Replace OUT; files that are not a model's stay.")
def convert(
    model: str,
    out: str,
    layout: str | None,
    row_format: str | None,
    name: str | None,
    license_: str | None,
    threads: int | None,
    force: bool,
) -> None:
    """Write a model in another layout or row format, and tell how far its rows moved.

    MODEL is a folder, a GGUF file, a name on the Hugging Face hub, or "bundled" for the model that
    comes with the package. OUT is a GGUF file if it ends in .gguf, else a folder.

    Nothing but precision is lost: a layout that has no place for something that the model does is
    refused. OUT appears when it is complete, and is then loaded and compared with MODEL.
    """
    _check_target(model, out, force)
    with ending_at_signals():
        lines = _convert(model, out, layout, row_format, name, license_, threads)
    print_lines(lines)


def _convert(
    model: str,
    out: str,
    layout: str | None,
    row_format: str | None,
    name: str | None,
    license_: str | None,
    threads: int | None,
) -> dict[str, object]:
    from nibblevec._layouts.conversion import ConversionError
    from nibblevec._layouts.conversion import convert as convert_model

    source = load(model)
    try:
        done = convert_model(
            source, out, layout, row_format, name=name, license=license_, threads=threads
        )
    except ConversionError as error:
        hints = {"out": "OUT", "row_format": "--format"}
        hint = hints.get(error.argument, f"--{error.argument}")
        raise click.BadParameter(str(error), param_hint=hint) from None
    apart = done.distance
    return {
        "written": out,
        "layout": done.layout,
        "row format": done.row_format,
        "bytes": done.file_bytes,
        "table bytes": f"{done.table_bytes} (of the source: {done.source_table_bytes})",
        "RMSE": f"{apart.rmse:.6g}",
        "cosine": f"mean {apart.mean_cosine:.6f}, least {apart.least_cosine:.6f}",
    }


def _check_target(model: str, out: str, force: bool) -> None:
    """Refuse, before any work, an OUT that would destroy MODEL, or a file without --force."""
    if out == "-":
        problem = "a model is not written to stdout (./- is a folder of that name)"
        raise click.BadParameter(problem, param_hint="OUT")
    if os.path.isdir(model) and os.path.realpath(out).startswith(
        os.path.join(os.path.realpath(model), "")
    ):
        raise click.BadParameter(f"{out} is within MODEL", param_hint="OUT")
    if not os.path.exists(out):
        if not os.path.isdir(os.path.dirname(os.path.realpath(out))):
            raise click.BadParameter(f"the folder of {out} does not exist", param_hint="OUT")
        return
    if os.path.exists(model) and os.path.samefile(model, out):
        raise click.BadParameter(f"{out} is also MODEL", param_hint="OUT")
    if os.path.isdir(out):
        if os.listdir(out) and not force:
            problem = f"{out} is not empty; --force replaces a model in it"
            raise click.BadParameter(problem, param_hint="OUT")
    elif not os.path.isfile(out):
        raise click.BadParameter(f"{out} is not a regular file", param_hint="OUT")
    elif not force:
        raise click.BadParameter(f"{out} exists; --force replaces it", param_hint="OUT")
