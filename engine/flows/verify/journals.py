"""V9 and V11: each shard's journal is contiguous with PostgreSQL's cursor, under our own mark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Engine

from engine.domain.ids import SHARDS
from engine.flows.verify.findings import Check, confirmed
from engine.flows.verify.logged import entries
from engine.ledger.cursors import CursorRow, read_cursors
from engine.live.admin import LiveRedis, LiveShard
from engine.live.journal import START, Journal, NoJournal
from engine.live.scripts import LAYOUT, serves


class Journals:
    """Checks journals and marks."""

    def __init__(self, db: Engine, live: LiveRedis, journal: Journal) -> None:
        self._db = db
        self._live = live
        self._journal = journal

    def check(self) -> Check:
        """V9."""
        title = "journal: n runs without a gap from the cursor to the end, nothing kept was trimmed"
        check = Check("V9", title, f"{SHARDS} journals")
        cursors, states = self._all()
        for shard in _there(states, check):
            if not list(self._problems(states[shard], cursors[shard])):
                continue
            for problem in confirmed(lambda shard=shard: self.problems(shard)):  # type: ignore[misc]  # mypy cannot infer a default
                check.find(f"shard {shard}{problem}")
        return check

    def marks(self, instance: str) -> Check:
        """V11: every shard has the mark of its last rebuild. A shard without one accepts nothing meanwhile."""
        check = Check("V11", "readiness: every shard carries the mark of its last rebuild", f"{SHARDS} marks")
        cursors, states = self._all()
        for shard in _there(states, check):
            if not list(_unmarked(states[shard], cursors[shard], instance)):
                continue
            for problem in confirmed(lambda shard=shard: self._unmarked(shard, instance)):  # type: ignore[misc]  # as above
                check.find(f"shard {shard} {problem}")
        return check

    def _all(self) -> tuple[dict[int, CursorRow], list[LiveShard]]:
        """Every cursor, and every shard read after it; a shard that does not match is read again alone."""
        with self._db.connect() as conn:
            cursors = read_cursors(conn)
        return cursors, self._live.read_shards()

    def _unmarked(self, shard: int, instance: str) -> Iterator[str]:
        cursors, states = self._all()
        yield from _unmarked(states[shard], cursors[shard], instance)

    def problems(self, shard: int) -> Iterator[str]:
        """What is wrong with one shard's journal, as the end of a sentence that begins with the shard."""
        cursors, states = self._all()
        yield from self._problems(states[shard], cursors[shard])

    def _problems(self, state: LiveShard, cursor: CursorRow) -> Iterator[str]:
        if not state.ready:
            yield f" is not ready ({state.why}): run `budget-engine rebuild`"
        elif cursor.stopped:
            yield f" is stopped: {cursor.stopped}"
        elif cursor.n > state.n:
            yield f": Redis is at n {state.n}, PostgreSQL has {cursor.n}: an older Redis came back"
        else:
            yield from self._gaps(state, cursor)

    def _gaps(self, state: LiveShard, cursor: CursorRow) -> Iterator[str]:
        shard = state.shard
        if cursor.safe_entry_id != START and not self._stands(shard, cursor.safe_entry_id):
            yield f": entry {cursor.safe_entry_id}, where the cursor stood JOURNAL_KEEP_MINUTES ago, was trimmed"
        expected = cursor.n + 1
        if cursor.entry_id != START:
            if not self._stands(shard, cursor.entry_id):
                yield f": the cursor's own entry {cursor.entry_id} (n {cursor.n}) is gone"
                return
            expected = cursor.n
        for item in entries(self._journal, shard, cursor.entry_id):
            if item.n is None:
                # No script wrote an entry without a number. Where the cursor is at such an entry, the next one
                # continues.
                expected = cursor.n + 1 if item.entry_id == cursor.entry_id else expected
                continue
            if item.n != expected:
                yield f": after n {expected - 1} the journal goes on with n {item.n}"
                return
            expected = item.n + 1
        if expected <= state.n:
            yield f": the journal ends at n {expected - 1}, the shard is at {state.n}"

    def _stands(self, shard: int, entry_id: str) -> bool:
        try:
            raw = self._journal.read(shard, entry_id, 1)
        except NoJournal:
            return False
        return bool(raw) and raw[0][0].decode() == entry_id


def _there(states: Sequence[LiveShard], check: Check) -> list[int]:
    """The shards whose server answers. Those of one that is away, of several, are one finding."""
    away: dict[str, list[int]] = {}
    for state in states:
        if state.away:
            away.setdefault(state.away, []).append(state.shard)
    for why, shards in away.items():
        check.find(f"{len(shards)} shards are away ({', '.join(map(str, shards))}): {why}")
    return [state.shard for state in states if not state.away]


def _unmarked(state: LiveShard, cursor: CursorRow, instance: str) -> Iterator[str]:
    if not state.mark:
        yield f"is not ready ({state.why}): it takes no spends until it is rebuilt"
    elif not serves(state.layout):
        yield f"has layout {state.layout}, this program speaks {LAYOUT}"
    elif state.instance != instance:
        yield f"is marked by another instance ({state.instance}), PostgreSQL is {instance}"
    elif state.generation != cursor.generation:
        older = "Redis" if state.generation < cursor.generation else "PostgreSQL"
        yield f"is of generation {state.generation}, PostgreSQL has {cursor.generation}: an older {older} came back"
