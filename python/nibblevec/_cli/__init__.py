"""The command line."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from itertools import product
from typing import TYPE_CHECKING, Any, NoReturn

import click

from nibblevec._io.errors import InputKindError, errors_named
from nibblevec._io.file_kinds import is_json_lines
from nibblevec._io.json_lines import readable_json
from nibblevec._io.refusals import check_input
from nibblevec._io.standard_streams import STANDARD_STREAM
from nibblevec._io.text_files import read_texts
from nibblevec._io.vector_files import vector_writer, writer_for
from nibblevec._precision import PRECISIONS, checked_precision, has_ranges, ranges_in_words
from nibblevec._printing import printable
from nibblevec._progress import ProgressBar, lenient_stderr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

    from nibblevec._encoder import Encoder
    from nibblevec._model import Model
    from nibblevec._precision import Precision
    from nibblevec._token_rules import TokenRules

# So many texts, or so many characters if that is less, are encoded and written at a time.
BLOCK_TEXTS = 8192
BLOCK_CHARACTERS = 1 << 22

# The model that comes with the package, where a name must be given.
BUNDLED_NAME = "bundled"

# What a model does to its vectors by itself.
NORMALIZATIONS = {
    None: "no",
    "torch": "yes",
    "model2vec": "yes, as Model2Vec does",
    "model2vec_float16": "yes, as Model2Vec does, means rounded to float16",
}


class _Command(click.Command):
    """A command whose --help tells where it could not be written."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with errors_named("stdout"):
            return super().make_context(*arguments, **options)


class _Commands(click.Group):
    """Commands that end with a line of words and exit code 1, not a traceback, if they fail."""

    command_class = _Command

    def main(self, *arguments: Any, **options: Any) -> Any:
        # Words on stderr decide nothing, least of all an exit code.
        with lenient_stderr(), _warnings_in_words():
            return super().main(*arguments, **options)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _errors_in_words(), errors_named("stdout"):  # it writes --help and --version
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _errors_in_words():
            return super().invoke(ctx)


@contextmanager
def _warnings_in_words() -> Iterator[None]:
    """A warning is a line on stderr, and the same one is not said twice."""
    said = set()

    def say(message: Warning | str, *_where: object, **_options: object) -> None:
        words = printable(str(message))
        if words not in said:
            said.add(words)
            click.echo(f"warning: {words}", err=True)

    show = warnings.showwarning
    warnings.showwarning = say
    try:
        yield
    finally:
        warnings.showwarning = show


@contextmanager
def _errors_in_words() -> Iterator[None]:
    try:
        with _printable_errors():
            yield
    except (ImportError, OSError, ValueError) as error:
        _discard_unwritten()
        if isinstance(error, InputKindError):  # wrong usage, found where it was read
            raise click.UsageError(printable(str(error))) from error
        if isinstance(error, BrokenPipeError):
            raise  # click ends quietly when the reader of stdout went away
        raise click.ClickException(printable(_in_words(error))) from error


@contextmanager
def _printable_errors() -> Iterator[None]:
    """Errors of click quote names and arguments as they are, which may come from anywhere."""
    try:
        yield
    except click.ClickException as error:
        vars(error)["message"] = printable(error.message)
        raise


def _in_words(error: Exception) -> str:
    if isinstance(error, NotADirectoryError):
        words = error.strerror or ""
        if words == os.strerror(errno.ENOTDIR):
            words = "not a folder"
        return f"{error.filename}: {words}"
    return str(error)


def _discard_unwritten() -> None:
    """What a stdout that takes no more has in its buffer must not fail again at the very end."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
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
    help="A .npy file ([texts, dims], float32 unless --precision says otherwise), a .jsonl or"
    " .ndjson file, or - for JSON lines on stdout.",
)
@click.option(
    "--model",
    metavar="MODEL",
    help='Folder or GGUF file of a model, its name on the Hugging Face hub, or "bundled", the'
    " default.",
)
@click.option(
    "--column",
    metavar="KEY",
    help="Key of the text in a line of an input of JSON lines.  [default: text]",
)
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
    help="Of the numbers. int8 and uint8 take the ranges that are stored with the model; binary and"
    " ubinary keep eight dims in a byte.",
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
    _check_output(out, inputs)
    _check_texts(inputs, column, "INPUT")
    with _ending_at_signals():
        encoder = _encoder(model, max_length, threads)
        options: dict[str, Any] = {
            "truncate_dim": truncate_dim,
            "normalize_embeddings": normalize,
            "precision": precision,
            "prompt_name": prompt_name,
            "show_progress_bar": False,
        }
        rows, seconds = _encode(read_texts(inputs, column), out, encoder, options, quiet)
    if not quiet:
        rate = rows / seconds if seconds > 0 else 0.0
        click.echo(f"{rows} texts in {seconds:.2f} s ({rate:.0f} rows/s)", err=True)


def _encoder(model: str | None, max_length: int | None, threads: int | None) -> Encoder:
    from nibblevec import Encoder, kernels
    from nibblevec._threads import available_cpus, thread_count

    # What the environment asks for wrongly is said before anything is written.
    kernels()
    thread_count(threads)
    if threads is not None:
        # The threads of `tokenizers`: it reads the variable when it starts so many.
        os.environ["RAYON_NUM_THREADS"] = str(min(threads, available_cpus()))
    return Encoder(
        None if _is_bundled(model) else model, max_seq_length=max_length, threads=threads
    )


def _encode(
    texts: Iterator[list[str]], out: str, encoder: Encoder, options: dict[str, Any], quiet: bool
) -> tuple[int, float]:
    """Rows, and seconds of time."""
    try:
        nothing = encoder.encode([], **options)
    except ValueError as error:  # the model has no such dims, prompt or ranges
        raise click.UsageError(str(error)) from None
    begin = time.perf_counter()
    rows = 0
    with (
        vector_writer(out, writer_for(out), nothing.shape[1], nothing.dtype) as writer,
        ProgressBar(shown=not quiet, unit=" rows", unit_scale=True) as bar,
    ):
        for block in _blocks(texts, somebody_waits=out == STANDARD_STREAM):
            writer.write(block, encoder.encode(block, **options))
            rows += len(block)
            bar.update(len(block))
    return rows, time.perf_counter() - begin


def _blocks(lists: Iterator[list[str]], *, somebody_waits: bool) -> Iterator[list[str]]:
    """So many texts at a time; if somebody waits for their vectors, no more than one list has."""
    block: list[str] = []
    characters = 0
    for texts in lists:
        for text in texts:
            block.append(text)
            characters += len(text)
            if len(block) == BLOCK_TEXTS or characters >= BLOCK_CHARACTERS:
                yield block
                block, characters = [], 0
        if somebody_waits and block:
            yield block
            block, characters = [], 0
    if block:
        yield block


def _check_texts(paths: tuple[str, ...], column: str | None, argument: str) -> None:
    """Refuse before any work what holds no texts, and a column of what has none."""
    for path in paths:
        try:
            check_input(path, column=column)
        except InputKindError as error:
            raise click.BadParameter(str(error), param_hint=f"{argument}...") from None
    if column is not None and not any(map(is_json_lines, paths)):
        problem = f"no {argument} ends in .jsonl or .ndjson"
        if STANDARD_STREAM in paths:
            problem += "; stdin is read as a text a line"
        raise click.BadParameter(problem, param_hint="--column")


def _check_output(out: str, inputs: tuple[str, ...]) -> None:
    """Refuse before any work what would only fail, or destroy an input, at its end."""
    if out == STANDARD_STREAM:
        return
    if os.path.isdir(out):
        raise click.BadParameter(f"{out} is a folder", param_hint="-o")
    if os.path.exists(out) and not os.path.isfile(out):
        raise click.BadParameter(f"{out} is not a regular file", param_hint="-o")
    try:
        writer_for(out)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="-o") from None
    if not os.path.isdir(os.path.dirname(os.path.realpath(out))):
        raise click.BadParameter(f"the folder of {out} does not exist", param_hint="-o")
    for path in inputs:
        if path != STANDARD_STREAM and os.path.exists(out) and os.path.samefile(path, out):
            raise click.BadParameter(f"{out} is also an input", param_hint="-o")


@contextmanager
def _ending_at_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the process as an exception does, which removes what is unfinished."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        for own in taken:  # another one must not disturb the removal
            signal.signal(own, signal.SIG_IGN)
        raise SystemExit(128 + number)

    taken = []
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
        taken = [
            number
            for number in numbers  # nohup ignores the second; Windows has none
            if number is not None and signal.getsignal(number) is signal.SIG_DFL
        ]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _is_bundled(model: str | None) -> bool:
    return model is None or (model == BUNDLED_NAME and not os.path.lexists(model))


def _load(model: str | None) -> Model:
    """The model of this name; None, or ``bundled`` if there is no such path: the bundled one."""
    from nibblevec._bundled import load_bundled_model
    from nibblevec._hub import find_model
    from nibblevec._layouts import load_model

    if model is None or _is_bundled(model):
        return load_bundled_model()
    return load_model(find_model(model).folder)


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


@main.command("eval")
@click.argument("model", metavar="MODEL")
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
    help="Of float32, float16, int8, uint8, binary and ubinary; several are measured in turn.",
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
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
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
    import json

    from nibblevec import Encoder, evaluation

    _check_sets(data, split, skip_identical_ids)
    if fit_ranges and not any(map(has_ranges, precisions)):
        raise click.BadParameter("no --precision int8 or uint8", param_hint="--fit-ranges")
    evaluation.check_installed()
    encoder = Encoder(None if _is_bundled(model) else model)
    truncate_dims = truncate_dims or [encoder.get_embedding_dimension()]
    if max(truncate_dims) > encoder.table.dim:
        problem = f"{max(truncate_dims)} is not in the range 1<=x<={encoder.table.dim}."
        raise click.BadParameter(problem, param_hint="--truncate-dim")
    for dims, precision in product(truncate_dims, filter(has_ranges, precisions)):
        if not fit_ranges and evaluation.ranges_needed(encoder, dims) not in encoder.ranges:
            problem = (
                f"no ranges are stored for {precision} of {dims} dims; --fit-ranges takes those of"
                " each DATA"
            )
            raise click.BadParameter(problem, param_hint="--precision")
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
            sizes = ", ".join(f"{count} {what}" for what, count in results[-1].sizes.items())
            click.echo(
                f"{printable(name)}: {sizes} in {time.perf_counter() - begin:.2f} s", err=True
            )
    if as_json:
        content = evaluation.as_json(model, encoder.similarity_fn_name, results)
        lines = readable_json(content, indent=2)
        if printable(lines) != lines.replace("\n", "\\n"):  # then escaped as JSON escapes
            lines = json.dumps(content, indent=2)
        click.echo(lines)
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


@main.command()
@click.argument("model", metavar="[MODEL]", required=False)
def info(model: str | None) -> None:
    """Tell what a model is and how this machine runs it.

    MODEL is a folder, a GGUF file or a name on the Hugging Face hub, by default the bundled model.
    """
    from nibblevec import kernels
    from nibblevec._threads import thread_count

    loaded = _load(model)
    tokenizer = loaded.load_tokenizer()
    names = kernels()
    threads = thread_count(None)
    table = loaded.table
    others = f" (also: {', '.join(names[1:])})" if names[1:] else ""
    kept = loaded.truncate_dim
    default = loaded.default_prompt_name
    _print_lines(
        {
            "model": model or BUNDLED_NAME,
            "name": loaded.name,
            "license": loaded.license,
            "layout": loaded.layout,
            "row format": table.format,
            "rows": table.rows,
            "dims": table.dim if kept is None else f"{table.dim}, of which {kept} are kept",
            "table bytes": table.nbytes,
            "head": "mean" if loaded.head is None else "mean, Dynamic Tanh",
            "normalizes": NORMALIZATIONS[loaded.normalization],
            "tokens": _tokens_in_words(loaded.token_rules, tokenizer.truncation.max_length),
            "prompts": ", ".join(
                f"{name!r}: {text!r}" + (" (default)" if name == default else "")
                for name, text in loaded.prompts.items()
            ),
            "similarity": loaded.similarity_fn_name,
            "ranges": ranges_in_words(loaded.ranges),
            "tokenizer": f"{loaded.tokenizer.path}, {tokenizer.path_taken}",
            "kernel": names[0] + others,
            "threads": threads,
        }
    )


def _tokens_in_words(rules: TokenRules, max_length: int | None) -> str:
    facts = {
        f"at most {max_length}": max_length is not None,
        "texts cut by characters": rules.cuts_characters and max_length is not None,
        "unknown ones dropped": rules.drops_unknown,
        "mapped to rows": rules.row_of_id is not None,
        "weighted": rules.weight_of_id is not None,
    }
    return ", ".join(fact for fact, holds in facts.items() if holds)


def _print_lines(lines: Mapping[str, object]) -> None:
    for name, value in lines.items():
        if value not in (None, ""):
            click.echo(f"{name + ':':<13}{printable(str(value))}")


@main.command()
@click.argument("model", metavar="MODEL")
@click.argument("out", metavar="OUT")
@click.option(
    "--to",
    "layout",
    type=click.Choice(["sse", "static", "model2vec", "gguf"]),
    help="Layout of OUT: an SSE folder, a StaticEmbedding folder of sentence-transformers, a"
    " Model2Vec folder, a GGUF file.  [default: gguf if OUT ends in .gguf, else the folder that"
    " fits the model]",
)
@click.option(
    "--format",
    "row_format",
    type=click.Choice(["float32", "float16", "bfloat16", "int8", "sse_q4", "q4_k", "q6_k"]),
    help="Row format of the table; packed ones are quantised. 4 bits packed into other 4 bits"
    " lose again: sse_q4, as bundled, into q4_k; float32 loses nothing.  [default: that of MODEL if"
    " the layout holds it, else its 4 bits, else float32]",
)
@click.option("--name", metavar="NAME", help="Name of the model, kept in a GGUF file.")
@click.option("--license", "license_", metavar="LICENSE", help="Its licence, kept in a GGUF file.")
@click.option(
    "--threads",
    metavar="N",
    type=click.IntRange(min=1),
    help="Quantise on at most N threads.  [default: the CPUs that this process may use]",
)
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
    with _ending_at_signals():
        lines = _convert(model, out, layout, row_format, name, license_, threads)
    _print_lines(lines)


def _convert(
    model: str,
    out: str,
    layout: str | None,
    row_format: str | None,
    name: str | None,
    license_: str | None,
    threads: int | None,
) -> dict[str, object]:
    from nibblevec._containers.tensors import has_wide_weights
    from nibblevec._layouts.conversion import distance, fitting_format
    from nibblevec._layouts.gguf import SUFFIX
    from nibblevec._layouts.writing import WRITTEN, fitting_layout, save_model

    source = _load(model)
    source = source._replace(name=name or source.name, license=license_ or source.license)
    source.load_tokenizer()  # whatever is wrong with it is said before anything is written
    layout = layout or fitting_layout(source, out)
    if (layout == "gguf") is not out.rstrip("/").lower().endswith(SUFFIX):
        rule = "a GGUF file must" if layout == "gguf" else "only a GGUF file may"
        raise click.BadParameter(f"{rule} end in {SUFFIX}", param_hint="OUT")
    if layout != "gguf" and (name or license_):
        problem = "only a GGUF file has a place for it"
        raise click.BadParameter(problem, param_hint="--name" if name else "--license")
    allowed = WRITTEN[layout].row_formats
    if row_format is None:
        row_format = fitting_format(source.table, allowed)
    elif layout == "static" or (layout == "model2vec" and not has_wide_weights(source.token_rules)):
        source = source._replace(wide_sums=False)  # else float32 would be written as float64
    if row_format not in allowed:
        problem = f"{layout} holds {', '.join(allowed)}, not {row_format}"
        raise click.BadParameter(problem, param_hint="--format")
    lines: dict[str, object] = {}

    def look(written: Model, path: str) -> None:
        apart = distance(source, written)
        lines.update(
            {
                "written": out,
                "layout": written.layout,
                "row format": written.table.format,
                "bytes": _bytes_of(path),
                "table bytes": f"{written.table.nbytes} (of the source: {source.table.nbytes})",
                "RMSE": f"{apart.rmse:.6g}",
                "cosine": f"mean {apart.mean_cosine:.6f}, least {apart.least_cosine:.6f}",
            }
        )

    # Not afterwards: another process may replace it at once.
    save_model(source, out, layout, row_format, threads=threads, look=look)
    return lines


def _bytes_of(path: str) -> int:
    if not os.path.isdir(path):
        return os.path.getsize(path)
    return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())


def _check_target(model: str, out: str, force: bool) -> None:
    """Refuse before any work what would destroy the source, or what nobody said to replace."""
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


@main.command()
@click.argument("model", metavar="[MODEL]", required=False)
@click.argument(
    "texts",
    metavar="[TEXTS]...",
    nargs=-1,
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
)
@click.option(
    "--column",
    metavar="KEY",
    help="Key of the text in a line of a file of JSON lines.  [default: text]",
)
def verify(model: str | None, texts: tuple[str, ...], column: str | None) -> None:
    """Compare a model's vectors with those that plain NumPy and tokenizers give.

    MODEL is a folder, a GGUF file, a name on the Hugging Face hub, or "bundled", the default.
    TEXTS are files as for encode; some texts are built in and always compared.

    Every row of the table, and the ids and the mean of every text must be equal to the bit. The
    head is recomputed in float64; its numbers may be as far from that as float32 operations and a
    tanh within 2 units in the last place are. The exit code is 1 at the first difference.
    """
    from itertools import chain

    _check_texts(texts, column, "TEXTS")
    from nibblevec._verification import BUILT_IN_TEXTS, Difference
    from nibblevec._verification import verify as compare

    outcome = compare(
        *(_load(model), _load(model)),
        chain(BUILT_IN_TEXTS, chain.from_iterable(read_texts(texts, column))),
    )
    if isinstance(outcome, Difference):
        where = "the tables differ"
        if outcome.row is not None:
            given = outcome.row - len(BUILT_IN_TEXTS)
            where = f"row {given} of the texts" if given >= 0 else f"built-in text {outcome.row}"
        raise click.ClickException(f"{where}: {outcome.problem}")
    click.echo(
        f"{outcome.texts} texts, {outcome.tokens} tokens: rows, ids and means are equal to the bit,"
        f" vectors within {outcome.worst:.0%} of what is allowed"
    )
