"""Queries of the pages on today: when budgets changed and what was spent by then, and how long campaigns ran."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.budget import BUDGETS
from engine.domain.money import parse_budget
from engine.domain.periods import at_ms, ms_of
from engine.domain.zone_text import Zone
from engine.ledger.changes import Entity
from engine.ledger.hourly import Owner, hour_at

_BUDGET_CHANGES: Final = text(
    "SELECT id, entity_id, at, field, old, new FROM catalog_change WHERE entity = 'brand'"
    " AND entity_id = ANY(CAST(:brands AS bigint[])) AND at >= :since"
    " AND field = ANY(:fields) ORDER BY id"
)
_RAN_TODAY: Final = text(
    "WITH change AS (SELECT campaign_id, id, at, status, lead(at) OVER (PARTITION BY campaign_id ORDER BY at, id) AS until"
    " FROM status_change WHERE at >= :midnight AND at <= :now),"
    " campaign_today AS (SELECT campaign_id, min(at) AS first, (array_agg(status ORDER BY id DESC))[1] AS last,"
    " coalesce(sum(extract(epoch FROM coalesce(until, :now) - at)) FILTER (WHERE status = 'active'), 0) AS ran_s"
    " FROM change GROUP BY campaign_id),"
    " whole AS (SELECT campaign_id, last, ran_s + CASE WHEN before.status = 'active'"
    " THEN extract(epoch FROM first - :midnight) ELSE 0 END AS ran_s FROM campaign_today LEFT JOIN LATERAL"
    " (SELECT status FROM status_change AS earlier WHERE earlier.campaign_id = campaign_today.campaign_id AND earlier.at < :midnight"
    " ORDER BY earlier.at DESC, earlier.id DESC LIMIT 1) AS before ON true)"
    " SELECT campaign_id / 65536, (sum(ran_s) * 1000)::bigint, count(*) FILTER (WHERE ran_s > 0),"
    " count(*) FILTER (WHERE last = 'active') FROM whole GROUP BY 1"
)


_DAILY_CHANGES: Final = text(
    "SELECT at, old, new, actor FROM catalog_change WHERE entity = :entity AND entity_id = :id AND at >= :since"
    " AND field = 'daily_budget' ORDER BY id"
)
# A brand may have 65,535 campaigns, which a budget stops together.
_STOPS: Final = text(
    "SELECT date_trunc('minute', change.at) AS minute, change.reasons, count(*), min(campaign.name) FROM status_change AS change"
    " JOIN campaign ON campaign.id = change.campaign_id WHERE change.campaign_id >= :low AND change.campaign_id < :high"
    " AND change.at >= :since AND change.status = 'paused' GROUP BY 1, 2 ORDER BY 1 DESC LIMIT :limit"
)
_STATUSES: Final = text(
    "(SELECT at, reasons FROM status_change WHERE campaign_id = :id AND at < :since ORDER BY at DESC, id DESC LIMIT 1)"
    " UNION ALL (SELECT at, reasons FROM (SELECT * FROM status_change WHERE campaign_id = :id AND at >= :since"
    " ORDER BY at DESC, id DESC LIMIT :limit) AS newest ORDER BY at, id)"
)


class BudgetLine(NamedTuple):
    """A change of a brand's budget; field is the budget's name, None is no limit."""

    id: int
    brand_id: int
    at: datetime
    field: str
    old: int | None
    new: int | None


class DailyChange(NamedTuple):
    """A change of a daily budget; None is no limit."""

    at: datetime
    old: int | None
    new: int | None
    actor: str


class Stops(NamedTuple):
    """Campaigns that stopped in one minute for the same causes: how many, and the name of one of them."""

    minute: datetime
    reasons: tuple[str, ...]
    campaigns: int
    name: str


class RanToday(NamedTuple):
    """Of the campaigns of a brand that started or stopped today: how long they ran together, how many did at all, and how many do now."""

    ran_ms: int
    ran: int
    running: int


def budget_changes(connection: Connection, brand_ids: Sequence[int], since: datetime) -> list[BudgetLine]:
    """The changes of brands' budgets since an instant, oldest first."""
    found = connection.execute(
        _BUDGET_CHANGES,
        {"brands": list(brand_ids), "since": since, "fields": [kind.cause for kind in BUDGETS]},
    )
    return [BudgetLine(id_, brand, at, field, parse_budget(old), parse_budget(new)) for id_, brand, at, field, old, new in found]  # fmt: skip


def daily_changes(connection: Connection, entity: Entity, id_: int, since: datetime) -> list[DailyChange]:
    """The changes of a daily budget since an instant, oldest first."""
    found = connection.execute(_DAILY_CHANGES, {"entity": entity, "id": id_, "since": since})
    return [DailyChange(at, parse_budget(old), parse_budget(new), actor) for at, old, new, actor in found]


def stops(connection: Connection, owner: Owner, since: datetime, limit: int) -> list[Stops]:
    """When campaigns of a brand, or one of them, stopped since an instant, oldest first; of many the newest."""
    values = {"low": owner.low, "high": owner.high, "since": since, "limit": limit}
    found = [
        Stops(minute, tuple(reasons), number, name)
        for minute, reasons, number, name in connection.execute(_STOPS, values)
    ]
    return found[::-1]


def statuses(
    connection: Connection, campaign_id: int, since: datetime, limit: int
) -> list[tuple[datetime, tuple[str, ...]]]:
    """From when on a campaign had which causes, oldest first: that at an instant, and each since then; of many the newest."""
    found = connection.execute(_STATUSES, {"id": campaign_id, "since": since, "limit": limit})
    return [(at, tuple(reasons)) for at, reasons in found]


def spent_until(connection: Connection, instants: Sequence[tuple[int, datetime, Zone]]) -> list[tuple[int, int]]:
    """For each (brand id, instant, its clock) what the brand had spent of its day and of its month by then, by the log.

    Whole days and hours come from their sums, so only the rows of one hour are read.
    """
    query = (
        "SELECT day.micros, day.micros + coalesce((SELECT sum(spend_micros) FROM campaign_day AS d WHERE d.brand_id = given.brand"
        " AND d.day >= date_trunc('month', given.day)::date AND d.day < given.day), 0)::bigint AS month"
        " FROM (SELECT * FROM unnest(CAST(:brands AS bigint[]), CAST(:ats AS timestamptz[]), CAST(:days AS date[]), CAST(:hours AS integer[]),"
        " CAST(:begins AS timestamptz[])) WITH ORDINALITY AS g(brand, at, day, hour, begins, place)) AS given,"
        " LATERAL (SELECT (coalesce((SELECT sum(spend_micros) FROM campaign_hour AS h WHERE h.day = given.day"
        " AND h.campaign_id >= given.brand * 65536 AND h.campaign_id < (given.brand + 1) * 65536"
        " AND h.hour < given.hour), 0)"
        " + coalesce((SELECT sum(amount_micros) FROM spends_of(given.brand, given.begins, given.at) AS l"
        " WHERE l.day = given.day), 0))::bigint AS micros) AS day"
        " ORDER BY given.place"
    )
    values: dict[str, list[Any]] = {name: [] for name in ("brands", "ats", "days", "hours", "begins")}
    for brand, at, clock in instants:
        day, hour, begins = hour_at(ms_of(at), clock)
        for name, value in zip(values, (brand, at, day, hour, begins), strict=True):
            values[name].append(value)
    return [(day, month) for day, month in connection.execute(text(query), values)]


def ran_today(connection: Connection, now_ms: int, midnight_ms: int) -> dict[int, RanToday]:
    """{brand id: how long those of its campaigns ran since a midnight whose status changed since then}. All others
    did not change.
    """
    found = connection.execute(
        _RAN_TODAY,
        {"midnight": at_ms(midnight_ms), "now": at_ms(now_ms)},
    )
    return {brand_id: RanToday(*rest) for brand_id, *rest in found}
