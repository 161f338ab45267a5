"""Results as a table and as JSON, with their means over sets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nibblevec._printing import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nibblevec.evaluation._measures import Result


def means(results: Sequence[Result]) -> list[Result]:
    """Mean of each measure over the sets, for each task, number of dims and precision.

    >>> from nibblevec.evaluation import Result
    >>> sts = {"task": "sts", "dims": 64, "precision": "float32", "sizes": {"pairs": 9}}
    >>> a, b = ({"spearman": value, "pearson": value} for value in (0.25, 0.75))
    >>> means([Result("a", measures=a, **sts), Result("b", measures=b, **sts)])[0].measures
    {'spearman': 0.5, 'pearson': 0.5}
    """
    groups: dict[tuple[str, int, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.task, result.dims, result.precision), []).append(result)
    return [
        members[0]._replace(
            data="mean",
            sizes={"sets": len(members)},
            measures={
                name: math.fsum(member.measures[name] for member in members) / len(members)
                for name in members[0].measures
            },
        )
        for members in groups.values()
    ]


def as_table(results: Sequence[Result]) -> str:
    """A table of the results and, of several sets, their means: a line each, tasks apart."""
    tables = []
    for task in ("retrieval", "sts"):
        lines = [result for result in results if result.task == task]
        if len({result.data for result in lines}) > 1:
            lines += means(lines)
        if lines:
            tables.append(_aligned([_header(lines[0]), *map(_row, lines)]))
    return "\n\n".join(tables)


def _header(result: Result) -> list[str]:
    short = {"accuracy": "acc", "precision": "P", "recall": "R", "ndcg": "nDCG"}
    labels = []
    for name in result.measures:
        measure, at, k = name.partition("@")
        labels.append(short.get(measure, measure.upper() if at else measure) + at + k)
    return ["data", "dims", "precision", *labels]


def _row(result: Result) -> list[str]:
    values = [f"{value:.4f}" for value in result.measures.values()]
    return [printable(result.data), str(result.dims), result.precision, *values]


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines, the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def as_json(model: str, similarity: str, results: Sequence[Result]) -> dict[str, Any]:
    """The results, and their means over the sets, for JSON."""

    def flat(result: Result) -> dict[str, Any]:
        content = result._asdict()
        sizes, measures = content.pop("sizes"), content.pop("measures")
        return {**content, **sizes, "measures": measures}

    return {
        "model": model,
        "similarity": similarity,
        "results": [flat(result) for result in results],
        "means": [flat(result) for result in means(results)],
    }
