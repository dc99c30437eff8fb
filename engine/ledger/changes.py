"""The audit trail of the catalog: who changed which field from what to what, written in the transaction of the
change.
"""

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
    # Without a person's note it has the id of the request, which its log lines have too.
    request = f"request {logs.request_id()}" if logs.request_id() else None
    if changes:
        connection.execute(
            # The clock and not the transaction's start, because it may have waited for the row behind an earlier
            # change.
            insert(CatalogChange).values(at=func.clock_timestamp()),
            [
                {"actor": actor, "entity": entity, **change._asdict(), "note": change.note or request}
                for change in changes
            ],
        )


def flag(value: bool) -> str:
    """A switch as the trail writes it."""
    return "true" if value else "false"
