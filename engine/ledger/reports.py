"""What people ask of the ledger: the latest spends and changes, and a brand's days and periods. Read-only; newest first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, text

from engine.domain.periods import Period, date_of, days_of_month, month_of_date
from engine.domain.zones import UTC_ZONE, BrandZone
from engine.ledger.changes import Entity

_DAYS_BACK: Final = 31
"""A list of the latest spends looks no further: each day is a partition of its own."""


_BRAND_DAYS: Final = (
    "SELECT day, coalesce(d.micros, 0) AS spend_micros, coalesce(d.spends, 0) AS spends, coalesce(l.micros, 0) AS late_micros,"
    " coalesce(l.spends, 0) AS late_spends, coalesce(b.micros, 0) AS backfilled_micros, coalesce(b.spends, 0) AS backfilled_spends FROM"
    " (SELECT day, sum(spend_micros)::bigint AS micros, sum(spends)::bigint AS spends FROM campaign_day"
    " WHERE brand_id = :brand AND day BETWEEN :first AND :last GROUP BY day) AS d FULL JOIN"
    " (SELECT day, sum(spend_micros)::bigint AS micros, sum(spends)::bigint AS spends FROM late_spend"
    " WHERE brand_id = :brand AND day BETWEEN :first AND :last GROUP BY day) AS l USING (day) FULL JOIN"
    " (SELECT day, sum(spend_micros)::bigint AS micros, sum(spends)::bigint AS spends FROM backfill_day"
    " WHERE brand_id = :brand AND day BETWEEN :first AND :last GROUP BY day) AS b USING (day) ORDER BY day"
)
_BRAND_HOURS: Final = (
    "SELECT hour, sum(spend_micros)::bigint AS spend_micros, sum(spends)::bigint AS spends FROM campaign_hour"
    # A brand's campaigns are a range of ids, which the key serves.
    " WHERE day = :day AND campaign_id >= :brand * 65536 AND campaign_id < (:brand + 1) * 65536 GROUP BY hour ORDER BY hour"
)
_OPEN_SPENDS: Final = (
    "SELECT campaign_id, brand_id, coalesce(sum(spend_micros) FILTER (WHERE day = :day), 0)::bigint AS daily,"
    " sum(spend_micros)::bigint AS monthly FROM campaign_day WHERE day BETWEEN :first AND :last"
    " AND (CAST(:brands AS bigint[]) IS NULL OR brand_id = ANY(CAST(:brands AS bigint[]))) GROUP BY campaign_id, brand_id"
)
_COLUMNS: Final = "recorded_at, brand_id, campaign_id, amount_micros, event_id, request_id, occurred_at, kind, generation, n, position"
# A spender's newest spends in packed rows. The newest rows that have :limit of them give an instant, and no row that ended before it is unpacked.
_PACKED: Final = (
    f"(SELECT {_COLUMNS} FROM unpacked_spend AS u WHERE u.day = :day AND u.shard = spender.shard AND spender.id = ANY(u.{{having}})"
    " AND u.{whose} = spender.id AND u.last_at >= (SELECT min(first_at) FROM"
    " (SELECT first_at, sum(own) OVER (ORDER BY last_at DESC ROWS UNBOUNDED PRECEDING) - own AS newer FROM"
    " (SELECT p.first_at, p.last_at, (SELECT sum(times) FROM unnest(p.campaigns, p.counts) AS c(id, times) WHERE {own} = spender.id) AS own"
    " FROM spend_pack AS p WHERE p.day = :day AND p.shard = spender.shard AND spender.id = ANY(p.{having}) ORDER BY p.last_at DESC LIMIT :limit)"
    " AS newest) AS counted WHERE newer < :limit) ORDER BY u.recorded_at DESC LIMIT :limit)"
)
_NEWEST_PACKED: Final = {
    "brand_id": _PACKED.format(whose="brand_id", having="brands", own="c.id / 65536"),
    "campaign_id": _PACKED.format(whose="campaign_id", having="campaigns", own="c.id"),
}
# Each brand's newest few come off an index.
_CHANGES_WITHIN: Final = (
    "(SELECT own.* FROM unnest(CAST(:brands AS bigint[])) AS seen(id), LATERAL (SELECT * FROM status_change"
    " WHERE campaign_id >= seen.id * 65536 AND campaign_id < (seen.id + 1) * 65536 ORDER BY at DESC, id DESC LIMIT :limit) AS own)"
)
_OF_BRANDS: Final = (
    "(change.entity = 'brand' AND change.entity_id = ANY(CAST(:brands AS bigint[]))"
    " OR change.entity = 'campaign' AND change.entity_id / 65536 = ANY(CAST(:brands AS bigint[])))"
)
_BRANDS_MADE_BY_OTHERS: Final = (
    "SELECT count(*) AS brands FROM brand WHERE NOT EXISTS (SELECT FROM catalog_change WHERE entity = 'brand'"
    " AND entity_id = brand.id AND field = 'created' AND actor = :actor)"
)


@dataclass(frozen=True, slots=True)
class SpendLine:
    """A counted spend with the names of its brand and campaign."""

    recorded_at: datetime
    brand_id: int
    brand_name: str
    campaign_id: int
    campaign_name: str
    amount_micros: int
    event_id: str | None
    request_id: str
    occurred_at: datetime | None
    kind: str


@dataclass(frozen=True, slots=True)
class StatusLine:
    """A change of a campaign's status with its names. zones: of its brand."""

    at: datetime
    brand_id: int
    brand_name: str
    campaign_id: int
    campaign_name: str
    status: str
    reasons: tuple[str, ...]
    actor: str
    written_at: datetime
    zones: BrandZone = UTC_ZONE


@dataclass(frozen=True, slots=True)
class CatalogLine:
    """A change of a field in the catalog; `name` is what the brand or campaign is called today."""

    id: int
    at: datetime
    actor: str
    entity: Entity
    entity_id: int
    name: str | None
    field: str
    old: str | None
    new: str | None
    note: str | None


@dataclass(frozen=True, slots=True)
class BrandDay:
    """A brand's sum of a day. late: of these, what occurred on an earlier day than it was reported, whether it is booked to the
    one or the other. backfilled: beside the sum, which it never changes.
    """

    day: date
    spend_micros: int
    spends: int
    late_micros: int = 0
    late_spends: int = 0
    backfilled_micros: int = 0
    backfilled_spends: int = 0


@dataclass(frozen=True, slots=True)
class BrandHour:
    """A brand's sum of an hour (0..23, UTC) of a day."""

    hour: int
    spend_micros: int
    spends: int


@dataclass(frozen=True, slots=True)
class PeriodLine:
    """A closed period of a brand."""

    brand_id: int
    period: Period
    starts_on: date
    spend_micros: int
    budget_micros: int | None
    closed_at: datetime


@dataclass(frozen=True, slots=True)
class OpenSpend:
    """What a campaign has spent, as far as the log knows, in the day and in the month that the day is in."""

    brand_id: int
    daily_spend_micros: int
    monthly_spend_micros: int


def latest_spends(
    engine: Engine,
    limit: int = 50,
    brand_id: int | None = None,
    campaign_id: int | None = None,
    *,
    within: Collection[int] | None = None,
    today: date | None = None,
) -> list[SpendLine]:
    """The latest rows of the log, of all brands, of those `within`, or of one brand or campaign; spends of the last 31 days only."""
    last = today or datetime.now(UTC).date()
    # Each brand's newest few come off an index, so that the size of the log does not matter; the days with rows are known from the sums.
    whose = "campaign_id" if campaign_id is not None else "brand_id"
    value: int | list[int] | None = campaign_id if campaign_id is not None else brand_id
    if value is None and within is not None:
        value = sorted(within)
    lines: list[SpendLine] = []
    with engine.connect() as connection:
        days = connection.execute(
            text(f"SELECT DISTINCT day FROM campaign_day WHERE day > :since{_only(whose, value)} ORDER BY day DESC"),
            {"since": last - timedelta(days=_DAYS_BACK), "value": value},
        ).scalars()
        for day in list(days):
            if len(lines) < limit:
                lines += _spends_of_day(connection, whose, value, day, limit - len(lines))
    return lines


def latest_status_changes(
    engine: Engine,
    limit: int = 50,
    brand_id: int | None = None,
    campaign_id: int | None = None,
    *,
    within: Collection[int] | None = None,
) -> list[StatusLine]:
    """The latest changes of status, of all campaigns, of those of the brands `within`, or of one brand's or one campaign."""
    condition, changed = "", "status_change"
    if within is not None:
        changed = _CHANGES_WITHIN
    if campaign_id is not None:
        condition = "WHERE change.campaign_id = :campaign"
    elif brand_id is not None:
        # A brand's campaigns are a range of ids, which the index on campaign_id serves.
        condition = "WHERE change.campaign_id >= :brand * 65536 AND change.campaign_id < (:brand + 1) * 65536"
    query = (
        "SELECT change.at, brand.id AS brand_id, brand.name AS brand_name, campaign.id AS campaign_id,"
        " campaign.name AS campaign_name, change.status, change.reasons, change.actor, change.written_at,"
        f" brand.zone_steps AS zones FROM {changed} AS change"
        " JOIN campaign ON campaign.id = change.campaign_id JOIN brand ON brand.id = campaign.brand_id"
        f" {condition} ORDER BY change.at DESC, change.id DESC LIMIT :limit"
    )
    rows = _rows(engine, query, limit=limit, brand=brand_id, campaign=campaign_id, brands=sorted(within or ()))
    return [
        StatusLine(**{**row, "reasons": tuple(row["reasons"]), "zones": BrandZone.parse(row["zones"])}) for row in rows
    ]


def catalog_changes(
    engine: Engine,
    limit: int = 50,
    entity: Entity | None = None,
    entity_id: int | None = None,
    *,
    before_id: int | None = None,
    within: Collection[int] | None = None,
    users: bool = True,
) -> list[CatalogLine]:
    """The latest changes in the catalog, of everything, of brands or campaigns, or of one of them; with `before_id` those before a line.

    within: those of these brands and their campaigns. users: whether changes of users and tokens are among them.
    """
    conditions = ["true"]
    if within is not None:
        conditions.append(_OF_BRANDS)
    if not users:
        conditions.append("change.entity NOT IN ('user', 'token', 'alert', 'webhook')")
    if before_id is not None:
        conditions.append("change.id < :before_id")
    if entity is not None:
        conditions.append("change.entity = :entity")
    if entity_id is not None:
        conditions.append("change.entity_id = :entity_id")
    query = (
        "SELECT change.id, change.at, change.actor, change.entity, change.entity_id, coalesce(brand.name, campaign.name, app_user.name, api_token.name, webhook.name,"
        " CASE change.entity WHEN 'curve' THEN split_part(coalesce(change.new, change.old), ' ', 1) END) AS name,"
        " change.field, change.old, change.new, change.note FROM catalog_change AS change"
        " LEFT JOIN brand ON change.entity IN ('brand', 'alert') AND brand.id = change.entity_id"
        " LEFT JOIN campaign ON change.entity = 'campaign' AND campaign.id = change.entity_id"
        " LEFT JOIN app_user ON change.entity = 'user' AND app_user.id = change.entity_id"
        " LEFT JOIN api_token ON change.entity = 'token' AND api_token.id = change.entity_id"
        " LEFT JOIN webhook ON change.entity = 'webhook' AND webhook.id = change.entity_id"
        f" WHERE {' AND '.join(conditions)} ORDER BY change.id DESC LIMIT :limit"
    )
    rows = _rows(
        engine, query, limit=limit, entity=entity, entity_id=entity_id, before_id=before_id, brands=sorted(within or ())
    )
    return [CatalogLine(**row) for row in rows]


def brand_days(engine: Engine, brand_id: int, first: date, last: date) -> list[BrandDay]:
    """A brand's days from first to last, both included, oldest first; days without a spend, backfilled ones included, are left out."""
    query = _BRAND_DAYS
    return [BrandDay(**row) for row in _rows(engine, query, brand=brand_id, first=first, last=last)]


def brand_hours(engine: Engine, brand_id: int, day: date) -> list[BrandHour]:
    """A brand's hours of a day, in order; hours without a spend are left out. Together they are the day of `brand_days`."""
    query = _BRAND_HOURS
    return [BrandHour(**row) for row in _rows(engine, query, brand=brand_id, day=day)]


def period_totals(
    engine: Engine, brand_id: int | None = None, period: Period | None = None, limit: int = 100
) -> list[PeriodLine]:
    """Closed periods, of all brands or one, of days or months or both."""
    conditions = ["true"]
    if brand_id is not None:
        conditions.append("brand_id = :brand")
    if period is not None:
        conditions.append("period = :period")
    query = (
        "SELECT brand_id, period, starts_on, spend_micros, budget_micros, closed_at FROM period_total"
        f" WHERE {' AND '.join(conditions)} ORDER BY starts_on DESC, period, brand_id LIMIT :limit"
    )
    return [PeriodLine(**row) for row in _rows(engine, query, brand=brand_id, period=period, limit=limit)]


def open_spends(engine: Engine, on: date, brand_ids: Sequence[int] | None = None) -> dict[int, OpenSpend]:
    """{campaign_id: what it spent on a day and in its month}, for pages while Redis is away."""
    days = [date_of(day) for day in days_of_month(month_of_date(on))]
    query = _OPEN_SPENDS
    brands = None if brand_ids is None else list(brand_ids)
    rows = _rows(engine, query, day=on, first=days[0], last=days[-1], brands=brands)
    return {row["campaign_id"]: OpenSpend(row["brand_id"], row["daily"], row["monthly"]) for row in rows}


def _only(whose: str, value: int | list[int] | None) -> str:
    """A condition on one id or several."""
    if value is None:
        return ""
    return f" AND {whose} = ANY(CAST(:value AS bigint[]))" if isinstance(value, list) else f" AND {whose} = :value"


def _spends_of_day(
    connection: Connection, whose: str, value: int | list[int] | None, day: date, limit: int
) -> list[SpendLine]:
    only = _only(whose, value)
    found = connection.execute(
        text(
            "SELECT row.recorded_at, row.brand_id, brand.name AS brand_name, row.campaign_id, campaign.name AS campaign_name,"
            " row.amount_micros, row.event_id, row.request_id, row.occurred_at, row.kind"
            f" FROM (SELECT DISTINCT {whose} AS id, mod(brand_id, 64) AS shard FROM campaign_day WHERE day = :day{only}) AS spender, LATERAL"
            f" ((SELECT {_COLUMNS} FROM spend_log WHERE spend_log.{whose} = spender.id AND day = :day ORDER BY recorded_at DESC LIMIT :limit)"
            f" UNION ALL {_NEWEST_PACKED[whose]}) AS row"
            " JOIN campaign ON campaign.id = row.campaign_id JOIN brand ON brand.id = row.brand_id"
            " ORDER BY row.recorded_at DESC, row.generation DESC, row.n DESC, row.position DESC LIMIT :limit"
        ),
        {"day": day, "limit": limit, "value": value},
    )
    return [SpendLine(**row) for row in found.mappings()]


def _rows(engine: Engine, query: str, **values: Any) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(query), values).mappings()]


def brands_made_by_others(engine: Engine, actor: str) -> int:
    """How many brands were not created by an actor: those of other people."""
    query = _BRANDS_MADE_BY_OTHERS
    return int(_rows(engine, query, actor=actor)[0]["brands"])
