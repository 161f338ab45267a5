"""What a layout has no place for: a model that needs it is not written there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nibblevec.model import Model


def refuse_losses(layout: str, losses: Mapping[str, bool]) -> None:
    """Refuse to write a model that would come out as another.

    Args:
        layout: in words.
        losses: what it has no place for, in words, and whether the model has it.

    Raises:
        ValueError: the model has any of it (all are named).
    """
    lost = [words for words, has in losses.items() if has]
    if lost:
        raise ValueError(f"{layout} has no place for {', nor for '.join(lost)}")


def losses_of_rules(model: Model) -> dict[str, bool]:
    """What a layout loses that leaves all about tokens to ``tokenizer.json``.

    The rows and the weights of ids are not lost where the rows are written one for each id.
    """
    rules = model.token_rules
    return {
        "a limit of tokens besides that of tokenizer.json": rules.truncation is not None,
        "texts cut by their characters": rules.cuts_characters,
        "unknown tokens that do not count": rules.drops_unknown,
    }


def losses_of_settings(model: Model) -> dict[str, bool]:
    """What a layout loses that says nothing of a model's use."""
    return {
        "prompts": any(model.prompts.values()),
        "a default prompt": bool(
            model.default_prompt_name and model.prompts.get(model.default_prompt_name)
        ),
        "another similarity than cosine": model.similarity_fn_name not in (None, "cosine"),
        "a number of dims to keep": model.truncate_dim not in (None, model.table.dim),
    }
