"""Losses of a layout: a model that would lose something is not written there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nibblevec._model import IMPLIED_PROMPT_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nibblevec._layouts.tokenizers import ModelTokenizer
    from nibblevec._model import Model


def refuse_losses(layout: str, losses: Mapping[str, bool], complete: str) -> None:
    """Refuse to write a model that would come out as another.

    Args:
        layout: in words.
        losses: what it has no place for, in words, and whether the model has it.
        complete: the layout that has a place for everything, in words.

    Raises:
        ValueError: the model has any of it (all are named).
    """
    lost = [words for words, has in losses.items() if has]
    if lost:
        raise ValueError(f"{layout} has no place for {', nor for '.join(lost)}; {complete} has")


def losses_of_rules(model: Model) -> dict[str, bool]:
    """Losses of a layout whose token rules are all in ``tokenizer.json``.

    The rows and the weights of ids are not lost where the rows are written one for each id.
    """
    rules = model.token_rules
    return {
        "a limit of tokens besides that of tokenizer.json": rules.truncation is not None,
        "texts cut by their characters": rules.cuts_characters,
        "unknown tokens that do not count": rules.drops_unknown,
    }


def losses_of_settings(model: Model) -> dict[str, bool]:
    """Losses of a layout without settings."""
    return {
        "prompts": any(model.prompts.values()),
        "a default prompt": bool(
            model.default_prompt_name and model.prompts.get(model.default_prompt_name)
        ),
        "another similarity than cosine": model.similarity_fn_name not in (None, "cosine"),
        "a number of dims to keep": model.truncate_dim not in (None, model.table.dim),
    }


def losses_of_precision(before: ModelTokenizer, after: ModelTokenizer) -> dict[str, bool]:
    """Differences between a model and its written copy, in words.

    Rows are not compared: they were written in a format that holds each of their weights.

    Args:
        before: the tokenizer of the model.
        after: that of the model that was written.
    """
    model, written = before.model, after.model
    rules, kept = model.token_rules, written.token_rules
    is_cut_alike = (
        rules.truncation == kept.truncation or before.loaded.truncation == after.loaded.truncation
    )
    return {
        f"the norm of {model.normalization}": model.normalization != written.normalization,
        "sums in float64": model.wide_sums != written.wide_sums,
        # Those of a float16 table are rounded so that a float16 of them is right.
        "sums in float64 of float16 rows": model.wide_sums
        and (model.table.format == "float16") != (written.table.format == "float16"),
        "its limit of tokens": not is_cut_alike,
        "texts cut by their tokens only": kept.cuts_characters > rules.cuts_characters,
        "texts cut by their characters": kept.cuts_characters < rules.cuts_characters,
        "unknown tokens that count": kept.drops_unknown > rules.drops_unknown,
        "prompts": _prompts(model) != _prompts(written),
        "a default prompt": model.default_prompt_name != written.default_prompt_name,
        "its similarity": _similarity(model) != _similarity(written),
        "a number of dims to keep": _kept_dims(model) != _kept_dims(written),
        "ranges": not _have_same_ranges(model, written),
    }


def _prompts(model: Model) -> dict[str, str]:
    return {**dict.fromkeys(IMPLIED_PROMPT_NAMES, ""), **model.prompts}


def _similarity(model: Model) -> str:
    return model.similarity_fn_name or "cosine"


def _have_same_ranges(model: Model, other: Model) -> bool:
    return model.ranges.keys() == other.ranges.keys() and all(
        np.array_equal(limits, other.ranges[key]) for key, limits in model.ranges.items()
    )


def _kept_dims(model: Model) -> int:
    return model.truncate_dim or model.table.dim
