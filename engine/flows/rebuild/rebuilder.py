"""Rebuild: writes a shard of Redis anew from PostgreSQL. The first start is the rebuild of an empty log.

The shard is taken out of use under a token, and the rest of its journal is persisted. Plan, counters and remembered
ids are set, each slice checking the token; the last script writes the mark. A second rebuild takes over and voids the
first one's token.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

from sqlalchemy import Engine

from engine.domain.ids import SHARDS
from engine.domain.periods import HOUR_MS, MINUTE_MS, at_ms, date_of, day_number, day_of, ms_of
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
    stored,
)
from engine.flows.rebuild.salvage import carry_over, ms_of_entry
from engine.ledger import holds, periods, refunds, spend_read
from engine.ledger.catalog import Catalog
from engine.ledger.cursors import CursorMoved
from engine.ledger.holds import HoldRow
from engine.ledger.locks import Lock, try_take
from engine.ledger.records import BrandRecord, CampaignRecord
from engine.live.admin import LiveRedis
from engine.live.grammar import whole
from engine.live.journal import COUNTED, EARLIER, START, Journal, digest_of, expand, pack, spend_text
from engine.live.keys import ShardKeys, shard_keys
from engine.live.replies import head
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call

log = logging.getLogger(__name__)

_ENDS: Final = {"settled": "s", "over": "o", "late": "t", "released": "l", "expired": "e"}


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
class Windows:
    """The dedup windows."""

    request_ms: int
    event_ms: int

    @classmethod
    def of(cls, request_id_minutes: int, event_id_hours: int) -> Windows:
        return cls(request_id_minutes * MINUTE_MS, event_id_hours * HOUR_MS)

    @property
    def both_ms(self) -> tuple[int, int]:
        """As scripts take them."""
        return self.request_ms, self.event_ms


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
    lost_after_n: int | None = None
    """The last journal number in PostgreSQL, when the journal after it was lost."""

    def __str__(self) -> str:
        lost = (
            ""
            if self.lost_after_n is None
            else f"; its journal was lost: what came after n {self.lost_after_n} is not known"
        )
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
    requests: Mapping[str, str]
    events: Mapping[str, str]
    held: Sequence[HoldRow]
    counted: Counted


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
        instance: str,
        windows: Windows,
    ) -> None:
        self._db = db
        self._catalog = catalog
        self._live = live
        self._journal = journal
        self._persister = persister
        self._restored = restored
        self._instance = instance
        self._windows = windows

    def rebuild(
        self,
        shards: Iterable[int] = range(SHARDS),
        progress: Callable[[Rebuilt], None] | None = None,
        *,
        only_missing: bool = False,
        how: How = _USUAL,
    ) -> list[Rebuilt]:
        """Rebuilds shards one after the other, without those that another process is rebuilding.

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
        for shard in shards:
            try:
                rebuilt = self._alone(shard, only_missing, how)
            except (Taken, CursorMoved) as other:
                log.info("shard %d is left to another rebuild: %s", shard, other)
                continue
            except ServerAway:
                raise
            except Exception as error:  # noqa: BLE001  # one bad shard must not keep the others out of use
                failed.append(f"shard {shard}: {type(error).__name__}: {' '.join(str(error).split())}")
                continue
            if rebuilt is not None:
                done.append(rebuilt)
                if progress:
                    progress(rebuilt)
        if failed:
            more = f"; and {len(failed) - 2} more shards" if len(failed) > 2 else ""
            raise NotAllRebuilt(f"{len(done)} shards rebuilt, not {'; '.join(failed[:2])}{more}", done)
        return done

    def rebuild_missing(self, progress: Callable[[Rebuilt], None] | None = None) -> list[Rebuilt]:
        """The shards that have no mark. Raises NotAllRebuilt when a mark is another instance's, ServerAway."""
        missing = [state.shard for state in self._live.read_shards() if not state.mark]
        return self.rebuild(missing, progress, only_missing=True)

    def _alone(self, shard: int, only_missing: bool, how: How) -> Rebuilt | None:
        """Rebuilds a shard unless another process does. The token keeps two rebuilds from harming each other, but
        they could void each other's for ever. This lock, which ends with its process, lets one of them finish.
        """
        with self._db.begin() as conn:
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
        kept_now, journal_type = whole(reply[1]) or 0, reply[3].decode()

        def is_ours() -> bool:
            return self._live.read_shard(shard).rebuilding == token

        clock_ms = self._live.read_shard(shard).clock_ms
        carried = carry_over(
            self._db, self._journal, self._persister, shard, journal_type == "stream", clock_ms, is_ours
        )
        if how.accept_clock:
            self._reopen(shard, clock_ms)
        # Read after the begin: what was published before it is in PostgreSQL; a later publish finds the shard closed
        # and is retried.
        brands = self._catalog.brands(include_archived=True, shard=shard)
        has = self._read(shard, brands, self._live.read_shard(shard).clock_ms, how)
        self._set(keys, token, "replace", plan_hashes(keys, brands, has.campaigns, has.counted, has.held))
        for hold_slice in hold_slices(keys, has.held):
            self._set(keys, token, "add", [hold_slice[0]])
            self._set(keys, token, "score", [hold_slice[1]])
        self._set(keys, token, "add", memory_slices(keys.requests[0], has.requests))
        self._set(keys, token, "add", memory_slices(keys.events[0], has.events))
        self._catalog_published(brands, has.campaigns)

        # No entry may have an earlier instant than the last one that stays.
        floor = max(0 if how.accept_clock else has.last_ms, ms_of_entry(carried.entry_id), min(kept_now, has.now))
        args = (
            token,
            self._instance,
            str(carried.generation),
            str(carried.n),
            "" if carried.entry_id == START else carried.entry_id,
            str(floor),
            str(self._windows.request_ms),
            str(self._windows.event_ms),
        )
        reply = self._live.call_all([Call(script("rebuild_finish"), (keys.shard, keys.journal), args)])[0]
        if head(reply) != "ok":
            raise Taken(f"shard {shard} was taken over by another rebuild ({reply[0].decode()})")
        return Rebuilt(
            shard, len(brands), len(has.campaigns), len(has.requests), len(has.events), carried.persisted, carried.salvaged,
            carried.n if carried.lost else None,
        )  # fmt: skip

    def _read(self, shard: int, brands: Sequence[BrandRecord], clock_ms: int, how: How) -> _Has:
        """PostgreSQL's data of a shard. Without brands it reads nothing: a first start has 64 such shards."""
        if not brands:
            return _Has([], 0, clock_ms, {}, {}, [], {})
        campaigns, ids = self._catalog.campaigns(include_archived=True, shard=shard), [brand.id for brand in brands]
        with self._db.connect() as conn:
            last_ms = spend_read.last_recorded_ms(conn, shard)
        now = clock_ms if how.accept_clock else max(clock_ms, last_ms)
        requests, events = self._memories(shard, now)
        held, ends = self._holds(ids, now)
        return _Has(campaigns, last_ms, now, requests, events | ends, held, open_counters(self._db, ids, now, last_ms))

    def _reopen(self, shard: int, clock_ms: int) -> None:
        """Reopens closed periods that are not over by a clock that a person declared right."""
        with self._db.begin() as conn:
            reopened = periods.reopen(conn, shard, date_of(day_of(clock_ms)))
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

    def _memories(self, shard: int, now: int) -> tuple[dict[str, str], dict[str, str]]:
        """The request and event ids of the dedup windows, as the scripts store them."""
        requests: dict[str, str] = {}
        events: dict[str, str] = {}
        longest = max(self._windows.request_ms, self._windows.event_ms)
        with self._db.connect() as conn:
            rows = list(spend_read.recent_spends(conn, shard, at_ms(now) - timedelta(milliseconds=longest)))
            mixed = list(spend_read.recent_mixed(conn, shard, at_ms(now - self._windows.request_ms)))
            undone = refunds.remembered(conn, shard, at_ms(now - self._windows.event_ms))
        bodies: dict[str, list[str]] = {}
        for row in rows:
            if row.event_id is not None and ms_of(row.recorded_at) >= now - self._windows.event_ms:
                if row.kind == "spend":
                    day = day_number(row.day)
                    events[f"{row.brand_id}:{row.event_id}"] = f"{row.campaign_id},{row.amount_micros},{day}"
                else:
                    # It is the request id of a refund: the event, and after a comma the refund id.
                    part = row.request_id.removeprefix(f"refund:{row.event_id}")
                    events[f"-{row.brand_id}:{row.event_id}{part}"] = f"{row.campaign_id},{-row.amount_micros}"
                    total = f"={row.brand_id}:{row.event_id}"
                    events[total] = str(stored(int(events.get(total, "0")) - row.amount_micros))
            of_call = row.kind == "spend" and row.hold_id is None
            if of_call and ms_of(row.recorded_at) >= now - self._windows.request_ms:
                occurred = None if row.occurred_at is None else ms_of(row.occurred_at)
                bodies.setdefault(row.request_id, []).append(
                    spend_text(row.campaign_id, row.amount_micros, row.event_id, occurred)
                )
        for refund in undone:
            name = f"-{refund.brand_id}:{refund.event_id}" + (f",{refund.refund_id}" if refund.refund_id else "")
            events[name] = f"{refund.campaign_id},{refund.micros},{refund.cause or 'w'}"
        for request_id, lines in bodies.items():
            requests[request_id] = f"*{digest_of(''.join(lines))} {COUNTED}*{len(lines)}"
        for item in mixed:
            # A value that no script stores would take the shard out of use at its next repeat.
            with suppress(ValueError):
                codes = [COUNTED if code == EARLIER else code for code in expand(item.outcomes)]
                requests[item.request_id] = f"{item.digest} {pack(codes)}"
        return requests, events

    def _holds(self, brand_ids: Sequence[int], now: int) -> tuple[list[HoldRow], dict[str, str]]:
        """The open holds, and the ends of those in the dedup window, as the scripts store them."""
        with self._db.connect() as conn:
            held = holds.open_holds(conn, brand_ids)
            ended = holds.ended_since(conn, brand_ids, at_ms(now - self._windows.event_ms))
        ends = {
            f"!{row.campaign_id}:{row.hold_id}": f"{_ENDS[row.state]},{row.held_micros},{row.settled_micros}"
            for row in ended
        }
        return held, ends

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


def lost_in(done: Sequence[Rebuilt], shown: int = 5) -> str:
    """Where a rebuild could not know the last spends, in words; empty when nothing was missing."""
    lost = [shard for shard in done if shard.lost_after_n is not None]
    said = ", ".join(f"shard {shard.shard} after n {shard.lost_after_n}" for shard in lost[:shown])
    more = f" and {len(lost) - shown} more" if len(lost) > shown else ""
    return f"; journals lost, what was not persisted is not known: {said}{more}" if lost else ""
