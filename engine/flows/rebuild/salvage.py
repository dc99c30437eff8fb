"""The first step of a rebuild: persists the rest of a shard's journal, even where it is no longer contiguous with
PostgreSQL's cursor.

After an older Redis came back, its entries may have numbers that PostgreSQL has used already. Entries that PostgreSQL
lacks are acknowledged spends: they get rows of the new generation. Repeated spends (same event, or same call and
place) are left out, because they are in the log already.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine

from engine.domain.periods import at_ms
from engine.errors import BudgetError
from engine.flows.persist.ingest import Broken, Part, Read, book, read
from engine.flows.persist.persister import BATCH, DrainStats, HistoryLost, Persister
from engine.ledger import quarantine, spend_read
from engine.ledger.cursors import CursorMoved, CursorRow, lock_cursor, read_cursors, restart_cursor
from engine.live.journal import START, Journal

_PAGE: Final = 1000
CLOCK_SLACK_MS: Final = 1000
"""`lua/lib/constants.lua` has the same."""
PATIENCE_S: Final = 10.0
_POLL_S: Final = 0.02

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CarriedOver:
    """The position and generation of a shard's history after the salvage."""

    generation: int
    n: int
    entry_id: str
    persisted: int
    salvaged: int
    lost: bool
    """Whether entries after the cursor may have been lost with the journal: what they counted is unknown."""


def carry_over(
    db: Engine,
    journal: Journal,
    persister: Persister,
    shard: int,
    has_journal: bool,
    clock_ms: int,
    is_ours: Callable[[], bool],
) -> CarriedOver:
    """Persists the shard's journal to its end and moves the cursor into the next generation. Nothing else may write
    to the shard meanwhile.

    clock_ms: Redis' own time. is_ours: whether the calling rebuild still has the shard. It is called with the cursor
    locked, because a slow rebuild must not move the cursor of a shard that a later one has finished. Raises
    CursorMoved when it has lost it.
    """
    persisted = salvaged = 0
    entry_id, lost = START, not has_journal
    if has_journal:
        try:
            while True:
                step = _when_free(shard, lambda: _unlocked(persister.step([shard], batch=BATCH)))
                persisted += step.rows
                if not step.left:
                    break
            with db.connect() as conn:
                entry_id = read_cursors(conn)[shard].entry_id
            if ms_of_entry(entry_id) > clock_ms + CLOCK_SLACK_MS:
                # Scripts write no entry of the future and cannot write after one: PostgreSQL has all of this journal,
                # and the next begins anew.
                entry_id = START
        except HistoryLost:
            lost = True
            salvaged = _salvage(db, journal, persister, shard, is_ours)
    cursor = _when_free(shard, lambda: _restart(db, shard, entry_id, is_ours))
    return CarriedOver(cursor.generation + 1, cursor.n, entry_id, persisted, salvaged, lost and cursor.n > 0)


def ms_of_entry(entry_id: str) -> int:
    """The instant (epoch ms) of a journal entry's id; 0 for the cursor before the first."""
    return 0 if entry_id == START else int(entry_id.partition("-")[0])


def _when_free(shard: int, attempt: Callable[[], T | None]) -> T:
    """The result of an attempt once no other process has the shard's cursor locked, within one of its transactions.
    Raises BudgetError.
    """
    give_up = time.monotonic() + PATIENCE_S
    while True:
        answer = attempt()
        if answer is not None:
            return answer
        if time.monotonic() >= give_up:
            raise BudgetError(f"shard {shard} is being persisted by another process: the rebuild comes after it")
        time.sleep(_POLL_S)


def _unlocked(step: DrainStats) -> DrainStats | None:
    return None if step.locked else step


def _restart(db: Engine, shard: int, entry_id: str, is_ours: Callable[[], bool]) -> CursorRow | None:
    """Moves the cursor into the next generation; returns it as it was."""
    with db.begin() as conn:
        cursor = lock_cursor(conn, shard)
        if cursor is not None:
            _check_ours(shard, is_ours)
            restart_cursor(conn, shard, cursor.generation + 1, cursor.n, entry_id)
    return cursor


def _check_ours(shard: int, is_ours: Callable[[], bool]) -> None:
    if not is_ours():
        raise CursorMoved(f"shard {shard}: another rebuild has begun, and goes on from here")


def _salvage(db: Engine, journal: Journal, persister: Persister, shard: int, is_ours: Callable[[], bool]) -> int:
    """Persists the entries that PostgreSQL lacks, as the next generation; returns how many spends. Then the journal
    begins anew.
    """
    found: list[Read] = []
    from_id = "-"
    while True:
        page = journal.read(shard, from_id, _PAGE)
        found += [read(*item) for item in page]
        if len(page) < _PAGE:
            break
        from_id = "(" + page[-1][0].decode()
    return _when_free(shard, lambda: _write_missing(db, persister, shard, found, is_ours))


def _write_missing(
    db: Engine, persister: Persister, shard: int, found: list[Read], is_ours: Callable[[], bool]
) -> int | None:
    with db.begin() as conn:
        cursor = lock_cursor(conn, shard)
        if cursor is None:
            return None
        _check_ours(shard, is_ours)
        # Read with the cursor locked, so that rows of another salvage a moment ago are seen.
        known = {row.entry_id for row in quarantine.rows(conn, waiting_only=False) if row.shard == shard}
        missing = [left for item in found if (left := _missing(conn, shard, item, known)) is not None]
        booked = book(conn, [Part(shard, cursor.generation + 1, missing)], persister.make_partitions)
        highest = max([cursor.n, *(item.n for item in found if item.n is not None)])
        restart_cursor(conn, shard, cursor.generation + 1, highest, START)
    return booked.rows


def _missing(conn: Connection, shard: int, item: Read, quarantined: set[str]) -> Read | None:
    """What PostgreSQL lacks of an entry; None when it has all of it. A mark's generation is left out."""
    if isinstance(item.entry, Broken):
        return None if item.entry_id in quarantined else item
    spends = list(item.entry.spends())
    logged = spend_read.already_logged(conn, shard, at_ms(item.entry.ms), spends, item.entry.request_id)
    # A refund that was requested twice has one row all the same.
    asked = any(refund.asked for refund in item.entry.refunds())
    if not (asked or {spend.position for spend in spends} - logged) or item.entry_id in quarantined:
        return None
    return Read(item.fields, replace(item.entry, skip=frozenset(logged), generation=None))
