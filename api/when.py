"""Days and instants in addresses and bodies, as text of one form each."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import Field

from engine.errors import InvalidInput, shown

DayText = Annotated[str | None, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="A day, such as 2026-11-29")]
InstantText = Annotated[
    str | None, Field(max_length=40, description="An instant with its zone, such as 2026-11-29T14:00Z")
]
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def day_of(text: str, field: str) -> date:
    """A day. Raises InvalidInput."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = date.min
    if not _FIRST.date() <= found < _LAST.date():
        raise InvalidInput(f"{field} {shown(text)} is no day of the calendar since 1970: write 2026-11-29", field)
    return found


def instant_of(text: str, field: str) -> datetime:
    """An instant in UTC. Raises InvalidInput."""
    try:
        found = datetime.fromisoformat(text)
        found = _FIRST if found.tzinfo is None else found.astimezone(UTC)
        fits = _FIRST < found < _LAST
    except (ValueError, OverflowError):
        fits = False
    if not fits:
        raise InvalidInput(f"{field} {shown(text)} is no instant with a zone: write 2026-11-29T14:00Z", field)
    return found
