"""Closed periods: what each brand spent in a day or month that has ended, and which of them each shard has closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from engine.domain.ids import SHARDS
from engine.domain.periods import Period
from engine.ledger.models import PeriodTotal, ShardClose

BrandTotal = tuple[int, int, int | None]
"""brand_id, spend in micros, budget in micros at the close (None: no limit)."""


def closed(connection: Connection, shard: int, period: Period, starts_on: date) -> bool:
    """Whether the shard has closed a period."""
    query = select(ShardClose.shard).where(
        ShardClose.shard == shard, ShardClose.period == period, ShardClose.starts_on == starts_on
    )
    return connection.execute(query).one_or_none() is not None


_EARLY: Final = "(period = 'day' AND starts_on >= {today} OR period = 'month' AND starts_on >= date_trunc('month', CAST({today} AS date)))"
_REOPEN_BRANDS: Final = text(
    "DELETE FROM period_total AS t USING (SELECT brand.id, coalesce(zoned.day, :today) AS day FROM brand LEFT JOIN"
    " unnest(CAST(:brands AS bigint[]), CAST(:days AS date[])) AS zoned(id, day) ON zoned.id = brand.id"
    " WHERE mod(brand.id, :shards) = :shard) AS own WHERE t.brand_id = own.id AND " + _EARLY.format(today="own.day")
)
_REOPEN_SHARD: Final = text("DELETE FROM shard_close WHERE shard = :shard AND " + _EARLY.format(today=":first"))


def reopen(connection: Connection, shard: int, today: date, zoned: Mapping[int, date] | None = None) -> int:
    """Reopens the days from `today` on and the months from its month on, which a wrong clock closed before their end.
    Returns how many the shard had closed. zoned: {brand id: today} of brands with a time zone.
    """
    own = zoned or {}
    given = {"shard": shard, "today": today, "shards": SHARDS, "brands": list(own), "days": list(own.values())}
    connection.execute(_REOPEN_BRANDS, given)
    return connection.execute(_REOPEN_SHARD, {"shard": shard, "first": min([today, *own.values()])}).rowcount


def all_last_closed(connection: Connection) -> dict[tuple[int, str], date]:
    """The latest day or month (its 1st) of every shard that has closed any: {(shard, period): date}."""
    query = select(ShardClose.shard, ShardClose.period, func.max(ShardClose.starts_on)).group_by(
        ShardClose.shard, ShardClose.period
    )
    return {(row[0], row[1]): row[2] for row in connection.execute(query)}


def last_totals(connection: Connection, brand_ids: Sequence[int], since: date) -> dict[tuple[int, str], date]:
    """The latest day or month (its 1st) from a date on of which each brand has a total: {(brand id, period): date}."""
    query = (
        select(PeriodTotal.brand_id, PeriodTotal.period, func.max(PeriodTotal.starts_on))
        .where(PeriodTotal.brand_id.in_(brand_ids), PeriodTotal.starts_on >= since)
        .group_by(PeriodTotal.brand_id, PeriodTotal.period)
    )
    return {(row[0], row[1]): row[2] for row in connection.execute(query)}


def close(connection: Connection, shard: int, period: Period, starts_on: date, totals: Sequence[BrandTotal]) -> bool:
    """Closes a period with its totals; returns whether this call did. A closed period stays as it is, whatever the
    totals.
    """
    first = connection.execute(
        insert(ShardClose)
        .values(shard=shard, period=period, starts_on=starts_on)
        .on_conflict_do_nothing()
        .returning(ShardClose.shard)
    ).one_or_none()
    if first is None:
        return False
    write_totals(connection, period, starts_on, totals)
    return True


def write_totals(connection: Connection, period: Period, starts_on: date, totals: Sequence[BrandTotal]) -> None:
    """Writes what brands spent in a period that has ended for them; a total that is there stays as it is."""
    if totals:
        connection.execute(
            text(
                "INSERT INTO period_total (brand_id, period, starts_on, spend_micros, budget_micros)"
                " SELECT brand_id, :period, :starts_on, spend, budget FROM"
                " unnest(CAST(:brands AS bigint[]), CAST(:spends AS bigint[]), CAST(:budgets AS bigint[]))"
                " AS given(brand_id, spend, budget) ON CONFLICT DO NOTHING"
            ),
            {
                "period": period,
                "starts_on": starts_on,
                "brands": [total[0] for total in totals],
                "spends": [total[1] for total in totals],
                "budgets": [total[2] for total in totals],
            },
        )
