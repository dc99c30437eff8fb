"""How far `verify` has confirmed the spend log: a watermark a shard, and the sums of the rows up to it.

A full pass adds up all rows of a month, a statement a day, under a number of its own (`verify_pass`). Later passes
add what is new. A row is above the watermark of its shard where its n or its generation is.

Rows above were recorded at or after the watermark's `at`, so one range of the BRIN index on recorded_at has them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.ids import SHARDS
from engine.ledger.cursors import CursorRow

ABOVE: Final = (
    "SELECT l.* FROM spends_since(:at) AS l JOIN verify_watermark AS w ON w.pass_id = :pass AND w.shard = l.shard"
    " WHERE (l.n > w.n OR l.generation > w.generation)"
)
"""The rows above the watermarks. Values: pass, at."""
SUMS: Final = (
    "SELECT brand_id, campaign_id, day, micros, corrections, rows FROM verify_sum"
    " WHERE pass_id = :pass AND day BETWEEN :first AND :last"
    " UNION ALL SELECT brand_id, campaign_id, day, amount_micros,"
    f" CASE kind WHEN 'correction' THEN amount_micros ELSE 0 END, 1 FROM ({ABOVE}) AS above WHERE day BETWEEN :first AND :last"
)
"""What all rows of these days add up to, in parts: those below the watermarks as sums, each row above by itself."""

_ADDED: Final = (
    "INSERT INTO verify_sum AS kept (pass_id, shard, campaign_id, day, brand_id, micros, corrections, rows)"
    " SELECT :pass, l.shard, l.campaign_id, l.day, l.brand_id, sum(l.amount_micros),"
    " coalesce(sum(l.amount_micros) FILTER (WHERE l.kind = 'correction'), 0), count(*)"
)
_ADD_DAY: Final = text(
    f"{_ADDED} FROM spend AS l JOIN verify_watermark AS w ON w.pass_id = :pass AND w.shard = l.shard"
    " WHERE l.day = :day AND l.n <= w.n AND l.generation <= w.generation GROUP BY l.shard, l.campaign_id, l.day, l.brand_id"
)
_FOLD: Final = text(
    f"{_ADDED} FROM ({ABOVE}) AS l JOIN unnest(CAST(:shards AS smallint[]), CAST(:generations AS int[]), CAST(:ns AS bigint[]))"
    " AS given(shard, generation, n) ON given.shard = l.shard AND l.n <= given.n AND l.generation <= given.generation"
    " WHERE l.day >= :first GROUP BY l.shard, l.campaign_id, l.day, l.brand_id"
    " ON CONFLICT (pass_id, shard, campaign_id, day) DO UPDATE SET micros = kept.micros + excluded.micros,"
    " corrections = kept.corrections + excluded.corrections, rows = kept.rows + excluded.rows"
)
_MOVE: Final = text(
    "UPDATE verify_watermark AS w SET generation = given.generation, n = given.n, at = given.at"
    " FROM unnest(CAST(:shards AS smallint[]), CAST(:generations AS int[]), CAST(:ns AS bigint[]),"
    " CAST(:ats AS timestamptz[])) AS given(shard, generation, n, at) WHERE w.pass_id = :pass AND w.shard = given.shard"
)
_SET: Final = text(
    "INSERT INTO verify_watermark (pass_id, shard, generation, n, at) SELECT :pass, * FROM unnest(CAST(:shards AS smallint[]),"
    " CAST(:generations AS int[]), CAST(:ns AS bigint[]), CAST(:ats AS timestamptz[]))"
)
_LATEST: Final = text("SELECT id, begun_at FROM verify_pass WHERE confirmed_at IS NOT NULL ORDER BY id DESC LIMIT 1")
_MARKS: Final = "SELECT shard, generation, n, at FROM verify_watermark WHERE pass_id = :pass"
_WAITING: Final = text("SELECT shard, n, entry_id FROM quarantine WHERE state = 'waiting' AND n IS NOT NULL")
_OLD: Final = (
    "SELECT id FROM verify_pass WHERE id <> coalesce((SELECT max(id) FROM verify_pass WHERE confirmed_at IS NOT NULL), 0)"
    " AND (confirmed_at IS NOT NULL OR begun_at < CAST(:now AS timestamptz) - interval '1 day')"
)


class Watermark(NamedTuple):
    """How far a shard is confirmed."""

    shard: int
    generation: int
    n: int
    at: datetime


class Confirmed(NamedTuple):
    """A pass that found nothing, and its watermarks by shard."""

    id: int
    begun_at: datetime
    marks: dict[int, Watermark]


class Waiting(NamedTuple):
    """An entry that waits in quarantine: its rows may come later."""

    n: int
    entry_id: str


def confirmed(connection: Connection, cursors: dict[int, CursorRow]) -> Confirmed | None:
    """The latest pass that found nothing; None when there is none, or its watermarks are ahead of the log itself."""
    found = connection.execute(_LATEST).one_or_none()
    if found is None:
        return None
    known = marks(connection, found.id)
    # A table that was restored by itself, for example. What is confirmed must be there.
    if len(known) < SHARDS or any(_ahead(mark, cursors[shard]) for shard, mark in known.items()):
        return None
    return Confirmed(found.id, found.begun_at, known)


def _ahead(mark: Watermark, cursor: CursorRow) -> bool:
    return mark.n > cursor.n or mark.generation > cursor.generation


def marks(connection: Connection, pass_id: int, *, lock: bool = False) -> dict[int, Watermark]:
    """The watermarks of a pass by shard. lock: keeps others from moving them, to the end of the transaction."""
    order = " ORDER BY shard" + (" FOR UPDATE" if lock else "")
    return {row.shard: Watermark(*row) for row in connection.execute(text(_MARKS + order), {"pass": pass_id})}


def mark_of(connection: Connection, pass_id: int, shard: int) -> Watermark | None:
    """The watermark of one shard."""
    row = connection.execute(text(f"{_MARKS} AND shard = :shard"), {"pass": pass_id, "shard": shard}).one_or_none()
    return None if row is None else Watermark(*row)


def waiting(connection: Connection) -> dict[int, Waiting]:
    """The first entry of each shard that waits in quarantine."""
    found: dict[int, Waiting] = {}
    for shard, n, entry_id in connection.execute(_WAITING):
        if shard not in found or n < found[shard].n:
            found[shard] = Waiting(n, entry_id)
    return found


def begin(connection: Connection, now: datetime, wanted: Collection[Watermark]) -> int:
    """Begins a full pass up to these watermarks and returns its number. Passes that nobody reads any more go."""
    for table, column in (("verify_sum", "pass_id"), ("verify_watermark", "pass_id"), ("verify_pass", "id")):
        connection.execute(text(f"DELETE FROM {table} WHERE {column} IN ({_OLD})"), {"now": now})
    pass_id: int = connection.execute(
        text("INSERT INTO verify_pass (begun_at) VALUES (:now) RETURNING id"), {"now": now}
    ).scalar_one()
    connection.execute(_SET, {"pass": pass_id, **_columns(wanted)})
    return pass_id


def add_day(connection: Connection, pass_id: int, day: date) -> None:
    """Adds up all rows of a day that are below the watermarks, once for each pass."""
    connection.execute(_ADD_DAY, {"pass": pass_id, "day": day})


def rows_since(connection: Connection, pass_id: int, day: date) -> int:
    """How many rows the sums of a pass are of, since a day."""
    query = text("SELECT coalesce(sum(rows), 0) FROM verify_sum WHERE pass_id = :pass AND day >= :day")
    return int(connection.execute(query, {"pass": pass_id, "day": day}).scalar_one())


def sort_in_memory(connection: Connection) -> None:
    """More memory for this transaction, which compares many rows with each other."""
    connection.execute(text("SET LOCAL work_mem = '128MB'"))


def fold(
    connection: Connection, pass_id: int, before: dict[int, Watermark], to: Sequence[Watermark], first: date
) -> bool:
    """Moves the watermarks of a pass and adds the rows between to its sums; sums of days before `first` go.

    Changes nothing and returns False where another process moved them since they were `before`.
    """
    if marks(connection, pass_id, lock=True) != before:
        return False
    values = {"pass": pass_id, "first": first, "at": min(mark.at for mark in before.values()), **_columns(to)}
    connection.execute(_FOLD, values)
    connection.execute(_MOVE, values)
    connection.execute(text("DELETE FROM verify_sum WHERE pass_id = :pass AND day < :first"), values)
    return True


def confirm(connection: Connection, pass_id: int) -> None:
    """The pass found nothing: later ones begin at its watermarks."""
    connection.execute(text("UPDATE verify_pass SET confirmed_at = now() WHERE id = :pass"), {"pass": pass_id})


def doubt(connection: Connection) -> None:
    """A full pass found something: nothing is confirmed, so the next pass is a full one too."""
    connection.execute(text("UPDATE verify_pass SET confirmed_at = NULL WHERE confirmed_at IS NOT NULL"))


def drop(connection: Connection, pass_id: int) -> None:
    """Drops a pass with its sums."""
    for table, column in (("verify_sum", "pass_id"), ("verify_watermark", "pass_id"), ("verify_pass", "id")):
        connection.execute(text(f"DELETE FROM {table} WHERE {column} = :pass"), {"pass": pass_id})


def _columns(wanted: Collection[Watermark]) -> dict[str, list[object]]:
    return {
        "shards": [mark.shard for mark in wanted],
        "generations": [mark.generation for mark in wanted],
        "ns": [mark.n for mark in wanted],
        "ats": [mark.at for mark in wanted],
    }
