"""The encoding of a text, recognised by its bytes."""

from __future__ import annotations

import codecs

# Control characters that no text has, in any encoding.
_NOT_IN_TEXTS = bytes(code for code in range(32) if code not in b"\t\n\v\f\r\x1b")

# The bytes that announce characters of two bytes each, and iconv's name for the encoding. All of
# these bytes are ASCII, so such a text is also UTF-8.
_ISO_2022 = {
    **dict.fromkeys((b"\x1b$@", b"\x1b$B"), "ISO-2022-JP"),
    **dict.fromkeys((b"\x1b$A", b"\x1b$(C", b"\x1b$(D"), "ISO-2022-JP-2"),
    **dict.fromkeys((b"\x1b$(O", b"\x1b$(P", b"\x1b$(Q"), "ISO-2022-JP-3"),
    b"\x1b$)C": "ISO-2022-KR",
    **dict.fromkeys((b"\x1b$)A", b"\x1b$)G", b"\x1b$*H"), "ISO-2022-CN"),
    b"\x1b$)E": "ISO-2022-CN-EXT",
}

_BYTE_ORDER_MARKS = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)

# Encodings without a mark, and the least number of ASCII characters that shows one.
_WIDE_ENCODINGS = (("UTF-32LE", 3), ("UTF-32BE", 3), ("UTF-16LE", 8), ("UTF-16BE", 8))
_OTHER_BYTE_ORDER = {
    **{"UTF-32LE": "UTF-32BE", "UTF-32BE": "UTF-32LE"},
    **{"UTF-16LE": "UTF-16BE", "UTF-16BE": "UTF-16LE"},
}
_BELOW_BLANK = bytes(code for code in range(32) if code not in b"\n")


def is_utf8(beginning: bytes) -> bool:
    """Whether a text begins in UTF-8; the last character may be cut."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(beginning)
    except UnicodeDecodeError:
        return False
    return True


def has_control_characters(content: bytes) -> bool:
    """Whether the content has control characters that no text has, in any encoding."""
    return len(content.translate(None, _NOT_IN_TEXTS)) < len(content)


def iso_2022(content: bytes) -> tuple[int, str] | None:
    """The place where an encoding of ISO 2022 announces itself, and iconv's name for it."""
    if b"\x1b$" not in content:
        return None
    places = {content.find(sequence): encoding for sequence, encoding in _ISO_2022.items()}
    places.pop(-1, None)
    return min(places.items(), default=None)


def utf_16_or_32(content: bytes) -> str | None:
    """The name that iconv has for the encoding of a text in UTF-16 or UTF-32; None for others.

    Args:
        content: from the beginning of the text, which may have a byte order mark.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return encoding
    # Without a mark, letters, blanks and line ends of ASCII show the encoding.
    for encoding, least in _WIDE_ENCODINGS:
        characters, of_ascii = _characters(content, encoding)
        if of_ascii < least:
            continue
        if 10 * _characters(content, _OTHER_BYTE_ORDER[encoding])[1] > of_ascii:
            continue
        # Texts of odd lengths that NULs divide look the same, but are texts without the NULs.
        # Letters of other scripts have bytes below the blank.
        divided = content.replace(b"\0", b"")
        low = len(divided) - len(divided.translate(None, _BELOW_BLANK))
        if (
            encoding.startswith("UTF-32")
            or 2 * of_ascii >= characters
            or 8 * low > len(divided)
            or not is_utf8(divided)
        ):
            return encoding
    return None


def _characters(content: bytes, encoding: str) -> tuple[int, int]:
    """The number of all characters, and of ASCII; (0, 0) if the content is in another encoding."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(content)
    except UnicodeDecodeError:
        return 0, 0
    if "\0" in text:
        return 0, 0
    return len(text), len(text.encode("ascii", "ignore"))
