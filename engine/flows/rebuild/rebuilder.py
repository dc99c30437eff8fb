"""Rebuild: writes a shard of Redis anew from PostgreSQL. The first start is the rebuild of an empty log.

The shard is taken out of use under a token, and the rest of its journal is persisted. Plan, counters and remembered
ids are set, each slice checking the token; the last script writes the mark. A second rebuild takes over and voids the
first one's token.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import Engine

from engine.domain.ids import SHARDS
from engine.domain.periods import MINUTE_MS, at_ms, date_of, day_of
from engine.domain.zones import UTC_ZONE
from engine.errors import BudgetError, ServerAway
from engine.flows.catalog.restored import Restored
from engine.flows.persist.persister import Persister
from engine.flows.rebuild.contents import (
    Counted,
    Hash,
    hold_slices,
    memory_slices,
    open_counters,
    plan_hashes,
    set_calls,
    with_lifetimes,
)
from engine.flows.rebuild.fork import Unknown
from engine.flows.rebuild.late import NO_GRACE, Late, read_late
from engine.flows.rebuild.memories import Active, Memories, Windows, active_hashes, read_memories
from engine.flows.rebuild.minute import with_minute
from engine.flows.rebuild.rollover import NO_CARRIES, Carries, read_carries
from engine.flows.rebuild.salvage import CarriedOver, carry_over, ms_of_entry
from engine.flows.rebuild.side_by_side import side_by_side
from engine.ledger import holds, periods, spend_read
from engine.ledger.carries import add as add_carries
from engine.ledger.catalog import Catalog
from engine.ledger.cursors import CursorMoved
from engine.ledger.database import writing
from engine.ledger.holds import HoldRow
from engine.ledger.locks import Lock, try_take
from engine.ledger.records import BrandRecord, CampaignRecord
from engine.live.admin import LiveRedis
from engine.live.grammar import whole
from engine.live.inspect import Inspector
from engine.live.journal import START, Journal
from engine.live.keys import ShardKeys, shard_keys
from engine.live.replies import head
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call

log = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""Shards that are rebuilt side by side: while one waits for PostgreSQL or Redis, another is at work."""


@dataclass(frozen=True, slots=True)
class How:
    """What a person allowed a rebuild in addition.

    take_over: also shards of another instance, whose data is lost. accept_clock: Redis' clock is right, though later
    rows were recorded while it was wrong; periods that were closed before their end are opened again.
    """

    take_over: bool = False
    accept_clock: bool = False


_USUAL: Final = How()


class Taken(BudgetError):
    """Another rebuild took the shard over and continues."""


class NotAllRebuilt(BudgetError):
    """Some shards could not be rebuilt; `done` are those that were."""

    def __init__(self, message: str, done: list[Rebuilt]) -> None:
        super().__init__(message)
        self.done = done


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What the rebuild of one shard restored."""

    shard: int
    brands: int
    campaigns: int
    requests: int
    events: int
    persisted: int
    salvaged: int
    unknown: tuple[Unknown, ...] = ()
    """Numbers of journal entries that were lost with a server or a journal, before PostgreSQL had them."""

    def __str__(self) -> str:
        numbers = ", ".join(map(str, self.unknown))
        lost = f"; its journal was lost: nobody knows {numbers}" if numbers else ""
        return (
            f"shard {self.shard}: {self.brands} brands, {self.campaigns} campaigns, {self.requests} request ids, {self.events} event ids; "
            f"{self.persisted} spends persisted before, {self.salvaged} salvaged{lost}"
        )


class _Has(NamedTuple):
    """PostgreSQL's data of a shard at an instant `now` (epoch ms): last_ms of the latest row, ids to remember, open
    holds, counters.
    """

    campaigns: Sequence[CampaignRecord]
    last_ms: int
    now: int
    memories: Memories
    held: Sequence[HoldRow]
    counted: Counted
    late: Late
    carries: Carries


class Rebuilder:
    """Rebuilds shards."""

    def __init__(
        self,
        db: Engine,
        catalog: Catalog,
        live: LiveRedis,
        journal: Journal,
        persister: Persister,
        restored: Restored,
        inspector: Inspector,
        instance: str,
        windows: Windows,
        grace_minutes: int = 0,
    ) -> None:
        """grace_minutes: for late spends, where a shard lost its own."""
        self._db = db
        self._catalog = catalog
        self._live = live
        self._journal = journal
        self._persister = persister
        self._restored = restored
        self._inspector = inspector
        self._instance = instance
        self._windows = windows
        self._grace_minutes = grace_minutes

    def rebuild(
        self,
        shards: Iterable[int] = range(SHARDS),
        progress: Callable[[Rebuilt], None] | None = None,
        *,
        only_missing: bool = False,
        how: How = _USUAL,
    ) -> list[Rebuilt]:
        """Rebuilds shards, a few side by side; one that another process is rebuilding is left to it.

        only_missing: skips shards that have a mark again by then. how: what a person allowed in addition. Raises
        NotAllRebuilt after the others, ServerAway.
        """
        done: list[Rebuilt] = []
        failed: list[str] = []
        shards = list(shards)
        if not only_missing:
            # The registry is written from the catalog, so ids that only Redis has would be forgotten and given out
            # again.
            self._restored.take_back(shards)
        for shard, attempt in side_by_side(shards, lambda shard: self._alone(shard, only_missing, how), AT_ONCE):
            try:
                rebuilt = attempt()
            except (Taken, CursorMoved) as other:
                log.info("shard %d is left to another rebuild: %s", shard, other)
                continue
            except Exception as error:  # one bad shard must not keep the others out of use
                if isinstance(error, ServerAway) and not error.partial:
                    raise
                failed.append(f"shard {shard}: {type(error).__name__}: {' '.join(str(error).split())}")
                continue
            if rebuilt is not None:
                done.append(rebuilt)
                if progress:
                    progress(rebuilt)
        done.sort(key=_shard_of)
        if failed:
            more = f"; and {len(failed) - 2} more shards" if len(failed) > 2 else ""
            raise NotAllRebuilt(f"{len(done)} shards rebuilt, not {'; '.join(failed[:2])}{more}", done)
        return done

    def rebuild_missing(self, progress: Callable[[Rebuilt], None] | None = None) -> list[Rebuilt]:
        """The shards that have no mark. Raises NotAllRebuilt when a mark is another instance's, ServerAway."""
        missing = [state.shard for state in self._live.read_shards() if state.unmarked]
        return self.rebuild(missing, progress, only_missing=True)

    def _alone(self, shard: int, only_missing: bool, how: How) -> Rebuilt | None:
        """Rebuilds a shard unless another process does. The token keeps two rebuilds from harming each other, but
        they could void each other's for ever. This lock, which ends with its process, lets one of them finish.
        """
        with writing(self._db) as conn:
            if not try_take(conn, Lock.REBUILD, shard) or (only_missing and self._live.read_shard(shard).mark):
                return None
            rebuilt = self._rebuild(shard, how)
        self._prove(shard)
        return rebuilt

    def _rebuild(self, shard: int, how: How = _USUAL) -> Rebuilt:
        keys, token = shard_keys(shard), uuid.uuid4().hex
        reply = self._live.call_all(
            [
                Call(
                    script("rebuild_begin"),
                    (keys.shard, keys.journal),
                    (self._instance, token, "1" if how.take_over else "0"),
                )
            ]
        )[0]
        if reply[0] == b"foreign":
            raise BudgetError(
                f"it belongs to another instance ({reply[1].decode(errors='replace')}): check that REDIS_URL and DATABASE_URL belong together;"
                f" to give up what that one has in it: `budget-engine rebuild --shard {shard} --take-over`"
            )
        head(reply)
        kept_now, shard_n, journal_type = whole(reply[1]) or 0, whole(reply[2]) or 0, reply[3].decode()

        def is_ours() -> bool:
            return self._live.read_shard(shard).rebuilding == token

        clock_ms = self._live.read_shard(shard).clock_ms
        has_journal = journal_type == "stream"
        carried = carry_over(self._db, self._journal, self._persister, shard, has_journal, shard_n, clock_ms, is_ours)
        if how.accept_clock:
            self._reopen(shard, clock_ms)
        # Read after the begin: what was published before it is in PostgreSQL; a later publish finds the shard closed
        # and is retried.
        brands = self._catalog.brands(include_archived=True, shards=(shard,))
        clock_ms = self._live.read_shard(shard).clock_ms
        active = None
        if carried.fork_ms is not None and not how.accept_clock:
            active = active_hashes(self._inspector, keys, self._windows, max(clock_ms, kept_now))
        last_entry_ms = ms_of_entry(carried.entry_id)
        has = self._read(shard, brands, clock_ms, how, carried.fork_ms or 0 if active else 0, last_entry_ms)
        self._write(keys, token, brands, has, active)
        # No entry may be stamped before the last one that stays.
        floor = max(0 if how.accept_clock else has.last_ms, last_entry_ms, min(kept_now, has.now))
        # Nor may its minute be one that has not come.
        floor = max(floor, has.now - has.now % MINUTE_MS)
        with_limits = any(c.has_own for c in has.campaigns) or any(
            b.pace or b.zone or b.steps or b.paused or b.rollover_cap_micros is not None for b in brands
        )
        if rows := has.carries.rows(carried.n + 1, has.now):
            with writing(self._db) as conn:
                add_carries(conn, rows)
        self._finish(keys, token, carried, floor, active is not None, with_limits, has.late)
        return Rebuilt(
            shard, len(brands), len(has.campaigns), len(has.memories.requests), len(has.memories.events), carried.persisted, carried.salvaged,
            carried.unknown,
        )  # fmt: skip

    def _write(
        self, keys: ShardKeys, token: str, brands: Sequence[BrandRecord], has: _Has, active: Active | None
    ) -> None:
        """Writes what the shard must hold. active: into which of the memories that it has, None where these are written anew."""
        kept = active is not None
        requests_at, events_at = active or (0, 0)
        self._set(
            keys,
            token,
            "replace",
            plan_hashes(keys, brands, has.campaigns, has.counted, has.held, kept, has.late, has.carries),
        )
        for hold_slice in hold_slices(keys, has.held):
            self._set(keys, token, "add", [hold_slice[0]])
            self._set(keys, token, "score", [hold_slice[1]])
        self._set(keys, token, "add", memory_slices(keys.requests[requests_at], has.memories.requests))
        self._set(keys, token, "add", memory_slices(keys.events[events_at], has.memories.events))
        self._catalog_published(brands, has.campaigns)

    def _finish(
        self,
        keys: ShardKeys,
        token: str,
        carried: CarriedOver,
        floor_ms: int,
        keeps_windows: bool,
        with_limits: bool,
        late: Late,
    ) -> None:
        """Writes the mark. Raises Taken."""
        args = (
            token,
            self._instance,
            str(carried.generation),
            str(carried.n),
            "" if carried.entry_id == START else carried.entry_id,
            str(floor_ms),
            "" if keeps_windows else str(self._windows.request_ms),
            "" if keeps_windows else str(self._windows.event_ms),
            *(("own" if with_limits else "", *late.told) if late.told else ("own",) if with_limits else ()),
        )
        reply = self._live.call_all([Call(script("rebuild_finish"), (keys.shard, keys.journal), args)])[0]
        if head(reply) != "ok":
            raise Taken(f"{keys.shard} was taken over by another rebuild ({reply[0].decode()})")

    def _read(
        self, shard: int, brands: Sequence[BrandRecord], clock_ms: int, how: How, since_ms: int, last_entry_ms: int
    ) -> _Has:
        """What PostgreSQL has of a shard's brands. since_ms: of ids, only those that were counted then or later. last_entry_ms: of the journal, whose
        day may be a later one than that of a clock that slipped back. Without a brand there is nothing to be read: a first start has sixty-four such shards.
        """
        if not brands:
            return _Has([], 0, clock_ms, Memories(), [], {}, NO_GRACE, NO_CARRIES)
        campaigns, ids = self._catalog.campaigns(include_archived=True, shards=(shard,)), [brand.id for brand in brands]
        with self._db.connect() as conn:
            last_ms = spend_read.last_recorded_ms(conn, shard)
        last_row_ms = clock_ms if how.accept_clock else max(clock_ms, last_ms)
        now = max(last_row_ms, last_entry_ms)
        with self._db.connect() as conn:
            held = holds.open_holds(conn, ids)
        grace = self._live.read_shard(shard).grace_minutes or self._grace_minutes
        late = read_late(self._db, shard, grace, now, brands, campaigns)
        counted = with_lifetimes(self._db, open_counters(self._db, brands, now, last_ms, late.takes), campaigns)
        counted = with_minute(self._db, shard, counted, brands, campaigns, now)
        memories = read_memories(self._db, shard, ids, self._windows, last_row_ms, since_ms)
        return _Has(campaigns, last_ms, now, memories, held, counted, late, read_carries(self._db, brands, now))

    def _reopen(self, shard: int, clock_ms: int) -> None:
        """Reopens closed periods that are not over by a clock that a person declared right."""
        zoned = [
            brand for brand in self._catalog.brands(include_archived=True, shards=(shard,)) if brand.zones != UTC_ZONE
        ]
        own = {brand.id: brand.zones.clock.date_of(clock_ms) for brand in zoned}
        with writing(self._db) as conn:
            reopened = periods.reopen(conn, shard, date_of(day_of(clock_ms)), own)
        if reopened:
            log.warning("shard %d: %d periods that were closed before their end are open again", shard, reopened)

    def _prove(self, shard: int) -> None:
        """Calls the shard as a bidder would. Raises Taken where another rebuild has begun, BudgetError with the
        obstacle and what to do.
        """
        reply = self._live.call_all([Call(script("probe"), shard_keys(shard).fixed, (LAYOUT,))])[0]
        if reply[0] == b"ok":
            return
        if reply[:2] == [b"not_ready", b"rebuilding"]:
            raise Taken(f"shard {shard} was rebuilt, and another rebuild of it has begun")
        why = b" ".join(reply).decode(errors="replace")
        if reply[:2] == [b"not_ready", b"clock"]:
            state = self._live.read_shard(shard)
            raise BudgetError(
                f"rebuilt, but it takes no spends before {at_ms(state.now_ms):%Y-%m-%d %H:%M:%S} UTC, when its last row was recorded: Redis' clock says"
                f" {at_ms(state.clock_ms):%Y-%m-%d %H:%M:%S}. Set Redis' clock right, or if it is right now:"
                f" `budget-engine rebuild --shard {shard} --accept-clock`"
            )
        raise BudgetError(
            f"rebuilt, and out of use again ({why}): something else writes to its keys; it is tried again"
        )

    def _set(self, keys: ShardKeys, token: str, mode: str, hashes: Iterable[Hash]) -> None:
        """Writes hashes slice by slice, each after the reply to the one before: other shards of this Redis are in
        use.
        """
        for reply in self._live.call_each(set_calls(keys, token, mode, hashes)):
            if head(reply) != "ok":
                raise Taken(f"{keys.shard} was taken over by another rebuild")

    def _catalog_published(self, brands: Sequence[BrandRecord], campaigns: Sequence[CampaignRecord]) -> None:
        self._catalog.mark_published(
            {b.id: b.version for b in brands if b.version != b.published_version},
            {c.id: c.version for c in campaigns if c.version != c.published_version},
        )


def lost_in(done: Sequence[Rebuilt]) -> str:
    """Which numbers of which shards' journals nobody knows, in words; empty where nothing was missing."""
    alike: dict[str, list[str]] = {}
    for of in done:
        if of.unknown:
            alike.setdefault(", ".join(map(str, of.unknown)), []).append(str(of.shard))
    lost = [f"shard{'s' if shards[1:] else ''} {', '.join(shards)} {numbers}" for numbers, shards in alike.items()]
    return f"; journals lost, nobody knows: {'; '.join(lost)}" if lost else ""


def _shard_of(done: Rebuilt) -> int:
    return done.shard
