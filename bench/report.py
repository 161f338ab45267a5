"""Figures of `bench.py`, kept as JSON lines, as tables."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Figure = dict[str, Any]


def report(figures: Iterable[Figure]) -> str:
    """Tables of all figures, one set for each environment."""
    lines: list[str] = []
    for environment, group in itertools.groupby(figures, lambda figure: figure["environment"]):
        lines += [f"{key}: {_shown(value)}" for key, value in environment.items()]
        of_run = list(group)
        lines += _sums(of_run) + _ratios(of_run) + _heads(of_run) + _packed(of_run)
        lines += _encoded(of_run) + _accents(of_run) + _rivals(of_run)
        lines += _started(of_run) + _latencies(of_run)
        lines += _pairs(of_run) + _lengths(of_run) + _counts(of_run)
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _sums(figures: Sequence[Figure]) -> list[str]:
    rows = [
        [
            *_case(figure),
            _contestant(figure),
            _spread(figure["rounds"]),
            f"{median(figure['rounds']) * figure['row_bytes'] / 1e3:.1f}",
        ]
        for figure in figures
        if figure["what"] == "sum"
    ]
    return _table("Sum of rows", ["ids", "dims", "bag", "rows by", "Mtok/s", "GB/s"], rows)


def _ratios(figures: Sequence[Figure]) -> list[str]:
    rows = [
        [*_case(packed), _contestant(packed), _contestant(other), _spread(ratios, 2)]
        for packed, other, ratios in _packed_and_others(figures)
    ]
    header = ["ids", "dims", "bag", "rows by", "against", "times as fast"]
    return _table("Ratios, each the median of the rounds' ratios", header, rows)


def _packed_and_others(
    figures: Sequence[Figure],
) -> Iterator[tuple[Figure, Figure, list[float]]]:
    """Sums of packed rows with those on the same kernel that they are compared with.

    sse_q4 is compared with float32, and on the kernel in use with rivals; others with sse_q4.
    """
    compared = {"sse_q4": "float32", "q4_k": "sse_q4", "q6_k": "sse_q4"}
    sums = [figure for figure in figures if figure["what"] == "sum"]
    for packed, other in itertools.product(sums, sums):
        if packed["contestant"] not in compared or _case(packed) != _case(other):
            continue
        in_use = packed["kernel"] == packed["environment"]["kernels"][0]
        same_kernel = (
            other["contestant"] == compared[packed["contestant"]]
            and other["kernel"] == packed["kernel"]
        )
        with_rival = packed["contestant"] == "sse_q4" and in_use and _rival(other)
        if same_kernel or with_rival:
            yield (
                packed,
                other,
                [a / b for a, b in zip(packed["rounds"], other["rounds"], strict=True)],
            )


def _heads(figures: Sequence[Figure]) -> list[str]:
    rows = [
        [
            figure["values"],
            str(figure["dims"]),
            f"{figure['second_piece_share']:.1%}",
            figure["kernel"],
            _spread(figure["rounds"], 2),
        ]
        for figure in figures
        if figure["what"] == "head"
    ]
    header = ["values", "dims", "vectors with a second piece", "kernel", "Mrow/s"]
    return _table("Head: mean, Dynamic Tanh, L2", header, rows)


def _packed(figures: Sequence[Figure]) -> list[str]:
    rows = [
        [
            figure["work"],
            _spread([seconds * 1e3 for seconds in figure["rounds"]]),
            "" if figure["rmse"] is None else f"{figure['rmse']:.4f}",
        ]
        for figure in figures
        if figure["what"] == "pack"
    ]
    return _table("A table of 30,522 x 512, on one thread", ["work", "CPU ms", "RMSE"], rows)


OURS = "nibblevec"


def _encoded(figures: Sequence[Figure]) -> list[str]:
    of_command = [figure for figure in figures if figure["what"] == "encode"]
    ours = {
        (figure["kind"], figure["state"]): figure["rounds"]
        for figure in of_command
        if figure["contestant"] == OURS
    }
    rows = []
    for cold, warm in zip(of_command[::2], of_command[1::2], strict=True):
        ratios = [
            "1"
            if figure["contestant"] == OURS
            else _spread([a / b for a, b in zip(of_ours, figure["rounds"], strict=True)], 2)
            for figure in (cold, warm)
            for of_ours in [ours[figure["kind"], figure["state"]]]
        ]
        rates = [_spread([rate / 1e3 for rate in figure["rounds"]]) for figure in (cold, warm)]
        rows.append([cold["kind"], cold["contestant"], *rates, *ratios])
    header = [
        "texts", "by", "cold, 1000 texts/s", "warm, 1000 texts/s",
        f"{OURS} is x times as fast, cold", "warm",
    ]  # fmt: skip
    return _table("List of str to vectors", header, rows) + _about_texts(of_command)


def _about_texts(figures: Sequence[Figure]) -> list[str]:
    rows = [
        [
            figure["kind"],
            f"{figure['tokens_per_text']:.1f}",
            f"{figure['characters_per_text']:.0f}",
            f"{figure['not_ascii_share']:.1%}",
            str(figure["texts_per_call"]),
        ]
        for figure in figures
        if figure["contestant"] == OURS and figure["state"] == "cold"
    ]
    header = ["texts", "tokens", "characters", "not all ASCII", "texts a call"]
    return _table("The texts (a sample of 256)", header, rows)


def _rivals(figures: Sequence[Figure]) -> list[str]:
    of_command = [figure for figure in figures if figure["what"] == "encode"]
    rows = []
    for name in dict.fromkeys(figure["contestant"] for figure in of_command):
        own = [figure for figure in of_command if figure["contestant"] == name]
        first = own[0]
        agreement = ["equal", ""]
        if first["least_cosine"] is not None:
            agreement = [
                f"{min(figure['least_cosine'] for figure in own):.6f}",
                f"{max(figure['difference'] for figure in own):.0e}",
            ]
        rows.append(
            [
                name,
                first["output"],
                *agreement,
                f"{first['start_seconds'] * 1e3:.0f}",
                f"{first['start_mib'] or 0:.0f}",
                f"{max(figure['peak_mib'] or 0 for figure in own):.0f}",
                first["lacks"],
            ]
        )
    header = [
        "by", "gives", "least cosine with float64", "largest difference",
        "import to first vector, ms", "MiB then", "peak MiB", "what it does not do",
    ]  # fmt: skip
    return _table("What each gives", header, rows)


def _accents(figures: Sequence[Figure]) -> list[str]:
    ours = {
        (figure["kind"], figure["state"]): figure["rounds"]
        for figure in figures
        if figure["what"] == "encode" and figure["contestant"] == OURS
    }
    rows = [
        [kind, state, _spread([a / b for a, b in zip(rates, plain, strict=True)], 2)]
        for (kind, state), rates in ours.items()
        if (plain := ours.get((kind.replace("accents", "ASCII"), state))) and "accents" in kind
    ]
    header = ["texts", "", "rate of the same without"]
    return _table(f"{OURS}: English with accents, curly quotes and symbols", header, rows)


def _started(figures: Sequence[Figure]) -> list[str]:
    rows = [
        [
            figure["contestant"],
            _spread(figure["rounds"]),
            *(
                f"{figure[f'{step}_ms']:.1f}"
                for step in ("cpu", "import", "load", "first", "numpy")
            ),
            f"{figure['mib'] or 0:.0f}",
            f"{figure['numpy_mib'] or 0:.0f}",
        ]
        for figure in figures
        if figure["what"] == "startup"
    ]
    header = [
        "by", "ms beyond NumPy", "of CPU time", "import", "load", "first vector", "NumPy, ms",
        "MiB", "MiB of NumPy",
    ]  # fmt: skip
    return _table("Import, load and first vector", header, rows)


def _latencies(figures: Sequence[Figure]) -> list[str]:
    rows = [
        [
            figure["contestant"],
            f"{figure['median_us']:.1f}",
            f"{figure['p99_us']:.1f}",
            str(figure["calls"]),
            str(figure["tasks_begun"]),
        ]
        for figure in figures
        if figure["what"] == "latency"
    ]
    header = ["by", "median, us", "99 of 100, us", "calls", "tasks begun in the system"]
    return _table("One short text a call", header, rows)


def _pairs(figures: Sequence[Figure]) -> list[str]:
    rows = [
        [
            figure["pair"],
            figure["kind"],
            _spread(figure["rounds"], 2),
            *(f"{rate / 1e3:.1f}" for rate in figure["texts_per_s"]),
            f"{figure['cpu_share']:.2f}",
        ]
        for figure in figures
        if figure["what"] == "pair"
    ]
    header = ["what", "texts", "times as fast", "1000 texts/s", "of the other", "share of CPU"]
    return _table("Threads and dims", header, rows)


def _lengths(figures: Sequence[Figure]) -> list[str]:
    lines: list[str] = []
    of_command = [figure for figure in figures if figure["what"] == "length"]
    sizes = sorted({figure["text_bytes"] for figure in of_command})
    header = ["text of", *(f"{size // 1000} KB" for size in sizes), "worst / best"]
    for call, of_call in itertools.groupby(of_command, lambda figure: figure["call"]):
        rows = []
        for pattern, group in itertools.groupby(of_call, lambda figure: figure["pattern"]):
            one = list(group)
            empty = one[0]["us_per_empty_text"]
            times = [figure["ms_per_mb"] for figure in one]
            ratio = f"{max(times) / min(times):.2f}"
            rows.append([pattern, *(f"{time:.2f}" for time in times), ratio])
        title = f"Milliseconds for a MB, by the length of a text: {call} ({empty:.2f} us if empty)"
        lines += _table(title, header, rows)
    return lines


def _counts(figures: Sequence[Figure]) -> list[str]:
    rows = [
        [str(figure["texts"]), str(figure["dims"]), f"{figure['us_per_text']:.3f}"]
        for figure in figures
        if figure["what"] == "count"
    ]
    return _table("Microseconds for a text, by the number of texts", ["texts", "dims", "us"], rows)


def _case(figure: Figure) -> list[str]:
    return [figure["ids"], str(figure["dims"]), str(figure["bag_length"])]


def _rival(figure: Figure) -> bool:
    return figure["kernel"] is None


def _contestant(figure: Figure) -> str:
    name: str = figure["contestant"]
    return name if _rival(figure) else f"{name} {figure['kernel']}"


def _spread(values: Sequence[float], digits: int = 1) -> str:
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * width for width in widths]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in (header, rule, *rows)]
    return ["", title, "", *lines]


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(file: Path) -> None:
    """Print the figures in FILE (JSON lines) as tables."""
    click.echo(report(map(json.loads, file.read_text(encoding="utf-8").splitlines())))


if __name__ == "__main__":
    main()
