"""What each brand spent a minute: the course of a day, without a read of the spend log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Final, TypeAlias

from sqlalchemy import Connection, text

from engine.domain.periods import MINUTE_MS, at_ms, ms_of

KEEP_DAYS: Final = 8
"""Days whose minutes are kept, beside today."""
_AT_ONCE: Final = 20_000
"""Rows that one transaction drops."""

Key: TypeAlias = tuple[int, date, int]
"""Brand, the day to which it counts, and the minute in which it happened, counted from 1970."""

_ADD: Final = text(
    "INSERT INTO brand_minute (day, brand_id, at, spend_micros) SELECT * FROM unnest(CAST(:days AS date[]), CAST(:brands AS bigint[]),"
    " CAST(:ats AS timestamptz[]), CAST(:micros AS bigint[])) ON CONFLICT (day, brand_id, at)"
    " DO UPDATE SET spend_micros = brand_minute.spend_micros + excluded.spend_micros"
)
_PRUNE: Final = text(
    "DELETE FROM brand_minute WHERE ctid = ANY (ARRAY(SELECT ctid FROM brand_minute WHERE day < :before LIMIT :most))"
)
_OF_HOURS: Final = text(
    "SELECT brand_id, (extract(epoch FROM at)::bigint / 3600) AS hour, sum(spend_micros)::bigint AS micros FROM brand_minute"
    " WHERE day BETWEEN CAST(:since AS date) - 1 AND CAST(:since AS date) + 3 AND brand_id = ANY(CAST(:brands AS bigint[]))"
    " AND at >= :since GROUP BY 1, 2"
)
_OF_DAY: Final = text("SELECT at, spend_micros FROM brand_minute WHERE day = :day AND brand_id = :brand ORDER BY at")


def minute_of(day: date, recorded_at: datetime, occurred_at: datetime | None, ahead_ms: int) -> int:
    """The minute under which a row of a brand's day is summed, counted from 1970: of its instant; of the instant at which it occurred,
    where that was on the earlier day that it counts to. ahead_ms: how far the brand's clock is before UTC.
    """
    happened = ms_of(recorded_at)
    if occurred_at is not None and at_ms(happened + ahead_ms).date() != day:
        occurred = ms_of(occurred_at)
        happened = occurred if at_ms(occurred + ahead_ms).date() == day else happened
    return happened // MINUTE_MS


def add(connection: Connection, sums: Mapping[Key, int]) -> None:
    """Adds micros to the minutes, in the caller's transaction."""
    if not sums:
        return
    # In order, so that two writers of the same brands never wait for each other.
    lines = sorted((day, brand, minute, micros) for (brand, day, minute), micros in sums.items())
    days, brands, numbers, micros = map(list, zip(*lines, strict=True))
    ats = [at_ms(number * MINUTE_MS) for number in numbers]
    connection.execute(_ADD, {"days": days, "brands": brands, "ats": ats, "micros": micros})


def of_day(connection: Connection, brand_id: int, day: date) -> list[tuple[datetime, int]]:
    """What counts to a brand's day, a minute: when it began and its micros, in order; minutes without any are left out."""
    return [(at, micros) for at, micros in connection.execute(_OF_DAY, {"brand": brand_id, "day": day})]


def of_hours(connection: Connection, brand_ids: Sequence[int], since: datetime) -> dict[tuple[int, int], int]:
    """{(brand, hour counted from 1970): micros} since an instant, at most some two days ago; hours without any are left out."""
    found = connection.execute(_OF_HOURS, {"brands": list(brand_ids), "since": since})
    return {(brand, hour): micros for brand, hour, micros in found}


def prune(connection: Connection, before: date) -> int:
    """Drops a part of the minutes of days before one; returns how many, 0 when none are left."""
    return connection.execute(_PRUNE, {"before": before, "most": _AT_ONCE}).rowcount
