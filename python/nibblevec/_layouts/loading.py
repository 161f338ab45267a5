"""Models of any layout, loaded."""

from __future__ import annotations

import errno
import os
import stat
import time

from nibblevec._containers.files import ModelFormatError
from nibblevec._float_environment import in_default_float_environment
from nibblevec._layouts.modules import MODULES_NAME, module_types
from nibblevec._layouts.place import Place
from nibblevec._layouts.ranges import read_ranges
from nibblevec._layouts.registry import LAYOUTS, READ_NAMES
from nibblevec._model import Model
from nibblevec._printing import printable

# Most times that a model is read whose files are replaced while they are read.
READINGS = 5
READING_PAUSE_SECONDS = 0.02


@in_default_float_environment
def load_model(path: str | os.PathLike[str], *, mmap: bool = True) -> Model:
    """Load a local model of any layout.

    If another process replaces the files meanwhile, they are read again, so that all are of one
    time.

    Args:
        path: its folder, or a GGUF file.
        mmap: map the table into memory instead of reading it.

    Raises:
        FileNotFoundError: the folder, or a file that its layout asks for, is missing.
        NotADirectoryError: it is a file, but not a GGUF file.
        ModelFormatError: a file breaks a rule of its format.
        OSError: a file cannot be read, or is not a regular file; the files change again and again.
        ValueError: no layout fits.
    """
    folder = os.path.abspath(os.fspath(path))
    for number in range(READINGS):
        time.sleep(READING_PAUSE_SECONDS * number)
        before = _identities(folder)
        try:
            model = _load_explained(folder, mmap)
            model.tokenizer_json.read()
        except (OSError, ValueError):
            if _identities(folder) == before:
                raise
        else:
            if _identities(folder) == before:
                return model
    problem = "Its files were replaced while they were read, again and again"
    raise OSError(errno.EBUSY, problem, folder)


def _identities(folder: str) -> list[tuple[int, ...] | None]:
    """Device, inode, size and time of each file that a model may have; None where there is none."""
    identities: list[tuple[int, ...] | None] = []
    for name in ("", *READ_NAMES):
        try:
            status = os.stat(os.path.join(folder, name) if name else folder)
        except (OSError, ValueError):
            identities.append(None)
            continue
        content = (status.st_size, status.st_mtime_ns)
        is_folder = stat.S_ISDIR(status.st_mode)  # whose content others may change
        identities.append((status.st_dev, status.st_ino, *(() if is_folder else content)))
    return identities


def _load_explained(path: str, mmap: bool) -> Model:
    try:
        return _load(path, mmap)
    except ModelFormatError as error:
        from nibblevec._layouts.foreign_content import explain

        explain(error)
        raise
    except FileNotFoundError as error:
        from nibblevec._layouts.foreign_folders import explain_missing

        explain_missing(error)
        raise


def _load(path: str, mmap: bool) -> Model:
    is_file = os.path.isfile(path)
    names = [] if is_file else os.listdir(path)  # which raises if the folder is missing
    place = Place(path, mmap=mmap)
    forms = [form for layout in LAYOUTS for form in layout.forms if form.is_file == is_file]
    for form in forms:
        if form.is_in(place):
            model = form.load(place)
            if is_file:
                return model
            return model._replace(ranges=read_ranges(path, model.table.dim))
    looked_for = [form.looked_for for form in forms]
    raise _file_problem(path, looked_for) if is_file else _folder_problem(place, names, looked_for)


def _file_problem(path: str, looked_for: list[str]) -> NotADirectoryError:
    from nibblevec._layouts.foreign_files import file_in_words

    problem = f"not a folder, and not {' or '.join(looked_for)}"
    if words := file_in_words(path):
        problem += f"; {words}"
    return NotADirectoryError(errno.ENOTDIR, problem, path)


def _folder_problem(folder: Place, names: list[str], looked_for: list[str]) -> ValueError:
    from nibblevec._layouts.foreign_folders import folder_in_words

    *others, last = looked_for
    problems = [f"not a model that can be loaded; looked for {', '.join(others)} and {last}"]
    if found := module_types(folder):
        problems.append(f"{MODULES_NAME} names {', '.join(found):.200}")
    if words := folder_in_words(folder.path, names):
        problems.append(words)
    return ValueError(printable(f"{folder.path}: {'; '.join(problems)}"))
