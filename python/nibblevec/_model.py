"""A model: a table, a head, a tokenizer, and the settings of their use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

import nibblevec._core as _core
from nibblevec._containers.files import (
    MAX_TOKENIZER_BYTES,
    check_regular_file,
    read_file,
)
from nibblevec._containers.json_files import with_member
from nibblevec._precision import RangesKey
from nibblevec._table import Table
from nibblevec._token_rules import NO_RULES, TokenRules, Truncation

if TYPE_CHECKING:
    from numpy.typing import NDArray


# How a model itself scales its vectors, over all of its dims and before truncation:
# "torch" divides by max(norm, 1e-12), as a `Normalize` module of sentence-transformers does;
# "model2vec" by norm + 1e-32; "model2vec_float16" does so after rounding the mean to float16,
# which that library keeps the means of a float16 table in.
Normalization = Literal["torch", "model2vec", "model2vec_float16"]

# Prompts that sentence-transformers gives to every model; empty unless its settings have others.
IMPLIED_PROMPT_NAMES = ("query", "document")


class DynamicTanh:
    """Separable Dynamic Tanh: ``beta * tanh(alpha * x + bias)``.

    Attributes:
        alpha: float32 [dim].
        beta: float32 [dim].
        bias: float32 [dim].
        native: the same for the kernel.
    """

    def __init__(
        self, alpha: NDArray[np.float32], beta: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        self.bias = bias
        self.native = _core.DynamicTanh(alpha, beta, bias)


class TokenizerJson:
    """A ``tokenizer.json``: a file that is read when it is first asked for, or its content.

    Attributes:
        path: the file with the content; errors name it.
    """

    NAME = "tokenizer.json"

    def __init__(self, path: str, content: bytes | None = None) -> None:
        self.path = path
        self._content = content

    @classmethod
    def in_folder(cls, folder: str) -> TokenizerJson:
        """That of a model's folder.

        Raises:
            OSError: there is none, or it is not a regular file.
        """
        path = os.path.join(folder, cls.NAME)
        check_regular_file(path)
        return cls(path)

    def read(self) -> bytes:
        """Its bytes, the same ones for the life of the model.

        Raises:
            OSError: the file is missing, cannot be read, or is not a regular file.
            ModelFormatError: it has more than `MAX_TOKENIZER_BYTES`.
        """
        if self._content is None:
            self._content = read_file(self.path, "tokenizer", MAX_TOKENIZER_BYTES)
        return self._content

    def truncated(self, truncation: Truncation) -> TokenizerJson:
        """The same tokenizer with another truncation; nothing else of the file changes.

        Raises:
            OSError: `read` fails.
        """
        settings = None
        if truncation.max_length is not None:
            settings = {
                "direction": "Left" if truncation.keep_end else "Right",
                "max_length": truncation.max_length,
                "strategy": "LongestFirst",
                "stride": 0,
            }
        return TokenizerJson(self.path, with_member(self.read(), "truncation", settings))

    def write(self, folder: str) -> None:
        """Write the same bytes into a model's folder.

        Raises:
            OSError: the file exists there, or cannot be written; `read` fails.
        """
        from nibblevec._io.output_files import write_file

        write_file(os.path.join(folder, self.NAME), self.read())


class Model(NamedTuple):
    """A static embedding model.

    Attributes:
        layout: the layout it was read from, in words.
        table: token embeddings.
        tokenizer_json: the file of its tokenizer.
        dynamic_tanh: applied to the mean of the rows; None leaves the mean as it is.
        normalization: how the model itself scales its vectors at last; None: not at all.
        token_rules: applied to a text before and after it is tokenised.
        wide_sums: rows are weighted, added and divided in float64, then rounded to float32.
        prompts: strings that may be put before a text, by name.
        default_prompt_name: the prompt of a text for which none is asked; None: no prompt.
        similarity_fn_name: how two vectors are to be compared; None: not said.
        truncate_dim: number of dims of a vector that are kept unless the caller says; None: all.
        ranges: least and greatest value of each dim, float32 [2, dims], for vectors in int8 and
            uint8.
        name: of the model; None: not said.
        license: under which it may be used; None: not said.
        headerless_table: file of the table if it has a row for each token and does not state their
            number; else None.
        stored_table_bytes: size of the table in the model's files, where it was made larger when it
            was loaded; else None.
    """

    layout: str
    table: Table
    tokenizer_json: TokenizerJson
    dynamic_tanh: DynamicTanh | None = None
    normalization: Normalization | None = None
    token_rules: TokenRules = NO_RULES
    wide_sums: bool = False
    prompts: Mapping[str, str] = MappingProxyType({})
    default_prompt_name: str | None = None
    similarity_fn_name: str | None = None
    truncate_dim: int | None = None
    ranges: Mapping[RangesKey, NDArray[np.float32]] = MappingProxyType({})
    name: str | None = None
    license: str | None = None
    headerless_table: str | None = None
    stored_table_bytes: int | None = None

    @property
    def native_dynamic_tanh(self) -> _core.DynamicTanh | None:
        """The Dynamic Tanh for the kernel."""
        return None if self.dynamic_tanh is None else self.dynamic_tanh.native

    def truncated(self, truncation: Truncation) -> Model:
        """The same model with another limit of tokens, kept where it had its own.

        Raises:
            OSError: its ``tokenizer.json`` cannot be read, or is not a regular file.
        """
        rules = self.token_rules
        # ``tokenizer.json`` has no end of texts that are not cut, but would be if it were asked.
        has_no_end = truncation.keep_end and truncation.max_length is None
        if rules.truncation is not None or has_no_end:
            return self._replace(token_rules=rules._replace(truncation=truncation))
        return self._replace(tokenizer_json=self.tokenizer_json.truncated(truncation))

    def digest(self) -> str:
        """SHA-256 of everything that vectors depend on."""
        import hashlib

        tanh, rules = self.dynamic_tanh, self.token_rules
        vectors = () if tanh is None else (tanh.alpha, tanh.beta, tanh.bias)
        settings = (
            self.table.format,
            self.table.dim,
            tanh is None,
            self.normalization,
            self.wide_sums,
            rules.truncation,
            rules.cuts_characters,
            rules.drops_unknown,
            rules.row_of_id is None,
            None if rules.weight_of_id is None else rules.weight_of_id.dtype.name,
            sorted(self.prompts.items()),
            self.default_prompt_name,
            self.truncate_dim,
            sorted(map(tuple, self.ranges)),
        )
        arrays = (
            *(self.table.buffer, *vectors, rules.row_of_id, rules.weight_of_id),
            *(self.ranges[key] for key in sorted(self.ranges)),
        )
        sha256 = hashlib.sha256()
        for part in (
            repr(settings).encode(errors="backslashreplace"),
            *(array.data for array in arrays if array is not None),
            self.tokenizer_json.read(),
        ):
            size = part.nbytes if isinstance(part, memoryview) else len(part)
            sha256.update(size.to_bytes(8, "little"))
            sha256.update(part)
        return sha256.hexdigest()
