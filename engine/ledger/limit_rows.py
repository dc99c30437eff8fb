"""Scheduled changes of limits as rows: what is open of a brand or campaign, what the catalog takes over of it, and the steps that follow.

The limits in a row of the catalog are those of the changes that it has taken over. The steps beside them are what is to come, by Redis' clock, so
it does not matter how late the catalog takes them over. Each function works in the caller's transaction, on a locked row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, text

from engine.domain.budget import BudgetKind
from engine.domain.limit_changes import PERIODS, LimitChange, Period, Turn, check, every_turn, steps, told
from engine.domain.money import format_optional, parse_budget
from engine.domain.periods import at_ms, ms_of
from engine.errors import Conflict
from engine.ledger import changes
from engine.ledger.changes import Entity, FieldChange
from engine.ledger.records import BrandRecord, CampaignRecord

ACTOR: Final = "engine"
_SETTLED_MS: Final = 2000
"""So long a change must have begun before a person's change of another field takes it over: PostgreSQL's clock may be
ahead of Redis', which decides.
"""
COLUMNS: Final = "id, period, kind, value_micros, starts_at, ends_at, begun_at, before_micros"
_OPEN: Final = {
    "brand": text(
        f"SELECT {COLUMNS} FROM limit_change WHERE brand_id = :id AND campaign_id IS NULL AND over_at IS NULL ORDER BY starts_at, id"
    ),
    "campaign": text(
        f"SELECT {COLUMNS} FROM limit_change WHERE campaign_id = :id AND over_at IS NULL ORDER BY starts_at, id"
    ),
}
_BEGIN: Final = text(
    "UPDATE limit_change SET begun_at = :at, before_micros = :before, next_at = ends_at WHERE id = :id"
)
_END: Final = text(
    "UPDATE limit_change SET begun_at = coalesce(begun_at, :at), over_at = :at, next_at = NULL WHERE id = :id"
)
_NOW: Final = text("SELECT clock_timestamp()")


def change_of(row: Row[Any]) -> LimitChange:
    """A change from a row that begins with COLUMNS."""
    ends = None if row.ends_at is None else ms_of(row.ends_at)
    period: Period = row.period
    return LimitChange(
        row.id, period, row.kind, row.value_micros, ms_of(row.starts_at), ends, row.begun_at is not None, row.before_micros,
    )  # fmt: skip


def open_of(connection: Connection, entity: Entity, owner_id: int) -> list[LimitChange]:
    """The changes of a brand, or of a campaign, that are not over."""
    return [change_of(row) for row in connection.execute(_OPEN[entity], {"id": owner_id})]


def limits_of(row: BrandRecord | CampaignRecord) -> tuple[int | None, int | None]:
    """The daily and monthly limit in the catalog."""
    return row.daily_budget_micros, row.monthly_budget_micros


def now_ms(connection: Connection) -> int:
    """PostgreSQL's clock. It decides what a person may still schedule; Redis' clock decides which limit is in force."""
    return ms_of(connection.execute(_NOW).scalar_one())


def settle(
    connection: Connection, entity: Entity, before: BrandRecord | CampaignRecord, until_ms: int | None = None
) -> dict[str, Any]:
    """Takes over what has begun or ended by an instant: writes the changes and the audit trail, and returns the columns to write.

    until_ms: by Redis' clock, or of a person's change of a limit; None is what has begun for a while.
    """
    if not before.steps:
        return {}
    until_ms = now_ms(connection) - _SETTLED_MS if until_ms is None else until_ms
    if before.steps[0].at_ms > until_ms:
        return {}
    limits = dict(zip(PERIODS, limits_of(before), strict=True))
    for turn in every_turn(limits_of(before), open_of(connection, entity, before.id)):
        if turn.at_ms > until_ms:
            break
        limits[turn.change.period] = turn.after
        _take_over(connection, entity, before.id, turn)
    rest = steps((limits["daily"], limits["monthly"]), open_of(connection, entity, before.id))
    return {f"{period}_budget_micros": limit for period, limit in limits.items()} | {"steps": compiled(rest)}


def instant_of(connection: Connection, before: BrandRecord | CampaignRecord, values: Mapping[str, Any]) -> int | None:
    """The instant of a person's change of a limit that has scheduled changes; None for any other change.

    What has begun by then counts before it, so `settle` takes it over first, and the trail has both in the order in
    which they were in force.
    """
    given = (f"{period}_budget_micros" for period in PERIODS)
    changed = any(column in values and values[column] != getattr(before, column) for column in given)
    return now_ms(connection) if before.steps and changed else None


def dated(when_ms: int | None) -> datetime | None:
    """The instant for the trail."""
    return None if when_ms is None else at_ms(when_ms)


def new_steps(
    connection: Connection, entity: Entity, before: BrandRecord | CampaignRecord, values: dict[str, Any]
) -> dict[str, Any]:
    """The column `steps` where a change of limits changes it. Raises Conflict where a scheduled change is in force, InvalidLimitChange where one could
    not be taken any more.
    """
    given = [period for period in PERIODS if f"{period}_budget_micros" in values]
    if not given or not before.steps:
        return {}
    every = open_of(connection, entity, before.id)
    for change in every:
        if change.begun and change.period in given:
            raise Conflict(
                f"{change.period}_budget is changed until its end by change {told(change)}: `limit cancel {change.id}` first",
                f"{change.period}_budget",
            )
    daily, monthly = (
        values.get(f"{period}_budget_micros", limit) for period, limit in zip(PERIODS, limits_of(before), strict=True)
    )
    check((daily, monthly), every, f"{given[0]}_budget")
    return {"steps": compiled(steps((daily, monthly), every))}


def compiled(plan: Sequence[Any]) -> list[str]:
    """Steps as the column has them."""
    return [step.compiled for step in plan]


def at_end(
    connection: Connection, brands: Sequence[BrandRecord], kind: BudgetKind, end: datetime
) -> dict[int, int | None]:
    """{brand: its limit just before an instant}, by the audit trail and the scheduled changes that are not taken over yet."""
    found = connection.execute(
        text(
            "SELECT DISTINCT ON (entity_id) entity_id, old FROM catalog_change WHERE entity = 'brand' AND field = :field"
            " AND entity_id = ANY(CAST(:ids AS bigint[])) AND at >= :end ORDER BY entity_id, at, id"
        ),
        {"field": kind.cause, "ids": [brand.id for brand in brands], "end": end},
    )
    limits = {brand.id: kind.limit_of(brand) for brand in brands}
    limits |= {row.entity_id: parse_budget(row.old) for row in found}
    for brand in brands:
        for step in brand.steps:
            if step.at_ms < ms_of(end):
                limits[brand.id] = step.daily if kind.period == "day" else step.monthly
    return limits


def _take_over(connection: Connection, entity: Entity, owner_id: int, turn: Turn) -> None:
    given = {"id": turn.change.id, "at": at_ms(turn.at_ms), "before": turn.before}
    connection.execute(_END if turn.over else _BEGIN, given)
    if turn.before != turn.after:
        trail = FieldChange(
            owner_id, f"{turn.change.period}_budget", format_optional(turn.before), format_optional(turn.after),
            f"scheduled change {told(turn.change)}",
        )  # fmt: skip
        changes.write(connection, entity, ACTOR, [trail], at_ms(turn.at_ms))
