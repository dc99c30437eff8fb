"""Notes that people leave on a brand or campaign. A note is a row of the trail that changes nothing, and is never changed or removed."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Engine, text

from engine.domain.names import clean_name
from engine.errors import InvalidInput
from engine.ledger import changes, row_values
from engine.ledger.changes import Entity, FieldChange
from engine.ledger.database import writing
from engine.ledger.records import clean_note

FIELD: Final = "note"


class Note(NamedTuple):
    """A note, with who left it."""

    at: datetime
    actor: str
    text: str


def add(engine: Engine, entity: Entity, owner_id: int, actor: str, written: str) -> None:
    """Leaves a note on a brand or campaign, archived or not. Raises InvalidInput for a blank or too long one, NotFound."""
    actor, note = clean_name(actor, "actor"), clean_note(written)
    if note is None:
        raise InvalidInput("note is empty: write one", "note")
    with writing(engine) as connection:
        row_values.one(connection, entity, owner_id)
        changes.write(connection, entity, actor, [FieldChange(owner_id, FIELD, None, None, note)])


def of(engine: Engine, entity: Entity, owner_id: int, limit: int = 100) -> list[Note]:
    """The notes on a brand or campaign, the newest first."""
    query = text(
        "SELECT at, actor, note FROM catalog_change WHERE entity = :entity AND entity_id = :id AND field = :field"
        " ORDER BY id DESC LIMIT :limit"
    )
    given = {"entity": entity, "id": owner_id, "field": FIELD, "limit": limit}
    with engine.connect() as connection:
        return [Note(*row) for row in connection.execute(query, given)]
