"""The layout of whole models in one GGUF file."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from nibblevec._containers.files import read_beginning
from nibblevec._containers.tensors import ROW_FORMATS
from nibblevec._layouts.layout import Form, Layout, Writing
from nibblevec._table import PLAIN_FORMATS

if TYPE_CHECKING:
    from nibblevec._layouts.place import Place
    from nibblevec._layouts.tokenizers import ModelTokenizer
    from nibblevec._model import Model

SUFFIX = ".gguf"


def _is_gguf(file: Place) -> bool:
    """Whether a regular file is called a GGUF file, or begins as one.

    Raises:
        OSError: it cannot be read.
    """
    from nibblevec._containers.gguf_format import MAGIC

    path = file.path
    return path.lower().endswith(SUFFIX) or read_beginning(path, len(MAGIC)) == MAGIC


def _load(place: Place) -> Model:
    from nibblevec._layouts.gguf_model import load

    return load(place)


def _write(model: Model, _tokenizer: ModelTokenizer, file: IO[bytes]) -> None:
    from nibblevec._layouts.gguf_model import write

    write(model, file)


def _losses(_model: Model, _tokenizer: ModelTokenizer) -> dict[str, bool]:
    return {}


GGUF = Layout(
    name="gguf",
    words="a GGUF file",
    forms=(Form("a GGUF file", _is_gguf, _load, is_file=True),),
    writing=Writing(
        words="a GGUF file",
        row_formats=tuple(sorted(ROW_FORMATS.values(), key=PLAIN_FORMATS.__contains__)),
        write=_write,
        losses=_losses,
        suffix=SUFFIX,
        keeps_name=True,
    ),
)
