"""Queries of `verify` on the catalog and the statuses: recent changes, budgets that were in force, and repeated rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.limit_changes import PERIODS, every_turn
from engine.domain.money import parse_budget
from engine.domain.periods import ms_of
from engine.ledger import brands, campaigns, carries, limit_rows
from engine.ledger.changes import Entity

_LIMIT: Final = 100


class WrongChange(NamedTuple):
    """A campaign and what is wrong with the rows of its status changes."""

    campaign_id: int
    what: str


def changed_within(connection: Connection, names: Sequence[str], seconds: int) -> set[str]:
    """Those of `brand 81` and `campaign 5308417` that were changed within the last seconds."""
    found = connection.execute(
        text(
            "SELECT format('brand %s', id) AS name FROM brand WHERE updated_at > clock_timestamp() - make_interval(secs => :s)"
            " UNION ALL SELECT format('campaign %s', id) FROM campaign WHERE updated_at > clock_timestamp() - make_interval(secs => :s)"
        ),
        {"s": seconds},
    )
    return {row.name for row in found} & set(names)


def last_changes_off(connection: Connection) -> list[WrongChange]:
    """Campaigns whose status is not that of their last status_change.

    `id + 0` makes PostgreSQL use the campaign's own index. Otherwise, with 100,000 campaigns, it scans back through
    all changes for each of them, for minutes.
    """
    found = connection.execute(
        text(
            "SELECT c.id, c.status, c.reasons, s.status AS told, s.reasons AS why FROM campaign AS c LEFT JOIN LATERAL"
            " (SELECT status, reasons FROM status_change WHERE campaign_id = c.id ORDER BY id + 0 DESC LIMIT 1) AS s ON true"
            # Paused without a cause and without a row: its first status is not written yet.
            " WHERE (s.status IS NULL AND NOT (c.status = 'paused' AND c.reasons = '{}'))"
            " OR (s.status IS NOT NULL AND (c.status, c.reasons) IS DISTINCT FROM (s.status, s.reasons)) ORDER BY 1 LIMIT :limit"
        ),
        {"limit": _LIMIT},
    )
    return [
        WrongChange(row.id, f"is {_told(row.status, row.reasons)}, its last change says {_told(row.told, row.why)}")
        for row in found
    ]


def changes_without_change(connection: Connection, since: datetime) -> list[WrongChange]:
    """Status changes that changed nothing: the same causes as the row before."""
    found = connection.execute(
        text(
            "SELECT campaign_id, id, reasons FROM (SELECT campaign_id, id, reasons, written_at,"
            " lag(reasons) OVER (PARTITION BY campaign_id ORDER BY id) AS before FROM status_change"
            " WHERE written_at >= :since) AS s WHERE reasons = before ORDER BY 1, 2 LIMIT :limit"
        ),
        {"since": since, "limit": _LIMIT},
    )
    return [
        WrongChange(row.campaign_id, f"has status_change {row.id}, which changed nothing: {row.reasons}")
        for row in found
    ]


def limited_campaigns(connection: Connection) -> list[int]:
    """The campaigns with a budget of their own or flights, by id."""
    found = connection.execute(
        text(
            "SELECT id FROM campaign WHERE daily_budget_micros IS NOT NULL OR monthly_budget_micros IS NOT NULL"
            " OR lifetime_budget_micros IS NOT NULL OR cardinality(steps) > 0 UNION SELECT campaign_id FROM flight ORDER BY 1"
        )
    )
    return list(found.scalars())


def largest_budget(
    connection: Connection,
    entity: Entity,
    entity_id: int,
    field: str,
    now: int | None,
    since: datetime,
    now_ms: int,
    until: datetime | None = None,
) -> int | None:
    """The largest budget (micros) of a brand or campaign that was in force since an instant; None when it had no limit for
    a while.

    field: such as daily_budget; now: the one in force at now_ms, or at `until`, where the period is over.
    """
    found = connection.execute(
        text(
            "SELECT old FROM catalog_change WHERE entity = :entity AND entity_id = :id AND field = :field AND at >= :since"
            " AND at < coalesce(CAST(:until AS timestamptz), 'infinity')"
        ),
        {"entity": entity, "id": entity_id, "field": field, "since": since, "until": until},
    )
    values = [now, *(parse_budget(row.old, field) for row in found)]
    # Scheduled changes are in force before the catalog takes them over.
    period = field.removesuffix("_budget")
    if period in PERIODS:
        row = brands.one(connection, entity_id) if entity == "brand" else campaigns.one(connection, entity_id)
        taken = every_turn(limit_rows.limits_of(row), limit_rows.open_of(connection, entity, entity_id))
        last_ms = now_ms if until is None else min(now_ms, ms_of(until) - 1)
        values += [
            turn.before for turn in taken if turn.change.period == period and ms_of(since) <= turn.at_ms <= last_ms
        ]
    return None if None in values else max(value for value in values if value is not None)


def largest_carry(connection: Connection, brand_id: int, day: date, since: datetime) -> int:
    """The most (micros) that was carried into a brand's day. since: as of `largest_budget`."""
    found = connection.execute(
        text(
            "SELECT old FROM catalog_change WHERE entity = 'brand' AND entity_id = :id AND field = 'rollover_cap' AND at >= :since"
        ),
        {"id": brand_id, "since": since},
    )
    caps = [
        brands.one(connection, brand_id).rollover_cap_micros,
        *(parse_budget(row.old, "rollover_cap") for row in found),
    ]
    return min(max(cap or 0 for cap in caps), carries.most_left(connection, brand_id, day))


class RecentRow(NamedTuple):
    """A row of the log as V3 reads it."""

    amount_micros: int
    kind: str
    hold_id: str | None
    request_id: str
    day: date
    told: str | None


def recent_rows(
    connection: Connection,
    brand_id: int,
    since: datetime,
    limit: int,
    campaign_id: int | None = None,
    flight: int | None = None,
) -> list[RecentRow]:
    """The rows of a brand, or of one of its campaigns, since an instant, the newest `limit` of them, in the order in which
    they were counted.

    flight: the number of a flight's counter, for its rows alone. told: the verb (`t` try, `r` record) of calls that were not counted whole.
    """
    found = connection.execute(
        text(
            "SELECT l.amount_micros, l.kind, l.hold_id, l.request_id, l.day, nullif(left(m.digest, 1), '*') AS told"
            " FROM spends_of(:brand, :since, 'infinity') AS l"
            " LEFT JOIN mixed_request AS m ON m.shard = l.shard AND m.generation = l.generation AND m.n = l.n"
            " WHERE l.campaign_id = coalesce(CAST(:campaign AS bigint), l.campaign_id)"
            " AND (CAST(:flight AS integer) IS NULL OR EXISTS (SELECT FROM flight_entry AS f WHERE f.flight = :flight"
            " AND (f.shard, f.generation, f.n, f.campaign_id) = (l.shard, l.generation, l.n, l.campaign_id)))"
            " ORDER BY l.generation DESC, l.n DESC, l.position DESC LIMIT :limit"
        ),
        {"brand": brand_id, "campaign": campaign_id, "since": since, "limit": limit, "flight": flight},
    )
    return [RecentRow(*row) for row in found][::-1]


def _told(status: str | None, reasons: Sequence[str] | None) -> str:
    return "nothing" if status is None else f"{status} ({', '.join(reasons or ()) or 'no cause'})"
