"""What alerts read of the log: open breakers, brands that went silent, and spikes. Each query reads the brands that it is asked of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.alerts import USUAL_DAYS

_BREAKERS: Final = text(
    "SELECT c.id, c.brand_id, c.name, t.round, t.at FROM campaign AS c JOIN LATERAL"
    " (SELECT round, at FROM breaker_trip WHERE campaign_id = c.id ORDER BY round DESC LIMIT 1) AS t ON true"
    " WHERE 'breaker' = ANY(c.reasons) AND c.archived_at IS NULL ORDER BY c.id"
)
_ACTIVITY: Final = text(
    "SELECT b.id, (SELECT max(m.at) FROM unnest(CAST(:days AS date[])) AS d, LATERAL (SELECT at FROM brand_minute"
    " WHERE day = d AND brand_id = b.id AND spend_micros > 0 ORDER BY at DESC LIMIT 1) AS m) AS last_at,"
    " (SELECT coalesce(sum(spend_micros), 0)::bigint FROM brand_minute WHERE day = ANY(CAST(:days AS date[])) AND brand_id = b.id"
    " AND at >= :since AND at < :until) AS recent FROM unnest(CAST(:brands AS bigint[])) AS b(id)"
)
_USUAL: Final = text(
    "SELECT b.id, count(*) FILTER (WHERE s.micros > 0) AS days, coalesce(sum(s.micros), 0)::bigint AS micros"
    " FROM unnest(CAST(:brands AS bigint[]), CAST(:minutes AS integer[])) AS b(id, minutes),"
    f" generate_series(1, {USUAL_DAYS}) AS back, LATERAL (SELECT sum(spend_micros) AS micros FROM brand_minute WHERE brand_id = b.id"
    " AND day = ANY(ARRAY[CAST(:today AS date) - back - 1, CAST(:today AS date) - back, CAST(:today AS date) - back + 1])"
    " AND at >= :until - make_interval(days => back, mins => b.minutes) AND at < :until - make_interval(days => back)) AS s"
    " GROUP BY 1"
)
_LOGGED: Final = text(
    "SELECT d.brand_id, sum(d.spend_micros)::bigint AS micros FROM campaign_day AS d"
    " JOIN unnest(CAST(:brands AS bigint[]), CAST(:days AS date[])) AS b(id, day) ON d.brand_id = b.id AND d.day = b.day GROUP BY 1"
)
_RAN: Final = text(
    "SELECT b.id FROM unnest(CAST(:brands AS bigint[]), CAST(:minutes AS integer[])) AS b(id, minutes) WHERE EXISTS"
    " (SELECT FROM campaign AS c WHERE c.brand_id = b.id AND c.status = 'active' AND c.archived_at IS NULL"
    " AND c.created_at < :now - make_interval(mins => b.minutes) AND NOT EXISTS (SELECT FROM status_change AS s"
    " WHERE s.campaign_id = c.id AND s.at > :now - make_interval(mins => b.minutes)))"
)


class BreakerRow(NamedTuple):
    """A campaign that an open breaker stops."""

    campaign_id: int
    brand_id: int
    name: str
    round: int
    at: datetime


class Activity(NamedTuple):
    """last_at: the last minute with spend of the last day or two. recent: micros of the asked minutes."""

    last_at: datetime | None
    recent: int


class Usual(NamedTuple):
    """days: on how many of the last days there was spend at this time. micros: of one such day."""

    days: int
    micros: int


def breakers(connection: Connection) -> list[BreakerRow]:
    """Every open breaker."""
    return [BreakerRow(*row) for row in connection.execute(_BREAKERS)]


def activity(connection: Connection, brand_ids: Collection[int], now: datetime, minutes: int) -> dict[int, Activity]:
    """When brands spent last, and what they spent in the last whole minutes."""
    until = now.replace(second=0, microsecond=0)
    days = [until.date() + timedelta(days=back) for back in (-1, 0, 1)]
    values = {"brands": list(brand_ids), "days": days, "since": until - timedelta(minutes=minutes), "until": until}
    return {id_: Activity(last_at, recent) for id_, last_at, recent in connection.execute(_ACTIVITY, values)}


def usual(connection: Connection, minutes: Sequence[tuple[int, int]], now: datetime) -> dict[int, Usual]:
    """What is usual at this time of the day. minutes: (brand, so many minutes up to now)."""
    until = now.replace(second=0, microsecond=0)
    ids, spans = [id_ for id_, _ in minutes], [span for _, span in minutes]
    found = connection.execute(_USUAL, {"brands": ids, "minutes": spans, "until": until, "today": until.date()})
    return {id_: Usual(days, micros // days if days else 0) for id_, days, micros in found}


def logged(connection: Connection, days: Mapping[int, date]) -> dict[int, int]:
    """{brand: what the log has of its day}."""
    found = connection.execute(_LOGGED, {"brands": list(days), "days": list(days.values())})
    return {row.brand_id: row.micros for row in found}


def ran(connection: Connection, minutes: Sequence[tuple[int, int]], now: datetime) -> set[int]:
    """Those brands of which a campaign ran for the whole of so many minutes."""
    ids, spans = [id_ for id_, _ in minutes], [span for _, span in minutes]
    return set(connection.execute(_RAN, {"brands": ids, "minutes": spans, "now": now}).scalars())
