"""The trail of the catalog: who changed which field from what to what, written in the transaction of the change itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from sqlalchemy import Connection, func, insert

from engine import logs
from engine.ledger.models import CatalogChange

Entity = Literal["brand", "campaign"]


class FieldChange(NamedTuple):
    """One field of one row; values as people read them (budgets as decimal strings), None where there is none."""

    entity_id: int
    field: str
    old: str | None
    new: str | None
    note: str | None = None


def write(connection: Connection, entity: Entity, actor: str, changes: Sequence[FieldChange]) -> None:
    """Appends one row a change."""
    # Where no person left a note, the request that brought the change stands there: its lines in the logs carry the same id.
    request = f"request {logs.request_id()}" if logs.request_id() else None
    if changes:
        connection.execute(
            # The clock, not the transaction's start: it may have waited for the row behind a change that must stand before it.
            insert(CatalogChange).values(at=func.clock_timestamp()),
            [
                {"actor": actor, "entity": entity, **change._asdict(), "note": change.note or request}
                for change in changes
            ],
        )


def flag(value: bool) -> str:
    """A switch as the trail writes it."""
    return "true" if value else "false"
