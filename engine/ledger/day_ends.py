"""What a shard must know of a day that is over while late spends still count to it: whether it is closed, and its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection, text

from engine.domain.budget import BUDGETS, CAMPAIGN_BUDGETS
from engine.domain.ids import ORDINALS
from engine.domain.money import parse_budget
from engine.ledger.changes import Entity

LimitsThen = Mapping[tuple[Entity, int], tuple[int | None, ...]]
"""{(kind, id): limits in micros, in the order of their list}"""

_FIELDS: Final[Mapping[Entity, tuple[str, ...]]] = {
    "brand": tuple(kind.column.removesuffix("_micros") for kind in BUDGETS),
    "campaign": tuple(kind.column.removesuffix("_micros") for kind in CAMPAIGN_BUDGETS),
}
# Of each field the first change since the instant: what it was before.
_FIRST_CHANGES: Final = text(
    "SELECT DISTINCT ON (entity, entity_id, field) entity, entity_id, field, old"
    " FROM unnest(CAST(:brands AS bigint[])) AS given(brand_id) CROSS JOIN LATERAL"
    " (SELECT * FROM catalog_change WHERE entity = 'brand' AND entity_id = given.brand_id"
    " UNION ALL SELECT * FROM catalog_change WHERE entity = 'campaign'"
    f" AND entity_id BETWEEN given.brand_id * {ORDINALS} AND given.brand_id * {ORDINALS} + {ORDINALS - 1}) AS c"
    " WHERE at >= :since AND field = ANY(:fields) ORDER BY entity, entity_id, field, id"
)


def after_closes(connection: Connection) -> None:
    """Waits for closes that are under way. They write brands' totals first, and so these are locked first."""
    connection.execute(text("LOCK TABLE period_total, shard_close IN SHARE MODE"))


def last_closed(connection: Connection, shard: int) -> date | None:
    """The last day that the shard has closed; None where it has closed none."""
    found = connection.execute(
        text("SELECT max(starts_on) FROM shard_close WHERE shard = :shard AND period = 'day'"), {"shard": shard}
    )
    return found.scalar_one()  # type: ignore[no-any-return]


def limits_before(
    connection: Connection,
    brand_ids: Sequence[int],
    now: Mapping[tuple[Entity, int], Sequence[int | None]],
    at: datetime,
) -> LimitsThen:
    """The limits that brands and their campaigns had in the catalog before an instant, of those where any was another one.

    now: their present limits.
    """
    found = connection.execute(
        _FIRST_CHANGES,
        {"since": at, "fields": sorted({*_FIELDS["brand"], *_FIELDS["campaign"]}), "brands": list(brand_ids)},
    )
    then: dict[tuple[Entity, int], list[int | None]] = {}
    for row in found:
        owner: tuple[Entity, int] = (row.entity, row.entity_id)
        if owner in now and row.field in _FIELDS[row.entity]:
            limits = then.setdefault(owner, list(now[owner]))
            limits[_FIELDS[row.entity].index(row.field)] = parse_budget(row.old, row.field)
    return {owner: tuple(limits) for owner, limits in then.items() if tuple(limits) != tuple(now[owner])}
