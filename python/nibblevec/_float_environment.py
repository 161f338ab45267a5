"""The floating-point environment of what NumPy and others compute for us."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np

import nibblevec._core as _core

if TYPE_CHECKING:
    from collections.abc import Callable

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def in_default_float_environment(
    function: Callable[Parameters, Result],
) -> Callable[Parameters, Result]:
    """The same function, which computes in the default floating-point environment.

    The kernel sees to its own environment. What NumPy or the `tokenizers` package computes before
    or after it would follow the mode in which a caller's thread rounds, or flushes denormal
    numbers to zero, and `numpy.errstate` of a caller would make errors of numbers that underflow.
    Of no use for a generator, whose caller gets the environment back in between.
    """

    @functools.wraps(function)
    def wrapped(*arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
        with _core.DefaultFloatEnvironment(), np.errstate(all="ignore"):
            return function(*arguments, **options)

    return wrapped
