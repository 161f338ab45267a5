"""What a model does to a text before it is tokenised, and to its ids after that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Truncation(NamedTuple):
    """How many ids of a text are kept, None meaning all, and of which end."""

    max_length: int | None = None
    keep_end: bool = False


class TokenRules(NamedTuple):
    """What a model does to a text before it is tokenised, and to its ids after that.

    In this order: the text is cut to a number of characters; tokenised; its ids are cut to a
    number; unknown tokens are dropped; the rest of the ids become rows, each with its weight.

    Attributes:
        truncation: replaces that of ``tokenizer.json``; None leaves it.
        cuts_characters: where ids are cut to a length, the text is first cut to that length times
            the median length of the vocabulary's tokens, in characters, rounded down.
        drops_unknown: the unknown token is dropped.
        row_of_id: uint32 [ids], each below the rows of the table; None: an id is a row.
        weight_of_id: float32 or float64 [ids], multiplies the row; the product is rounded to
            float32 unless the model's sums are float64. None: rows count as they are.
    """

    truncation: Truncation | None = None
    cuts_characters: bool = False
    drops_unknown: bool = False
    row_of_id: NDArray[np.uint32] | None = None
    weight_of_id: NDArray[np.floating[Any]] | None = None

    @property
    def ids(self) -> int | None:
        """How many ids there may be; None: as many as the table has rows."""
        for of_ids in (self.row_of_id, self.weight_of_id):
            if of_ids is not None:
                return len(of_ids)
        return None


NO_RULES = TokenRules()
