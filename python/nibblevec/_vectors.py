"""The texts of one call to vectors: blocks of texts, tokenizer, kernel and precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import nibblevec._core as _core
from nibblevec._blocks import slices, text_batches
from nibblevec._precision import DTYPES, RangesKey, quantize, width_of
from nibblevec._texts import check_texts, prompted
from nibblevec._tokenization.native import NativeTokenizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from nibblevec._model import Model
    from nibblevec._precision import Precision
    from nibblevec._token_rules import Truncation
    from nibblevec._tokenization.tokenizer import Tokenizer

    FloatArray = NDArray[np.float32]

# The native code gets at most this many texts at a time, which bounds what it keeps of them; fewer
# where a bar shows progress, or where vectors in float32 are made only to be rounded.
BLOCK_TEXTS = 1 << 14
ROUNDED_BLOCK_TEXTS = 1 << 12
SHOWN_BLOCK_TEXTS = 1 << 10

# The `tokenizers` package gets at most this many texts or characters at a time: between two blocks
# Ctrl-C is answered, and only the ids of one block are in memory.
PACKAGE_BLOCK_TEXTS = 1024
PACKAGE_BLOCK_CHARACTERS = 1 << 19


class Block:
    """Vectors of some of the texts of a call.

    Attributes:
        texts: which texts.
        vectors: float32 [texts, dims]; valid until the next block.
        cut_texts: how many of the texts truncation cut.
    """

    __slots__ = ("cut_texts", "texts", "vectors")

    def __init__(self, texts: slice, vectors: FloatArray, cut_texts: int) -> None:
        self.texts = texts
        self.vectors = vectors
        self.cut_texts = cut_texts


class VectorCall(NamedTuple):
    """What one call asks for: checked, and as it was when the call began.

    Attributes:
        model: whose vectors.
        tokenizer: of the model.
        normalize: scale each vector to length 1, after truncation to ``dims``.
        dims: first dims that are kept.
        prompt: stands before each text.
        truncation: of the ids of a text.
        threads: at most this many.
        precision: of the vectors.
        ranges: float32 [2, dims], of int8 and uint8.
    """

    model: Model
    tokenizer: Tokenizer
    normalize: bool
    dims: int
    prompt: str
    truncation: Truncation
    threads: int
    precision: Precision = "float32"
    ranges: FloatArray | None = None

    @property
    def ranges_key(self) -> RangesKey:
        """Which ranges these vectors have."""
        return RangesKey(self.normalize, self.dims)

    @property
    def width(self) -> int:
        """Numbers of a vector in the precision."""
        return width_of(self.precision, self.dims)

    @property
    def dtype(self) -> np.dtype[Any]:
        """What an array of vectors in the precision holds."""
        return DTYPES[self.precision]

    def write(
        self,
        texts: tuple[str, ...],
        out: NDArray[Any],
        *,
        first_number: int = 0,
        shown_step: int | None = None,
    ) -> int:
        """Write the vectors of texts.

        Args:
            texts: of str only.
            out: [texts, width] of `dtype`, written.
            first_number: number of the first text, for errors.
            shown_step: step of a progress bar on stderr; None shows none.

        Returns:
            How many texts truncation cut.

        Raises:
            TypeError: a text is not a str (names its number).
            ValueError: a text or the prompt holds a surrogate (names the text's number).
            ModelFormatError: the tokenizer does not hold what it asks for itself.
        """
        is_exact = self.precision == "float32"
        if is_exact and shown_step is None and len(texts) <= BLOCK_TEXTS:  # one text is fast so
            return self._write_floats(texts, out, first_number)
        floats = out if is_exact else self.scratch(len(texts))
        cut_texts = 0
        for block in self.blocks(texts, floats, first_number=first_number, shown_step=shown_step):
            cut_texts += block.cut_texts
            if not is_exact:
                quantize(block.vectors, self.precision, out[block.texts], self.ranges)
        return cut_texts

    def scratch(self, texts: int) -> FloatArray:
        """Room for the blocks of this many texts, float32 [rows, dims]."""
        return np.empty((min(texts, ROUNDED_BLOCK_TEXTS), self.dims), np.float32)

    def blocks(
        self,
        texts: tuple[str, ...],
        into: FloatArray,
        *,
        first_number: int = 0,
        shown_step: int | None = None,
    ) -> Iterator[Block]:
        """The vectors of texts before they are rounded, a block after the other.

        Args:
            into: float32 [texts, dims], written; or fewer rows, which every block overwrites.
            texts, first_number, shown_step: as for `write`.
        """
        is_whole = len(into) == len(texts)
        most = BLOCK_TEXTS if shown_step is None else SHOWN_BLOCK_TEXTS
        parts = slices(len(texts), most if is_whole else min(most, len(into)))
        if shown_step is not None:
            parts = _shown(parts, len(texts), shown_step)
        for part in parts:
            vectors = into[part] if is_whole else into[: part.stop - part.start]
            cut_texts = self._write_floats(texts[part], vectors, first_number + part.start)
            yield Block(part, vectors, cut_texts)

    def write_batches(
        self, batches: Iterable[_core.TextBatch]
    ) -> tuple[list[_core.VectorRows], int]:
        """The vectors of Arrow batches, float32, and how many texts truncation cut.

        Raises:
            ValueError: as `write`, and where a text is not UTF-8; what ``batches`` raises.
            ModelFormatError: as `write`.
        """
        parts = []
        cut_texts = taken = 0
        for batch in batches:
            rows = _core.VectorRows(batch, self.dims)
            for part in slices(len(batch), BLOCK_TEXTS):
                block = batch.block(part.start, part.stop)
                cut_texts += self._write_floats(block, rows.array[part], taken + part.start)
            rows.blank_nulls()
            parts.append(rows)
            taken += len(batch)
        return parts, cut_texts

    def _write_floats(
        self, texts: tuple[str, ...] | _core.TextBlock, out: FloatArray, first_number: int
    ) -> int:
        return write_floats(
            self.model,
            self.tokenizer,
            texts,
            self.truncation,
            out,
            prompt=self.prompt,
            normalize=self.normalize,
            first_number=first_number,
            threads=self.threads,
        )


def write_floats(
    model: Model,
    tokenizer: Tokenizer,
    texts: tuple[str, ...] | _core.TextBlock,
    truncation: Truncation,
    out: FloatArray,
    *,
    prompt: str = "",
    normalize: bool,
    first_number: int = 0,
    threads: int = 1,
    kernel: str | None = None,
    piece_characters: int | None = None,
) -> int:
    """Write vectors of texts: the mean of the rows of each text's ids, and the model's head.

    Args:
        model: whose vectors.
        tokenizer: of the model.
        texts: of str only, or of an Arrow array, in which a null has no tokens.
        truncation: the tokenizer's, or another.
        out: float32 [texts, dims], written.
        prompt: stands before each text.
        normalize: scale each vector to length 1, after truncation to these dims.
        first_number: number of the first text, for errors.
        threads: at most this many.
        kernel: an instruction set; None: the fastest. Only where the tokenizer is native.
        piece_characters: longer texts are read in pieces; None: as is fastest. Ditto.

    Returns:
        How many texts truncation cut.

    Raises:
        TypeError: a text is not a str (names its number).
        ValueError: a text holds a lone surrogate, or is not UTF-8 (names its number); the prompt
            holds a lone surrogate.
        ModelFormatError: the tokenizer does not hold what it asks for itself.
    """
    if not isinstance(tokenizer, NativeTokenizer):
        if isinstance(texts, _core.TextBlock):  # a null stays without the prompt
            with_prompt = prompted(texts.strings(), prompt)
            strings = tuple("" if text is None else text for text in with_prompt)
        else:
            strings = prompted(texts, prompt)
        return _write_floats_by_package(
            model, tokenizer, strings, truncation, out, normalize, first_number, threads
        )
    try:
        return _core.encode(
            tokenizer.native,
            model.table.native,
            texts,
            out,
            prompt=prompt,
            dynamic_tanh=model.native_dynamic_tanh,
            normalization=model.normalization,
            normalize=normalize,
            wide_sums=model.wide_sums,
            rules=tokenizer.native_rules,
            max_length=truncation.max_length,
            keep_end=truncation.keep_end,
            max_characters=tokenizer.rules.max_characters(truncation),
            first_number=first_number,
            threads=threads,
            kernel=kernel,
            piece_characters=piece_characters,
        )
    except TypeError:
        if not isinstance(texts, _core.TextBlock):
            check_texts(texts, first_number)  # says more of it
        raise


def _write_floats_by_package(
    model: Model,
    tokenizer: Tokenizer,
    texts: tuple[str, ...],
    truncation: Truncation,
    out: FloatArray,
    normalize: bool,
    first_number: int,
    threads: int,
) -> int:
    row_of_id, weight_of_id = tokenizer.rules.row_of_id, tokenizer.rules.weight_of_id
    cut_texts = begin = 0
    for batch in text_batches(texts, PACKAGE_BLOCK_TEXTS, PACKAGE_BLOCK_CHARACTERS):
        end = begin + len(batch)
        tokens = tokenizer.encode_batch(batch, truncation, first_number=first_number + begin)
        cut_texts += tokens.cut_texts
        weights = None if weight_of_id is None else weight_of_id[tokens.ids]
        is_wide = weights is not None and (model.wide_sums or weights.dtype == np.float64)
        _core.pool(
            model.table.native,
            tokens.ids if row_of_id is None else row_of_id[tokens.ids],
            tokens.offsets,
            out[begin:end],
            weights=None if is_wide else weights,
            wide_weights=weights if is_wide else None,
            dynamic_tanh=model.native_dynamic_tanh,
            mean=True,
            normalization=model.normalization,
            normalize=normalize,
            wide_sums=model.wide_sums,
            threads=threads,
        )
        begin = end
    return cut_texts


def _shown(blocks: Iterator[slice], texts: int, step: int) -> Iterator[slice]:
    """The blocks, with a bar on stderr that moves as each is done."""
    from nibblevec._progress import ProgressBar

    with ProgressBar(total=-(-texts // step), desc="Batches") as bar:
        for block in blocks:
            yield block
            bar.update(-(-block.stop // step) - bar.n)
