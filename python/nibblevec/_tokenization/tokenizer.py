"""The interface of a model's tokenizers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from nibblevec._token_rules import Truncation
    from nibblevec._tokenization.ids import IdsInUse, TokenIds
    from nibblevec._tokenization.rules import BoundRules


class Tokenizer(Protocol):
    """The tokenizer of a model, for bags of ids without special tokens and without padding.

    Attributes:
        truncation: that of the model, else that of ``tokenizer.json``.
        path_taken: in words, whether it runs natively, and if not, why.
        rules: the model's token rules, for this vocabulary.
    """

    truncation: Truncation
    path_taken: str
    rules: BoundRules

    def ids(self) -> IdsInUse:
        """The id of each token."""

    def encode_batch(
        self,
        texts: tuple[str, ...],
        truncation: Truncation,
        *,
        first_number: int = 0,
        threads: int = 1,
    ) -> TokenIds:
        """Ids of each text, those whose rows count.

        Args:
            texts: of str only.
            truncation: `truncation`, or another.
            first_number: number of the first text, for errors.
            threads: at most N.

        Raises:
            TypeError: a text is not a str (names its number).
            ValueError: a text holds a lone surrogate (names its number).
            ModelFormatError: the tokenizer refers to something that it does not hold.
        """
