"""Token ids: those of texts, and those that a vocabulary gives."""

from __future__ import annotations

import os
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nibblevec._containers.files import ModelFormatError
from nibblevec._printing import warn
from nibblevec._tokenization.shapes import is_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class TokenIds(NamedTuple):
    """The ids of texts.

    Attributes:
        ids: uint32 [tokens], those of all texts end to end.
        offsets: int64 [texts + 1], where each text begins, and the end of the last.
        cut_texts: number of texts that truncation cut.
    """

    ids: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    cut_texts: int


class IdsInUse(NamedTuple):
    """The ids that the `tokenizers` package gives.

    Attributes:
        vocabulary: of the vocabulary's tokens.
        added: of added tokens, of which the vocabulary may hold some.
    """

    vocabulary: dict[str, int]
    added: dict[str, int]

    @property
    def end(self) -> int:
        """One more than the greatest."""
        return max(chain(self.vocabulary.values(), self.added.values()), default=-1) + 1

    @property
    def distinct(self) -> int:
        """Number of different ids."""
        return len({*self.vocabulary.values(), *self.added.values()})

    @property
    def tokens(self) -> int:
        """Number of tokens that have an id."""
        return len(self.vocabulary) + sum(token not in self.vocabulary for token in self.added)

    def of(self, token: str) -> int | None:
        """The id of this token; None if it has none."""
        number = self.added.get(token)
        return self.vocabulary.get(token) if number is None else number


def _outside(path: str, field: str, token: str, number: Any, rows: int) -> ModelFormatError:
    return ModelFormatError(
        path, field, f"id {number!r:.40} of {token!r:.80}, expected one of 0..{rows - 1}"
    )


def check_stated_ids(content: dict[str, Any], path: str, rows: int) -> None:
    """Refuse ids that no version of `tokenizers` takes; the error names the first."""
    model = content.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    ids = vocabulary.values() if isinstance(vocabulary, dict) else ()
    # These checks need no loop of Python over the vocabulary.
    good = set(map(type, ids)) == {int} and 0 <= min(ids) <= max(ids) < 1 << 32
    listed = _added_tokens(content, path) if good else _vocabulary(content, path)
    for field, token, number in listed:
        if not is_count(number):
            raise _outside(path, field, token, number, rows)


def check_ids(
    content: dict[str, Any],
    ids: IdsInUse,
    path: str,
    rows: int,
    headerless_table: str | None,
) -> None:
    count = ids.end
    # An id far from the others is the tokenizer's fault, not that of a table that lacks rows.
    if headerless_table is not None and (count < rows or rows < count == ids.distinct):
        problem = f"{rows} rows, expected {count}, one for each token of {os.path.basename(path)}"
        raise ModelFormatError(headerless_table, "table", problem)
    if count > rows:
        listed = {token: field for field, token, _ in _vocabulary(content, path)}
        for token, number in chain(ids.vocabulary.items(), ids.added.items()):
            if number >= rows:
                raise _outside(path, listed.get(token, "added_tokens"), token, number, rows)


def warn_of_contradictions(content: dict[str, Any], ids: IdsInUse, path: str) -> None:
    """Warn once if the file states ids that its tokens do not get."""
    problems = []
    settings: dict[str, dict[str, Any]] = {}
    for entry in content.get("added_tokens") or []:
        token = entry["content"]
        number = ids.of(token)
        if number is None:  # an empty token, which is ignored
            continue
        if number != entry["id"]:
            problems.append(f"added token {token!r:.80} has the id {number}, not {entry['id']}")
        flags = {name: value for name, value in entry.items() if name != "id"}
        if settings.setdefault(token, flags) != flags:
            problems.append(f"added token {token!r:.80} occurs with other settings")
    if ids.distinct < ids.tokens:
        first: dict[int, str] = {}
        for token, number in chain(ids.vocabulary.items(), ids.added.items()):
            other = first.setdefault(number, token)
            if other != token:
                problems.append(f"{other!r:.80} and {token!r:.80} have the id {number}")
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        message = f"{path}: {problems[0]}, as in the tokenizers package{more}"
        warn(message, stacklevel=6)


def _vocabulary(content: dict[str, Any], path: str) -> Iterator[tuple[str, str, Any]]:
    """Field, token and id of every entry of the vocabulary and every added token."""
    model = content.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict):
        for token, number in vocabulary.items():
            yield "model.vocab", token, number
    elif isinstance(vocabulary, list):  # Unigram: token and score; the position is the id
        for number, entry in enumerate(vocabulary):
            token = entry[0] if isinstance(entry, list) and entry else entry
            yield "model.vocab", token if isinstance(token, str) else repr(token), number
    else:
        raise ModelFormatError(path, "model.vocab", "missing, or neither an object nor an array")
    yield from _added_tokens(content, path)


def _added_tokens(content: dict[str, Any], path: str) -> Iterator[tuple[str, str, Any]]:
    """Field, token and id of every added token."""
    added = content.get("added_tokens") or []
    if not isinstance(added, list):
        raise ModelFormatError(path, "added_tokens", "expected an array")
    for entry in added:
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise ModelFormatError(path, "added_tokens", f"{entry!r:.80} has no content")
        yield "added_tokens", entry["content"], entry.get("id")
