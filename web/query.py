"""Parses values of a query string. Invalid ones are refused by name, because a guess would show something else than
was requested.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.errors import InvalidInput, shown


def whole_number(query: Mapping[str, str], name: str, largest: int) -> int | None:
    """A number from 1 to `largest`; None where it is not given. Raises InvalidInput."""
    text = query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= largest):
        raise InvalidInput(f"{name} {shown(text)} is not a number from 1 to {largest}", name)
    return int(text)


def numbers(query: Mapping[str, str], name: str, most: int) -> frozenset[int]:
    """Ids joined by dots, "" for none. Raises InvalidInput."""
    parts = query.get(name, "").split(".") if query.get(name) else []
    if len(parts) > most or not all(part.isascii() and part.isdigit() and len(part) < 13 for part in parts):
        raise InvalidInput(f"{name} {shown(query[name])} is not a list of at most {most} ids joined by dots", name)
    return frozenset(map(int, parts))
