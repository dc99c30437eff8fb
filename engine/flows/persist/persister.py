"""Persist: copies the journal into the spend log, exactly once, within about a second of the spend.

A shard's cursor row is the lock and the position. Rows, totals and the moved cursor commit together, so a killed job
is simply run again. A journal that is not contiguous with the cursor has lost history: the shard stops with a reason
and is rebuilt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from sqlalchemy import Connection, Engine

from engine.domain.ids import SHARDS
from engine.errors import BudgetError, ServerAway
from engine.flows.persist.gather import Fields, Gathered, gather
from engine.flows.persist.ingest import Booked, Part, book
from engine.flows.persist.reading import Read
from engine.ledger import spend_log
from engine.ledger.cursors import (
    CursorMoved,
    CursorRow,
    advance_cursor,
    age_cursors,
    lock_cursor,
    pass_over,
    read_cursors,
    stop_cursor,
)
from engine.ledger.database import writing
from engine.ledger.locks import LOCKED_OUT, is_held
from engine.ledger.models import tables_of
from engine.live.admin import LiveRedis, LiveShard
from engine.live.grammar import whole
from engine.live.journal import START, Journal, NoJournal

log = logging.getLogger(__name__)

BATCH: Final = 2000
"""Entries in one transaction."""
SPENDS_AT_ONCE: Final = 100_000
"""Spends that are read and written in one transaction, about."""
PACKED_BATCH: Final = 10_000
PACKED_AT_ONCE: Final = 400_000
"""The same in packed form: the sums of campaigns cost more than packed rows, so more spends share them."""
_SHOWN: Final = 3
_LOCKED_SHARDS: Final = 2
"""Shards of one pass that are waited for though another session has locked their tables or rows."""


class HistoryLost(BudgetError):
    """The journal is not contiguous with PostgreSQL's cursor: an older Redis came back, or entries were deleted."""


class ShardsStuck(BudgetError):
    """Some shards could not be persisted; all others were. Their spends are safe in the journal."""


@dataclass(slots=True)
class DrainStats:
    """What one or more transactions persisted. left: shards with more entries; locked: shards that another process
    has; problems: {shard: the error}.
    """

    entries: int = 0
    rows: int = 0
    micros: int = 0
    quarantined: int = 0
    changed_brands: set[int] = field(default_factory=set)
    left: list[int] = field(default_factory=list)
    locked: list[int] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, booked: Booked) -> DrainStats:
        """The result of one transaction."""
        return cls(
            booked.entries,
            booked.rows,
            booked.micros,
            quarantined=booked.quarantined,
            changed_brands=booked.changed_brands,
        )

    def add(self, other: DrainStats) -> None:
        self.entries += other.entries
        self.rows += other.rows
        self.micros += other.micros
        self.quarantined += other.quarantined
        self.changed_brands |= other.changed_brands


@dataclass(frozen=True, slots=True)
class _Next:
    """The next entries of a shard whose cursor is locked, and their end. more: there are others after them."""

    cursor: CursorRow
    reads: Sequence[Read | Gathered]
    last_n: int
    generation: int
    more: bool
    spends: int

    @property
    def size(self) -> int:
        """How many entries."""
        return sum(item.size for item in self.reads)

    @property
    def part(self) -> Part:
        """The entries as ingest takes them."""
        return Part(self.cursor.shard, self.cursor.generation, self.reads)

    def move_cursor(self, conn: Connection) -> None:
        """Moves the cursor behind the last of them. Raises CursorMoved."""
        shard, n, last = self.cursor.shard, self.cursor.n, self.reads[-1].last_id
        if self.last_n > n:
            advance_cursor(conn, shard, n, self.last_n, last, self.generation)
        else:
            pass_over(conn, shard, n, last)


class Persister:
    """Persists entries, shard by shard."""

    def __init__(self, db: Engine, live: LiveRedis, journal: Journal, instance: str, packed: bool = False) -> None:
        """packed: whether SPEND_LOG says so."""
        self._db = db
        self._live = live
        self._journal = journal
        self._instance = instance
        self._packed = packed
        self._partitions: set[tuple[str, date]] = set()

    def drain_all(self, progress: Callable[[DrainStats], None] | None = None) -> DrainStats:
        """Persists everything that is in the journals now. Shards that are not ready are left to the rebuild. Raises
        ShardsStuck after all others, ServerAway.
        """
        total = self.drain(progress)
        away = {state.shard: state.away for state in self._live.read_shards() if state.away}
        if total.problems or away:
            raise ShardsStuck(told({**away, **total.problems}))
        return total

    def drain(
        self,
        progress: Callable[[DrainStats], None] | None = None,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        skip: Collection[int] = (),
        on_stop: Callable[[LiveShard], None] = lambda state: None,
    ) -> DrainStats:
        """The same, with errors of shards in the result: one bad shard does not delay the others. Calls `should_stop`
        before each transaction.
        """
        total = DrainStats()
        states = {state.shard: state for state in self.waiting() if state.shard not in skip}
        try:
            self._carry(states, total, progress, should_stop)
        except Exception as error:  # the error of one of them: trying each alone shows which
            if isinstance(error, ServerAway) and not error.partial:
                raise
            log.info("persist goes on shard by shard: %s", " ".join(str(error).split()))
            self._one_by_one(list(states.values()), total, progress, should_stop, on_stop)
        return total

    def _carry(
        self,
        states: dict[int, LiveShard],
        total: DrainStats,
        progress: Callable[[DrainStats], None] | None,
        should_stop: Callable[[], bool],
    ) -> None:
        """Runs transactions until nothing is left of these shards; removes shards that are done from `states`."""
        while states and not should_stop():
            step = self.step(list(states), states)
            left = {shard: states[shard] for shard in step.left}
            states.clear()
            states.update(left)
            total.add(step)
            if progress:
                progress(total)

    def _one_by_one(
        self,
        states: Sequence[LiveShard],
        total: DrainStats,
        progress: Callable[[DrainStats], None] | None,
        should_stop: Callable[[], bool],
        on_stop: Callable[[LiveShard], None],
    ) -> None:
        locked = 0
        for state in states:
            if locked == _LOCKED_SHARDS:
                # Each of them waits; the next pass begins with the others, and persist has other duties.
                break
            try:
                self._drain_shard(state, total, progress, should_stop, on_stop)
            except CursorMoved:
                # Another persister was faster and has written the rows.
                continue
            except Exception as error:  # whatever it is, the other shards go on
                if isinstance(error, ServerAway) and not error.partial:
                    raise
                locked += is_held(error)
                why = LOCKED_OUT if is_held(error) else f"{type(error).__name__}: {' '.join(str(error).split())}"
                total.problems[state.shard] = why

    def owns(self, state: LiveShard) -> bool:
        """Whether a shard has our own mark."""
        return state.instance == self._instance

    def waiting(self) -> list[LiveShard]:
        """The ready shards whose journal is ahead of their cursor, or not contiguous with it.

        n alone does not show it: an older Redis may have come back with exactly the n of PostgreSQL and other
        entries.
        """
        with self._db.connect() as conn:
            cursors = read_cursors(conn)
        states = [s for s in self._live.read_shards() if s.ready and self.owns(s)]
        return [
            s for s in states if s.n != cursors[s.shard].n or (s.last_entry_id or START) != cursors[s.shard].entry_id
        ]

    def backlog(self) -> int:
        """How many journal entries of ready shards PostgreSQL does not have yet."""
        with self._db.connect() as conn:
            cursors = read_cursors(conn)
        return sum(max(state.n - cursors[state.shard].n, 0) for state in self.waiting())

    def _drain_shard(
        self,
        state: LiveShard,
        total: DrainStats,
        progress: Callable[[DrainStats], None] | None,
        should_stop: Callable[[], bool],
        on_stop: Callable[[LiveShard], None],
    ) -> None:
        """Persists one shard to its end. Where history is lost, takes the shard out of use; the rebuild brings it
        back.
        """
        try:
            self._carry({state.shard: state}, total, progress, should_stop)
        except (HistoryLost, NoJournal) as lost:
            if self._live.read_shard(state.shard).mark == state.mark:
                self.stop(state.shard, str(lost))
                log.error("%s; it takes no spends until it is rebuilt", lost)
                on_stop(state)
            # Otherwise a rebuild began or ended since the state was read, and handles the history.

    def stop(self, shard: int, why: str) -> None:
        """Takes a shard out of use, in both stores, until it is rebuilt."""
        with writing(self._db) as conn:
            stop_cursor(conn, shard, why)
        self._live.unmark(self._instance, shard, why)

    def step(
        self, shards: Sequence[int], states: Mapping[int, LiveShard] | None = None, *, batch: int | None = None
    ) -> DrainStats:
        """Persists the next entries of as many shards as fit in one transaction. Shards with entries left over move
        to the end, so that one long backlog does not delay the others. states: as Redis had them a moment ago.

        Raises HistoryLost, CursorMoved; nothing is written then.
        """
        found: list[_Next] = []
        behind: list[int] = []
        out = DrainStats()
        most, spends = (PACKED_BATCH, PACKED_AT_ONCE) if self._packed else (BATCH, SPENDS_AT_ONCE)
        entries = batch or most
        with writing(self._db) as conn:
            for place, shard in enumerate(shards):
                if entries <= 0 or spends <= 0:
                    out.left += shards[place:]
                    break
                item = self._next(conn, shard, (states or {}).get(shard), entries, spends)
                if item is None:
                    out.locked.append(shard)
                    continue
                if item.more:
                    behind.append(shard)
                if item.reads:
                    found.append(item)
                    entries, spends = entries - item.size, spends - item.spends
            out.add(DrainStats.of(book(conn, [item.part for item in found], self.make_partitions, self._packed)))
            for item in found:
                item.move_cursor(conn)
        out.left += behind
        return out

    def _next(self, conn: Connection, shard: int, state: LiveShard | None, entries: int, spends: int) -> _Next | None:
        """The next entries of a shard, its cursor locked; None when another process has it locked. Raises
        HistoryLost.
        """
        cursor = lock_cursor(conn, shard)
        if cursor is None:
            return None
        if state is not None and state.n < cursor.n and self._live.read_shard(shard).n < cursor.n:
            raise HistoryLost(
                f"shard {shard} of Redis is at n {state.n}, PostgreSQL has {cursor.n}: an older Redis came back"
            )
        first = cursor.entry_id == START
        page = self._journal.read_part(shard, cursor.entry_id, entries + (0 if first else 1), spends)
        fresh = page.entries
        if not first:
            check_joined(page.entries[:1], shard, cursor.entry_id, cursor.n)
            fresh = page.entries[1:]
        reads = gather(shard, fresh)
        last_n, generation = in_sequence(reads, shard, cursor.n, cursor.generation)
        return _Next(cursor, reads, last_n, generation, page.more, page.spends)

    def make_partitions(self, days: Iterable[date], afresh: bool = False) -> None:
        """Makes partitions of days that are new to this process, in a transaction of their own. afresh: PostgreSQL
        may have been restored since.
        """
        if afresh:
            self._partitions.clear()
        wanted = {(table, day) for table in tables_of(self._packed) for day in days}
        for table, day in sorted(wanted - self._partitions):
            with writing(self._db) as conn:
                spend_log.ensure_partition(conn, day, table)
            self._partitions.add((table, day))


def check_joined(found: Sequence[Fields], shard: int, entry_id: str, n: int) -> None:
    """Checks that the first entry is the cursor's own, which must still exist, because nothing below it is ever
    trimmed. Raises HistoryLost.
    """
    first_id, first_n = (found[0][0].decode(), whole(found[0][1].get(b"n"))) if found else ("", None)
    if first_id != entry_id or first_n not in (n, None):
        there = f"{first_id} (n {first_n})" if found else "nothing"
        raise HistoryLost(f"shard {shard}: the cursor stands at {entry_id} (n {n}), the journal has {there} there")


def in_sequence(found: Sequence[Read | Gathered], shard: int, n: int, generation: int) -> tuple[int, int]:
    """Checks that n is contiguous; returns n and the generation after the last entry. Raises HistoryLost.

    An entry without a readable number was not written by a script, and does not count in the sequence.
    """
    for item in found:
        if item.n is None or item.last_n is None:
            continue
        if item.n != n + 1:
            raise HistoryLost(f"shard {shard}: after n {n} the journal goes on with n {item.n} at {item.entry_id}")
        n = item.last_n
        if item.generation is not None:
            # Never back: an overtaken rebuild may have moved the cursor beyond the mark of the faster one.
            generation = max(generation, item.generation)
    return n, generation


def told(problems: dict[int, str]) -> str:
    """Problems of shards in one line."""
    said = [f"shard {shard}: {why}" for shard, why in sorted(problems.items())]
    more = f"; and {len(said) - _SHOWN} more shards" if len(said) > _SHOWN else ""
    return "; ".join(said[:_SHOWN]) + more


def trim_all(db: Engine, live: LiveRedis, instance: str, keep_minutes: int) -> int:
    """Drops what PostgreSQL has had for JOURNAL_KEEP_MINUTES; until then a restored PostgreSQL can read it again."""
    dropped = 0
    with writing(db) as conn:
        safe = age_cursors(conn, keep_minutes)
    gone: ServerAway | None = None
    for shard in range(SHARDS):
        if safe.get(shard, START) != START:
            try:
                dropped += live.trim(instance, shard, safe[shard])
            except ServerAway as error:
                if not error.partial:
                    raise
                gone = error
    if gone is not None:
        raise gone
    return dropped
