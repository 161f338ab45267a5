"""Text in, vectors out."""

from __future__ import annotations

import operator
import os
import sys
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from nibblevec import _core
from nibblevec.formats import load_model
from nibblevec.hub import ModelSource, find_model
from nibblevec.similarity import checked_similarity, similarity, similarity_pairwise
from nibblevec.table import checked_dims, output_array
from nibblevec.threads import thread_count
from nibblevec.tokenizer import Truncation, load_package_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sized

    import tokenizers
    import torch

    from nibblevec.arrow import ArrowVectors, ListType, Nulls
    from nibblevec.model import Model
    from nibblevec.similarity import SimilarityName

    FloatArray = NDArray[np.float32]

BUNDLED_MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models", "default")

# Texts go to the native code so many at a time, which bounds what is kept of them there, or fewer
# where progress is shown.
BLOCK_TEXTS = 1 << 14
SHOWN_BLOCK_TEXTS = 1 << 10


class _CallOptions(NamedTuple):
    """What a call asks for, checked and as it was when the call began."""

    dims: int
    normalize: bool
    prompt: str
    truncation: Truncation
    threads: int


class Encoder:
    """A static text-embedding model: the mean of the rows of a text's tokens, then its head.

    The table stays in its own bytes, mapped into memory. The same text gives the same bits whatever
    the batch, its neighbours, the number of threads and the CPU.

    Args:
        model_name_or_path: folder of a model (SSE, quantised or float; StaticEmbedding of
            sentence-transformers; Model2Vec), a GGUF file, or the name of a repository on the
            Hugging Face hub; None means the bundled model (English, 512 dims). A path that exists
            wins over a repository and makes no network call.
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
        cache_folder: where files from the hub are kept; None means the hub's usual place.
        revision: branch, tag or commit on the hub; None means ``main``.
        token: of the hub; None means the stored one if there is one.
        local_files_only: take from the hub only what was fetched before; no network call.

    Raises:
        OSError: a file of the model is missing, cannot be read, or is not a regular file; the hub
            did not give it.
        ModelFormatError: a file does not hold what it must.
        ValueError: the folder holds no model; ``truncate_dim`` is not in 1..dim; ``threads`` < 1;
            ``max_seq_length`` < 1; there is no prompt of the name ``default_prompt_name``, or no
            function ``similarity_fn_name``; ``quantize`` is no packed format, the table is packed
            in another one, or its dims or weights do not fit it.

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
        truncate_dim: SupportsIndex | None = None,
        prompts: Mapping[str, str] | None = None,
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
    ) -> None:
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
            from nibblevec.conversion import packed

            threads_now = thread_count(threads)
            self._model = packed(self._model, quantize, threads=threads_now)
        if truncate_dim is None:
            truncate_dim = self._model.truncate_dim
        self._dims = checked_dims(truncate_dim, self._model.table.dim, "truncate_dim")
        # Names that sentence-transformers gives to every model.
        self._prompts = {"query": "", "document": "", **self._model.prompts, **(prompts or {})}
        self._default_prompt_name = default_prompt_name
        if default_prompt_name is None:
            self._default_prompt_name = self._model.default_prompt_name
        _prompt(self._prompts, self._default_prompt_name)
        self.similarity_fn_name = similarity_fn_name
        self._threads = None if threads is None else thread_count(threads)
        self._tokenizer = self._model.load_tokenizer()
        self._truncation = self._tokenizer.truncation
        if max_seq_length is not None:
            self.max_seq_length = max_seq_length
        self._truncated_texts = 0

    def encode(
        self,
        inputs: str | Iterable[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: SupportsIndex = 32,
        show_progress_bar: bool | None = None,
        *,
        normalize_embeddings: bool = False,
        truncate_dim: SupportsIndex | None = None,
        threads: SupportsIndex | None = None,
        out: FloatArray | None = None,
    ) -> FloatArray:
        """Embed texts.

        Args:
            inputs: one text, or any iterable of texts (they are all taken before work begins).
            prompt_name: put the prompt of this name before each text.
            prompt: put this before each text, whatever ``prompt_name`` says. Where neither is
                given, the model's default prompt is taken, if it has one.
            batch_size: step of the progress bar; changes nothing else.
            show_progress_bar: on stderr. None shows it if this package logs at INFO or below.
            normalize_embeddings: scale each vector, after truncation, to length 1. A model that
                normalises by itself has done so before truncation.
            truncate_dim: first so many dims; None means those of the constructor.
            threads: at most so many; None means the constructor's, else all that this process may
                use. Short work takes one. (Where the tokenizer is not native, the `tokenizers`
                package has threads of its own, as many as ``RAYON_NUM_THREADS`` says.)
            out: float32 [texts, dims] (or [dims] for one text), C-contiguous, an array or
                ``np.memmap``: written and returned. After an error its content is undefined.

        Returns:
            float32 [texts, dims]; [dims] for a single str. A text without tokens gets the head of
            zeros.

        Raises:
            TypeError: a text is not a str (names its row).
            ValueError: a text holds a lone surrogate (names its row); there is no prompt of this
                name; ``truncate_dim`` is not in 1..dim; ``batch_size`` or ``threads`` is below 1;
                ``out`` has another type, shape or layout.
            ModelFormatError: the tokenizer of the model is not one.
        """
        options = self._options_of_call(
            normalize_embeddings, truncate_dim, prompt_name, prompt, threads
        )
        step = _checked_batch_size(batch_size)
        if show_progress_bar is None:
            show_progress_bar = _logs_info()

        single = isinstance(inputs, str)
        texts = _taken(inputs)
        rows = output_array(out, (options.dims,) if single else (len(texts), options.dims))
        text_rows = rows.reshape(len(texts), options.dims)  # a view: `rows` is contiguous
        if show_progress_bar:
            blocks = _shown(_blocks(texts, SHOWN_BLOCK_TEXTS), len(texts), step)
        else:
            blocks = _blocks(texts, BLOCK_TEXTS)
        cut_texts = 0
        for begin, end in blocks:
            cut_texts += self._encode_block(
                texts[begin:end], options, text_rows[begin:end], first_row=begin
            )
        self._report_truncation(cut_texts, len(texts))
        return rows

    def encode_iter(
        self,
        texts: Iterable[str],
        *,
        batch_size: SupportsIndex = BLOCK_TEXTS,
        normalize_embeddings: bool = False,
        truncate_dim: SupportsIndex | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        threads: SupportsIndex | None = None,
    ) -> Iterator[FloatArray]:
        """Embed texts as they come, so many at a time; no more of them are kept.

        Args:
            texts: any iterable of texts, endless ones too; it is read only as far as arrays are
                asked for.
            batch_size: texts of an array.
            normalize_embeddings: as for `encode`, like the rest.
            truncate_dim: ditto.
            prompt_name: ditto.
            prompt: ditto.
            threads: ditto.

        Returns:
            Iterator over float32 [batch_size, dims]; the last array has the texts that are left.

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
        _check_iterable(texts, "an iterable of str")
        options = self._options_of_call(
            normalize_embeddings, truncate_dim, prompt_name, prompt, threads
        )
        return self._encode_each(_batches(texts, _checked_batch_size(batch_size)), options)

    def _encode_each(
        self, batches: Iterator[tuple[str, ...]], options: _CallOptions
    ) -> Iterator[FloatArray]:
        cut_texts = taken = 0
        for texts in batches:
            rows = np.empty((len(texts), options.dims), np.float32)
            for begin, end in _blocks(texts, BLOCK_TEXTS):
                cut_texts += self._encode_block(
                    texts[begin:end], options, rows[begin:end], first_row=taken + begin
                )
            taken += len(texts)
            self._report_truncation(cut_texts, taken)
            yield rows

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
        """Embed a column of texts of any library that speaks the Arrow C interface.

        The texts are read where they lie. Neither this nor the result needs pyarrow.

        Args:
            obj: an array, a chunked array, a series, a record batch, a table, a stream of them:
                anything with ``__arrow_c_array__`` or ``__arrow_c_stream__``. The texts are utf8,
                large_utf8 or utf8_view (string, large_string, string_view), or a dictionary of
                these. A stream is read to its end, a few arrays at a time.
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
            TypeError: ``obj`` does not speak the interface, or holds no texts.
            ValueError: there is no such column, or none is named; a text is not UTF-8, or null
                with ``nulls="error"`` (names its row); an array contradicts itself or Arrow's
                specification, as far as can be seen: the interface gives the size of almost no
                buffer, so a wrong one may crash; further as `encode`.
            OSError: the producer of a stream failed.
            ModelFormatError: the tokenizer of the model is not one.
        """
        from nibblevec import arrow

        arrow.check_choice(nulls, arrow.Nulls, "nulls")
        arrow.check_choice(list_type, arrow.ListType, "list_type")
        options = self._options_of_call(
            normalize_embeddings, truncate_dim, prompt_name, prompt, threads
        )
        parts = []
        cut_texts = taken = 0
        for batch in arrow.text_batches(obj, column, nulls):
            rows = _core.VectorRows(batch, options.dims)
            for begin, end in _blocks(batch, BLOCK_TEXTS):
                cut_texts += self._encode_block(
                    batch.block(begin, end),
                    options,
                    rows.array[begin:end],
                    first_row=taken + begin,
                )
            rows.blank_nulls()
            parts.append(rows)
            taken += len(batch)
        self._report_truncation(cut_texts, taken)
        return arrow.ArrowVectors(parts, options.dims, list_type)

    def _options_of_call(
        self,
        normalize: bool,
        truncate_dim: SupportsIndex | None,
        prompt_name: str | None,
        prompt: str | None,
        threads: SupportsIndex | None,
    ) -> _CallOptions:
        dims = self._dims
        if truncate_dim is not None:
            dims = checked_dims(truncate_dim, self._model.table.dim, "truncate_dim")
        if prompt is None:
            name = self._default_prompt_name if prompt_name is None else prompt_name
            prompt = _prompt(self._prompts, name)
        if not isinstance(prompt, str):
            raise TypeError(f"prompt is {type(prompt).__name__}, expected str")
        threads = thread_count(self._threads if threads is None else threads)
        return _CallOptions(dims, bool(normalize), prompt, self._truncation, threads)

    def _encode_block(
        self,
        texts: tuple[str, ...] | _core.TextBlock,
        options: _CallOptions,
        out: FloatArray,
        *,
        first_row: int,
    ) -> int:
        """Writes float32 [texts, dims]; returns how many texts were cut."""
        return self._tokenizer.encode_vectors(
            texts,
            options.truncation,
            self._model,
            out,
            prompt=options.prompt,
            normalize=options.normalize,
            first_row=first_row,
            threads=options.threads,
        )

    def tokenize(
        self, texts: str | Iterable[str], *, threads: SupportsIndex | None = None
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The token ids that `encode` takes the rows of.

        They equal those of the `tokenizers` package for the same ``tokenizer.json``, without
        special tokens and padding.

        Args:
            texts: any iterable of texts; a str is one text.
            threads: as for `encode`.

        Returns:
            ids uint32 [tokens] of all texts end to end; offsets int64 [n + 1], where each text
            begins, and the end of the last.

        Raises:
            TypeError: a text is not a str (names its row).
            ValueError: a text holds a lone surrogate (names its row); ``threads`` is below 1.

        >>> ids, offsets = Encoder().tokenize(["Tea, please!", ""])
        >>> ids.tolist(), offsets.tolist()
        ([5572, 1010, 3531, 999], [0, 4, 4])
        """
        taken = _taken(texts)
        tokens = self._tokenizer.encode_batch(
            taken,
            self._truncation,
            threads=thread_count(self._threads if threads is None else threads),
        )
        self._report_truncation(tokens.cut_texts, len(taken))
        return tokens.ids, tokens.offsets

    def preprocess(self, texts: str | Iterable[str]) -> dict[str, NDArray[np.int64]]:
        """The ids as sentence-transformers' static models pass them on.

        Returns:
            ``"input_ids"``: int64 [tokens] of all texts end to end; ``"offsets"``: int64 [n],
            where each text begins.

        Raises:
            TypeError: a text is not a str (names its row).
            ValueError: a text holds a lone surrogate (names its row).
        """
        ids, offsets = self.tokenize(texts)
        return {"input_ids": ids.astype(np.int64), "offsets": offsets[:-1]}

    @property
    def tokenizer(self) -> tokenizers.Tokenizer:
        """The model's tokenizer as an object of the `tokenizers` package, a new one each time."""
        tokenizer = self._model.tokenizer
        return load_package_tokenizer(tokenizer.read(), tokenizer.path)

    @property
    def prompts(self) -> dict[str, str]:
        """What `encode` may put before texts, by name."""
        return self._prompts

    @property
    def default_prompt_name(self) -> str | None:
        """Name of the prompt of texts for which none is asked; None means no prompt."""
        return self._default_prompt_name

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

    def similarity(self, embeddings1: Any, embeddings2: Any) -> FloatArray | torch.Tensor:
        """Similarity of every vector with every other, as `similarity_fn_name` says.

        Args:
            embeddings1: [n, dims] or [dims]: an array, a list of vectors or a torch Tensor.
            embeddings2: [m, dims] or [dims].

        Returns:
            float32 [n, m]; distances are negated. A torch Tensor if torch has been imported, else
            an array.

        Raises:
            ValueError: more than two dimensions, or different dims.
        """
        return similarity(embeddings1, embeddings2, self._similarity_fn_name)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> FloatArray | torch.Tensor:
        """Similarity of each vector with the one in the same row, as `similarity_fn_name` says.

        Args:
            embeddings1: [n, dims] or [dims]: an array, a list of vectors or a torch Tensor.
            embeddings2: [n, dims]; or one vector on either side, for all of the other.

        Returns:
            float32 [n]; a Tensor or an array as `similarity`.

        Raises:
            ValueError: more than two dimensions, or different dims or rows.
        """
        return similarity_pairwise(embeddings1, embeddings2, self._similarity_fn_name)

    def save_pretrained(self, path: str | os.PathLike[str]) -> None:
        """Write the model, in a layout that keeps all of it.

        A name that ends in ``.gguf`` gives one GGUF file, any other a folder: with a Dynamic Tanh
        an SSE model, with Model2Vec's rules such a one, else a `StaticEmbedding` of
        sentence-transformers. Prompts of the constructor are written too, what it and `encode` say
        of dims and lengths is not. Files appear when they are complete, and only files of a model
        are replaced; the model's own source may be.

        Args:
            path: the file or folder; parents of a folder are made.

        Raises:
            OSError: it cannot be written.
            ValueError: the layout has no place for something that the model does, such as rows in
                ggml's blocks in a folder (nothing is written).
        """
        from nibblevec.formats.writing import fitting_layout, save_model

        name = os.fspath(path)
        prompts = {
            prompt: text
            for prompt, text in self._prompts.items()
            if text or prompt in self._model.prompts
        }
        model = self._model._replace(prompts=prompts, default_prompt_name=self._default_prompt_name)
        save_model(model, name, fitting_layout(model, name))

    def get_embedding_dimension(self) -> int:
        """Number of dims that `encode` gives unless told otherwise."""
        return self._dims

    def _report_truncation(self, cut_texts: int, texts: int) -> None:
        self._truncated_texts = cut_texts
        if cut_texts and _logs_info():
            sys.modules["logging"].getLogger(__name__).info(
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
                "truncate_dim": self._dims,
                "prompts": self._prompts,
                "default_prompt_name": self._default_prompt_name,
                "similarity_fn_name": self._similarity_fn_name,
                "threads": self._threads,
            },
            "truncation": self._truncation,
            "digest": self._model.digest(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["name"], **state["options"])  # type: ignore[misc]
        self._truncation = state["truncation"]
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
    return bool(logging.getLogger(__name__).getEffectiveLevel() <= logging.INFO)


def _taken(inputs: str | Iterable[str]) -> tuple[str, ...]:
    """The texts as they are now, in a tuple that nobody else can change."""
    if isinstance(inputs, str):
        return (inputs,)
    _check_iterable(inputs, "a str or an iterable of str")
    return tuple(inputs)


def _check_iterable(inputs: object, expected: str) -> None:
    if isinstance(inputs, (bytes, bytearray, memoryview)) or not hasattr(inputs, "__iter__"):
        raise TypeError(f"expected {expected}, not {type(inputs).__name__}")


def _prompt(prompts: Mapping[str, str], name: str | None) -> str:
    """The prompt of this name; none if there is no name.

    Raises:
        ValueError: there is no prompt of this name.
    """
    if name is None:
        return ""
    if name not in prompts:
        known = ", ".join(map(repr, prompts))
        raise ValueError(f"no prompt has the name {name!r}; the model has {known}")
    return prompts[name]


def _batches(texts: Iterable[str], batch_size: int) -> Iterator[tuple[str, ...]]:
    iterator = iter(texts)
    return iter(lambda: tuple(islice(iterator, min(batch_size, sys.maxsize))), ())


def _checked_batch_size(batch_size: SupportsIndex) -> int:
    size = operator.index(batch_size)
    if size < 1:
        raise ValueError(f"batch_size must be at least 1, not {size}")
    return size


def _blocks(texts: Sized, block_texts: int) -> Iterator[tuple[int, int]]:
    for begin in range(0, len(texts), block_texts):
        yield begin, min(begin + block_texts, len(texts))


def _shown(blocks: Iterator[tuple[int, int]], texts: int, step: int) -> Iterator[tuple[int, int]]:
    """The blocks, with a bar on stderr that moves as each is done."""
    from tqdm import tqdm

    with tqdm(total=-(-texts // step), desc="Batches") as bar:
        for begin, end in blocks:
            yield begin, end
            bar.update(-(-end // step) - bar.n)
