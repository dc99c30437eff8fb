"""Lists in pages: a cursor names the last row of a page and how the list was asked for."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeVar

from pydantic import Field

from api.reading import Query
from engine.errors import InvalidInput

MOST: Final = 200
LARGEST: Final = 2**63 - 1
Row = TypeVar("Row")


class PageQuery(Query):
    """How every list is paged."""

    cursor: str | None = Field(None, max_length=400, description="`next` of the page before")
    limit: Annotated[int, Field(ge=1, le=MOST)] = 50


def packed(asked: Sequence[Any], place: Sequence[Any]) -> str:
    """A cursor: what was asked for, and the place of the last row."""
    return base64.urlsafe_b64encode(json.dumps([list(asked), list(place)]).encode()).decode().rstrip("=")


def place_of(cursor: str | None, asked: Sequence[Any], kinds: Sequence[type]) -> list[Any] | None:
    """The place that a cursor names; None without one. Raises InvalidInput for one of another list, or that is none."""
    if cursor is None:
        return None
    try:
        given, place = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        fits = given == list(asked) and [type(each) for each in place] == list(kinds) and all(map(_is_stored, place))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        fits, place = False, None
    if not fits:
        raise InvalidInput(
            "cursor is not of this list: take `next` of its page before, with the same filters and sort", "cursor"
        )
    return list(place)


def _is_stored(value: int | str) -> bool:
    """Whether PostgreSQL can have this number or text in a row. Raises ValueError for half of a surrogate pair."""
    return 0 <= value <= LARGEST if isinstance(value, int) else b"\0" not in value.encode()


def page(items: list[dict[str, Any]], cursor: str | None) -> dict[str, Any]:
    """The document of a page."""
    return {"items": items, "next": cursor}
