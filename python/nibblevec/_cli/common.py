"""Behaviour and options that commands share: errors and warnings in words, signals, models."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

import click

from nibblevec._io.errors import InputKindError, errors_named
from nibblevec._io.file_kinds import is_json_lines
from nibblevec._io.refusals import check_input
from nibblevec._io.standard_streams import STANDARD_STREAM
from nibblevec._printing import printable
from nibblevec._progress import lenient_stderr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from nibblevec._model import Model

# Names the model that comes with the package, where a name must be given.
BUNDLED_NAME = "bundled"

TEXT_FILE = click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True)

model_argument = click.argument("model", metavar="MODEL")
optional_model_argument = click.argument("model", metavar="[MODEL]", required=False)
column_option = click.option(
    "--column",
    metavar="KEY",
    help="Key of the text in a line of a file of JSON lines.  [default: text]",
)
quiet_option = click.option("--quiet", is_flag=True, help="No progress on stderr.")


def threads_option(bound: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option ``--threads``, with the bound of its N in words."""
    return click.option(
        "--threads",
        metavar="N",
        type=click.IntRange(min=1),
        help=f"{bound}  [default: the CPUs that this process may use]",
    )


class Command(click.Command):
    """A command whose error names stdout if its --help cannot be written there."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with errors_named("stdout"):
            return super().make_context(*arguments, **options)


class CommandGroup(click.Group):
    """Commands that end with an error message and exit code 1, not a traceback, if they fail."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        # Messages on stderr that cannot be written must not change the exit code.
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
    """Warnings are lines on stderr, and equal ones are one line."""
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
        if isinstance(error, InputKindError):  # wrong usage, found when the input was read
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
    """Empty the buffer of a stdout that takes no more, which would fail again at the very end."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def ending_at_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the process by an exception, which removes unfinished files."""

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


def path_or_name(model: str | None) -> str | None:
    """The argument MODEL as `Encoder` takes it: None means the bundled model.

    A path that is called ``bundled`` comes before the bundled model.
    """
    return None if model == BUNDLED_NAME and not os.path.lexists(model) else model


def load(model: str | None) -> Model:
    """The model that an argument MODEL names, without its tokenizer."""
    from nibblevec._bundled import load_bundled_model
    from nibblevec._hub import find_model
    from nibblevec._layouts.loading import load_model
    from nibblevec._layouts.registry import FILE_SUFFIXES, READ_NAMES

    name = path_or_name(model)
    if name is None:
        return load_bundled_model()
    return load_model(find_model(name, READ_NAMES, file_suffixes=FILE_SUFFIXES).folder)


def check_texts(paths: tuple[str, ...], column: str | None, argument: str) -> None:
    """Refuse files that hold no texts, and a column where no file has one, before any work.

    Args:
        paths: files of texts.
        column: of those with JSON lines.
        argument: that names the files.

    Raises:
        OSError: a file cannot be read (names it).
        click.BadParameter: a file is of another kind, or no file has a column.
    """
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


def print_lines(lines: Mapping[str, object]) -> None:
    """Print names and their values, a line each; None and empty values are left out."""
    for name, value in lines.items():
        if value not in (None, ""):
            click.echo(f"{name + ':':<13}{printable(str(value))}")
