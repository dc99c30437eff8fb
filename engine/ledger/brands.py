"""Brands in the catalog. Each function works in the caller's transaction, locks the row that it changes, and writes
the audit trail.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, TypedDict

from sqlalchemy import Connection, func, insert, select, update

from engine.domain.ids import check_brand_id, check_text_id
from engine.domain.money import check_budget_micros, format_optional
from engine.domain.names import clean_name
from engine.domain.pacing import ASAP, NO_PACING, Pacing, check_catch_up, check_pacing
from engine.domain.rollover import check_cap
from engine.domain.zone_text import UTC_NAME
from engine.domain.zones import BrandZone, check_zone
from engine.errors import Conflict, NotFound, shown
from engine.ledger import changes, curves, limit_rows, zones
from engine.ledger.changes import FieldChange
from engine.ledger.models import Brand
from engine.ledger.records import (
    KEEP,
    BrandRecord,
    CampaignRecord,
    Keep,
    brand_record,
    clean_note,
    refusing_taken,
)

NAMES_ONLY: Final = frozenset({"name", "external_id"})
"""The fields of an archived row that may be changed."""


class BrandChanges(TypedDict, total=False):
    """What `change` may be given."""

    name: str | Keep
    daily_budget_micros: int | Keep | None
    monthly_budget_micros: int | Keep | None
    pacing: str | Keep
    catch_up: str | Keep
    time_zone: str | Keep
    rollover_cap_micros: int | Keep | None
    external_id: str | Keep | None
    at_ms: int | None
    expected_version: int | None
    note: str | None


PACED_BY: Final = frozenset({"pacing", "catch_up", "schedule", "daily_budget_micros"})
"""The columns of which pacing in a plan follows."""

COLUMNS: Final = (
    Brand.id,
    Brand.external_id,
    Brand.name,
    Brand.daily_budget_micros,
    Brand.monthly_budget_micros,
    Brand.pacing,
    Brand.catch_up,
    Brand.pace,
    Brand.steps,
    Brand.version,
    Brand.published_version,
    Brand.archived_at,
    Brand.created_at,
    Brand.time_zone,
    Brand.zone_steps,
    Brand.zone,
    Brand.paused_at,
    Brand.rollover_cap_micros,
)


def create(
    connection: Connection,
    name: str,
    daily_budget_micros: int | None,
    monthly_budget_micros: int | None,
    external_id: str | None,
    actor: str,
    pacing: Pacing = NO_PACING,
    time_zone: str | None = None,
    at_ms: int | None = None,
    rollover_cap_micros: int | None = None,
) -> BrandRecord:
    """A new brand. at_ms: the time, PostgreSQL's where none is given. Raises InvalidName, InvalidBudget, InvalidId, InvalidPacing,
    InvalidZone, Conflict.
    """
    values = {
        "name": clean_name(name),
        "daily_budget_micros": check_budget_micros(daily_budget_micros, "daily_budget"),
        "monthly_budget_micros": check_budget_micros(monthly_budget_micros, "monthly_budget"),
        "external_id": None if external_id is None else check_text_id(external_id, "external_id"),
        "rollover_cap_micros": check_cap(rollover_cap_micros),
    }
    values |= pacing_columns(pacing.mode, pacing.catch_up)
    if time_zone is not None and (name_of_zone := check_zone(time_zone)) is not None:
        values |= zones.columns(BrandZone.of(name_of_zone), zones.now_ms(connection, at_ms))
    if pacing.mode != ASAP:
        curves.keep(connection)
    with refusing_taken("brand", values["name"], external_id):
        made = brand_record(connection.execute(insert(Brand).values(**values).returning(*COLUMNS)).one())
    if pacing.mode != ASAP:
        parts = curves.parts_of(connection, pacing, made.id, made.daily_budget_micros)
        connection.execute(update(Brand).where(Brand.id == made.id).values(pace=parts))
        made = replace(made, pace=tuple(parts))
    # The audit trail has the first budgets as well as their changes.
    note = (
        f"daily_budget {format_optional(made.daily_budget_micros) or 'none'},"
        f" monthly_budget {format_optional(made.monthly_budget_micros) or 'none'}"
    ) + (f", time_zone {made.time_zone}" if made.time_zone else "")
    if made.rollover_cap_micros is not None:
        note += f", rollover_cap {format_optional(made.rollover_cap_micros)}"
    changes.write(connection, "brand", actor, [FieldChange(made.id, "created", None, made.name, note)])
    return made


def change(
    connection: Connection,
    brand_id: int,
    actor: str,
    *,
    name: str | Keep = KEEP,
    daily_budget_micros: int | Keep | None = KEEP,
    monthly_budget_micros: int | Keep | None = KEEP,
    pacing: str | Keep = KEEP,
    catch_up: str | Keep = KEEP,
    time_zone: str | Keep = KEEP,
    rollover_cap_micros: int | Keep | None = KEEP,
    external_id: str | Keep | None = KEEP,
    expected_version: int | None = None,
    note: str | None = None,
    at_ms: int | None = None,
) -> BrandRecord:
    """Changes the given fields; equal values leave no row and no new version. Another time zone takes effect at the brand's next
    midnight, counted from `at_ms`. Raises as `create`, and NotFound.

    Of an archived brand only names may change, because one may be in the way of its return.
    """
    values: dict[str, Any] = {}
    if not isinstance(name, Keep):
        values["name"] = clean_name(name)
    if not isinstance(daily_budget_micros, Keep):
        values["daily_budget_micros"] = check_budget_micros(daily_budget_micros, "daily_budget")
    if not isinstance(monthly_budget_micros, Keep):
        values["monthly_budget_micros"] = check_budget_micros(monthly_budget_micros, "monthly_budget")
    values |= pacing_columns(pacing, catch_up)
    if values.keys() & PACED_BY:
        curves.keep(connection)
    if not isinstance(time_zone, Keep):
        values["time_zone"] = check_zone(time_zone)
    if not isinstance(rollover_cap_micros, Keep):
        values["rollover_cap_micros"] = check_cap(rollover_cap_micros)
    if not isinstance(external_id, Keep):
        values["external_id"] = None if external_id is None else check_text_id(external_id, "external_id")
    note = clean_note(note)
    before = locked(connection, brand_id)
    if not values.keys() <= NAMES_ONLY:
        refuse_archived(before)
    if expected_version is not None and before.version != expected_version:
        raise Conflict(
            f"brand {brand_id} is at version {before.version}, not {expected_version}: somebody changed it, load it again",
            "version",
        )
    when_ms = limit_rows.instant_of(connection, before, values)
    before = settled(connection, before, when_ms)
    told_of = {field: value for field, value in values.items() if value != getattr(before, field)}
    if not told_of:
        return before
    values = told_of | new_pace(connection, before, brand_id, told_of)
    values |= limit_rows.new_steps(connection, "brand", before, told_of)
    if "time_zone" in told_of:
        values |= zones.changed(before, told_of["time_zone"], zones.now_ms(connection, at_ms))
    with refusing_taken("brand", values.get("name"), values.get("external_id")):
        after = apply(connection, brand_id, values)
    trail = [
        FieldChange(brand_id, *told(field, getattr(before, field), value), note) for field, value in told_of.items()
    ]
    changes.write(connection, "brand", actor, trail, limit_rows.dated(when_ms))
    return after


def pacing_columns(pacing: str | Keep, catch_up: str | Keep) -> dict[str, Any]:
    """The columns of what is given of a pacing. Raises InvalidPacing."""
    values: dict[str, Any] = {}
    if not isinstance(pacing, Keep):
        values["pacing"] = check_pacing(pacing)
    if not isinstance(catch_up, Keep):
        values["catch_up"] = check_catch_up(catch_up)
    return values


def new_pace(
    connection: Connection, before: BrandRecord | CampaignRecord, brand_id: int, values: dict[str, Any]
) -> dict[str, Any]:
    """The column `pace` where a change of others changes it. Raises InvalidPacing."""
    if not values.keys() & PACED_BY:
        return {}
    pacing = Pacing(values.get("pacing", before.pacing), values.get("catch_up", before.catch_up))
    daily = values.get("daily_budget_micros", before.daily_budget_micros)
    schedule = values.get("schedule", getattr(before, "schedule", None))
    parts = curves.parts_of(connection, pacing, brand_id, daily, schedule)
    return {"pace": parts} if tuple(parts) != before.pace else {}


def pause(connection: Connection, brand_id: int, actor: str, *, paused: bool, note: str | None) -> BrandRecord:
    """A person's switch of the whole brand; its campaigns keep their own. A repeat is no change. note: the reason, for the
    trail. Raises NotFound, Conflict if archived.
    """
    note = clean_note(note)
    before = locked(connection, brand_id)
    refuse_archived(before)
    if before.paused == paused:
        return before
    after = apply(connection, brand_id, {"paused_at": func.clock_timestamp() if paused else None})
    trail = [FieldChange(brand_id, "paused", changes.flag(before.paused), changes.flag(paused), note)]
    changes.write(connection, "brand", actor, trail)
    return after


def archive(connection: Connection, brand_id: int, actor: str) -> BrandRecord:
    """Archives a brand; its campaigns stay as they are and stop with it. A repeat is no change. Raises NotFound."""
    before = locked(connection, brand_id)
    if before.archived:
        return before
    after = apply(connection, brand_id, {"archived_at": func.clock_timestamp()})
    trail = [FieldChange(brand_id, "archived", changes.flag(False), changes.flag(True))]
    changes.write(connection, "brand", actor, trail)
    return after


def unarchive(connection: Connection, brand_id: int, actor: str, *, name: str | Keep = KEEP) -> BrandRecord:
    """Restores an archived brand, with its campaigns as they were. A repeat is no change. Raises NotFound, Conflict
    for a taken name.

    name: its new name, where its own is taken.
    """
    wanted = None if isinstance(name, Keep) else clean_name(name)
    before = locked(connection, brand_id)
    if not before.archived:
        return before
    values: dict[str, Any] = {"archived_at": None}
    trail = [FieldChange(brand_id, "archived", changes.flag(True), changes.flag(False))]
    if wanted is not None and wanted != before.name:
        values["name"] = wanted
        trail.append(FieldChange(brand_id, "name", before.name, wanted))
    with refusing_taken("brand", values.get("name", before.name), None, returning=brand_id):
        after = apply(connection, brand_id, values)
    changes.write(connection, "brand", actor, trail)
    return after


def one(connection: Connection, brand_id: int) -> BrandRecord:
    """The brand, archived or not. Raises InvalidId, NotFound."""
    check_brand_id(brand_id)
    row = connection.execute(select(*COLUMNS).where(Brand.id == brand_id)).one_or_none()
    if row is None:
        raise unknown(brand_id)
    return brand_record(row)


def locked(connection: Connection, brand_id: int, *, share: bool = False) -> BrandRecord:
    """The brand, its row locked: for a change, or with `share` only so that nobody changes it. Raises NotFound."""
    check_brand_id(brand_id)
    query = select(*COLUMNS).where(Brand.id == brand_id).with_for_update(read=share, key_share=not share)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise unknown(brand_id)
    return brand_record(row)


def refuse_archived(brand: BrandRecord) -> None:
    """Raises Conflict for an archived brand."""
    if brand.archived:
        raise Conflict(
            f"brand {brand.id} {shown(brand.name)} is archived since {brand.archived_at:%Y-%m-%d} and changes no more:"
            f" bring it back with `brand unarchive {brand.id}`, or create a new brand",
            "archived",
        )


def unknown(brand_id: object) -> NotFound:
    return NotFound(f"there is no brand {shown(brand_id)}: `brand list` shows all")


def settled(connection: Connection, before: BrandRecord, until_ms: int | None = None) -> BrandRecord:
    """A locked brand, with what has begun or ended of its scheduled changes taken over (`limit_rows.settle`)."""
    values = limit_rows.settle(connection, "brand", before, until_ms)
    return apply(connection, before.id, values) if values else before


def apply(connection: Connection, brand_id: int, values: dict[str, Any]) -> BrandRecord:
    """Writes changed columns of a locked brand, with the next version."""
    statement = (
        update(Brand)
        .where(Brand.id == brand_id)
        .values(version=Brand.version + 1, updated_at=func.clock_timestamp(), **values)
        .returning(*COLUMNS)
    )
    return brand_record(connection.execute(statement).one())


def told(field: str, old: Any, new: Any) -> tuple[str, str | None, str | None]:
    """A field's name and values as the trail shows them."""
    if field.endswith("_budget_micros") or field == "rollover_cap_micros":
        return field.removesuffix("_micros"), format_optional(old), format_optional(new)
    if field == "time_zone":
        return field, old or UTC_NAME, new or UTC_NAME
    return field, old, new
