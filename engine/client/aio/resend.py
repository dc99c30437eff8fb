"""Sends acknowledged calls again under asyncio when their shard may have lost them; `engine/client/kept.py` has the rules."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, Protocol

from engine.client.kept import (
    CHECK_S,
    CLOSE_EACH_S,
    CLOSE_S,
    KeptCalls,
    again,
    answered,
    left_out,
    refused_now,
)
from engine.errors import BudgetError
from engine.live.transport.pool import Call, NoAnswer, Reply
from engine.live.transport.routes import SHARD_OF

log: Final = logging.getLogger("engine.client")
_TOGETHER: Final = 100


class Caller(Protocol):
    """Who sends calls: the client's sender."""

    closed: bool

    def enter(self, loop: asyncio.AbstractEventLoop, size: int) -> None:
        """Admits so many calls."""

    def leave(self, size: int) -> None:
        """Releases them."""

    def alone(self, loop: asyncio.AbstractEventLoop, shard: int, call: Call) -> asyncio.Future[Reply]:
        """One call."""

    def where_of(self, shard_key: str) -> str:
        """The server that has a shard."""


class Resender:
    """Keeps what a client's calls changed for `keep_s` seconds. Bound to the client's event loop."""

    def __init__(self, caller: Caller, keep_s: float) -> None:
        self._caller = caller
        self._kept = KeptCalls(keep_s)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def note(self, call: Call, reply: Reply) -> None:
        """Keeps a call that its reply acknowledges."""
        if self._kept.note(call, reply):
            if self._task is None or self._task.done():
                self._task = asyncio.get_running_loop().create_task(self._run(), name="budget-resend")
            self._wake.set()

    async def _run(self) -> None:
        while not self._caller.closed:
            self._wake.clear()  # before the look: what is noted meanwhile is looked at next
            try:
                await self._check()
            except Exception:  # a task of its own: nobody else would say so, and the next look comes anyway
                log.exception("acknowledged spends could not be looked at")
            try:
                await asyncio.wait_for(self._wake.wait(), CHECK_S)
            except TimeoutError:
                continue

    async def _check(self) -> None:
        questions = self._kept.questions()
        loop = asyncio.get_running_loop()
        for call, reply in zip(questions, await self._ask(questions), strict=True):
            key = call.keys[0]
            self._kept.compare(key, self._caller.where_of(key), reply, loop.time())
        for key, calls in self._kept.due().items():
            sent = [await self._send(calls[at : at + _TOGETHER]) for at in range(0, len(calls), _TOGETHER)]
            if all(sent):
                self._kept.sent(key)
                log.warning(
                    "%d acknowledged calls to %s were sent again: the server or its data changed", len(calls), key
                )

    async def _ask(self, calls: Sequence[Call]) -> list[Reply | None]:
        loop, caller = asyncio.get_running_loop(), self._caller
        # A client that closes admits nothing more from others.
        admitted = not caller.closed
        try:
            if admitted:
                caller.enter(loop, len(calls))
        except BudgetError:  # too many wait: the next look is a second later
            return [None] * len(calls)
        try:
            asked = [caller.alone(loop, SHARD_OF[call.keys[0]], call) for call in calls]
            found = await asyncio.gather(*asked, return_exceptions=True)
        finally:
            if admitted:
                caller.leave(len(calls))
        for error in found:
            if isinstance(error, BaseException) and not isinstance(error, NoAnswer | BudgetError):
                raise error
        return [None if isinstance(reply, BaseException) else reply for reply in found]

    async def _send(self, calls: Sequence[Call]) -> bool:
        """Whether all of them were answered."""
        replies = await self._ask([again(kept) for kept in calls])
        if not all(map(answered, replies)):
            return False
        facts = [
            fact for kept, reply in zip(calls, replies, strict=True) if reply and (fact := refused_now(kept, reply))
        ]
        return all(map(answered, await self._ask(facts))) if facts else True

    async def close(self) -> None:
        """Ends the task, and looks at the shards once more. Where one is away or was lost, it sends its calls again
        first, for at most CLOSE_S seconds.
        """
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        loop = asyncio.get_running_loop()
        until = loop.time() + CLOSE_S
        while True:
            try:
                await self._check()
            except Exception:  # what is open is to be closed all the same
                log.exception("acknowledged spends could not be looked at")
                return
            if not (unsure := self._kept.unsure()):
                return
            if loop.time() > until:
                log.warning("%s", left_out(unsure))
                return
            await asyncio.sleep(CLOSE_EACH_S)
