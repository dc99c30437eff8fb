"""The persist job: short transactions one after the other, for about a minute, until the next job is in the queue to
take over.

It waits for a server that is away: the spends are safe in the journal. Any other error of one shard or duty is logged
and retried later; it never ends the pass for the others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from engine.domain.ids import SHARDS
from engine.errors import ServerAway
from engine.flows.catalog.publish import NotAllPublished
from engine.flows.persist.persister import SPENDS_AT_ONCE, DrainStats, Persister, told
from engine.ledger.locks import LockHeld
from engine.live.admin import LiveRedis, LiveShard

log = logging.getLogger(__name__)

REST_S: Final = 0.2
LONGEST_REST_S: Final = 0.5
BACKLOG: Final = 10_000
"""From this many journal entries in a pass on, the next pass follows at once. After fewer it pauses for 0.2 s or, up
to 0.5 s, as long as the pass took. So many single spends share a commit, and bidders keep half of a CPU.
"""
AWAY_S: Final = 1.0
REBUILD_S: Final = 1.0
LOOK_S: Final = 10.0
REMIND_S: Final = 30.0
"""Seconds after which a lasting error is logged again, instead of on every try."""
LONGEST_WAIT_S: Final = 30.0
_LOCKED: Final = "status of locked brands"


@dataclass(slots=True)
class _Trouble:
    """An error of a shard or duty: when it is retried, and when it was last logged."""

    why: str
    wait_s: float
    again_at: float
    told_at: float


class RetryState:
    """The present errors, by shard or duty. Each is retried after 1 s, then after twice as long each time, up to 30
    s.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._now: dict[Hashable, _Trouble] = {}
        self.seen: dict[Hashable, str] = {}

    def note(self, what: Hashable, why: str) -> None:
        """Adds an error."""
        now, before = self._clock(), self._now.get(what)
        wait_s = 1.0 if before is None else min(before.wait_s * 2, LONGEST_WAIT_S)
        told_at = before.told_at if before is not None and before.why == why else None
        if told_at is None or now - told_at >= REMIND_S:
            log.error("persist: %s: %s; it is tried again in %.0f s", what, why, wait_s)
            told_at = now
        self._now[what] = _Trouble(why, wait_s, now + wait_s, told_at)
        self.seen[what] = why

    def over(self, what: Hashable) -> None:
        """Clears an error."""
        if self._now.pop(what, None) is not None:
            log.warning("persist: %s: well again", what)

    def resting(self) -> set[Hashable]:
        """What is not to be retried yet."""
        now = self._clock()
        return {what for what, trouble in self._now.items() if trouble.again_at > now}


class PersistLoop:
    """Persists, has refunds decided, updates the status of brands whose budget changed, passes shards that are not
    ready to the rebuild, publishes and trims.
    """

    def __init__(
        self,
        persister: Persister,
        live: LiveRedis,
        *,
        on_changes: Callable[[set[int]], None],
        on_not_ready: Callable[[list[LiveShard]], bool],
        on_drained: Callable[[], object],
        each_second: Callable[[], set[int]],
        each_minute: Callable[[], None],
        each_look: Callable[[], object] = lambda: None,
    ) -> None:
        self._persister = persister
        self._live = live
        # on_not_ready begins a rebuild, or checks the one that it began, and returns whether one is running.
        self._on_changes = on_changes
        self._on_not_ready = on_not_ready
        self._on_drained = on_drained
        self._each_second = each_second
        self._each_minute = each_minute
        # What stands in shards that nobody calls is looked at: an odd value there shows in no answer.
        self._each_look = each_look
        self._next_second = self._next_minute = self._next_rebuild = self._next_look = 0.0
        self._rebuilding = True
        self._owed: set[int] = set()
        self._locked: frozenset[int] = frozenset()
        self._told_away = ("", 0.0)
        self.troubles = RetryState()

    @property
    def away(self) -> bool:
        """Whether the last pass found a server away."""
        return bool(self._told_away[0])

    def run(self, should_stop: Callable[[], bool], total: DrainStats) -> None:
        """Repeats passes until `should_stop`, which is also asked before each transaction; adds to `total`."""
        while not should_stop():
            entries, rows, began_s = total.entries, total.rows, time.monotonic()
            try:
                self._pass(total, should_stop)
            except ServerAway as away:
                self._wait_for(away)
            else:
                if self.away:
                    log.warning("persist goes on: Redis and PostgreSQL answer again")
                    self._told_away = ("", 0.0)
                if total.entries - entries < BACKLOG and total.rows - rows < SPENDS_AT_ONCE:
                    time.sleep(min(max(time.monotonic() - began_s, REST_S), LONGEST_REST_S))

    def _wait_for(self, away: ServerAway) -> None:
        part, told_at = self._told_away
        if part != away.part or time.monotonic() - told_at >= REMIND_S:
            log.warning("persist waits: %s", away)
            self._told_away = (away.part, time.monotonic())
        time.sleep(AWAY_S)

    def _pass(self, total: DrainStats, should_stop: Callable[[], bool]) -> None:
        self._look_after_shards()
        self._drain(total, should_stop)
        self._guarded("refunds", self._on_drained)
        now = time.monotonic()
        if now >= self._next_second:
            self._guarded("publish", self._publish)
            self._next_second = now + 1
        if self._owed:
            self._guarded("status", self._refresh)
        if now >= self._next_look:
            self._guarded("look", lambda: self._each_look() and None)
            self._next_look = now + LOOK_S
        if now >= self._next_minute:
            self._guarded("trim", self._each_minute)
            self._next_minute = now + 60

    def _look_after_shards(self) -> None:
        states = self._live.read_shards()
        strange = {s.why for s in states if s.mark and not s.ready}
        strange |= {
            f"Redis is marked by another instance ({s.instance})"
            for s in states
            if s.ready and not self._persister.owns(s)
        }
        if strange:
            self.troubles.note("shards", f"{'; '.join(sorted(strange))}: nothing is written to them")
        else:
            self.troubles.over("shards")
        gone = dict.fromkeys(state.away for state in states if state.away)
        if gone:
            self.troubles.note("servers", f"{'; '.join(gone)}: the other shards go on")
        else:
            self.troubles.over("servers")
        broken = [state for state in states if state.unmarked]
        now = time.monotonic()
        if (broken or self._rebuilding) and now >= self._next_rebuild:
            # What remains after it belongs to another process, or was lost again since: it can wait.
            self._next_rebuild = now + REBUILD_S
            self._guarded("rebuild", lambda: self._rebuild(broken))

    def _rebuild(self, broken: list[LiveShard]) -> bool:
        # Kept until a complete result: a failed rebuild is checked once more.
        self._rebuilding = True
        self._rebuilding = self._on_not_ready(broken)
        return self._rebuilding

    def _drain(self, total: DrainStats, should_stop: Callable[[], bool]) -> None:
        resting = {what for what in self.troubles.resting() if isinstance(what, int)}
        drained = self._persister.drain(should_stop=should_stop, skip=resting, on_stop=self._begin_rebuild)
        total.add(drained)
        self._owed |= drained.changed_brands
        for shard in range(SHARDS):
            if shard in drained.problems:
                self.troubles.note(shard, drained.problems[shard])
            elif shard not in resting:
                self.troubles.over(shard)

    def _begin_rebuild(self, stopped: LiveShard) -> None:
        """With the first shard that stops: its process starts while the others are looked at."""
        self._guarded("rebuild", lambda: self._rebuild([stopped]))

    def _publish(self) -> None:
        try:
            self._owed |= self._each_second()
        except NotAllPublished as some:
            self._owed |= some.done
            raise

    def _refresh(self) -> None:
        resting = _LOCKED in self.troubles.resting()
        if not resting:
            self._locked = frozenset()
        brands = self._owed - self._locked
        try:
            self._on_changes(brands)
        except LockHeld as some:
            # The others have their statuses, and do not rest with these.
            self._locked |= some.numbers
            self._owed -= brands - self._locked
            self.troubles.note(_LOCKED, str(some))
        else:
            self._owed -= brands
            if not resting:
                self.troubles.over(_LOCKED)

    def _guarded(self, duty: str, work: Callable[[], object]) -> None:
        """Does a duty unless it failed a moment ago. True means that it is still running. Raises ServerAway only."""
        if duty in self.troubles.resting():
            return
        try:
            under_way = work()
        except Exception as error:  # a duty that fails must not stop persist
            if isinstance(error, ServerAway) and not error.partial:
                raise
            self.troubles.note(duty, f"{type(error).__name__}: {' '.join(str(error).split())}")
        else:
            if not under_way:
                self.troubles.over(duty)

    def alarm(self) -> str:
        """The errors since the start, in one line; empty when there were none."""
        shards = {what: why for what, why in self.troubles.seen.items() if isinstance(what, int)}
        duties = [f"{what}: {why}" for what, why in self.troubles.seen.items() if not isinstance(what, int)]
        return "; ".join([*duties, *([told(shards)] if shards else [])])
