"""Eligibility in the bidder's memory: `BudgetClient.watch()`.

One thread listens to the shards' channels, loads what it must and asks for a sign of life each second; a second one keeps the time: windows,
midnight, and how long Redis has been silent. They change one set, and `may_bid` is that set's own lookup.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Container, Iterable
from typing import Final

from redis import exceptions

from engine.client.watch.clock import RedisClock
from engine.client.watch.eligibility import EligibilityView, WatchFilter
from engine.client.watch.messages import BudgetMoved, PlanPublished, read_message
from engine.client.watch.snapshot import ShardNotReady, read_snapshot
from engine.client.watch.subscription import Subscription
from engine.domain.causes import reasons_of
from engine.domain.ids import brand_of, check_brand_id, check_campaign_id, ids_of, shard_of
from engine.errors import BudgetError, NotFound, NotReady
from engine.live.keys import shard_keys
from engine.live.replies import NOT_READY, CampaignStatus, head
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call, NoAnswer, Reply, Transport

log = logging.getLogger(__name__)

STALE: Final = "stale"
"""The reason that `Watch.status` adds where the picture may be out of date and the watch fails closed."""
BEAT_S: Final = 1.0
STALE_AFTER_S: Final = 3.0
"""So long nothing is heard of Redis before the picture counts as out of date. A connection that breaks counts at once."""
SHARDS_A_BEAT: Final = 16
"""Marks looked at each second, so that a shard whose keys went without a word is noticed within four."""
_ANSWER_S: Final = 2.0
_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.5)
_OWN: Final[weakref.WeakSet[Watch]] = weakref.WeakSet()


class _Lost(Exception):
    """The picture can no longer be kept: why, in words."""


class Watch:
    """Which campaigns may run now, from memory. Make it with `BudgetClient.watch`, use it as a context manager or `close()` it.

    `may_bid(campaign_id)` is True when, as far as this process knows, the campaign may run: not switched off, not archived, inside its
    schedule, daily and monthly budget not used up. It is a lookup in a set: no network, no lock, any thread. A campaign that is not known is False, always.

    It decides nothing about money: `try_spend` and `reserve` do. A change in Redis is seen when its message arrives (milliseconds); a window's
    boundary or midnight by Redis' clock as this process knows it (`clock_error_ms`), plus the time that Python takes to wake a thread.

    `stale`: a part of the picture may be out of date: no first snapshot yet, the connection lost, nothing heard for 3 seconds, a shard that is
    being rebuilt, closed, or in a forked child. Then fail-closed (the default) answers False for what is concerned; fail-open goes on with
    what was seen last, windows and midnight included. A new snapshot heals it by itself. After close() and in a forked child, both answer False.
    """

    may_bid: Callable[[int], bool]

    def __init__(
        self,
        wire: Transport,
        *,
        brands: Iterable[int] | None = None,
        campaigns: Iterable[int] | None = None,
        fail_open: bool = False,
    ) -> None:
        self._wire = wire
        self._wanted = WatchFilter(
            None if brands is None else [check_brand_id(b) for b in ids_of(brands, "brands")],
            None if campaigns is None else [check_campaign_id(c) for c in ids_of(campaigns, "campaigns")],
        )
        self._view = EligibilityView(fail_open, self._wanted)
        self.may_bid = self._view.running.__contains__
        self._clock = RedisClock()
        self._changed = threading.Condition(threading.Lock())
        self._closed = threading.Event()
        self._ended = ""
        self._why = "the first snapshot is being read"
        self._missing: dict[int, str] = dict.fromkeys(self._wanted.shards, self._why)
        """Watched shards that are not fresh, and why."""
        self._heard_s = time.monotonic()
        self._joined = False
        self._subscription: Subscription | None = None
        self._beat_at = 0
        self._marks: dict[int, str] = {}
        _OWN.add(self)
        self._threads = [
            threading.Thread(target=target, name=f"budget-watch-{name}", daemon=True)
            for name, target in (("link", self._run_link), ("time", self._run_time))
        ]
        for thread in self._threads:
            thread.start()

    # What callers see.

    @property
    def stale(self) -> bool:
        """Whether any watched shard's picture may be out of date; `why` says for what reason."""
        return bool(self._ended or self._missing)

    @property
    def why(self) -> str:
        """What `stale` comes from, in words; empty when it is not stale."""
        return self._ended or next(iter(self._missing.copy().values()), "")

    @property
    def running(self) -> Container[int]:
        """The campaigns that may run, the very set that `may_bid` looks at."""
        return self._view.running

    @property
    def age_ms(self) -> float:
        """Milliseconds since Redis was last heard: nothing in the picture can have been told later. Below 1,100 while all is well."""
        return (time.monotonic() - self._heard_s) * 1000

    @property
    def clock_skew_ms(self) -> float | None:
        """How far Redis' clock, by which windows and days turn, is ahead of this machine's; None before the first answer."""
        return self._clock.skew_ms() if self._clock.known else None

    @property
    def clock_error_ms(self) -> float | None:
        """How wrong that is at most: half of the quickest round trip so far and a millisecond's half."""
        return self._clock.error_ms if self._clock.known else None

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Waits (seconds) until the picture is whole; False when it is not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.stale or bool(self._ended), timeout) and not self.stale

    def add(self, campaign_id: int) -> None:
        """Watches one campaign more; its shard is stale until its snapshot is read, which `wait_ready` waits for. Raises InvalidId."""
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
            except Exception:  # noqa: BLE001  # whatever it is, a new channel listens to this shard too
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
        """Ends the watch: its threads stop, and every campaign is False from here."""
        self._end("the watch is closed")
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        channel = self._subscription
        if channel is not None:
            channel.cut()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_ANSWER_S + 1)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _end(self, why: str) -> None:
        with self._changed:
            self._ended = self._ended or why
            self._view.fail_open = False
            self._view.lose_all()

    def _forked(self) -> None:
        """In a forked child: no thread keeps this picture any more, and the parent's connection is not ours to close."""
        self._changed = threading.Condition(threading.Lock())
        self._threads, self._subscription = [], None
        self._end("this process was forked: make a watch of its own with client.watch()")

    # The thread that keeps the time.

    def _run_time(self) -> None:
        with self._changed:
            while not self._closed.is_set():
                try:
                    wait_s = self._keep_time()
                except Exception as error:  # as below: what is not kept must not pass for live
                    log.exception("the watch's time")
                    self._lose_all(f"{type(error).__name__}: {error}")
                    wait_s = BEAT_S
                self._changed.wait(max(wait_s, 0.0002))

    def _keep_time(self) -> float:
        """Turns what is due; answers the seconds until there is something to do. Needs the lock."""
        wait_s = self._heard_s + STALE_AFTER_S - time.monotonic() if self._joined else 60.0
        if wait_s <= 0:
            self._lose_all(f"nothing was heard of Redis for {STALE_AFTER_S:.0f} s")
            wait_s = 60.0
        if self._clock.known:
            due_ms = self._view.advance(self._clock.now_ms())
            wait_s = min(wait_s, (due_ms - self._clock.exact_ms()) / 1000)
        return wait_s

    # The thread that listens.

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
            except Exception as error:  # whatever it is, a picture that nobody keeps must not pass for a live one
                log.exception("the watch begins anew")
                why = f"{type(error).__name__}: {error}"
            tries = 0 if self._joined else tries + 1
            with self._changed:
                self._lose_all(why)
            channel, self._subscription = self._subscription, None
            if channel is not None:
                channel.hang_up()
            self._closed.wait(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])

    def _lose_all(self, why: str) -> None:
        """The connection is not to be believed any more. Needs the lock."""
        if self._joined and not self._closed.is_set():
            log.warning("watch stale: %s", why)
        self._joined = False
        self._view.lose_all()
        self._missing = dict.fromkeys(self._wanted.shards, why)
        self._changed.notify_all()

    def _follow(self) -> None:
        """Listens first, then reads the snapshot, so that nothing falls between; and goes on until the connection is lost."""
        channel = self._subscription = Subscription(self._wire, _ANSWER_S)
        heard: set[int] = set()
        while True:
            with self._changed:
                to_load = list(self._wanted.shards)
                more = [shard for shard in to_load if shard not in heard]
                if not more:
                    # From here `add` sends its own.
                    self._heard_s, self._joined = time.monotonic(), True
                    self._clock.restart()
                    self._changed.notify_all()
                    break
            channel.subscribe(more)
            for _ in more:
                self._hear(channel)
            heard.update(more)
        self._marks.clear()
        restarted = False
        beat_s = time.monotonic() + BEAT_S
        while not self._closed.is_set():
            while channel.waits(0):
                to_load += self._hear(channel)
            if not self._joined:
                raise _Lost(self.why)
            if to_load:
                shard = to_load.pop()
                if shard not in to_load:
                    restarted = self._load(shard, restarted)
            else:
                channel.waits(max(beat_s - time.monotonic(), 0))
            if time.monotonic() >= beat_s:
                channel.ping()
                to_load += self._beat()
                beat_s = time.monotonic() + BEAT_S

    def _hear(self, channel: Subscription) -> list[int]:
        """Takes one word of the channels; answers the shards that must be read again."""
        word, shard, message = channel.read()
        self._heard_s = time.monotonic()
        if shard is None:
            return []
        if word == b"subscribe":
            return [shard]
        try:
            change = read_message(message)
        except ValueError:
            return [shard]
        with self._changed:
            if isinstance(change, BudgetMoved):
                self._view.moved(change)
            elif isinstance(change, PlanPublished):
                self._view.told(change)
                self._changed.notify_all()  # a window may have come that ends before any other
            elif change.ready:
                return [shard]
            else:
                self._lose(shard, "it lost its mark")
        return []

    def _lose(self, shard: int, why: str) -> None:
        """Needs the lock."""
        if shard not in self._missing:
            log.warning("watch stale for shard %s: %s", shard, why)
        self._view.lose(shard)
        self._missing[shard] = f"shard {shard} is not ready ({why}): it is being rebuilt from PostgreSQL"
        self._changed.notify_all()

    def _beat(self) -> list[int]:
        """Looks at the marks of some shards and at Redis' clock; answers the shards that must be read (again)."""
        shards = self._wanted.shards
        turn = [shards[(self._beat_at + i) % len(shards)] for i in range(min(SHARDS_A_BEAT, len(shards)))]
        self._beat_at += len(turn)
        turn += [shard for shard in self._missing.copy() if shard not in turn]
        if not turn:
            return []
        code = script("read_watched")
        calls = [Call(code, (shard_keys(shard).shard,), (LAYOUT,)) for shard in turn]
        replies = [self._ask(calls[0]), *self._wire.call_all(calls[1:], _ANSWER_S)]
        again = []
        for shard, reply in zip(turn, replies, strict=True):
            if head(reply) == NOT_READY:
                with self._changed:
                    self._lose(shard, reply[1].decode())
            elif shard in self._missing or reply[1].decode() != self._marks.get(shard):
                again.append(shard)
        return again

    def _ask(self, call: Call) -> Reply:
        """One call, whose answer tells the time too."""
        sent_s = time.monotonic()
        reply = self._wire.call(call, _ANSWER_S)
        if head(reply) != NOT_READY:
            with self._changed:
                self._clock.heard(sent_s, time.monotonic(), int(reply[2]))
                self._changed.notify_all()
        return reply

    def _ask_all(self, calls: list[Call]) -> list[Reply]:
        """Many calls; of a very large shard the channel is not read meanwhile, so the answers are signs of life."""
        replies = self._wire.call_all(calls, _ANSWER_S)
        self._heard_s = time.monotonic()
        return replies

    def _load(self, shard: int, restarted: bool) -> bool:
        """Reads a shard and puts it into the picture. restarted, and the answer: whether the picture has the time of this connection."""
        try:
            snapshot = read_snapshot(self._ask, self._ask_all, self._wanted, shard)
        except ShardNotReady as not_ready:
            with self._changed:
                self._lose(shard, str(not_ready))
            return restarted
        with self._changed:
            if not self._joined or self._ended:
                return restarted
            if not restarted:
                self._view.restart(self._clock.now_ms())
            self._view.load(shard, snapshot.brands)
            self._marks[shard] = snapshot.mark
            self._missing.pop(shard, None)
            self._changed.notify_all()
        return True


def _forget_all() -> None:
    for watch in list(_OWN):
        watch._forked()


os.register_at_fork(after_in_child=_forget_all)
