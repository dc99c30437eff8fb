"""Parses whole numbers from values in Redis. Anybody with write access may have written them, and Python's int also
accepts `1_0`, ` 7` and Arabic digits.
"""

from __future__ import annotations

from typing import Final

from engine.domain.money import MAX_TOTAL_MICROS

_DIGITS: Final = 16


def whole(text: str | bytes | None, most: int = MAX_TOTAL_MICROS) -> int | None:
    """A whole number from text of 1 to 16 digits; None for anything else, or where it is above `most`."""
    if text is None or not 0 < len(text) <= _DIGITS or not text.isdigit() or not text.isascii():
        return None
    number = int(text)
    return number if number <= most else None


def strictly(text: str, what: str, most: int = MAX_TOTAL_MICROS) -> int:
    """The same. Raises ValueError that names what was expected."""
    number = whole(text, most)
    if number is None:
        raise ValueError(f"{text[:40]!r} is not {what}")
    return number
