"""The audit trail of the catalog: who changed which field from what to what, written in the transaction of the
change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection, Engine, func, insert, select

from engine import logs
from engine.domain.ids import brand_of
from engine.ledger.operation_model import CatalogChange

Entity = Literal["brand", "campaign", "user", "token", "alert", "webhook", "curve"]


class FieldChange(NamedTuple):
    """One field of one row; values as people read them (budgets as decimal strings), None where there is none."""

    entity_id: int
    field: str
    old: str | None
    new: str | None
    note: str | None = None


class _OfOperation(NamedTuple):
    """The operation that this thread's changes by an actor are of. number: gives its id, when the first change is written. note: its reason."""

    actor: str
    number: Callable[[], int]
    note: str | None


_OPERATION: Final[ContextVar[_OfOperation | None]] = ContextVar("operation", default=None)


@contextmanager
def of_operation(actor: str, number: Callable[[], int], note: str | None = None) -> Iterator[None]:
    """Everything that `actor` changes inside the block is of the operation whose id `number` gives, for the reason `note`."""
    token = _OPERATION.set(_OfOperation(actor, number, note))
    try:
        yield
    finally:
        _OPERATION.reset(token)


def write(
    connection: Connection, entity: Entity, actor: str, changes: Sequence[FieldChange], at: datetime | None = None
) -> None:
    """Appends one row a change. at: when it came into force, where that is not now."""
    # Without a person's note it has the id of the request, which its log lines have too.
    request = f"request {logs.request_id()}" if logs.request_id() else None
    operation = _OPERATION.get()
    if changes:
        number = operation.number() if operation and operation.actor == actor else None
        reason = operation.note if operation and number is not None else None
        connection.execute(
            # The clock and not the transaction's start, because it may have waited for the row behind an earlier
            # change.
            insert(CatalogChange).values(at=func.clock_timestamp() if at is None else at),
            [
                {"actor": actor, "entity": entity, **change._asdict(), "note": change.note or reason or request}
                | {"operation_id": number, "brand_id": _brand(entity, change.entity_id)}
                for change in changes
            ],
        )


def _brand(entity: Entity, entity_id: int) -> int | None:
    return entity_id if entity == "brand" else brand_of(entity_id) if entity == "campaign" else None


def flag(value: bool) -> str:
    """A switch as the trail writes it."""
    return "true" if value else "false"


def last_actor(engine: Engine, entity: Entity, entity_id: int) -> str | None:
    """Who changed a row last; None where nobody did."""
    newest = select(CatalogChange.actor).where(CatalogChange.entity == entity, CatalogChange.entity_id == entity_id)
    with engine.connect() as connection:
        return connection.execute(newest.order_by(CatalogChange.id.desc()).limit(1)).scalar()
