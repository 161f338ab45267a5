"""JSON lines: objects read with the numbers of their lines, and JSON that a terminal can show."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from nibblevec._io.errors import InputError
from nibblevec._io.refusals import by_command
from nibblevec._texts import surrogate_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Characters that JSON need not escape, but that control a terminal or end a line.
_NOT_READABLE = re.compile("[\x7f-\x9f\u2028\u2029]")


class _Repeating(dict[str, Any]):
    """An object of JSON that has keys more than once.

    Attributes:
        repeated: these keys.
    """

    repeated: set[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) == len(pairs):
        return record
    repeating = _Repeating(record)
    once = set(record)
    repeating.repeated = set()
    for key, _ in pairs:
        if key not in once:
            repeating.repeated.add(key)
        once.discard(key)
    return repeating


_read_json = json.JSONDecoder(object_pairs_hook=_object).decode


def json_objects(
    lines: Iterable[str], name: str, first_line: int = 1
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of JSON lines, each with the number of its line; blank lines are passed over.

    Args:
        lines: of a file.
        name: the file, for errors.
        first_line: number of the first of the lines.

    Raises:
        InputError: a line is not JSON, or not an object.
    """
    for number, line in enumerate(lines, first_line):
        if not line.strip():
            continue
        try:
            record = _read_json(line)
        except (ValueError, RecursionError) as error:
            hint = ""
            beginning = line.strip()
            if number == 1 and (beginning == "{" or beginning.startswith("[")):
                hint = f"; if it is one JSON document, {_as_lines(beginning[0], name)}"
            problem = _problem_of_json(error) + hint
            raise InputError(f"{name}, line {number}: not JSON: {problem}") from None
        if not isinstance(record, dict):
            raise InputError(f"{name}, line {number}: not a JSON object{_other_json(record, name)}")
        yield number, record


def _problem_of_json(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return str(error)
    # The words of Python tell how to change its limits.
    return "too deep" if isinstance(error, RecursionError) else "an integer of too many digits"


def _other_json(record: object, name: str) -> str:
    if isinstance(record, str):
        command = by_command("jq -c '{text: .}'", name)
        return f" but a string; {command} makes objects of such lines"
    if isinstance(record, list):
        return f" but an array; {_as_lines('[', name)}"
    return f" but {json.dumps(record):.40}"


def _as_lines(bracket: str, name: str) -> str:
    command = "jq -c '.[]'" if bracket == "[" else "jq -c ."
    return f"{by_command(command, name)} makes a line of each object"


def text_under(key: str, record: dict[str, Any], name: str, number: int) -> str:
    """The text that an object of JSON lines has under a key.

    Raises:
        InputError: it has none, several, or one with a surrogate.
    """
    if isinstance(record, _Repeating) and key in record.repeated:
        raise InputError(f"{name}, line {number}: {key!r} is there more than once")
    text = record.get(key)
    if not isinstance(text, str):
        keys = ", ".join(map(repr, record)) or "nothing"
        found = f"it has {keys}" if key not in record else "not text"
        raise InputError(f"{name}, line {number}: no text under {key!r} ({found:.200})")
    if (surrogate := surrogate_in(text)) is not None:
        raise InputError(f"{name}, line {number}: {surrogate} of the text")
    return text


def readable_json(value: object, **options: Any) -> str:
    """JSON in readable characters: those that control a terminal or end a line are escaped.

    JSON itself asks that only of the control characters before the blank.
    """
    text = json.dumps(value, ensure_ascii=False, **options)
    return _NOT_READABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
