"""Texts to token ids, through the `tokenizers` package."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nibblevec.model_files import ModelFormatError, parse_json_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import tokenizers


class Tokenizer:
    """The tokenizer of a model, for bags of ids without special tokens and without padding.

    Truncation is what ``tokenizer.json`` asks for.
    """

    def __init__(self, tokenizer_json: bytes, path: str, rows: int) -> None:
        """Check ``tokenizer_json``, the content of ``path``, against a table of ``rows`` rows.

        Raises:
            ModelFormatError: not JSON, or not a tokenizer; an id repeats, is negative or is not a
                row of the table.
        """
        _check_ids(parse_json_object(tokenizer_json, path, "tokenizer"), path, rows)
        import tokenizers

        self._path = path
        try:
            self._tokenizer: tokenizers.Tokenizer = tokenizers.Tokenizer.from_buffer(tokenizer_json)
        except BaseException as error:  # a Rust panic is not an Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            raise ModelFormatError(
                path, "tokenizer", f"tokenizers cannot load it: {error}"
            ) from None
        self._tokenizer.no_padding()

    def encode_batch(self, texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Ids of each text.

        Returns:
            ids uint32 [tokens] of all texts end to end; offsets int64 [texts + 1].

        Raises:
            ModelFormatError: the tokenizer does not hold what it asks for itself.
        """
        try:
            encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        except Exception as error:
            if type(error) is not Exception:  # one that is not of `tokenizers` itself
                raise
            problem = f"tokenizers cannot encode with it: {error}"
            raise ModelFormatError(self._path, "tokenizer", problem) from None
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(encoding) for encoding in encodings], out=offsets[1:])
        all_ids = chain.from_iterable(encoding.ids for encoding in encodings)
        return np.fromiter(all_ids, np.uint32, int(offsets[-1])), offsets


def _check_ids(content: dict[str, Any], path: str, rows: int) -> None:
    tokens: dict[int, str] = {}
    ids: dict[str, int] = {}
    for field, token, number in _vocabulary(content, path):
        if type(number) is not int or not 0 <= number < rows:
            raise ModelFormatError(
                path, field, f"id {number!r:.40} of {token!r:.80}, expected one of 0..{rows - 1}"
            )
        if tokens.setdefault(number, token) != token:  # an added token may restate an entry
            raise ModelFormatError(
                path, field, f"id {number} is given to {tokens[number]!r:.80} and {token!r:.80}"
            )
        if field == "added_tokens" and ids.get(token, number) != number:
            raise ModelFormatError(
                path, field, f"{token!r:.80} is given the ids {ids[token]} and {number}"
            )
        ids.setdefault(token, number)


def _vocabulary(content: dict[str, Any], path: str) -> Iterator[tuple[str, str, Any]]:
    """Field, token and id of every entry of the vocabulary and every added token."""
    model = content.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict):
        for token, number in vocabulary.items():
            yield "model.vocab", token, number
    elif isinstance(vocabulary, list):  # Unigram: the position is the id
        for number, entry in enumerate(vocabulary):
            yield "model.vocab", str(entry[:1] if isinstance(entry, list) else entry), number
    else:
        raise ModelFormatError(path, "model.vocab", "missing, or neither an object nor an array")
    added = content.get("added_tokens") or []
    if not isinstance(added, list):
        raise ModelFormatError(path, "added_tokens", "expected an array")
    for entry in added:
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise ModelFormatError(path, "added_tokens", f"{entry!r:.80} has no content")
        if isinstance(vocabulary, dict):
            yield "added_tokens", entry["content"], entry.get("id")
        else:
            # a Unigram entry is compared by what it holds, see above
            yield "added_tokens", str([entry["content"]]), entry.get("id")
