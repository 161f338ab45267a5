"""A float table into each packed row format, and a model in one file loaded. See README.md."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import numpy as np

from common import describe_environment, pin, publish, require, statistics
from nibblevec import Table
from nibblevec._bundled import load_bundled_model
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.saving import save_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from report import Figure

ROWS, DIM = 30_522, 512
# What is packed, and more than the RMSE that random normal weights then have.
FORMATS: dict[Literal["sse_q4", "q4_k", "q6_k"], float] = {
    "sse_q4": 0.13,
    "q4_k": 0.09,
    "q6_k": 0.03,
}


@click.command()
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write figures here.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option("--core", type=int, help="CPU to run on [default: the last one allowed].")
def quantize(json_file: Path | None, repeats: int, core: int | None) -> None:
    """CPU time to pack a table of 30,522 x 512, and to load it from a GGUF file."""
    environment = describe_environment(pin(core), {})
    publish(_figures(repeats), environment, json_file)


def _figures(repeats: int) -> Iterator[Figure]:
    weights = np.random.default_rng(0).standard_normal((ROWS, DIM), np.float32)
    bundled = load_bundled_model()
    for row_format, most in FORMATS.items():
        pack = partial(Table.quantize, weights, row_format, threads=1)
        table = pack()
        error = float(np.sqrt(np.square(table.dequantize() - weights).mean(dtype=np.float64)))
        require(error < most, f"{row_format} has an RMSE of {error}")
        yield {
            "what": "pack",
            "work": f"quantise into {row_format}",
            "rmse": error,
            **statistics("s", _seconds(pack, repeats)),
        }
        if row_format == "sse_q4":
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "model.gguf")
            save_model(bundled._replace(table=table), path, "gguf")
            require(bytes(load_model(path).table.buffer) == bytes(table.buffer), "another table")
            yield {
                "what": "pack",
                "work": f"load a GGUF file of {row_format}",
                "rmse": None,
                **statistics("s", _seconds(partial(load_model, path), repeats)),
            }


def _seconds(work: Callable[[], object], repeats: int) -> list[float]:
    """CPU time of this process for each call."""
    rounds = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        rounds.append(time.process_time() - begin)
    return rounds
