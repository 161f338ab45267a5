"""Static text embeddings straight from a 4-bit table, with the same bits on every CPU.

Public are the names here, `nibblevec.arrow` and `nibblevec.evaluation`; the rest has an underscore.
"""

from nibblevec._containers.files import ModelFormatError
from nibblevec._encoder import Encoder
from nibblevec._similarity import semantic_search
from nibblevec._table import Table, kernels

__all__ = ["Encoder", "ModelFormatError", "Table", "kernels", "semantic_search"]

# Tracebacks, pickles and help name the public module, wherever the code moves.
for _public in (Encoder, ModelFormatError, Table, kernels, semantic_search):
    _public.__module__ = __name__
del _public


def __getattr__(name: str) -> str:
    if name == "__version__":  # reading the metadata takes longer than the rest of the import
        from importlib.metadata import version

        return version("nibblevec")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
