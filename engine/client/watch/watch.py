"""Eligibility in the bidder's memory: `BudgetClient.watch()`.

One thread listens to the shards' channels, loads snapshots and sends a PING each second. A second one keeps the time:
windows, midnight, and Redis' silence. They change one set, and `may_bid` is that set's own lookup.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Container, Iterable
from typing import Final

from redis import exceptions

from engine.client.watch.clock import NodeClocks
from engine.client.watch.eligibility import EligibilityView
from engine.client.watch.messages import BudgetMoved, PlanPublished, read_message
from engine.client.watch.rates import RatedWatch, RateSet
from engine.client.watch.reader import ANSWER_S, ServerGone, ShardReader
from engine.client.watch.snapshot import ShardNotReady, read_snapshot, unready
from engine.client.watch.steps import StepTimes
from engine.client.watch.subscription import Subscription
from engine.client.watch.wanted import WatchFilter
from engine.domain.causes import reasons_of
from engine.domain.ids import brand_of, check_brand_id, check_campaign_id, ids_of, shard_of
from engine.domain.seldom import Seldom
from engine.errors import BudgetError, NotFound, NotReady, WrongVersion
from engine.live.replies import CampaignStatus
from engine.live.transport.pool import Call, NoAnswer, Reply
from engine.live.transport.protocol import Transport

log = logging.getLogger(__name__)

STALE: Final = "stale"
"""The reason that `Watch.status` adds where the view may be out of date and the watch fails closed."""
BEAT_S: Final = 1.0
STALE_AFTER_S: Final = 3.0
"""Seconds of silence after which the view counts as out of date. A connection that breaks counts at once."""
SHARDS_A_BEAT: Final = 16
"""Marks checked each second, so that a shard whose keys were deleted from outside is noticed within four."""
_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.5)
_OWN: Final[weakref.WeakSet[Watch]] = weakref.WeakSet()


class _Lost(Exception):
    """The view can no longer be maintained; the message is the reason."""


class Watch(RatedWatch):
    """Which campaigns may run now, from memory. `BudgetClient.watch` makes it: a context manager, or `close()` it.

    `may_bid(campaign_id)` is True when, as far as this process knows, the campaign may run: not switched off, not
    archived, inside its schedule, no budget used up. It is a lookup in a set: no network, no lock, any thread. It is
    False for an unknown campaign.
    It does not decide about money: `try_spend` and `reserve` do. A change in Redis is visible when its message
    arrives (milliseconds); a window's boundary or midnight by Redis' clock as this process knows it
    (`clock_error_ms`), plus the wake-up of a thread.
    `stale`: a part of the view may be out of date: no first snapshot yet, connection lost, 3 seconds of silence, a
    shard in rebuild, closed, or in a forked child. Then fail-closed (the default) returns False for that part.
    Fail-open keeps the last known state. A new snapshot ends it. After close() and in a forked child, both return False.
    """

    def __init__(
        self,
        wire: Transport,
        *,
        brands: Iterable[int] | None = None,
        campaigns: Iterable[int] | None = None,
        fail_open: bool = False,
        random: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(random)
        self._wire = wire
        self._wanted = WatchFilter(
            None if brands is None else [check_brand_id(b) for b in ids_of(brands, "brands")],
            None if campaigns is None else [check_campaign_id(c) for c in ids_of(campaigns, "campaigns")],
        )
        self._view = EligibilityView(fail_open, self._wanted)
        self.may_bid = self._view.running.__contains__
        self._clock, self._steps = NodeClocks(), StepTimes()
        self._reader = ShardReader(wire, self._hear_time)
        self._changed, self._closed, self._ended = threading.Condition(threading.Lock()), threading.Event(), ""
        self._missing: dict[int, str] = dict.fromkeys(self._wanted.shards, "the first snapshot is being read")
        """Watched shards that are not fresh, and why."""
        # Until a connection has read all shards (`_whole`) each new try waits longer.
        self._heard_s, self._joined, self._whole = time.monotonic(), False, False
        self._seldom = Seldom()
        self._subscription: Subscription | None = None
        self._beat_at, self._marks = 0, dict[int, str]()
        _OWN.add(self)
        self._threads = [
            threading.Thread(target=target, name=f"budget-watch-{name}", daemon=True)
            for name, target in (("link", self._run_link), ("time", self._run_time))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def stale(self) -> bool:
        """Whether any part of the view may be out of date; `why` has the reason."""
        return bool(self._ended or self._missing)

    @property
    def why(self) -> str:
        """Why the view is stale; empty when it is not."""
        return self._ended or next(iter(self._missing.copy().values()), "")

    @property
    def running(self) -> Container[int]:
        """The campaigns that may run: the set that `may_bid` uses."""
        return self._view.running

    @property
    def age_ms(self) -> float:
        """Milliseconds since Redis' last message or reply. Below 1,100 in normal operation."""
        return (time.monotonic() - self._heard_s) * 1000

    @property
    def clock_skew_ms(self) -> float | None:
        """How far Redis' clock, which rules windows and days, is ahead of this machine's; None before a reply."""
        return self._clock.skew_ms() if self._clock.known else None

    @property
    def clock_error_ms(self) -> float | None:
        """The maximal error of Redis' time: half of the fastest round trip so far, and half a millisecond."""
        return self._clock.error_ms if self._clock.known else None

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Waits (seconds) for a complete view; False when it is not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.stale or bool(self._ended), timeout) and not self.stale

    def add(self, campaign_id: int) -> None:
        """Adds a campaign; its shard is stale until its snapshot is read (`wait_ready`). Raises InvalidId."""
        shard = shard_of(brand_of(check_campaign_id(campaign_id)))
        with self._changed:
            if self._ended or self._wanted.campaign(campaign_id):
                return
            self._wanted.add([campaign_id])
            self._missing[shard] = f"shard {shard} is being read"
            channel = self._subscription if self._joined else None
        if channel is not None:
            try:
                channel.subscribe([shard])
            except Exception:  # noqa: BLE001  # on any error a new connection subscribes to this shard too
                channel.cut()

    def status(self, campaign_id: int) -> CampaignStatus:
        """Whether the campaign may run, and if not why: as `BudgetClient.status`, from memory. Active where, and only where, `may_bid` is True.

        Where its shard is stale: with the reason `stale` when failing closed, as last seen when failing open.
        Raises InvalidId, NotFound, NotReady (stale, and never seen).
        """
        shard = shard_of(brand_of(check_campaign_id(campaign_id)))
        with self._changed:
            mask = self._view.mask(campaign_id)
            if self._ended or (shard in self._missing and (mask is None or not self._view.fail_open)):
                if mask is None:
                    raise NotReady(f"campaign {campaign_id} was not seen yet: {self.why}")
                return CampaignStatus((*reasons_of(mask), STALE))
        if mask is None:
            raise NotFound(f"campaign {campaign_id} is not known or not watched: check the id with `campaign list`")
        return CampaignStatus(reasons_of(mask))

    def __len__(self) -> int:
        """How many campaigns are known."""
        with self._changed:
            return len(self._view)

    def __repr__(self) -> str:
        state = f"stale: {self.why}" if self.stale else "live"
        return f"Watch({state}, {len(self)} campaigns, {len(self._view.running)} may bid)"

    def close(self) -> None:
        """Ends the watch: its threads stop, and no campaign may run any more."""
        self._end("the watch is closed")
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        channel = self._subscription
        if channel is not None:
            channel.cut()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(ANSWER_S + 1)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _end(self, why: str) -> None:
        with self._changed:
            self._ended = self._ended or why
            self._view.fail_open = False
            self._view.mark_all_stale()

    def _forked(self) -> None:
        """In a forked child no thread maintains this view, and the parent's connection must not be closed."""
        self._changed = threading.Condition(threading.Lock())
        self._threads, self._subscription = [], None
        self._end("this process was forked: make a watch of its own with client.watch()")

    def _run_time(self) -> None:
        with self._changed:
            while not self._closed.is_set():
                try:
                    wait_s = self._keep_time()
                except Exception as error:  # noqa: BLE001  # as below: a view that is not maintained must not pass for live
                    why = f"{type(error).__name__}: {error}"
                    self._seldom.say(log.exception, f"the watch's time: {why}")
                    self._mark_all_stale(why)
                    wait_s = BEAT_S
                self._changed.wait(max(wait_s, 0.0002))

    def _keep_time(self) -> float:
        """Applies what is due; returns the seconds until the next change. Needs the lock."""
        wait_s = self._heard_s + STALE_AFTER_S - time.monotonic() if self._joined else 60.0
        if wait_s <= 0:
            self._mark_all_stale(f"nothing was heard of Redis for {STALE_AFTER_S:.0f} s")
            wait_s = 60.0
        if self._clock.known:
            due_ms = self._view.advance(self._clock.now_ms())
            wait_s = min(wait_s, (due_ms - self._clock.exact_ms()) / 1000)
        return wait_s

    # The listener thread.

    def _run_link(self) -> None:
        tries = 0
        while not self._closed.is_set():
            why = self._ended
            try:
                self._follow()
            except _Lost as lost:
                why = str(lost)
            except NoAnswer as failure:
                why = failure.why
            except (exceptions.RedisError, OSError, BudgetError) as error:
                why = f"Redis at {self._wire.where}: {' '.join(str(error).split()) or type(error).__name__}"
            except Exception as error:  # noqa: BLE001  # on any error: a view that is not maintained must not pass for live
                why = f"{type(error).__name__}: {error}"
                self._seldom.say(log.exception, f"the watch begins anew: {why}")
            tries = 0 if self._whole else tries + 1
            with self._changed:
                self._mark_all_stale(why)
            channel, self._subscription = self._subscription, None
            if channel is not None:
                channel.hang_up()
            self._closed.wait(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])

    def _mark_all_stale(self, why: str) -> None:
        """Marks the connection as lost. Needs the lock."""
        if self._joined and not self._closed.is_set():
            self._seldom.say(log.warning, f"watch stale: {why}")
        self._joined = self._whole = False
        self._view.mark_all_stale()
        self._missing = dict.fromkeys(self._wanted.shards, why)
        self._changed.notify_all()

    def _follow(self) -> None:
        """Subscribes before it reads snapshots, so that no change is missed, until the connection is lost."""
        channel = self._subscription = Subscription(self._wire, ANSWER_S)
        heard: set[int] = set()
        while True:
            with self._changed:
                to_load = list(self._wanted.shards)
                more = [shard for shard in to_load if shard not in heard]
                if not more:
                    # From here `add` subscribes by itself.
                    self._heard_s, self._joined = time.monotonic(), True
                    self._clock.restart()
                    self._changed.notify_all()
                    break
            channel.subscribe(more)
            for _ in more:
                self._apply_message(channel)
            heard.update(more)
        self._marks.clear()
        restarted = False
        beat_s = time.monotonic() + BEAT_S
        while not self._closed.is_set():
            while channel.waits(0):
                to_load += self._apply_message(channel)
            to_load += self._steps.due(self._clock)
            if not self._joined:
                raise _Lost(self.why)
            if to_load:
                shard = to_load.pop()
                if shard not in to_load:
                    restarted = self._load(shard, restarted)
            else:
                self._whole = True
                channel.waits(min(max(beat_s - time.monotonic(), 0), self._steps.wait_s(self._clock)))
            if time.monotonic() >= beat_s:
                channel.ping()
                to_load += self._beat()
                beat_s = time.monotonic() + BEAT_S

    def _apply_message(self, channel: Subscription) -> list[int]:
        """Applies one message; returns the shards to read again."""
        kind, shard, message = channel.read()
        self._heard_s = time.monotonic()
        if shard is None:
            return []
        if kind == b"subscribe":
            return [shard]
        try:
            change = read_message(message)
        except ValueError:
            return [shard]
        self._steps.hear(shard, change)
        with self._changed:
            if isinstance(change, BudgetMoved):
                self._view.apply_budget(change)
            elif isinstance(change, RateSet):
                self._see_rates((change,))
            elif isinstance(change, PlanPublished):
                self._view.apply_plan(change)
                self._changed.notify_all()  # a new window may end before any other
            elif change.ready:
                return [shard]
            else:
                self._mark_stale(shard, "it lost its mark")
        return []

    def _mark_stale(self, shard: int, why: str, away: bool = False) -> None:
        """away: why is the whole reason, and no rebuild ends it. Needs the lock."""
        if shard not in self._missing:
            self._seldom.say(log.warning, f"watch stale for shard {shard}: {why}", shard)
        self._view.mark_stale(shard)
        self._missing[shard] = (
            why if away else f"shard {shard} is not ready ({why}): it is being rebuilt from PostgreSQL"
        )
        self._changed.notify_all()

    def _beat(self) -> list[int]:
        """Checks the marks of some shards, and the clock of each server; returns the shards to read."""
        shards = self._wanted.shards
        checked = [shards[(self._beat_at + i) % len(shards)] for i in range(min(SHARDS_A_BEAT, len(shards)))]
        self._beat_at += len(checked)
        checked += [shard for shard in self._missing.copy() if shard not in checked]
        again = self._reader.moved(shards)
        for shard, reply in self._reader.marks(checked).items():
            why, away = unready(reply)
            if why:
                with self._changed:
                    self._mark_stale(shard, why, away)
            elif not isinstance(reply, str) and (shard in self._missing or reply[1].decode() != self._marks.get(shard)):
                again.append(shard)
        with self._changed:
            self._clock.keep({self._reader.home(shard) for shard in shards})
        return again

    def _hear_time(self, where: str, sent_s: float, got_s: float, redis_ms: int) -> None:
        with self._changed:
            self._clock.heard(where, sent_s, got_s, redis_ms)
            self._changed.notify_all()

    def _ask_all(self, calls: list[Call]) -> list[Reply]:
        """Many calls. The channel of a very large shard is not read meanwhile, so the replies count as signs of life."""
        replies = self._reader.ask_all(calls)
        self._heard_s = time.monotonic()
        return replies

    def _load(self, shard: int, restarted: bool) -> bool:
        """Reads a shard into the view. restarted, and the result: whether the view has the time of this connection."""
        try:
            snapshot = read_snapshot(self._reader.first, self._ask_all, self._wanted, shard)
        except (ShardNotReady, ServerGone, WrongVersion) as error:
            # Another release's shard stops its own campaigns and no others.
            with self._changed:
                self._mark_stale(shard, str(error), away=not isinstance(error, ShardNotReady))
            return restarted
        with self._changed:
            if not self._joined or self._ended:
                return restarted
            if not restarted:
                self._view.restart(self._clock.now_ms())
            self._view.load(shard, snapshot.brands)
            self._see_rates(snapshot.rates)
            self._marks[shard] = snapshot.mark
            self._steps.see(shard, snapshot.brands)
            self._missing.pop(shard, None)
            self._changed.notify_all()
        return True


def _forget_all() -> None:
    for watch in list(_OWN):
        watch._forked()


os.register_at_fork(after_in_child=_forget_all)
