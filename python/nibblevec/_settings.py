"""The settings of an encoder: prompts, dims, length, similarity, threads; checked when set."""

from __future__ import annotations

import operator
import sys
from typing import TYPE_CHECKING

from nibblevec._compat.arguments import checked_prompts
from nibblevec._model import IMPLIED_PROMPT_NAMES
from nibblevec._precision import RangesKey, checked_precision, has_ranges, stored_ranges
from nibblevec._similarity import checked_similarity
from nibblevec._table import checked_dims
from nibblevec._texts import without_surrogates
from nibblevec._threads import thread_count
from nibblevec._token_rules import Truncation
from nibblevec._vectors import VectorCall

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, SupportsIndex

    import numpy as np
    from numpy.typing import NDArray

    from nibblevec._model import Model
    from nibblevec._precision import RangesKey
    from nibblevec._similarity import SimilarityName
    from nibblevec._texts import Errors
    from nibblevec._tokenization.tokenizer import Tokenizer

    FloatArray = NDArray[np.float32]


class EncoderSettings:
    """A model, its tokenizer, and what a caller has set: the properties of an `Encoder`."""

    def __init__(
        self,
        model: Model,
        *,
        truncate_dim: SupportsIndex | None,
        prompts: Mapping[str, str | None] | None,
        default_prompt_name: str | None,
        similarity_fn_name: SimilarityName | None,
        threads: SupportsIndex | None,
    ) -> None:
        self._model = model
        self.truncate_dim = model.truncate_dim if truncate_dim is None else truncate_dim
        self._prompts = {**dict.fromkeys(IMPLIED_PROMPT_NAMES, ""), **model.prompts}
        for name, text in checked_prompts(prompts or {}).items():
            self._prompts[name] = self._prompts.get(name, "") if text is None else text
        self.default_prompt_name = default_prompt_name or model.default_prompt_name
        self.similarity_fn_name = similarity_fn_name
        self._threads = None if threads is None else thread_count(threads)
        self._truncated_texts = 0
        self._fitted_ranges: dict[RangesKey, FloatArray] = {}

    def _take_tokenizer(self, tokenizer: Tokenizer, max_seq_length: SupportsIndex | None) -> None:
        """Take the model's tokenizer, which is loaded when the other settings are checked."""
        self._tokenizer = tokenizer
        self._truncation = tokenizer.truncation
        if max_seq_length is not None:
            self.max_seq_length = max_seq_length

    @property
    def prompts(self) -> dict[str, str]:
        """What `encode` may put before texts, by name. May be changed, or set to another dict."""
        return self._prompts

    @prompts.setter
    def prompts(self, prompts: dict[str, str]) -> None:
        checked_prompts(prompts)
        self._prompts = prompts

    @property
    def default_prompt_name(self) -> str | None:
        """Name of the prompt of texts for which none is asked; None means no prompt. May be set.

        If `prompts` has lost it since, there is no prompt.
        """
        return self._default_prompt_name

    @default_prompt_name.setter
    def default_prompt_name(self, name: str | None) -> None:
        if name is not None:
            _prompt(self._prompts, name)
        self._default_prompt_name = name

    @property
    def truncate_dim(self) -> int | None:
        """Dims that vectors are cut to; None means all of the model's. May be set."""
        return self._truncate_dim

    @truncate_dim.setter
    def truncate_dim(self, dims: SupportsIndex | None) -> None:
        self._dims = checked_dims(dims, self._model.table.dim, "truncate_dim")
        self._truncate_dim = None if dims is None else self._dims

    @property
    def ranges(self) -> dict[RangesKey, FloatArray]:
        """What int8 and uint8 divide into steps, by (normalised or not, dims).

        The least and the greatest number of each dim, float32 [2, dims]: those that came with the
        model, and those of `fit_ranges`.
        """
        return {**self._model.ranges, **self._fitted_ranges}

    @property
    def max_seq_length(self) -> int | None:
        """Tokens that texts are cut to; None means that they are not cut. May be set.

        At first what the constructor was given, else what the model says. The model says too which
        end of a text is cut off; usually the last.
        """
        return self._truncation.max_length

    @max_seq_length.setter
    def max_seq_length(self, length: SupportsIndex | None) -> None:
        tokens = None if length is None else min(operator.index(length), sys.maxsize)
        if tokens is not None and tokens < 1:
            raise ValueError(f"max_seq_length must be at least 1, not {tokens}")
        self._truncation = Truncation(tokens, self._tokenizer.truncation.keep_end)

    @property
    def truncated_texts(self) -> int:
        """How many texts of the last call were cut at `max_seq_length`."""
        return self._truncated_texts

    @property
    def similarity_fn_name(self) -> SimilarityName:
        """How `similarity` and `similarity_pairwise` compare: cosine, dot, euclidean or manhattan.

        May be set, also to sentence-transformers' enum; None means as the model says, else cosine.
        """
        return self._similarity_fn_name

    @similarity_fn_name.setter
    def similarity_fn_name(self, name: SimilarityName | None) -> None:
        given = self._model.similarity_fn_name if name is None else name
        self._similarity_fn_name = checked_similarity(given or "cosine")

    def get_embedding_dimension(self) -> int:
        """Number of dims that `encode` gives unless told otherwise."""
        return self._dims

    def _dims_of_call(self, truncate_dim: SupportsIndex | None) -> int:
        if truncate_dim is None:
            return self._dims
        return checked_dims(truncate_dim, self._model.table.dim, "truncate_dim")

    def _threads_of_call(self, threads: SupportsIndex | None) -> int:
        return thread_count(self._threads if threads is None else threads)

    def _prompt_of_call(self, prompt_name: str | None, prompt: str | None, errors: Errors) -> str:
        if prompt is None:
            # The default prompt may have gone since it was named: then there is none.
            is_default = prompt_name is None and self._default_prompt_name in self._prompts
            name = self._default_prompt_name if is_default else prompt_name
            prompt = "" if name is None else _prompt(self._prompts, name)
        if not isinstance(prompt, str):
            raise TypeError(f"prompt is {type(prompt).__name__}, expected str")
        return without_surrogates(prompt) if errors == "replace" else prompt

    def _planned_call(
        self,
        *,
        normalize_embeddings: bool = False,
        truncate_dim: SupportsIndex | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        threads: SupportsIndex | None = None,
        errors: Errors = "raise",
        precision: str | None = "float32",
        needs_ranges: bool = True,
    ) -> VectorCall:
        """A call of these options, checked; ``needs_ranges``: int8 and uint8 take stored ranges.

        Raises:
            TypeError: the prompt is no str.
            ValueError: as `Encoder.encode`.
        """
        known = checked_precision(precision)
        call = VectorCall(
            self._model,
            self._tokenizer,
            prompt=self._prompt_of_call(prompt_name, prompt, errors),
            normalize=bool(normalize_embeddings),
            dims=self._dims_of_call(truncate_dim),
            truncation=self._truncation,
            threads=self._threads_of_call(threads),
            precision=known,
        )
        if has_ranges(known) and needs_ranges:
            call = call._replace(ranges=stored_ranges(self.ranges, call.ranges_key))
        return call

    def _model_as_set(self) -> Model:
        """The model with the settings in the place of its own, as it is saved.

        Raises:
            TypeError: a prompt, or its name, is no str.
        """
        checked_prompts(self._prompts)  # the dict is the caller's to change
        prompts = {
            name: text or ""
            for name, text in self._prompts.items()
            if text or name in self._model.prompts or name not in IMPLIED_PROMPT_NAMES
        }
        default = self._default_prompt_name
        compares: str | None = self._similarity_fn_name
        if compares == "cosine" and self._model.similarity_fn_name is None:
            compares = None  # as where nothing is said
        keeps_all = self._dims == self._model.table.dim
        model = self._model._replace(
            prompts=prompts,
            default_prompt_name=default if default in self._prompts else None,
            similarity_fn_name=compares,
            truncate_dim=None if keeps_all else self._dims,
            ranges=self.ranges,
        )
        if self._truncation != self._tokenizer.truncation:
            model = model.truncated(self._truncation)
        return model

    def _settings_state(self) -> dict[str, Any]:
        """What a pickle keeps of the settings."""
        return {
            "prompts": self._prompts,
            "default_prompt_name": self._default_prompt_name,
            "truncate_dim": self._truncate_dim,
            "truncation": tuple(self._truncation),
            "fitted_ranges": {tuple(key): value for key, value in self._fitted_ranges.items()},
        }

    def _take_settings_state(self, state: Mapping[str, Any]) -> None:
        self._prompts = dict(state["prompts"])  # instead of those that the model brings
        self._default_prompt_name = state["default_prompt_name"]
        self.truncate_dim = state["truncate_dim"]
        self._truncation = Truncation(*state["truncation"])
        fitted = state["fitted_ranges"]
        self._fitted_ranges = {RangesKey(*key): value for key, value in fitted.items()}


def _prompt(prompts: Mapping[str, str | None], name: str) -> str:
    """The prompt of this name; one that is None is empty.

    Raises:
        ValueError: there is no prompt of this name.
    """
    if name not in prompts:
        known = ", ".join(map(repr, prompts))
        raise ValueError(f"no prompt has the name {name!r}; the model has {known}")
    prompt = prompts[name]
    return "" if prompt is None else prompt
