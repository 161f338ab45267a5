"""Texts to token ids: natively where the tokenizer is BERT's, else by the `tokenizers` package."""

from __future__ import annotations

import json
import os
import re
import sys
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nibblevec import _core
from nibblevec._containers.files import ModelFormatError, parse_json_object
from nibblevec._float_environment import in_default_float_environment
from nibblevec._printing import warn
from nibblevec._texts import check_texts, surrogate_in, way_out
from nibblevec._token_rules import NO_RULES, TokenRules, Truncation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import tokenizers

    from nibblevec._model import Model

# What a file may hold: `tokenizers` refuses one that holds more.
FILE_FIELDS = {
    "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
    "post_processor", "decoder", "model",
}  # fmt: skip

# May stand in a string too, which does no harm.
_MINUS_ZERO = re.compile(rb"-0\s*[,\]}]")

# The native tokenizer counts the bytes of a word in 32 bits. Who wants no limit of a word's length
# writes any large number: longer words than this one are unknown all the same.
MAX_NATIVE_WORD_CHARACTERS = 1 << 29


# The `tokenizers` package gets so many texts or characters at a time, whichever is less: between
# two of them Ctrl-C is answered, and so many ids are in memory.
PACKAGE_BLOCK_TEXTS = 1024
PACKAGE_BLOCK_CHARACTERS = 1 << 19


class TokenIds(NamedTuple):
    """The ids of texts.

    Attributes:
        ids: uint32 [tokens], those of all texts end to end.
        offsets: int64 [texts + 1], where each text begins, and the end of the last.
        cut_texts: how many texts were cut by truncation.
    """

    ids: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    cut_texts: int


class Tokenizer(Protocol):
    """The tokenizer of a model, for bags of ids without special tokens and without padding.

    Attributes:
        truncation: what the model asks for, or else ``tokenizer.json``.
        path_taken: in words, whether it runs natively, and if not, why.
    """

    truncation: Truncation
    path_taken: str

    def encode_batch(
        self,
        texts: tuple[str, ...],
        truncation: Truncation,
        *,
        first_row: int = 0,
        threads: int = 1,
    ) -> TokenIds:
        """Ids of each text, those whose rows count.

        Args:
            texts: of str only.
            truncation: `truncation`, or another.
            first_row: added to the number of a text in an error.
            threads: at most so many.

        Raises:
            TypeError: a text is not a str (names its row).
            ValueError: a text holds a lone surrogate (names its row).
            ModelFormatError: the tokenizer does not hold what it asks for itself.
        """

    def encode_vectors(
        self,
        texts: tuple[str, ...] | _core.TextBlock,
        truncation: Truncation,
        model: Model,
        out: NDArray[np.float32],
        *,
        prompt: str = "",
        normalize: bool,
        first_row: int = 0,
        threads: int = 1,
    ) -> int:
        """Vectors of texts: the mean of the rows of each text's ids, and the model's head.

        Args:
            texts: of str only, or of an Arrow array; one that is null there has no tokens.
            truncation: `truncation`, or another.
            model: the one whose tokenizer this is.
            out: float32 [texts, dims], written.
            prompt: stands before each text.
            normalize: scale each vector to length 1, after truncation to these dims.
            first_row: added to the number of a text in an error.
            threads: at most so many.

        Returns:
            How many texts were cut by truncation.

        Raises:
            TypeError: a text is not a str (names its row).
            ValueError: a text holds a lone surrogate, or is not UTF-8 (names its row); the prompt
                holds a lone surrogate.
            ModelFormatError: the tokenizer does not hold what it asks for itself.
        """


@in_default_float_environment
def load_tokenizer(
    tokenizer_json: bytes,
    path: str,
    rows: int,
    *,
    headerless_table: str | None = None,
    rules: TokenRules = NO_RULES,
    warns: bool = True,
) -> Tokenizer:
    """The tokenizer of ``tokenizer_json``, the content of ``path``, for a table of ``rows`` rows.

    Where ``rules`` map ids to rows, ``rows`` is the number of ids that they know. Ids are those of
    the `tokenizers` package; one warning tells where the file states others, if ``warns``.

    Raises:
        ModelFormatError: not JSON, or not a tokenizer; the package refuses it, or chooses at
            random with it; an id is negative, or not a row of the table; a table without a header
            has more or fewer rows than there are tokens.
        ImportError: the package is needed, and a version of it is installed that is not supported.
    """
    content = parse_json_object(tokenizer_json, path, "tokenizer")
    _check_stated_ids(content, path, rows)
    tokenizer: NativeTokenizer | PackageTokenizer
    try:
        # An integer to Python, to the package a float.
        _require(_MINUS_ZERO.search(tokenizer_json) is None, "it holds a number -0")
        tokenizer = NativeTokenizer(content, rules)
        if not _surely_loads(content):
            load_package_tokenizer(tokenizer_json, path)
    except _NotNativeError as reason:
        tokenizer = PackageTokenizer(tokenizer_json, path, str(reason), rules)
    ids = tokenizer.ids()
    _check_ids(content, ids, path, rows, headerless_table)
    if warns:
        _warn_of_contradictions(content, ids, path)
    return tokenizer


def id_count(tokenizer_json: bytes, path: str, rows: int) -> int:
    """One more than the greatest id of ``tokenizer_json``, the content of ``path``.

    Raises:
        ModelFormatError: as `load_tokenizer`.
    """
    content = parse_json_object(tokenizer_json, path, "tokenizer")
    _check_stated_ids(content, path, rows)
    try:
        _, ids = _native_ids(content)
    except _NotNativeError:
        ids = _IdsInUse(_package_vocabulary(load_package_tokenizer(tokenizer_json, path)), {})
    return ids.end


class _BoundRules:
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
        """How many characters of a text are kept where its ids are truncated; None: all."""
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


class _IdsInUse(NamedTuple):
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
        """How many there are."""
        return len({*self.vocabulary.values(), *self.added.values()})

    @property
    def tokens(self) -> int:
        """How many tokens have one."""
        return len(self.vocabulary) + sum(token not in self.vocabulary for token in self.added)

    def of(self, token: str) -> int | None:
        """The id of this token; None if it has none."""
        number = self.added.get(token)
        return self.vocabulary.get(token) if number is None else number


class _NotNativeError(Exception):
    """Why a tokenizer is left to the package; the message follows "since "."""


class NativeTokenizer:
    """BERT's normalizer and pre-tokenizer, and WordPiece, in C++."""

    path_taken = "native"

    def __init__(self, content: dict[str, Any], rules: TokenRules = NO_RULES) -> None:
        """Take what ``tokenizer.json`` holds, after the ids that it states were checked.

        Raises:
            _NotNativeError: it asks for anything that is not done natively, or not understood.
        """
        _require(content.get("version", "1.0") == "1.0", "its version is unknown")
        _require(set(content) <= FILE_FIELDS, "it has fields of other kinds")
        normalizer = _fields(content.get("normalizer"), "normalizer", "BertNormalizer")
        strip_accents = normalizer.pop("strip_accents", None)
        for name in ("clean_text", "handle_chinese_chars", "lowercase"):
            _require(type(normalizer.get(name)) is bool, f"its normalizer's {name} is no boolean")
        _require(len(normalizer) == 3, "its normalizer has settings of other kinds")
        _require(
            strip_accents is None or type(strip_accents) is bool,
            "its normalizer's strip_accents is neither null nor a boolean",
        )
        pre_tokenizer = _fields(content.get("pre_tokenizer"), "pre-tokenizer", "BertPreTokenizer")
        _require(not pre_tokenizer, "its pre-tokenizer has settings")

        # Old files leave the type out; these settings together are WordPiece's only.
        _require(isinstance(content.get("model"), dict), "its model is no object")
        model = _fields({"type": "WordPiece", **content["model"]}, "model", "WordPiece")
        vocabulary = model.pop("vocab")
        _require(
            set(model) == {"unk_token", "continuing_subword_prefix", "max_input_chars_per_word"},
            "its model has settings of other kinds",
        )
        unknown, prefix = model["unk_token"], model["continuing_subword_prefix"]
        _require(type(unknown) is str and type(prefix) is str, "its model's tokens are no strings")
        _require(surrogate_in(prefix) is None, "its model's prefix is no text")
        _require(isinstance(vocabulary, dict), "its vocabulary is no object")
        _require(unknown in vocabulary, "its vocabulary lacks the unknown token")
        word_characters = model["max_input_chars_per_word"]
        _require(
            type(word_characters) is int and 0 <= word_characters < 1 << 64,
            "its model's max_input_chars_per_word is out of range",
        )
        _require(
            _keeps_ids(content.get("post_processor")),
            "its post-processor may change ids",
        )
        truncation = _native_truncation(content.get("truncation"))
        self.truncation = truncation if rules.truncation is None else rules.truncation
        added_tokens, self._ids = _native_ids(content)
        try:
            self._tokenizer = _core.Tokenizer(
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
            raise _NotNativeError(str(error)) from None
        others = (token for token in self._ids.added if token not in vocabulary)
        self._rules = _BoundRules(rules, chain(vocabulary, others), vocabulary[unknown])
        self._native_rules = self._rules.native()

    def ids(self) -> _IdsInUse:
        """The id of each token."""
        return self._ids

    def encode_batch(
        self,
        texts: tuple[str, ...],
        truncation: Truncation,
        *,
        first_row: int = 0,
        threads: int = 1,
        kernel: str | None = None,
        piece_characters: int | None = None,
    ) -> TokenIds:
        """See `Tokenizer`; ``kernel`` names an instruction set.

        Longer texts than ``piece_characters`` are read in pieces.
        """
        try:
            tokens = self._tokenizer.encode(
                texts,
                max_length=truncation.max_length,
                keep_end=truncation.keep_end,
                max_characters=self._rules.max_characters(truncation),
                first_number=first_row,
                threads=threads,
                kernel=kernel,
                piece_characters=piece_characters,
            )
        except TypeError:
            check_texts(texts, first_row)  # says more of it
            raise
        return self._rules.without_dropped(TokenIds(*tokens))

    def encode_vectors(
        self,
        texts: tuple[str, ...] | _core.TextBlock,
        truncation: Truncation,
        model: Model,
        out: NDArray[np.float32],
        *,
        prompt: str = "",
        normalize: bool,
        first_row: int = 0,
        threads: int = 1,
        kernel: str | None = None,
        piece_characters: int | None = None,
    ) -> int:
        """See `Tokenizer`; ``kernel`` and ``piece_characters`` as for `encode_batch`."""
        try:
            return _core.encode(
                self._tokenizer,
                model.table.native,
                texts,
                out,
                prompt=prompt,
                dynamic_tanh=model.dynamic_tanh,
                normalization=model.normalization,
                normalize=normalize,
                wide_sums=model.wide_sums,
                rules=self._native_rules,
                max_length=truncation.max_length,
                keep_end=truncation.keep_end,
                max_characters=self._rules.max_characters(truncation),
                first_number=first_row,
                threads=threads,
                kernel=kernel,
                piece_characters=piece_characters,
            )
        except TypeError:
            if not isinstance(texts, _core.TextBlock):
                check_texts(texts, first_row)  # says more of it
            raise


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise _NotNativeError(reason)


def _fields(part: Any, name: str, kind: str) -> dict[str, Any]:
    """What a part of this type holds besides its type."""
    _require(isinstance(part, dict) and part.get("type") == kind, f"its {name} is not {kind}")
    return {key: value for key, value in part.items() if key != "type"}


def _native_truncation(settings: Any) -> Truncation:
    if settings is None:
        return Truncation()
    _require(
        isinstance(settings, dict)
        and set(settings) - {"direction"} == {"max_length", "strategy", "stride"},
        "its truncation has settings of other kinds",
    )
    length, stride = settings["max_length"], settings["stride"]
    sizes = all(type(size) is int and 0 <= size < 1 << 63 for size in (length, stride))
    _require(sizes, "its truncation's numbers are no lengths")
    # `tokenizers` fails on these, but only when a text is long enough.
    _require(stride < length or length == 0, "its truncation's stride is not below max_length")
    _require(
        settings["strategy"] in ("LongestFirst", "OnlyFirst"),
        "its truncation's strategy needs a second text",
    )
    direction = settings.get("direction", "Right")
    _require(direction in ("Left", "Right"), "its truncation's direction is unknown")
    return Truncation(length, keep_end=direction == "Left")


def _keeps_ids(post_processor: Any) -> bool:
    """Whether it does nothing where no special tokens are asked for."""
    if not isinstance(post_processor, dict):
        return post_processor is None
    if post_processor.get("type") != "TemplateProcessing":
        return post_processor.get("type") in ("BertProcessing", "RobertaProcessing", "ByteLevel")
    single = post_processor.get("single")
    if not isinstance(single, list):
        return False
    # Which puts the text in once, and not twice or never.
    others = [piece for piece in single if not _has_shape(piece, _SPECIAL_TOKEN)]
    return len(others) == 1 and _has_shape(
        others[0], {"Sequence": {"id": "A", "type_id": _is_count}}
    )


# Content, id, single_word, lstrip, rstrip, normalized.
_NativeAddedToken = tuple[str, int, bool, bool, bool, bool]


def _native_ids(content: dict[str, Any]) -> tuple[list[_NativeAddedToken], _IdsInUse]:
    """The added tokens, and the ids that every version of `tokenizers` gives, whatever is stated.

    An added token has its id in the vocabulary; those that the vocabulary lacks are numbered from
    its length on. An empty one is ignored, and so is one that is repeated as it is.

    Raises:
        _NotNativeError: not understood, or versions differ.
    """
    vocabulary = content["model"].get("vocab")
    _require(isinstance(vocabulary, dict), "its vocabulary is no object")
    entries = content.get("added_tokens", [])
    _require(isinstance(entries, list), "its added tokens are no array")
    names = ("single_word", "lstrip", "rstrip", "normalized")
    tokens: list[_NativeAddedToken] = []
    ids: dict[str, int] = {}
    first_entries: dict[str, dict[str, Any]] = {}
    next_id = len(vocabulary)
    for entry in entries:
        _require(
            set(entry) == {"id", "content", "special", *names}
            and all(type(entry[name]) is bool for name in ("special", *names)),
            "an added token has settings of other kinds",
        )
        token = entry["content"]
        _require(surrogate_in(token) is None, "an added token is no text")
        if not token:
            continue
        if token in ids:
            same = all(entry[name] == first_entries[token][name] for name in ("special", *names))
            _require(same, f"added token {token!a:.80} occurs with other settings")
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
        _require(not gap, "its vocabulary's ids have gaps, and it lacks an added token")
    _require(len({*ids.values()}) == len(ids), "two added tokens have the same id")
    # Two that want the same white space: `tokenizers` drops one, or fails.
    strips = any(entry["lstrip"] or entry["rstrip"] for entry in first_entries.values())
    spaces = strips and any(token.isspace() for token in ids)
    _require(not spaces, "an added token of white space is stripped")
    return tokens, _IdsInUse(vocabulary, ids)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 32


def _is_string(value: Any) -> bool:
    return type(value) is str and surrogate_in(value) is None


def _is_boolean(value: Any) -> bool:
    return type(value) is bool


def _is_token_and_id(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) == 2 and _is_string(value[0]) and _is_count(value[1])
    )


def _is_special_tokens(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _has_shape(token, {"id": name, "ids": [_is_count], "tokens": [_is_string]})
        and len(token["ids"]) == len(token["tokens"])
        and _is_string(name)
        for name, token in value.items()
    )


# The shapes that parts of BERT's tokenizers come in. A shape is a predicate, a value, an object of
# these fields, an array of elements like its only one, or one of several shapes in a tuple.
_SPECIAL_TOKEN = {"SpecialToken": {"id": _is_string, "type_id": _is_count}}
_PIECE = (
    _SPECIAL_TOKEN,
    {"Sequence": {"id": ("A", "B"), "type_id": _is_count}},
)
_SHAPES: dict[str, Any] = {
    "padding": (
        None,
        {
            "strategy": ("BatchLongest", {"Fixed": _is_count}),
            "direction": ("Left", "Right"),
            "pad_to_multiple_of": None,
            "pad_id": _is_count,
            "pad_type_id": _is_count,
            "pad_token": _is_string,
        },
    ),
    "post_processor": (
        None,
        {"type": "BertProcessing", "sep": _is_token_and_id, "cls": _is_token_and_id},
        {
            "type": "TemplateProcessing",
            "single": [_PIECE],
            "pair": [_PIECE],
            "special_tokens": _is_special_tokens,
        },
    ),
    "decoder": (None, {"type": "WordPiece", "prefix": _is_string, "cleanup": _is_boolean}),
}


def _has_shape(value: Any, shape: Any) -> bool:
    if isinstance(shape, tuple):
        return any(_has_shape(value, each) for each in shape)
    if isinstance(shape, dict):
        return (
            isinstance(value, dict)
            and value.keys() == shape.keys()
            and all(_has_shape(value[name], each) for name, each in shape.items())
        )
    if isinstance(shape, list):
        return isinstance(value, list) and all(_has_shape(each, shape[0]) for each in value)
    if callable(shape):
        return bool(shape(value))
    return type(value) is type(shape) and bool(value == shape)


def _surely_loads(content: dict[str, Any]) -> bool:
    """Whether `tokenizers` takes those parts of a native tokenizer that are not used natively.

    False where the package itself has to tell.
    """
    if not all(_has_shape(content.get(name), shape) for name, shape in _SHAPES.items()):
        return False
    processor = content.get("post_processor")
    if processor is None or processor["type"] != "TemplateProcessing":
        return True
    pieces = processor["single"] + processor["pair"]
    used = {piece["SpecialToken"]["id"] for piece in pieces if "SpecialToken" in piece}
    pair = [piece["Sequence"]["id"] for piece in processor["pair"] if "Sequence" in piece]
    return used <= processor["special_tokens"].keys() and pair == ["A", "B"]


class PackageTokenizer:
    """Any tokenizer that the `tokenizers` package runs."""

    def __init__(
        self, tokenizer_json: bytes, path: str, reason: str, rules: TokenRules = NO_RULES
    ) -> None:
        """Load ``tokenizer_json``, the content of ``path``; ``reason`` follows "since ".

        Raises:
            ModelFormatError: the package refuses it, or chooses at random with it.
        """
        self._path = path
        self.path_taken = f"by the tokenizers package, since {reason}"
        self._tokenizer = load_package_tokenizer(tokenizer_json, path)
        _refuse_chance(self._tokenizer, path)
        self._tokenizer.no_padding()
        settings = self._tokenizer.truncation
        self.truncation = Truncation()
        if rules.truncation is not None:
            self.truncation = rules.truncation
        elif settings is not None:
            self.truncation = Truncation(settings["max_length"], settings["direction"] == "left")
        # What the package does by itself.
        self._file_truncation = self.truncation if rules.truncation is None else None
        self._untruncated = load_package_tokenizer(tokenizer_json, path)
        self._untruncated.no_padding()
        self._untruncated.no_truncation()
        self._ids = _IdsInUse(_package_vocabulary(self._tokenizer), {})
        self._rules = _BoundRules(rules, self._ids.vocabulary, self._unknown_id())

    def ids(self) -> _IdsInUse:
        """The id of each token."""
        return self._ids

    def _unknown_id(self) -> int | None:
        """The id of what the vocabulary lacks; None if there is none."""
        model = self._tokenizer.model
        number: int | None
        if hasattr(model, "unk_token"):
            unknown = model.unk_token
            number = None if unknown is None else self._tokenizer.token_to_id(unknown)
        else:  # Unigram, which does not tell
            number = json.loads(self._tokenizer.to_str())["model"].get("unk_id")
        return number

    @in_default_float_environment  # for the scores of Unigram
    def encode_batch(
        self,
        texts: tuple[str, ...],
        truncation: Truncation,
        *,
        first_row: int = 0,
        threads: int = 1,  # noqa: ARG002  # the package has its own
    ) -> TokenIds:
        """See `Tokenizer`."""
        check_texts(texts, first_row)
        max_characters = self._rules.max_characters(truncation)
        shortened = np.zeros(len(texts), np.bool_)
        if max_characters is not None:
            shortened[:] = [len(text) > max_characters for text in texts]
            texts = tuple(text[:max_characters] for text in texts)
        tokenizer = self._tokenizer if truncation == self._file_truncation else self._untruncated
        try:
            encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        except BaseException as error:  # a Rust panic is not an Exception
            for row, text in enumerate(texts, first_row):
                if (where := surrogate_in(text)) is not None:
                    raise ValueError(f"text {row} holds {where}{way_out(where)}") from None
            if not (type(error) is Exception or _is_panic(error)):
                raise  # not of `tokenizers` itself
            raise _package_problem(self._path, "cannot encode with it", error) from None
        if tokenizer is self._tokenizer:
            all_ids = [encoding.ids for encoding in encodings]
            cut = [bool(encoding.overflowing) for encoding in encodings]
        else:
            whole = [encoding.ids for encoding in encodings]
            all_ids = [_cut(ids, truncation) for ids in whole]
            cut = [len(kept) < len(ids) for kept, ids in zip(all_ids, whole, strict=True)]
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(ids) for ids in all_ids], out=offsets[1:])
        flat = np.fromiter(chain.from_iterable(all_ids), np.uint32, int(offsets[-1]))
        cut_texts = int(np.count_nonzero(shortened | np.array(cut, np.bool_)))
        return self._rules.without_dropped(TokenIds(flat, offsets, cut_texts))

    def encode_vectors(
        self,
        texts: tuple[str, ...] | _core.TextBlock,
        truncation: Truncation,
        model: Model,
        out: NDArray[np.float32],
        *,
        prompt: str = "",
        normalize: bool,
        first_row: int = 0,
        threads: int = 1,
    ) -> int:
        """See `Tokenizer`."""
        texts = prompted(texts, prompt)
        cut_texts = 0
        for begin, end in _package_blocks(texts):
            tokens = self.encode_batch(texts[begin:end], truncation, first_row=first_row + begin)
            cut_texts += tokens.cut_texts
            row_of_id, weight_of_id = self._rules.row_of_id, self._rules.weight_of_id
            weights = None if weight_of_id is None else weight_of_id[tokens.ids]
            wide = weights is not None and (model.wide_sums or weights.dtype == np.float64)
            _core.pool(
                model.table.native,
                tokens.ids if row_of_id is None else row_of_id[tokens.ids],
                tokens.offsets,
                out[begin:end],
                weights=None if wide else weights,
                wide_weights=weights if wide else None,
                dynamic_tanh=model.dynamic_tanh,
                mean=True,
                normalization=model.normalization,
                normalize=normalize,
                wide_sums=model.wide_sums,
                threads=threads,
            )
        return cut_texts


def prompted(texts: tuple[str, ...] | _core.TextBlock, prompt: str) -> tuple[str, ...]:
    """The texts after the prompt; what is no str stays, and is refused where texts are read.

    Raises:
        ValueError: the prompt holds a lone surrogate, or a text is not UTF-8 (names its row).
    """
    if (where := surrogate_in(prompt)) is not None:
        raise ValueError(f"the prompt holds {where}")
    if isinstance(texts, _core.TextBlock):
        return tuple("" if text is None else prompt + text for text in texts.strings())
    if not prompt:
        return texts
    return tuple(prompt + text if isinstance(text, str) else text for text in texts)


def _package_blocks(texts: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    begin = characters = 0
    for end, text in enumerate(texts, 1):
        characters += len(text) if isinstance(text, str) else 0
        full = end - begin == PACKAGE_BLOCK_TEXTS or characters >= PACKAGE_BLOCK_CHARACTERS
        if full or end == len(texts):
            yield begin, end
            begin, characters = end, 0


@in_default_float_environment
def load_package_tokenizer(tokenizer_json: bytes, path: str) -> tokenizers.Tokenizer:
    """The same tokenizer as an object of the `tokenizers` package.

    Raises:
        ModelFormatError: the package refuses it.
        ImportError: a version of the package is installed that is not supported.
    """
    package = _supported_package()
    try:
        loaded: tokenizers.Tokenizer = package.Tokenizer.from_buffer(tokenizer_json)
        return loaded
    except BaseException as error:
        if not (isinstance(error, Exception) or _is_panic(error)):
            raise
        raise _package_problem(path, "cannot load it", error) from None


def _supported_package() -> Any:
    """The `tokenizers` package.

    Raises:
        ImportError: it is missing or broken, something else has its name, or its version is not
            supported: release candidates of 1.0 have another interface.
    """
    needed = 'nibblevec needs it for this: pip install "tokenizers>=0.20,<1"'
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(f"tokenizers cannot be imported ({error}); {needed}") from error
    version = getattr(tokenizers, "__version__", None)
    if version is None:
        place = getattr(tokenizers, "__file__", None) or "a folder"
        raise ImportError(f"what is imported as tokenizers is another module ({place}); {needed}")
    tokenizer_class = getattr(tokenizers, "Tokenizer", None)
    if not (version.startswith("0.") and hasattr(tokenizer_class, "encode_batch_fast")):
        raise ImportError(f"tokenizers {version} is installed; {needed}")
    return tokenizers


def _package_problem(path: str, problem: str, error: BaseException) -> ModelFormatError:
    # Another version may know more.
    version = _supported_package().__version__
    return ModelFormatError(path, "tokenizer", f"tokenizers {problem}: {error} (in {version})")


def _package_vocabulary(tokenizer: tokenizers.Tokenizer) -> dict[str, int]:
    # The package's own order is another one at each load.
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    return dict(sorted(vocabulary.items(), key=lambda item: (item[1], item[0])))


def _refuse_chance(tokenizer: tokenizers.Tokenizer, path: str) -> None:
    """Refuse a tokenizer whose ids are not the same each time, or never come.

    Raises:
        ModelFormatError: merges are dropped at random; two added tokens are looked for as the same
            text, of which `tokenizers` finds one or the other from load to load; one is looked for
            as the empty text, which it finds without end; one of white space takes the white space
            around itself, for which the package's time and memory grow with the square of the text.
    """
    model = tokenizer.model
    dropout = getattr(model, "dropout", None)
    if dropout is not None and 0 < dropout < 1:
        problem = f"{dropout:g}, with which ids are random, expected null"
        raise ModelFormatError(path, "model.dropout", problem)
    if getattr(model, "alpha", None) is not None:
        raise ModelFormatError(path, "model.alpha", "with it ids are random, expected none")
    normalizer = tokenizer.normalizer
    tokens: dict[str, str] = {}
    for added in tokenizer.get_added_tokens_decoder().values():
        token = added.content
        strips = added.lstrip or added.rstrip
        if not added.normalized:
            _refuse_stripped_spaces(token, token, strips, path)
            continue
        try:
            normal = token if normalizer is None else normalizer.normalize_str(token)
        except BaseException as error:
            if not (isinstance(error, Exception) or _is_panic(error)):
                raise
            raise _package_problem(path, "cannot normalize an added token", error) from None
        if not normal:
            problem = (
                f"{token!r:.80} is normalized to nothing, which is everywhere in a text; "
                'remove it, or set "normalized" to false'
            )
            raise ModelFormatError(path, "added_tokens", problem)
        _refuse_stripped_spaces(token, normal, strips, path)
        if normal in tokens:
            problem = (
                f"{min(token, tokens[normal])!r:.80} and {max(token, tokens[normal])!r:.80} are "
                f"both normalized to {normal!r:.80}, so that which of them a text holds is random; "
                'remove one, or set "normalized" to false'
            )
            raise ModelFormatError(path, "added_tokens", problem)
        tokens[normal] = token


def _refuse_stripped_spaces(token: str, looked_for: str, strips: bool, path: str) -> None:
    if strips and looked_for.isspace():
        problem = (
            f"{token!r:.80} is white space and takes that beside it, in time that grows with the"
            ' square of the text; remove it, or set "lstrip" and "rstrip" to false'
        )
        raise ModelFormatError(path, "added_tokens", problem)


def _is_panic(error: BaseException) -> bool:
    return type(error).__name__ == "PanicException"  # of Rust; not an Exception


def _cut(ids: list[int], truncation: Truncation) -> list[int]:
    length = truncation.max_length
    if length is None or len(ids) <= length:
        return ids
    return ids[len(ids) - length :] if truncation.keep_end else ids[:length]


def _outside(path: str, field: str, token: str, number: Any, rows: int) -> ModelFormatError:
    return ModelFormatError(
        path, field, f"id {number!r:.40} of {token!r:.80}, expected one of 0..{rows - 1}"
    )


def _check_stated_ids(content: dict[str, Any], path: str, rows: int) -> None:
    """Refuse what no version of `tokenizers` takes for ids, and say which it is."""
    model = content.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    numbers = vocabulary.values() if isinstance(vocabulary, dict) else ()
    # As can be seen without a loop over the vocabulary.
    good = set(map(type, numbers)) == {int} and 0 <= min(numbers) <= max(numbers) < 1 << 32
    listed = _added_tokens(content, path) if good else _vocabulary(content, path)
    for field, token, number in listed:
        if not _is_count(number):
            raise _outside(path, field, token, number, rows)


def _check_ids(
    content: dict[str, Any],
    ids: _IdsInUse,
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


def _warn_of_contradictions(content: dict[str, Any], ids: _IdsInUse, path: str) -> None:
    """Tell once where a file does not mean what it states."""
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
    """The same of every added token."""
    added = content.get("added_tokens") or []
    if not isinstance(added, list):
        raise ModelFormatError(path, "added_tokens", "expected an array")
    for entry in added:
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise ModelFormatError(path, "added_tokens", f"{entry!r:.80} has no content")
        yield "added_tokens", entry["content"], entry.get("id")
