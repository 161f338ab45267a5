"""How many threads a call may use."""

from __future__ import annotations

import functools
import operator
import os
import sys
from typing import SupportsIndex


def thread_count(threads: SupportsIndex | None) -> int:
    """Number of threads for a call.

    Args:
        threads: what the caller asked for, at least 1; None means ``NIBBLEVEC_NUM_THREADS``, else
            `available_cpus`.

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
    return available_cpus()


def available_cpus() -> int:
    """CPUs that this process may use: its affinity, and its control group's quota."""
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


def _quota_v2(folder: str) -> float:
    quota, period = _read(f"{folder}/cpu.max").split()
    return int(quota) / int(period)  # "max" is not a number


def _quota_v1(folder: str) -> float:
    quota = int(_read(f"{folder}/cpu.cfs_quota_us"))
    if quota <= 0:
        raise ValueError("no quota")
    return quota / int(_read(f"{folder}/cpu.cfs_period_us"))


def _cgroup_folders() -> list[str]:
    """The folders of this process's control groups and of all their parents."""
    roots = {"": "/sys/fs/cgroup", "cpu": "/sys/fs/cgroup/cpu"}
    folders = list(roots.values())
    try:
        lines = _read("/proc/self/cgroup").splitlines()
    except OSError:
        return folders
    for line in lines:
        _, controllers, group = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in roots:
                folder = roots[controller]
                for part in filter(None, group.split("/")):
                    folder += f"/{part}"
                    folders.append(folder)
    return folders


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()
