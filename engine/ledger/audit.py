"""Queries of `verify` on the ledger: duplicates, and sums that must agree. Read only, and bounded by days or by watermarks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, text

from engine.ledger.verified import ABOVE, SUMS

_EVENTS_AGAIN: Final = text(
    "SELECT brand_id, event_id, count(*) AS times,"
    " (sum(amount_micros) - (array_agg(amount_micros ORDER BY recorded_at, n, position))[1])::bigint AS again_micros,"
    " min(recorded_at) AS first_at, max(recorded_at) AS last_at FROM spend"
    " WHERE kind = 'spend' AND event_id IS NOT NULL AND day BETWEEN CAST(:day AS date) - 1 AND CAST(:day AS date) + 1"
    " GROUP BY brand_id, event_id HAVING count(*) > 1 AND bool_or(day = :day) ORDER BY 1, 2 LIMIT :limit"
)
_ROWS_OF_DAYS: Final = (
    "SELECT brand_id, campaign_id, day, amount_micros AS micros FROM spend WHERE day BETWEEN :first AND :last"
)
_DAILY_SUMS_OFF: Final = (
    "SELECT coalesce(l.brand_id, c.brand_id) AS brand_id, campaign_id, day, coalesce(l.micros, 0) AS expected,"
    " coalesce(c.spend_micros, 0) AS found"
    " FROM (SELECT brand_id, campaign_id, day, sum(micros)::bigint AS micros FROM ({rows}) AS rows GROUP BY 1, 2, 3) AS l"
    " FULL JOIN (SELECT * FROM campaign_day WHERE day BETWEEN :first AND :last) AS c USING (campaign_id, day)"
    " WHERE coalesce(l.micros, 0) <> coalesce(c.spend_micros, 0) ORDER BY 1, 2, 3 LIMIT :limit"
)
_HOURLY_SUMS_OFF: Final = text(
    "SELECT coalesce(d.brand_id, h.brand_id) AS brand_id, campaign_id, day, coalesce(d.spend_micros, 0) AS expected,"
    " coalesce(h.micros, 0) AS found FROM (SELECT * FROM campaign_day WHERE day BETWEEN :first AND :last) AS d"
    " FULL JOIN (SELECT brand_id, campaign_id, day, sum(spend_micros)::bigint AS micros"
    " FROM campaign_hour WHERE day BETWEEN :first AND :last GROUP BY 1, 2, 3) AS h USING (campaign_id, day)"
    " WHERE coalesce(d.spend_micros, 0) <> coalesce(h.micros, 0) ORDER BY 1, 2, 3 LIMIT :limit"
)
_CLOSED_BRANDS: Final = text(
    "SELECT brand_id FROM period_total WHERE period = 'day' AND starts_on = :day AND mod(brand_id, 64) = :shard"
)
_CLOSED_SHARDS: Final = text("SELECT shard FROM shard_close WHERE period = 'day' AND starts_on = :day")


class Twice(NamedTuple):
    """Something that was counted more than once, and the excess micros."""

    what: str
    brand_id: int
    micros: int


class Scope(NamedTuple):
    """The rows that a check looks at. rows: a query of them, with its values. back: how long before them the rows
    with the same ids are looked for; None where `rows` has those too.
    """

    rows: str
    values: Mapping[str, Any]
    back: timedelta | None = None

    def alike(self, identity: str, where: str) -> str:
        """The rows that may be the same as one of these."""
        wanted = f"({self.rows}) AS rows WHERE {where}"
        if self.back is None:
            return f"SELECT * FROM {wanted}"
        return (
            f"SELECT l.* FROM (SELECT * FROM spends_since(:at - :back) WHERE {where}) AS l"
            f" JOIN (SELECT DISTINCT {identity} FROM {wanted}) AS given USING ({identity})"
        )


def above(pass_id: int, at: datetime, back: timedelta) -> Scope:
    """The rows above the watermarks of a pass."""
    return Scope(ABOVE, {"pass": pass_id, "at": at, "back": back}, back)


def since_day(pass_id: int, at: datetime, since: date, shards: tuple[int, int]) -> Scope:
    """All rows of days, of the shards from a first to a last."""
    low, high = shards
    rows = "SELECT * FROM spend WHERE day >= :since AND shard BETWEEN :low AND :high"
    return Scope(rows, {"pass": pass_id, "at": at, "since": since, "low": low, "high": high})


class Disagreement(NamedTuple):
    """Two sums in the ledger that should be equal, in micros. owner: `brand 81` or `campaign 5308417`."""

    owner: str
    what: str
    expected: int
    found: int
    brand_id: int


def repeated_positions(connection: Connection, scope: Scope, limit: int = 100) -> list[Twice]:
    """Rows with the same (shard, generation, n, position): one entry written twice."""
    found = connection.execute(
        text(
            "SELECT shard, generation, n, position, min(brand_id) AS brand_id,"
            f" (sum(amount_micros) - min(amount_micros))::bigint AS micros FROM ({scope.rows}) AS rows"
            " GROUP BY shard, generation, n, position HAVING count(*) > 1 ORDER BY 1, 2, 3, 4 LIMIT :limit"
        ),
        {**scope.values, "limit": limit},
    )
    return [
        Twice(
            f"shard {row.shard} generation {row.generation} n {row.n} position {row.position}", row.brand_id, row.micros
        )
        for row in found
    ]


def repeated_events(connection: Connection, scope: Scope, window: timedelta, limit: int = 100) -> list[Twice]:
    """Spends of a brand with the same event id within its dedup window."""
    # Not in the order of the index on brands: to sort all rows is quicker than to fetch them brand by brand.
    return _repeated(connection, "event_id, brand_id", "event_id", scope, window, limit)


def repeated_requests(connection: Connection, scope: Scope, window: timedelta, limit: int = 100) -> list[Twice]:
    """Spends at the same place of the same request of a shard within its dedup window: a request applied twice."""
    return _repeated(connection, "shard, request_id, position", "request_id", scope, window, limit)


def _repeated(
    connection: Connection, identity: str, name: str, scope: Scope, window: timedelta, limit: int
) -> list[Twice]:
    rows = scope.alike(identity, f"kind = 'spend' AND {name} IS NOT NULL")
    found = connection.execute(
        text(
            f"SELECT brand_id, {name} AS name, sum(amount_micros)::bigint AS micros FROM"
            f" (SELECT brand_id, {name}, amount_micros, recorded_at - lag(recorded_at) OVER"
            f" (PARTITION BY {identity} ORDER BY recorded_at, n, position) AS gap FROM ({rows}) AS rows) AS spends"
            f" WHERE gap < :window GROUP BY brand_id, {name} ORDER BY 1, 2 LIMIT :limit"
        ),
        {**scope.values, "window": window, "limit": limit},
    )
    return [Twice(f"{name} {row.name}", row.brand_id, row.micros) for row in found]


_REFUNDS: Final = "kind IN ('refund', 'correction') AND event_id IS NOT NULL"


def repeated_refunds(connection: Connection, scope: Scope, since: date, limit: int = 100) -> list[Twice]:
    """Refunds of an event that were paid more often than the event was counted since a day."""
    rows = scope.alike("brand_id, event_id, request_id", _REFUNDS)
    found = connection.execute(
        text(
            "SELECT brand_id, request_id, (sum(amount_micros) - (array_agg(amount_micros ORDER BY recorded_at, n, position))[1])::bigint"
            f" AS micros FROM ({rows}) AS r GROUP BY brand_id, event_id, request_id"
            " HAVING count(*) > 1 AND count(*) > (SELECT count(*) FROM spends_of(r.brand_id, :begin, 'infinity') AS s WHERE"
            " s.event_id = r.event_id AND s.kind = 'spend' AND s.day >= :since) ORDER BY 1, 2 LIMIT :limit"
        ),
        {**scope.values, "since": since, "begin": datetime.combine(since, time(), UTC), "limit": limit},
    )
    return [Twice(row.request_id.replace(":", " of event ", 1), row.brand_id, row.micros) for row in found]


class Again(NamedTuple):
    """An event id that a brand counted more than once, outside its window, or a refund that was paid more than once;
    again_micros: all but the first. kind: `spend` or `refund`; refund_id: of a partial refund.
    """

    brand_id: int
    event_id: str
    times: int
    again_micros: int
    first_at: datetime
    last_at: datetime
    kind: str = "spend"
    refund_id: str | None = None


def events_again(connection: Connection, day: date, limit: int = 1000) -> list[Again]:
    """The event ids of a day that occur again, on it or on the day before or after."""
    found = connection.execute(
        _EVENTS_AGAIN,
        {"day": day, "limit": limit},
    )
    return [Again(*row) for row in found] + _refunds_again(connection, day, limit)


def _refunds_again(connection: Connection, day: date, limit: int) -> list[Again]:
    """Refunds that name a day and occur again: earlier releases paid them when a refund left the window with its
    event.
    """
    found = connection.execute(
        text(
            "SELECT brand_id, event_id, count(*) AS times,"
            " (sum(amount_micros) - (array_agg(amount_micros ORDER BY recorded_at, n, position))[1])::bigint AS again_micros,"
            " min(recorded_at) AS first_at, max(recorded_at) AS last_at, request_id FROM spend_log"
            f" WHERE {_REFUNDS} AND day BETWEEN CAST(:day AS date) - 1 AND CAST(:day AS date) + 1"
            " GROUP BY brand_id, event_id, request_id HAVING count(*) > 1 AND bool_or(day = :day) ORDER BY 1, 2, 7 LIMIT :limit"
        ),
        {"day": day, "limit": limit},
    )
    return [
        Again(
            row.brand_id, row.event_id, row.times, row.again_micros, row.first_at, row.last_at, "refund",
            row.request_id.partition(f"refund:{row.event_id},")[2] or None,
        )
        for row in found
    ]  # fmt: skip


def daily_sums_off(
    connection: Connection, first: date, last: date, limit: int = 100, scope: Scope | None = None
) -> list[Disagreement]:
    """Campaigns whose campaign_day is not the sum of their rows on a day. scope: takes their confirmed sums from a pass."""
    rows, values = (_ROWS_OF_DAYS, {}) if scope is None else (SUMS, scope.values)
    query = text(_DAILY_SUMS_OFF.format(rows=rows))
    found = connection.execute(query, {**values, "first": first, "last": last, "limit": limit})
    return _of_campaigns(found, "campaign_day")


def hourly_sums_off(connection: Connection, first: date, last: date, limit: int = 100) -> list[Disagreement]:
    """Campaigns whose campaign_day is not the sum of its hours on a day."""
    found = connection.execute(
        _HOURLY_SUMS_OFF,
        {"first": first, "last": last, "limit": limit},
    )
    return _of_campaigns(found, "hours")


def _of_campaigns(found: Iterable[Row[Any]], what: str) -> list[Disagreement]:
    return [
        Disagreement(f"campaign {row.campaign_id}", f"{what} of {row.day}", row.expected, row.found, row.brand_id)
        for row in found
    ]


def closed_brands(connection: Connection, shard: int, day: date) -> frozenset[int]:
    """The brands of a shard for which a day is closed."""
    return frozenset(connection.execute(_CLOSED_BRANDS, {"shard": shard, "day": day}).scalars())


def closed_shards(connection: Connection, day: date) -> frozenset[int]:
    """The shards that have closed a day."""
    found = connection.execute(_CLOSED_SHARDS, {"day": day})
    return frozenset(row.shard for row in found)
