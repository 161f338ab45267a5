from typing import Any

import numpy as np
from numpy.typing import NDArray

class DefaultFloatEnvironment:
    def __init__(self) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *args: object) -> None: ...

class Table:
    def __init__(self, buffer: NDArray[np.uint8], dim: int, format: str) -> None: ...
    @property
    def rows(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def format(self) -> str: ...

class DynamicTanh:
    def __init__(
        self, alpha: NDArray[np.float32], beta: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> None: ...

class Tokenizer:
    def __init__(
        self,
        tokens: tuple[str, ...],
        ids: NDArray[np.uint32],
        *,
        continuing_subword_prefix: str,
        max_input_chars_per_word: int,
        unknown_id: int,
        clean_text: bool,
        handle_chinese_chars: bool,
        strip_accents: bool,
        lowercase: bool,
        added_tokens: list[tuple[str, int, bool, bool, bool, bool]],
    ) -> None: ...
    def encode(
        self,
        texts: tuple[str, ...],
        *,
        max_length: int | None = None,
        keep_end: bool = False,
        max_characters: int | None = None,
        first_number: int = 0,
        threads: int = 1,
        kernel: str | None = None,
        piece_characters: int | None = None,
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64], int]: ...

class TokenRules:
    def __init__(
        self,
        row_of_id: NDArray[np.uint32] | None,
        weight_of_id: NDArray[np.floating[Any]] | None,
        wide_weights: bool,
        dropped_id: int | None,
    ) -> None: ...

class TextBlock:
    def __len__(self) -> int: ...
    def strings(self) -> tuple[str | None, ...]: ...

class TextBatch:
    def __len__(self) -> int: ...
    @property
    def first_number(self) -> int: ...
    @property
    def first_null(self) -> int | None: ...
    def block(self, begin: int, end: int) -> TextBlock: ...

class TextReader:
    @staticmethod
    def of_array(
        schema: object, array: object, *, column: str | None, nulls_are_empty: bool
    ) -> TextReader: ...
    @staticmethod
    def of_stream(stream: object, *, column: str | None, nulls_are_empty: bool) -> TextReader: ...
    def read(self) -> TextBatch | None: ...

class VectorRows:
    def __init__(self, texts: TextBatch, dims: int) -> None: ...
    @staticmethod
    def joined(parts: list[VectorRows], dims: int) -> VectorRows: ...
    def __len__(self) -> int: ...
    @property
    def null_count(self) -> int: ...
    @property
    def array(self) -> NDArray[np.float32]: ...
    def blank_nulls(self) -> None: ...
    def state(self) -> tuple[NDArray[np.float32], bytes]: ...
    @staticmethod
    def of_state(state: tuple[NDArray[np.float32], bytes]) -> VectorRows: ...

def arrow_schema(dims: int, list_type: str) -> object: ...
def arrow_array(rows: VectorRows, list_type: str) -> object: ...
def arrow_stream(
    parts: list[VectorRows], dims: int, list_type: str, max_values: int = 2147483647
) -> object: ...
def encode(
    tokenizer: Tokenizer,
    table: Table,
    texts: tuple[str, ...] | TextBlock,
    out: NDArray[np.float32],
    *,
    prompt: str = "",
    dynamic_tanh: DynamicTanh | None = None,
    normalization: str | None = None,
    normalize: bool = False,
    wide_sums: bool = False,
    rules: TokenRules | None = None,
    max_length: int | None = None,
    keep_end: bool = False,
    max_characters: int | None = None,
    first_number: int = 0,
    threads: int = 1,
    kernel: str | None = None,
    piece_characters: int | None = None,
) -> int: ...
def scan_words(
    text: NDArray[np.uint8], *, lowercase: bool, kernel: str | None = None
) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]: ...
def kernels() -> list[str]: ...
def pool(
    table: Table,
    ids: NDArray[np.integer[Any]],
    offsets: NDArray[np.int64],
    out: NDArray[np.float32],
    *,
    weights: NDArray[np.float32] | None = None,
    wide_weights: NDArray[np.floating[Any]] | None = None,
    dynamic_tanh: DynamicTanh | None = None,
    mean: bool = False,
    normalization: str | None = None,
    normalize: bool = False,
    wide_sums: bool = False,
    threads: int = 1,
    kernel: str | None = None,
) -> None: ...
def apply_head(
    rows: NDArray[np.float32],
    token_counts: NDArray[np.uint64],
    *,
    dynamic_tanh: DynamicTanh | None = None,
    mean: bool = False,
    normalization: str | None = None,
    normalize: bool = False,
    kernel: str | None = None,
) -> None: ...
def row_formats() -> dict[str, int]: ...
def dequantize(table: Table, row_ids: NDArray[np.integer[Any]]) -> NDArray[np.float32]: ...
def quantize(
    weights: NDArray[np.float32], format: str, *, search: bool = True, threads: int = 1
) -> NDArray[np.uint8]: ...
