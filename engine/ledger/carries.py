"""What days of brands with a rollover began with: written by persist, read for rebuild and verify."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

_ADD: Final = text(
    "INSERT INTO brand_carry (brand_id, n, day, left_micros, before_micros, at)"
    " VALUES (:brand_id, :n, :day, :left_micros, :before_micros, :at) ON CONFLICT (brand_id, n)"
    " DO UPDATE SET day = EXCLUDED.day, left_micros = EXCLUDED.left_micros, before_micros = EXCLUDED.before_micros, at = EXCLUDED.at"
)
_LAST: Final = text(
    "SELECT DISTINCT ON (brand_id) brand_id, n, day, left_micros, before_micros, at FROM brand_carry"
    " WHERE brand_id = ANY(CAST(:brands AS bigint[])) ORDER BY brand_id, n DESC"
)
_MOST: Final = text("SELECT max(left_micros) FROM brand_carry WHERE brand_id = :brand AND day = :day")
_DROP: Final = text(
    "DELETE FROM brand_carry AS old WHERE at < :before"
    " AND n < (SELECT max(n) FROM brand_carry AS newer WHERE newer.brand_id = old.brand_id)"
)


class CarryRow(NamedTuple):
    """What a day of a brand began with, as its table has it; money in micros."""

    brand_id: int
    n: int
    day: date
    left_micros: int
    before_micros: int | None
    at: datetime


def add(connection: Connection, rows: Sequence[CarryRow]) -> None:
    """Writes rows; one of the same entry is written anew, which a rebuild that is repeated needs."""
    if rows:
        connection.execute(_ADD, [row._asdict() for row in rows])


def last_of(connection: Connection, brand_ids: Collection[int]) -> dict[int, CarryRow]:
    """{brand id: its latest row}."""
    if not brand_ids:
        return {}
    found = connection.execute(_LAST, {"brands": list(brand_ids)})
    return {row.brand_id: CarryRow(*row) for row in found}


def most_left(connection: Connection, brand_id: int, day: date) -> int:
    """The most that a brand's day began with; 0 where it has no row."""
    return connection.execute(_MOST, {"brand": brand_id, "day": day}).scalar_one() or 0


def drop(connection: Connection, before: datetime) -> int:
    """Drops the rows of days that are long over, but for the latest of each brand; returns how many."""
    return connection.execute(_DROP, {"before": before}).rowcount
