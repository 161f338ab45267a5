"""What every command of the benchmark needs."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

import nibblevec
from nibblevec import _core
from report import report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from report import Figure


def pin(core: int | None) -> int | None:
    """Keep this process on one CPU, where the system can; return which."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    if core is None:
        core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def describe_environment(core: int | None, versions: dict[str, str | None]) -> dict[str, Any]:
    """What a figure depends on besides the code of this file."""
    here = Path(__file__).parent
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    library = Path(str(_core.__file__)).read_bytes()
    compiler = re.search(rb"GCC: \([^)\0]*\) [\d.]+|clang version [\d.]+", library)
    return {
        "commit": described.stdout.strip() or None,
        "cpu": cpu_name(),
        "core": core,
        "system": platform.platform(),
        "compiler": compiler.group().decode() if compiler else None,
        "kernels": nibblevec.kernels(),
        "nibblevec": nibblevec.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        **versions,
    }


def cpu_name() -> str:
    """The CPU's name and, as some names say little, its family and model."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(re.findall(r"^([^\t\n]+)\t*: (.*)$", text, re.MULTILINE))
    name = fields.get("model name", platform.machine())
    return f"{name} (family {fields.get('cpu family')}, model {fields.get('model')})"


def statistics(unit: str, rounds: list[float]) -> dict[str, Any]:
    """Fields of a figure that were measured."""
    return {
        f"median_{unit}": median(rounds),
        f"min_{unit}": min(rounds),
        f"max_{unit}": max(rounds),
        "rounds": rounds,
    }


def publish(
    measured: Iterable[Figure], environment: dict[str, Any], json_file: Path | None
) -> None:
    """Print figures as tables and keep them as JSON lines."""
    figures: list[Figure] = [{**figure, "environment": environment} for figure in measured]
    if json_file is not None:
        json_file.write_text("".join(json.dumps(figure) + "\n" for figure in figures), "utf-8")
    click.echo(report(figures))


def same_bits(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    """Whether two arrays are equal to the bit."""
    return np.array_equal(a.view(np.uint32), b.view(np.uint32))


def require(claim: bool, message: str) -> None:
    """Stop unless the claim holds."""
    if not claim:
        raise click.ClickException(f"outputs differ, nothing was timed: {message}")
