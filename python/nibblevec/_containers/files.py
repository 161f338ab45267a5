"""Files of a model: only regular ones, and whatever is wrong is named with file and field."""

from __future__ import annotations

import errno
import io
import json
import mmap as mmap_module
import os
import re
import stat
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nibblevec._printing import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Of a tokenizer.json. The largest that are published, of 262,144 pieces with their merges, have
# 33 MB; this is four times as much.
MAX_TOKENIZER_BYTES = 1 << 27

# Of any other JSON file: modules, settings and a dozen prompts take a few KB.
MAX_SETTINGS_BYTES = 1 << 20

# Of an integer: Python's own limit, where it has one.
MAX_DIGITS = 4300


class ModelFormatError(ValueError):
    """A file of a model does not hold what it must.

    Attributes:
        path: the file.
        field: what in it is wrong.
        problem: what was expected and found.
    """

    def __init__(self, path: str, field: str, problem: str) -> None:
        # A field may be named by the file: at most a few words of it, and such as can be printed.
        field = printable(f"{field:.80}")
        problem = printable(problem)
        super().__init__(path, field, problem)
        self.path = path
        self.field = field
        self.problem = problem

    def add(self, words: str) -> None:
        """Say more of the problem."""
        self.problem = f"{self.problem}; {printable(words)}"
        self.args = (self.path, self.field, self.problem)

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.field}: {self.problem}"


class ModelFile:
    """A regular file, open as long as something refers to it; pieces of it are read or mapped.

    All of its bytes are those that it had when it was opened, even if another file has taken its
    name since.

    Attributes:
        path: of the file.
        size: in bytes, when it was opened.
        mmap: whether `piece` maps into memory, or reads.
    """

    def __init__(self, path: str, *, mmap: bool = False) -> None:
        """Open a file.

        Raises:
            OSError: missing, unreadable, a directory, a FIFO or a device.
        """
        self.path = path
        self.mmap = mmap
        descriptor = _open_regular(path)
        self._file = io.FileIO(descriptor)
        self.size = os.fstat(descriptor).st_size

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def read(self, begin: int, end: int, field: str) -> NDArray[np.uint8]:
        """Bytes of the file, in memory of their own.

        Raises:
            OSError: they cannot be read.
            ModelFormatError: the file was cut since it was opened (``field`` is named).
        """
        content = np.empty(end - begin, np.uint8)
        self._file.seek(begin)
        filled = 0
        while filled < content.size:
            count = self._file.readinto(content[filled:].data)
            if not count:
                raise self._cut(begin, end, field)
            filled += count
        content.flags.writeable = False
        return content

    def piece(self, begin: int, end: int, field: str) -> NDArray[np.uint8]:
        """Read-only bytes of the file, mapped into memory if that was asked for, else read.

        Raises:
            OSError: they cannot be read.
            ModelFormatError: the file was cut since it was opened (``field`` is named).
        """
        if not self.mmap or begin == end:  # nothing cannot be mapped
            return self.read(begin, end, field)
        lead = begin % mmap_module.ALLOCATIONGRANULARITY
        try:
            mapped = mmap_module.mmap(
                self._file.fileno(),
                end - begin + lead,
                access=mmap_module.ACCESS_READ,
                offset=begin - lead,
            )
        except ValueError:  # beyond the end
            raise self._cut(begin, end, field) from None
        return np.frombuffer(mapped, np.uint8)[lead:]

    def _cut(self, begin: int, end: int, field: str) -> ModelFormatError:
        problem = f"the file was cut while it was read: bytes {begin} to {end} are not there"
        return ModelFormatError(self.path, field, problem)


def read_file(path: str, field: str, max_bytes: int) -> bytes:
    """The content of a regular file that needs at most so many bytes.

    Raises:
        OSError: missing, unreadable, a directory, a FIFO or a device.
        ModelFormatError: it has more (``path`` and ``field`` are named); nothing was read then, or
            one byte too many of a file that grew.
    """
    with os.fdopen(_open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > max_bytes else file.read(size + 1)
        if len(content) > size:  # it grew, or does not say its size
            content += file.read(max_bytes + 1 - len(content))
    size = max(size, len(content))
    if size > max_bytes:
        raise ModelFormatError(path, field, f"{size} bytes, expected at most {max_bytes}")
    return content


def read_beginning(path: str, count: int) -> bytes:
    """So many bytes of a regular file, or fewer if it has fewer.

    Raises:
        OSError: missing, unreadable, a directory, a FIFO or a device.
    """
    with os.fdopen(_open_regular(path), "rb", buffering=0) as file:
        return file.read(count)


def map_file(path: str, *, mmap: bool = True) -> NDArray[np.uint8]:
    """The content of a regular file as read-only bytes, mapped into memory unless told otherwise.

    Raises:
        OSError: missing, unreadable, a directory, a FIFO or a device.
        ModelFormatError: it was cut while it was read.
    """
    file = ModelFile(path, mmap=mmap)
    return file.piece(0, file.size, "content")


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


def read_json_object(path: str, field: str) -> dict[str, Any]:
    """The JSON object of a file of settings; no object in it repeats a key.

    Raises:
        OSError: missing, unreadable, a directory, a FIFO or a device.
        ModelFormatError: anything else, or more than `MAX_SETTINGS_BYTES` (``path`` and ``field``
            are named).
    """
    return parse_json_object(read_file(path, field, MAX_SETTINGS_BYTES), path, field)


def parse_json_object(data: bytes, path: str, field: str) -> dict[str, Any]:
    """A JSON object; no object in it repeats a key.

    Raises:
        ModelFormatError: anything else (``path`` and ``field`` are named).
    """
    parsed = _parse_json(data, path, field)
    if not isinstance(parsed, dict):
        raise ModelFormatError(path, field, f"expected an object, found {json_type(parsed)}")
    return parsed


def read_json_array(path: str, field: str) -> list[Any]:
    """The JSON array of a file of settings; no object in it repeats a key.

    Raises:
        OSError: missing, unreadable, a directory, a FIFO or a device.
        ModelFormatError: anything else, or more than `MAX_SETTINGS_BYTES` (``path`` and ``field``
            are named).
    """
    parsed = _parse_json(read_file(path, field, MAX_SETTINGS_BYTES), path, field)
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


def json_decoder(path: str, field: str) -> json.JSONDecoder:
    """A decoder that refuses objects that repeat a key, and numbers of thousands of digits.

    Its errors are those of `as_format_errors`, or `ModelFormatError`.
    """

    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            raise repeated_key(next(_repeats(key for key, _ in pairs)), path, field)
        return result

    return json.JSONDecoder(object_pairs_hook=without_repeats, parse_int=_integer_parser())


def _integer_parser() -> Callable[[str], int] | None:
    # Python refuses longer integers, whose time is quadratic, unless somebody lifted its limit.
    limit = getattr(sys, "get_int_max_str_digits", lambda: 0)()
    is_limited = 0 < limit <= MAX_DIGITS
    return None if is_limited else _short_integer


def repeated_key(key: str, path: str, field: str) -> ModelFormatError:
    """The error of an object that repeats a key."""
    return ModelFormatError(path, field, f"key {key!r:.80} occurs twice in one object")


@contextmanager
def as_format_errors(path: str, field: str) -> Iterator[None]:
    """Errors of reading JSON become a `ModelFormatError` of ``path`` and ``field``."""
    try:
        yield
    except ModelFormatError:
        raise
    except RecursionError:
        raise ModelFormatError(path, field, "nested too deeply to be read") from None
    except ValueError as error:  # not UTF-8, not JSON, a number of thousands of digits
        raise ModelFormatError(path, field, f"not valid JSON: {error}") from None


def _parse_json(data: bytes, path: str, field: str) -> Any:
    with as_format_errors(path, field):
        text = data.decode("utf-8")
        if text.startswith("\ufeff"):
            raise ValueError("it begins with a byte order mark")
        parsed, keys = _decoded_with_count(text)
        # Where no key is parted from its colon, there are at most so many keys, repeated ones too:
        # of two quotes with a colon each (the token ":" and its number) one ends no key.
        most = data.count(b'":') - data.count(b'":":')
        if keys == most and not re.search(rb'"[ \t\n\r]+:', data):
            return parsed
        return json_decoder(path, field).decode(text)


def _decoded_with_count(text: str) -> tuple[Any, int]:
    """What JSON holds, the last one of repeated keys, and how many keys there are then.

    It takes two thirds of the time of a decoder that looks at each key.
    """
    counts: list[int] = []

    def counted(parsed: dict[str, Any]) -> dict[str, Any]:
        counts.append(len(parsed))
        return parsed

    decoder = json.JSONDecoder(object_hook=counted, parse_int=_integer_parser())
    return decoder.decode(text), sum(counts)


def _repeats(keys: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            yield key
        seen.add(key)


def _short_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)
