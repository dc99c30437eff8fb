"""Every change of one row is an operation of its own: it has a number in the trail, and can be taken back.

Whoever changes a row through `Catalog` gets this without asking. Operations on many rows are in `engine/ledger/operations.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from engine.domain.operations import Kind
from engine.ledger import changes, curves, row_values
from engine.ledger.changes import Entity
from engine.ledger.database import writing
from engine.ledger.records import clean_note

_NEXT: Final = text("SELECT nextval(pg_get_serial_sequence('operation', 'id'))")
_OPERATION: Final = text(
    "INSERT INTO operation (id, kind, actor, words, note, state, begun_at, ended_at) OVERRIDING SYSTEM VALUE"
    " VALUES (:id, :kind, :actor, :words, :note, 'done', clock_timestamp(), clock_timestamp())"
)
_ITEM: Final = text(
    "WITH brand AS (INSERT INTO operation_brand (operation_id, brand_id, begun_at, rows)"
    " SELECT id, :brand_id, begun_at, 1 FROM operation WHERE id = :id)"
    " INSERT INTO operation_item (operation_id, no, entity, entity_id, brand_id, version, changes, state, after_version)"
    " VALUES (:id, 1, :entity, :entity_id, :brand_id, :version, :changes, 'done', :after)"
).bindparams(bindparam("changes", type_=JSONB))


_WORDS: Final = {
    "pause": "Pause",
    "resume": "Resume",
    "change": "Change",
    "archive": "Archive",
    "unarchive": "Bring back",
}


class _Number:
    """The id of an operation, drawn when the first change of it is written."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.drawn: int | None = None

    def __call__(self) -> int:
        if self.drawn is None:
            self.drawn = int(self._connection.execute(_NEXT).scalar_one())
        return self.drawn


@contextmanager
def recording(
    engine: Engine, kind: Kind, entity: Entity, owner_id: int, actor: str, note: str | None = None
) -> Iterator[Connection]:
    """A transaction in which one row is changed; what differs at its end is an operation. No difference is none.

    note: the reason. Raises NotFound, WrongVersion, InvalidInput.
    """
    note = clean_note(note)
    with writing(engine) as connection:
        curves.keep(connection)  # before the row is locked, as whoever changes its pacing does
        before = row_values.locked(connection, entity, owner_id)
        number = _Number(connection)
        with changes.of_operation(actor, number):
            yield connection
        if number.drawn is None:
            return
        after = row_values.one(connection, entity, owner_id)
        difference = row_values.difference(before, after)
        words = f"{_WORDS[kind]} {entity} {after.name}"
        given: dict[str, Any] = {"id": number.drawn, "kind": kind, "actor": actor, "words": words, "note": note}
        connection.execute(_OPERATION, given)
        brand_id = owner_id if entity == "brand" else after.brand_id  # type: ignore[union-attr]  # a campaign has one
        item = {"id": number.drawn, "entity": entity, "entity_id": owner_id, "brand_id": brand_id}
        item |= {"version": before.version, "changes": difference, "after": after.version}
        connection.execute(_ITEM, item)
