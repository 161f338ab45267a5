"""Models by name: a local path, or a repository on the Hugging Face hub."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

# Where sentence-transformers looks for a name without an owner, and keeps files if this is set.
DEFAULT_OWNER = "sentence-transformers"
CACHE_VARIABLE = "SENTENCE_TRANSFORMERS_HOME"

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


class ModelSource(NamedTuple):
    """Where a model is.

    Attributes:
        folder: absolute path of its files.
        name: the path, or the name of the repository, which finds the model again.
        revision: commit of a repository; None for a path.
    """

    folder: str
    name: str
    revision: str | None = None


def _on_a_line(error: Exception) -> str:
    """The message of an error of the hub's library, which may have several lines."""
    return " ".join(str(error).split())


def find_model(
    name: str | os.PathLike[str],
    files: Iterable[str],
    *,
    file_suffixes: tuple[str, ...] = (),
    cache_folder: str | os.PathLike[str] | None = None,
    revision: str | None = None,
    token: bool | str | None = None,
    local_files_only: bool = False,
) -> ModelSource:
    """The files of a model, fetched from the hub unless they are local.

    A path that exists wins over a repository of the same name, and makes no network call.

    Args:
        name: a path, or the name of a repository such as ``"owner/model"``; without an owner it is
            one of sentence-transformers.
        files: to fetch of a repository, as paths with ``/``; it may lack any of them.
        file_suffixes: a name that ends in one of these, in lower case, is a file's.
        cache_folder: where the hub keeps its files; None means the folder that
            ``SENTENCE_TRANSFORMERS_HOME`` names, else its usual place.
        revision: branch, tag or commit; None means ``main``.
        token: of the hub; None means the stored one if there is one.
        local_files_only: take files that were fetched before; no network call.

    Raises:
        FileNotFoundError: no such path, and not the name of a repository.
        ValueError: the name is empty, or holds a null character.
        OSError: the repository could not be fetched, or has not been fetched before.
    """
    if not os.fspath(name):
        raise ValueError("the name of a model is empty")
    path = os.path.abspath(os.fspath(name))
    if "\0" in path:
        raise ValueError(f"null character in the path {path!r}")
    if os.path.exists(path):
        return ModelSource(path, path)
    if path.lower().endswith(file_suffixes):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if not isinstance(name, str) or not _REPOSITORY.fullmatch(name):
        raise FileNotFoundError(errno.ENOENT, "No such folder", path)

    import huggingface_hub

    repository = name if "/" in name else f"{DEFAULT_OWNER}/{name}"
    cache_folder = cache_folder or os.environ.get(CACHE_VARIABLE) or None
    try:
        folder = huggingface_hub.snapshot_download(
            repository,
            revision=revision,
            cache_dir=None if cache_folder is None else os.fspath(cache_folder),
            token=token,
            local_files_only=local_files_only,
            allow_patterns=list(files),
        )
    except (OSError, ValueError) as error:
        where = "it is not in the hub's cache" if local_files_only else "the hub did not give it"
        raise OSError(f"{name}: no such folder, and {where}: {_on_a_line(error)}") from error
    return ModelSource(folder, repository, os.path.basename(folder))
