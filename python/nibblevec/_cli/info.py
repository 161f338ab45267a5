"""``nibblevec info``: facts of a model and of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nibblevec._cli.common import (
    BUNDLED_NAME,
    Command,
    load,
    optional_model_argument,
    print_lines,
)
from nibblevec._precision import ranges_in_words

if TYPE_CHECKING:
    from nibblevec._token_rules import TokenRules

# Whether a model normalizes its vectors by itself, in words.
NORMALIZATIONS = {
    None: "no",
    "torch": "yes",
    "model2vec": "yes, as Model2Vec does",
    "model2vec_float16": "yes, as Model2Vec does, means rounded to float16",
}


@click.command(cls=Command)
@optional_model_argument
def info(model: str | None) -> None:
    """Tell the facts of a model, and how this machine runs it.

    MODEL is a folder, a GGUF file or a name on the Hugging Face hub, by default the bundled model.
    """
    from nibblevec import kernels
    from nibblevec._layouts.tokenizers import load_tokenizer_of
    from nibblevec._threads import thread_count

    loaded = load(model)
    tokenizer = load_tokenizer_of(loaded)
    names = kernels()
    threads = thread_count(None)
    table = loaded.table
    others = f" (also: {', '.join(names[1:])})" if names[1:] else ""
    kept = loaded.truncate_dim
    default = loaded.default_prompt_name
    print_lines(
        {
            "model": model or BUNDLED_NAME,
            "name": loaded.name,
            "license": loaded.license,
            "layout": loaded.layout,
            "row format": table.format,
            "rows": table.rows,
            "dims": table.dim if kept is None else f"{table.dim}, of which {kept} are kept",
            "table bytes": table.nbytes,
            "head": "mean" if loaded.dynamic_tanh is None else "mean, Dynamic Tanh",
            "normalizes": NORMALIZATIONS[loaded.normalization],
            "tokens": _tokens_in_words(loaded.token_rules, tokenizer.truncation.max_length),
            "prompts": ", ".join(
                f"{name!r}: {text!r}" + (" (default)" if name == default else "")
                for name, text in loaded.prompts.items()
            ),
            "similarity": loaded.similarity_fn_name,
            "ranges": ranges_in_words(loaded.ranges),
            "tokenizer": f"{loaded.tokenizer_json.path}, {tokenizer.path_taken}",
            "kernel": names[0] + others,
            "threads": threads,
        }
    )


def _tokens_in_words(rules: TokenRules, max_length: int | None) -> str:
    facts = {
        f"at most {max_length}": max_length is not None,
        "texts cut by characters": rules.cuts_characters and max_length is not None,
        "unknown ones dropped": rules.drops_unknown,
        "mapped to rows": rules.row_of_id is not None,
        "weighted": rules.weight_of_id is not None,
    }
    return ", ".join(fact for fact, holds in facts.items() if holds)
