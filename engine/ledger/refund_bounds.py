"""What bounds refunds by PostgreSQL's word: the spend of each event, what was refunded of it, and what is left of the day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, text


class Bounds(NamedTuple):
    """Of some events of a brand on a day. spent: {(event, campaign, day): micros}, of the days before and after too; refunded: {event:
    micros}, given back or approved; left: {campaign: micros} of the day; dropped: rows of the day are gone; given_up: events that stand in
    entries that a person dropped from quarantine; began: the brand's first day."""

    spent: dict[tuple[str, int, date], int]
    refunded: dict[str, int]
    left: dict[int, int]
    dropped: bool
    given_up: set[str]
    began: date


def bounds_of(connection: Connection, brand_id: int, day: date, events: Sequence[str]) -> Bounds:
    """The bounds of a brand's events on a day."""
    one = timedelta(days=1)
    values = {
        "brand": brand_id,
        "day": day,
        "events": list(events),
        "first": day - one,
        "last": day + one,
        "since": datetime.combine(day - one, time(), UTC),
        "until": datetime.combine(day + 2 * one, time(), UTC),
    }

    def rows(query: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in connection.execute(text(query), values)]

    spent = rows(
        "SELECT event_id, campaign_id, day, sum(amount_micros)::bigint FROM spends_of(:brand, :since, :until)"
        " WHERE day BETWEEN :first AND :last AND amount_micros > 0"
        " AND event_id = ANY(CAST(:events AS text[])) GROUP BY 1, 2, 3"
    )
    refunded = rows(
        "SELECT event_id, sum(micros)::bigint FROM refund WHERE brand_id = :brand"
        " AND event_id = ANY(CAST(:events AS text[])) AND state IN ('approved', 'applied') GROUP BY 1"
    )
    left = rows(
        "SELECT d.campaign_id, d.spend_micros - coalesce((SELECT sum(micros) FROM refund AS r WHERE r.brand_id = :brand"
        " AND r.campaign_id = d.campaign_id AND r.day = :day AND r.state = 'approved'), 0)::bigint"
        " FROM campaign_day AS d WHERE d.brand_id = :brand AND d.day = :day"
    )
    dropped = rows("SELECT 1 FROM dropped_day WHERE brand_id = :brand AND day = :day")
    given_up = rows(
        "SELECT e.id FROM unnest(CAST(:events AS text[])) AS e(id) WHERE EXISTS (SELECT FROM quarantine WHERE state = 'dropped'"
        " AND shard = mod(CAST(:brand AS bigint), 64) AND strpos(fields->>'h', ',' || e.id || ',') > 0)"
    )
    ((began,),) = rows(
        "SELECT least((SELECT (created_at AT TIME ZONE 'UTC')::date - 1 FROM brand WHERE id = :brand),"
        " (SELECT day FROM campaign_day WHERE brand_id = :brand AND spends > 0 ORDER BY day LIMIT 1))"
    )
    return Bounds(
        {(str(e), int(str(c)), d): int(str(m)) for e, c, d, m in spent if isinstance(d, date)},
        {str(e): int(str(m)) for e, m in refunded},
        {int(str(c)): int(str(m)) for c, m in left},
        bool(dropped),
        {str(e) for (e,) in given_up},
        began if isinstance(began, date) else date.max,
    )
