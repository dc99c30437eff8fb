"""Queries of the pages on today: when budgets changed and what was spent by then, and how long campaigns ran."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.budget import BUDGETS
from engine.domain.money import parse_budget
from engine.domain.periods import at_ms, day_of, day_start_ms

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


class BudgetLine(NamedTuple):
    """A change of a brand's budget; field is the budget's name, None is no limit."""

    id: int
    brand_id: int
    at: datetime
    field: str
    old: int | None
    new: int | None


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


def spent_until(connection: Connection, instants: Sequence[tuple[int, datetime]]) -> list[tuple[int, int]]:
    """For each (brand id, instant) what the brand had spent of its day and of its month by then, by the log.

    Whole days and hours come from their sums, so only the rows of one hour are read.
    """
    query = (
        "SELECT day.micros, day.micros + coalesce((SELECT sum(spend_micros) FROM campaign_day AS d WHERE d.brand_id = given.brand"
        " AND d.day >= date_trunc('month', given.utc)::date AND d.day < given.utc::date), 0)::bigint AS month"
        " FROM (SELECT brand, at, at AT TIME ZONE 'UTC' AS utc, place FROM unnest(CAST(:brands AS bigint[]), CAST(:ats AS timestamptz[]))"
        " WITH ORDINALITY AS g(brand, at, place)) AS given,"
        " LATERAL (SELECT (coalesce((SELECT sum(spend_micros) FROM campaign_hour AS h WHERE h.day = given.utc::date"
        " AND h.campaign_id >= given.brand * 65536 AND h.campaign_id < (given.brand + 1) * 65536"
        " AND h.hour < extract(hour FROM given.utc)), 0)"
        " + coalesce((SELECT sum(amount_micros) FROM spends_of(given.brand, date_trunc('hour', given.utc) AT TIME ZONE 'UTC', given.at) AS l"
        " WHERE l.day = given.utc::date), 0))::bigint AS micros) AS day"
        " ORDER BY given.place"
    )
    values = {"brands": [brand for brand, _ in instants], "ats": [at for _, at in instants]}
    return [(day, month) for day, month in connection.execute(text(query), values)]


def ran_today(connection: Connection, now_ms: int) -> dict[int, RanToday]:
    """{brand id: how long those of its campaigns ran on the present UTC day whose status changed on it}. All others
    did not change all day.
    """
    found = connection.execute(
        _RAN_TODAY,
        {"midnight": at_ms(day_start_ms(day_of(now_ms))), "now": at_ms(now_ms)},
    )
    return {brand_id: RanToday(*rest) for brand_id, *rest in found}
