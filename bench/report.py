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
        lines += _sums(of_run) + _ratios(of_run) + _heads(of_run)
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
    """Each 4-bit sum with its like over a float32 table; that of the kernel in use with rivals."""
    sums = [figure for figure in figures if figure["what"] == "sum"]
    for packed, other in itertools.product(sums, sums):
        if packed["contestant"] != "sse_q4" or _case(packed) != _case(other):
            continue
        in_use = packed["kernel"] == packed["environment"]["kernels"][0]
        same_kernel = other["contestant"] == "float32" and other["kernel"] == packed["kernel"]
        if same_kernel or (_rival(other) and in_use):
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
