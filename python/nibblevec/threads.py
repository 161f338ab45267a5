"""How many threads a call may use."""

from __future__ import annotations

import functools
import operator
import os
import sys
from pathlib import Path
from typing import SupportsIndex


def thread_count(threads: SupportsIndex | None) -> int:
    """Number of threads for a call.

    Args:
        threads: what the caller asked for, at least 1; None means ``NIBBLEVEC_NUM_THREADS``, else
            the CPUs that this process may use (its affinity, and its control group's quota).

    Raises:
        ValueError: less than 1, or ``NIBBLEVEC_NUM_THREADS`` is not a whole number from 1 up.
    """
    if threads is not None:
        count = operator.index(threads)
        if count < 1:
            raise ValueError(f"threads must be at least 1, not {count}")
        return min(count, sys.maxsize)
    variable = os.environ.get("NIBBLEVEC_NUM_THREADS")
    if variable:
        if not (variable.isdecimal() and int(variable) > 0):
            raise ValueError(
                f"NIBBLEVEC_NUM_THREADS must be a whole number from 1 up, not {variable!r}"
            )
        return min(int(variable), sys.maxsize)
    if hasattr(os, "sched_getaffinity"):
        cpus = len(os.sched_getaffinity(0))
    else:
        cpus = os.cpu_count() or 1
    return max(1, min(cpus, _quota_cpus()))


@functools.cache
def _quota_cpus() -> int:
    """Whole CPUs that the control group's quota allows; a large number where there is none."""
    smallest = float("inf")
    for folder in _cgroup_folders():
        for read in (_quota_v2, _quota_v1):
            try:
                smallest = min(smallest, read(folder))
            except (OSError, ValueError):  # no such file or no number: no quota here
                continue
    return 1 << 20 if smallest == float("inf") else int(smallest)


def _quota_v2(folder: Path) -> float:
    quota, period = (folder / "cpu.max").read_text().split()
    return int(quota) / int(period)  # "max" is not a number


def _quota_v1(folder: Path) -> float:
    quota = int((folder / "cpu.cfs_quota_us").read_text())
    if quota <= 0:
        raise ValueError("no quota")
    return quota / int((folder / "cpu.cfs_period_us").read_text())


def _cgroup_folders() -> list[Path]:
    """The folders of this process's control groups and of all their parents."""
    roots = {"": Path("/sys/fs/cgroup"), "cpu": Path("/sys/fs/cgroup/cpu")}
    folders = list(roots.values())
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        _, controllers, group = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in roots:
                path = roots[controller] / group.lstrip("/")
                folders += [path, *path.parents[: len(Path(group).parts) - 1]]
    return folders
