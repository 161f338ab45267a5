"""JSON of a model: no object repeats a key, and an error names file and field."""

from __future__ import annotations

import json
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nibblevec._containers.files import ModelFormatError, read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Greatest size of a file of settings: modules, settings and a dozen prompts take a few KB.
MAX_SETTINGS_BYTES = 1 << 20

# Most digits of an integer: Python's own limit, where it has one.
MAX_DIGITS = 4300


def read_json_object(path: str, field: str) -> dict[str, Any]:
    """The JSON object of a file of settings; no object in it repeats a key.

    Raises:
        OSError: missing, unreadable, a directory, a FIFO or a device.
        ModelFormatError: it is no JSON object, or longer than `MAX_SETTINGS_BYTES` (names ``path``
            and ``field``).
    """
    return parse_json_object(read_file(path, field, MAX_SETTINGS_BYTES), path, field)


def parse_json_object(data: bytes, path: str, field: str) -> dict[str, Any]:
    """A JSON object; no object in it repeats a key.

    Raises:
        ModelFormatError: it is no JSON object (names ``path`` and ``field``).
    """
    parsed = _parse_json(data, path, field)
    if not isinstance(parsed, dict):
        raise ModelFormatError(path, field, f"expected an object, found {json_type(parsed)}")
    return parsed


def read_json_array(path: str, field: str) -> list[Any]:
    """The JSON array of a file of settings; no object in it repeats a key.

    Raises:
        OSError: missing, unreadable, a directory, a FIFO or a device.
        ModelFormatError: it is no JSON array, or longer than `MAX_SETTINGS_BYTES` (names ``path``
            and ``field``).
    """
    parsed = _parse_json(read_file(path, field, MAX_SETTINGS_BYTES), path, field)
    if not isinstance(parsed, list):
        raise ModelFormatError(path, field, f"expected an array, found {json_type(parsed)}")
    return parsed


def with_member(content: bytes, key: str, value: object) -> bytes:
    """A JSON object with another value for one of its keys; the rest keeps its bytes.

    If numbers were written anew, other readers might round them in another way.

    Args:
        content: a JSON object with at least one member.
        key: replaced, or added if the object lacks it.
        value: any that JSON can hold.
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
    """The place of the next character that is no white space."""
    while text[place] in " \t\n\r":
        place += 1
    return place


def json_type(value: object) -> str:
    """The name of a value's type in JSON."""
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
        # An upper bound of the number of keys, repeated ones included, if no key is apart from its
        # colon. The string ":" as a key has two quotes before a colon, of which one ends no key.
        most = data.count(b'":') - data.count(b'":":')
        if keys == most and not re.search(rb'"[ \t\n\r]+:', data):
            return parsed
        return json_decoder(path, field).decode(text)


def _decoded_with_count(text: str) -> tuple[Any, int]:
    """The value, with the last one of repeated keys, and the number of keys in it.

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
