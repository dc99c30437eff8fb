"""`AsyncBudgetClient`: `BudgetClient` for asyncio. Concurrent spends of many tasks share script calls.

Spends without a request id of their own collect by shard and verb during a round trip; then the spends of each shard
are sent as one call. Their order is kept in each shard.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from engine.client.aio.coalescing import PLACE
from engine.client.aio.futures import SpendFuture, begun
from engine.client.aio.holds import AsyncHoldCalls
from engine.client.aio.sender import Sender
from engine.client.batches import Piece, calls_of, in_order, note_replicas, pieces_of, pieces_of_columns
from engine.client.columns import IntColumn, checked_columns
from engine.client.leases.lease import Lease
from engine.client.leases.spool import Replayed
from engine.client.outcomes import Outcomes, outcomes_of
from engine.client.prepared import call_for
from engine.client.spends import SpendColumns, SpendLike, line_of
from engine.client.sync import BudgetClient, asks_status, checked_request_id, read_status, status_unknown
from engine.client.waiting import checked_replicas
from engine.client.watch.watch import Watch
from engine.domain.ids import ORDINALS, check_campaign_id, shard_of
from engine.domain.money import micros_of
from engine.errors import BudgetError, InvalidInput, shown
from engine.live.replies import ACCEPTED, RECORDED, CampaignStatus, SpendResult, unavailable
from engine.live.scripts import LAYOUT, RECORD, TRY, script
from engine.live.transport.pool import Call, NoAnswer, Reply
from engine.settings import hot_redis_url, replicas_to_wait_for

__all__ = ["AsyncBudgetClient"]

MAX_WAITING: Final = 10_000


class AsyncBudgetClient(AsyncHoldCalls):
    """Reports spends to the budget engine from one event loop. Close it with `aclose`, or use it in an `async with`.

    A call is accepted when it is made, not when it is awaited: calls count in the order in which they were made. Each
    may be awaited, gathered or made a task. `gather` over spends themselves is twice as fast as over tasks that await
    one each. (`asyncio.wait` takes tasks only.)

    Every call is bounded by `timeout_ms`, waiting and retries included. When it passes, `Unavailable` carries the
    request id: repeating with it never counts twice. A spend of a shared call has a request id with a `#` in it: only
    this client can repeat it (for five minutes), every other one refuses it as InvalidId. A spend that is cancelled
    before it is sent is not sent; after that it may count.

    max_waiting: spends that may wait for a reply; one more raises Overloaded at once. A larger batch is sent when
    nothing else waits.
    """

    def __init__(
        self,
        url: str,
        timeout_ms: int = 250,
        max_waiting: int = MAX_WAITING,
        resend_s: float | None = None,
        wait_replicas: int = 0,
    ) -> None:
        for name, value in (("timeout_ms", timeout_ms), ("max_waiting", max_waiting)):
            if type(value) is not int or value <= 0:
                raise InvalidInput(f"{name} {shown(value)} is not a whole number above 0", name)
        self._url, self._timeout_ms = url, timeout_ms
        self._beside: BudgetClient | None = None
        """The sync client of the watches and leases, which have threads of their own."""
        self._sender = Sender(url, timeout_ms / 1000, max_waiting, resend_s, checked_replicas(wait_replicas))
        self._waits = wait_replicas > 0

    @classmethod
    def from_url(
        cls,
        url: str,
        timeout_ms: int = 250,
        max_waiting: int = MAX_WAITING,
        resend_s: float | None = None,
        wait_replicas: int = 0,
    ) -> AsyncBudgetClient:
        """A client for the Redis at `url`: any form that redis-py takes, redis+cluster:// or redis+sentinel://.

        resend_s, wait_replicas: as of `BudgetClient.from_url`; replicas are waited for half of `timeout_ms` at most.
        """
        return cls(url, timeout_ms, max_waiting, resend_s, wait_replicas)

    @classmethod
    def from_env(
        cls,
        timeout_ms: int = 250,
        max_waiting: int = MAX_WAITING,
        resend_s: float | None = None,
        wait_replicas: int | None = None,
    ) -> AsyncBudgetClient:
        """A client for REDIS_URL, or for the embedded servers that run on BUDGET_DATA_DIR. wait_replicas: None for
        BUDGET_WAIT_REPLICAS.
        """
        replicas = replicas_to_wait_for() if wait_replicas is None else wait_replicas
        return cls(hot_redis_url(), timeout_ms, max_waiting, resend_s, replicas)

    def record_spend(
        self,
        campaign_id: int,
        amount: str | Decimal | None = None,
        *,
        amount_micros: int | None = None,
        event_id: str | None = None,
        request_id: str | None = None,
        occurred_at: datetime | None = None,
    ) -> Coroutine[Any, Any, SpendResult]:
        """`BudgetClient.record_spend`, awaited. Also raises Overloaded."""
        return self._spend(RECORD, RECORDED, request_id, campaign_id, amount, amount_micros, event_id, occurred_at)

    def try_spend(
        self,
        campaign_id: int,
        amount: str | Decimal | None = None,
        *,
        amount_micros: int | None = None,
        event_id: str | None = None,
        request_id: str | None = None,
        occurred_at: datetime | None = None,
    ) -> Coroutine[Any, Any, SpendResult]:
        """`BudgetClient.try_spend`, awaited. Also raises Overloaded."""
        return self._spend(TRY, ACCEPTED, request_id, campaign_id, amount, amount_micros, event_id, occurred_at)

    @begun
    async def record_spends(self, spends: Iterable[SpendLike], *, request_id: str | None = None) -> list[SpendResult]:
        """`BudgetClient.record_spends`, awaited: all calls of the batch in one round trip. Also raises Overloaded."""
        return await self._many(RECORD, RECORDED, spends, request_id)

    @begun
    async def try_spends(self, spends: Iterable[SpendLike], *, request_id: str | None = None) -> list[SpendResult]:
        """`BudgetClient.try_spends`, awaited; as `record_spends`."""
        return await self._many(TRY, ACCEPTED, spends, request_id)

    @begun
    async def record_spend_columns(
        self,
        campaign_ids: IntColumn,
        amounts_micros: IntColumn,
        *,
        event_ids: Sequence[str | None] | None = None,
        occurred_at: Sequence[datetime | None] | None = None,
        request_id: str | None = None,
    ) -> Outcomes:
        """`BudgetClient.record_spend_columns`, awaited: all calls of the batch in one round trip. Also raises
        Overloaded.
        """
        columns = checked_columns(campaign_ids, amounts_micros, event_ids, occurred_at)
        return await self._many_columns(RECORD, RECORDED, columns, request_id)

    @begun
    async def try_spend_columns(
        self,
        campaign_ids: IntColumn,
        amounts_micros: IntColumn,
        *,
        event_ids: Sequence[str | None] | None = None,
        occurred_at: Sequence[datetime | None] | None = None,
        request_id: str | None = None,
    ) -> Outcomes:
        """`BudgetClient.try_spend_columns`, awaited; as `record_spend_columns`."""
        columns = checked_columns(campaign_ids, amounts_micros, event_ids, occurred_at)
        return await self._many_columns(TRY, ACCEPTED, columns, request_id)

    @begun
    async def status(self, campaign_id: int) -> CampaignStatus:
        """`BudgetClient.status`, awaited. It includes what this client reported before."""
        call = asks_status(campaign_id)
        try:
            return read_status(await self._reply(campaign_id, call), campaign_id)
        except NoAnswer as failure:
            raise status_unknown(failure, campaign_id) from None

    def watch(
        self,
        *,
        brands: Iterable[int] | None = None,
        campaigns: Iterable[int] | None = None,
        fail_open: bool = False,
        random: Callable[[], float] = random.random,
    ) -> Watch:
        """As `BudgetClient.watch`; only `wait_ready` blocks."""
        return self._sync().watch(brands=brands, campaigns=campaigns, fail_open=fail_open, random=random)

    async def lease(
        self,
        campaign_id: int,
        amount: str | Decimal | None = None,
        ttl: float | timedelta = 60,
        *,
        amount_micros: int | None = None,
        largest: str | Decimal | None = None,
        spool: str | os.PathLike[str] | None = None,
    ) -> Lease:
        """As `BudgetClient.lease`. `lease.try_spend` never blocks; `lease.close` does: await
        `asyncio.to_thread(lease.close)`, or leave it to `aclose`.
        """
        take = partial(self._sync().lease, amount_micros=amount_micros, largest=largest, spool=spool)
        return await asyncio.to_thread(take, campaign_id, amount, ttl)

    async def replay_spool(self, spool: str | os.PathLike[str]) -> Replayed:
        """As `BudgetClient.replay_spool`."""
        return await asyncio.to_thread(self._sync().replay_spool, spool)

    async def aclose(self) -> None:
        """Sends accepted calls, waits for their replies at most until their deadlines, and ends the leases. Later
        calls raise BudgetError.
        """
        try:
            if self._beside is not None:
                await asyncio.to_thread(self._beside.close)
        finally:
            await self._sender.close()

    async def __aenter__(self) -> AsyncBudgetClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def _sync(self) -> BudgetClient:
        if self._beside is None:
            self._beside = BudgetClient.from_url(self._url, self._timeout_ms)
        return self._beside

    def _spend(
        self,
        verb: str,
        counted_word: str,
        request_id: str | None,
        campaign_id: int,
        amount: str | Decimal | None,
        amount_micros: int | None,
        event_id: str | None,
        occurred_at: datetime | None,
    ) -> Coroutine[Any, Any, SpendResult]:
        """Accepts a spend, which is sent whether or not it is awaited. Errors are raised when it is awaited."""
        if isinstance(request_id, str) and PLACE in request_id:
            return self._again(verb, request_id, campaign_id, amount, amount_micros, event_id, occurred_at)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # such as in the parentheses of asyncio.run
            return self._later(
                verb, counted_word, request_id, campaign_id, amount, amount_micros, event_id, occurred_at
            )
        sender = self._sender
        try:
            line, micros = None, 0
            if request_id is not None or event_id is not None or occurred_at is not None:
                line = line_of(campaign_id, amount, event_id, amount_micros, occurred_at)
            else:
                check_campaign_id(campaign_id)
                micros = micros_of(amount, amount_micros)
            if request_id is not None:
                request = checked_request_id(request_id)
                call = call_for(script(verb), campaign_id, (LAYOUT, request, line or ""))
                sender.enter(loop, 1)
                return sender.own(loop, call, campaign_id, counted_word, request)
            sender.enter(loop, 1)
        except BudgetError as error:
            refused = SpendFuture(loop=loop)
            refused.set_exception(error)
            return refused
        return sender.join(loop, shard_of(campaign_id // ORDINALS), verb, campaign_id, micros, line)

    async def _later(self, *facts: Any) -> SpendResult:
        """Accepts a spend when it is first awaited."""
        return await self._spend(*facts)

    @begun
    async def _again(self, verb: str, request_id: str, *facts: Any) -> SpendResult:
        """A spend of a shared call that timed out here."""
        line = line_of(facts[0], facts[1], facts[3], facts[2], facts[4])
        return await asyncio.shield(self._sender.again(asyncio.get_running_loop(), request_id, verb, line))

    async def _reply(self, campaign_id: int, call: Call) -> Reply:
        """The reply to a single request. Raises NoAnswer."""
        sender = self._sender
        loop = asyncio.get_running_loop()
        sender.enter(loop, 1)
        try:
            return await sender.alone(loop, shard_of(campaign_id // ORDINALS), call)
        finally:
            sender.leave(1)

    async def _many(
        self, verb: str, counted_word: str, spends: Iterable[SpendLike], request_id: str | None
    ) -> list[SpendResult]:
        request = checked_request_id(request_id)
        pieces, size = pieces_of(spends, verb)
        calls = calls_of(script(verb), pieces, request)
        replies, failure = await self._replies(pieces, calls, size)
        answers = in_order(pieces, replies, counted_word, size, request)
        if self._waits:
            note_replicas(answers, pieces, calls)
        if failure is not None:
            raise unavailable(failure, request, answers)
        return answers  # type: ignore[return-value]  # all there

    async def _many_columns(
        self, verb: str, counted_word: str, columns: SpendColumns, request_id: str | None
    ) -> Outcomes:
        request, size = checked_request_id(request_id), len(columns.campaign_ids)
        pieces = pieces_of_columns(columns, verb)
        calls = calls_of(script(verb), pieces, request, expected=False)
        replies, failure = await self._replies(pieces, calls, size)
        if failure is not None:
            answers = in_order(pieces, replies, counted_word, size, request)
            if self._waits:
                note_replicas(answers, pieces, calls)
            raise unavailable(failure, request, answers)
        waited = calls if self._waits else None
        return outcomes_of(pieces, replies, counted_word, size, request, waited)  # type: ignore[arg-type]  # all there

    async def _replies(
        self, pieces: Sequence[Piece], calls: Sequence[Call], size: int
    ) -> tuple[list[Reply | None], NoAnswer | None]:
        """The replies to the calls of a batch, None where there is none, and the first failure."""
        if not calls:
            return [], None
        sender = self._sender
        loop = asyncio.get_running_loop()
        sender.enter(loop, size)
        futures = [sender.alone(loop, piece.shard, call) for piece, call in zip(pieces, calls, strict=True)]
        try:
            outcomes = await asyncio.gather(*futures, return_exceptions=True)
        finally:
            sender.leave(size)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for failure in failures:
            if not isinstance(failure, NoAnswer):
                raise failure
        replies = [None if isinstance(outcome, BaseException) else outcome for outcome in outcomes]
        return replies, failures[0] if failures else None  # type: ignore[return-value]  # all NoAnswer
