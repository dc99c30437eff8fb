"""The engine's own calls to the live state: publish, read plans and totals, close, trim. Bidders do not need this
module.

Every call is bounded and raises ServerAway when Redis cannot be reached. For a shard that is not ready it returns
None or a word, never zeros.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engine.domain.ids import SHARDS, brand_of, campaign_id_of, ordinal_of
from engine.domain.periods import MINUTE_MS
from engine.errors import BudgetError, ServerAway
from engine.live.asking import Asking
from engine.live.keys import keys_of_brand, shard_keys
from engine.live.plans import LiveBrand, LiveCauses, PlanLines
from engine.live.published_plans import BrandPlan, CampaignPlan
from engine.live.replies import NOT_READY, head
from engine.live.scripts import LAYOUT, script, serves
from engine.live.transport.pool import Call, Reply

SLICE: Final = 200
"""Campaigns, hashes or ids in one script call: no call may block Redis for more than 5 ms."""
TURN: Final = 25
"""Campaigns in one call of a job that reads all of them, one call after the other, so that spends between them wait
only for one.
"""
RESTING_TURN: Final = 10
"""The same for a paced scan, which pauses between its calls."""
RESTS: Final = 3
"""The length of a paced scan's pause, as a multiple of the call before it: spends keep three quarters of the time of
Redis and of a CPU.
"""
REST_S: Final = 0.006
"""The longest pause: with a Redis far away the round trip is pause enough."""


TOGETHER: Final = 8
"""Brands without their campaigns in one round trip: as long for Redis as one call of a turn. One by one, most of Redis' time is the way."""


@dataclass(frozen=True, slots=True)
class LiveShard:
    """The state of one shard. `why` is empty when it is ready; `clock_ms` is Redis' own time, `now_ms` the last
    instant that the shard used.
    """

    shard: int
    mark: str
    layout: str
    now_ms: int
    n: int
    lost: str
    rebuilding: str
    clock_ms: int
    entries: int
    last_entry_id: str
    away: str = ""
    """Its server, one of several, does not answer: which and why. Nothing else is known then."""
    grace_minutes: int = 0
    """The grace for late spends that was published to it."""

    @property
    def closable_ms(self) -> int:
        """Periods that ended by this instant take no more spends, late ones included."""
        return self.now_ms - self.grace_minutes * MINUTE_MS

    @property
    def unmarked(self) -> bool:
        """Whether it has no mark, and so waits for a rebuild."""
        return not self.mark and not self.away

    @property
    def ready(self) -> bool:
        return bool(self.mark) and serves(self.layout)

    @property
    def why(self) -> str:
        """Why the shard takes no calls, in one word or the lost key's name; empty when it is ready."""
        if self.away:
            return self.away
        if self.rebuilding and not self.mark:
            return "rebuilding"
        if not self.mark:
            return f"lost {self.lost}" if self.lost else "unmarked"
        return "" if serves(self.layout) else f"layout {self.layout}"

    @property
    def instance(self) -> str:
        """The uuid in the mark."""
        return self.mark.rpartition(":")[0]

    @property
    def generation(self) -> int:
        """The rebuild that wrote the mark; 0 without one."""
        return int(self.mark.rpartition(":")[2] or 0)


@dataclass(frozen=True, slots=True)
class Brought:
    """What a shard did with a plan. ahead: {id: version} of those that Redis has in a higher version, or in this version with
    other content. uncounted: campaigns that were left out until their lifetime counter can begin with what the log has up
    to number n. now_ms: the shard's time.
    """

    ahead: dict[int, int]
    uncounted: tuple[int, ...]
    n: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Counters of some hashes of a shard and the journal number n of the same instant. values: hash key -> micros a
    field, in order.
    """

    mark: str
    now_ms: int
    n: int
    values: Mapping[str, tuple[int, ...]]


rest: Final = time.sleep
"""Pauses after a call of a paced scan."""


class LiveRedis(Asking):
    """The live state, for jobs and pages."""

    def call_each(self, calls: Iterable[Call], *, rests: bool = False) -> Iterator[Reply]:
        """Replies to script calls, each sent after the reply to the one before. Raises ServerAway.

        Redis serves one connection until its buffer is empty, so a pipeline would delay spends like one long script.
        rests: pauses after each call for three times as long as it took.
        """
        for call in calls:
            asked_s = time.monotonic()
            reply = self.call_all((call,))[0]
            if rests:
                rest(min(RESTS * (time.monotonic() - asked_s), REST_S))
            yield reply

    def call_each_there(self, calls: Iterable[Call]) -> Iterator[Reply | None]:
        """`call_each` with pauses; None for calls to a server that is away, of several. Raises ServerAway for all."""
        for call in calls:
            try:
                yield from self.call_each((call,), rests=True)
            except ServerAway as gone:
                if not gone.partial:
                    raise
                yield None

    def ping(self) -> None:
        """Raises ServerAway when Redis does not answer."""
        self.now_ms()

    def now_ms(self) -> int:
        """The time by Redis' clock: of the first server that answers. Jobs read time here and nowhere else."""
        firsts = {self.wire.where_of(shard_keys(shard).shard): shard for shard in reversed(range(SHARDS))}
        shards = sorted(firsts.values())
        for shard in shards[:-1]:
            try:
                return self.read_shard(shard).clock_ms
            except ServerAway as gone:
                if not gone.partial:
                    raise
        return self.read_shard(shards[-1]).clock_ms

    def read_shard(self, shard: int, *, tick: bool = False) -> LiveShard:
        """One shard's state. tick: also moves its now forward, so that no later entry can have an earlier instant."""
        return _live_shard(shard, self.call_all([_asks_shard(shard, tick)])[0])

    def read_shards(self, *, tick: bool = False) -> list[LiveShard]:
        """The state of all 64 shards in one round trip. Those of a server that is away, of several, are `away`."""
        replies = self.call_some([_asks_shard(shard, tick) for shard in range(SHARDS)])
        return [
            _live_shard(shard, reply) if reply is not None else self._away_shard(shard)
            for shard, reply in enumerate(replies)
        ]

    def _away_shard(self, shard: int) -> LiveShard:
        gone = self.lacking.get(self.wire.where_of(shard_keys(shard).shard))
        return LiveShard(shard, "", "", 0, 0, "", "", 0, 0, "", str(gone) if gone else "its server does not answer")

    def read_plans(self, ordinals: Mapping[int, int]) -> dict[int, LiveBrand | None]:
        """Reads brands with their campaigns 1..highest ordinal: {brand id: highest ordinal}. None for a brand that is
        unknown or whose shard is not ready.
        """
        return {
            brand_id: None if lines is None else lines.with_figures()
            for brand_id, lines in self._read_lines(_all_of(ordinals))
        }

    def read_brands(self, brand_ids: Iterable[int]) -> dict[int, LiveBrand | None]:
        """Reads brands without their campaigns. None as in `read_plans`."""
        code, wanted = script("read_plan"), list(brand_ids)
        found: dict[int, LiveBrand | None] = {}
        for start in range(0, len(wanted), TOGETHER):
            ids = wanted[start : start + TOGETHER]
            keys = [keys_of_brand(brand_id) for brand_id in ids]
            calls = [Call(code, (of.shard, of.brand(id_)), (LAYOUT,)) for of, id_ in zip(keys, ids, strict=True)]
            try:
                replies = self.call_some(calls)
            except ServerAway as gone:
                if not gone.partial or len(wanted) == 1:
                    raise
                replies = [None] * len(ids)
            for brand_id, reply in zip(ids, replies, strict=True):
                there = reply is not None and head(reply) != NOT_READY and reply[3]
                found[brand_id] = PlanLines(brand_id, reply, {}).brand({}) if reply is not None and there else None
        return found

    def read_campaign(self, campaign_id: int) -> LiveBrand | None:
        """Reads the brand of one campaign, with that campaign alone: a brand may have 65,535 of them."""
        (found,) = self.read_campaigns({brand_of(campaign_id): [ordinal_of(campaign_id)]}).values()
        return found

    def read_campaigns(self, wanted: Mapping[int, Sequence[int]]) -> dict[int, LiveBrand | None]:
        """Reads brands with some of their campaigns: {brand id: ordinals}. None as with `read_plans`."""
        return {
            brand_id: None if lines is None else lines.with_figures() for brand_id, lines in self._read_lines(wanted)
        }

    def read_causes(self, ordinals: Mapping[int, int], *, rests: bool = True) -> dict[int, LiveCauses | None]:
        """The same without figures of campaigns, for a paced scan of all of them: {brand id: its causes}."""
        return {
            brand_id: None if lines is None else lines.causes()
            for brand_id, lines in self._read_lines(_all_of(ordinals), rests)
        }

    def _read_lines(
        self, wanted: Mapping[int, Sequence[int]], rests: bool = False
    ) -> Iterator[tuple[int, PlanLines | None]]:
        """{brand id: ordinals}: each brand with the replies of its slices. None where a slice found no such brand,
        its shard not ready, or its server, one of several, away.
        """
        code, turn = script("read_plan"), RESTING_TURN if rests else TURN
        for brand_id, ordinals in wanted.items():
            keys = keys_of_brand(brand_id)
            lines: PlanLines | None = None
            slices = [
                [campaign_id_of(brand_id, o) for o in ordinals[start : start + turn]]
                for start in range(0, max(len(ordinals), 1), turn)
            ]
            calls = [
                Call(code, (keys.shard, keys.brand(brand_id), *map(keys.campaign, ids)), (LAYOUT,)) for ids in slices
            ]
            try:
                for ids, reply in zip(slices, self.call_each(calls, rests=rests), strict=False):
                    if head(reply) == NOT_READY or not reply[3]:
                        lines = None
                        break
                    found = {} if lines is None else lines.campaigns
                    found.update((id_, text) for id_, text in zip(ids, reply[4:], strict=True) if text)
                    lines = PlanLines(brand_id, reply, found)
            except ServerAway as gone:
                if not gone.partial or len(wanted) == 1:
                    raise
                lines = None
            yield brand_id, lines

    def read_brand(self, brand_id: int, highest_ordinal: int) -> LiveBrand | None:
        """Reads one brand with its campaigns; None when it is unknown or its shard is not ready."""
        return self.read_plans({brand_id: highest_ordinal})[brand_id]

    def publish(self, instance: str, brand: BrandPlan, campaigns: Sequence[CampaignPlan]) -> bool:
        """As `bring`; only whether the shard took all of it."""
        brought = self.bring(instance, brand, campaigns)
        return brought is not None and not brought.uncounted

    def bring(self, instance: str, brand: BrandPlan, campaigns: Sequence[CampaignPlan]) -> Brought | None:
        """Publishes one brand and some of its campaigns (ascending ordinals). None when its shard is not ready."""
        keys, calls = keys_of_brand(brand.brand_id), list[Call]()
        limits = ("" if limit is None else str(limit) for limit in (brand.daily_limit, brand.monthly_limit))
        head_args = (LAYOUT, instance, str(brand.brand_id), str(brand.version), *limits, brand.stops)
        for start in range(0, max(len(campaigns), 1), TURN):
            part = campaigns[start : start + TURN]
            with_limits = any(c.own for c in part)
            args = [*head_args, _bit(brand.create and start == 0)]
            for c in part:
                args += (str(c.campaign_id), str(c.version), _bit(c.enabled), _bit(c.archived))
                args += (c.schedule.compiled, _bit(c.create))
                # Whoever has no limits of its own is published as ever.
                args += (c.own, ",".join(map(str, c.base or ()))) if with_limits else ()
            args += [brand.parts] if brand.parts else []
            plan_keys: tuple[str, ...] = (keys.shard, keys.registry, keys.journal, keys.brand(brand.brand_id))
            plan_keys += tuple(keys.campaign(c.campaign_id) for c in part)
            calls.append(Call(script("publish"), plan_keys + keys.holds(brand.brand_id)[:1] * with_limits, args))
        brought = Brought({}, (), 0, 0)
        for reply in self.call_each(calls):
            if head(reply) != "ok":
                return None
            brought.ahead.update(
                (int(i), int(v)) for i, v in (pair.split(b":") for pair in reply[4].split(b",") if pair)
            )
            left_out = tuple(map(int, reply[5].split(b","))) if len(reply) > 5 else ()
            brought = Brought(brought.ahead, brought.uncounted + left_out, int(reply[2]), int(reply[3]))
        return brought

    def read_totals(self, shard: int, hash_keys: Sequence[str], fields: Sequence[str]) -> Totals | None:
        """Reads counters of up to 200 hashes of a shard at one instant; None when the shard is not ready."""
        return next(self.read_each_totals(shard, [hash_keys], fields))

    def read_each_totals(
        self, shard: int, parts: Sequence[Sequence[str]], fields: Sequence[str], *, rests: bool = False
    ) -> Iterator[Totals | None]:
        """Reads counters of many hashes: each slice at an instant of its own, read when the one before is taken.
        rests: as call_each.
        """
        keys, code = shard_keys(shard), script("read_totals")
        calls = (Call(code, (keys.shard, *part), (LAYOUT, *fields)) for part in parts)
        for part, reply in zip(parts, self.call_each(calls, rests=rests), strict=False):
            yield None if head(reply) == NOT_READY else _totals(part, reply)

    def prune(self, instance: str, shard: int, hash_keys: Sequence[str], fields: Sequence[str]) -> int:
        """Removes counters of closed periods (100 at most) from hashes of a shard; returns how many it removed."""
        keys, removed = shard_keys(shard), 0
        step = max(1, min(TURN, 2 * SLICE // max(1, len(fields))))
        calls = [
            Call(
                script("prune"),
                (keys.shard, *hash_keys[start : start + step], keys.journal),
                (LAYOUT, instance, *fields),
            )
            for start in range(0, len(hash_keys), step)
        ]
        for reply in self.call_each(calls, rests=True):
            if head(reply) != "ok":
                raise BudgetError(
                    f"shard {shard} did not let go of {', '.join(fields)}: {reply[0].decode()} {reply[1].decode()}"
                )
            removed += int(reply[1])
        return removed

    def trim(self, instance: str, shard: int, lowest_kept: str) -> int:
        """Drops journal entries below an id, in short calls between those of others; returns how many. A shard that
        is not ready keeps all.
        """
        keys = shard_keys(shard)
        call = Call(script("trim"), (keys.shard, keys.journal), (LAYOUT, instance, lowest_kept))
        dropped = 0
        # Redis frees about 100 nodes a call, with the engine's settings 10,000 entries.
        while head(reply := self.call_all([call])[0]) == "ok" and int(reply[1]):
            dropped += int(reply[1])
        return dropped

    def unmark(self, instance: str, shard: int, found: str) -> None:
        """Takes a shard out of use until it is rebuilt."""
        head(self.call_all([Call(script("unmark"), (shard_keys(shard).shard,), (instance, found))])[0])


def _asks_shard(shard: int, tick: bool) -> Call:
    keys = shard_keys(shard)
    return Call(script("read_shard"), (keys.shard, keys.journal), ("1" if tick else "0",))


def _live_shard(shard: int, reply: Reply) -> LiveShard:
    mark, layout, now, n, lost, rebuilding, clock, entries, last, *grace = (
        part.decode(errors="replace") for part in reply
    )
    return LiveShard(
        shard, mark, layout, int(now or 0), int(n or 0), lost, rebuilding, int(clock), int(entries), last,
        grace_minutes=int(grace[0]) if grace else 0,
    )  # fmt: skip


def _all_of(highest: Mapping[int, int]) -> dict[int, Sequence[int]]:
    return {brand_id: range(1, ordinal + 1) for brand_id, ordinal in highest.items()}


def _totals(hash_keys: Sequence[str], reply: Reply) -> Totals:
    values = {
        key: tuple(int(v) for v in text.decode().split(":")) for key, text in zip(hash_keys, reply[4:], strict=True)
    }
    return Totals(reply[1].decode(), int(reply[2]), int(reply[3]), values)


def _bit(value: bool) -> str:
    return "1" if value else "0"
