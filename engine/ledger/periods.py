"""Closed periods: what each brand spent in a day or month that has ended, and which of them each shard has closed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from engine.domain.ids import SHARDS
from engine.domain.periods import Period
from engine.ledger.models import ShardClose

BrandTotal = tuple[int, int, int | None]
"""brand_id, spend in micros, budget in micros at the close (None: no limit)."""


def closed(connection: Connection, shard: int, period: Period, starts_on: date) -> bool:
    """Whether the shard has closed a period."""
    query = select(ShardClose.shard).where(
        ShardClose.shard == shard, ShardClose.period == period, ShardClose.starts_on == starts_on
    )
    return connection.execute(query).one_or_none() is not None


def reopen(connection: Connection, shard: int, today: date) -> int:
    """Reopens the days from `today` on and the months from its month on, which a wrong clock closed before their end.
    Returns how many the shard had closed.
    """
    early = "(period = 'day' AND starts_on >= :today OR period = 'month' AND starts_on >= date_trunc('month', CAST(:today AS date)))"
    given = {"shard": shard, "today": today, "shards": SHARDS}
    connection.execute(text(f"DELETE FROM period_total WHERE mod(brand_id, :shards) = :shard AND {early}"), given)
    return connection.execute(text(f"DELETE FROM shard_close WHERE shard = :shard AND {early}"), given).rowcount


def all_last_closed(connection: Connection) -> dict[tuple[int, str], date]:
    """The latest day or month (its 1st) of every shard that has closed any: {(shard, period): date}."""
    query = select(ShardClose.shard, ShardClose.period, func.max(ShardClose.starts_on)).group_by(
        ShardClose.shard, ShardClose.period
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
    return True
