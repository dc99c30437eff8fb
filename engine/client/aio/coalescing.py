"""The requests of an async client, each one script call, with the futures of its callers.

`CoalescedBatch`: spends of one shard and verb by several callers. `OwnSpend`: a spend under its caller's request id.
`SingleRequest`: any other call, of one caller.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Sequence
from typing import Any, Final

from engine.client.aio.futures import SpendFuture
from engine.client.batches import (
    MAX_CAMPAIGNS_A_CALL,
    PACKED_FROM,
    Piece,
    fits,
    most_spends,
)
from engine.client.request_ids import next_id
from engine.errors import BudgetError, Unavailable
from engine.live.keys import shard_keys
from engine.live.packed import pack
from engine.live.replies import ACCEPTED, NOT_READY, RECORDED, SpendResult, spend_result, spend_results, unavailable
from engine.live.scripts import RECORD, TRY, script
from engine.live.transport.pool import Arg, Call, NoAnswer, Reply

PLACE: Final = "#"
"""Separates a shared call's id and a caller's place in it. No id may have it, so every other client refuses such a
request id.
"""


class PendingRequest:
    """A call that is pending, in flight, or answered. `call` exists from sending on and never changes, so that it
    counts once.
    """

    __slots__ = ("answered", "call", "given_up", "heard")

    call: Call | None
    heard: Reply | None
    """A reply that is not given to the callers yet: its replicas are waited for."""
    answered: bool
    given_up: bool
    """A caller's deadline passed without a reply."""

    @property
    def shard_key(self) -> str:
        """The first key of its shard."""
        raise NotImplementedError

    def seal(self) -> bool:
        """Prepares it for sending to the callers that still wait; False when none does."""
        raise NotImplementedError

    def wanted(self) -> bool:
        """Whether a caller awaits it."""
        raise NotImplementedError

    def answer(self, reply: Reply) -> None:
        """Handles Redis' reply."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """Redis refused it in a way that no retry changes."""
        raise NotImplementedError

    def expire(self, now: float, why: str) -> float | None:
        """Ends callers whose deadline has passed; returns the next deadline of the others."""
        raise NotImplementedError

    def soonest(self) -> float:
        """The first deadline of a caller that waits."""
        raise NotImplementedError


class SingleRequest(PendingRequest):
    """A call with one caller, who gets the reply itself, or NoAnswer."""

    __slots__ = ("_planned", "deadline", "future")

    def __init__(self, call: Call, deadline: float, future: Future[Reply]) -> None:
        self._planned = call
        self.call = None
        self.heard = None
        self.answered = False
        self.given_up = False
        self.deadline = deadline
        self.future = future

    @property
    def shard_key(self) -> str:
        return self._planned.keys[0]

    def seal(self) -> bool:
        self.call = self._planned
        return not self.future.done()

    def wanted(self) -> bool:
        return not self.future.done()

    def answer(self, reply: Reply) -> None:
        self.answered = True
        if not self.future.done():
            self.future.set_result(reply)

    def fail(self, error: Exception) -> None:
        self.answered = True
        if not self.future.done():
            self.future.set_exception(error)

    def expire(self, now: float, why: str) -> float | None:
        if self.future.done():
            return None
        if self.deadline > now:
            return self.deadline
        self.given_up = True
        self.future.set_exception(NoAnswer(why, []))
        return None

    def soonest(self) -> float:
        return self.deadline


class OwnSpend(PendingRequest):
    """A spend under a request id of its caller: a call of its own. told: as in `CoalescedBatch`."""

    __slots__ = ("_planned", "_request", "_told", "_word", "campaign_id", "deadline", "future")

    def __init__(
        self,
        call: Call,
        campaign_id: int,
        counted_word: str,
        request: str,
        deadline: float,
        future: SpendFuture,
        told: Callable[[int], None],
    ) -> None:
        self._planned = call
        self._word = counted_word
        self._request = request
        self._told = told
        self.call = None
        self.heard = None
        self.answered = False
        self.given_up = False
        self.campaign_id = campaign_id
        self.deadline = deadline
        self.future = future

    @property
    def shard_key(self) -> str:
        return self._planned.keys[0]

    def seal(self) -> bool:
        self.call = self._planned
        return not self.future.done()

    def wanted(self) -> bool:
        return not self.future.done()

    def answer(self, reply: Reply) -> None:
        self.answered = True
        result = spend_result(reply, self.campaign_id, self._word)
        replicated = getattr(self.call, "replicated", None)
        if replicated is not None:
            result.replicated = replicated
        if not self.future.done():
            self.future.set_result(result)
            self._told(1)

    def fail(self, error: Exception) -> None:
        self.answered = True
        if not self.future.done():
            known = unavailable(error, self._request, [None]) if isinstance(error, NoAnswer) else error
            self.future.set_exception(known)
            self._told(1)

    def expire(self, now: float, why: str) -> float | None:
        if self.future.done():
            return None
        if self.deadline > now:
            return self.deadline
        self.given_up = True
        self.future.set_exception(unavailable(NoAnswer(why, []), self._request, [None]))
        self._told(1)
        return None

    def soonest(self) -> float:
        return self.deadline


class CoalescedBatch(PendingRequest):
    """Spends of several callers. lines: their text where one has an event id or an instant, else None, and `micros`
    has the amounts. told: takes the number of callers that got a result or an error.
    """

    __slots__ = (
        "_told",
        "campaign_ids",
        "campaigns",
        "deadlines",
        "futures",
        "limit",
        "lines",
        "micros",
        "request",
        "results",
        "shard",
        "verb",
    )

    def __init__(self, shard: int, verb: str, with_lines: bool, told: Callable[[int], None]) -> None:
        self.shard = shard
        self.verb = verb
        self._told = told
        self.request = next_id()
        self.call = None
        self.heard = None
        self.answered = False
        self.given_up = False
        self.campaign_ids: list[int] = []
        self.micros: list[int] = []
        self.lines: list[str] | None = [] if with_lines else None
        self.futures: list[SpendFuture] = []
        self.deadlines: list[float] = []
        self.results: Sequence[SpendResult] = ()
        self.limit = most_spends(MAX_CAMPAIGNS_A_CALL, with_lines, verb == TRY)
        self.campaigns: set[int] = set()

    @property
    def shard_key(self) -> str:
        return shard_keys(self.shard).shard

    def opens(self, campaign_id: int) -> bool:
        """Adds one more campaign, where it fits."""
        grown = {*self.campaigns, campaign_id}
        if not fits(grown):
            return False
        self.campaigns = grown
        return True

    def line(self, place: int) -> str:
        """A spend as text."""
        return self.lines[place] if self.lines is not None else f"{self.campaign_ids[place]},{self.micros[place]},,;"

    def seal(self) -> bool:
        if self.call is None:
            done = list(map(Future.done, self.futures))
            if any(done):
                self._leave_out([place for place, gone in enumerate(done) if gone])
            if self.futures:
                self.call = self._piece().call(script(self.verb), self.request)
        return self.wanted()

    def _leave_out(self, gone: Sequence[int]) -> None:
        columns: tuple[list[Any] | None, ...] = (
            self.campaign_ids,
            self.micros,
            self.lines,
            self.futures,
            self.deadlines,
        )
        for column in columns:
            if column:
                for place in reversed(gone):
                    del column[place]

    def _piece(self) -> Piece:
        ids = self.campaign_ids
        campaigns = sorted(set(ids))
        args: tuple[Arg, ...]
        if self.lines is not None or len(ids) < PACKED_FROM:
            args = ("".join(map(self.line, range(len(ids)))),)
        else:
            args = pack(ids, campaigns, self.micros)
        return Piece(self.shard, 0, range(len(ids)), ids, campaigns, lambda: args)

    def wanted(self) -> bool:
        return not all(future.done() for future in self.futures)

    def answer(self, reply: Reply) -> None:
        word = RECORDED if self.verb == RECORD else ACCEPTED
        ids = self.campaign_ids
        self.results = (spend_result(reply, ids[0], word),) if len(ids) == 1 else spend_results(reply, ids, word)
        # Not ready is a result for the present callers and leaves the spends uncounted: a repeat sends them again.
        self.answered = self.results[0].outcome != NOT_READY
        replicated = getattr(self.call, "replicated", None)
        if replicated is not None:
            for result in self.results:
                result.replicated = replicated
        told = 0
        for future, result in zip(self.futures, self.results, strict=True):
            if not future.done():
                future.set_result(result)
                told += 1
        self._told(told)

    def fail(self, error: Exception) -> None:
        for place, future in enumerate(self.futures):
            if not future.done():
                self._give_up(place, self._unavailable(place, error) if isinstance(error, NoAnswer) else error)

    def expire(self, now: float, why: str) -> float | None:
        soonest = None
        for place, future in enumerate(self.futures):
            if not future.done():
                deadline = self.deadlines[place]
                if deadline <= now:
                    self._give_up(place, self._unavailable(place, NoAnswer(why, [])))
                elif soonest is None or deadline < soonest:
                    soonest = deadline
        return soonest

    def soonest(self) -> float:
        waiting = zip(self.futures, self.deadlines, strict=True)
        return min((deadline for future, deadline in waiting if not future.done()), default=float("inf"))

    def _give_up(self, place: int, error: Exception) -> None:
        self.given_up = True
        self.futures[place].set_exception(error)
        self._told(1)

    def _unavailable(self, place: int, failure: NoAnswer) -> BudgetError:
        if self.call is None:  # never sent: an id that is new everywhere
            request = next_id()
            return Unavailable(f"{failure.why}; it was not sent: repeat with request_id {request}", request, [None])
        return unavailable(failure, f"{self.request}{PLACE}{place}", [None], " on this client")

    def lost(self, place: int) -> bool:
        """Whether a place has no result and no caller who awaits it."""
        return not self.answered and self.futures[place].done()

    def again(self, place: int, deadline: float, loop: AbstractEventLoop) -> SpendFuture:
        """Awaits the result of a place again."""
        if self.answered or self.lost(place):
            future = self.futures[place] = SpendFuture(loop=loop)
            future.given_up = self._told
            self.deadlines[place] = deadline
            if self.answered:
                future.set_result(self.results[place])
        return self.futures[place]
