"""Files that were given as a model, but are none of ours.

Messages say what they are, and the way out. Loaded only after something was refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from nibblevec._layouts.foreign_content import (
    DISTIL,
    PICKLES,
    TOLD_BY_CONTENT,
    Foreign,
    Found,
    OpenedFile,
    either,
    is_safetensors,
    opened,
    told,
)
from nibblevec._layouts.sse import TABLE_NAME


def _called(pattern: str) -> Callable[[OpenedFile], Found]:
    return lambda file: bool(re.fullmatch(pattern, file.name, re.I))


# Files that may be given as a model. Content tells more surely than names, so it comes first.
FOREIGN_FILES = (
    *TOLD_BY_CONTENT,
    Foreign(
        _called(r".*-\d+-of-\d+\.(safetensors|bin|gguf)"),
        "it is one of several files that a model's weights were split into; save them in one",
    ),
    Foreign(
        _called(r"adapter_model\..*"),
        f"it is an adapter (PEFT, LoRA) of another model; merge it into that one; {DISTIL}",
    ),
    Foreign(
        either(is_safetensors, _called(r".*\.safetensors")),
        "it is a file of safetensors, a part of a model; give its folder",
    ),
    Foreign(
        lambda file: (
            file.name.lower().endswith((".json", ".jsonl")) or file.beginning.lstrip()[:1] == b"{"
        ),
        "it is a file of JSON, a part of a model; give its folder",
    ),
    Foreign(_called(re.escape(TABLE_NAME)), "it is the table of a model; give its folder"),
    Foreign(_called(r".*\.onnx"), f"it is a model of ONNX, which is not run here; {DISTIL}"),
    Foreign(_called(r".*\.(bin|pt|pth|ckpt|pkl|pickle)"), f"it may be a pickle; {PICKLES}"),
    Foreign(
        _called(r".*(\.model|\.spm|vocab\.txt|merges\.txt)"),
        "it is a part of a tokenizer; a model is a folder",
    ),
    Foreign(lambda file: not file.beginning, "it is empty"),
)


def file_in_words(path: str) -> str | None:
    """The kind of a file that was given as a model, and the way out; None if it is unknown."""
    file = opened(path)
    return None if file is None else told(FOREIGN_FILES, file)
