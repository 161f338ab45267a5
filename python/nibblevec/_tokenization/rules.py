"""Token rules of a model, in the terms of one vocabulary."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

import nibblevec._core as _core
from nibblevec._tokenization.ids import TokenIds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nibblevec._token_rules import TokenRules, Truncation


class BoundRules:
    """Token rules in the terms of one vocabulary.

    Attributes:
        dropped_id: the id that does not count; None: all do.
        row_of_id: as in `TokenRules`.
        weight_of_id: as in `TokenRules`.
    """

    def __init__(self, rules: TokenRules, tokens: Iterable[str], unknown_id: int | None) -> None:
        self.dropped_id = unknown_id if rules.drops_unknown else None
        self.row_of_id = rules.row_of_id
        self.weight_of_id = rules.weight_of_id
        self._characters_per_token: int | None = None
        if rules.cuts_characters:
            self._characters_per_token = int(np.median([len(token) for token in tokens] or [0]))

    def max_characters(self, truncation: Truncation) -> int | None:
        """Number of characters of a text that are kept where its ids are truncated; None: all."""
        if truncation.max_length is None or self._characters_per_token is None:
            return None
        return min(truncation.max_length * self._characters_per_token, sys.maxsize)

    def without_dropped(self, tokens: TokenIds) -> TokenIds:
        """The ids that count."""
        if self.dropped_id is None:
            return tokens
        counts = tokens.ids != self.dropped_id
        offsets = np.zeros(len(tokens.ids) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        return TokenIds(tokens.ids[counts], offsets[tokens.offsets], tokens.cut_texts)

    def native(self) -> _core.TokenRules | None:
        """The same for the native code; None if there is nothing to do."""
        if self.dropped_id is None and self.row_of_id is None and self.weight_of_id is None:
            return None
        wide = self.weight_of_id is not None and self.weight_of_id.dtype == np.float64
        return _core.TokenRules(self.row_of_id, self.weight_of_id, wide, self.dropped_id)
