"""Text in, vectors out."""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from nibblevec import _core
from nibblevec._compat import (
    ModelCardData,
    SentenceTransformerMethods,
    check_constructor_arguments,
    check_device,
    checked_prompts,
    features_of_texts,
    in_type_asked,
)
from nibblevec._hub import ModelSource, find_model
from nibblevec._layouts import load_model
from nibblevec._model import IMPLIED_PROMPT_NAMES
from nibblevec._precision import (
    DTYPES,
    RangesOf,
    centred_ranges,
    checked_precision,
    columns,
    greatest_magnitude,
    has_ranges,
    quantize,
    ranges_of_vectors,
    stored_ranges,
)
from nibblevec._similarity import checked_similarity, similarity, similarity_pairwise
from nibblevec._table import Table, checked_dims, output_array
from nibblevec._texts import (
    check_iterable,
    check_options,
    one_by_one,
    taken_texts,
    without_surrogates,
)
from nibblevec._threads import thread_count
from nibblevec._token_rules import Truncation
from nibblevec._tokenization import load_package_tokenizer, prompted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sized

    import tokenizers
    import torch

    from nibblevec._arrow_columns import ArrowVectors, ListType
    from nibblevec._arrow_columns import Nulls as ArrowNulls
    from nibblevec._model import Model
    from nibblevec._precision import Precision
    from nibblevec._similarity import SimilarityName
    from nibblevec._texts import Errors, Nulls

    FloatArray = NDArray[np.float32]

BUNDLED_MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models", "default")

# Texts go to the native code so many at a time, which bounds what is kept of them there, or fewer
# where progress is shown, or where vectors in float32 are made only to be rounded.
BLOCK_TEXTS = 1 << 14
ROUNDED_BLOCK_TEXTS = 1 << 12
SHOWN_BLOCK_TEXTS = 1 << 10


class _Call(NamedTuple):
    """What a call asks for, checked and as it was when the call began."""

    kind: RangesOf  # whether vectors are normalised, and their dims
    prompt: str
    truncation: Truncation
    threads: int


class Encoder(SentenceTransformerMethods):
    """A static text-embedding model: the mean of the rows of a text's tokens, then its head.

    The table stays in its own bytes, mapped into memory. The same text gives the same bits whatever
    the batch, its neighbours, the number of threads and the CPU.

    Args:
        model_name_or_path: folder of a model (SSE, quantised or float; StaticEmbedding of
            sentence-transformers; Model2Vec), a GGUF file, or the name of a repository on the
            Hugging Face hub, one of sentence-transformers if no owner is named; None means the
            bundled model (English, 512 dims). A path that exists wins over a repository and makes
            no network call.
        device: another than the CPU gives a warning, and is not used.
        truncate_dim: keep only the first so many dims (Matryoshka), and compute no more unless the
            model scales its vectors itself; None means what the model says, or all.
        prompts: what may be put before texts, by name; added to those of the model, and instead of
            those of the same names.
        default_prompt_name: the prompt of texts for which none is asked; None means the model's.
        similarity_fn_name: how `similarity` compares: cosine, dot, euclidean or manhattan; None
            means as the model says, else cosine.
        max_seq_length: cut each text after so many tokens; None means what the model says.
        threads: default of `encode`.
        quantize: pack the table of a float model at load: ``"sse_q4"``, ``"q4_k"`` or ``"q6_k"``,
            see `Table.quantize`. One that is packed so already stays as it is.
        mmap: map the table into memory; False reads it. A mapped file must not be cut or changed
            in place while it is in use (replacing it is fine).
        cache_folder: where files from the hub are kept; None means the folder that
            ``SENTENCE_TRANSFORMERS_HOME`` names, else the hub's usual place.
        revision: branch, tag or commit on the hub; None means ``main``.
        token: of the hub; None means the stored one if there is one.
        local_files_only: take from the hub only what was fetched before; no network call.
        trust_remote_code: taken since code for sentence-transformers passes it; no code of a model
            is ever run.
        modules: None or empty.
        use_auth_token: None, False or ``token``.
        model_kwargs: None, empty, or what is done anyway: ``dtype`` or ``torch_dtype`` float32,
            ``device_map`` the CPU.
        processor_kwargs: None or empty.
        config_kwargs: None or empty.
        model_card_data: None.
        backend: ``"torch"``.
        tokenizer_kwargs: None or empty.

    Raises:
        OSError: a file of the model is missing, cannot be read, or is not a regular file; the hub
            did not give it.
        ModelFormatError: a file does not hold what it must.
        ValueError: the folder holds no model; ``truncate_dim`` is not in 1..dim; ``threads`` < 1;
            ``max_seq_length`` < 1; there is no prompt of the name ``default_prompt_name``, or no
            function ``similarity_fn_name``; ``quantize`` is no packed format, the table is packed
            in another one, or its dims or weights do not fit it; an argument of
            sentence-transformers asks for what is not done here (says why).

    >>> model = Encoder()
    >>> vectors = model.encode(["Tea is a hot drink.", "A cup of tea.", "The stock market fell."])
    >>> vectors.shape, vectors.dtype
    ((3, 512), dtype('float32'))
    >>> scores = model.similarity(vectors, vectors)
    >>> bool(scores[0, 1] > scores[0, 2])
    True
    """

    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str] | None = None,
        *,
        device: object = None,
        truncate_dim: SupportsIndex | None = None,
        prompts: Mapping[str, str | None] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: SimilarityName | None = None,
        max_seq_length: SupportsIndex | None = None,
        threads: SupportsIndex | None = None,
        quantize: str | None = None,
        mmap: bool = True,
        cache_folder: str | os.PathLike[str] | None = None,
        revision: str | None = None,
        token: bool | str | None = None,
        local_files_only: bool = False,
        trust_remote_code: bool = False,  # noqa: ARG002
        modules: Iterable[Any] | None = None,
        use_auth_token: bool | str | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        config_kwargs: Mapping[str, Any] | None = None,
        model_card_data: None = None,
        backend: str = "torch",
        tokenizer_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        check_constructor_arguments(
            token=token,
            use_auth_token=use_auth_token,
            model_kwargs=model_kwargs,
            backend=backend,
            modules=modules,
            processor_kwargs=processor_kwargs,
            config_kwargs=config_kwargs,
            model_card_data=model_card_data,
            tokenizer_kwargs=tokenizer_kwargs,
        )
        check_device(device)
        self._source: ModelSource | None = None  # the bundled model
        if model_name_or_path is not None:
            self._source = find_model(
                model_name_or_path,
                cache_folder=cache_folder,
                revision=revision,
                token=token,
                local_files_only=local_files_only,
            )
        self._options = {
            "quantize": quantize,
            "mmap": bool(mmap),
            "cache_folder": cache_folder,
            "local_files_only": bool(local_files_only),
        }
        if self._source is None:
            self._model = load_bundled_model(mmap=bool(mmap))
        else:
            self._model = load_model(self._source.folder, mmap=bool(mmap))
        if quantize is not None:
            from nibblevec._layouts.conversion import packed

            threads_now = thread_count(threads)
            self._model = packed(self._model, quantize, threads=threads_now)
        self.truncate_dim = self._model.truncate_dim if truncate_dim is None else truncate_dim
        self._prompts = {**dict.fromkeys(IMPLIED_PROMPT_NAMES, ""), **self._model.prompts}
        for name, text in checked_prompts(prompts or {}).items():
            self._prompts[name] = self._prompts.get(name, "") if text is None else text
        self.default_prompt_name = default_prompt_name or self._model.default_prompt_name
        self.similarity_fn_name = similarity_fn_name
        self._threads = None if threads is None else thread_count(threads)
        self._tokenizer = self._model.load_tokenizer()
        self._package_tokenizer: tokenizers.Tokenizer | None = None
        self._truncation = self._tokenizer.truncation
        if max_seq_length is not None:
            self.max_seq_length = max_seq_length
        self._truncated_texts = 0
        self._fitted_ranges: dict[RangesOf, FloatArray] = {}
        self._model_card_data = ModelCardData(
            self._model.name if self._source is None else self._source.name
        )

    @overload
    def encode(
        self,
        inputs: str | Iterable[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: SupportsIndex = 32,
        show_progress_bar: bool | None = None,
        output_value: Literal["sentence_embedding"] = "sentence_embedding",
        precision: Precision | None = "float32",
        convert_to_numpy: Literal[True] = True,
        convert_to_tensor: Literal[False] = False,
        device: object = None,
        normalize_embeddings: bool = False,
        truncate_dim: SupportsIndex | None = None,
        pool: Mapping[str, Any] | None = None,
        chunk_size: SupportsIndex | None = None,
        *,
        threads: SupportsIndex | None = None,
        out: NDArray[Any] | None = None,
        errors: Errors = "raise",
        nulls: Nulls = "error",
        ranges: Literal["call"] | None = None,
        sentences: str | Iterable[str] | None = None,
    ) -> NDArray[Any]: ...

    @overload  # Tensors, or a list of them or of dicts
    def encode(
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
        pool: Mapping[str, Any] | None = None,
        chunk_size: SupportsIndex | None = None,
        *,
        threads: SupportsIndex | None = None,
        out: NDArray[Any] | None = None,
        errors: Errors = "raise",
        nulls: Nulls = "error",
        ranges: Literal["call"] | None = None,
        sentences: str | Iterable[str] | None = None,
    ) -> Any: ...

    def encode(
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
        nulls: Nulls = "error",
        ranges: Literal["call"] | None = None,
        sentences: str | Iterable[str] | None = None,
    ) -> Any:
        """Embed texts.

        The arguments before ``threads`` are those of sentence-transformers, in its order.

        Args:
            inputs: one text; or a list, a tuple, an array of NumPy or pyarrow, a Series of pandas
                or polars, a column of datasets, a generator, any iterable of texts (they are all
                taken before work begins).
            prompt_name: put the prompt of this name before each text.
            prompt: put this before each text, whatever ``prompt_name`` says. Where neither is
                given, the model's default prompt is taken, if it has one.
            batch_size: step of the progress bar; changes nothing else.
            show_progress_bar: on stderr, as long as that takes it. None shows it if this package
                logs at INFO or below.
            output_value: ``"sentence_embedding"``; None gives a dict of Tensors for each text:
                its ids as ``"input_ids"``, ``"offsets"``, and as ``"sentence_embedding"`` its
                vector, which is not normalised.
            precision: ``"float32"`` (so does None), ``"float16"``, ``"int8"``, ``"uint8"``,
                ``"binary"`` or ``"ubinary"``; applied last. int8 and uint8 cut the range that a dim
                has into 256 steps; binary and ubinary keep whether a number is above 0, eight dims
                in a byte, the first in its highest bit (sqlite-vec's ``vec_quantize_binary`` has it
                in the lowest). `similarity` and `semantic_search` take the same word.
            convert_to_numpy: an array; False gives a list of Tensors, or a Tensor for one str.
            convert_to_tensor: a Tensor, whatever ``convert_to_numpy`` says.
            device: one, or a list; another than the CPU gives a warning, and is not used.
            normalize_embeddings: scale each vector, after truncation, to length 1. A model that
                normalises by itself has done so before truncation.
            truncate_dim: first so many dims; None means those of the constructor.
            pool: one of `start_multi_process_pool`; changes nothing.
            chunk_size: changes nothing.
            threads: at most so many; None means the constructor's, else all that this process may
                use. Short work takes one. (Where the tokenizer is not native, the `tokenizers`
                package has threads of its own, as many as ``RAYON_NUM_THREADS`` says.)
            out: an array or ``np.memmap`` of the type and shape of the result, C-contiguous:
                written and returned. After an error its content is undefined.
            errors: ``"replace"`` makes a surrogate pair the character that it stands for, and puts
                U+FFFD in place of a lone surrogate, in the prompt too; ``"raise"`` refuses both.
            nulls: ``"empty"`` takes what stands for a missing text (None, NaN, NaT, pandas' NA: as
                `pandas.isna` says) as an empty one; ``"error"`` refuses it.
            ranges: what int8 and uint8 divide into steps. None: the ranges that came with the model
                or from `fit_ranges`, so that a text's vector depends on nothing else. ``"call"``:
                those of this call's own vectors, as sentence-transformers does.
            sentences: another name of ``inputs``.

        Returns:
            float32 [texts, dims]; [dims] for a single str. A text without tokens gets the head of
            zeros, which with a Dynamic Tanh is no zero, and a unit vector if normalised;
            docs/model.md tells how to leave such texts out. Other precisions give float16 or int8
            or uint8; binary (int8) and ubinary (uint8) have an eighth of the dims, rounded up. See
            ``convert_to_numpy`` and ``output_value``.

        Raises:
            TypeError: a text is not a str (names its row); ``inputs`` are missing, or given twice.
            ValueError: a text holds a surrogate (names its row); there is no prompt of this
                name; ``truncate_dim`` is not in 1..dim; ``batch_size``, ``chunk_size`` or
                ``threads`` is below 1; ``out`` has another type, shape or layout; there are no
                ranges for int8 or uint8; an option has no such value.
            ModelFormatError: the tokenizer of the model is not one.
            ImportError: Tensors are asked for, and torch is missing.
        """
        if sentences is not None:
            inputs = _the_one(inputs, sentences)
        step = _at_least_1(batch_size, "batch_size")
        if chunk_size is not None:
            _at_least_1(chunk_size, "chunk_size")
        if device is not None:
            check_device(device)
        digits = checked_precision(precision)
        if ranges not in (None, "call"):
            raise ValueError(f"ranges must be None or 'call', not {ranges!r:.80}")
        call = self._call(normalize_embeddings, truncate_dim, prompt_name, prompt, threads, errors)
        single = isinstance(inputs, str)
        texts = taken_texts(inputs, nulls=nulls, errors=errors)
        shown = _logs_info() if show_progress_bar is None else show_progress_bar

        if output_value != "sentence_embedding":
            _check_asks_for_features(output_value, digits, out)
            features = self._features(texts, call)
            return features[0] if single else features
        stored = None
        if has_ranges(digits) and ranges is None:
            stored = stored_ranges(self.ranges, call.kind)
        width = columns(digits, call.kind.dims)
        vectors = output_array(out, (width,) if single else (len(texts), width), DTYPES[digits])
        rows = vectors.reshape(len(texts), width)  # a view: `vectors` is contiguous
        asked = (texts, call, step if shown else None)
        if has_ranges(digits) and stored is None:
            floats = np.empty((len(texts), call.kind.dims), np.float32)
            self._write_vectors(*asked, floats)
            if len(texts):
                quantize(floats, digits, rows, ranges_of_vectors(floats))
        else:
            self._write_vectors(*asked, rows, digits, stored)
        return in_type_asked(
            vectors, convert_to_numpy=convert_to_numpy, convert_to_tensor=convert_to_tensor
        )

    def fit_ranges(
        self,
        sample: Iterable[str],
        *,
        truncate_dim: SupportsIndex | Iterable[SupportsIndex] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        threads: SupportsIndex | None = None,
        errors: Errors = "raise",
        nulls: Nulls = "error",
    ) -> None:
        """Find the ranges that int8 and uint8 divide into steps, once for all calls of `encode`.

        All dims get one step, so large that the greatest number in the sample's vectors just fits:
        an int8 is a number over this step, rounded, and 127 or -128 at most; dot products and
        cosines stay what they are. There is a set for vectors that are normalised and one for those
        that are not, for each number of dims; a set of the same kind is replaced.
        `save_pretrained` and pickling keep them.

        Args:
            sample: texts such as will be encoded; some thousands.
            truncate_dim: a number of dims, or several; None means those of the constructor.
            prompt_name: as for `encode`.
            prompt: as for `encode`.
            threads: as for `encode`.
            errors: as for `encode`.
            nulls: as for `encode`.

        Raises:
            TypeError: a text is not a str (names its row).
            ValueError: there are no texts; all vectors are zero, or one is not finite; others as
                `encode`.

        >>> model = Encoder()
        >>> model.fit_ranges(["Tea is a hot drink.", "A cup of tea."], truncate_dim=[96, 48])
        >>> model.encode("A drink.", truncate_dim=48, precision="int8").dtype
        dtype('int8')
        """
        texts = taken_texts(sample, nulls=nulls, errors=errors)
        if not texts:
            raise ValueError("the sample holds no texts")
        call = self._call(False, None, prompt_name, prompt, threads, errors)
        sizes = truncate_dim if isinstance(truncate_dim, Iterable) else [truncate_dim]
        kinds = [
            RangesOf(normalized, self._dims_of_call(size))
            for size in sizes
            for normalized in (False, True)
        ]
        fitted = {}
        for kind in kinds:
            scratch = _scratch(texts, kind)
            blocks = self._vector_blocks(texts, call._replace(kind=kind), None, scratch)
            greatest = [greatest_magnitude(vectors) for _, vectors in blocks]
            fitted[kind] = centred_ranges(float(np.max(greatest)), kind.dims)
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
        nulls: Nulls = "error",
    ) -> Iterator[NDArray[Any]]:
        """Embed texts as they come, so many at a time; no more of them are kept.

        Args:
            texts: any iterable of texts, endless ones too; it is read only as far as arrays are
                asked for.
            batch_size: texts of an array.
            precision: as for `encode`, like the rest.
            normalize_embeddings: ditto.
            truncate_dim: ditto.
            prompt_name: ditto.
            prompt: ditto.
            threads: ditto.
            errors: ditto.
            nulls: ditto.

        Returns:
            Iterator over float32 [batch_size, dims], or what `encode` gives in another precision;
            the last array has the texts that are left.

        Raises:
            TypeError: ``texts`` is a str, or no iterable; later, a text is not a str (names its
                row, counted from the first text of all).
            ValueError: as `encode`.

        >>> texts = (f"Tea number {number}." for number in range(5))
        >>> [vectors.shape for vectors in Encoder().encode_iter(texts, batch_size=2)]
        [(2, 512), (2, 512), (1, 512)]
        """
        if isinstance(texts, str):  # an iterable of its characters
            raise TypeError("expected an iterable of str, not str")
        check_iterable(texts, "an iterable of str")
        check_options(nulls, errors)
        digits = checked_precision(precision)
        call = self._call(normalize_embeddings, truncate_dim, prompt_name, prompt, threads, errors)
        stored = stored_ranges(self.ranges, call.kind) if has_ranges(digits) else None
        batches = (
            taken_texts(batch, nulls=nulls, errors=errors)
            for batch in _batches(one_by_one(texts), _at_least_1(batch_size, "batch_size"))
        )
        return self._encode_each(batches, call, digits, stored)

    def _encode_each(
        self,
        batches: Iterator[tuple[str, ...]],
        call: _Call,
        digits: Precision,
        stored: FloatArray | None,
    ) -> Iterator[NDArray[Any]]:
        cut_texts = taken = 0
        for texts in batches:
            rows = np.empty((len(texts), columns(digits, call.kind.dims)), DTYPES[digits])
            self._write_vectors(
                texts, call, None, rows, digits, stored, first_row=taken, cut_before=cut_texts
            )
            cut_texts = self._truncated_texts
            taken += len(texts)
            yield rows

    def encode_arrow(
        self,
        obj: Any,
        *,
        column: str | None = None,
        nulls: ArrowNulls = "null",
        list_type: ListType = "fixed",
        normalize_embeddings: bool = False,
        truncate_dim: SupportsIndex | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        threads: SupportsIndex | None = None,
    ) -> ArrowVectors:
        """Embed a column of texts of any library that speaks the Arrow C interface.

        The texts are read where they lie. Neither this nor the result needs pyarrow.

        Args:
            obj: an array, a chunked array, a series, a record batch, a table, a stream of them:
                anything with ``__arrow_c_array__`` or ``__arrow_c_stream__``; or a Dataset or
                Scanner of pyarrow, a connection of DuckDB, whatever has a ``to_reader()``. The
                texts are string, large_string or string_view, UTF-8 in binary, large_binary,
                binary_view or fixed_size_binary, or a dictionary of these. A stream is read to its
                end, a few arrays at a time.
            column: of a table, the name of the column of texts.
            nulls: a text that is null gives a null (``"null"``), what an empty text gives
                (``"empty"``), or a ValueError (``"error"``).
            list_type: what a vector is to Arrow: ``"fixed"`` is FixedSizeList<float32>[dims],
                ``"list"`` List<float32>, for those who do not know the former (Spark).
            normalize_embeddings: as for `encode`, like the rest.
            truncate_dim: ditto.
            prompt_name: ditto.
            prompt: ditto.
            threads: ditto.

        Returns:
            The vectors, as many as there are texts, with the bits of `encode`; any Arrow library
            takes them, and `ArrowVectors.to_numpy` gives an array.

        Raises:
            TypeError: ``obj`` does not speak the interface, or holds no texts (names the column
                and its type); ``column`` is no str.
            ValueError: there is no such column, or none is named; a text is not UTF-8, or null
                with ``nulls="error"`` (names its row); an array contradicts itself or Arrow's
                specification, as far as can be seen: the interface gives the size of almost no
                buffer, so a wrong one may crash; further as `encode`.
            OSError: the producer of a stream failed; a ValueError or MemoryError where it says so
                (EINVAL, as pyarrow does for errors of Python, or ENOMEM).
            ModelFormatError: the tokenizer of the model is not one.
        """
        from nibblevec import _arrow_columns as arrow_columns

        arrow_columns.check_choice(nulls, arrow_columns.Nulls, "nulls")
        arrow_columns.check_choice(list_type, arrow_columns.ListType, "list_type")
        call = self._call(normalize_embeddings, truncate_dim, prompt_name, prompt, threads)
        parts = []
        cut_texts = taken = 0
        for batch in arrow_columns.text_batches(obj, column, nulls):
            rows = _core.VectorRows(batch, call.kind.dims)
            for block in _blocks(batch, BLOCK_TEXTS):
                cut_texts += self._encode_block(
                    batch.block(block.start, block.stop),
                    call,
                    rows.array[block],
                    first_row=taken + block.start,
                )
            rows.blank_nulls()
            parts.append(rows)
            taken += len(batch)
        self._report_truncation(cut_texts, taken)
        return arrow_columns.ArrowVectors(parts, call.kind.dims, list_type)

    def _vector_blocks(
        self,
        texts: tuple[str, ...],
        call: _Call,
        shown_step: int | None,
        into: FloatArray,
        *,
        first_row: int = 0,
        cut_before: int = 0,
    ) -> Iterator[tuple[slice, FloatArray]]:
        """The vectors of texts, a block after the other, and which of them these are.

        Args:
            texts: of str only.
            call: what is asked for.
            shown_step: step of a bar on stderr; None shows none.
            into: float32 [texts, dims]; or fewer rows, which each block is written over.
            first_row: so many texts of the same call came before.
            cut_before: so many of these were cut.
        """
        is_whole = len(into) == len(texts)
        most = BLOCK_TEXTS if shown_step is None else SHOWN_BLOCK_TEXTS
        blocks = _blocks(texts, most if is_whole else min(most, len(into)))
        if shown_step is not None:
            blocks = _shown(blocks, len(texts), shown_step)
        cut_texts = cut_before
        for block in blocks:
            vectors = into[block] if is_whole else into[: block.stop - block.start]
            cut_texts += self._encode_block(
                texts[block], call, vectors, first_row=first_row + block.start
            )
            yield block, vectors
        self._report_truncation(cut_texts, first_row + len(texts))

    def _write_vectors(
        self,
        texts: tuple[str, ...],
        call: _Call,
        shown_step: int | None,
        into: NDArray[Any],
        digits: Precision = "float32",
        stored: FloatArray | None = None,
        *,
        first_row: int = 0,
        cut_before: int = 0,
    ) -> None:
        """Writes [texts, columns] in a precision; the rest is as for `_vector_blocks`."""
        floats = into if digits == "float32" else _scratch(texts, call.kind)
        for block, vectors in self._vector_blocks(
            texts, call, shown_step, floats, first_row=first_row, cut_before=cut_before
        ):
            if digits != "float32":
                quantize(vectors, digits, into[block], stored)

    def _features(self, texts: tuple[str, ...], call: _Call) -> list[dict[str, torch.Tensor]]:
        vectors = np.empty((len(texts), call.kind.dims), np.float32)
        plain = call._replace(kind=RangesOf(False, call.kind.dims))
        self._write_vectors(texts, plain, None, vectors)
        tokens = self._tokenizer.encode_batch(
            prompted(texts, call.prompt), call.truncation, threads=call.threads
        )
        return features_of_texts(tokens.ids, tokens.offsets, vectors)

    def _encode_block(
        self,
        texts: tuple[str, ...] | _core.TextBlock,
        call: _Call,
        out: FloatArray,
        *,
        first_row: int,
    ) -> int:
        """Writes float32 [texts, dims]; returns how many texts were cut."""
        return self._tokenizer.encode_vectors(
            texts,
            call.truncation,
            self._model,
            out,
            prompt=call.prompt,
            normalize=call.kind.normalized,
            first_row=first_row,
            threads=call.threads,
        )

    def tokenize(
        self,
        texts: str | Iterable[str],
        *,
        threads: SupportsIndex | None = None,
        errors: Errors = "raise",
        nulls: Nulls = "error",
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The token ids that `encode` takes the rows of.

        They equal those of the `tokenizers` package for the same ``tokenizer.json``, without
        special tokens and padding.

        Args:
            texts: any iterable of texts; a str is one text.
            threads: as for `encode`.
            errors: as for `encode`.
            nulls: as for `encode`.

        Returns:
            ids uint32 [tokens] of all texts end to end; offsets int64 [n + 1], where each text
            begins, and the end of the last.

        Raises:
            TypeError: a text is not a str (names its row).
            ValueError: a text holds a surrogate (names its row); ``threads`` is below 1.

        >>> ids, offsets = Encoder().tokenize(["Tea, please!", ""])
        >>> ids.tolist(), offsets.tolist()
        ([5572, 1010, 3531, 999], [0, 4, 4])
        """
        taken = taken_texts(texts, nulls=nulls, errors=errors)
        tokens = self._tokenizer.encode_batch(
            taken,
            self._truncation,
            threads=thread_count(self._threads if threads is None else threads),
        )
        self._report_truncation(tokens.cut_texts, len(taken))
        return tokens.ids, tokens.offsets

    def preprocess(
        self,
        texts: str | Iterable[str],
        prompt: str | None = None,
        *,
        errors: Errors = "raise",
        nulls: Nulls = "error",
    ) -> dict[str, NDArray[np.int64]]:
        """The ids as sentence-transformers' static models pass them on.

        Args:
            texts: any iterable of texts; a str is one text.
            prompt: put this before each text.
            errors: as for `encode`.
            nulls: as for `encode`.

        Returns:
            ``"input_ids"``: int64 [tokens] of all texts end to end; ``"offsets"``: int64 [n],
            where each text begins.

        Raises:
            TypeError: a text is not a str (names its row).
            ValueError: a text holds a surrogate (names its row).
        """
        taken = taken_texts(texts, nulls=nulls, errors=errors)
        if errors == "replace":
            prompt = without_surrogates(prompt or "")
        ids, offsets = self.tokenize(prompted(taken, prompt or ""))
        return {"input_ids": ids.astype(np.int64), "offsets": offsets[:-1]}

    @property
    def tokenizer(self) -> tokenizers.Tokenizer:
        """The model's tokenizer, without padding, as an object of the `tokenizers` package.

        It is read when it is first asked for. `encode` has its own: what is changed here changes
        nothing there.
        """
        if self._package_tokenizer is None:
            tokenizer = self._model.tokenizer
            self._package_tokenizer = load_package_tokenizer(tokenizer.read(), tokenizer.path)
            self._package_tokenizer.no_padding()
        return self._package_tokenizer

    @property
    def table(self) -> Table:
        """The token embeddings, as they are packed; `Table.dequantize` gives rows as float32."""
        return self._model.table

    @property
    def prompts(self) -> dict[str, str]:
        """What `encode` may put before texts, by name. May be changed, or set to another dict."""
        return self._prompts

    @prompts.setter
    def prompts(self, prompts: dict[str, str]) -> None:
        checked_prompts(prompts)
        self._prompts = prompts

    @property
    def default_prompt_name(self) -> str | None:
        """Name of the prompt of texts for which none is asked; None means no prompt. May be set.

        If `prompts` has lost it since, there is no prompt.
        """
        return self._default_prompt_name

    @default_prompt_name.setter
    def default_prompt_name(self, name: str | None) -> None:
        if name is not None:
            _prompt(self._prompts, name)
        self._default_prompt_name = name

    @property
    def truncate_dim(self) -> int | None:
        """Vectors are cut to so many dims; None means that they are not. May be set."""
        return self._truncate_dim

    @truncate_dim.setter
    def truncate_dim(self, dims: SupportsIndex | None) -> None:
        self._dims = checked_dims(dims, self._model.table.dim, "truncate_dim")
        self._truncate_dim = None if dims is None else self._dims

    @property
    def ranges(self) -> dict[RangesOf, FloatArray]:
        """What int8 and uint8 divide into steps, by (normalised or not, dims).

        The least and the greatest number of each dim, float32 [2, dims]: those that came with the
        model, and those of `fit_ranges`.
        """
        return {**self._model.ranges, **self._fitted_ranges}

    @property
    def max_seq_length(self) -> int | None:
        """Texts are cut to so many tokens; None means that they are not.

        At first what the constructor was given, else what the model says. Which end of a text is
        cut off, usually the last, the model says too.
        """
        return self._truncation.max_length

    @max_seq_length.setter
    def max_seq_length(self, length: SupportsIndex | None) -> None:
        tokens = None if length is None else min(operator.index(length), sys.maxsize)
        if tokens is not None and tokens < 1:
            raise ValueError(f"max_seq_length must be at least 1, not {tokens}")
        self._truncation = Truncation(tokens, self._tokenizer.truncation.keep_end)

    @property
    def truncated_texts(self) -> int:
        """How many texts of the last call were cut at `max_seq_length`."""
        return self._truncated_texts

    @property
    def similarity_fn_name(self) -> SimilarityName:
        """How `similarity` and `similarity_pairwise` compare: cosine, dot, euclidean or manhattan.

        May be set, also to sentence-transformers' enum; None means as the model says, else cosine.
        """
        return self._similarity_fn_name

    @similarity_fn_name.setter
    def similarity_fn_name(self, name: SimilarityName | None) -> None:
        given = self._model.similarity_fn_name if name is None else name
        self._similarity_fn_name = checked_similarity(given or "cosine")

    def similarity(
        self, embeddings1: Any, embeddings2: Any, *, precision: Precision | None = None
    ) -> FloatArray | torch.Tensor:
        """Similarity of every vector with every other, as `similarity_fn_name` says.

        Args:
            embeddings1: [n, dims] or [dims]: an array, a list of vectors or a torch Tensor.
            embeddings2: [m, dims] or [dims].
            precision: what `encode` made both in; None takes floats, and refuses integers, which
                may be codes or packed bits. Bits stand for 1 and -1, so that the least
                Hamming distance is the greatest similarity.

        Returns:
            float32 [n, m]; distances are negated. A torch Tensor if torch has been imported, else
            an array.

        Raises:
            TypeError: an input holds no numbers.
            ValueError: more than two dimensions, or different dims; integers or bools come without
                a precision, or rows are not of the one that is named.
        """
        return similarity(embeddings1, embeddings2, self._similarity_fn_name, precision=precision)

    def similarity_pairwise(
        self, embeddings1: Any, embeddings2: Any, *, precision: Precision | None = None
    ) -> FloatArray | torch.Tensor:
        """Similarity of each vector with the one in the same row, as `similarity_fn_name` says.

        Args:
            embeddings1: [n, dims] or [dims]: an array, a list of vectors or a torch Tensor.
            embeddings2: [n, dims]; or one vector on either side, for all of the other.
            precision: as for `similarity`.

        Returns:
            float32 [n], or [] for two single vectors; a Tensor or an array as `similarity`.

        Raises:
            TypeError: as `similarity`.
            ValueError: more than two dimensions, or different dims or rows; further as
                `similarity`.
        """
        return similarity_pairwise(
            embeddings1, embeddings2, self._similarity_fn_name, precision=precision
        )

    def save_pretrained(
        self,
        path: str | os.PathLike[str],
        model_name: str | None = None,  # noqa: ARG002
        create_model_card: bool = True,  # noqa: ARG002
        train_datasets: Iterable[str] | None = None,  # noqa: ARG002
        safe_serialization: bool = True,
    ) -> None:
        """Write the model, in a layout that keeps all of it: its vectors keep their bits.

        A name that ends in ``.gguf`` gives one GGUF file, any other a folder: with a Dynamic Tanh
        an SSE model, with Model2Vec's rules such a one, else a `StaticEmbedding` of
        sentence-transformers. `prompts`, `default_prompt_name`, `truncate_dim`,
        `similarity_fn_name`, `max_seq_length` and ranges of `fit_ranges` are written as they are
        now; a model's name and licence only into a GGUF file. Rows in a format that the layout does
        not hold become float32, the weights that they stand for: a warning tells both sizes.
        Files appear when they are complete, and only files of a model are replaced; the model's own
        source may be. Where several processes save under one name, the last one wins; who loads
        meanwhile gets one of the models, or an error.

        Args:
            path: the file or folder; parents of a folder are made.
            model_name: changes nothing: no model card is written.
            create_model_card: ditto.
            train_datasets: ditto.
            safe_serialization: True.

        Raises:
            OSError: it cannot be written.
            TypeError: a prompt, or its name, is no str.
            ValueError: the layout has no place for something that the model does (nothing is
                written); ``safe_serialization`` is False.

        Warns:
            UserWarning: the table grows; as an error it keeps anything from being written.
        """
        if not safe_serialization:
            raise ValueError("safe_serialization is True always: weights are never pickled")
        from nibblevec._layouts.writing import save_unchanged

        checked_prompts(self._prompts)  # the dict is the caller's to change
        prompts = {
            name: text or ""
            for name, text in self._prompts.items()
            if text or name in self._model.prompts or name not in IMPLIED_PROMPT_NAMES
        }
        default = self._default_prompt_name
        compares: str | None = self._similarity_fn_name
        if compares == "cosine" and self._model.similarity_fn_name is None:
            compares = None  # as where nothing is said
        keeps_all = self._dims == self._model.table.dim
        model = self._model._replace(
            prompts=prompts,
            default_prompt_name=default if default in self._prompts else None,
            similarity_fn_name=compares,
            truncate_dim=None if keeps_all else self._dims,
            ranges=self.ranges,
        )
        if self._truncation != self._tokenizer.truncation:
            model = model.truncated(self._truncation)
        save_unchanged(model, os.fspath(path), mmap=bool(self._options["mmap"]))

    def get_embedding_dimension(self) -> int:
        """Number of dims that `encode` gives unless told otherwise."""
        return self._dims

    def _dims_of_call(self, truncate_dim: SupportsIndex | None) -> int:
        if truncate_dim is None:
            return self._dims
        return checked_dims(truncate_dim, self._model.table.dim, "truncate_dim")

    def _call(
        self,
        normalize: bool,
        truncate_dim: SupportsIndex | None,
        prompt_name: str | None,
        prompt: str | None,
        threads: SupportsIndex | None,
        errors: Errors = "raise",
    ) -> _Call:
        if prompt is None:
            # The default prompt may have gone since it was named: then there is none.
            is_default = prompt_name is None and self._default_prompt_name in self._prompts
            name = self._default_prompt_name if is_default else prompt_name
            prompt = "" if name is None else _prompt(self._prompts, name)
        if not isinstance(prompt, str):
            raise TypeError(f"prompt is {type(prompt).__name__}, expected str")
        if errors == "replace":
            prompt = without_surrogates(prompt)
        kind = RangesOf(bool(normalize), self._dims_of_call(truncate_dim))
        threads = thread_count(self._threads if threads is None else threads)
        return _Call(kind, prompt, self._truncation, threads)

    def _report_truncation(self, cut_texts: int, texts: int) -> None:
        self._truncated_texts = cut_texts
        if cut_texts and _logs_info():
            with suppress(OSError, ValueError):  # a handler's stderr is closed
                sys.modules["logging"].getLogger("nibblevec").info(
                    "%d of %d texts were cut to %s tokens", cut_texts, texts, self.max_seq_length
                )

    def __getstate__(self) -> dict[str, Any]:
        # Where the model is, not what it holds; the digest tells whether it is still the same.
        source = self._source
        return {
            "name": None if source is None else source.name,
            "options": {
                **self._options,
                "revision": None if source is None else source.revision,
                "similarity_fn_name": self._similarity_fn_name,
                "threads": self._threads,
            },
            "prompts": self._prompts,
            "default_prompt_name": self._default_prompt_name,
            "truncate_dim": self._truncate_dim,
            "truncation": self._truncation,
            "fitted_ranges": self._fitted_ranges,
            "digest": self._model.digest(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(model_name_or_path=state["name"], **state["options"])  # type: ignore[misc]
        self._prompts = dict(state["prompts"])  # instead of those that the model brings
        self._default_prompt_name = state["default_prompt_name"]
        self.truncate_dim = state["truncate_dim"]
        self._truncation = state["truncation"]
        self._fitted_ranges = state["fitted_ranges"]
        if self._model.digest() != state["digest"]:
            raise ValueError(f"{self!r}: the model is not the one that was pickled")

    def __repr__(self) -> str:
        name = "" if self._source is None else f"{self._source.name!r}, "
        return f"Encoder({name}truncate_dim={self._dims})"


def load_bundled_model(*, mmap: bool = True) -> Model:
    """The model that comes with the package; see docs/model.md."""
    model = load_model(BUNDLED_MODEL, mmap=mmap)
    return model._replace(name="nibblevec-en-512", license="apache-2.0")


def _logs_info() -> bool:
    """Whether this package logs at INFO or below; not while nobody has imported `logging`."""
    logging = sys.modules.get("logging")
    if logging is None:
        return False
    return bool(logging.getLogger("nibblevec").getEffectiveLevel() <= logging.INFO)


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


def _prompt(prompts: Mapping[str, str | None], name: str) -> str:
    """The prompt of this name; one that is None is empty.

    Raises:
        ValueError: there is no prompt of this name.
    """
    if name not in prompts:
        known = ", ".join(map(repr, prompts))
        raise ValueError(f"no prompt has the name {name!r}; the model has {known}")
    prompt = prompts[name]
    return "" if prompt is None else prompt


def _scratch(texts: tuple[str, ...], kind: RangesOf) -> FloatArray:
    """Room for a block of vectors."""
    return np.empty((min(len(texts), ROUNDED_BLOCK_TEXTS), kind.dims), np.float32)


def _batches(texts: Iterable[str], batch_size: int) -> Iterator[tuple[str, ...]]:
    iterator = iter(texts)
    return iter(lambda: tuple(islice(iterator, min(batch_size, sys.maxsize))), ())


def _blocks(texts: Sized, block_texts: int) -> Iterator[slice]:
    for begin in range(0, len(texts), block_texts):
        yield slice(begin, min(begin + block_texts, len(texts)))


def _shown(blocks: Iterator[slice], texts: int, step: int) -> Iterator[slice]:
    """The blocks, with a bar on stderr that moves as each is done."""
    from nibblevec._progress import ProgressBar

    with ProgressBar(total=-(-texts // step), desc="Batches") as bar:
        for block in blocks:
            yield block
            bar.update(-(-block.stop // step) - bar.n)
