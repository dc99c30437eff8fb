"""Scheduled changes of limits in the catalog: schedule, cancel, and take over what has begun.

Every change is one of the brand or campaign: its version rises and its row has the steps, so publish, verify and a rebuild read the row alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain import limit_changes as rules
from engine.domain.ids import brand_of
from engine.domain.limit_changes import InvalidLimitChange, LimitChange, Period, Turn
from engine.domain.money import format_optional
from engine.domain.periods import at_ms, ms_of
from engine.errors import Conflict, NotFound
from engine.ledger import brands, campaigns, changes, limit_rows
from engine.ledger.changes import Entity, FieldChange
from engine.ledger.records import BrandRecord, CampaignRecord

Record = BrandRecord | CampaignRecord
_INSERT: Final = text(
    "INSERT INTO limit_change (brand_id, campaign_id, period, kind, value_micros, starts_at, ends_at, next_at, actor)"
    " VALUES (:brand, :campaign, :period, :kind, :value, :starts, :ends, :starts, :actor) RETURNING id"
)
_ONE: Final = text(
    f"SELECT {limit_rows.COLUMNS}, brand_id, campaign_id, over_at, cancelled FROM limit_change WHERE id = :id"
)
_CANCEL: Final = text("UPDATE limit_change SET over_at = :at, next_at = NULL, cancelled = true WHERE id = :id")
_DUE: Final = text(
    "SELECT DISTINCT c.brand_id, c.campaign_id FROM limit_change AS c JOIN brand ON brand.id = c.brand_id"
    " LEFT JOIN campaign ON campaign.id = c.campaign_id"
    " WHERE c.next_at <= :at AND brand.archived_at IS NULL AND campaign.archived_at IS NULL ORDER BY 1, 2"
)
_NEXT: Final = text("SELECT min(next_at) FROM limit_change WHERE next_at IS NOT NULL")
_COUNTS: Final = text(
    "SELECT count(*) FILTER (WHERE c.next_at >= clock_timestamp() - interval '1 minute') AS waiting,"
    " count(*) FILTER (WHERE c.next_at < clock_timestamp() - interval '1 minute') AS overdue,"
    " count(*) FILTER (WHERE coalesce(k.version <> k.published_version, b.version <> b.published_version)) AS unpublished"
    " FROM limit_change AS c JOIN brand AS b ON b.id = c.brand_id LEFT JOIN campaign AS k ON k.id = c.campaign_id"
    " WHERE c.next_at IS NOT NULL AND b.archived_at IS NULL AND k.archived_at IS NULL"
)
_EVERY: Final = text(
    f"SELECT {limit_rows.COLUMNS}, brand_id, campaign_id, over_at, cancelled FROM limit_change"
    " WHERE brand_id = coalesce(:brand, brand_id) AND (CAST(:campaign AS bigint) IS NULL OR campaign_id = :campaign)"
    " AND (over_at IS NULL OR :over) ORDER BY brand_id, campaign_id NULLS FIRST, starts_at, id LIMIT 1000"
)


class Counts(NamedTuple):
    """How many changes have something to come. overdue: the catalog should have taken it over a minute ago; waiting: all others.
    unpublished: of both, those of a row that Redis does not have yet, so they do not begin or end on their millisecond.
    """

    waiting: int
    overdue: int
    unpublished: int


class Scheduled(NamedTuple):
    """A change with its owner. over: nothing of it follows. cancelled: a person took it back, before its begin or while it was in force."""

    change: LimitChange
    entity: Entity
    owner_id: int
    over: bool
    cancelled: bool

    @property
    def brand_id(self) -> int:
        return self.owner_id if self.entity == "brand" else brand_of(self.owner_id)


def schedule(
    connection: Connection, entity: Entity, owner_id: int, actor: str, period: Period, change: tuple[str, int | None],
    starts_ms: int | None, ends_ms: int | None,
) -> tuple[Record, int]:  # fmt: skip
    """A new change; starts_ms: None is now. Returns the owner's row and the change's id. Raises InvalidLimitChange, NotFound, Conflict."""
    before = _settled(connection, _locked(connection, entity, owner_id))
    made, _ = _fitting(connection, entity, before, period, change, (starts_ms, ends_ms))
    kind, value = change
    values = {
        "brand": owner_id if entity == "brand" else brand_of(owner_id), "campaign": None if entity == "brand" else owner_id,
        "period": period, "kind": kind, "value": value, "starts": at_ms(made.starts_ms),
        "ends": None if ends_ms is None else at_ms(ends_ms), "actor": actor,
    }  # fmt: skip
    made = made._replace(id=int(connection.execute(_INSERT, values).scalar_one()))
    trail = [FieldChange(owner_id, "limit_change", None, rules.told(made))]
    return _replan(connection, entity, before, {}, trail, actor), made.id


def preview(
    connection: Connection, entity: Entity, owner_id: int, period: Period, change: tuple[str, int | None],
    starts_ms: int | None, ends_ms: int | None,
) -> tuple[LimitChange, list[Turn]]:  # fmt: skip
    """What `schedule` would make, with the turns to come of its owner; its id is 0. Raises as `schedule`."""
    row = one_of(connection, entity, owner_id)
    if isinstance(row, CampaignRecord):
        campaigns.refuse_archived(row)
    else:
        brands.refuse_archived(row)
    made, others = _fitting(connection, entity, row, period, change, (starts_ms, ends_ms))
    return made, rules.every_turn(limit_rows.limits_of(row), [*others, made])


def one_of(connection: Connection, entity: Entity, owner_id: int) -> Record:
    """The brand or campaign. Raises NotFound."""
    return brands.one(connection, owner_id) if entity == "brand" else campaigns.one(connection, owner_id)


def _fitting(
    connection: Connection, entity: Entity, row: Record, period: Period, change: tuple[str, int | None],
    span: tuple[int | None, int | None],
) -> tuple[LimitChange, list[LimitChange]]:  # fmt: skip
    """A new change of a row, and those of it that are not over. Raises InvalidLimitChange, Conflict."""
    now, (starts_ms, ends_ms) = limit_rows.now_ms(connection), span
    made = LimitChange(0, period, *change, now if starts_ms is None else starts_ms, ends_ms)
    every = limit_rows.open_of(connection, entity, row.id)
    if len(every) >= rules.MOST_OPEN:
        raise Conflict(f"{entity} {row.id} has {len(every)} changes that are not over, the most", "change")
    rules.check_instants(made, every, now)
    rules.check(limit_rows.limits_of(row), [*every, made])
    return made, every


def cancel(connection: Connection, change_id: int, actor: str) -> Record:
    """Takes a change back; one that is in force ends now. Raises NotFound, InvalidLimitChange where it is over."""
    found = one(connection, change_id)
    before = _locked(connection, found.entity, found.owner_id)
    now, found = limit_rows.now_ms(connection), one(connection, change_id)
    # What has begun by now was in force, and ends now; so the trail needs all that began or ended before.
    before = _settled(connection, before, now if found.change.begun or found.change.starts_ms <= now else None)
    found = one(connection, change_id)
    if found.over:
        state = "was cancelled" if found.cancelled else "has been taken"
        raise InvalidLimitChange(
            f"change {rules.told(found.change)} {state} and cannot be cancelled: change the limit itself, or schedule another",
            "change",
        )
    connection.execute(_CANCEL, {"id": change_id, "at": at_ms(now)})
    change, values = found.change, dict[str, Any]()
    trail = [FieldChange(found.owner_id, "limit_change", rules.told(change), None)]
    if change.begun:
        field = f"{change.period}_budget"
        values[f"{field}_micros"] = change.before
        trail.append(
            FieldChange(
                found.owner_id,
                field,
                format_optional(getattr(before, f"{field}_micros")),
                format_optional(change.before),
            )
        )
    return _replan(connection, found.entity, before, values, trail, actor, now)


def one(connection: Connection, change_id: int) -> Scheduled:
    """A change. Raises NotFound."""
    row = connection.execute(_ONE, {"id": change_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no change of a limit {change_id}: `limit list` shows all")
    return _scheduled(row)


def every(connection: Connection, entity: Entity | None, owner_id: int | None, *, over: bool) -> list[Scheduled]:
    """The changes of a brand with its campaigns, of a campaign, or of all. over: also those of which nothing follows."""
    given = {
        "brand": owner_id if entity == "brand" else None,
        "campaign": owner_id if entity == "campaign" else None,
        "over": over,
    }
    return [_scheduled(row) for row in connection.execute(_EVERY, given)]


def due(connection: Connection, at: Any) -> list[tuple[Entity, int]]:
    """The brands and campaigns of which something has begun or ended by an instant, in the order in which rows are locked."""
    return [
        ("brand", row.brand_id) if row.campaign_id is None else ("campaign", row.campaign_id)
        for row in connection.execute(_DUE, {"at": at})
    ]


def next_ms(connection: Connection) -> int | None:
    """The first instant that the catalog has not taken over; None where nothing is scheduled."""
    at = connection.execute(_NEXT).scalar_one()
    return None if at is None else ms_of(at)


def counts(connection: Connection) -> Counts:
    """The changes of brands and campaigns in use, by PostgreSQL's clock."""
    return Counts(*connection.execute(_COUNTS).one())


def take_over(connection: Connection, entity: Entity, owner_id: int, until_ms: int) -> Record:
    """Takes over what has begun or ended of a brand or campaign by an instant of Redis' clock."""
    return _settled(connection, _locked(connection, entity, owner_id), until_ms)


def _scheduled(row: Any) -> Scheduled:
    entity: Entity = "brand" if row.campaign_id is None else "campaign"
    owner_id = row.brand_id if row.campaign_id is None else row.campaign_id
    return Scheduled(limit_rows.change_of(row), entity, owner_id, row.over_at is not None, row.cancelled)


def _locked(connection: Connection, entity: Entity, owner_id: int) -> Record:
    """The row, locked. Raises NotFound, Conflict where it is archived."""
    if entity == "brand":
        brand = brands.locked(connection, owner_id)
        brands.refuse_archived(brand)
        return brand
    campaign = campaigns.locked(connection, owner_id)
    campaigns.refuse_archived(campaign)
    return campaign


def _settled(connection: Connection, before: Record, until_ms: int | None = None) -> Record:
    """A locked row, with what has begun or ended taken over (`limit_rows.settle`)."""
    if isinstance(before, CampaignRecord):
        return campaigns.settled(connection, before, until_ms)
    return brands.settled(connection, before, until_ms)


def _replan(
    connection: Connection,
    entity: Entity,
    before: Record,
    values: dict[str, Any],
    trail: Sequence[FieldChange],
    actor: str,
    when_ms: int | None = None,
) -> Record:
    """Writes the steps that follow, with other columns of the row. when_ms: for the trail, None is now."""
    limits = tuple(
        values.get(f"{period}_budget_micros", limit)
        for period, limit in zip(rules.PERIODS, limit_rows.limits_of(before), strict=True)
    )
    left = limit_rows.open_of(connection, entity, before.id)
    rules.check(limits, left)
    values = values | {"steps": limit_rows.compiled(rules.steps(limits, left))}
    if isinstance(before, CampaignRecord):
        return campaigns.apply(connection, before, values, list(trail), actor, limit_rows.dated(when_ms))
    after = brands.apply(connection, before.id, values)
    changes.write(connection, "brand", actor, trail, limit_rows.dated(when_ms))
    return after
