"""The encoder: a model that is loaded, set, saved and pickled."""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import FunctionType
from typing import TYPE_CHECKING, Any, SupportsIndex

from nibblevec._bundled import load_bundled_model
from nibblevec._compat.arguments import check_constructor_arguments, check_device
from nibblevec._compat.methods import ModelCardData, SentenceTransformerMethods
from nibblevec._encoding import EncodingMethods
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.registry import FILE_SUFFIXES, READ_NAMES
from nibblevec._layouts.tokenizers import load_tokenizer_of
from nibblevec._table import Table
from nibblevec._threads import thread_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    import tokenizers

    from nibblevec._hub import ModelSource
    from nibblevec._similarity import SimilarityName


class Encoder(EncodingMethods, SentenceTransformerMethods):
    """A static text-embedding model: the mean of the rows of a text's tokens, then its head.

    The table stays in its own bytes, mapped into memory. The same text gives the same bits in every
    batch, with any number of threads and on every CPU.

    Args:
        model_name_or_path: folder of a model (SSE, quantised or float; StaticEmbedding of
            sentence-transformers; Model2Vec), a GGUF file, or the name of a repository on the
            Hugging Face hub, one of sentence-transformers if no owner is named; None means the
            bundled model (English, 512 dims). A path that exists wins over a repository and makes
            no network call.
        device: another than the CPU gives a warning, and is not used.
        truncate_dim: keep only the first N dims (Matryoshka), and compute no more unless the model
            scales its vectors itself; None means what the model says, or all.
        prompts: what may be put before texts, by name; added to those of the model, and instead of
            those of the same names.
        default_prompt_name: the prompt of texts for which none is asked; None means the model's.
        similarity_fn_name: how `similarity` compares: cosine, dot, euclidean or manhattan; None
            means as the model says, else cosine.
        max_seq_length: cut each text after N tokens; None means what the model says.
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
        trust_remote_code: changes nothing; no code of a model is ever run.
        modules, processor_kwargs, config_kwargs, tokenizer_kwargs, model_card_data: None or empty.
        use_auth_token: None, False or ``token``.
        model_kwargs: None, empty, or the default: ``dtype`` or ``torch_dtype`` float32, and
            ``device_map`` the CPU.
        backend: ``"torch"``.

    Raises:
        OSError: a file of the model is missing, cannot be read, or is not a regular file; the hub
            did not give it.
        ModelFormatError: a file does not hold what it must.
        ValueError: the folder holds no model; ``truncate_dim`` is not in 1..dim; ``threads`` < 1;
            ``max_seq_length`` < 1; there is no prompt of the name ``default_prompt_name``, or no
            function ``similarity_fn_name``; ``quantize`` is no packed format, the table is packed
            in another one, or its dims or weights do not fit it; an argument of
            sentence-transformers has a value that is not supported (says why).

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
            from nibblevec._hub import find_model

            self._source = find_model(
                model_name_or_path,
                READ_NAMES,
                file_suffixes=FILE_SUFFIXES,
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
            model = load_bundled_model(mmap=bool(mmap))
        else:
            model = load_model(self._source.folder, mmap=bool(mmap))
        if quantize is not None:
            from nibblevec._layouts.row_formats import packed

            model = packed(model, quantize, threads=thread_count(threads))
        super().__init__(
            model,
            truncate_dim=truncate_dim,
            prompts=prompts,
            default_prompt_name=default_prompt_name,
            similarity_fn_name=similarity_fn_name,
            threads=threads,
        )
        self._take_tokenizer(load_tokenizer_of(model), max_seq_length)
        self._package_tokenizer: tokenizers.Tokenizer | None = None
        name = model.name if self._source is None else self._source.name
        self._model_card_data = ModelCardData(name)

    @property
    def tokenizer(self) -> tokenizers.Tokenizer:
        """The model's tokenizer, without padding, as an object of the `tokenizers` package.

        It is read when it is first asked for. `encode` has its own, which changes
        here do not reach.
        """
        if self._package_tokenizer is None:
            from nibblevec._tokenization.package import load_package_tokenizer

            json = self._model.tokenizer_json
            self._package_tokenizer = load_package_tokenizer(json.read(), json.path)
            self._package_tokenizer.no_padding()
        return self._package_tokenizer

    @property
    def table(self) -> Table:
        """The token embeddings, as they are packed; `Table.dequantize` gives rows as float32."""
        return self._model.table

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
        source may be. Where several processes save under one name, the last one wins; a process
        that loads meanwhile gets one of the models, or an error.

        Args:
            path: the file or folder; parents of a folder are made.
            model_name, create_model_card, train_datasets: change nothing: no card is written.
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
        from nibblevec._layouts.saving import save_unchanged

        save_unchanged(
            self._model_as_set(),
            os.fspath(path),
            ids=self._tokenizer.ids(),
            mmap=bool(self._options["mmap"]),
        )

    def __getstate__(self) -> dict[str, Any]:
        # The location of the model, not its content; the digest detects a change.
        source = self._source
        return {
            "name": None if source is None else source.name,
            "options": {
                **self._options,
                "revision": None if source is None else source.revision,
                "similarity_fn_name": self._similarity_fn_name,
                "threads": self._threads,
            },
            **self._settings_state(),
            "digest": self._model.digest(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(model_name_or_path=state["name"], **state["options"])  # type: ignore[misc]
        self._take_settings_state(state)
        if self._model.digest() != state["digest"]:
            raise ValueError(f"{self!r}: the model is not the one that was pickled")

    def __repr__(self) -> str:
        name = "" if self._source is None else f"{self._source.name!r}, "
        return f"Encoder({name}truncate_dim={self._dims})"


def _give_methods_their_public_name() -> None:
    """Let errors and help call the methods of the base classes those of `Encoder`."""
    for base in (*EncodingMethods.__mro__[:-1], SentenceTransformerMethods):
        for name, member in vars(base).items():
            if isinstance(member, FunctionType):
                member.__qualname__ = f"Encoder.{name}"


_give_methods_their_public_name()
