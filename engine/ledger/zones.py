"""Time zones of brands in the catalog: which zone when, and the text of it that stands in the brand's plan.

Each function works in the caller's transaction.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.periods import ms_of
from engine.domain.zones import RENEW_MS, BrandZone
from engine.ledger import changes
from engine.ledger.changes import FieldChange
from engine.ledger.records import BrandRecord

_NOW: Final = text("SELECT clock_timestamp()")
_ZONED: Final = text(
    "SELECT id, zone_steps, zone FROM brand WHERE cardinality(zone_steps) > 0"
    " AND (id = ANY(CAST(:brands AS bigint[])) OR CAST(:brands AS bigint[]) IS NULL) ORDER BY id"
)
_LOCKED: Final = text("SELECT zone_steps, zone FROM brand WHERE id = :id FOR NO KEY UPDATE")
_SET: Final = text(
    "UPDATE brand SET zone_steps = :zone_steps, zone = :zone, version = version + 1, updated_at = clock_timestamp()"
    " WHERE id = :id"
)
_ACTOR: Final = "engine"


class ZonedBrand(NamedTuple):
    """A brand with a time zone, now, before or later. zone: what stands in its plan."""

    id: int
    zones: BrandZone
    zone: str


def now_ms(connection: Connection, at_ms: int | None = None) -> int:
    """The given time, or else that of PostgreSQL."""
    return ms_of(connection.execute(_NOW).scalar_one()) if at_ms is None else at_ms


def columns(zones: BrandZone, at_ms: int) -> dict[str, Any]:
    """The columns of a brand with these zones."""
    return {"time_zone": zones.name, "zone_steps": zones.stored, "zone": zones.text(at_ms)}


def changed(before: BrandRecord, name: str | None, at_ms: int) -> dict[str, Any]:
    """The columns after somebody chose a zone: it begins at the brand's next midnight."""
    return columns(before.zones.changed(name, at_ms), at_ms)


def zoned(connection: Connection, brand_ids: list[int] | None = None) -> list[ZonedBrand]:
    """The brands with a time zone, all or some of them, archived ones included."""
    found = connection.execute(_ZONED, {"brands": brand_ids})
    return [ZonedBrand(row.id, BrandZone.parse(row.zone_steps), row.zone) for row in found]


def renew(connection: Connection, at_ms: int) -> list[int]:
    """Compiles the text of each brand anew that is right for less than half a year from now; returns those that changed. Clocks
    change, and so do the laws on them.
    """
    changed_brands = []
    for brand in zoned(connection):
        wrong_ms = brand.zones.right_until_ms(brand.zone, at_ms)
        if wrong_ms is not None and wrong_ms < at_ms + RENEW_MS and _write(connection, brand.id, brand.zones, at_ms):
            changed_brands.append(brand.id)
    return changed_brands


def move(connection: Connection, brand_id: int, to_ms: int, at_ms: int) -> None:
    """Moves the beginning of a brand's last zone, which Redis did not have in time, to an instant."""
    steps = BrandZone.parse(connection.execute(_LOCKED, {"id": brand_id}).one().zone_steps).steps
    zones = BrandZone((*steps[:-1], (to_ms, steps[-1][1])))
    if _write(connection, brand_id, zones, at_ms):
        note = f"{zones.told()}; Redis did not have it earlier"
        changes.write(
            connection, "brand", _ACTOR, [FieldChange(brand_id, "zone_begins", str(steps[-1][0]), str(to_ms), note)]
        )


def _write(connection: Connection, brand_id: int, zones: BrandZone, at_ms: int) -> bool:
    """Writes zones and their text, with a new version where either is another."""
    row = connection.execute(_LOCKED, {"id": brand_id}).one()
    wanted = {"zone_steps": zones.stored, "zone": zones.text(at_ms)}
    if (list(row.zone_steps), row.zone) == (wanted["zone_steps"], wanted["zone"]):
        return False
    connection.execute(_SET, {**wanted, "id": brand_id})
    return True
