"""A lane is the pending requests of one server, and the one task that sends them: all of them in one round trip. It distributes
the replies, and takes the requests that arrived meanwhile. A request whose reply is lost is sent again unchanged,
in order, while a caller awaits it.

With one Redis there is one lane. `routed.py` has those of several servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from redis import exceptions

from engine.client.aio.coalescing import PendingRequest
from engine.errors import BudgetError, shown
from engine.live.transport.aio import AsyncAddress, AsyncConnection
from engine.live.transport.held import confirmed, wait_command, waits
from engine.live.transport.loading import is_refused
from engine.live.transport.pool import (
    RECENT_S,
    NoAnswer,
    Reply,
    Unreadable,
    is_of_the_server,
    is_timeout,
    named,
    one_line,
    translated,
)

PAUSE_S: Final = 0.005


class LaneOwner(Protocol):
    """Whom the requests belong to."""

    closed: bool
    timeout_s: float
    replicas: int
    """How many replicas are waited for; 0 for none."""

    def taken(self, requests: Sequence[PendingRequest]) -> None:
        """These are sent now: nothing more is added to them."""

    def answered(self, pending: PendingRequest, reply: Reply) -> None:
        """Redis replied to a request."""

    def fail(self, pending: PendingRequest, error: Exception) -> None:
        """Ends a request with an error."""

    def end(self, pending: PendingRequest, now: float, why: str) -> float | None:
        """Ends the callers whose deadline has passed; returns the next deadline."""


class Lane:
    """The requests of one server, in arrival order."""

    def __init__(self, owner: LaneOwner, address: AsyncAddress, where: str = "") -> None:
        """where: what messages show instead of the address."""
        self._owner = owner
        self._address = address
        self.where = where or address.where
        self._wake = asyncio.Event()
        self._link: AsyncConnection | None = None
        self.task: asyncio.Task[None] | None = None
        self.queue: list[PendingRequest] = []
        self.flight: list[PendingRequest] = []
        self.limit: asyncio.Timeout | None = None
        """Of the present round trip: it has none until no caller awaits it any more."""
        self.why = f"Redis at {self.where} does not answer in time"
        """Why there is no reply yet."""
        self._told_s = -RECENT_S
        """When the server last said so itself, by the loop's clock. Who was in the queue then is told the same."""

    def add(self, loop: asyncio.AbstractEventLoop, pending: PendingRequest) -> None:
        """Enqueues a request."""
        self.queue.append(pending)
        self.wake(loop)

    def wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to work, where it does not yet."""
        if self.task is None or self.task.done():
            self.task = loop.create_task(self._run(), name="budget-sender")
        self._wake.set()

    def has(self, pending: PendingRequest) -> bool:
        """Whether a request is here."""
        return pending in self.queue or pending in self.flight

    async def _run(self) -> None:
        try:
            while True:
                while not self.queue:
                    if self._owner.closed:
                        return
                    self._wake.clear()
                    await self._wake.wait()
                self.flight, self.queue = self.queue, []
                self._owner.taken(self.flight)
                self._silent()
                while self.flight:
                    await self._attempt()
                    left = [pending for pending in self.flight if not pending.answered and pending.wanted()]
                    self.flight = self._sort_out(left)
        except Exception as error:  # an error of our own: no caller may hang for it
            for pending in (*self.flight, *self.queue):
                self._owner.fail(pending, NoAnswer(f"the client's own task failed: {named(error)}", []))
            raise
        finally:
            self.drop()
            for pending in (*self.flight, *self.queue):
                self._owner.end(pending, float("inf"), "the client's own task was ended")
            self.flight, self.queue = [], []

    def _sort_out(self, left: list[PendingRequest]) -> list[PendingRequest]:
        """What this lane sends again at once, of the requests without a reply."""
        return left

    async def _attempt(self) -> None:
        """One round trip of all requests in flight."""
        try:
            await self._round_trip()
        except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
            self.drop()
            for pending in self.flight:
                self._owner.fail(pending, NoAnswer(f"Redis at {self.where} refuses the login: {error}", []))
        except exceptions.ResponseError as error:
            self.drop()
            if is_of_the_server(error):  # a new connection may reach the new primary
                self._says(str(translated(error, self.where, [])))
                await self._lost()
                return
            # From the login.
            for pending in self.flight:
                self._owner.fail(pending, translated(error, self.where, []))
        except Exception as error:  # noqa: BLE001  # a lost connection, or the event loop's own error about one: it is tried again
            self.drop()
            if is_timeout(error):
                self._silent()
            else:
                said = one_line(error) if isinstance(error, exceptions.RedisError | OSError) else named(error)
                self._says(f"Redis at {self.where} does not answer: {said}")
            await self._lost()

    def _silent(self) -> None:
        """The server says nothing: what it said shortly before tells more."""
        if asyncio.get_running_loop().time() - self._told_s > RECENT_S:
            self.why = f"Redis at {self.where} does not answer in time"

    def _says(self, why: str) -> None:
        """Why the server takes nothing now."""
        self.why, self._told_s = why, asyncio.get_running_loop().time()

    async def _round_trip(self) -> None:
        try:
            async with asyncio.timeout(None) as self.limit:
                link = self._link
                if link is None:
                    link = self._link = await self._connect()
                # Prepared only now: callers that gave up before there was a connection are left out, and nothing of
                # them was sent.
                self.flight = [pending for pending in self.flight if pending.seal()]
                await self._exchange(link, self.flight)
        finally:
            # Not later: `expire` ends it, and one that has ended raises there, after which no caller's deadline counts.
            self.limit = None

    async def _connect(self) -> AsyncConnection:
        return await self._address.connect(self._owner.timeout_s)

    async def _lost(self) -> None:
        """The server is away, or no primary: what is in flight is tried again after a pause."""
        await asyncio.sleep(PAUSE_S)

    def _before(self, pending: PendingRequest) -> bytes:
        """A command that this request needs before it, with a reply of its own; or nothing."""
        return b""

    def _refused(self, pending: PendingRequest, error: exceptions.ResponseError) -> None:
        """Redis refused a call."""
        self._owner.fail(pending, translated(error, self.where, []))

    def _send(self, link: AsyncConnection, requests: Sequence[PendingRequest]) -> list[PendingRequest | None]:
        """Sends all in one piece; returns whose replies are due in this order, None for one that is no request's."""
        sent: list[PendingRequest | None] = []
        out: list[bytes] = []
        for pending in requests:
            assert pending.call is not None
            if pending.call.script.sha1 not in link.loaded:
                out.append(link.load(pending.call.script))
                sent.append(None)
            before = self._before(pending)
            if before:
                out.append(before)
                sent.append(None)
            out.append(pending.call.encoded())
            sent.append(pending)
        link.send(b"".join(out))
        return sent

    async def _exchange(self, link: AsyncConnection, requests: Sequence[PendingRequest]) -> None:
        if not self._owner.replicas:
            await self._replies(link, requests)
            return
        try:
            await self._replies(link, requests)
            waiting = [pending for pending in requests if pending.heard is not None]
            if waiting:
                await self._wait_for_replicas(link, waiting)
        finally:
            self._give(requests)

    def _give(self, requests: Iterable[PendingRequest]) -> None:
        """Gives the replies that were held back to their callers."""
        for pending in requests:
            if pending.heard is not None:
                reply, pending.heard = pending.heard, None
                self._answer(pending, reply)

    async def _wait_for_replicas(self, link: AsyncConnection, requests: Sequence[PendingRequest]) -> None:
        """One WAIT for all. It takes half of a caller's time at most: who comes meanwhile waits for its end."""
        replicas, wait_s = self._owner.replicas, self._owner.timeout_s / 2
        link.send(wait_command(replicas, wait_s))
        try:
            async with asyncio.timeout(wait_s):
                enough = confirmed(await link.receive(), replicas, self.where)
        except TimeoutError:
            self.drop()  # its reply may still come
            return
        for pending in requests:
            if pending.heard is not None and pending.call is not None:
                pending.call.replicated = enough

    def _answer(self, pending: PendingRequest, reply: Reply) -> None:
        try:
            pending.answer(reply)
        except BudgetError as error:
            self._owner.fail(pending, error)
        except Exception as error:  # noqa: BLE001  # it is raised in the callers
            self._owner.fail(pending, Unreadable(f"the answer cannot be read ({named(error)})", []))

    async def _replies(self, link: AsyncConnection, requests: Sequence[PendingRequest]) -> None:
        sent = self._send(link, requests)
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
                self._refused(waited, reply)
            elif type(reply) is not list or not reply:
                what = f"the answer cannot be read ({shown(reply)} is the answer of no script)"
                self._owner.fail(waited, Unreadable(what, []))
            else:
                self._owner.answered(waited, reply)
                if self._owner.replicas and waited.call is not None and waits(waited.call):
                    waited.call.replicated = False
                    waited.heard = reply
                else:
                    self._answer(waited, reply)
        if demoted is not None:
            raise demoted

    def expire(self, now: float) -> list[float]:
        """Ends callers whose deadline has passed, and a round trip that no caller awaits any more; returns the next deadlines."""
        if self._owner.replicas:
            self._give([pending for pending in self.flight if pending.heard is not None and pending.soonest() <= now])
        ends = [self._owner.end(pending, now, self.why) for pending in (*self.flight, *self.queue)]
        if self.limit is not None and not any(not p.answered and p.wanted() for p in self.flight):
            limit, self.limit = self.limit, None
            limit.reschedule(now)
        return [end for end in ends if end is not None]

    def drop(self) -> None:
        """Closes the connection."""
        if self._link is not None:
            self._link.drop()
            self._link = None

    async def close(self) -> None:
        """Sends what its callers wait for, at most for their time."""
        self._wake.set()
        if self.task is not None:
            await asyncio.wait([self.task], timeout=self._owner.timeout_s + 1)
            self.task.cancel()
            await asyncio.wait([self.task])
        self.drop()
