"""What days of brands with a rollover began with: written by persist, read for rebuild and verify."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.money import parse_budget

_ADD: Final = text(
    "INSERT INTO brand_carry (brand_id, n, day, left_micros, before_micros, at)"
    " VALUES (:brand_id, :n, :day, :left_micros, :before_micros, :at) ON CONFLICT (brand_id, n)"
    " DO UPDATE SET day = EXCLUDED.day, left_micros = EXCLUDED.left_micros, before_micros = EXCLUDED.before_micros, at = EXCLUDED.at"
)
_LAST: Final = text(
    "SELECT DISTINCT ON (c.brand_id) c.brand_id, n, c.day, left_micros, before_micros, at FROM brand_carry AS c"
    " JOIN unnest(CAST(:brands AS bigint[]), CAST(:days AS date[])) AS present(brand_id, day)"
    " ON present.brand_id = c.brand_id AND c.day <= present.day ORDER BY c.brand_id, n DESC"
)
_SWITCHED_ON: Final = text(
    "SELECT entity_id, max(at) AS at FROM catalog_change WHERE entity = 'brand' AND field = 'rollover_cap' AND old IS NULL"
    " AND entity_id = ANY(CAST(:brands AS bigint[])) GROUP BY entity_id"
)
_TRAIL: Final = text(
    "SELECT field, old, at FROM catalog_change WHERE entity = 'brand' AND entity_id = :brand AND at >= :since"
    " AND field IN ('daily_budget', 'rollover_cap') ORDER BY at, id"
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


class Changed(NamedTuple):
    """A change of a brand's daily budget (`daily_budget`) or of its cap (`rollover_cap`): what it was before, in micros."""

    field: str
    old: int | None
    at: datetime


def last_of(connection: Connection, days: Mapping[int, date]) -> dict[int, CarryRow]:
    """{brand id: its latest row}. days: the present one of each brand; a clock that was wrong may have begun later ones."""
    if not days:
        return {}
    found = connection.execute(_LAST, {"brands": list(days), "days": list(days.values())})
    return {row.brand_id: CarryRow(*row) for row in found}


def switched_on(connection: Connection, brand_ids: Collection[int]) -> dict[int, datetime]:
    """{brand id: when its rollover was last switched on}; without brands that were made with one."""
    found = connection.execute(_SWITCHED_ON, {"brands": list(brand_ids)})
    return {row.entity_id: row.at for row in found}


def trail(connection: Connection, brand_id: int, since: datetime) -> list[Changed]:
    """What was changed of a brand's daily budget and cap at an instant or later, in order."""
    found = connection.execute(_TRAIL, {"brand": brand_id, "since": since})
    return [Changed(row.field, parse_budget(row.old, row.field), row.at) for row in found]


def most_left(connection: Connection, brand_id: int, day: date) -> int:
    """The most that a brand's day began with; 0 where it has no row."""
    return connection.execute(_MOST, {"brand": brand_id, "day": day}).scalar_one() or 0


def drop(connection: Connection, before: datetime) -> int:
    """Drops the rows of days that are long over, but for the latest of each brand; returns how many."""
    return connection.execute(_DROP, {"before": before}).rowcount
