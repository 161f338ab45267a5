"""The model that comes with the package; see docs/model.md."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nibblevec._layouts.loading import load_model

if TYPE_CHECKING:
    from nibblevec._model import Model

BUNDLED_MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models", "default")


def load_bundled_model(*, mmap: bool = True) -> Model:
    """The bundled model, with its name and licence."""
    model = load_model(BUNDLED_MODEL, mmap=mmap)
    return model._replace(name="nibblevec-en-512", license="apache-2.0")
