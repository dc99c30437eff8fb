"""Campaigns in the catalog. Each function works in the caller's transaction, locks brand before campaign, and writes
the audit trail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypedDict

from sqlalchemy import Connection, Select, Text, cast, func, insert, select, text, update

from engine.domain.budget import CAMPAIGN_BUDGETS, NO_LIMITS, OwnLimits
from engine.domain.ids import ORDINALS, brand_of, campaign_id_of, check_campaign_id, check_text_id, ordinal_of
from engine.domain.money import check_budget_micros, format_optional
from engine.domain.names import clean_name
from engine.domain.pacing import ASAP, NO_PACING, Pacing
from engine.domain.schedule import Schedule
from engine.errors import Conflict, NotFound, shown
from engine.ledger import brands, changes, curves
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
    Campaign.version,
    Campaign.published_version,
    Campaign.switched_at,
    Campaign.archived_at,
    Campaign.created_at,
    Campaign.updated_at,
    Brand.archived_at.label("brand_archived_at"),
)


class CampaignChanges(TypedDict, total=False):
    """What `change` may be given."""

    name: str | Keep
    schedule: Schedule | Keep | None
    external_id: str | Keep | None
    daily_budget_micros: int | Keep | None
    monthly_budget_micros: int | Keep | None
    lifetime_budget_micros: int | Keep | None
    pacing: str | Keep
    catch_up: str | Keep
    expected_version: int | None
    note: str | None


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
) -> list[CampaignRecord]:
    """New campaigns of one brand, in the order of their names. Raises InvalidName, InvalidBudget, InvalidId,
    InvalidPacing, NotFound, Conflict.
    """
    wanted = [clean_name(name) for name in names]
    budgets = {
        kind.column: check_budget_micros(limit, f"{kind.name}_budget")
        for kind, limit in zip(CAMPAIGN_BUDGETS, limits, strict=True)
    }
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
    note = ", ".join(told) if limits != NO_LIMITS else None
    trail = [FieldChange(id_, "created", None, name, note) for id_, name in zip(ids, wanted, strict=True)]
    changes.write(connection, "campaign", actor, trail)
    found = connection.execute(reading().where(Campaign.id.in_(ids)).order_by(Campaign.id))
    return [campaign_record(row) for row in found]


def change(
    connection: Connection,
    campaign_id: int,
    actor: str,
    *,
    name: str | Keep = KEEP,
    schedule: Schedule | Keep | None = KEEP,
    external_id: str | Keep | None = KEEP,
    daily_budget_micros: int | Keep | None = KEEP,
    monthly_budget_micros: int | Keep | None = KEEP,
    lifetime_budget_micros: int | Keep | None = KEEP,
    pacing: str | Keep = KEEP,
    catch_up: str | Keep = KEEP,
    expected_version: int | None = None,
    note: str | None = None,
) -> CampaignRecord:
    """Changes the given fields; equal values leave no row and no new version. Raises as `create`, and NotFound.

    Of an archived campaign only names may change, because one may be in the way of its return.
    """
    wanted: dict[str, Any] = {}
    if not isinstance(name, Keep):
        wanted["name"] = clean_name(name)
    if not isinstance(schedule, Keep):
        wanted["schedule"] = schedule or Schedule()
    if not isinstance(external_id, Keep):
        wanted["external_id"] = None if external_id is None else check_text_id(external_id, "external_id")
    limits = (daily_budget_micros, monthly_budget_micros, lifetime_budget_micros)
    for kind, limit in zip(CAMPAIGN_BUDGETS, limits, strict=True):
        if not isinstance(limit, Keep):
            wanted[kind.column] = check_budget_micros(limit, f"{kind.name}_budget")
    wanted |= brands.pacing_columns(pacing, catch_up)
    if wanted.keys() & brands.PACED_BY:
        curves.keep(connection)
    note = clean_note(note)
    before = locked(connection, campaign_id)
    if wanted.get("lifetime_budget_micros") is not None and before.flights:
        raise Conflict(
            f"campaign {campaign_id} has flights, and a lifetime budget is a flight without ends: give the flights budgets,"
            " or remove them first",
            "lifetime_budget",
        )
    if not wanted.keys() <= brands.NAMES_ONLY:
        refuse_archived(before)
    if expected_version is not None and before.version != expected_version:
        raise Conflict(
            f"campaign {campaign_id} is at version {before.version}, not {expected_version}:"
            " somebody changed it, load it again",
            "version",
        )
    values = {field: value for field, value in wanted.items() if value != getattr(before, field)}
    trail = [
        FieldChange(campaign_id, *_told(field, getattr(before, field), new), note) for field, new in values.items()
    ]
    values |= brands.new_pace(connection, before, before.brand_id, values)
    if "schedule" in values:
        values["schedule"] = values["schedule"].to_json()
    return apply(connection, before, values, trail, actor)


def switch(connection: Connection, campaign_id: int, actor: str, *, enabled: bool) -> CampaignRecord:
    """A person's switch, independent of budgets and schedule. A repeat is no change. Raises NotFound, Conflict if
    archived.
    """
    before = locked(connection, campaign_id)
    refuse_archived(before)
    if before.enabled == enabled:
        return before
    trail = [FieldChange(campaign_id, "enabled", changes.flag(before.enabled), changes.flag(enabled))]
    return apply(connection, before, {"enabled": enabled, "switched_at": func.clock_timestamp()}, trail, actor)


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


def apply(
    connection: Connection, before: CampaignRecord, values: dict[str, Any], trail: list[FieldChange], actor: str
) -> CampaignRecord:
    """Writes changed columns of a locked campaign, with the next version and its audit trail."""
    if not values:
        return before
    returning = before.id if "archived_at" in values else None
    with refusing_taken("campaign", values.get("name", before.name), values.get("external_id"), returning=returning):
        connection.execute(
            update(Campaign)
            .where(Campaign.id == before.id)
            .values(version=Campaign.version + 1, updated_at=func.clock_timestamp(), **values)
        )
    changes.write(connection, "campaign", actor, trail)
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
    return brands.told(field, old, new)
