"""Reading the log back: sums for closing, publishing and rebuilding, and the ids that a rebuilt shard must remember."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.ids import SHARDS, shard_of
from engine.domain.periods import (
    Period,
    date_of,
    days_of_month,
    month_of_date,
    ms_of,
)
from engine.ledger.verified import Watermark

_PAGE: Final = 10_000


_FIRST_DAY: Final = text(
    "SELECT min(first.day) FROM brand, LATERAL"
    " (SELECT day FROM campaign_day WHERE brand_id = brand.id AND spends > 0 ORDER BY day LIMIT 1) AS first"
    " WHERE mod(brand.id, :shards) = :shard"
)
_FIRST_DAYS: Final = text(
    "SELECT brand_id, min(day) AS day FROM campaign_day WHERE brand_id = ANY(CAST(:brands AS bigint[])) AND day >= :since"
    " AND spends > 0 GROUP BY 1"
)
_LAST_RECORDED_MS: Final = text(
    "SELECT greatest(max(last.recorded_at), (SELECT max(last_at) FROM dropped_day WHERE mod(brand_id, :shards) = :shard),"
    " (SELECT last_at FROM spend_pack WHERE shard = :shard ORDER BY last_at DESC LIMIT 1))"
    " FROM brand, LATERAL (SELECT recorded_at FROM spend_log"
    " WHERE brand_id = brand.id ORDER BY recorded_at DESC LIMIT 1) AS last"
    " WHERE mod(brand.id, :shards) = :shard"
)
_CAMPAIGN_TOTALS: Final = text(
    "SELECT brand_id, campaign_id, day, spend_micros FROM campaign_day"
    " WHERE brand_id = ANY(CAST(:brands AS bigint[])) AND day BETWEEN :first AND :last"
)
# Money that is taken away is never in a packed row.
_CORRECTION_TOTALS: Final = text(
    "SELECT brand_id, campaign_id, day, sum(amount_micros)::bigint AS micros FROM spend_log"
    " WHERE kind = 'correction' AND brand_id = ANY(CAST(:brands AS bigint[])) AND day BETWEEN :first AND :last"
    " AND recorded_at >= coalesce(CAST(:since AS timestamptz), '-infinity') GROUP BY brand_id, campaign_id, day"
)
_BRAND_SUMS: Final = text(
    "SELECT brand_id, sum(spend_micros)::bigint AS micros FROM campaign_day WHERE day BETWEEN :first AND :last"
    " AND (CAST(:brands AS bigint[]) IS NULL OR brand_id = ANY(CAST(:brands AS bigint[]))) GROUP BY brand_id"
)


_PARTS: Final = (
    "SELECT brand_id, campaign_id, day, amount_micros AS micros,"
    " CASE kind WHEN 'correction' THEN amount_micros ELSE 0 END AS corrections, n FROM"
)
# The shards name the packed rows that may have something of the brands.
_SHARDS: Final = "shard = ANY(CAST(:shards AS smallint[]))"
_ALL_PARTS: Final = f"{_PARTS} spend WHERE {_SHARDS}"
_PARTS_ABOVE: Final = (
    f"{_PARTS} spends_since(:at) WHERE {_SHARDS} AND (n > :n OR generation > :generation)"
    " UNION ALL SELECT brand_id, campaign_id, day, micros, corrections, 0 FROM verify_sum"
    " WHERE pass_id = :pass AND shard = :shard"
)


class RecentSpend(NamedTuple):
    """A row of the log as the rebuild needs it."""

    recorded_at: datetime
    brand_id: int
    campaign_id: int
    amount_micros: int
    event_id: str | None
    request_id: str
    occurred_at: datetime | None
    kind: str
    generation: int
    n: int
    position: int
    day: date
    hold_id: str | None


class MixedRow(NamedTuple):
    """A request of which not every spend was counted; digest and outcomes are as persist wrote them."""

    recorded_at: datetime
    request_id: str
    digest: str
    outcomes: str
    generation: int
    n: int


class OpenTotal(NamedTuple):
    """Micros of a brand (campaign_id None) or campaign in the open periods. today and yesterday are without corrections, month with them."""

    brand_id: int
    campaign_id: int | None
    today: int
    yesterday: int
    month: int


def first_day(connection: Connection, shard: int) -> date | None:
    """The first day on which a brand of the shard spent; None when none ever did. A day of which there are refunds alone is none."""
    # A probe of the index for each brand; the plain min() over the shard would read every row of the table.
    first: date | None = connection.execute(
        _FIRST_DAY,
        {"shards": SHARDS, "shard": shard},
    ).scalar_one()
    return first


def first_days(connection: Connection, brand_ids: Sequence[int], since: date) -> dict[int, date]:
    """{brand_id: its first day with a spend from a date on}."""
    found = connection.execute(_FIRST_DAYS, {"brands": list(brand_ids), "since": since})
    return {row.brand_id: row.day for row in found}


def last_recorded_ms(connection: Connection, shard: int) -> int:
    """The instant (epoch ms) of the shard's latest row, one that was dropped since included; 0 when it never had one."""
    last: datetime | None = connection.execute(
        _LAST_RECORDED_MS,
        {"shards": SHARDS, "shard": shard},
    ).scalar_one()
    return 0 if last is None else ms_of(last)


def campaign_totals(
    connection: Connection, brand_ids: Sequence[int], first: date, last: date
) -> dict[tuple[int, int, date], int]:
    """{(brand_id, campaign_id, day): micros} of the days from first to last, both included, from the daily sums."""
    found = connection.execute(
        _CAMPAIGN_TOTALS,
        {"brands": list(brand_ids), "first": first, "last": last},
    )
    return {(row.brand_id, row.campaign_id, row.day): row.spend_micros for row in found}


def period_totals(
    connection: Connection, period: Period, starts_on: date, brand_ids: Sequence[int], ends_at: datetime | None = None
) -> dict[int, int]:
    """{brand_id: micros} of a day or month, from the daily sums. Corrections that came after it had ended are left out: a closed period never changes.
    ends_at: when it ended for these brands, where their time zone is not UTC.

    The rows of a large day would take minutes to add up, when midnight is over and its shard waits. Verify compares daily sums and closed totals with rows.
    """
    last = starts_on
    if period == "month":
        last = date_of(list(days_of_month(month_of_date(starts_on)))[-1])
    totals = _brand_sums(connection, starts_on, last, brand_ids)
    after = ends_at or datetime.combine(last + timedelta(days=1), time(), UTC)
    for (brand_id, _, _), micros in correction_totals(connection, brand_ids, starts_on, last, after).items():
        totals[brand_id] = totals.get(brand_id, 0) - micros
    return totals


def open_totals(
    connection: Connection,
    by: Literal["brand_id", "campaign_id"],
    up_to: Mapping[int, int],
    brand_ids: Sequence[int],
    month_first: date,
    today: date,
    confirmed: tuple[int, Watermark] | None = None,
) -> list[OpenTotal]:
    """The rows of these brands in the open periods, in one pass, added up by brand or by campaign.

    up_to: {id: the highest journal number that counts for it}; others are left out. Of the days corrections are left out: they leave its counter alone.
    confirmed: a pass of verify and the shard's watermark there; rows below it are taken from their sums. No id may have a lower number.
    """
    pass_id, mark = confirmed or (0, None)
    values: dict[str, Any] = {} if mark is None else {"pass": pass_id, **mark._asdict()}
    of_day = "(coalesce(sum(micros - corrections) FILTER (WHERE day = {}), 0))::bigint"
    today_sql, yesterday_sql = of_day.format("CAST(:today AS date)"), of_day.format("CAST(:today AS date) - 1")
    found = connection.execute(
        text(
            f"SELECT part.brand_id, {'NULL::bigint' if by == 'brand_id' else 'campaign_id'} AS campaign_id,"
            f" {today_sql} AS today, {yesterday_sql} AS yesterday,"
            " (coalesce(sum(micros) FILTER (WHERE day >= :first), 0))::bigint AS month"
            f" FROM ({_ALL_PARTS if mark is None else _PARTS_ABOVE}) AS part"
            " JOIN unnest(CAST(:ids AS bigint[]), CAST(:numbers AS bigint[])) AS wanted(id, up_to)"
            f" ON wanted.id = part.{by} AND part.n <= wanted.up_to WHERE brand_id = ANY(CAST(:brands AS bigint[]))"
            " AND day BETWEEN least(CAST(:first AS date), CAST(:today AS date) - 1) AND :today GROUP BY 1, 2"
        ),
        {
            **values,
            "ids": list(up_to),
            "numbers": list(up_to.values()),
            "brands": list(brand_ids),
            "shards": sorted(set(map(shard_of, brand_ids))),
            "first": month_first,
            "today": today,
        },
    )
    return [OpenTotal(*row) for row in found]


def correction_totals(
    connection: Connection, brand_ids: Sequence[int], first: date, last: date, since: datetime | None = None
) -> dict[tuple[int, int, date], int]:
    """{(brand_id, campaign_id, day): micros} of the corrections of days, all of them or those recorded at or after an instant."""
    found = connection.execute(
        _CORRECTION_TOTALS,
        {"brands": list(brand_ids), "first": first, "last": last, "since": since},
    )
    return {(row.brand_id, row.campaign_id, row.day): row.micros for row in found}


def spent_since(connection: Connection, shard: int, since: datetime) -> dict[tuple[int, int], int]:
    """{(brand_id, campaign_id): micros} that a shard counted since an instant. What was given back is not taken off."""
    found = connection.execute(
        text(
            "SELECT brand_id, campaign_id, sum(amount_micros) AS micros FROM spends_since(:since)"
            " WHERE shard = :shard AND recorded_at >= :since AND amount_micros > 0 GROUP BY 1, 2"
        ),
        {"shard": shard, "since": since},
    )
    return {(row.brand_id, row.campaign_id): int(row.micros) for row in found}


def recent_spends(
    connection: Connection, shard: int, events_since: datetime, requests_since: datetime
) -> Iterator[RecentSpend]:
    """The shard's rows with an event id recorded at or after an instant, and all of those at or after another, in the order in which they were counted."""
    first = min(events_since, requests_since)
    found = connection.execute(
        text(
            f"SELECT {', '.join(RecentSpend._fields)} FROM spends_since(:first) WHERE shard = :shard"
            " AND (recorded_at >= :requests OR (event_id IS NOT NULL AND recorded_at >= :events))"
            " ORDER BY generation, n, position"
        ).execution_options(yield_per=_PAGE),
        {"shard": shard, "first": first, "requests": requests_since, "events": events_since},
    )
    for row in found:
        yield RecentSpend(*row)


def recent_mixed(connection: Connection, shard: int, since: datetime) -> Iterator[MixedRow]:
    """The shard's mixed requests recorded at or after an instant, in the order in which they were answered."""
    found = connection.execute(
        text(
            f"SELECT {', '.join(MixedRow._fields)} FROM mixed_request WHERE shard = :shard AND recorded_at >= :since"
            " ORDER BY generation, n"
        ),
        {"shard": shard, "since": since},
    )
    for row in found:
        yield MixedRow(*row)


def _brand_sums(connection: Connection, first: date, last: date, brand_ids: Sequence[int] | None) -> dict[int, int]:
    found = connection.execute(
        _BRAND_SUMS,
        {"first": first, "last": last, "brands": None if brand_ids is None else list(brand_ids)},
    )
    return {row.brand_id: row.micros for row in found}
