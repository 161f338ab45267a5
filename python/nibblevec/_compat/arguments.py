"""Arguments of sentence-transformers that an `Encoder` takes without need: which values pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nibblevec._printing import warn

# What other values of these would ask for, in words.
NOT_DONE = {
    "modules": "a model is loaded whole from its files, not put together from modules of torch",
    "config_kwargs": "there is no config of transformers",
    "processor_kwargs": "tokenizer.json is used as it is; max_seq_length cuts texts",
    "tokenizer_kwargs": "tokenizer.json is used as it is; max_seq_length cuts texts",
    "model_card_data": "no model card is written",
}
FLOAT32_NAMES = ("float32", "torch.float32", "auto", "None")


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
