"""The Redis-native budget engine: what a bidder imports. It needs redis-py and nothing else."""

from __future__ import annotations

from decimal import Decimal
from functools import cache

from engine.client.aio.client import AsyncBudgetClient
from engine.client.leases.lease import Lease
from engine.client.outcomes import Outcomes
from engine.client.sync import BudgetClient, Spend
from engine.client.watch.watch import Watch
from engine.domain.money import from_cpm
from engine.errors import (
    BudgetError,
    InvalidAmount,
    InvalidBudget,
    InvalidId,
    InvalidInput,
    InvalidSchedule,
    NotFound,
    NotReady,
    Overloaded,
    Unavailable,
    UnreadableReply,
    WrongVersion,
)
from engine.live.replies import CampaignStatus, SpendResult

__all__ = [
    "AsyncBudgetClient",
    "BudgetClient",
    "BudgetError",
    "CampaignStatus",
    "InvalidAmount",
    "InvalidBudget",
    "InvalidId",
    "InvalidInput",
    "InvalidSchedule",
    "Lease",
    "NotFound",
    "NotReady",
    "Outcomes",
    "Overloaded",
    "Spend",
    "SpendResult",
    "Unavailable",
    "UnreadableReply",
    "Watch",
    "WrongVersion",
    "from_cpm",
    "record_spend",
]


@cache
def _client() -> BudgetClient:
    return BudgetClient.from_env()


def record_spend(campaign_id: int, amount: str | Decimal) -> SpendResult:
    """`BudgetClient.record_spend` on a client made once from the environment (REDIS_URL, or the embedded servers)."""
    return _client().record_spend(campaign_id, amount)
