"""A `tokenizer.json` natively and by the `tokenizers` package, and such files to be compared."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tokenizers
from tiny_models import VOCABULARY, JsonObject, tokenizer_content

from nibblevec import kernels
from nibblevec._tokenization.loading import load_tokenizer
from nibblevec._tokenization.native import NativeTokenizer

ROWS = 1 << 32
KERNELS = kernels()
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")

NORMALIZERS: list[JsonObject] = [
    {"clean_text": clean, "handle_chinese_chars": chinese, "strip_accents": accents,
     "lowercase": lower}
    for clean in (True, False)
    for chinese in (True, False)
    for accents in (None, True, False)
    for lower in (True, False)
]  # fmt: skip


class Pair:
    """A `tokenizer.json` in both ways."""

    def __init__(self, content: JsonObject) -> None:
        data = json.dumps(content).encode()
        native = load_tokenizer(data, "tokenizer.json", ROWS)
        assert isinstance(native, NativeTokenizer), native.path_taken
        self.native = native
        self.package = tokenizers.Tokenizer.from_buffer(data)
        self.package.no_padding()
        self.content = content

    def check(
        self,
        texts: Iterable[str],
        kernels: Sequence[str] = KERNELS[:1],
        piece_characters: int | None = None,
    ) -> None:
        block = tuple(texts)
        encodings = self.package.encode_batch_fast(block, add_special_tokens=False)
        expected = [encoding.ids for encoding in encodings]
        for kernel in kernels:
            found = self.native.encode_batch(
                block,
                self.native.truncation,
                kernel=kernel,
                threads=2,
                piece_characters=piece_characters,
            )
            offsets = found.offsets.tolist()
            if offsets == [0, *itertools.accumulate(map(len, expected))]:
                flat = np.fromiter(itertools.chain.from_iterable(expected), np.uint32)
                if np.array_equal(flat, found.ids):
                    continue
            for i, text in enumerate(block):
                ours = found.ids[offsets[i] : offsets[i + 1]].tolist()
                assert ours == expected[i], f"{kernel}: {text!a}"
            raise AssertionError("offsets do not fit the ids")


def content_with(
    vocabulary: Iterable[str] = VOCABULARY,
    *,
    added: Sequence[JsonObject] | None = None,
    truncation: JsonObject | None = None,
    normalizer: JsonObject | None = None,
    **model: Any,
) -> JsonObject:
    content = tokenizer_content()
    content["normalizer"].update(normalizer or {})
    content["model"]["vocab"] = {token: number for number, token in enumerate(vocabulary)}
    content["model"].update(model)
    content["truncation"] = truncation
    content["added_tokens"] = list(added or [])
    return content


def added_token(number: int, content: str, **flags: bool) -> JsonObject:
    names = ("special", "single_word", "lstrip", "rstrip", "normalized")
    return {"id": number, "content": content, **dict.fromkeys(names, False), **flags}
