"""The pending requests of an async client: admitted up to `max_waiting`, coalesced by shard and verb, ended at their callers'
deadlines, and kept for a while where a caller gave up. Lanes send them (`lanes.py`).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from engine.client.aio.coalescing import PLACE, CoalescedBatch, OwnSpend, PendingRequest, SingleRequest
from engine.client.aio.futures import SpendFuture
from engine.client.aio.lanes import Lane
from engine.client.aio.resend import Resender
from engine.client.aio.routed import RoutedLanes
from engine.client.kept import checked_keep_s
from engine.domain.ids import ORDINALS, shard_of
from engine.errors import BudgetError, InvalidId, Overloaded, shown
from engine.live.transport.aio import AsyncAddress
from engine.live.transport.pool import Call, NoAnswer, Reply
from engine.live.transport.routed import finder_of

KEPT_S: Final = 300
"""Seconds for which a call is kept after its caller gave up: half of the dedup window of request ids, so that its
repeat never counts again.
"""


class Sender:
    """Requests in arrival order and their deadlines. Bound to the event loop of its first call."""

    def __init__(
        self, url: str, timeout_s: float, max_waiting: int, resend_s: float | None = None, replicas: int = 0
    ) -> None:
        self.replicas = replicas
        finder = finder_of(url)
        self._routed = None if finder is None else RoutedLanes(self, finder)
        self._lane = Lane(self, AsyncAddress(url)) if self._routed is None else self._routed.lobby
        keep_s = checked_keep_s(resend_s, finder is not None)
        self._resender = Resender(self, keep_s) if keep_s else None
        self.timeout_s = timeout_s
        self._max_waiting = max_waiting
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: dict[int, CoalescedBatch] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._kept: OrderedDict[str, tuple[float, CoalescedBatch]] = OrderedDict()
        self._kept_spends = 0
        self.closed = False
        self._leave = self.leave  # made once, because each spend needs it
        self.waiting = 0
        """Spends and other calls that were accepted and have no reply."""

    def enter(self, loop: asyncio.AbstractEventLoop, size: int) -> None:
        """Admits `size` spends. Raises Overloaded, and BudgetError when closed or on another loop."""
        if loop is not self._loop or self.closed:
            self._check(loop)
        waiting = self.waiting
        if waiting + size > self._max_waiting and waiting:
            raise Overloaded(
                f"{self.waiting} spends are waiting for Redis and max_waiting is {self._max_waiting}: nothing was sent,"
                " slow down or use more clients"
            )
        self.waiting = waiting + size

    def leave(self, size: int) -> None:
        """Releases spends that no longer wait. A shared call does so for its callers; the caller of a single request
        does so itself.
        """
        self.waiting -= size

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.closed:
            raise BudgetError("this AsyncBudgetClient is closed: make a new one")
        if self._loop not in (None, loop):
            raise BudgetError("this AsyncBudgetClient belongs to another event loop: make one in each loop")
        self._loop = loop

    def join(
        self, loop: asyncio.AbstractEventLoop, shard: int, verb: str, campaign_id: int, micros: int, line: str | None
    ) -> SpendFuture:
        """Adds one spend to the open batch of its shard. Call `enter` before."""
        pending = self._open.get(shard)
        if (
            pending is None
            or pending.verb != verb
            or (pending.lines is None and line is not None)
            or len(pending.futures) >= pending.limit
            or (campaign_id not in pending.campaigns and not pending.opens(campaign_id))
        ):
            pending = self._open[shard] = CoalescedBatch(shard, verb, line is not None, self._leave)
            pending.opens(campaign_id)
            self._add(loop, pending)
        if pending.lines is None:
            pending.micros.append(micros)
        else:
            pending.lines.append(line or f"{campaign_id},{micros},,;")
        pending.campaign_ids.append(campaign_id)
        pending.deadlines.append(loop.time() + self.timeout_s)
        future = SpendFuture(loop=loop)
        future.given_up = self._leave
        pending.futures.append(future)
        self._arm(loop)
        return future

    def alone(self, loop: asyncio.AbstractEventLoop, shard: int, call: Call) -> asyncio.Future[Reply]:
        """Enqueues a single request behind all that came before it. Call `enter` before."""
        self._open.pop(shard, None)
        future: asyncio.Future[Reply] = loop.create_future()
        self._add(loop, SingleRequest(call, loop.time() + self.timeout_s, future))
        return future

    def own(
        self, loop: asyncio.AbstractEventLoop, call: Call, campaign_id: int, word: str, request: str
    ) -> SpendFuture:
        """Enqueues a spend under its own request id, behind all that came before it. Call `enter` before."""
        self._open.pop(shard_of(campaign_id // ORDINALS), None)
        future = SpendFuture(loop=loop)
        future.given_up = self._leave
        deadline = loop.time() + self.timeout_s
        self._add(loop, OwnSpend(call, campaign_id, word, request, deadline, future, self._leave))
        return future

    def again(self, loop: asyncio.AbstractEventLoop, request: str, verb: str, line: str) -> SpendFuture:
        """The result of a spend that timed out here in a shared call. Raises InvalidId, and what `enter` raises."""
        self._check(loop)
        batch, _, place = request.partition(PLACE)
        self._prune(loop.time())
        _, pending = self._kept.get(batch, (0.0, None))
        if pending is None or not (place.isascii() and place.isdigit() and int(place) < len(pending.futures)):
            raise InvalidId(
                f"request_id {shown(request)} names a place in a shared call that this client does not keep (any more):"
                " it can be repeated on the client that made it, for five minutes",
                "request_id",
            )
        if pending.verb != verb or pending.line(int(place)) != line:
            raise InvalidId(
                f"request_id {shown(request)} was another spend: repeat it with its own facts", "request_id"
            )
        if pending.lost(int(place)):
            self.enter(loop, 1)
        future = pending.again(int(place), loop.time() + self.timeout_s, loop)
        if not pending.answered and not any(lane.has(pending) for lane in self._lanes):
            self._add(loop, pending)
        self._arm(loop)
        return future

    def _add(self, loop: asyncio.AbstractEventLoop, pending: PendingRequest) -> None:
        self._arm(loop)
        lane = self._lane if self._routed is None else self._routed.lane_of(pending.shard_key)
        lane.add(loop, pending)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None:
            self._timer = loop.call_later(self.timeout_s, self._expire)

    def taken(self, requests: Sequence[PendingRequest]) -> None:
        """These are sent now: a spend that comes later begins a new batch."""
        if self._routed is None:
            self._open.clear()
            return
        for pending in requests:
            if isinstance(pending, CoalescedBatch) and self._open.get(pending.shard) is pending:
                del self._open[pending.shard]

    def answered(self, pending: PendingRequest, reply: Reply) -> None:
        """Redis replied to a request."""
        if self._resender is not None and pending.call is not None:
            self._resender.note(pending.call, reply)

    def where_of(self, shard_key: str) -> str:
        """The server that has a shard, by the shard's first key."""
        return (self._lane if self._routed is None else self._routed.lane_of(shard_key)).where

    def fail(self, pending: PendingRequest, error: Exception) -> None:
        pending.fail(error)
        if isinstance(error, NoAnswer):
            self._keep(pending)

    def _expire(self) -> None:
        """The timer: ends callers whose deadline has passed, and round trips that no caller awaits any more."""
        assert self._loop is not None
        now = self._loop.time()
        self._timer = None
        soonest = min((end for lane in self._lanes for end in lane.expire(now)), default=None)
        if soonest is not None:
            self._timer = self._loop.call_at(soonest, self._expire)

    @property
    def _lanes(self) -> Sequence[Lane]:
        return (self._lane,) if self._routed is None else self._routed.all

    @property
    def _flight(self) -> list[PendingRequest]:
        return [pending for lane in self._lanes for pending in lane.flight]

    def end(self, pending: PendingRequest, now: float, why: str) -> float | None:
        end = pending.expire(now, why)
        if pending.given_up:
            self._keep(pending)
        return end

    def _keep(self, pending: PendingRequest) -> None:
        """Keeps a shared call that was sent and whose caller gave up."""
        if isinstance(pending, CoalescedBatch) and pending.call is not None and pending.request not in self._kept:
            assert self._loop is not None
            self._kept[pending.request] = self._loop.time() + KEPT_S, pending
            self._kept_spends += len(pending.futures)
            self._prune(self._loop.time())

    def _prune(self, now: float) -> None:
        while self._kept and (self._kept_spends > 10 * self._max_waiting or next(iter(self._kept.values()))[0] <= now):
            self._kept_spends -= len(self._kept.popitem(last=False)[1][1].futures)

    async def close(self) -> None:
        """Sends accepted requests for as long as their callers wait; accepts no more. Raises BudgetError on another
        loop.
        """
        if self._loop is not None and self._loop is not asyncio.get_running_loop():
            raise BudgetError("this AsyncBudgetClient belongs to another event loop: close it there")
        self.closed = True
        if self._resender is not None:
            await self._resender.close()
        await asyncio.gather(*(lane.close() for lane in self._lanes))
        if self._routed is not None:
            self._routed.close()
        if self._timer is not None:
            self._timer.cancel()
