"""Which spends of journal entries the log has already: asked for a slice of entries at once, so that a rebuild does not ask once an entry."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

_COUNTED: Final = text(
    "SELECT n, request_id, recorded_at, count(*) AS rows FROM spends_since(:since) WHERE brand_id = ANY(CAST(:brands AS bigint[]))"
    " AND recorded_at <= :until AND day = ANY(CAST(:days AS date[])) AND shard = :shard GROUP BY 1, 2, 3"
)
_DROPPED: Final = text(
    "SELECT brand_id, day FROM dropped_day WHERE brand_id = ANY(CAST(:brands AS bigint[]))"
    " AND day = ANY(CAST(:days AS date[]))"
)
# Long lists of constants are hashed by PostgreSQL: one pass over the rows of the time, however many are asked for.
_ALIKE: Final = text(
    "SELECT brand_id, kind, event_id, request_id, position FROM spends_since(:since)"
    " WHERE brand_id = ANY(CAST(:brands AS bigint[]))"
    " AND (day >= :first_day OR day = ANY(CAST(:days AS date[]))) AND shard = :shard"
    " AND (request_id = ANY(CAST(:requests AS text[])) OR event_id = ANY(CAST(:events AS text[])))"
)
_APPLIED: Final = text(
    "SELECT brand_id, event_id, refund_id FROM refund WHERE state = 'applied'"
    " AND brand_id = ANY(CAST(:brands AS bigint[])) AND event_id = ANY(CAST(:events AS text[]))"
)


class Place(NamedTuple):
    """The rows of one entry that share a request id: its number, the request id and the instant at which it was recorded."""

    n: int
    request_id: str
    recorded_at: datetime


class Given(NamedTuple):
    """A spend that is looked for. day: the day that it is booked to; refund_id: "" of the refund that needs none, None of what is no refund."""

    brand_id: int
    kind: str
    event_id: str | None
    request_id: str
    position: int
    day: date
    refund_id: str | None


class Alike:
    """Rows that may be the same spends as some that are looked for, and refunds that were given, for good."""

    def __init__(self) -> None:
        self._events: set[tuple[int, str, str]] = set()
        self._places: set[tuple[int, str, int]] = set()
        self._refunds: set[tuple[int, str, str]] = set()

    def has(self, spend: Given) -> bool:
        """Whether the log has it: the same call and place, the same event of the brand, or the same refund of it."""
        if (spend.brand_id, spend.request_id, spend.position) in self._places:
            return True
        if spend.event_id is None:
            return False
        if spend.refund_id is not None:
            # A refund is once for good, whenever it came and whatever it was booked as.
            return (spend.brand_id, spend.event_id, spend.refund_id) in self._refunds
        return (spend.brand_id, spend.kind, spend.event_id) in self._events

    @classmethod
    def read(cls, connection: Connection, shard: int, since: datetime, spends: Collection[Given]) -> Alike:
        """Those of the shard that were recorded at `since` or later."""
        found = cls()
        if not spends:
            return found
        brands = sorted({spend.brand_id for spend in spends})
        asked = {
            "brands": brands,
            "since": since,
            "first_day": since.date(),
            "days": sorted({spend.day for spend in spends}),
            "shard": shard,
            "requests": sorted({spend.request_id for spend in spends}),
            "events": sorted({spend.event_id for spend in spends if spend.event_id is not None}),
        }
        for row in connection.execute(_ALIKE, asked):
            found._places.add((row.brand_id, row.request_id, row.position))
            if row.event_id is not None:
                found._events.add((row.brand_id, row.kind, row.event_id))
        refunded = {spend.event_id for spend in spends if spend.refund_id is not None}
        if refunded:
            given = connection.execute(_APPLIED, {"brands": brands, "events": sorted(filter(None, refunded))})
            found._refunds.update((row.brand_id, row.event_id, row.refund_id) for row in given)
        return found


def counted_rows(
    connection: Connection, shard: int, brands: Iterable[int], days: Iterable[date], since: datetime, until: datetime
) -> dict[Place, int]:
    """How many rows the log has of each entry that was recorded from `since` to `until`, both included, of these brands and days."""
    asked = {"brands": sorted(brands), "days": sorted(days), "since": since, "until": until, "shard": shard}
    found = connection.execute(_COUNTED, asked)
    return {Place(row.n, row.request_id, row.recorded_at): row.rows for row in found}


def dropped(connection: Connection, brands: Iterable[int], days: Iterable[date]) -> set[tuple[int, date]]:
    """(brand, day) of which rows were dropped. A day can be dropped only when PostgreSQL has the last entry of it."""
    found = connection.execute(_DROPPED, {"brands": sorted(brands), "days": sorted(days)})
    return {(row.brand_id, row.day) for row in found}
