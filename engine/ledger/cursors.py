"""The cursors: how far each shard's journal is persisted. One row a shard, which is also the lock of its persister."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, select, text

from engine.errors import BudgetError
from engine.ledger.models import JournalCursor

_ADVANCE_CURSOR: Final = text(
    "UPDATE journal_cursor SET n = :to_n, entry_id = :entry_id, generation = :generation, updated_at = now()"
    " WHERE shard = :shard AND n = :from_n AND generation <= :generation"
)
_PASS_OVER: Final = text(
    "UPDATE journal_cursor SET entry_id = :entry_id, updated_at = now() WHERE shard = :shard AND n = :n"
)
_RESTART_CURSOR: Final = text(
    "UPDATE journal_cursor SET generation = :generation, n = :n, entry_id = :entry_id, stopped = NULL, updated_at = now(),"
    " safe_entry_id = CASE WHEN entry_id = :entry_id THEN safe_entry_id ELSE '0-0' END,"
    " next_entry_id = CASE WHEN entry_id = :entry_id THEN next_entry_id ELSE '0-0' END,"
    " next_at = CASE WHEN entry_id = :entry_id THEN next_at ELSE now() END"
    " WHERE shard = :shard AND generation < :generation AND n <= :n"
)
_STOP_CURSOR: Final = text(
    "UPDATE journal_cursor SET stopped = coalesce(stopped, :why), updated_at = now() WHERE shard = :shard"
)


@dataclass(frozen=True, slots=True)
class CursorRow:
    """A shard's cursor. stopped: why it is out of use until a rebuild, None while it runs."""

    shard: int
    entry_id: str
    n: int
    generation: int
    safe_entry_id: str
    next_entry_id: str
    next_at: datetime
    updated_at: datetime
    stopped: str | None


class CursorMoved(BudgetError):
    """The cursor moved since the caller read it: another process wrote the same entries. This transaction must be
    rolled back.
    """


_READING: Final[Select[Any]] = select(*JournalCursor.__table__.c).order_by(JournalCursor.shard)
# The candidate for `safe` is the cursor as it was before this transaction, so it is certain to be committed at
# `next_at`.
_AGE: Final = (
    " safe_entry_id = CASE WHEN next_at <= now() - make_interval(mins => :keep) THEN next_entry_id ELSE safe_entry_id END,"
    " next_entry_id = CASE WHEN next_at <= now() - make_interval(mins => :keep) THEN entry_id ELSE next_entry_id END,"
    " next_at = CASE WHEN next_at <= now() - make_interval(mins => :keep) THEN now() ELSE next_at END"
)


def lock_cursor(connection: Connection, shard: int) -> CursorRow | None:
    """The shard's cursor, locked to the end of the transaction; None when another process has it."""
    found = connection.execute(
        _READING.where(JournalCursor.shard == shard).with_for_update(skip_locked=True)
    ).one_or_none()
    return None if found is None else _row(found)


def read_cursors(connection: Connection) -> dict[int, CursorRow]:
    """Every shard's cursor, without a lock."""
    return {row.shard: _row(row) for row in connection.execute(_READING)}


def advance_cursor(connection: Connection, shard: int, from_n: int, to_n: int, entry_id: str, generation: int) -> None:
    """Moves the cursor forward from where it was read. Raises CursorMoved when it has moved since."""
    if to_n <= from_n:
        raise CursorMoved(f"the cursor of shard {shard} cannot go from n {from_n} to {to_n}: it only goes forward")
    moved = connection.execute(
        _ADVANCE_CURSOR,
        {"shard": shard, "from_n": from_n, "to_n": to_n, "entry_id": entry_id, "generation": generation},
    ).rowcount
    if moved != 1:
        raise CursorMoved(f"the cursor of shard {shard} is not at n {from_n} any more: nothing was written, run again")


def pass_over(connection: Connection, shard: int, n: int, entry_id: str) -> None:
    """Moves the cursor past entries that carry no number (no script wrote them). Raises CursorMoved."""
    moved = connection.execute(
        _PASS_OVER,
        {"shard": shard, "n": n, "entry_id": entry_id},
    ).rowcount
    if moved != 1:
        raise CursorMoved(f"the cursor of shard {shard} is not at n {n} any more: nothing was written, run again")


def restart_cursor(connection: Connection, shard: int, generation: int, n: int, entry_id: str) -> None:
    """Begins a new generation after a rebuild and clears a stop. The safe position is kept only where the journal
    goes on.

    Raises CursorMoved for a generation that is not new, or an n that goes back.
    """
    restarted = connection.execute(
        _RESTART_CURSOR,
        {"shard": shard, "generation": generation, "n": n, "entry_id": entry_id},
    ).rowcount
    if restarted != 1:
        raise CursorMoved(f"shard {shard} has gone on beyond generation {generation}, n {n}: another rebuild was first")


def stop_cursor(connection: Connection, shard: int, why: str) -> None:
    """Stores that a shard is out of use, and why; the first reason stays."""
    connection.execute(
        _STOP_CURSOR,
        {"shard": shard, "why": why},
    )


def age_cursors(connection: Connection, keep_minutes: int) -> dict[int, str]:
    """{shard: entry id below which may be trimmed}: where its cursor stood at least `keep_minutes` ago. Call it each minute or so."""
    # Cursors that are being moved are left for the next call, so that this waits for no persister. Locked in order,
    # against a second caller.
    connection.execute(
        text(
            f"UPDATE journal_cursor SET{_AGE} WHERE shard IN (SELECT shard FROM journal_cursor"
            " WHERE next_at <= now() - make_interval(mins => :keep) ORDER BY shard FOR UPDATE SKIP LOCKED)"
        ),
        {"keep": keep_minutes},
    )
    return {row.shard: row.safe_entry_id for row in connection.execute(_READING)}


def _row(row: Row[*tuple[Any, ...]]) -> CursorRow:
    return CursorRow(**row._asdict())
