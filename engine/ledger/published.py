"""Which versions of the catalog Redis has, as stored in PostgreSQL, and which side wins where the two disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.ids import SHARDS
from engine.ledger import changes
from engine.ledger.changes import Entity, FieldChange

MAX_VERSION: Final = 2**31 - 2
"""The highest version in Redis that the catalog can still go above; a higher one was written by no publish."""
ACTOR: Final = "engine"
_NOTE: Final = "Redis had version {} with other content: the catalog's word stands, under a version above it"

_PUBLISHED: Final[tuple[Entity, ...]] = ("brand", "campaign")
# Locked in the order of their ids first, brands before campaigns, as every other writer does.
_LOCKED: Final = "SELECT id, version FROM {} WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR NO KEY UPDATE"


_LAST_CHANGE: Final = text("SELECT coalesce(max(id), 0) FROM catalog_change")


_ROWS: Final = text(
    "SELECT shard, count(*) FROM (SELECT mod(id, :shards) AS shard FROM brand UNION ALL"
    " SELECT mod(brand_id, :shards) FROM campaign) AS each GROUP BY shard"
)


def rows_by_shard(connection: Connection) -> list[int]:
    """How many brands and campaigns each shard has, archived ones too."""
    found = {int(shard): int(rows) for shard, rows in connection.execute(_ROWS, {"shards": SHARDS})}
    return [found.get(shard, 0) for shard in range(SHARDS)]


def mark(connection: Connection, entity: Entity, versions: Mapping[int, int]) -> None:
    """Stores which versions Redis has, {id: version}; never lowers one that another publisher stored meanwhile."""
    if not versions:
        return
    ids = sorted(versions)
    connection.execute(text(_LOCKED.format(entity)), {"ids": ids})
    connection.execute(
        text(
            f"UPDATE {entity} SET published_version = given.version"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:versions AS integer[])) AS given(id, version)"
            f" WHERE {entity}.id = given.id AND coalesce({entity}.published_version, 0) < given.version"
        ),
        {"ids": ids, "versions": [versions[id_] for id_ in ids]},
    )


def last_change(connection: Connection) -> int:
    """The number of the catalog's last change: it grows with each, and falls only where PostgreSQL was restored to an
    earlier state.
    """
    number: int = connection.execute(_LAST_CHANGE).scalar_one()
    return number


class Ahead(NamedTuple):
    """Versions of one row: the one that was sent to Redis, and the one that Redis has."""

    sent: int
    kept: int


def overtake(connection: Connection, entity: Entity, ahead: Mapping[int, Ahead]) -> list[int]:
    """Raises rows above Redis' version of them, so that their content can be published; returns which.

    A row that moved on by itself meanwhile stays: then the publish was late, and Redis was right to keep its version.
    """
    ids = sorted(ahead)
    if not ids:
        return []
    before = {row.id: row.version for row in connection.execute(text(_LOCKED.format(entity)), {"ids": ids})}
    # Redis has other content under the version that was sent: that row must be raised too.
    bounds = [ahead[id_].kept - (ahead[id_].sent < ahead[id_].kept) for id_ in ids]
    raised = connection.execute(
        text(
            f"UPDATE {entity} SET version = greatest({entity}.version, given.ahead) + 1, updated_at = clock_timestamp()"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:ahead AS integer[]), CAST(:bounds AS integer[])) AS given(id, ahead, bound)"
            f" WHERE {entity}.id = given.id AND {entity}.version <= given.bound RETURNING {entity}.id, {entity}.version"
        ),
        {"ids": ids, "ahead": [ahead[id_].kept for id_ in ids], "bounds": bounds},
    )
    trail = [
        FieldChange(row.id, "version", str(before[row.id]), str(row.version), _NOTE.format(ahead[row.id].kept))
        for row in raised
    ]
    changes.write(connection, entity, ACTOR, trail)
    return [change.entity_id for change in trail]


def doubt(connection: Connection, found: Mapping[tuple[Entity, int], Sequence[str]], lost: bool) -> None:
    """Marks rows to be published again: Redis has other content than was stored. The version is 0 and not NULL, which
    would mean new to Redis. found: what differs, by row. lost: a restore lost it, so the trail keeps what Redis had.
    """
    for entity in _PUBLISHED:
        ids = sorted(number for kind, number in found if kind == entity)
        if ids:
            connection.execute(text(_LOCKED.format(entity)), {"ids": ids})
            connection.execute(
                text(f"UPDATE {entity} SET published_version = 0 WHERE id = ANY(CAST(:ids AS bigint[]))"), {"ids": ids}
            )
            lines = [(number, line) for number in ids for line in found[entity, number]]
            trail = [FieldChange(number, "plan in Redis", None, None, line) for number, line in lines]
            changes.write(connection, entity, ACTOR, trail if lost else ())
