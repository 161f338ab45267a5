"""Texts to vectors, in each way that a caller may hand them over."""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, overload

import numpy as np

from nibblevec._blocks import batches
from nibblevec._compat.arguments import check_device
from nibblevec._precision import (
    RangesKey,
    centred_ranges,
    greatest_magnitude,
    has_ranges,
    quantize,
    ranges_of_vectors,
)
from nibblevec._settings import EncoderSettings
from nibblevec._table import output_array
from nibblevec._texts import (
    check_iterable,
    check_options,
    one_by_one,
    prompted,
    taken_texts,
)
from nibblevec._vectors import BLOCK_TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from nibblevec._arrow_columns import ArrowVectors, ListType, Nulls
    from nibblevec._encode_options import ArrayOptions, EncodeOptions
    from nibblevec._precision import Precision
    from nibblevec._texts import Errors, MissingTexts
    from nibblevec._vectors import VectorCall

    FloatArray = NDArray[np.float32]


# Under which name this package has logged since its first version.
LOGGER = "nibblevec.encoder"


class EncodingMethods(EncoderSettings):
    """The methods of an `Encoder` that take texts."""

    @overload
    def encode(
        self,
        inputs: str | Iterable[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *,
        output_value: Literal["sentence_embedding"] = "sentence_embedding",
        convert_to_numpy: Literal[True] = True,
        convert_to_tensor: Literal[False] = False,
        **options: Unpack[ArrayOptions],
    ) -> NDArray[Any]: ...

    @overload  # Tensors, or a list of them or of dicts
    def encode(
        self,
        inputs: str | Iterable[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        **options: Unpack[EncodeOptions],
    ) -> Any: ...

    @overload  # options without names
    def encode(
        self,
        inputs: str | Iterable[str] | None,
        prompt_name: str | None,
        prompt: str | None,
        batch_size: SupportsIndex,
        /,
        *options_in_order: Any,
        **options: Unpack[EncodeOptions],
    ) -> Any: ...

    # The third signature names none of its eleven, which mypy would have here as `*options`.
    def encode(  # type: ignore[misc]
        self,
        inputs: str | Iterable[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: SupportsIndex = 32,
        show_progress_bar: bool | None = None,
        output_value: str | None = "sentence_embedding",
        precision: Precision | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: object = None,
        normalize_embeddings: bool = False,
        truncate_dim: SupportsIndex | None = None,
        pool: Mapping[str, Any] | None = None,  # noqa: ARG002
        chunk_size: SupportsIndex | None = None,
        *,
        threads: SupportsIndex | None = None,
        out: NDArray[Any] | None = None,
        errors: Errors = "raise",
        nulls: MissingTexts = "error",
        ranges: Literal["call"] | None = None,
        sentences: str | Iterable[str] | None = None,
    ) -> Any:
        """Embed texts.

        Those before ``threads`` are sentence-transformers' arguments, in its order. ``batch_size``
        is the step of the progress bar; ``pool``, ``chunk_size`` and ``device`` (warns if it is not
        the CPU) change nothing.

        Args:
            inputs: one text, or any iterable of texts, taken before work begins; or ``sentences``.
            prompt_name: put the prompt of this name before each text.
            prompt: put this before each text; wins over ``prompt_name``. If neither is given, the
                model's default prompt is taken.
            show_progress_bar: on stderr; None shows it if this package logs at INFO or below.
            output_value: ``"sentence_embedding"``; None gives a dict of Tensors for each text.
            precision: ``"float32"`` (also None), ``"float16"``, ``"int8"``, ``"uint8"``,
                ``"binary"`` (bits - 128) or ``"ubinary"`` (eight dims a byte, the first in the
                highest bit: 1 if the value is above 0).
            convert_to_numpy: an array; False gives a list of Tensors, or a Tensor for one str.
            convert_to_tensor: a Tensor; wins over ``convert_to_numpy``.
            normalize_embeddings: scale each vector, after truncation, to length 1.
            truncate_dim: first N dims; None means those of the constructor.
            threads: at most N; None means the constructor's, else all that this process may use.
            out: C-contiguous array of the result's type and shape, written and returned.
            errors: ``"replace"`` repairs surrogates, of the prompt too; ``"raise"`` refuses them.
            nulls: ``"empty"`` takes a missing text (see `pandas.isna`) as an empty one.
            ranges: of int8 and uint8: None, stored or of `fit_ranges`; ``"call"``, of this call's
                vectors, as sentence-transformers does.

        Returns:
            float32 [texts, dims]; [dims] for a single str. Other precisions: float16, int8, uint8;
            ceil(dims / 8) bytes for bits. A text without tokens gets the head of zeros.

        Raises:
            TypeError: a text is not a str (names its number); no ``inputs``, or given twice.
            ValueError: a surrogate (names the text's number), an option out of its range, an
                unknown prompt, an ``out`` that does not fit, no ranges for int8 or uint8.
            ModelFormatError: the tokenizer of the model is not one.
            ImportError: Tensors are asked for, and torch is missing.

        >>> from nibblevec import Encoder
        >>> Encoder().encode(["Tea.", "A cup."], precision="ubinary", truncate_dim=64).shape
        (2, 8)
        """
        if sentences is not None:
            inputs = _the_one(inputs, sentences)
        step = _at_least_1(batch_size, "batch_size")
        if chunk_size is not None:
            _at_least_1(chunk_size, "chunk_size")
        if device is not None:
            check_device(device)
        if ranges not in (None, "call"):
            raise ValueError(f"ranges must be None or 'call', not {ranges!r:.80}")
        gives_vectors = output_value == "sentence_embedding"
        call = self._planned_call(
            normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
            prompt_name=prompt_name,
            prompt=prompt,
            threads=threads,
            errors=errors,
            precision=precision,
            needs_ranges=gives_vectors and ranges is None,
        )
        is_single = isinstance(inputs, str)
        texts = taken_texts(inputs, nulls=nulls, errors=errors)
        if not gives_vectors:
            _check_asks_for_features(output_value, call.precision, out)
            features = self._features(texts, call)
            return features[0] if is_single else features
        is_shown = _logs_info() if show_progress_bar is None else show_progress_bar
        width = call.width
        vectors = output_array(out, (width,) if is_single else (len(texts), width), call.dtype)
        rows = vectors.reshape(len(texts), width)  # a view: `vectors` is contiguous
        self._write(call, texts, rows, shown_step=step if is_shown else None)
        if convert_to_numpy and not convert_to_tensor:
            return vectors
        from nibblevec._compat.tensors import tensors_of

        return tensors_of(vectors, as_list=not convert_to_tensor)

    def _write(
        self, call: VectorCall, texts: tuple[str, ...], out: NDArray[Any], shown_step: int | None
    ) -> None:
        """Write the vectors of texts; without ranges, int8 and uint8 take those of the call."""
        if has_ranges(call.precision) and call.ranges is None:
            floats = np.empty((len(texts), call.dims), np.float32)
            exact = call._replace(precision="float32")
            cut_texts = exact.write(texts, floats, shown_step=shown_step)
            if len(texts):
                quantize(floats, call.precision, out, ranges_of_vectors(floats))
        else:
            cut_texts = call.write(texts, out, shown_step=shown_step)
        self._report_truncation(cut_texts, len(texts))

    def _features(self, texts: tuple[str, ...], call: VectorCall) -> list[dict[str, torch.Tensor]]:
        vectors = np.empty((len(texts), call.dims), np.float32)
        cut_texts = call._replace(normalize=False).write(texts, vectors)
        self._report_truncation(cut_texts, len(texts))
        tokens = self._tokenizer.encode_batch(
            prompted(texts, call.prompt), call.truncation, threads=call.threads
        )
        from nibblevec._compat.tensors import features_of_texts

        return features_of_texts(tokens.ids, tokens.offsets, vectors)

    def fit_ranges(
        self,
        sample: Iterable[str],
        *,
        truncate_dim: SupportsIndex | Iterable[SupportsIndex] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        threads: SupportsIndex | None = None,
        errors: Errors = "raise",
        nulls: MissingTexts = "error",
    ) -> None:
        """Find the ranges that int8 and uint8 divide into steps, once for all calls of `encode`.

        All dims get one step, so large that the greatest number in the sample's vectors just fits:
        an int8 is a number over this step, rounded, and 127 or -128 at most; dot products and
        cosines stay what they are. There is a set for vectors that are normalised and one for those
        that are not, for each number of dims; a set for the same vectors is replaced.
        `save_pretrained` and pickling keep them.

        Args:
            sample: texts such as will be encoded; some thousands.
            truncate_dim: a number of dims, or several; None means those of the constructor.
            prompt_name, prompt, threads, errors, nulls: as for `encode`.

        Raises:
            TypeError: a text is not a str (names its number).
            ValueError: there are no texts; all vectors are zero, or one is not finite; others as
                `encode`.

        >>> from nibblevec import Encoder
        >>> model = Encoder()
        >>> model.fit_ranges(["Tea is a hot drink.", "A cup of tea."], truncate_dim=[96, 48])
        >>> model.encode("A drink.", truncate_dim=48, precision="int8").dtype
        dtype('int8')
        """
        texts = taken_texts(sample, nulls=nulls, errors=errors)
        if not texts:
            raise ValueError("the sample holds no texts")
        call = self._planned_call(
            prompt_name=prompt_name, prompt=prompt, threads=threads, errors=errors
        )
        sizes = truncate_dim if isinstance(truncate_dim, Iterable) else [truncate_dim]
        keys = [
            RangesKey(normalized, self._dims_of_call(size))
            for size in sizes
            for normalized in (False, True)
        ]
        fitted = {}
        for key in keys:
            call = call._replace(normalize=key.normalized, dims=key.dims)
            blocks = list(_greatest_and_cut(call, texts))
            greatest = [magnitude for magnitude, _ in blocks]
            fitted[key] = centred_ranges(float(np.max(greatest)), key.dims)
            self._report_truncation(sum(cut for _, cut in blocks), len(texts))
        self._fitted_ranges = {**self._fitted_ranges, **fitted}

    def encode_iter(
        self,
        texts: Iterable[str],
        *,
        batch_size: SupportsIndex = BLOCK_TEXTS,
        precision: Precision | None = "float32",
        normalize_embeddings: bool = False,
        truncate_dim: SupportsIndex | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        threads: SupportsIndex | None = None,
        errors: Errors = "raise",
        nulls: MissingTexts = "error",
    ) -> Iterator[NDArray[Any]]:
        """Embed texts as they come, ``batch_size`` at a time; no more of them are kept.

        Args:
            texts: any iterable of texts, endless ones too; it is read only as far as arrays are
                asked for.
            batch_size: texts of an array.
            precision, normalize_embeddings, truncate_dim: as for `encode`, like the rest.
            prompt_name, prompt, threads, errors, nulls: ditto.

        Returns:
            Iterator over float32 [batch_size, dims], or what `encode` gives in another precision;
            the last array has the rest of the texts.

        Raises:
            TypeError: ``texts`` is a str, or no iterable; later, a text is not a str (names its
                number, counted from the first text of all).
            ValueError: as `encode`.

        >>> from nibblevec import Encoder
        >>> texts = (f"Tea number {number}." for number in range(5))
        >>> [vectors.shape for vectors in Encoder().encode_iter(texts, batch_size=2)]
        [(2, 512), (2, 512), (1, 512)]
        """
        if isinstance(texts, str):  # an iterable of its characters
            raise TypeError("expected an iterable of str, not str")
        check_iterable(texts, "an iterable of str")
        check_options(nulls, errors)
        call = self._planned_call(
            normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
            prompt_name=prompt_name,
            prompt=prompt,
            threads=threads,
            errors=errors,
            precision=precision,
        )
        return self._encode_each(
            (
                taken_texts(batch, nulls=nulls, errors=errors)
                for batch in batches(one_by_one(texts), _at_least_1(batch_size, "batch_size"))
            ),
            call,
        )

    def _encode_each(
        self, taken: Iterator[tuple[str, ...]], call: VectorCall
    ) -> Iterator[NDArray[Any]]:
        cut_texts = count = 0
        for texts in taken:
            vectors = np.empty((len(texts), call.width), call.dtype)
            cut_texts += call.write(texts, vectors, first_number=count)
            count += len(texts)
            self._report_truncation(cut_texts, count)
            yield vectors

    def encode_arrow(
        self,
        obj: Any,
        *,
        column: str | None = None,
        nulls: Nulls = "null",
        list_type: ListType = "fixed",
        normalize_embeddings: bool = False,
        truncate_dim: SupportsIndex | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        threads: SupportsIndex | None = None,
    ) -> ArrowVectors:
        """Embed a column of texts from any library that speaks the Arrow C interface.

        The texts are read where they lie. Neither this nor the result needs pyarrow.

        Args:
            obj: an array, a chunked array, a series, a record batch, a table, a stream of them:
                anything with ``__arrow_c_array__`` or ``__arrow_c_stream__``, or with a
                ``to_reader()``; a Dataset or Scanner of pyarrow, a connection of DuckDB. Texts are
                strings or UTF-8 in binary, of any Arrow type, or a dictionary of these. A stream is
                read to its end, a few arrays at a time.
            column: of a table, the name of the column of texts.
            nulls: a text that is null gives a null (``"null"``), what an empty text gives
                (``"empty"``), or a ValueError (``"error"``).
            list_type: what a vector is to Arrow: ``"fixed"`` is FixedSizeList<float32>[dims],
                ``"list"`` List<float32>, for engines that do not know the former (Spark).
            normalize_embeddings, truncate_dim, prompt_name, prompt, threads: as for `encode`.

        Returns:
            A vector for each text, with the bits of `encode`; any Arrow library takes them, and
            `ArrowVectors.to_numpy` gives an array.

        Raises:
            TypeError: ``obj`` does not speak the interface, or holds no texts (names the column
                and its type); ``column`` is no str.
            ValueError: there is no such column, or none is named; a text is not UTF-8, or null
                with ``nulls="error"`` (names its number); an array contradicts itself or Arrow's
                specification, as far as can be seen: the interface gives the size of almost no
                buffer, so a wrong one may crash; further as `encode`.
            OSError: the producer of a stream failed; a ValueError or MemoryError where it says so
                (EINVAL, as pyarrow does for errors of Python, or ENOMEM).
            ModelFormatError: the tokenizer of the model is not one.
        """
        from nibblevec import _arrow_columns

        _arrow_columns.check_choice(nulls, _arrow_columns.Nulls, "nulls")
        _arrow_columns.check_choice(list_type, _arrow_columns.ListType, "list_type")
        call = self._planned_call(
            normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
            prompt_name=prompt_name,
            prompt=prompt,
            threads=threads,
        )
        parts, cut_texts = call.write_batches(_arrow_columns.text_batches(obj, column, nulls))
        self._report_truncation(cut_texts, sum(map(len, parts)))
        return _arrow_columns.ArrowVectors(parts, call.dims, list_type)

    def tokenize(
        self,
        texts: str | Iterable[str],
        *,
        threads: SupportsIndex | None = None,
        errors: Errors = "raise",
        nulls: MissingTexts = "error",
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The token ids that `encode` takes the rows of.

        They equal those of the `tokenizers` package for the same ``tokenizer.json``, without
        special tokens and padding.

        Args:
            texts: any iterable of texts; a str is one text.
            threads, errors, nulls: as for `encode`.

        Returns:
            ids uint32 [tokens] of all texts end to end; offsets int64 [n + 1], where each text
            begins, and the end of the last.

        Raises:
            TypeError: a text is not a str (names its number).
            ValueError: a text holds a surrogate (names its number); ``threads`` is below 1.

        >>> from nibblevec import Encoder
        >>> ids, offsets = Encoder().tokenize(["Tea, please!", ""])
        >>> ids.tolist(), offsets.tolist()
        ([5572, 1010, 3531, 999], [0, 4, 4])
        """
        taken = taken_texts(texts, nulls=nulls, errors=errors)
        threads = self._threads_of_call(threads)
        tokens = self._tokenizer.encode_batch(taken, self._truncation, threads=threads)
        self._report_truncation(tokens.cut_texts, len(taken))
        return tokens.ids, tokens.offsets

    def _report_truncation(self, cut_texts: int, texts: int) -> None:
        self._truncated_texts = cut_texts
        if cut_texts and _logs_info():
            with suppress(OSError, ValueError):  # a handler's stderr is closed
                sys.modules["logging"].getLogger(LOGGER).info(
                    "%d of %d texts were cut to %s tokens", cut_texts, texts, self.max_seq_length
                )


def _logs_info() -> bool:
    """Whether this package logs at INFO or below; not while nobody has imported `logging`."""
    logging = sys.modules.get("logging")
    if logging is None:
        return False
    return bool(logging.getLogger(LOGGER).getEffectiveLevel() <= logging.INFO)


def _greatest_and_cut(call: VectorCall, texts: tuple[str, ...]) -> Iterator[tuple[float, int]]:
    """The greatest magnitude of each block of vectors, and how many texts truncation cut in it."""
    for block in call.blocks(texts, call.scratch(len(texts))):
        yield greatest_magnitude(block.vectors), block.cut_texts


def _the_one(
    inputs: str | Iterable[str] | None, sentences: str | Iterable[str]
) -> str | Iterable[str]:
    if inputs is not None:
        raise TypeError("inputs and sentences are two names of one argument")
    return sentences


def _at_least_1(number: SupportsIndex, name: str) -> int:
    count = operator.index(number)
    if count < 1:
        raise ValueError(f"{name} must be at least 1, not {count}")
    return count


def _check_asks_for_features(
    output_value: str | None, precision: Precision, out: NDArray[Any] | None
) -> None:
    if output_value == "token_embeddings":
        raise ValueError(
            "output_value 'token_embeddings': a static model has none that depend on the text;"
            " Table.dequantize gives the rows of tokenize's ids"
        )
    if output_value is not None:
        raise ValueError(f"output_value must be 'sentence_embedding' or None, not {output_value!r}")
    if precision != "float32" or out is not None:
        raise ValueError("output_value None gives float32 Tensors of its own: no precision, no out")
