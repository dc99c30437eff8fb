"""Names of brands, campaigns and people: normalised, so that no two names look alike by accident.

`clean_name` normalises every name. It composes letters (NFC), folds each run of blanks to one space, and strips
blanks at both ends. It refuses an invisible character by its Unicode name, because dropping it would be a guess.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from engine.errors import InvalidName, shown

NAME_LENGTH: Final = 200

_PLAIN: Final = re.compile(r"[!-~]+(?: [!-~]+)*", re.ASCII)
"""Printable ASCII with single spaces inside: most names, which need no change."""
_DOUBTFUL: Final = re.compile(r"[^ -~]")
_UNSEEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_UNSEEN: Final = re.compile(
    # Invisible characters that Unicode classes as letters, marks or symbols, and noncharacters.
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufdd0-\ufdef\ufe00-\ufe0f\uffa0\ufff0-\ufff8\ufffe\uffff\U000e0000-\U000e0fff]"
)
_CONTROLS: Final = {
    0x00: "NULL",
    0x09: "TABULATION",
    0x0A: "LINE FEED",
    0x0B: "LINE TABULATION",
    0x0C: "FORM FEED",
    0x0D: "CARRIAGE RETURN",
    0x1B: "ESCAPE",
    0x7F: "DELETE",
    0x85: "NEXT LINE",
}
"""Aliases of control characters, for which Unicode has no names."""


def clean_name(value: object, field: str = "name") -> str:
    """A normalised name: 1 to 200 visible characters, single spaces between words. Raises InvalidName."""
    if not isinstance(value, str):
        raise InvalidName(f"{field} {shown(value)} is a {type(value).__name__}: give a text", field)
    if len(value) <= NAME_LENGTH and _PLAIN.fullmatch(value):
        return value
    name = value.strip()
    unseen = first_unseen(name)
    if unseen is not None:
        visible = shown(name).replace(unseen, ascii(unseen)[1:-1])
        raise InvalidName(f"{field} {visible} holds {sign_name(unseen)}: take it out", field)
    name = _folded(name)
    if not name:
        raise InvalidName(f"{field} {shown(value)} is blank: give 1 to {NAME_LENGTH} characters", field)
    if len(name) > NAME_LENGTH:
        raise InvalidName(f"{field} {shown(name)} has {len(name)} characters: give at most {NAME_LENGTH}", field)
    return name


@lru_cache(4096)
def likeness(name: str) -> str:
    """What a person sees of a name. Two names with the same result look alike."""
    return _folded("".join(sign for sign in unicodedata.normalize("NFC", name) if not is_unseen(sign)))


def first_unseen(text: str) -> str | None:
    """The first invisible character of a text; None when there is none."""
    return next((sign for sign in text if is_unseen(sign)), None)


def is_unseen(sign: str) -> bool:
    """Whether a character is a control, a direction mark, a line end, of zero width, or invisible otherwise."""
    return unicodedata.category(sign) in _UNSEEN_CATEGORIES or _UNSEEN.match(sign) is not None


def seen(text: str, kept: str = "") -> str:
    """A text with each invisible character escaped, for names that are older than `clean_name` and for text from
    others.
    """
    if text.isascii() and text.isprintable():
        return text
    return _DOUBTFUL.sub(
        lambda found: found[0] if found[0] in kept or not is_unseen(found[0]) else _escape(found[0]), text
    )


def _escape(sign: str) -> str:
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def sign_name(sign: str) -> str:
    """A character in a message: "ZERO WIDTH SPACE (U+200B), which cannot be seen"."""
    code = ord(sign)
    if unicodedata.category(sign) == "Cc":
        alias = _CONTROLS.get(code)
        return f"the control character {alias} (U+{code:04X})" if alias else f"the control character U+{code:04X}"
    if unicodedata.category(sign) == "Cs":
        return f"half of a surrogate pair (U+{code:04X}), which is no character"
    return f"{unicodedata.name(sign, 'a sign without a name')} (U+{code:04X}), which cannot be seen"


def _folded(name: str) -> str:
    """Composed letters, every kind of blank a space, no two spaces side by side, none at the ends."""
    blanks = "".join(" " if unicodedata.category(sign) == "Zs" else sign for sign in unicodedata.normalize("NFC", name))
    return re.sub(" {2,}", " ", blanks).strip()
