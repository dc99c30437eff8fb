"""The first step of a rebuild: persists the rest of a shard's journal, even where it is no longer contiguous with
PostgreSQL's cursor.

After an older Redis came back, its entries may have numbers that PostgreSQL has used already. Entries that PostgreSQL
lacks are acknowledged spends: they get rows of the new generation. Repeated spends (same event, or same call and
place) are left out, because they are in the log already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine

from engine.domain.periods import at_ms
from engine.errors import BudgetError
from engine.flows.persist.ingest import Part, book
from engine.flows.persist.persister import BATCH, SPENDS_AT_ONCE, DrainStats, HistoryLost, Persister
from engine.flows.persist.posting import request_of, spend_day
from engine.flows.persist.reading import Broken, Read
from engine.flows.rebuild.fork import Unknown, find_fork, missing_slices
from engine.ledger import known_rows, quarantine
from engine.ledger.cursors import CursorMoved, CursorRow, lock_cursor, read_cursors, restart_cursor
from engine.ledger.database import writing
from engine.ledger.known_rows import Alike, Given
from engine.live.journal import START, Entry, Journal
from engine.live.logged import LoggedSpend

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
    unknown: tuple[Unknown, ...]
    """Entries that may have been lost with a journal: what they counted cannot be known."""
    fork_ms: int | None = None
    """Where Redis fell back and has all that it counted before this instant and since: the instant of its last entry that PostgreSQL has."""


class _Salvaged(NamedTuple):
    """What a salvage wrote, and what nobody knows."""

    rows: int
    unknown: tuple[Unknown, ...]
    fork_ms: int | None = None


def carry_over(
    db: Engine,
    journal: Journal,
    persister: Persister,
    shard: int,
    has_journal: bool,
    shard_n: int,
    clock_ms: int,
    is_ours: Callable[[], bool],
) -> CarriedOver:
    """Persists the shard's journal to its end and moves the cursor into the next generation. Nothing else may write
    to the shard meanwhile.

    shard_n: the number that the shard in Redis had reached, 0 where it does not say. clock_ms: Redis' own time. is_ours: whether the rebuild that asks still has the shard. It is asked with the cursor locked: a slow rebuild must not move the cursor of
    a shard that a later one has made ready. Raises CursorMoved when it has lost it.
    """
    persisted, salvaged, entry_id = 0, _Salvaged(0, ()), START
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
            salvaged = _when_free(shard, lambda: _salvage(db, journal, persister, shard, shard_n, is_ours))
    cursor = _when_free(shard, lambda: _restart(db, shard, entry_id, is_ours))
    unknown = salvaged.unknown
    if not has_journal and cursor.n:
        # Where the shard still says how far it had come, that many are gone with its journal.
        unknown = (Unknown(cursor.n + 1, shard_n if shard_n > cursor.n else None),)
    return CarriedOver(cursor.generation + 1, cursor.n, entry_id, persisted, salvaged.rows, unknown, salvaged.fork_ms)


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
    with writing(db) as conn:
        cursor = lock_cursor(conn, shard)
        if cursor is not None:
            _check_ours(shard, is_ours)
            restart_cursor(conn, shard, cursor.generation + 1, cursor.n, entry_id)
    return cursor


def _check_ours(shard: int, is_ours: Callable[[], bool]) -> None:
    if not is_ours():
        raise CursorMoved(f"shard {shard}: another rebuild has begun, and goes on from here")


def _salvage(
    db: Engine, journal: Journal, persister: Persister, shard: int, shard_n: int, is_ours: Callable[[], bool]
) -> _Salvaged | None:
    """Persists the entries that PostgreSQL does not have, as the next generation, in one transaction. The journal begins anew after.

    None when another process has the cursor.
    """
    with writing(db) as conn:
        cursor = lock_cursor(conn, shard)
        if cursor is None:
            return None
        _check_ours(shard, is_ours)
        # Looked for with the cursor locked: what another salvage wrote a moment ago is seen.
        quarantined = quarantine.entry_ids(conn, shard)
        fork = find_fork(conn, journal, cursor, quarantined)
        rows = 0
        for reads in missing_slices(journal, shard, fork, SPENDS_AT_ONCE):
            missing = _missing(conn, shard, fork.since, [item for item in reads if item.entry_id not in quarantined])
            rows += book(conn, [Part(shard, cursor.generation + 1, missing)], persister.make_partitions).rows
        restart_cursor(conn, shard, cursor.generation + 1, max(cursor.n, fork.highest), START)
    # After a salvage that was not followed by a mark the memories may be half written.
    whole = cursor.entry_id != START and fork.is_plain and fork.highest == shard_n
    return _Salvaged(rows, fork.unknown(cursor), fork.at_ms if whole else None)


def _missing(conn: Connection, shard: int, since: datetime, reads: Sequence[Read]) -> list[Read]:
    """What PostgreSQL does not have of entries: each without the spends that are in the log. A mark's generation is not carried on."""
    spends = {
        item.entry_id: {spend.position: _given(item.entry, spend) for spend in item.entry.spends()}
        for item in reads
        if isinstance(item.entry, Entry)
    }
    alike = Alike.read(conn, shard, since, [given for of_entry in spends.values() for given in of_entry.values()])
    dropped = known_rows.dropped(
        conn,
        {given.brand_id for of_entry in spends.values() for given in of_entry.values()},
        {at_ms(item.entry.ms).date() for item in reads if isinstance(item.entry, Entry)},
    )
    missing: list[Read] = []
    for item in reads:
        if isinstance(item.entry, Broken):
            missing.append(item)
            continue
        on = at_ms(item.entry.ms).date()
        given = spends[item.entry_id]
        logged = {place for place, one in given.items() if (one.brand_id, on) in dropped or alike.has(one)}
        # Asked for twice, a refund has one row all the same.
        asked = any(refund.asked for refund in item.entry.refunds())
        if asked or given.keys() - logged:
            missing.append(Read(item.fields, replace(item.entry, skip=frozenset(logged), generation=None)))
    return missing


def _given(entry: Entry, spend: LoggedSpend) -> Given:
    refund_id = (spend.refund_id or "") if spend.kind in ("refund", "correction") else None
    return Given(
        spend.brand_id, spend.kind, spend.event_id, request_of(entry, spend), spend.position, spend_day(entry, spend), refund_id
    )  # fmt: skip
