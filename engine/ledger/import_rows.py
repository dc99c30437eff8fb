"""Rows of imports: the lines of a file that are wrong, and the ids of rows that were made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, text

from engine.ledger.records import BrandRecord, CampaignRecord

_LONGEST: Final = 200
"""Characters that are kept of a wrong value."""
_A_STATEMENT: Final = 1000
_ADD: Final = text(
    "INSERT INTO operation_wrong (operation_id, line, field, value, why) SELECT :id, * FROM unnest("
    "CAST(:lines AS int[]), CAST(:fields AS text[]), CAST(:values AS text[]), CAST(:whys AS text[]))"
)
_MADE: Final = text(
    "UPDATE operation_item SET entity_id = :entity_id, brand_id = :brand_id WHERE operation_id = :id AND no = :no"
)


def add_wrong(connection: Connection, operation_id: int, wrong: Iterable[tuple[int, str, str, str]]) -> None:
    """Keeps the wrong lines of an import: line, field, value, why."""
    rows = iter(wrong)
    while part := list(islice(rows, _A_STATEMENT)):
        lines, names, values, whys = map(list, zip(*part, strict=True))
        given = {"lines": lines, "fields": names, "values": [value[:_LONGEST] for value in values], "whys": whys}
        connection.execute(_ADD, {"id": operation_id, **given})


def note_made(connection: Connection, operation_id: int, no: int, made: BrandRecord | CampaignRecord) -> None:
    """Notes the id of a row that an operation made."""
    brand_id = made.id if isinstance(made, BrandRecord) else made.brand_id
    connection.execute(_MADE, {"id": operation_id, "no": no, "entity_id": made.id, "brand_id": brand_id})


def made_brands(engine: Engine, operation_id: int, numbers: Sequence[int]) -> list[int]:
    """The brands of rows of an operation, by the numbers of the rows."""
    query = text(
        "SELECT DISTINCT brand_id FROM operation_item WHERE operation_id = :id AND no = ANY(:no) AND brand_id > 0"
    )
    with engine.connect() as connection:
        return sorted(connection.execute(query, {"id": operation_id, "no": list(numbers)}).scalars())


def wrong_lines(engine: Engine, operation_id: int, limit: int = 100) -> list[Row[Any]]:
    """(line, field, value, why) of the wrong lines of an import, in their order."""
    query = text(
        "SELECT line, field, value, why FROM operation_wrong WHERE operation_id = :id ORDER BY line LIMIT :limit"
    )
    with engine.connect() as connection:
        return list(connection.execute(query, {"id": operation_id, "limit": limit}))
