"""Retention: which days of the spend log may go, and letting one go with its sums kept.

A day's partition goes in one transaction with what its rows added up to (`dropped_day`), so that rows and dropped sums together are always the
whole log, whenever a process dies. campaign_day, campaign_hour and period_total stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Final

from sqlalchemy import Connection, text

from engine.domain.periods import month_of_date, next_month
from engine.errors import BudgetError
from engine.ledger import exported, flight_sums, zones
from engine.ledger.audit import daily_sums_off
from engine.ledger.locks import Lock, take, try_take
from engine.ledger.models import LOG_TABLES
from engine.ledger.spend_log import partition_of

_PATIENCE_S: Final = 0.8
"""No lock is waited for longer. While it waits, writers wait behind it; and below PostgreSQL's deadlock_timeout it is this that gives way, never they."""


_PARTITIONS: Final = text(
    "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
    " WHERE inhparent IN (CAST('spend_log' AS regclass), CAST('spend_pack' AS regclass)) ORDER BY relname"
)
_DAY_SUMS: Final = text("SELECT count(*), coalesce(sum(amount_micros), 0)::bigint FROM spend WHERE day = :day")
_YOUNG: Final = text(
    "SELECT EXISTS (SELECT FROM spend_log WHERE day = :day AND recorded_at >= :before)"
    " OR EXISTS (SELECT FROM spend_pack WHERE day = :day AND last_at >= :before)"
)
_KEEP_SUMS: Final = text(
    "WITH gone AS (INSERT INTO dropped_day AS kept (brand_id, day, rows, spend_micros, correction_micros, after_month_micros, last_at)"
    " SELECT brand_id, day, count(*), coalesce(sum(amount_micros) FILTER (WHERE kind <> 'correction'), 0),"
    " coalesce(sum(amount_micros) FILTER (WHERE kind = 'correction'), 0),"
    " coalesce(sum(amount_micros) FILTER (WHERE kind = 'correction'"
    " AND recorded_at >= coalesce(e.at, (date_trunc('month', CAST(day AS timestamp)) + interval '1 month') AT TIME ZONE 'UTC')), 0), max(recorded_at)"
    " FROM spend LEFT JOIN (SELECT id, to_timestamp(ms / 1000.0) AS at FROM unnest(CAST(:zoned AS bigint[]), CAST(:ends AS bigint[]))"
    " AS given(id, ms)) AS e ON e.id = brand_id WHERE day = :day GROUP BY 1, 2"
    # The partition was there before, was dropped, and was made anew for rows that came after.
    " ON CONFLICT (brand_id, day) DO UPDATE SET rows = kept.rows + excluded.rows, spend_micros = kept.spend_micros + excluded.spend_micros,"
    " correction_micros = kept.correction_micros + excluded.correction_micros,"
    " after_month_micros = kept.after_month_micros + excluded.after_month_micros, last_at = greatest(kept.last_at, excluded.last_at),"
    " dropped_at = now()) SELECT (SELECT count(*) FROM spend_log WHERE day = :day)"
    " + (SELECT coalesce(sum(spends), 0) FROM spend_pack WHERE day = :day)"
)
_CLOSED_DAYS: Final = text(
    "SELECT given.day FROM unnest(CAST(:days AS date[])) AS given(day) WHERE NOT EXISTS (SELECT FROM"
    " (SELECT mod(id, 64) AS shard FROM brand WHERE created_at < CAST(given.day + 1 AS timestamp) AT TIME ZONE 'UTC'"
    " UNION SELECT mod(brand_id, 64) FROM campaign_day WHERE campaign_day.day = given.day AND spends > 0) AS used WHERE NOT EXISTS"
    " (SELECT FROM shard_close AS c WHERE c.shard = used.shard AND c.period = 'day' AND c.starts_on = given.day) OR NOT EXISTS"
    " (SELECT FROM shard_close AS c WHERE c.shard = used.shard AND c.period = 'month'"
    " AND c.starts_on = CAST(date_trunc('month', given.day) AS date))) ORDER BY 1"
)
_DROPPED_THROUGH: Final = text("SELECT max(day) FROM dropped_day")
_DROPPED_DAYS: Final = text("SELECT DISTINCT day FROM dropped_day WHERE day BETWEEN :first AND :last ORDER BY 1")
_SUMS_APART: Final = text(
    "SELECT brand_id, coalesce(l.micros, 0) AS logged, coalesce(d.micros, 0) AS summed FROM (SELECT brand_id, sum(micros)::bigint AS micros"
    " FROM (SELECT brand_id, amount_micros AS micros FROM spend WHERE day = :day"
    " UNION ALL SELECT brand_id, spend_micros + correction_micros FROM dropped_day WHERE day = :day) AS parts GROUP BY 1) AS l"
    " FULL JOIN (SELECT brand_id, sum(spend_micros)::bigint AS micros FROM campaign_day WHERE day = :day GROUP BY 1) AS d"
    " USING (brand_id) WHERE coalesce(l.micros, 0) <> coalesce(d.micros, 0) ORDER BY 1 LIMIT 1"
)


class NotExported(BudgetError):
    """No verified export has all rows of a day, and a day must not go without one; its message says why."""


class SumsApart(BudgetError):
    """The rows of a day are not what campaign_day says: they are the evidence, and stay."""


def logged_days(connection: Connection) -> list[date]:
    """The days that have a partition of either form, oldest first."""
    found = {name[-8:] for name in connection.execute(_PARTITIONS).scalars()}
    return [date(int(digits[:4]), int(digits[4:6]), int(digits[6:])) for digits in sorted(found)]


def closed_days(connection: Connection, days: Sequence[date]) -> list[date]:
    """Those of the days that are closed, with their month, on every shard that had a brand by then or a spend; oldest first."""
    found = connection.execute(
        _CLOSED_DAYS,
        {"days": list(days)},
    ).scalars()
    return list(found)


def drop_day(connection: Connection, day: date, before: date, only_exported: bool = False) -> int | None:
    """Drops a day's rows and keeps their sums; answers how many rows. None when it is not to be done now: another process is at it or has
    done it, or one of its rows (a correction, say) was recorded on or after `before`.

    Raises SumsApart; NotExported with `only_exported`; OperationalError or LockHeld when somebody holds a lock on the log for longer than it waits.
    """
    if not try_take(connection, Lock.RETENTION) or day not in logged_days(connection):
        return None
    connection.execute(text(f"SET LOCAL lock_timeout = {int(_PATIENCE_S * 1000)}"))
    there = set(connection.execute(_PARTITIONS).scalars())
    partitions = [(table, name) for table in LOG_TABLES if (name := partition_of(table, day)) in there]
    for _, partition in partitions:
        # Whoever would write to it waits, until it is gone and they make it anew; readers go on.
        connection.execute(text(f"LOCK TABLE ONLY {partition} IN SHARE MODE"))
    young = {"day": day, "before": datetime.combine(before, time(), UTC)}
    if connection.execute(_YOUNG, young).scalar_one():
        return None
    if only_exported:
        _check_export(connection, day)
    _check_sums(connection, day)
    rows = int(connection.execute(_KEEP_SUMS, {"day": day, **_month_ends(connection, day)}).scalar_one())
    flight_sums.forget_day(connection, day)
    take(connection, Lock.PARTITION, wait_s=_PATIENCE_S, ours_s=_PATIENCE_S)
    for table, partition in partitions:
        connection.execute(text(f"ALTER TABLE {table} DETACH PARTITION {partition}"))
        connection.execute(text(f"DROP TABLE {partition}"))
    return rows


def _month_ends(connection: Connection, day: date) -> dict[str, list[int]]:
    """When the month of a day ended for brands with a time zone, in ms."""
    following = next_month(month_of_date(day))
    found = zones.zoned(connection)
    return {
        "zoned": [brand.id for brand in found],
        "ends": [brand.zones.clock.month_start_ms(following) for brand in found],
    }


def dropped_through(connection: Connection) -> date | None:
    """The latest day of which rows were dropped; None when none ever were."""
    last: date | None = connection.execute(_DROPPED_THROUGH).scalar_one()
    return last


def dropped_days(connection: Connection, first: date, last: date) -> list[date]:
    """The days from first to last of which rows were dropped."""
    query = _DROPPED_DAYS
    return list(connection.execute(query, {"first": first, "last": last}).scalars())


def _check_export(connection: Connection, day: date) -> None:
    """Raises NotExported. Nobody writes to the day meanwhile, so what is counted here is what goes."""
    rows, micros = connection.execute(_DAY_SUMS, {"day": day}).one()
    # Rows that came after the day was dropped are in no export, and stay.
    why = "its rows came after it was dropped, and stay" if dropped_days(connection, day, day) else None
    if why := why or exported.why_kept(connection, day, rows, micros):
        raise NotExported(why)


def _check_sums(connection: Connection, day: date) -> None:
    """Raises SumsApart where rows, and what was dropped of them before, are not the day's sums."""
    if not dropped_days(connection, day, day):
        for wrong in daily_sums_off(connection, day, day, 1):
            raise SumsApart(f"{wrong.owner} has {wrong.found} micros in {wrong.what}, its rows are {wrong.expected}")
        return
    # Which campaign the dropped rows were of is not kept: brands are compared.
    off = connection.execute(
        _SUMS_APART,
        {"day": day},
    ).one_or_none()
    if off is not None:
        raise SumsApart(
            f"brand {off.brand_id} has {off.summed} micros in campaign_day of {day}, its rows are {off.logged}"
        )
