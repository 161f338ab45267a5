"""Measures of a model: retrieval over folders in BEIR's layout, and scored pairs of sentences."""

from nibblevec._io.errors import InputError, InputKindError
from nibblevec.evaluation._measures import (
    RETRIEVAL_MEASURES,
    STS_MEASURES,
    Result,
    check_installed,
    evaluate,
    fit_ranges,
    ranges_needed,
)
from nibblevec.evaluation._report import as_json, as_table, means
from nibblevec.evaluation._sets import (
    PAIR_COLUMNS,
    PairSet,
    RetrievalSet,
    distinct_names,
    read_pair_set,
    read_retrieval_set,
    read_set,
)

__all__ = [
    "PAIR_COLUMNS",
    "RETRIEVAL_MEASURES",
    "STS_MEASURES",
    "InputError",
    "InputKindError",
    "PairSet",
    "Result",
    "RetrievalSet",
    "as_json",
    "as_table",
    "check_installed",
    "distinct_names",
    "evaluate",
    "fit_ranges",
    "means",
    "ranges_needed",
    "read_pair_set",
    "read_retrieval_set",
    "read_set",
]

# Errors, pickles and help name the public module.
for _name in __all__:
    if hasattr(globals()[_name], "__qualname__"):  # a class or a function
        globals()[_name].__module__ = __name__
del _name
