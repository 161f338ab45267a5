"""Any tokenizer that the `tokenizers` package runs."""

from __future__ import annotations

import json
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from nibblevec._containers.files import ModelFormatError
from nibblevec._float_environment import in_default_float_environment
from nibblevec._texts import check_texts, surrogate_in, way_out
from nibblevec._token_rules import NO_RULES, TokenRules, Truncation
from nibblevec._tokenization.ids import IdsInUse, TokenIds
from nibblevec._tokenization.rules import BoundRules

if TYPE_CHECKING:
    import tokenizers


class PackageTokenizer:
    """Any tokenizer that the `tokenizers` package runs."""

    def __init__(
        self, tokenizer_json: bytes, path: str, reason: str, rules: TokenRules = NO_RULES
    ) -> None:
        """Load ``tokenizer_json``, the content of ``path``; ``reason`` follows "since ".

        Raises:
            ModelFormatError: the package refuses it, or chooses at random with it.
        """
        self._json, self._path = tokenizer_json, path
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
        # The truncation that the package does by itself; None: the model has its own.
        self._file_truncation = self.truncation if rules.truncation is None else None
        self._ids = IdsInUse(_package_vocabulary(self._tokenizer), {})
        self.rules = BoundRules(rules, self._ids.vocabulary, self._unknown_id())

    def ids(self) -> IdsInUse:
        """The id of each token."""
        return self._ids

    @cached_property
    def _untruncated(self) -> tokenizers.Tokenizer:
        """The same tokenizer without truncation; loaded where a call asks for another length."""
        tokenizer = load_package_tokenizer(self._json, self._path)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

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
        first_number: int = 0,
        threads: int = 1,  # noqa: ARG002  # the package has its own
    ) -> TokenIds:
        """See `Tokenizer`."""
        check_texts(texts, first_number)
        max_characters = self.rules.max_characters(truncation)
        shortened = np.zeros(len(texts), np.bool_)
        if max_characters is not None:
            shortened[:] = [len(text) > max_characters for text in texts]
            texts = tuple(text[:max_characters] for text in texts)
        tokenizer = self._tokenizer if truncation == self._file_truncation else self._untruncated
        try:
            encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        except BaseException as error:  # a Rust panic is not an Exception
            for number, text in enumerate(texts, first_number):
                if (where := surrogate_in(text)) is not None:
                    raise ValueError(f"text {number} holds {where}{way_out(where)}") from None
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
        return self.rules.without_dropped(TokenIds(flat, offsets, cut_texts))


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
    # The version is named since another one may take the tokenizer.
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
