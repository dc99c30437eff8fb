"""Where a journal parts from what PostgreSQL has: looked for from its end backwards, so that what did not change is not read.

PostgreSQL persists entries in their order. So an entry that it has, it has with all entries before it; what it lacks stands at the journal's end.
The search ends with the first slice that PostgreSQL has whole. It keeps one slice in memory, and ids of what is known after the fork.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection

from engine.domain.ids import brand_of
from engine.domain.periods import HOUR_MS, at_ms, date_of, day_of
from engine.flows.persist.posting import request_of, spend_day
from engine.flows.persist.reading import Broken, Read, read
from engine.ledger import known_rows
from engine.ledger.cursors import CursorRow
from engine.ledger.known_rows import Place
from engine.live.journal import Entry, Journal

SLICE: Final = 200
"""Entries that are looked at together."""
_WINDOW_MS: Final = 2 * HOUR_MS
"""How long before a missing entry rows are looked for, where no entry before it is in PostgreSQL."""


class Unknown(NamedTuple):
    """Numbers of journal entries that neither store has. last: None where nobody can say how many there were."""

    first: int
    last: int | None

    def __str__(self) -> str:
        if self.last is None:
            return f"n {self.first} and after"
        return f"n {self.first}" if self.first == self.last else f"n {self.first} to {self.last}"


@dataclass(slots=True)
class Fork:
    """What a journal has that PostgreSQL may lack.

    first, last: ids of the entries that must be read again, "" where there are none; known: those between them that PostgreSQL has.
    at_ms: the instant of the last entry that PostgreSQL has, None where it has none; gaps: numbers that are missing in the journal after that.
    """

    first: str = ""
    last: str = ""
    known: set[str] = field(default_factory=set)
    at_ms: int | None = None
    highest: int = 0
    lowest: int = 0
    gaps: list[Unknown] = field(default_factory=list)
    _id_at_cursor: str = ""
    _missing_before: bool = False

    @property
    def since(self) -> datetime:
        """No row that could be the same spend as a missing one was recorded before: Redis itself knows what it counted before the fork."""
        if self.at_ms is not None and not self._missing_before:
            return at_ms(self.at_ms)
        return at_ms(max(int(self.first.partition("-")[0] or 0) - _WINDOW_MS, 0))

    @property
    def is_plain(self) -> bool:
        """Whether the journal goes on without a gap from an entry that PostgreSQL has, with nothing missing before that."""
        return self.at_ms is not None and not self.gaps and not self._missing_before

    def unknown(self, cursor: CursorRow) -> tuple[Unknown, ...]:
        """The numbers that nobody knows, by where PostgreSQL's cursor stands."""
        if cursor.n == 0:
            return ()
        if self.highest < cursor.n or self._id_at_cursor not in ("", cursor.entry_id):
            # Redis fell back: how far it had come before, only the lost server knew.
            return (Unknown(cursor.n + 1, None),)
        found = [Unknown(max(gap.first, cursor.n + 1), gap.last) for gap in self.gaps if (gap.last or 0) > cursor.n]
        if self.lowest > cursor.n + 1:
            found.append(Unknown(cursor.n + 1, self.lowest - 1))
        return tuple(sorted(found))

    def add(self, item: Read, known: bool | None, cursor_n: int) -> None:
        """One entry, the next before those that were added. known: None where nothing was counted in it."""
        if item.n is not None:
            if item.n == cursor_n:
                self._id_at_cursor = item.entry_id
            if self.lowest > item.n + 1:
                self.gaps.append(Unknown(item.n + 1, self.lowest - 1))
            self.lowest = item.n
            self.highest = max(self.highest, item.n)
        if known and self.at_ms is None:
            self.at_ms = item.entry.ms
        if known or (known is None and self.at_ms is not None):
            # Where nothing was counted: PostgreSQL has an entry that came after it.
            self.known.add(item.entry_id)
        else:
            self.first, self.last = item.entry_id, self.last or item.entry_id
            self._missing_before |= self.at_ms is not None


def find_fork(conn: Connection, journal: Journal, cursor: CursorRow, quarantined: set[str]) -> Fork:
    """Looks for it, with the cursor locked. quarantined: ids of the shard's entries that were set aside."""
    fork, before = Fork(), "+"
    while True:
        page = journal.read_back(cursor.shard, before, SLICE)
        reads = [read(*item) for item in page]
        verdicts = verdicts_of(conn, cursor.shard, reads, quarantined)
        for item, known in zip(reads, verdicts, strict=True):
            fork.add(item, known, cursor.n)
        if len(page) < SLICE or (fork.at_ms is not None and all(known is not False for known in verdicts)):
            return fork
        before = "(" + page[-1][0].decode()


def verdicts_of(conn: Connection, shard: int, reads: Sequence[Read], quarantined: set[str]) -> list[bool | None]:
    """Whether PostgreSQL has each entry, as rows of its own or set aside. None of one in which nothing was counted."""
    wanted = [_Wanted(item.entry) for item in reads if isinstance(item.entry, Entry)]
    brands = {brand for each in wanted for _, brand in each.counted}
    if not brands:
        return [True if item.entry_id in quarantined else _of_none(item) for item in reads]
    days = {day for each in wanted for day in each.days}
    instants = [each.recorded_at for each in wanted if each.counted]
    rows = known_rows.counted_rows(conn, shard, brands, days, min(instants), max(instants))
    gone = known_rows.dropped(conn, brands, {each.recorded_at.date() for each in wanted})
    of = {each.entry_id: each for each in wanted}
    return [
        True if item.entry_id in quarantined
        else of[item.entry_id].verdict(rows, gone) if item.entry_id in of
        else _of_none(item)
        for item in reads
    ]  # fmt: skip


def _of_none(item: Read) -> bool | None:
    return False if isinstance(item.entry, Broken) else None


class _Wanted:
    """The rows that an entry becomes: how many of each brand, the days that they are booked to."""

    def __init__(self, entry: Entry) -> None:
        self.entry_id = entry.entry_id
        self.recorded_at = at_ms(entry.ms)
        self.counted: Counter[tuple[Place, int]] = Counter()
        self.days: set[date] = set()
        call = entry.simple
        if call is not None:
            place = Place(entry.n, entry.request_id, self.recorded_at)
            for line in call.sums:
                self.counted[place, brand_of(line.campaign_id)] += line.spends
            self.days.add(date_of(day_of(entry.ms)))
            return
        for spend in entry.spends():
            self.counted[Place(entry.n, request_of(entry, spend), self.recorded_at), spend.brand_id] += 1
            self.days.add(spend_day(entry, spend))

    def verdict(self, rows: dict[Place, int], gone: set[tuple[int, date]]) -> bool | None:
        if not self.counted:
            return None
        left: Counter[Place] = Counter()
        for (place, brand), count in self.counted.items():
            if (brand, self.recorded_at.date()) not in gone:
                left[place] += count
        return all(rows.get(place, 0) >= count for place, count in left.items())


def missing_slices(journal: Journal, shard: int, fork: Fork, most_spends: int) -> Iterator[list[Read]]:
    """The entries that must be read again, in their order, a slice at a time."""
    at = fork.first
    while at:
        part = journal.read_part(shard, at, SLICE, most_spends)
        reads = [read(*item) for item in part.entries]
        yield [item for item in reads if item.entry_id not in fork.known]
        at = f"({reads[-1].entry_id}" if part.more and reads else ""
