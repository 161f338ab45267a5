"""The shapes of parts of a ``tokenizer.json``."""

from __future__ import annotations

from typing import Any

from nibblevec._texts import surrogate_in


def is_count(value: Any) -> bool:
    """Whether this is a whole number that 32 bits hold."""
    return type(value) is int and 0 <= value < 1 << 32


def _is_string(value: Any) -> bool:
    return type(value) is str and surrogate_in(value) is None


def _is_boolean(value: Any) -> bool:
    return type(value) is bool


def _is_token_and_id(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) == 2 and _is_string(value[0]) and is_count(value[1])
    )


def _is_special_tokens(value: Any) -> bool:
    return isinstance(value, dict) and all(
        has_shape(token, {"id": name, "ids": [is_count], "tokens": [_is_string]})
        and len(token["ids"]) == len(token["tokens"])
        and _is_string(name)
        for name, token in value.items()
    )


# The shapes of parts of BERT's tokenizers. A shape is a predicate, a value, a dict of fields and
# their shapes, a list with the shape of all items, or a tuple of alternatives.
SPECIAL_TOKEN = {"SpecialToken": {"id": _is_string, "type_id": is_count}}
_PIECE = (
    SPECIAL_TOKEN,
    {"Sequence": {"id": ("A", "B"), "type_id": is_count}},
)
_SHAPES: dict[str, Any] = {
    "padding": (
        None,
        {
            "strategy": ("BatchLongest", {"Fixed": is_count}),
            "direction": ("Left", "Right"),
            "pad_to_multiple_of": None,
            "pad_id": is_count,
            "pad_type_id": is_count,
            "pad_token": _is_string,
        },
    ),
    "post_processor": (
        None,
        {"type": "BertProcessing", "sep": _is_token_and_id, "cls": _is_token_and_id},
        {
            "type": "TemplateProcessing",
            "single": [_PIECE],
            "pair": [_PIECE],
            "special_tokens": _is_special_tokens,
        },
    ),
    "decoder": (None, {"type": "WordPiece", "prefix": _is_string, "cleanup": _is_boolean}),
}


def has_shape(value: Any, shape: Any) -> bool:
    """Whether a value has a shape, see `_SHAPES`."""
    if isinstance(shape, tuple):
        return any(has_shape(value, each) for each in shape)
    if isinstance(shape, dict):
        return (
            isinstance(value, dict)
            and value.keys() == shape.keys()
            and all(has_shape(value[name], each) for name, each in shape.items())
        )
    if isinstance(shape, list):
        return isinstance(value, list) and all(has_shape(each, shape[0]) for each in value)
    if callable(shape):
        return bool(shape(value))
    return type(value) is type(shape) and bool(value == shape)


def surely_loads(content: dict[str, Any]) -> bool:
    """Whether `tokenizers` takes those parts of a native tokenizer that are not used natively.

    False means that only the package itself can tell.
    """
    if not all(has_shape(content.get(name), shape) for name, shape in _SHAPES.items()):
        return False
    processor = content.get("post_processor")
    if processor is None or processor["type"] != "TemplateProcessing":
        return True
    pieces = processor["single"] + processor["pair"]
    used = {piece["SpecialToken"]["id"] for piece in pieces if "SpecialToken" in piece}
    pair = [piece["Sequence"]["id"] for piece in processor["pair"] if "Sequence" in piece]
    return used <= processor["special_tokens"].keys() and pair == ["A", "B"]
