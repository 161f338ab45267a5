"""The tokenizers of models."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from nibblevec._containers.files import ModelFormatError
from nibblevec._containers.json_files import parse_json_object
from nibblevec._float_environment import in_default_float_environment
from nibblevec._tokenization.loading import load_tokenizer

if TYPE_CHECKING:
    from nibblevec._model import Model
    from nibblevec._tokenization.ids import IdsInUse
    from nibblevec._tokenization.tokenizer import Tokenizer


def load_tokenizer_of(
    model: Model, *, content: dict[str, Any] | None = None, warns: bool = True
) -> Tokenizer:
    """The tokenizer of a model, ready to work under its token rules.

    Args:
        model: any model.
        content: the parsed ``tokenizer.json``, if the caller has it.
        warns: warn of a file that states other ids than its tokens get.

    Raises:
        OSError: its file cannot be read, or is not a regular file.
        ModelFormatError: see `nibblevec._tokenization.loading.load_tokenizer`.
    """
    ids = model.token_rules.ids
    try:
        return load_tokenizer(
            model.tokenizer_json.read(),
            model.tokenizer_json.path,
            model.table.rows if ids is None else ids,
            content=content,
            headerless_table=model.headerless_table,
            rules=model.token_rules,
            warns=warns,
        )
    except ModelFormatError as error:
        from nibblevec._layouts.foreign_content import explain

        explain(error)
        raise


class ModelTokenizer:
    """The tokenizer of a model that is converted or saved, loaded when it is first asked for.

    Its ``tokenizer.json`` is parsed once, if `loaded` is asked for before `settings`.

    Attributes:
        model: the model.
    """

    def __init__(self, model: Model, *, ids: IdsInUse | None = None, warns: bool = False) -> None:
        """Take a model, the ids of its tokens if they are known, and whether loading warns."""
        self.model = model
        self._ids = ids
        self._warns = warns
        self._settings: dict[str, Any] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The content of ``tokenizer.json`` without the vocabulary, which takes most of the memory.

        Raises:
            OSError: the file cannot be read, or is not a regular file.
            ModelFormatError: it is not a JSON object.
        """
        if self._settings is None:
            self._settings = _without_vocabulary(self._parsed())
        return self._settings

    @property
    def ids(self) -> IdsInUse:
        """The id of each token.

        Raises:
            OSError: see `load_tokenizer_of`.
            ModelFormatError: see `load_tokenizer_of`.
        """
        return self.loaded.ids() if self._ids is None else self._ids

    @cached_property
    def loaded(self) -> Tokenizer:
        """The tokenizer itself.

        Raises:
            OSError: see `load_tokenizer_of`.
            ModelFormatError: see `load_tokenizer_of`.
        """
        content = self._parsed()
        self._settings = _without_vocabulary(content)
        return load_tokenizer_of(self.model, content=content, warns=self._warns)

    @in_default_float_environment
    def _parsed(self) -> dict[str, Any]:
        json = self.model.tokenizer_json
        try:
            return parse_json_object(json.read(), json.path, "tokenizer")
        except ModelFormatError as error:
            from nibblevec._layouts.foreign_content import explain

            explain(error)
            raise


def _without_vocabulary(content: dict[str, Any]) -> dict[str, Any]:
    model = content.get("model")
    if isinstance(model, dict):
        model = {key: value for key, value in model.items() if key not in ("vocab", "merges")}
    return {**content, "model": model}
