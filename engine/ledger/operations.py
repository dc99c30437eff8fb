"""Operations as rows: a draft with what each row becomes, and each row's change, made once and in the transaction that notes it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, Row, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from engine.domain.operations import Change
from engine.errors import BudgetError, NotFound, shown
from engine.ledger import brands, changes, curves, import_rows, new_rows, row_values
from engine.ledger.changes import Entity
from engine.ledger.database import writing
from engine.ledger.records import clean_note

KEEP_DRAFTS: Final = timedelta(days=1)
_A_STATEMENT: Final = 1000
_HEADS: Final = (
    "SELECT o.id, o.kind, o.actor, o.words, o.state, o.created_at, o.begun_at, o.ended_at, o.undo_of, o.starts, o.stops, o.note, o.same,"
    " (SELECT count(*) FROM operation_wrong AS w WHERE w.operation_id = o.id) AS wrong,"
    " (SELECT max(u.id) FROM operation AS u WHERE u.undo_of = o.id AND u.state <> 'draft') AS undone_by,"
    " n.ready, n.skipped, n.done, n.brands FROM operation AS o, LATERAL (SELECT count(*) FILTER (WHERE i.state = 'ready') AS ready,"
    " count(*) FILTER (WHERE i.entity = 'brand' AND i.state <> 'skipped') AS brands,"
    " count(*) FILTER (WHERE i.state = 'skipped') AS skipped, count(*) FILTER (WHERE i.state = 'done') AS done"
    " FROM operation_item AS i WHERE i.operation_id = o.id) AS n"
)
_ITEMS: Final = (
    "SELECT i.no, i.entity, i.entity_id, i.brand_id, i.version, i.changes, i.state, i.why, i.after_version, i.line,"
    " coalesce(brand.name, campaign.name, i.changes->'name'->>1) AS name FROM operation_item AS i"
    " LEFT JOIN brand ON i.entity = 'brand' AND brand.id = i.entity_id"
    " LEFT JOIN campaign ON i.entity = 'campaign' AND campaign.id = i.entity_id WHERE i.operation_id = :id"
)
_ADD: Final = text(
    "INSERT INTO operation_item (operation_id, no, entity, entity_id, brand_id, version, changes, state, why, line)"
    " VALUES (:id, :no, :entity, :entity_id, :brand_id, :version, :changes, :state, :why, :line)"
).bindparams(bindparam("changes", type_=JSONB))
_TAKE: Final = text(
    "SELECT entity, entity_id, brand_id, version, changes FROM operation_item"
    " WHERE operation_id = :id AND no = :no AND state = 'ready' FOR UPDATE SKIP LOCKED"
)
_READY: Final = text(
    "SELECT i.no, i.entity, i.entity_id, i.brand_id,"
    " coalesce(c.breaker_round > 0 AND jsonb_exists_any(i.changes, ARRAY['enabled', 'breaker']), false) AS has_breaker"
    " FROM operation_item AS i LEFT JOIN campaign AS c ON i.entity = 'campaign' AND c.id = i.entity_id"
    " WHERE i.operation_id = :id AND i.state = 'ready' ORDER BY i.no LIMIT :limit"
)
_BEHIND: Final = text(
    "SELECT count(*) FROM (SELECT DISTINCT entity, entity_id FROM operation_item WHERE operation_id = :id AND state = 'done') AS i"
    " LEFT JOIN brand AS b ON i.entity = 'brand' AND b.id = i.entity_id"
    " LEFT JOIN campaign AS c ON i.entity = 'campaign' AND c.id = i.entity_id"
    " WHERE coalesce(b.published_version, c.published_version) IS DISTINCT FROM coalesce(b.version, c.version)"
)


_OF_BRANDS: Final = text(
    "INSERT INTO operation_brand (operation_id, brand_id, begun_at, rows) SELECT o.id, i.brand_id, o.begun_at,"
    " count(*) FILTER (WHERE i.state = :state) FROM operation AS o JOIN operation_item AS i ON i.operation_id = o.id"
    " WHERE o.id = :id AND i.brand_id > 0 AND o.state = 'applying' GROUP BY o.id, i.brand_id"
    " ON CONFLICT (operation_id, brand_id) DO UPDATE SET rows = excluded.rows"
)


_WITHIN: Final = (
    "EXISTS (SELECT FROM operation_brand AS b WHERE b.operation_id = o.id) AND NOT EXISTS (SELECT FROM operation_brand AS b"
    " WHERE b.operation_id = o.id AND NOT b.brand_id = ANY(CAST(:within AS bigint[])))"
)


class Draft(NamedTuple):
    """One row of a new operation: its change, or why it is skipped. version: the row's when it was looked at."""

    entity: Entity
    entity_id: int
    brand_id: int
    version: int
    change: Change
    why: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class OperationRecord:
    """An operation. ready, skipped, done: how many of its rows are. brands: how many of those that are not skipped are brands.
    undone_by: the operation that took it back, where there is one.

    note: a person's reason. same, wrong: lines of an imported file that differ in nothing, and that are wrong.
    """

    id: int
    kind: str
    actor: str
    words: str
    state: str
    created_at: datetime
    begun_at: datetime | None
    ended_at: datetime | None
    undo_of: int | None
    starts: int | None
    stops: int | None
    note: str | None
    same: int | None
    wrong: int
    undone_by: int | None
    ready: int
    skipped: int
    done: int
    brands: int

    @property
    def rows(self) -> int:
        return self.ready + self.skipped + self.done

    @property
    def counted(self) -> str:
        """The rows of an imported file in words: "412 rows: 390 changes, 20 same, 2 wrong"."""
        parts = [
            (self.ready + self.done, "changes"),
            (self.same or 0, "same"),
            (self.skipped, "left out"),
            (self.wrong, "wrong"),
        ]
        total = sum(number for number, _ in parts)
        said = ", ".join(f"{number:,} {words}" for number, words in parts if number or words == "changes")
        return f"{total:,} {'row' if total == 1 else 'rows'}: {said}"


@dataclass(frozen=True, slots=True)
class Item:
    """One row of an operation; name: what the brand or campaign is called today."""

    no: int
    entity: Entity
    entity_id: int
    brand_id: int
    version: int
    changes: Change
    state: str
    why: str | None
    after_version: int | None
    line: int | None
    name: str | None


def create(
    connection: Connection,
    kind: str,
    actor: str,
    words: str,
    items: Iterable[Draft],
    *,
    effect: tuple[int | None, int | None] = (None, None),
    undo_of: int | None = None,
    note: str | None = None,
    same: int | None = None,
    wrong: Iterable[tuple[int, str, str, str]] = (),
) -> int:
    """A draft of an operation; returns its id. effect: how many campaigns it starts and stops.

    note: its reason. same, wrong: how many lines of a file change nothing, and those that are wrong: line, field, value, why.
    """
    made: int = connection.execute(
        text(
            "INSERT INTO operation (kind, actor, words, state, undo_of, starts, stops, note, same)"
            " VALUES (:kind, :actor, :words, 'draft', :undo_of, :starts, :stops, :note, :same) RETURNING id"
        ),
        {"kind": kind, "actor": actor, "words": words, "undo_of": undo_of, "starts": effect[0], "stops": effect[1]}
        | {"note": clean_note(note), "same": same},
    ).scalar_one()
    import_rows.add_wrong(connection, made, wrong)
    rows = [
        {"id": made, "no": no, "state": "ready" if item.why is None else "skipped", **_columns(item)}
        for no, item in enumerate(items, 1)
    ]
    for start in range(0, len(rows), _A_STATEMENT):
        connection.execute(_ADD, rows[start : start + _A_STATEMENT])
    return made


def _columns(item: Draft) -> dict[str, Any]:
    values = item._asdict()
    values["changes"] = values.pop("change")
    return values


def one(engine: Engine, operation_id: int) -> OperationRecord:
    """An operation by its id. Raises NotFound."""
    with engine.connect() as connection:
        row = connection.execute(text(f"{_HEADS} WHERE o.id = :id"), {"id": operation_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no operation {shown(operation_id)}: `operation list` shows all")
    return OperationRecord(**row._asdict())


def latest(
    engine: Engine, limit: int, before: int | None = None, within: Collection[int] | None = None
) -> list[OperationRecord]:
    """The newest operations that were begun, or those before one. within: those that are about these brands only."""
    condition = "o.state <> 'draft'" + ("" if before is None else " AND o.id < :before")
    if within is not None:
        condition += f" AND {_WITHIN}"
    with engine.connect() as connection:
        query = text(f"{_HEADS} WHERE {condition} ORDER BY o.id DESC LIMIT :limit")
        return [
            OperationRecord(**row._asdict())
            for row in connection.execute(query, {"before": before, "limit": limit, "within": sorted(within or ())})
        ]


def items(engine: Engine, operation_id: int, *, skipped: bool = False, after: int = 0, limit: int = 100) -> list[Item]:
    """Rows of an operation in their order, the skipped ones or the others, `after` a number."""
    condition = f"i.state {'=' if skipped else '<>'} 'skipped' AND i.no > :after"
    with engine.connect() as connection:
        query = text(f"{_ITEMS} AND {condition} ORDER BY i.no LIMIT :limit")
        found = connection.execute(query, {"id": operation_id, "after": after, "limit": limit})
        return [Item(**row._asdict()) for row in found]


def brands_of(engine: Engine, operation_id: int) -> set[int]:
    """The ids of the brands that an operation is about."""
    query = text("SELECT DISTINCT brand_id FROM operation_item WHERE operation_id = :id")
    with engine.connect() as connection:
        return set(connection.execute(query, {"id": operation_id}).scalars())


def of_row(engine: Engine, entity: Entity, owner_id: int, brand_id: int, version: int) -> int | None:
    """The operation that gave a row its version; None where none did."""
    query = text(
        "SELECT operation_id FROM operation_item WHERE brand_id = :brand_id AND entity = :entity AND entity_id = :id"
        " AND after_version = :version ORDER BY operation_id DESC LIMIT 1"
    )
    given = {"brand_id": brand_id, "entity": entity, "id": owner_id, "version": version}
    with engine.connect() as connection:
        return connection.execute(query, given).scalar()


def begin(engine: Engine, operation_id: int, actor: str, note: str | None = None) -> bool:
    """Lets a draft be applied, by `actor`; False where it has begun already, or is gone. note: the reason, which stays as it was without one.

    Raises InvalidInput for a note that is too long.
    """
    note = clean_note(note)
    with writing(engine) as connection:
        found = connection.execute(
            text(
                "UPDATE operation SET state = 'applying', begun_at = clock_timestamp(), actor = :actor,"
                " note = coalesce(:note, note) WHERE id = :id AND state = 'draft'"
            ),
            {"id": operation_id, "actor": actor, "note": note},
        )
        connection.execute(_OF_BRANDS, {"id": operation_id, "state": "ready"})
        return found.rowcount == 1


def discard(engine: Engine, operation_id: int) -> bool:
    """Drops a draft; False where it has begun already, or is gone."""
    with writing(engine) as connection:
        gone = connection.execute(
            text("DELETE FROM operation WHERE id = :id AND state = 'draft'"), {"id": operation_id}
        )
        return gone.rowcount == 1


def drop_old_drafts(engine: Engine) -> int:
    """Drops drafts that nobody applied within a day; returns how many."""
    with writing(engine) as connection:
        gone = connection.execute(
            text("DELETE FROM operation WHERE state = 'draft' AND created_at < clock_timestamp() - :kept"),
            {"kept": KEEP_DRAFTS},
        )
        return gone.rowcount


def open_ids(engine: Engine) -> list[int]:
    """Operations that have begun and are not done, the oldest first."""
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT id FROM operation WHERE state = 'applying' ORDER BY id")).scalars())


def ready(engine: Engine, operation_id: int, limit: int) -> list[Row[Any]]:
    """(no, entity, entity_id, brand_id, has_breaker) of the next rows that are not changed yet.

    has_breaker: the change switches a campaign whose breaker may be open.
    """
    with engine.connect() as connection:
        return list(connection.execute(_READY, {"id": operation_id, "limit": limit}))


def apply_item(
    engine: Engine, operation_id: int, no: int, actor: str, *, broken: bool = False, note: str | None = None
) -> str | None:
    """Makes the change of one row, in the transaction that notes it, so it is made once whoever is killed.

    Returns `done` or `skipped`; None where the row is not ready any more, or another process has it.
    broken: Redis has the campaign's breaker open. note: the reason, for the trail.
    """
    with writing(engine) as connection:
        item = connection.execute(_TAKE, {"id": operation_id, "no": no}).one_or_none()
        if item is None:
            return None
        if item.changes.keys() & brands.PACED_BY:
            curves.keep(connection)
        try:
            with connection.begin_nested():
                if not item.version:
                    with changes.of_operation(actor, lambda: operation_id, note):
                        made = new_rows.create(connection, item.entity, item.brand_id, actor, item.changes)
                    import_rows.note_made(connection, operation_id, no, made)
                    return _note(connection, operation_id, no, after=made.version)
                before = row_values.locked(connection, item.entity, item.entity_id)
                if before.version != item.version:
                    return _note(connection, operation_id, no, why=_since(connection, item, before))
                with changes.of_operation(actor, lambda: operation_id, note):
                    after = row_values.set_values(
                        connection, item.entity, item.entity_id, actor, item.changes, broken=broken
                    )
        except BudgetError as error:
            return _note(connection, operation_id, no, why=str(error))
        return _note(connection, operation_id, no, after=after.version)


def finish(engine: Engine, operation_id: int) -> bool:
    """Notes the end of an operation of which nothing is left to do; False where something is."""
    with writing(engine) as connection:
        connection.execute(_OF_BRANDS, {"id": operation_id, "state": "done"})
        connection.execute(
            text(
                "UPDATE operation SET state = 'done', ended_at = clock_timestamp() WHERE id = :id AND state = 'applying'"
                " AND NOT EXISTS (SELECT FROM operation_item WHERE operation_id = :id AND state = 'ready')"
            ),
            {"id": operation_id},
        )
        state = connection.execute(text("SELECT state FROM operation WHERE id = :id"), {"id": operation_id}).scalar()
        return state == "done"


def behind(engine: Engine, operation_id: int) -> int:
    """How many of the changed rows bidders do not have yet."""
    with engine.connect() as connection:
        return int(connection.execute(_BEHIND, {"id": operation_id}).scalar_one())


def undoable(connection: Connection, operation_id: int) -> list[tuple[Item, int | None, str | None]]:
    """The changed rows of an operation, the last one first, each with its version now and who changed it last since, None where nobody did."""
    query = text(
        f"WITH item AS ({_ITEMS} AND i.state = 'done') SELECT item.*, coalesce(b.version, c.version) AS now,"
        " (SELECT t.actor FROM catalog_change AS t WHERE t.entity = item.entity AND t.entity_id = item.entity_id"
        " AND t.operation_id IS DISTINCT FROM :id AND t.field <> 'note' ORDER BY t.id DESC LIMIT 1) AS last_actor"
        " FROM item LEFT JOIN brand AS b ON item.entity = 'brand' AND b.id = item.entity_id"
        " LEFT JOIN campaign AS c ON item.entity = 'campaign' AND c.id = item.entity_id ORDER BY item.no DESC"
    )
    found = []
    for row in connection.execute(query, {"id": operation_id}):
        values = row._asdict()
        now, last = values.pop("now"), values.pop("last_actor")
        found.append((Item(**values), now, last if now != values["after_version"] else None))
    return found


def within(found: Sequence[int] | set[int], seen: Collection[int] | None) -> bool:
    """Whether whoever sees these brands (None: every one) sees all that are found."""
    return seen is None or set(found) <= set(seen)


def _since(connection: Connection, item: Row[Any], before: row_values.Row) -> str:
    query = text(
        "SELECT actor FROM catalog_change WHERE entity = :entity AND entity_id = :id AND field <> 'note' ORDER BY id DESC LIMIT 1"
    )
    actor = connection.execute(query, {"entity": item.entity, "id": item.entity_id}).scalar()
    return (
        f"it was changed since, last by {actor}" if before.archived_at is None else f"it was archived since, by {actor}"
    )


def _note(
    connection: Connection, operation_id: int, no: int, *, why: str | None = None, after: int | None = None
) -> str:
    state = "done" if why is None else "skipped"
    connection.execute(
        text(
            "UPDATE operation_item SET state = :state, why = :why, after_version = :after"
            " WHERE operation_id = :id AND no = :no"
        ),
        {"state": state, "why": why, "after": after, "id": operation_id, "no": no},
    )
    return state
