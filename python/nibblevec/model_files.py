"""Files of a model: only regular ones, and whatever is wrong is named with file and field."""

from __future__ import annotations

import errno
import json
import mmap as mmap_module
import os
import stat
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ModelFormatError(ValueError):
    """A file of a model does not hold what it must.

    Attributes:
        path: the file.
        field: what in it is wrong.
        problem: what was expected and found.
    """

    def __init__(self, path: str, field: str, problem: str) -> None:
        # A field may be named by the file: at most a few words of it, and such as can be printed.
        field = f"{field:.80}".encode(errors="backslashreplace").decode()
        problem = problem.encode(errors="backslashreplace").decode()
        super().__init__(path, field, problem)
        self.path = path
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.field}: {self.problem}"


def read_file(path: str, max_bytes: int = -1) -> bytes:
    """The content of a regular file, or so many bytes of its beginning.

    Raises:
        OSError: missing, unreadable, a directory, a FIFO or a device.
    """
    with os.fdopen(_open_regular(path), "rb") as file:
        return file.read(max_bytes)


def map_file(path: str, *, mmap: bool = True) -> NDArray[np.uint8]:
    """The content of a regular file as read-only bytes, mapped into memory unless told otherwise.

    Raises:
        OSError: missing, unreadable, a directory, a FIFO or a device.
    """
    if not mmap:
        return np.frombuffer(read_file(path), np.uint8)
    descriptor = _open_regular(path)
    try:
        if os.fstat(descriptor).st_size == 0:  # cannot be mapped
            return np.empty(0, np.uint8)
        mapped = mmap_module.mmap(descriptor, 0, access=mmap_module.ACCESS_READ)
    finally:
        os.close(descriptor)
    return np.frombuffer(mapped, np.uint8)


def check_regular_file(path: str) -> None:
    """Say early that a file which is read later is not there.

    Raises:
        OSError: missing, a directory, a FIFO or a device.
    """
    _check_regular(os.stat(path), path)


def _open_regular(path: str) -> int:
    # Looked at before it is opened, since opening a FIFO waits and opening a device may act; and
    # again after, since the name may have come to mean another file.
    check_regular_file(path)
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    descriptor = os.open(path, flags)
    try:
        _check_regular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(status: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", path)


def parse_json_object(data: bytes, path: str, field: str) -> dict[str, Any]:
    """A JSON object; no object in it repeats a key.

    Raises:
        ModelFormatError: anything else (``path`` and ``field`` are named).
    """
    parsed = _parse_json(data, path, field)
    if not isinstance(parsed, dict):
        raise ModelFormatError(path, field, f"expected an object, found {json_type(parsed)}")
    return parsed


def parse_json_array(data: bytes, path: str, field: str) -> list[Any]:
    """A JSON array; no object in it repeats a key.

    Raises:
        ModelFormatError: anything else (``path`` and ``field`` are named).
    """
    parsed = _parse_json(data, path, field)
    if not isinstance(parsed, list):
        raise ModelFormatError(path, field, f"expected an array, found {json_type(parsed)}")
    return parsed


def with_member(content: bytes, key: str, value: object) -> bytes:
    """A JSON object with another value for one of its keys; all else keeps its bytes.

    Numbers, above all, which other readers might round otherwise if they were written anew.

    Args:
        content: what `parse_json_object` takes, not empty.
        key: one that it may lack.
        value: what JSON can hold.
    """
    text = content.decode("utf-8")
    decoder = json.JSONDecoder()
    new = json.dumps(value)
    begin = place = text.index("{") + 1
    while True:
        found, place = decoder.raw_decode(text, _token_at(text, place))
        place = _token_at(text, _token_at(text, place) + 1)  # behind the colon
        _, end = decoder.raw_decode(text, place)
        if found == key:
            return (text[:place] + new + text[end:]).encode()
        place = _token_at(text, end) + 1
        if text[place - 1] == "}":
            return f"{text[:begin]}{json.dumps(key)}: {new}, {text[begin:]}".encode()


def _token_at(text: str, place: int) -> int:
    """Where the white space ends that begins at a place."""
    while text[place] in " \t\n\r":
        place += 1
    return place


def json_type(value: object) -> str:
    """What a value is called in JSON."""
    names = {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        type(None): "null",
    }
    return names.get(type(value), "a number")


def _parse_json(data: bytes, path: str, field: str) -> Any:

    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            repeated = next(key for key, count in counts.items() if count > 1)
            raise ModelFormatError(path, field, f"key {repeated!r:.80} occurs twice in one object")
        return result

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=without_repeats)
    except ModelFormatError:
        raise
    except RecursionError:
        raise ModelFormatError(path, field, "nested too deeply to be read") from None
    except ValueError as error:  # not UTF-8, not JSON, a number of thousands of digits
        raise ModelFormatError(path, field, f"not valid JSON: {error}") from None
