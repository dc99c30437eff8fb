"""Campaigns in the catalog. Each function works in the caller's transaction, locks brand before campaign, and writes
the audit trail.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Unpack

from sqlalchemy import Connection, Select, Text, cast, func, insert, select, text, update

from engine.domain.brake import NO_BRAKE, Brake, check_per_minute, per_minute_text
from engine.domain.budget import CAMPAIGN_BUDGETS, NO_LIMITS, OwnLimits
from engine.domain.causes import BREAKER
from engine.domain.ids import ORDINALS, brand_of, campaign_id_of, check_campaign_id, check_text_id, ordinal_of
from engine.domain.money import check_budget_micros, format_optional
from engine.domain.names import clean_name
from engine.domain.pacing import ASAP, NO_PACING, Pacing
from engine.domain.schedule import Schedule
from engine.errors import Conflict, NotFound, shown
from engine.ledger import brands, breakers, changes, curves, limit_rows
from engine.ledger.campaign_changes import PER_MINUTE, CampaignChanges, checked
from engine.ledger.changes import FieldChange
from engine.ledger.models import Brand, Campaign
from engine.ledger.records import (
    KEEP,
    CampaignRecord,
    Keep,
    campaign_record,
    clean_note,
    refusing_taken,
    schedule_text,
    taken_name,
)

COLUMNS: Final[tuple[Any, ...]] = (
    Campaign.id,
    Campaign.external_id,
    Campaign.brand_id,
    Campaign.ordinal,
    Campaign.name,
    Campaign.enabled,
    Campaign.status,
    Campaign.reasons,
    cast(Campaign.schedule, Text).label("schedule"),
    *(getattr(Campaign, kind.column) for kind in CAMPAIGN_BUDGETS),
    Campaign.flights,
    Campaign.pacing,
    Campaign.catch_up,
    Campaign.pace,
    Campaign.steps,
    Campaign.rate_limit_micros,
    Campaign.breaker_micros,
    Campaign.breaker_round,
    Campaign.breaker_closed_at,
    Campaign.version,
    Campaign.published_version,
    Campaign.switched_at,
    Campaign.archived_at,
    Campaign.created_at,
    Campaign.updated_at,
    Brand.archived_at.label("brand_archived_at"),
    Brand.paused_at.label("brand_paused_at"),
)


def reading() -> Select[Any]:
    """Every campaign with its brand's archive date, for more conditions to be added."""
    return select(*COLUMNS).join(Brand, Brand.id == Campaign.brand_id)


def every_id(connection: Connection) -> list[int]:
    """Every campaign's id, archived or not, in order."""
    return list(connection.execute(select(Campaign.id).order_by(Campaign.id)).scalars())


def create(
    connection: Connection,
    brand_id: int,
    names: Sequence[str],
    actor: str,
    *,
    schedule: Schedule | None = None,
    external_id: str | None = None,
    limits: OwnLimits = NO_LIMITS,
    pacing: Pacing = NO_PACING,
    brake: Brake = NO_BRAKE,
) -> list[CampaignRecord]:
    """New campaigns of one brand, in the order of their names. Raises InvalidName, InvalidBudget, InvalidId,
    InvalidPacing, NotFound, Conflict.
    """
    wanted = [clean_name(name) for name in names]
    budgets = {
        kind.column: check_budget_micros(limit, f"{kind.name}_budget")
        for kind, limit in zip(CAMPAIGN_BUDGETS, limits, strict=True)
    }
    budgets |= _first_brake(brake)
    if external_id is not None:
        check_text_id(external_id, "external_id")
    paced = brands.pacing_columns(pacing.mode, pacing.catch_up)
    if pacing.mode != ASAP:
        curves.keep(connection)
    brand = brands.locked(connection, brand_id)
    brands.refuse_archived(brand)
    if not wanted:
        return []
    _refuse_taken_names(connection, brand_id, wanted)
    ids = _give_ids(connection, brand_id, len(wanted))
    as_json = (schedule or Schedule()).to_json()
    paced["pace"] = curves.parts_of(connection, pacing, brand_id, limits.daily, schedule)
    rows = [
        {"id": id_, "brand_id": brand_id, "ordinal": ordinal_of(id_), "name": name, "schedule": as_json}
        | {"external_id": external_id}
        | budgets
        | paced
        for id_, name in zip(ids, wanted, strict=True)
    ]
    with refusing_taken("campaign", wanted[0], external_id):
        connection.execute(insert(Campaign), rows)
    # The audit trail has the first budgets as well as their changes.
    told = [
        f"{kind.name}_budget {format_optional(limit) or 'none'}"
        for kind, limit in zip(CAMPAIGN_BUDGETS, limits, strict=True)
    ]
    told += [f"{name} {per_minute_text(micros)}" for name, micros in zip(PER_MINUTE, brake[:2], strict=True)]
    note = ", ".join(told) if limits != NO_LIMITS or brake != NO_BRAKE else None
    trail = [FieldChange(id_, "created", None, name, note) for id_, name in zip(ids, wanted, strict=True)]
    changes.write(connection, "campaign", actor, trail)
    found = connection.execute(reading().where(Campaign.id.in_(ids)).order_by(Campaign.id))
    return [campaign_record(row) for row in found]


def refuse_stale(before: CampaignRecord, expected_version: int | None) -> None:
    """Raises Conflict where somebody changed a campaign since a version; None is any."""
    if expected_version is not None and before.version != expected_version:
        raise Conflict(
            f"campaign {before.id} is at version {before.version}, not {expected_version}: somebody changed it, load it again",
            "version",
        )


def change(connection: Connection, campaign_id: int, actor: str, **given: Unpack[CampaignChanges]) -> CampaignRecord:
    """Changes the given fields; equal values leave no row and no new version. Raises as `create`, and NotFound.

    Of an archived campaign only names may change, because one may be in the way of its return.
    """
    expected_version, note = given.pop("expected_version", None), clean_note(given.pop("note", None))
    wanted = checked(given)
    if wanted.keys() & brands.PACED_BY:
        curves.keep(connection)
    before = locked(connection, campaign_id)
    if wanted.get("lifetime_budget_micros") is not None and before.flights:
        raise Conflict(
            f"campaign {campaign_id} has flights, and a lifetime budget is a flight without ends: give the flights budgets,"
            " or remove them first",
            "lifetime_budget",
        )
    if not wanted.keys() <= brands.NAMES_ONLY:
        refuse_archived(before)
    refuse_stale(before, expected_version)
    when_ms = limit_rows.instant_of(connection, before, wanted)
    before = settled(connection, before, when_ms)
    values = {field: value for field, value in wanted.items() if value != getattr(before, field)}
    trail = [
        FieldChange(campaign_id, *_told(field, getattr(before, field), new), note) for field, new in values.items()
    ]
    values |= brands.new_pace(connection, before, before.brand_id, values)
    values |= limit_rows.new_steps(connection, "campaign", before, values)
    if "schedule" in values:
        values["schedule"] = values["schedule"].to_json()
    if not before.breaker_round and any(f"{name}_micros" in values for name in PER_MINUTE):
        values["breaker_round"] = 1
    return apply(connection, before, values, trail, actor, limit_rows.dated(when_ms))


def switch(
    connection: Connection,
    campaign_id: int,
    actor: str,
    *,
    enabled: bool,
    broken: bool = False,
    note: str | None = None,
) -> CampaignRecord:
    """A person's switch, independent of budgets and schedule. On again it closes an open breaker as well. A repeat is no
    change. Raises NotFound, InvalidInput, Conflict if archived.

    broken: Redis has the breaker open, which the log may not know yet. note: the reason, for the trail.
    """
    note = clean_note(note)
    before = locked(connection, campaign_id)
    refuse_archived(before)
    values: dict[str, Any] = {}
    trail = []
    if before.enabled != enabled:
        values = {"enabled": enabled, "switched_at": func.clock_timestamp()}
        trail.append(FieldChange(campaign_id, "enabled", changes.flag(before.enabled), changes.flag(enabled), note))
    known = broken or BREAKER in before.reasons or bool(breakers.open_of(connection, [campaign_id]))
    if enabled and before.breaker_round and known:
        values |= {"breaker_round": before.breaker_round + 1, "breaker_closed_at": func.clock_timestamp()}
        trail.append(FieldChange(campaign_id, BREAKER, "open", "closed", note))
    return apply(connection, before, values, trail, actor)


def archive(connection: Connection, campaign_id: int, actor: str) -> CampaignRecord:
    """Archives a campaign. One that is archived already, itself or by its brand, stays as it is. Raises NotFound."""
    before = locked(connection, campaign_id)
    if before.archived:
        return before
    now = func.clock_timestamp()
    trail = [FieldChange(campaign_id, "archived", changes.flag(False), changes.flag(True))]
    return apply(connection, before, {"archived_at": now, "switched_at": now}, trail, actor)


def unarchive(connection: Connection, campaign_id: int, actor: str, *, name: str | Keep = KEEP) -> CampaignRecord:
    """Restores an archived campaign, switched as it was. A repeat is no change. Raises NotFound, Conflict for a taken
    name.

    name: its new name, where its own is taken.
    """
    wanted = None if isinstance(name, Keep) else clean_name(name)
    before = locked(connection, campaign_id)
    if before.brand_archived_at is not None:
        raise Conflict(
            f"campaign {campaign_id} {shown(before.name)} is archived with its brand:"
            f" bring that back first, with `brand unarchive {before.brand_id}`",
            "archived",
        )
    if not before.archived:
        return before
    trail = [FieldChange(campaign_id, "archived", changes.flag(True), changes.flag(False))]
    values: dict[str, Any] = {"archived_at": None}
    if wanted is not None and wanted != before.name:
        values["name"] = wanted
        trail.append(FieldChange(campaign_id, "name", before.name, wanted))
    return apply(connection, before, values, trail, actor)


def one(connection: Connection, campaign_id: int) -> CampaignRecord:
    """The campaign. Raises InvalidId, NotFound."""
    check_campaign_id(campaign_id)
    row = connection.execute(reading().where(Campaign.id == campaign_id)).one_or_none()
    if row is None:
        raise unknown(campaign_id)
    return campaign_record(row)


def archived(connection: Connection, brand_id: int, limit: int) -> list[CampaignRecord]:
    """A brand's campaigns that are archived by themselves, the last one first."""
    query = reading().where(Campaign.brand_id == brand_id, Campaign.archived_at.is_not(None))
    found = connection.execute(query.order_by(Campaign.archived_at.desc(), Campaign.id).limit(limit))
    return [campaign_record(row) for row in found]


def of_ids(connection: Connection, campaign_ids: Sequence[int]) -> list[CampaignRecord]:
    """Those campaigns, by id."""
    query = reading().where(Campaign.id == func.any(list(campaign_ids))).order_by(Campaign.id)
    return [campaign_record(row) for row in connection.execute(query)]


def with_log_rows(
    connection: Connection, brand_ids: Sequence[int], campaign_ids: Sequence[int]
) -> tuple[set[int], set[int]]:
    """Which of these brands and of these campaigns ever had a row in the log: one probe of an index for each."""
    found = connection.execute(
        text(
            "SELECT id, true AS brand FROM unnest(CAST(:brands AS bigint[])) AS id"
            " WHERE EXISTS (SELECT FROM campaign_day WHERE brand_id = id)"
            " UNION ALL SELECT id, false FROM unnest(CAST(:campaigns AS bigint[])) AS id"
            " WHERE EXISTS (SELECT FROM campaign_day WHERE campaign_id = id)"
        ),
        {"brands": list(brand_ids), "campaigns": list(campaign_ids)},
    )
    rows = [(row.id, row.brand) for row in found]
    return {id_ for id_, is_brand in rows if is_brand}, {id_ for id_, is_brand in rows if not is_brand}


def lock(connection: Connection, campaign_ids: Sequence[int]) -> None:
    """Locks rows in the order of their ids, so that two writers of many campaigns never wait for each other."""
    query = select(Campaign.id).where(Campaign.id == func.any(list(campaign_ids))).order_by(Campaign.id)
    connection.execute(query.with_for_update(key_share=True))


def unknown(campaign_id: object) -> NotFound:
    return NotFound(f"there is no campaign {shown(campaign_id)}: `campaign list` shows all")


def locked(connection: Connection, campaign_id: int) -> CampaignRecord:
    """The campaign with its row locked for a change, and its brand kept from being archived meanwhile."""
    check_campaign_id(campaign_id)
    try:
        brands.locked(connection, brand_of(campaign_id), share=True)
    except NotFound:
        raise unknown(campaign_id) from None
    row_lock = select(Campaign.id).where(Campaign.id == campaign_id).with_for_update(key_share=True)
    connection.execute(row_lock)
    return one(connection, campaign_id)


def settled(connection: Connection, before: CampaignRecord, until_ms: int | None = None) -> CampaignRecord:
    """A locked campaign, with what has begun or ended of its scheduled changes taken over (`limit_rows.settle`)."""
    return apply(connection, before, limit_rows.settle(connection, "campaign", before, until_ms), [], limit_rows.ACTOR)


def apply(
    connection: Connection,
    before: CampaignRecord,
    values: dict[str, Any],
    trail: list[FieldChange],
    actor: str,
    at: datetime | None = None,
) -> CampaignRecord:
    """Writes changed columns of a locked campaign, with the next version and its audit trail.

    at: of the trail, None is now.
    """
    if not values:
        return before
    returning = before.id if "archived_at" in values else None
    with refusing_taken("campaign", values.get("name", before.name), values.get("external_id"), returning=returning):
        connection.execute(
            update(Campaign)
            .where(Campaign.id == before.id)
            .values(version=Campaign.version + 1, updated_at=func.clock_timestamp(), **values)
        )
    changes.write(connection, "campaign", actor, trail, at)
    return one(connection, before.id)


def _give_ids(connection: Connection, brand_id: int, count: int) -> list[int]:
    """The next ids of a brand whose row is locked, without gaps and never given twice."""
    first: int = connection.execute(select(Brand.next_ordinal).where(Brand.id == brand_id)).scalar_one()
    if first + count > ORDINALS:
        left = ORDINALS - first
        raise Conflict(
            f"brand {brand_id} has room for {left} more campaigns, not {count}: a brand holds {ORDINALS - 1} in its life,"
            " archived ones included; create another brand",
            "room",
        )
    # This is no change of the brand: its version stays.
    connection.execute(update(Brand).where(Brand.id == brand_id).values(next_ordinal=first + count))
    return [campaign_id_of(brand_id, ordinal) for ordinal in range(first, first + count)]


def _first_brake(brake: Brake) -> dict[str, int | None]:
    """The columns of a new campaign's brake."""
    amounts = {
        f"{name}_micros": check_per_minute(micros, name) for name, micros in zip(PER_MINUTE, brake[:2], strict=True)
    }
    return {**amounts, "breaker_round": int(any(micros is not None for micros in amounts.values()))}


def _refuse_taken_names(connection: Connection, brand_id: int, names: list[str]) -> None:
    """The unique constraint would find them too, but not name the one of many."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise Conflict(f"name {shown(name)} is given twice: give each campaign its own", "name")
        seen.add(name)
    in_use = (Campaign.brand_id == brand_id, Campaign.archived_at.is_(None), Campaign.name == func.any(names))
    query = select(Campaign.name).where(*in_use).limit(1)
    taken = connection.execute(query).scalar_one_or_none()
    if taken is not None:
        raise taken_name("campaign", taken)


def refuse_archived(campaign: CampaignRecord) -> None:
    """Raises Conflict for an archived campaign."""
    if campaign.archived:
        by_brand = campaign.brand_archived_at is not None
        back = f"brand unarchive {campaign.brand_id}" if by_brand else f"campaign unarchive {campaign.id}"
        raise Conflict(
            f"campaign {campaign.id} {shown(campaign.name)} is archived{' with its brand' if by_brand else ''}"
            f" since {campaign.archived_since:%Y-%m-%d} and changes no more:"
            f" bring it back with `{back}`, or create a new campaign",
            "archived",
        )


def _told(field: str, old: Any, new: Any) -> tuple[str, str | None, str | None]:
    """A field's name and values as the trail shows them."""
    if isinstance(new, Schedule):
        return field, schedule_text(old), schedule_text(new)
    if field.removesuffix("_micros") in PER_MINUTE:
        return field.removesuffix("_micros"), per_minute_text(old), per_minute_text(new)
    return brands.told(field, old, new)
