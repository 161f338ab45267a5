"""``nibblevec eval``: measures of a model on sets."""

from __future__ import annotations

import os
import time
from itertools import product
from typing import TYPE_CHECKING, Any

import click

from nibblevec._cli.common import Command, model_argument, path_or_name, quiet_option
from nibblevec._io.errors import InputKindError
from nibblevec._io.json_lines import readable_json
from nibblevec._io.refusals import check_input
from nibblevec._precision import checked_precision, has_ranges
from nibblevec._printing import printable

if TYPE_CHECKING:
    from nibblevec._encoder import Encoder
    from nibblevec._precision import Precision


def _numbers_of_dims(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> list[int] | None:
    if value is None:
        return None
    try:
        sizes = [int(number) for number in value.split(",")]
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not a number, or several divided by commas"
        ) from None
    if min(sizes) < 1:
        raise click.BadParameter(f"{min(sizes)} is not in the range x>=1.")
    return list(dict.fromkeys(sizes))


def _precisions(
    _context: click.Context, _parameter: click.Parameter, value: str
) -> list[Precision]:
    try:
        names = [checked_precision(name.strip()) for name in value.split(",")]
        return list(dict.fromkeys(names))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("eval", cls=Command)
@model_argument
@click.argument(
    "data", metavar="DATA...", nargs=-1, required=True, type=click.Path(exists=True, readable=True)
)
@click.option(
    "--truncate-dim",
    "truncate_dims",
    metavar="N,...",
    callback=_numbers_of_dims,
    help="Only the first N dims; several numbers are measured in turn.  [default: as"
    " the model says, most say all]",
)
@click.option(
    "--precision",
    "precisions",
    metavar="NAME,...",
    default="float32",
    show_default=True,
    callback=_precisions,
    help="Types of the values: float32, float16, int8, uint8, binary, ubinary; several are measured"
    " in turn.",
)
@click.option(
    "--fit-ranges",
    is_flag=True,
    help="int8 and uint8 take ranges that are fitted to each DATA (its documents or sentences)"
    " instead of those that are stored with MODEL.",
)
@click.option(
    "--split",
    metavar="NAME",
    help="Judgements are those of qrels/NAME.tsv.  [default: test, or the only one]",
)
@click.option(
    "--skip-identical-ids",
    is_flag=True,
    help="A query does not find the document of its own id (where queries are documents).",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@quiet_option
def evaluate(
    model: str,
    data: tuple[str, ...],
    truncate_dims: list[int] | None,
    precisions: list[Precision],
    fit_ranges: bool,
    split: str | None,
    skip_identical_ids: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure MODEL on each DATA.

    MODEL is a folder, a GGUF file, a name on the Hugging Face hub, or "bundled".

    DATA is a folder in BEIR's layout (corpus.jsonl, queries.jsonl, qrels/*.tsv), which gives
    nDCG@10, MRR@10, MAP@100, and accuracy, precision and recall at 1, 3, 5 and 10 (acc, P, R); or a
    file of scored pairs of sentences (JSON lines, .csv, .tsv), which gives Spearman's and Pearson's
    correlations. Vectors are compared by the model's own similarity, cosine for most.

    Needs the extra "eval": pip install 'nibblevec[eval]'.
    """
    from nibblevec import Encoder, evaluation

    _check_sets(data, split, skip_identical_ids)
    if fit_ranges and not any(map(has_ranges, precisions)):
        raise click.BadParameter("no --precision int8 or uint8", param_hint="--fit-ranges")
    evaluation.check_installed()
    encoder = Encoder(path_or_name(model))
    truncate_dims = truncate_dims or [encoder.get_embedding_dimension()]
    if max(truncate_dims) > encoder.table.dim:
        problem = f"{max(truncate_dims)} is not in the range 1<=x<={encoder.table.dim}."
        raise click.BadParameter(problem, param_hint="--truncate-dim")
    if not fit_ranges:
        _check_ranges(encoder, truncate_dims, precisions)
    results = []
    names = evaluation.distinct_names(data)
    for path, name in zip(data, names, strict=True):
        begin = time.perf_counter()
        measured = evaluation.read_set(path, split=split, name=name)
        if fit_ranges:
            evaluation.fit_ranges(encoder, measured, truncate_dims)
        results += evaluation.evaluate(
            encoder,
            measured,
            truncate_dims,
            precisions=precisions,
            skip_identical_ids=skip_identical_ids,
        )
        if not quiet:
            sizes = ", ".join(f"{count} {unit}" for unit, count in results[-1].sizes.items())
            seconds = time.perf_counter() - begin
            click.echo(f"{printable(name)}: {sizes} in {seconds:.2f} s", err=True)
    if as_json:
        click.echo(_printable_json(evaluation.as_json(model, encoder.similarity_fn_name, results)))
    else:
        click.echo(evaluation.as_table(results))


def _check_sets(data: tuple[str, ...], split: str | None, skip_identical_ids: bool) -> None:
    paths = [os.path.realpath(path) for path in data]
    for number, path in enumerate(paths):
        if path in paths[:number]:
            raise click.BadParameter(f"{data[number]} is given twice", param_hint="DATA...")
    for path in data:
        if not os.path.isdir(path):
            try:
                check_input(path, may_be_table=True)
            except InputKindError as error:
                raise click.BadParameter(str(error), param_hint="DATA...") from None
    if not any(map(os.path.isdir, data)):
        for option, given in (("--split", split), ("--skip-identical-ids", skip_identical_ids)):
            if given:
                raise click.BadParameter("no DATA is a folder", param_hint=option)


def _check_ranges(encoder: Encoder, sizes: list[int], precisions: list[Precision]) -> None:
    from nibblevec.evaluation import ranges_needed

    for dims, precision in product(sizes, filter(has_ranges, precisions)):
        if ranges_needed(encoder, dims) not in encoder.ranges:
            problem = (
                f"no ranges are stored for {precision} of {dims} dims; --fit-ranges takes those of"
                " each DATA"
            )
            raise click.BadParameter(problem, param_hint="--precision")


def _printable_json(content: dict[str, Any]) -> str:
    lines = readable_json(content, indent=2)
    if printable(lines) != lines.replace("\n", "\\n"):  # then escaped as JSON escapes
        import json

        lines = json.dumps(content, indent=2)
    return lines
