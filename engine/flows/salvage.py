"""What a rebuild does first: carries over what is left of a shard's journal, even where it no longer joins on to PostgreSQL's cursor.

After an older Redis came back, entries may stand there under numbers that PostgreSQL has used already. Those that it does not have are facts
that were acknowledged: they get rows of the new generation. Spends that came again after the fall-back (same event, or same call and place)
are left out: they are in the log already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from sqlalchemy import Engine

from engine.domain.periods import at_ms, date_of, day_of
from engine.errors import BudgetError
from engine.flows.persist import BATCH, Drained, HistoryLost, Persister
from engine.ledger import spend_log
from engine.live.journal import COUNTED, START, Entry, Journal, decode, expand, pack

_PAGE: Final = 1000
PATIENCE_S: Final = 10.0
_POLL_S: Final = 0.02

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CarriedOver:
    """Where a shard's history stands after the carry-over, and under which generation it goes on."""

    generation: int
    n: int
    entry_id: str
    persisted: int
    salvaged: int


def carry_over(db: Engine, journal: Journal, persister: Persister, shard: int, has_journal: bool) -> CarriedOver:
    """Persists the shard's journal to its end and moves the cursor into the next generation. Nothing may write to the shard meanwhile."""
    persisted = salvaged = 0
    entry_id = START
    if has_journal:
        try:
            while True:
                step = _when_free(shard, lambda: _unlocked(persister.step(shard, batch=BATCH)))
                persisted += step.rows
                if not step.behind:
                    break
            with db.connect() as conn:
                entry_id = spend_log.read_cursors(conn)[shard].entry_id
        except HistoryLost:
            salvaged = _salvage(db, journal, persister, shard)
    cursor = _when_free(shard, lambda: _restart(db, shard, entry_id))
    return CarriedOver(cursor.generation + 1, cursor.n, entry_id, persisted, salvaged)


def _when_free(shard: int, attempt: Callable[[], T | None]) -> T:
    """What an attempt answers when no other process holds the shard's cursor: that takes one of its transactions. Raises BudgetError."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        answer = attempt()
        if answer is not None:
            return answer
        if time.monotonic() >= give_up:
            raise BudgetError(f"shard {shard} is being persisted by another process: the rebuild comes after it")
        time.sleep(_POLL_S)


def _unlocked(step: Drained) -> Drained | None:
    return None if step.locked else step


def _restart(db: Engine, shard: int, entry_id: str) -> spend_log.CursorRow | None:
    """Moves the cursor into the next generation; answers it as it was."""
    with db.begin() as conn:
        cursor = spend_log.lock_cursor(conn, shard)
        if cursor is not None:
            spend_log.restart_cursor(conn, shard, cursor.generation + 1, cursor.n, entry_id)
    return cursor


def _salvage(db: Engine, journal: Journal, persister: Persister, shard: int) -> int:
    """Persists the entries that PostgreSQL does not have, as the next generation; answers how many spends. The journal begins anew after."""
    entries: list[Entry] = []
    from_id = "-"
    while True:
        page = journal.read(shard, from_id, _PAGE)
        entries += [decode(*item) for item in page]
        if len(page) < _PAGE:
            break
        from_id = "(" + page[-1][0].decode()
    persister.make_partitions({date_of(day_of(entry.ms)) for entry in entries})
    return _when_free(shard, lambda: _write_missing(db, persister, shard, entries))


def _write_missing(db: Engine, persister: Persister, shard: int, entries: Sequence[Entry]) -> int | None:
    with db.begin() as conn:
        cursor = spend_log.lock_cursor(conn, shard)
        if cursor is None:
            return None
        missing = []
        for entry in entries:
            left = _without(
                entry, spend_log.already_logged(conn, shard, at_ms(entry.ms), list(entry.spends()), entry.request_id)
            )
            if left is not None:
                missing.append(left)
        drained = persister.write(conn, shard, missing, cursor.generation + 1)
        highest = max([cursor.n, *(entry.n for entry in entries)])
        spend_log.restart_cursor(conn, shard, cursor.generation + 1, highest, START)
    return drained.rows


def _without(entry: Entry, positions: set[int]) -> Entry | None:
    """The entry with some positions no longer counted; None when nothing is left to persist. A mark's generation is not carried on."""
    spends: Sequence[int] = [spend.position for spend in entry.spends()]
    if not set(spends) - positions:
        return None
    codes = expand(entry.outcomes) if entry.outcomes else [COUNTED] * len(spends)
    kept = ["p" if i in positions else code for i, code in enumerate(codes)]
    verb = entry.verb or "*"
    return replace(entry, verb=verb, outcomes=pack(kept) if "p" in kept or entry.outcomes else "", generation=None)
