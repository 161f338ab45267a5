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
from numpy.typing import NDArray

from nibblevec._printing import warn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import torch
    from typing_extensions import Self

    from nibblevec._precision import Precision

# The first of them that a model has is put before documents.
DOCUMENT_PROMPT_NAMES = ("document", "passage", "corpus")

# What other values of these would ask for, in words.
NOT_DONE = {
    "modules": "a model is loaded whole from its files, not put together from modules of torch",
    "config_kwargs": "there is no config of transformers",
    "processor_kwargs": "tokenizer.json is used as it is; max_seq_length cuts texts",
    "tokenizer_kwargs": "tokenizer.json is used as it is; max_seq_length cuts texts",
    "model_card_data": "no model card is written",
}
FLOAT32_NAMES = ("float32", "torch.float32", "auto", "None")

# The order of arguments, for those who give them without names. They are passed on by name, as
# sentence-transformers does: a subclass may have another order.
ENCODE_ARGUMENTS = (  # after those that choose a prompt
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
        get_embedding_dimension: Callable[[], int]
        save_pretrained: Callable[..., None]
        prompts: dict[str, str]
        truncate_dim: int | None
        max_seq_length: int | None
        _model_card_data: ModelCardData

    def encode_query(
        self,
        inputs: str | Iterable[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *arguments: Any,
        **options: Any,
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
        **options: Any,
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
            **_named(ENCODE_ARGUMENTS, arguments, options),
        )

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

        Args:
            sentences: as for `encode`, like the rest.
            pool: ditto.
            prompt_name: ditto.
            prompt: ditto.
            batch_size: ditto.
            chunk_size: ditto.
            show_progress_bar: ditto.
            precision: ditto.
            normalize_embeddings: ditto.
            truncate_dim: ditto.
            **options: the others of `encode`, such as ``nulls``.
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

    @contextmanager
    def truncate_embeddings(self, truncate_dim: SupportsIndex | None) -> Iterator[None]:
        """A context in which `truncate_dim` is another.

        Args:
            truncate_dim: keep the first so many dims; None keeps all.

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


def check_constructor_arguments(
    *,
    token: bool | str | None,
    use_auth_token: bool | str | None,
    model_kwargs: Mapping[str, Any] | None,
    backend: str,
    **others: Any,
) -> None:
    """Refuse arguments of `SentenceTransformer` that ask for what an `Encoder` does not do.

    Args:
        token: ours.
        use_auth_token: an older name of it: None, False or the same.
        model_kwargs: None, empty, or float32 on the CPU, which is done anyway.
        backend: ``"torch"``, the one whose vectors we give.
        **others: those of `NOT_DONE`: None or empty.

    Raises:
        ValueError: there is any other value (names the argument, and says why).
    """
    if use_auth_token and use_auth_token != token:
        raise ValueError("use_auth_token is not taken: give the token as token")
    if backend != "torch":
        raise ValueError(
            f"backend {backend!r} is not there: kernels of nibblevec's own do the work, with the"
            " vectors of backend 'torch'"
        )
    for name, value in (model_kwargs or {}).items():
        does = (
            str(value) in FLOAT32_NAMES
            if name in ("torch_dtype", "dtype")
            else name == "device_map" and str(value) in ("cpu", "auto", "None")
        )
        if not does:
            raise ValueError(
                f"model_kwargs {name!r}: {value!r:.80} is not done: there is no model of"
                " transformers, and vectors are float32 on the CPU (see encode's precision)"
            )
    for name, value in others.items():
        if not (value is None or (isinstance(value, (Mapping, list, tuple)) and not value)):
            raise ValueError(f"{name} is not taken: {NOT_DONE[name]}")


def checked_prompts(prompts: Mapping[str, str | None]) -> Mapping[str, str | None]:
    """Refuse what are no prompts by name before they are used.

    Raises:
        TypeError: ``prompts`` is no mapping, or a name or a prompt is no str (names the prompt).
    """
    if not isinstance(prompts, Mapping):
        raise TypeError(f"prompts are {type(prompts).__name__}, expected a dict of str")
    for name, text in prompts.items():
        if not isinstance(name, str):
            raise TypeError(f"the name of a prompt is {type(name).__name__}, expected str")
        if not (text is None or isinstance(text, str)):
            raise TypeError(f"the prompt {name!r:.80} is {type(text).__name__}, expected str")
    return prompts


def check_device(device: object) -> None:
    """Warn where a device, or one of several, is not the CPU."""
    devices = device if isinstance(device, (list, tuple)) else [device]
    for other in devices:
        if other is not None and str(other).partition(":")[0] != "cpu":
            # Who set the device is two calls up, and is told once for each place in the code.
            warn(
                f"nibblevec runs on the CPU, whatever the device: {other} is not used",
                stacklevel=3,
            )
            return


def in_type_asked(vectors: NDArray[Any], *, convert_to_numpy: bool, convert_to_tensor: bool) -> Any:
    """Vectors as `encode`'s caller wants them; torch is imported only where it is wanted.

    Args:
        vectors: [n, dims], or [dims] for one text.
        convert_to_numpy: an array; else, for more than one text, a list of Tensors.
        convert_to_tensor: a Tensor, whatever ``convert_to_numpy`` says.
    """
    if convert_to_numpy and not convert_to_tensor:
        return vectors
    import torch

    tensor = torch.from_numpy(vectors)
    return tensor if convert_to_tensor or vectors.ndim == 1 else list(tensor)


def features_of_texts(
    ids: NDArray[np.uint32], offsets: NDArray[np.int64], vectors: NDArray[np.float32]
) -> list[dict[str, torch.Tensor]]:
    """What the modules of a `SentenceTransformer` leave of each text, were it alone.

    Args:
        ids: uint32 [tokens] of all texts end to end.
        offsets: int64 [n + 1], where each text begins, and the end of the last.
        vectors: float32 [n, dims].
    """
    import torch

    tokens = torch.from_numpy(ids.astype(np.int64))
    return [
        {
            "input_ids": tokens[begin:end],
            "offsets": torch.tensor(0),
            "sentence_embedding": vector,
        }
        for begin, end, vector in zip(
            offsets[:-1].tolist(), offsets[1:].tolist(), torch.from_numpy(vectors), strict=True
        )
    ]
