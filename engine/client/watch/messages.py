"""What watchers hear and read: the channel's messages and the replies of `read_watched`, as values.

Each carries what orders it: a brand's money the journal number n, a plan its version. So an older word never overwrites a newer state.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.domain.causes import DAILY_BUDGET, MONTHLY_BUDGET

_DIRECTIONS: Final = {"exhausted": True, "restored": False}


class CampaignSeen(NamedTuple):
    """A campaign's published plan. schedule: the compiled text."""

    campaign_id: int
    version: int
    enabled: bool
    archived: bool
    schedule: str


class BrandSeen(NamedTuple):
    """A brand at journal number n of its shard. at_ms: the instant for whose day and month the two `*_used_up` hold. `no_*`: a limit of 0."""

    n: int
    at_ms: int
    version: int
    archived: bool
    no_daily: bool
    no_monthly: bool
    daily_used_up: bool
    monthly_used_up: bool


class BudgetMoved(NamedTuple):
    """A budget of a brand was used up, or is free again."""

    brand_id: int
    cause: str
    used_up: bool
    at_ms: int
    n: int


class PlanTold(NamedTuple):
    """A brand as it stands, and those of its campaigns that changed."""

    brand_id: int
    brand: BrandSeen
    campaigns: tuple[CampaignSeen, ...]


class ShardTold(NamedTuple):
    """A shard lost its mark, or has it again."""

    ready: bool


Change = BudgetMoved | PlanTold | ShardTold


def read_message(message: bytes) -> Change:
    """One message of the channel. Raises ValueError for one of another make: read the plan again instead."""
    words = message.decode().split(" ")
    if words[:2] == ["0", "shard"]:
        return ShardTold(words[2:3] == ["ready"])
    if words[1:3] == ["plan", "published"] and len(words) > 5:
        brand = read_brand(int(words[4]), int(words[3]), words[5])
        campaigns = (_split(word) for word in words[6:])
        return PlanTold(int(words[0]), brand, tuple(read_campaign(*c) for c in campaigns))
    brand_id, cause, direction, at, n = words
    if cause not in (DAILY_BUDGET, MONTHLY_BUDGET) or direction not in _DIRECTIONS:
        raise ValueError(f"a message that this program does not know: {message!r:.200}")
    return BudgetMoved(int(brand_id), cause, _DIRECTIONS[direction], int(at), int(n))


def read_brand(n: int, at_ms: int, text: str) -> BrandSeen:
    """`version:archived:daily_limit:monthly_limit:daily used up:monthly used up`. Raises ValueError."""
    version, archived, daily, monthly, daily_used_up, monthly_used_up = text.split(":")
    return BrandSeen(
        n,
        at_ms,
        int(version),
        archived == "1",
        daily == "0",
        monthly == "0",
        daily_used_up == "1",
        monthly_used_up == "1",
    )


def read_campaign(campaign_id: int, text: str) -> CampaignSeen:
    """`version:on:archived:schedule`. Raises ValueError."""
    version, on, archived, schedule = text.split(":")
    return CampaignSeen(campaign_id, int(version), on == "1", archived == "1", schedule)


def _split(word: str) -> tuple[int, str]:
    campaign_id, _, plan = word.partition(":")
    return int(campaign_id), plan
