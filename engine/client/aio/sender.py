"""The one task of an async client that talks to Redis. It sends all pending requests in one round trip, distributes
the replies, and takes the requests that arrived meanwhile. A request whose reply is lost is sent again unchanged,
in order, while a caller awaits it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from redis import exceptions

from engine.client.aio.coalescing import PLACE, CoalescedBatch, PendingRequest, SingleRequest
from engine.client.aio.futures import SpendFuture
from engine.errors import BudgetError, InvalidId, Overloaded, shown
from engine.live.transport.aio import AsyncAddress, AsyncConnection
from engine.live.transport.loading import is_refused
from engine.live.transport.pool import Call, NoAnswer, Reply, Unreadable, is_of_the_server, named, one_line, translated

KEPT_S: Final = 300
"""Seconds for which a call is kept after its caller gave up: half of the dedup window of request ids, so that its
repeat never counts again.
"""
_PAUSE_S: Final = 0.005


class Sender:
    """Requests in arrival order and their deadlines. Bound to the event loop of its first call."""

    def __init__(self, address: AsyncAddress, timeout_s: float, max_waiting: int) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._max_waiting = max_waiting
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._queue: list[PendingRequest] = []
        self._open: dict[int, CoalescedBatch] = {}
        self._flight: list[PendingRequest] = []
        self._timer: asyncio.TimerHandle | None = None
        self._limit: asyncio.Timeout | None = None
        self._link: AsyncConnection | None = None
        self._why = ""
        self._kept: OrderedDict[str, tuple[float, CoalescedBatch]] = OrderedDict()
        self._kept_spends = 0
        self._closed = False
        self._leave = self.leave  # made once, because each spend needs it
        self.waiting = 0
        """Spends and other calls that were accepted and have no reply."""

    def enter(self, loop: asyncio.AbstractEventLoop, size: int) -> None:
        """Admits `size` spends. Raises Overloaded, and BudgetError when closed or on another loop."""
        if loop is not self._loop or self._closed:
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
        if self._closed:
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
        pending.deadlines.append(loop.time() + self._timeout_s)
        future = SpendFuture(loop=loop)
        future.given_up = self._leave
        pending.futures.append(future)
        self._arm(loop)
        return future

    def alone(self, loop: asyncio.AbstractEventLoop, shard: int, call: Call) -> asyncio.Future[Reply]:
        """Enqueues a single request behind all that came before it. Call `enter` before."""
        self._open.pop(shard, None)
        future: asyncio.Future[Reply] = loop.create_future()
        self._add(loop, SingleRequest(call, loop.time() + self._timeout_s, future))
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
        future = pending.again(int(place), loop.time() + self._timeout_s, loop)
        if not pending.answered and pending not in self._queue and pending not in self._flight:
            self._add(loop, pending)
        self._arm(loop)
        return future

    def _add(self, loop: asyncio.AbstractEventLoop, pending: PendingRequest) -> None:
        self._queue.append(pending)
        self._arm(loop)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run(), name="budget-sender")
        self._wake.set()

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_s, self._expire)

    async def _run(self) -> None:
        try:
            while True:
                while not self._queue:
                    if self._closed:
                        return
                    self._wake.clear()
                    await self._wake.wait()
                self._flight, self._queue = self._queue, []
                self._open.clear()
                self._why = f"Redis at {self._address.where} does not answer in time"
                while self._flight:
                    await self._attempt()
                    self._flight = [pending for pending in self._flight if not pending.answered and pending.wanted()]
        except Exception as error:  # an error of our own: no caller may hang for it
            for pending in (*self._flight, *self._queue):
                self._fail(pending, NoAnswer(f"the client's own task failed: {named(error)}", []))
            raise
        finally:
            self._drop()
            for pending in (*self._flight, *self._queue):
                self._end(pending, float("inf"), "the client's own task was ended")
            self._flight, self._queue = [], []
            self._open.clear()

    async def _attempt(self) -> None:
        """One round trip of all requests in flight."""
        try:
            async with asyncio.timeout(None) as self._limit:
                link = self._link
                if link is None:
                    link = self._link = await self._address.connect(self._timeout_s)
                # Prepared only now: callers that gave up before there was a connection are left out, and nothing of
                # them was sent.
                self._flight = [pending for pending in self._flight if pending.seal()]
                await self._exchange(link, self._flight)
        except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
            self._drop()
            for pending in self._flight:
                self._fail(pending, NoAnswer(f"Redis at {self._address.where} refuses the login: {error}", []))
        except exceptions.ResponseError as error:
            self._drop()
            if is_of_the_server(error):  # a new connection may reach the new primary
                self._why = str(translated(error, self._address.where, []))
                await asyncio.sleep(_PAUSE_S)
                return
            # From the login.
            for pending in self._flight:
                self._fail(pending, translated(error, self._address.where, []))
        except Exception as error:  # noqa: BLE001  # a lost connection, or the event loop's own error about one: it is tried again
            self._drop()
            said = one_line(error) if isinstance(error, exceptions.RedisError | OSError) else named(error)
            self._why = f"Redis at {self._address.where} does not answer: {said}"
            await asyncio.sleep(_PAUSE_S)
        finally:
            self._limit = None

    async def _exchange(self, link: AsyncConnection, requests: Sequence[PendingRequest]) -> None:
        sent: list[PendingRequest | None] = []
        out: list[bytes] = []
        for pending in requests:
            assert pending.call is not None
            if pending.call.script.sha1 not in link.loaded:
                out.append(link.load(pending.call.script))
                sent.append(None)
            out.append(pending.call.encoded())
            sent.append(pending)
        link.send(b"".join(out))
        demoted: exceptions.ResponseError | None = None
        for waited in sent:
            reply = await link.receive()
            if isinstance(reply, exceptions.ResponseError) and is_of_the_server(reply):
                demoted = reply
            elif waited is None:
                link.loads_by_eval |= is_refused(reply)
            elif isinstance(reply, exceptions.NoScriptError):
                link.loaded.clear()
            elif isinstance(reply, exceptions.ResponseError):
                self._fail(waited, translated(reply, self._address.where, []))
            else:
                try:
                    if type(reply) is not list or not reply:
                        raise ValueError(f"{shown(reply)} is the answer of no script")
                    waited.answer(reply)
                except BudgetError as error:
                    self._fail(waited, error)
                except Exception as error:  # noqa: BLE001  # it is raised in the callers
                    self._fail(waited, Unreadable(f"the answer cannot be read ({named(error)})", []))
        if demoted is not None:
            raise demoted

    def _fail(self, pending: PendingRequest, error: Exception) -> None:
        pending.fail(error)
        if isinstance(error, NoAnswer):
            self._keep(pending)

    def _expire(self) -> None:
        """The timer: ends callers whose deadline has passed, and a round trip that no caller awaits any more."""
        assert self._loop is not None
        now = self._loop.time()
        self._timer = None
        ends = [self._end(pending, now, self._why) for pending in (*self._flight, *self._queue)]
        soonest = min((end for end in ends if end is not None), default=None)
        if soonest is not None:
            self._timer = self._loop.call_at(soonest, self._expire)
        if self._limit is not None and not any(not p.answered and p.wanted() for p in self._flight):
            limit, self._limit = self._limit, None
            limit.reschedule(now)

    def _end(self, pending: PendingRequest, now: float, why: str) -> float | None:
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

    def _drop(self) -> None:
        if self._link is not None:
            self._link.drop()
            self._link = None

    async def close(self) -> None:
        """Sends accepted requests for as long as their callers wait; accepts no more. Raises BudgetError on another
        loop.
        """
        if self._loop is not None and self._loop is not asyncio.get_running_loop():
            raise BudgetError("this AsyncBudgetClient belongs to another event loop: close it there")
        self._closed = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=self._timeout_s + 1)
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._timer is not None:
            self._timer.cancel()
        self._drop()
