"""The Redis-native budget engine: what a bidder imports. It needs redis-py and nothing else.

Each name is imported when it is first used: a process that uses one client does not load the others, and the command
line starts without any.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from decimal import Decimal

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

_PLACES: Final = {
    "AsyncBudgetClient": "engine.client.aio.client",
    "BudgetClient": "engine.client.sync",
    "CampaignStatus": "engine.live.replies",
    "Lease": "engine.client.leases.lease",
    "Outcomes": "engine.client.outcomes",
    "Spend": "engine.client.sync",
    "SpendResult": "engine.live.replies",
    "Watch": "engine.client.watch.watch",
    "from_cpm": "engine.domain.money",
}
"""The modules of the names above; the others are errors."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_PLACES.get(name, "engine.errors")), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


@cache
def _client() -> BudgetClient:
    from engine.client.sync import BudgetClient

    return BudgetClient.from_env()


def record_spend(campaign_id: int, amount: str | Decimal) -> SpendResult:
    """`BudgetClient.record_spend` on a client made once from the environment (REDIS_URL, or the embedded servers)."""
    return _client().record_spend(campaign_id, amount)
