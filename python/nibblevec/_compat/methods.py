"""What code written for sentence-transformers calls besides `encode`, and passes without need.

Source: sentence-transformers 6.2; docs/coming-from.md lists the deliberate differences.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from nibblevec._compat.arguments import FLOAT32_NAMES, check_device
from nibblevec._similarity import similarity, similarity_pairwise
from nibblevec._texts import prompted, taken_texts, without_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import torch
    from numpy.typing import NDArray
    from typing_extensions import Self, Unpack

    from nibblevec._encode_options import EncodeOptions
    from nibblevec._precision import Precision
    from nibblevec._similarity import SimilarityName
    from nibblevec._texts import Errors, MissingTexts

    FloatArray = NDArray[np.float32]

# The first of them that a model has is put before documents.
DOCUMENT_PROMPT_NAMES = ("document", "passage", "corpus")

# The order of arguments, for those who give them without names. They are passed on by name, as
# sentence-transformers does: a subclass may have another order.
POSITIONAL_OPTIONS = (
    *("batch_size", "show_progress_bar", "output_value", "precision", "convert_to_numpy"),
    *("convert_to_tensor", "device", "normalize_embeddings", "truncate_dim", "pool", "chunk_size"),
)
SAVE_ARGUMENTS = ("model_name", "create_model_card", "train_datasets", "safe_serialization")

# What else a `SentenceTransformer` has, and what to do instead.
NOT_THERE = {
    **dict.fromkeys(
        ("half", "bfloat16", "double"),
        "vectors are float32; encode(..., precision='float16') rounds them",
    ),
    **dict.fromkeys(
        ("push_to_hub", "save_to_hub"),
        "save_pretrained writes a folder, which `hf upload` takes",
    ),
    **dict.fromkeys(
        (
            *("fit", "train", "forward", "compile", "share_memory", "requires_grad_", "zero_grad"),
            *("parameters", "named_parameters", "state_dict", "load_state_dict", "modules"),
            *("named_modules", "children", "_modules", "_first_module", "_last_module"),
        ),
        "there are no modules of torch inside, and nothing to train",
    ),
}


class SentenceTransformerMethods:
    """The methods and properties of a `SentenceTransformer` that follow from an `Encoder`'s own."""

    if TYPE_CHECKING:  # what an `Encoder` has
        encode: Callable[..., Any]
        tokenize: Callable[..., tuple[NDArray[np.uint32], NDArray[np.int64]]]
        get_embedding_dimension: Callable[[], int]
        save_pretrained: Callable[..., None]
        prompts: dict[str, str]
        truncate_dim: int | None
        max_seq_length: int | None
        _similarity_fn_name: SimilarityName
        _model_card_data: ModelCardData

    def encode_query(
        self,
        inputs: str | Iterable[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *arguments: Any,
        **options: Unpack[EncodeOptions],
    ) -> Any:
        """Embed queries: as `encode`, but with the prompt named ``query`` where none is asked.

        Every model has one, an empty one if need be, so the default prompt does not count here.

        Args:
            inputs: as for `encode`.
            prompt_name: as for `encode`.
            prompt: as for `encode`.
            *arguments: the others of `encode`, in its order.
            **options: the others of `encode`.

        Returns:
            As `encode`.

        Raises:
            TypeError: as `encode`.
            ValueError: as `encode`.
        """
        if prompt_name is None and prompt is None and "query" in self.prompts:
            prompt_name = "query"
        return self._encode_by_names(inputs, prompt_name, prompt, arguments, options)

    def encode_document(
        self,
        inputs: str | Iterable[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *arguments: Any,
        **options: Unpack[EncodeOptions],
    ) -> Any:
        """Embed documents: as `encode`, but with a prompt for documents where none is asked.

        It is the first that the model has of ``document``, ``passage`` and ``corpus``. Every model
        has ``document``, an empty one if need be, so the default prompt does not count here.

        Args:
            inputs: as for `encode`.
            prompt_name: as for `encode`.
            prompt: as for `encode`.
            *arguments: the others of `encode`, in its order.
            **options: the others of `encode`.

        Returns:
            As `encode`.

        Raises:
            TypeError: as `encode`.
            ValueError: as `encode`.
        """
        if prompt_name is None and prompt is None:
            prompt_name = document_prompt_name(self.prompts)
        return self._encode_by_names(inputs, prompt_name, prompt, arguments, options)

    def _encode_by_names(
        self,
        inputs: str | Iterable[str] | None,
        prompt_name: str | None,
        prompt: str | None,
        arguments: tuple[Any, ...],
        options: Mapping[str, Any],
    ) -> Any:
        """Call `encode`, which a subclass may have with other positions."""
        texts = {"inputs": inputs, "prompt_name": prompt_name, "prompt": prompt}
        return self.encode(
            **{name: value for name, value in texts.items() if value is not None},
            **_named(POSITIONAL_OPTIONS, arguments, options),
        )

    def preprocess(
        self,
        texts: str | Iterable[str],
        prompt: str | None = None,
        *,
        errors: Errors = "raise",
        nulls: MissingTexts = "error",
    ) -> dict[str, NDArray[np.int64]]:
        """The ids as sentence-transformers' static models pass them on.

        Args:
            texts: any iterable of texts; a str is one text.
            prompt: put this before each text.
            errors, nulls: as for `encode`.

        Returns:
            ``"input_ids"``: int64 [tokens] of all texts end to end; ``"offsets"``: int64 [n],
            where each text begins.

        Raises:
            TypeError: a text is not a str (names its number).
            ValueError: a text holds a surrogate (names its number).
        """
        taken = taken_texts(texts, nulls=nulls, errors=errors)
        if errors == "replace":
            prompt = without_surrogates(prompt or "")
        ids, offsets = self.tokenize(prompted(taken, prompt or ""))
        return {"input_ids": ids.astype(np.int64), "offsets": offsets[:-1]}

    def encode_multi_process(
        self,
        sentences: Iterable[str],
        pool: Mapping[str, Any],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: SupportsIndex = 32,
        chunk_size: SupportsIndex | None = None,
        show_progress_bar: bool | None = None,
        precision: Precision | None = "float32",
        normalize_embeddings: bool = False,
        truncate_dim: SupportsIndex | None = None,
        **options: Any,
    ) -> NDArray[Any]:
        """Embed texts as `encode` does, on the threads of this process.

        Arguments and result are those of `encode`.
        """
        vectors: NDArray[Any] = self.encode(
            sentences,
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            precision=precision,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
            pool=pool,
            chunk_size=chunk_size,
            **options,
        )
        return vectors

    def start_multi_process_pool(
        self, target_devices: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """A stand-in for a pool of processes: `encode` has threads of its own, so none starts.

        Args:
            target_devices: warned of where one is not the CPU.

        Returns:
            What `encode`, `encode_multi_process` and `stop_multi_process_pool` take, those of
            sentence-transformers' own class too.
        """
        check_device(target_devices)
        return {"input": _NoQueue(), "output": _NoQueue(), "processes": []}

    @staticmethod
    def stop_multi_process_pool(pool: Mapping[str, Any]) -> None:
        """Nothing is left to stop."""

    def similarity(
        self, embeddings1: Any, embeddings2: Any, *, precision: Precision | None = None
    ) -> FloatArray | torch.Tensor:
        """Similarity of every vector with every other, as `similarity_fn_name` says.

        Args:
            embeddings1: [n, dims] or [dims]: an array, a list of vectors or a torch Tensor.
            embeddings2: [m, dims] or [dims].
            precision: what `encode` made both in; None takes floats, and refuses integers, which
                may be codes or packed bits. Bits stand for 1 and -1, so that the least
                Hamming distance is the greatest similarity.

        Returns:
            float32 [n, m]; distances are negated. A torch Tensor if torch has been imported, else
            an array.

        Raises:
            TypeError: an input holds no numbers.
            ValueError: more than two dimensions, or different dims; integers or bools come without
                a precision, or rows are not of the one that is named.
        """
        return similarity(embeddings1, embeddings2, self._similarity_fn_name, precision=precision)

    def similarity_pairwise(
        self, embeddings1: Any, embeddings2: Any, *, precision: Precision | None = None
    ) -> FloatArray | torch.Tensor:
        """Similarity of each vector with the one in the same row, as `similarity_fn_name` says.

        Args:
            embeddings1: [n, dims] or [dims]: an array, a list of vectors or a torch Tensor.
            embeddings2: [n, dims]; or one vector on either side, for all of the other.
            precision: as for `similarity`.

        Returns:
            float32 [n], or [] for two single vectors; a Tensor or an array as `similarity`.

        Raises:
            TypeError: as `similarity`.
            ValueError: more than two dimensions, or different dims or rows; further as
                `similarity`.
        """
        return similarity_pairwise(
            embeddings1, embeddings2, self._similarity_fn_name, precision=precision
        )

    @contextmanager
    def truncate_embeddings(self, truncate_dim: SupportsIndex | None) -> Iterator[None]:
        """A context in which `truncate_dim` is another.

        Args:
            truncate_dim: keep the first N dims; None keeps all.

        Raises:
            ValueError: ``truncate_dim`` is not in 1..dim.

        >>> from nibblevec import Encoder
        >>> model = Encoder()
        >>> with model.truncate_embeddings(64):
        ...     model.encode("tea").shape
        (64,)
        """
        before = self.truncate_dim
        self.truncate_dim = truncate_dim  # type: ignore[assignment]  # its setter takes more
        try:
            yield
        finally:
            self.truncate_dim = before

    def truncate_sentence_embeddings(
        self, truncate_dim: SupportsIndex | None
    ) -> AbstractContextManager[None]:
        """The older name of `truncate_embeddings`."""
        return self.truncate_embeddings(truncate_dim)

    def get_sentence_embedding_dimension(self) -> int:
        """The older name of `get_embedding_dimension`."""
        return self.get_embedding_dimension()

    def get_max_seq_length(self) -> int | None:
        """The older name of `max_seq_length`."""
        return self.max_seq_length

    @property
    def device(self) -> str | torch.device:
        """Always the CPU: a device of torch if torch has been imported, else its name."""
        if sys.modules.get("torch") is not None:
            import torch

            return torch.device("cpu")
        return "cpu"

    def to(
        self, device: object = None, dtype: object = None, *_arguments: Any, **_options: Any
    ) -> Self:
        """The model itself; warns where ``device`` is not the CPU.

        Args:
            device: where to; or what would be ``dtype``.
            dtype: float32.

        Raises:
            ValueError: ``dtype`` is another.
        """
        if sys.modules.get("torch") is not None:
            import torch

            if isinstance(device, torch.dtype):
                device, dtype = None, device
        check_device(device)
        if str(dtype) not in FLOAT32_NAMES:
            raise ValueError(f"{dtype} is not done: vectors are float32 (see encode's precision)")
        return self

    def cpu(self) -> Self:
        """The model itself."""
        return self

    def cuda(self, device: object = None) -> Self:
        """The model itself; warns, since it stays on the CPU."""
        check_device("cuda" if device is None else f"cuda:{device}")
        return self

    def eval(self) -> Self:
        """The model itself, which is never trained here."""
        return self

    def evaluate(self, evaluator: Callable[..., Any], output_path: str | None = None) -> Any:
        """What an evaluator of sentence-transformers says of the model.

        Args:
            evaluator: called with the model and ``output_path``.
            output_path: folder for files of results, made if need be.
        """
        if output_path is not None:
            os.makedirs(output_path, exist_ok=True)
        return evaluator(self, output_path)

    def save(self, path: str | os.PathLike[str], *arguments: Any, **options: Any) -> None:
        """The shorter name of `save_pretrained`."""
        self.save_pretrained(path, **_named(SAVE_ARGUMENTS, arguments, options))

    if not TYPE_CHECKING:  # for which there would be no unknown name any more

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # a property that failed: what it raised comes again
                return object.__getattribute__(self, name)
            problem = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name in NOT_THERE:
                problem += f": {NOT_THERE[name]}"
            raise AttributeError(problem, name=name, obj=self)

    @property
    def model_card_data(self) -> ModelCardData:
        """Where evaluators put their measures; no model card is written."""
        return self._model_card_data


class ModelCardData:
    """What evaluators and miners of sentence-transformers ask of a model's card.

    Attributes:
        base_model: what the model is called; None: not said.
        eval_results_dict: the measures of each evaluator that was run.
    """

    def __init__(self, base_model: str | None) -> None:
        self.base_model = base_model
        self.eval_results_dict: dict[Any, dict[str, Any]] = {}

    def set_evaluation_metrics(
        self, evaluator: Any, metrics: Mapping[str, Any], *_epoch_and_step: int, **_named: int
    ) -> None:
        """Keep the measures of an evaluator, the last ones of each."""
        self.eval_results_dict[evaluator] = dict(metrics)


class _NoQueue:
    """What sentence-transformers' own `stop_multi_process_pool` closes."""

    def cancel_join_thread(self) -> None:
        """Nothing is waited for."""

    def close(self) -> None:
        """Nothing is open."""


def _named(
    names: Sequence[str], arguments: Sequence[Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """All arguments of a call by name.

    Raises:
        TypeError: there are too many, or one is given twice.
    """
    if len(arguments) > len(names):
        raise TypeError(f"{len(arguments)} arguments without a name, expected at most {len(names)}")
    named = dict(zip(names, arguments, strict=False))
    if twice := named.keys() & options.keys():
        raise TypeError(f"argument {min(twice)!r} is given twice")
    return {**named, **options}


def document_prompt_name(prompts: Mapping[str, str]) -> str | None:
    """The name of the prompt that is put before documents; None: there is none for them."""
    return next((name for name in DOCUMENT_PROMPT_NAMES if name in prompts), None)
