"""Queries of `verify` on the rows: whether each belongs to an entry and campaign, and to its own day. Read only, and
bounded by days or by watermarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, text

from engine.ledger.audit import Disagreement, Scope
from engine.ledger.retention import dropped_days
from engine.ledger.verified import SUMS


class Stray(NamedTuple):
    """Rows that belong to nothing, and their micros."""

    what: str
    brand_id: int
    micros: int


_LIMIT: Final = 100


def without_campaign(connection: Connection, scope: Scope, first: date, last: date) -> list[Stray]:
    """Rows of campaigns that are not in the catalog, or were never published."""
    return _strays(
        connection,
        "SELECT l.brand_id, l.micros, format('campaign %s was never published, and has %s rows', l.campaign_id, l.rows) AS what FROM"
        f" (SELECT brand_id, campaign_id, sum(micros)::bigint AS micros, sum(rows)::bigint AS rows FROM ({SUMS}) AS s GROUP BY 1, 2) AS l"
        " LEFT JOIN campaign AS c ON c.id = l.campaign_id WHERE c.published_version IS NULL ORDER BY 1, 3 LIMIT :limit",
        {**scope.values, "first": first, "last": last},
    )


def beyond_the_cursor(connection: Connection, scope: Scope) -> list[Stray]:
    """Rows of journal entries beyond PostgreSQL's own cursor: no entry that was read has them."""
    return _strays(
        connection,
        "SELECT min(l.brand_id) AS brand_id, sum(l.amount_micros)::bigint AS micros,"
        " format('shard %s has %s rows above its cursor (n %s), the first at n %s', c.shard, count(*), c.n, min(l.n)) AS what"
        f" FROM ({scope.rows}) AS l JOIN journal_cursor AS c ON c.shard = l.shard"
        " WHERE l.n > c.n OR l.generation > c.generation GROUP BY c.shard, c.n ORDER BY c.shard LIMIT :limit",
        scope.values,
    )


def holds_apart(connection: Connection, since: datetime) -> list[Stray]:
    """Holds that ended since an instant without exactly their row, and rows of holds without their hold. Draws from a
    lease are calls with ids of their own.
    """
    return _strays(
        connection,
        "SELECT coalesce(h.brand_id, l.brand_id) AS brand_id, coalesce(l.micros, 0) - coalesce(h.settled_micros, 0) AS micros,"
        " format('hold %s:%s is %s with %s micros settled, its rows (%s) are %s micros', campaign_id, hold_id,"
        " coalesce(h.state, 'not there'), coalesce(h.settled_micros, 0), coalesce(l.rows, 0), coalesce(l.micros, 0)) AS what"
        " FROM (SELECT * FROM hold WHERE state IN ('settled', 'over', 'late')"
        " AND ended_at >= :since) AS h"
        " FULL JOIN (SELECT brand_id, campaign_id, hold_id, sum(amount_micros)::bigint AS micros, count(*) AS rows, min(kind) AS kind"
        " FROM spend_log WHERE day >= CAST(:day AS date) - 1 AND recorded_at >= :since AND hold_id IS NOT NULL"
        " AND request_id = campaign_id || ':' || hold_id GROUP BY 1, 2, 3) AS l USING (campaign_id, hold_id)"
        " WHERE (h.settled_micros IS DISTINCT FROM l.micros OR l.rows <> 1"
        " OR l.kind <> (CASE h.state WHEN 'settled' THEN 'spend' ELSE h.state END))"
        # Its row was dropped with its day.
        " AND NOT (l.rows IS NULL AND EXISTS (SELECT FROM dropped_day AS d WHERE d.brand_id = h.brand_id"
        " AND abs(d.day - (h.ended_at AT TIME ZONE 'UTC')::date) <= 1))"
        " ORDER BY 1, 3 LIMIT :limit",
        {"since": since, "day": since.astimezone(UTC).date()},
    )


# The own day of a brand with a time zone at an instant.
_OWN_DAY: Final = (
    " LEFT JOIN LATERAL (SELECT z.day FROM zoned AS z WHERE z.brand_id = l.brand_id AND l.{at} >= z.begins AND l.{at} < z.ends)"
    " AS {at}_own ON true"
)
_ZONED: Final = (
    "WITH zoned AS MATERIALIZED (SELECT brand_id, day, to_timestamp(begins / 1000.0) AS begins, to_timestamp(ends / 1000.0) AS ends FROM"
    " unnest(CAST(:z_brands AS bigint[]), CAST(:z_days AS date[]), CAST(:z_begins AS bigint[]), CAST(:z_ends AS bigint[]))"
    " AS z(brand_id, day, begins, ends)) "
)


def off_their_day(connection: Connection, scope: Scope, own_days: Mapping[str, Any]) -> list[Stray]:
    """Rows whose day is not their brand's own day at their instant; a correction names an earlier day of its own, and a late spend the
    day before, on which it occurred. own_days: of brands with a time zone, see `Clocks.own_days`.
    """
    ats = ("recorded_at", "occurred_at")
    joins, heads = "", ""
    recorded, occurred = (f"(l.{at} AT TIME ZONE 'UTC')::date" for at in ats)
    if own_days["z_brands"]:
        recorded, occurred = f"coalesce(recorded_at_own.day, {recorded})", f"coalesce(occurred_at_own.day, {occurred})"
        joins, heads = "".join(_OWN_DAY.format(at=at) for at in ats), _ZONED
    return _strays(
        connection,
        f"{heads}SELECT l.brand_id, sum(amount_micros)::bigint AS micros,"
        " format('brand %s has %s rows of kind %s on %s that were recorded on another day', l.brand_id, count(*), kind, l.day) AS what"
        f" FROM ({scope.rows}) AS l{joins} WHERE CASE kind WHEN 'correction' THEN l.day >= {recorded}"
        f" WHEN 'spend' THEN l.day <> {recorded} AND (l.day <> {recorded} - 1 OR occurred_at IS NULL OR l.day <> {occurred})"
        f" ELSE l.day <> {recorded} END GROUP BY l.brand_id, l.day, kind ORDER BY 1, 3 LIMIT :limit",
        {**scope.values, **(own_days if heads else {})},
    )


# Rows from quarantine that came after the close: their day was closed without them, and stays so.
_LATE_BOOKED: Final = (
    " LEFT JOIN LATERAL (SELECT sum((line->>3)::bigint)::bigint AS micros FROM quarantine AS q, jsonb_array_elements(q.sums) AS line"
    " WHERE q.state = 'persisted' AND q.ended_at > t.closed_at AND (line->>0)::bigint = t.brand_id"
    " AND (line->>2)::date BETWEEN t.starts_on AND :last) AS q ON true"
)


# Of a day whose rows were dropped the sums below a watermark are not used: its rows and what was dropped are all.
_DROPPED: Final = "(SELECT day FROM dropped_day WHERE day BETWEEN :first AND :last)"


def closed_days_off(connection: Connection, scope: Scope, first: date, last: date) -> list[Disagreement]:
    """Brands whose closed total of a day is not the sum of its rows, dropped ones included (corrections came after the close and left it alone)."""
    return _closed(
        connection,
        "SELECT t.brand_id, t.starts_on, t.spend_micros AS found, coalesce(l.micros, 0) - coalesce(q.micros, 0) AS expected FROM period_total AS t"
        " LEFT JOIN (SELECT brand_id, day, sum(micros)::bigint AS micros FROM"
        f" (SELECT brand_id, day, micros - corrections AS micros FROM ({SUMS}) AS s WHERE day NOT IN {_DROPPED}"
        " UNION ALL SELECT brand_id, day, amount_micros FROM spend WHERE day = ANY(CAST(:dropped AS date[])) AND kind <> 'correction'"
        " UNION ALL SELECT brand_id, day, spend_micros FROM dropped_day WHERE day BETWEEN :first AND :last) AS parts GROUP BY 1, 2)"
        " AS l ON l.brand_id = t.brand_id AND l.day = t.starts_on"
        + _LATE_BOOKED.replace("BETWEEN t.starts_on AND :last", "= t.starts_on")
        + " WHERE t.period = 'day' AND t.starts_on BETWEEN :first AND :last"
        " AND t.spend_micros <> coalesce(l.micros, 0) - coalesce(q.micros, 0) ORDER BY 1, 2 LIMIT :limit",
        {**scope.values, "first": first, "last": last, "dropped": dropped_days(connection, first, last)},
        "closed total of",
    )


def closed_month_off(connection: Connection, first: date, last: date, ends: Mapping[str, Any]) -> list[Disagreement]:
    """Brands whose closed total of the month from first to last is not the sum of its days, corrections after its end left out. ends: when
    it ended for brands with a time zone, see `Clocks.ends_of`.
    """
    return _closed(
        connection,
        "SELECT t.brand_id, t.starts_on, t.spend_micros AS found,"
        " coalesce(d.micros, 0) - coalesce(c.micros, 0) - coalesce(q.micros, 0) AS expected FROM period_total AS t"
        " LEFT JOIN (SELECT brand_id, sum(spend_micros)::bigint AS micros FROM campaign_day WHERE day BETWEEN :first AND :last"
        " GROUP BY 1) AS d ON d.brand_id = t.brand_id"
        " LEFT JOIN (SELECT brand_id, to_timestamp(ms / 1000.0) AS at FROM unnest(CAST(:e_brands AS bigint[]), CAST(:e_ends AS bigint[]))"
        " AS given(brand_id, ms)) AS e ON e.brand_id = t.brand_id"
        " LEFT JOIN LATERAL (SELECT sum(micros)::bigint AS micros FROM (SELECT sum(amount_micros) AS micros FROM spend_log"
        " WHERE brand_id = t.brand_id AND day BETWEEN :first AND :last AND kind = 'correction'"
        " AND recorded_at >= coalesce(e.at, CAST(CAST(:last AS date) + 1 AS timestamp) AT TIME ZONE 'UTC') UNION ALL SELECT sum(after_month_micros)"
        " FROM dropped_day WHERE brand_id = t.brand_id AND day BETWEEN :first AND :last) AS parts) AS c ON true"
        + _LATE_BOOKED
        + " WHERE t.period = 'month' AND t.starts_on = :first"
        " AND t.spend_micros <> coalesce(d.micros, 0) - coalesce(c.micros, 0) - coalesce(q.micros, 0) ORDER BY 1 LIMIT :limit",
        {"first": first, "last": last, **ends},
        "closed total of the month from",
    )


def _strays(connection: Connection, query: str, values: Mapping[str, Any]) -> list[Stray]:
    found = connection.execute(text(query), {**values, "limit": _LIMIT})
    return [Stray(row.what, row.brand_id, row.micros) for row in found]


def _closed(connection: Connection, query: str, values: Mapping[str, Any], what: str) -> list[Disagreement]:
    found = connection.execute(text(query), {**values, "limit": _LIMIT})
    return [
        Disagreement(f"brand {row.brand_id}", f"{what} {row.starts_on}", row.expected, row.found, row.brand_id)
        for row in found
    ]
