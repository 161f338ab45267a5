"""The tokenizer of a model: natively where that is equal, else by the `tokenizers` package."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nibblevec._containers.json_files import parse_json_object
from nibblevec._float_environment import in_default_float_environment
from nibblevec._token_rules import NO_RULES, TokenRules
from nibblevec._tokenization.ids import (
    check_ids,
    check_stated_ids,
    warn_of_contradictions,
)
from nibblevec._tokenization.native import NativeTokenizer, NotNativeError, require
from nibblevec._tokenization.shapes import surely_loads

if TYPE_CHECKING:
    from nibblevec._tokenization.tokenizer import Tokenizer

# It may also stand in a string, which does no harm.
_MINUS_ZERO = re.compile(rb"-0\s*[,\]}]")


@in_default_float_environment
def load_tokenizer(
    tokenizer_json: bytes,
    path: str,
    rows: int,
    *,
    content: dict[str, Any] | None = None,
    headerless_table: str | None = None,
    rules: TokenRules = NO_RULES,
    warns: bool = True,
) -> Tokenizer:
    """The tokenizer of ``tokenizer_json``, the content of ``path``, for a table of ``rows`` rows.

    Where ``rules`` map ids to rows, ``rows`` is the number of ids that they know. Ids are those of
    the `tokenizers` package; one warning tells where the file states others, if ``warns``.
    ``content`` is what the file holds, if it was parsed before.

    Raises:
        ModelFormatError: not JSON, or not a tokenizer; the package refuses it, or chooses at
            random with it; an id is negative, or not a row of the table; a table without a header
            has more or fewer rows than there are tokens.
        ImportError: the package is needed, and a version of it is installed that is not supported.
    """
    if content is None:
        content = parse_json_object(tokenizer_json, path, "tokenizer")
    check_stated_ids(content, path, rows)
    tokenizer: Tokenizer
    try:
        # An integer to Python, to the package a float.
        require(_MINUS_ZERO.search(tokenizer_json) is None, "it holds a number -0")
        tokenizer = NativeTokenizer(content, rules)
        if not surely_loads(content):
            from nibblevec._tokenization.package import load_package_tokenizer

            load_package_tokenizer(tokenizer_json, path)
    except NotNativeError as reason:
        from nibblevec._tokenization.package import PackageTokenizer

        tokenizer = PackageTokenizer(tokenizer_json, path, str(reason), rules)
    ids = tokenizer.ids()
    check_ids(content, ids, path, rows, headerless_table)
    if warns:
        warn_of_contradictions(content, ids, path)
    return tokenizer
