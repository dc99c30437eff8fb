"""A pass of verify over the spend log: a full one adds up every row of the month, a recent one goes on from there.

Nothing may count as confirmed that was not looked at. So the cursors are read before the first check, and the
watermarks move up to them only after the last check found nothing in rows and sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from sqlalchemy import Engine

from engine.domain.ids import SHARDS
from engine.domain.periods import at_ms
from engine.flows.verify.clocks import Clocks
from engine.ledger import audit, spend_read, verified
from engine.ledger.audit import Scope
from engine.ledger.cursors import CursorRow, read_cursors
from engine.ledger.database import writing
from engine.ledger.verified import Waiting, Watermark
from engine.live.admin import LiveRedis, LiveShard
from engine.live.journal import START

SLACK: Final = timedelta(minutes=5)
"""By how much the clock of another Redis may be behind. Rows are looked for that long before their watermark."""
LOOK_BACK: Final = timedelta(hours=1)
"""How long before new rows a recent pass looks for the same ids, where their dedup window is not shorter."""
NIGHT: Final = time(2)
"""A full pass is due once a day after this time (UTC)."""
_ROWS_A_SLICE: Final = 16_000_000
"""About how many rows one statement of a full pass sorts."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass. to: where its watermarks move when it finds nothing. first: the first day whose sums it has."""

    id: int
    full: bool
    before: Mapping[int, Watermark]
    to: tuple[Watermark, ...]
    first: date

    @property
    def at(self) -> datetime:
        """No row above a watermark was recorded before."""
        return min(mark.at for mark in self.before.values())

    @property
    def above(self) -> Scope:
        """The rows above the watermarks."""
        return audit.above(self.id, self.at, LOOK_BACK)


class Passes:
    """Begins and ends passes."""

    def __init__(self, db: Engine, live: LiveRedis) -> None:
        self._db = db
        self._live = live

    def full_is_due(self) -> bool:
        """Whether nothing is confirmed, or the last full pass began before the last night."""
        now = at_ms(self._live.now_ms())
        night = datetime.combine(now.date(), NIGHT, UTC)
        night -= timedelta(days=1) if night > now else timedelta()
        with self._db.connect() as conn:
            known = verified.confirmed(conn, read_cursors(conn))
        return known is None or known.begun_at < night

    def recent(self) -> Pass | None:
        """A pass over what is new; None where nothing is confirmed to go on from."""
        states = self._live.read_shards()
        with self._db.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
            cursors, waiting = read_cursors(conn), verified.waiting(conn)
            known = verified.confirmed(conn, cursors)
        if known is None:
            return None
        to = tuple(_mark(states[s], cursors[s], waiting.get(s), known.marks[s]) for s in range(SHARDS))
        return Pass(known.id, False, known.marks, to, self._first_day())

    def full(self, days: int = 2, between: Callable[[], object] = lambda: None) -> Pass:
        """A pass over all rows of this month and of the last days, a statement a day. `between` is called before each."""
        states = self._live.read_shards()
        with self._db.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
            cursors, waiting = read_cursors(conn), verified.waiting(conn)
            # A shard that was just rebuilt has no entry to tell the instant by; its last row does.
            new = {s: spend_read.last_recorded_ms(conn, s) for s in range(SHARDS) if cursors[s].entry_id == START}
        to = tuple(_mark(states[s], cursors[s], waiting.get(s), None, new.get(s, 0)) for s in range(SHARDS))
        now = at_ms(self._live.now_ms())
        first = min(self._first_day(), now.date() - timedelta(days=days - 1))
        last = self._clocks().today(self._live.now_ms())
        with writing(self._db) as conn:
            pass_id = verified.begin(conn, now, to)
        for ahead in range((last - first).days + 1):
            between()
            with writing(self._db) as conn:
                verified.add_day(conn, pass_id, first + timedelta(days=ahead))
        return Pass(pass_id, True, {mark.shard: mark for mark in to}, to, first)

    def passed(self, done: Pass) -> None:
        """Confirms what a pass looked at. Another process that did so before is no harm."""
        with writing(self._db) as conn:
            if done.full:
                verified.confirm(conn, done.id)
            elif done.to != tuple(done.before[shard] for shard in range(SHARDS)):
                verified.fold(conn, done.id, dict(done.before), done.to, self._first_day())

    def failed(self, done: Pass) -> None:
        """Confirms nothing. After a full pass that found something the next one is full too."""
        if done.full:
            with writing(self._db) as conn:
                verified.doubt(conn)
                verified.drop(conn, done.id)

    def leave(self, done: Pass) -> None:
        """Forgets a full pass that has no result."""
        if done.full:
            with writing(self._db) as conn:
                verified.drop(conn, done.id)

    def scope(self, one: Pass, since: date) -> Scope:
        """The rows that checks of single rows read: those above the watermarks, or all since a day."""
        return audit.since_day(one.id, one.at, since, (0, SHARDS - 1)) if one.full else one.above

    def slices(self, one: Pass, since: date) -> list[Scope]:
        """The same in slices of shards, for checks that compare rows with each other: few, as each reads the log once."""
        if not one.full:
            return [one.above]
        with self._db.connect() as conn:
            rows = verified.rows_since(conn, one.id, since)
        each = max(1, SHARDS * _ROWS_A_SLICE // max(rows, 1))
        return [
            audit.since_day(one.id, one.at, since, (low, min(low + each, SHARDS) - 1)) for low in range(0, SHARDS, each)
        ]

    def _first_day(self) -> date:
        """The first day of this month, and on the 1st the day before: the first that these are for any brand."""
        return self._clocks().first_open(self._live.now_ms())

    def _clocks(self) -> Clocks:
        with self._db.connect() as conn:
            return Clocks.read(conn)


def _mark(
    state: LiveShard, cursor: CursorRow, waiting: Waiting | None, before: Watermark | None, last_row_ms: int = 0
) -> Watermark:
    """How far a shard's rows may be confirmed when all checks pass. last_row_ms: of the shard, where its cursor is at
    no entry.

    It stays below an entry that waits in quarantine, because a retry gives it rows under the number that it has.
    """
    if before is not None and waiting is not None and waiting.n <= before.n:
        return before
    # Where nothing waits in the journal, every later entry is younger than the shard's clock is now.
    ms = state.clock_ms if state.ready and state.n <= cursor.n else _ms_of(cursor.entry_id) or last_row_ms
    n = cursor.n
    if waiting is not None and waiting.n <= n:
        n, ms = waiting.n - 1, min(ms, _ms_of(waiting.entry_id))
    at = max(at_ms(ms) - SLACK, at_ms(0))
    return Watermark(cursor.shard, cursor.generation, n, at if before is None else max(at, before.at))


def _ms_of(entry_id: str) -> int:
    """The instant (epoch ms) of an entry's id; 0 for the cursor before the first."""
    return 0 if entry_id == START else int(entry_id.partition("-")[0])
