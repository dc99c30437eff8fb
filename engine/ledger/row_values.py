"""The fields of a brand or campaign that operations change, in values that JSON has; and how a row gets such values back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Connection

from engine.domain.causes import BREAKER
from engine.domain.operations import ARCHIVED, ENABLED, PAUSED, Change
from engine.domain.schedule import Schedule
from engine.domain.zone_text import UTC_NAME
from engine.ledger import brands, campaigns
from engine.ledger.changes import Entity
from engine.ledger.records import BrandRecord, CampaignRecord

_BOTH: Final = ("name", "external_id", "daily_budget_micros", "monthly_budget_micros", "pacing", "catch_up")
_OF_BRAND: Final = (*_BOTH, "time_zone", "rollover_cap_micros")
_OF_CAMPAIGN: Final = (*_BOTH, "lifetime_budget_micros", "rate_limit_micros", "breaker_micros", "schedule", ENABLED)
Row = BrandRecord | CampaignRecord


def values_of(row: Row) -> dict[str, Any]:
    """The fields of a row that may be changed."""
    names = _OF_BRAND if isinstance(row, BrandRecord) else _OF_CAMPAIGN
    values = {name: getattr(row, name) for name in names}
    if "schedule" in values:
        values["schedule"] = values["schedule"].to_json()
    if isinstance(row, BrandRecord):
        values[PAUSED] = row.paused
    return values | {ARCHIVED: row.archived_at is not None}


def difference(before: Row, after: Row) -> Change:
    """What differs between two states of a row, as `{field: [old, new]}`."""
    old, new = values_of(before), values_of(after)
    change = {name: [value, new[name]] for name, value in old.items() if value != new[name]}
    if 0 < getattr(before, "breaker_round", 0) < getattr(after, "breaker_round", 0):
        change[BREAKER] = ["open", "closed"]
    return change


def locked(connection: Connection, entity: Entity, owner_id: int) -> Row:
    """The row, locked for a change. Raises NotFound."""
    return brands.locked(connection, owner_id) if entity == "brand" else campaigns.locked(connection, owner_id)


def one(connection: Connection, entity: Entity, owner_id: int) -> Row:
    """The row as it is. Raises NotFound."""
    return brands.one(connection, owner_id) if entity == "brand" else campaigns.one(connection, owner_id)


def set_values(
    connection: Connection, entity: Entity, owner_id: int, actor: str, change: Change, *, broken: bool = False
) -> Row:
    """Gives a locked row the new values of a change. broken: Redis has its breaker open. Raises Conflict, InvalidInput's kinds."""
    new = {field: value for field, (_, value) in change.items()}
    returns = ARCHIVED in new and not new[ARCHIVED]
    if returns:
        _unarchive(connection, entity, owner_id, actor, new)
    if ENABLED in new or BREAKER in new:
        campaigns.switch(connection, owner_id, actor, enabled=new.pop(ENABLED, True), broken=broken)
        new.pop(BREAKER, None)
    if PAUSED in new:
        brands.pause(connection, owner_id, actor, paused=new.pop(PAUSED), note=None)
    if fields := {name: value for name, value in new.items() if name != ARCHIVED}:
        _change(connection, entity, owner_id, actor, fields)
    if ARCHIVED in new and not returns:
        archive: Callable[..., Row] = brands.archive if entity == "brand" else campaigns.archive
        archive(connection, owner_id, actor)
    return one(connection, entity, owner_id)


def _unarchive(connection: Connection, entity: Entity, owner_id: int, actor: str, new: dict[str, Any]) -> None:
    named = {"name": new.pop("name")} if "name" in new else {}
    if entity == "brand":
        brands.unarchive(connection, owner_id, actor, **named)
    else:
        campaigns.unarchive(connection, owner_id, actor, **named)


def _change(connection: Connection, entity: Entity, owner_id: int, actor: str, fields: Mapping[str, Any]) -> None:
    values: Any = dict(fields)
    if "schedule" in values:
        values["schedule"] = Schedule.parse(values["schedule"])
    if "time_zone" in values:
        values["time_zone"] = values["time_zone"] or UTC_NAME
    if entity == "brand":
        brands.change(connection, owner_id, actor, **values)
    else:
        campaigns.change(connection, owner_id, actor, **values)
