"""Holds and refunds for bidders under asyncio: `HoldCalls`, awaited."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from engine.client.aio.futures import begun
from engine.client.holds import (
    AnswerT,
    Asked,
    HoldResult,
    RefundResult,
    asks_refund,
    asks_release,
    asks_reserve,
    asks_settle,
)
from engine.live.transport.pool import Call, NoAnswer, Reply


class AsyncHoldCalls:
    """The part of AsyncBudgetClient with holds and refunds."""

    _waits: bool

    @begun
    async def reserve(
        self,
        campaign_id: int,
        amount: str | Decimal | None = None,
        ttl: float | timedelta = 60,
        hold_id: str | None = None,
        *,
        amount_micros: int | None = None,
    ) -> HoldResult:
        """`BudgetClient.reserve`, awaited."""
        return await self._ask(asks_reserve(campaign_id, amount, ttl, hold_id, amount_micros))

    @begun
    async def settle(
        self, hold_id: str, amount: str | Decimal | None = None, *, amount_micros: int | None = None
    ) -> HoldResult:
        """`BudgetClient.settle`, awaited."""
        return await self._ask(asks_settle(hold_id, amount, amount_micros))

    @begun
    async def release(self, hold_id: str) -> HoldResult:
        """`BudgetClient.release`, awaited."""
        return await self._ask(asks_release(hold_id))

    @begun
    async def refund(
        self,
        campaign_id: int,
        amount: str | Decimal | None = None,
        event_id: str | None = None,
        *,
        amount_micros: int | None = None,
        spent_on: date | None = None,
        refund_id: str | None = None,
    ) -> RefundResult:
        """`BudgetClient.refund`, awaited."""
        return await self._ask(asks_refund(campaign_id, amount, event_id, amount_micros, spent_on, refund_id))

    async def _ask(self, asked: Asked[AnswerT]) -> AnswerT:
        try:
            answer = asked.answer(await self._reply(asked.campaign_id, asked.call))
        except NoAnswer as failure:
            raise asked.unavailable(failure) from None
        if self._waits:
            answer.replicated = asked.call.replicated
        return answer

    async def _reply(self, campaign_id: int, call: Call) -> Reply:
        raise NotImplementedError
