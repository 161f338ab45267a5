"""Tokenizers that run natively: BERT's normalizer and pre-tokenizer, and WordPiece."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

import nibblevec._core as _core
from nibblevec._texts import check_texts, surrogate_in
from nibblevec._token_rules import NO_RULES, TokenRules, Truncation
from nibblevec._tokenization.ids import IdsInUse, TokenIds
from nibblevec._tokenization.rules import BoundRules
from nibblevec._tokenization.shapes import SPECIAL_TOKEN, has_shape, is_count

# The fields of a file: `tokenizers` refuses one that has more.
FILE_FIELDS = {
    "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
    "post_processor", "decoder", "model",
}  # fmt: skip

# The native tokenizer counts the bytes of a word in 32 bits. Files without a limit state a large
# number; longer words are unknown in any case.
MAX_NATIVE_WORD_CHARACTERS = 1 << 29


class NotNativeError(Exception):
    """Why a tokenizer is left to the package; the message follows "since "."""


class NativeTokenizer:
    """BERT's normalizer and pre-tokenizer, and WordPiece, in C++.

    Attributes:
        native: the C++ object.
        native_rules: the rules for the kernel.
    """

    path_taken = "native"

    def __init__(self, content: dict[str, Any], rules: TokenRules = NO_RULES) -> None:
        """Take the content of ``tokenizer.json``, whose ids were checked before.

        Raises:
            NotNativeError: it has a setting that is unknown, or that does not run natively.
        """
        require(content.get("version", "1.0") == "1.0", "its version is unknown")
        require(set(content) <= FILE_FIELDS, "it has fields of other kinds")
        normalizer = _fields(content.get("normalizer"), "normalizer", "BertNormalizer")
        strip_accents = normalizer.pop("strip_accents", None)
        for name in ("clean_text", "handle_chinese_chars", "lowercase"):
            require(type(normalizer.get(name)) is bool, f"its normalizer's {name} is no boolean")
        require(len(normalizer) == 3, "its normalizer has settings of other kinds")
        require(
            strip_accents is None or type(strip_accents) is bool,
            "its normalizer's strip_accents is neither null nor a boolean",
        )
        pre_tokenizer = _fields(content.get("pre_tokenizer"), "pre-tokenizer", "BertPreTokenizer")
        require(not pre_tokenizer, "its pre-tokenizer has settings")

        # Old files leave the type out; these settings together are WordPiece's only.
        require(isinstance(content.get("model"), dict), "its model is no object")
        model = _fields({"type": "WordPiece", **content["model"]}, "model", "WordPiece")
        vocabulary = model.pop("vocab")
        require(
            set(model) == {"unk_token", "continuing_subword_prefix", "max_input_chars_per_word"},
            "its model has settings of other kinds",
        )
        unknown, prefix = model["unk_token"], model["continuing_subword_prefix"]
        require(type(unknown) is str and type(prefix) is str, "its model's tokens are no strings")
        require(surrogate_in(prefix) is None, "its model's prefix is no text")
        require(isinstance(vocabulary, dict), "its vocabulary is no object")
        require(unknown in vocabulary, "its vocabulary lacks the unknown token")
        word_characters = model["max_input_chars_per_word"]
        require(
            type(word_characters) is int and 0 <= word_characters < 1 << 64,
            "its model's max_input_chars_per_word is out of range",
        )
        require(
            _keeps_ids(content.get("post_processor")),
            "its post-processor may change ids",
        )
        truncation = _native_truncation(content.get("truncation"))
        self.truncation = truncation if rules.truncation is None else rules.truncation
        added_tokens, self._ids = _native_ids(content)
        try:
            self.native = _core.Tokenizer(
                tuple(vocabulary),
                np.fromiter(vocabulary.values(), np.uint32, len(vocabulary)),
                continuing_subword_prefix=prefix,
                max_input_chars_per_word=min(word_characters, MAX_NATIVE_WORD_CHARACTERS),
                unknown_id=vocabulary[unknown],
                strip_accents=normalizer["lowercase"] if strip_accents is None else strip_accents,
                added_tokens=added_tokens,
                **normalizer,
            )
        except ValueError as error:
            raise NotNativeError(str(error)) from None
        others = (token for token in self._ids.added if token not in vocabulary)
        self.rules = BoundRules(rules, chain(vocabulary, others), vocabulary[unknown])
        self.native_rules = self.rules.native()

    def ids(self) -> IdsInUse:
        """The id of each token."""
        return self._ids

    def encode_batch(
        self,
        texts: tuple[str, ...],
        truncation: Truncation,
        *,
        first_number: int = 0,
        threads: int = 1,
        kernel: str | None = None,
        piece_characters: int | None = None,
    ) -> TokenIds:
        """See `Tokenizer`; ``kernel`` names an instruction set.

        Longer texts than ``piece_characters`` are read in pieces.
        """
        try:
            tokens = self.native.encode(
                texts,
                max_length=truncation.max_length,
                keep_end=truncation.keep_end,
                max_characters=self.rules.max_characters(truncation),
                first_number=first_number,
                threads=threads,
                kernel=kernel,
                piece_characters=piece_characters,
            )
        except TypeError:
            check_texts(texts, first_number)  # says more of it
            raise
        return self.rules.without_dropped(TokenIds(*tokens))


def require(holds: bool, reason: str) -> None:
    """Leave a tokenizer to the package unless this holds.

    Raises:
        NotNativeError: it does not.
    """
    if not holds:
        raise NotNativeError(reason)


def _fields(part: Any, name: str, type_: str) -> dict[str, Any]:
    """The fields of a part of this type, without the type."""
    require(isinstance(part, dict) and part.get("type") == type_, f"its {name} is not {type_}")
    return {key: value for key, value in part.items() if key != "type"}


def _native_truncation(settings: Any) -> Truncation:
    if settings is None:
        return Truncation()
    require(
        isinstance(settings, dict)
        and set(settings) - {"direction"} == {"max_length", "strategy", "stride"},
        "its truncation has settings of other kinds",
    )
    length, stride = settings["max_length"], settings["stride"]
    sizes = all(type(size) is int and 0 <= size < 1 << 63 for size in (length, stride))
    require(sizes, "its truncation's numbers are no lengths")
    # `tokenizers` fails on these, but only when a text is long enough.
    require(stride < length or length == 0, "its truncation's stride is not below max_length")
    require(
        settings["strategy"] in ("LongestFirst", "OnlyFirst"),
        "its truncation's strategy needs a second text",
    )
    direction = settings.get("direction", "Right")
    require(direction in ("Left", "Right"), "its truncation's direction is unknown")
    return Truncation(length, keep_end=direction == "Left")


def _keeps_ids(post_processor: Any) -> bool:
    """Whether a post-processor changes no ids where no special tokens are asked for."""
    if not isinstance(post_processor, dict):
        return post_processor is None
    if post_processor.get("type") != "TemplateProcessing":
        return post_processor.get("type") in ("BertProcessing", "RobertaProcessing", "ByteLevel")
    single = post_processor.get("single")
    if not isinstance(single, list):
        return False
    # The text must occur once, and not twice or never.
    others = [piece for piece in single if not has_shape(piece, SPECIAL_TOKEN)]
    return len(others) == 1 and has_shape(others[0], {"Sequence": {"id": "A", "type_id": is_count}})


# Content, id, single_word, lstrip, rstrip, normalized.
_NativeAddedToken = tuple[str, int, bool, bool, bool, bool]


def _native_ids(content: dict[str, Any]) -> tuple[list[_NativeAddedToken], IdsInUse]:
    """The added tokens, and the ids that every version of `tokenizers` gives them.

    An added token has its id in the vocabulary; those that the vocabulary lacks are numbered from
    its length on. An empty one is ignored, and so is one that is repeated as it is.

    Raises:
        NotNativeError: an added token is not understood, or versions of `tokenizers` differ on it.
    """
    vocabulary = content["model"].get("vocab")
    require(isinstance(vocabulary, dict), "its vocabulary is no object")
    entries = content.get("added_tokens", [])
    require(isinstance(entries, list), "its added tokens are no array")
    names = ("single_word", "lstrip", "rstrip", "normalized")
    tokens: list[_NativeAddedToken] = []
    ids: dict[str, int] = {}
    first_entries: dict[str, dict[str, Any]] = {}
    next_id = len(vocabulary)
    for entry in entries:
        require(
            set(entry) == {"id", "content", "special", *names}
            and all(type(entry[name]) is bool for name in ("special", *names)),
            "an added token has settings of other kinds",
        )
        token = entry["content"]
        require(surrogate_in(token) is None, "an added token is no text")
        if not token:
            continue
        if token in ids:
            same = all(entry[name] == first_entries[token][name] for name in ("special", *names))
            require(same, f"added token {token!a:.80} occurs with other settings")
            continue
        number = vocabulary.get(token)
        if number is None:
            number = next_id
            next_id += 1
        ids[token] = number
        first_entries[token] = entry
        tokens.append((token, number, *(entry[name] for name in names)))
    if next_id > len(vocabulary):
        gap = max(vocabulary.values(), default=-1) >= len(vocabulary)
        require(not gap, "its vocabulary's ids have gaps, and it lacks an added token")
    require(len({*ids.values()}) == len(ids), "two added tokens have the same id")
    # If two take the same white space, `tokenizers` drops one of them, or fails.
    strips = any(entry["lstrip"] or entry["rstrip"] for entry in first_entries.values())
    spaces = strips and any(token.isspace() for token in ids)
    require(not spaces, "an added token of white space is stripped")
    return tokens, IdsInUse(vocabulary, ids)
