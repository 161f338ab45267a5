"""All layouts: one line each."""

from __future__ import annotations

from itertools import chain

from nibblevec._layouts.gguf import GGUF
from nibblevec._layouts.model2vec import MODEL2VEC
from nibblevec._layouts.place import TENSORS_NAME
from nibblevec._layouts.ranges import RANGES_NAME
from nibblevec._layouts.sse import SSE
from nibblevec._layouts.static_embedding import BARE, STATIC

# A folder that has several of them is of the first one.
LAYOUTS = (SSE, STATIC, MODEL2VEC, BARE, GGUF)

# How models are written, by the names of the layouts.
WRITTEN = {layout.name: layout.writing for layout in LAYOUTS if layout.writing is not None}

# How a model is written in the layout that has a place for everything that a model may have.
COMPLETE = WRITTEN[GGUF.name]

# Ends of the names of models that are one file, in lower case.
FILE_SUFFIXES = tuple(written.suffix for written in WRITTEN.values() if written.suffix is not None)

# Small files that tell what a repository without a model holds.
ROUTER_NAME = "router_config.json"
ADAPTER_NAME = "adapter_config.json"
FOREIGN_NAMES = (ROUTER_NAME, ADAPTER_NAME, f"{TENSORS_NAME}.index.json")

# All files that may be read of a model's folder, as paths with ``/``. Weights of other libraries in
# the same repository of the hub stay there.
READ_NAMES = (
    *dict.fromkeys(chain.from_iterable(layout.files for layout in LAYOUTS)),
    RANGES_NAME,
    *FOREIGN_NAMES,
)

# Files that go when a model takes the place of another one in its folder. The layout that is
# recognised first decides: its files go last.
DECISIVE_NAMES = tuple(
    dict.fromkeys(
        chain.from_iterable(written.decisive_names for written in reversed(WRITTEN.values()))
    )
)


def other_names(folder: str) -> tuple[str, ...]:
    """All other files in a folder that belong to a model of any layout.

    Raises:
        OSError: a file that tells cannot be read, or is not a regular file.
    """
    names = (
        *chain.from_iterable(written.other_names for written in WRITTEN.values()),
        RANGES_NAME,
        *chain.from_iterable(written.own_names(folder) for written in WRITTEN.values()),
    )
    return tuple(dict.fromkeys(names))
