"""Parses the channel's messages and the replies of `read_watched`.

Each has its order: budgets the journal number n, a plan its version. So an older message never overwrites a newer
state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from engine.client.watch.rates import RateSet
from engine.domain.budget import BUDGETS, CAMPAIGN_BUDGETS, OWN_CAUSES, budgets_of
from engine.domain.causes import BREAKER, OTHER, cause_of
from engine.domain.flights import IN_PLAN, PlannedFlight
from engine.domain.ids import brand_of
from engine.domain.periods import MINUTE_MS
from engine.domain.zone_text import UTC, Zone

_REPORTED: Final = tuple(kind.cause for kind in BUDGETS)
_OWN: Final = len(CAMPAIGN_BUDGETS)
_OF_CAMPAIGN: Final = OWN_CAUSES | {BREAKER}
_BROKEN: Final = "bk="
_STEP: Final = "n="
_RATE: Final = "rate="
_RATES: Final = {"pass_rate": True, "campaign_pass_rate": False}
"""{name in a message: whether the rate is a brand's}"""
_ZONE: Final = "zone="
_PAUSED: Final = "paused=1"
_DIRECTIONS: Final = {"exhausted": True, "restored": False}


class OwnSnapshot(NamedTuple):
    """A campaign's own budgets at journal number n of its shard, by their causes; the fields as in `BrandSnapshot`."""

    n: int
    at_ms: int
    zero_limits: frozenset[str]
    used_up: frozenset[str]
    flights: tuple[tuple[PlannedFlight, bool], ...] = ()
    """Those in the plan, and whether the budget of each is used up."""
    broken: bool = False
    """Its breaker is open."""
    step_ms: int | None = None
    """When a scheduled change of its limits comes next."""


class CampaignSnapshot(NamedTuple):
    """A campaign's published plan. schedule: the compiled text. own: None where it never had limits of its own."""

    campaign_id: int
    version: int
    enabled: bool
    archived: bool
    schedule: str
    own: OwnSnapshot | None = None


class BrandSnapshot(NamedTuple):
    """A brand at journal number n of its shard.

    at_ms: the instant for whose periods `used_up` holds. Budgets are named by their causes: `reported` are those in the message,
    `zero_limits` those with a limit of 0.
    """

    n: int
    at_ms: int
    version: int
    archived: bool
    zero_limits: frozenset[str]
    used_up: frozenset[str]
    reported: tuple[str, ...] = _REPORTED
    zone: Zone = UTC
    step_ms: int | None = None
    """When a scheduled change of its limits comes next."""
    paused: bool = False


class BudgetMoved(NamedTuple):
    """A budget of a brand, or a campaign's own, was used up or freed, or its breaker opened. cause: `other` for a budget of a later release."""

    brand_id: int
    cause: str
    used_up: bool
    at_ms: int
    n: int
    campaign_id: int | None = None


class PlanPublished(NamedTuple):
    """A brand, and those of its campaigns that changed."""

    brand_id: int
    brand: BrandSnapshot
    campaigns: tuple[CampaignSnapshot, ...]


class ShardChanged(NamedTuple):
    """A shard lost its mark, or has one again."""

    ready: bool


Change = BudgetMoved | PlanPublished | ShardChanged | RateSet


def read_message(message: bytes) -> Change:
    """Parses a message of the channel. Ignores fields of later releases.

    Raises ValueError for an unknown message: read the plan again instead.
    """
    words = message.decode().split(" ")
    if words[:2] == ["0", "shard"]:
        return ShardChanged(words[2:3] == ["ready"])
    if words[1:3] == ["plan", "published"] and len(words) > 5:
        brand = read_brand(int(words[4]), int(words[3]), words[5])
        campaigns = (_split(word) for word in words[6:])
        return PlanPublished(
            int(words[0]), brand, tuple(read_campaign(*c, n=brand.n, at_ms=brand.at_ms) for c in campaigns)
        )
    owner_id, name, direction, at, n, *_ = words
    kind, _, ppm = name.partition(":")
    if kind in _RATES:
        return RateSet(int(owner_id), _RATES[kind], int(at) // MINUTE_MS, int(ppm))
    cause = cause_of(name)
    if cause.name not in (*_REPORTED, *_OF_CAMPAIGN, OTHER) or direction not in _DIRECTIONS:
        raise ValueError(f"a message that this program does not know: {message!r:.200}")
    campaign_id = int(owner_id) if cause.name in _OF_CAMPAIGN else None
    brand_id = int(owner_id) if campaign_id is None else brand_of(campaign_id)
    return BudgetMoved(brand_id, cause.name, _DIRECTIONS[direction], int(at), int(n), campaign_id)


def read_brand(n: int, at_ms: int, text: str) -> BrandSnapshot:
    """`version:archived:daily_limit:monthly_limit:daily used up:monthly used up`; with a time zone `:zone=...`;
    while it is paused `:paused=1`; with scheduled changes `:n=` the next step of its limits; and fields of later releases. Raises ValueError.
    """
    version, archived, *words = text.split(":")
    fields = [word for word in words if "=" not in word]
    reported = [(kind.cause, *of_budget) for kind, of_budget in zip(BUDGETS, budgets_of(fields, 2), strict=False)]
    return BrandSnapshot(
        n,
        at_ms,
        int(version),
        archived == "1",
        frozenset(cause for cause, limit, _ in reported if limit == "0"),
        frozenset(cause for cause, _, used_up in reported if used_up == "1"),
        tuple(cause for cause, *_ in reported),
        Zone.parse(next((word.removeprefix(_ZONE) for word in words if word.startswith(_ZONE)), None)),
        _step_ms(words),
        _PAUSED in words,
    )


def read_campaign(campaign_id: int, text: str, *, n: int = 0, at_ms: int = 0) -> CampaignSnapshot:
    """`version:on:archived:schedule`; with limits of its own `:daily:monthly:lifetime limit`, then of each `:used up`;
    with flights `:f1:f2`, then of each of these `:used up`; with an open breaker `:bk=since`; `:n=` as of a brand; and
    fields of later releases. n, at_ms: where what is used up holds. Raises ValueError.
    """
    version, on, archived, schedule, *words = text.split(":")
    more = [word for word in words if "=" not in word]
    own = None
    if len(more) >= 2 * _OWN:
        limits, used_up, flights = more[:_OWN], more[_OWN : 2 * _OWN], more[2 * _OWN : 2 * _OWN + 2 * IN_PLAN]
        own = OwnSnapshot(
            n,
            at_ms,
            frozenset(kind.cause for kind, limit in zip(CAMPAIGN_BUDGETS, limits, strict=True) if limit == "0"),
            frozenset(kind.cause for kind, word in zip(CAMPAIGN_BUDGETS, used_up, strict=True) if word == "1"),
            tuple(
                (PlannedFlight.parse(text), word == "1")
                for text, word in zip(flights[:IN_PLAN], flights[IN_PLAN:], strict=True)
                if text
            ),
            any(word.startswith(_BROKEN) for word in words),
            _step_ms(words),
        )
    return CampaignSnapshot(campaign_id, int(version), on == "1", archived == "1", schedule, own)


def _step_ms(words: Sequence[str]) -> int | None:
    return next((int(word.removeprefix(_STEP)) for word in words if word.startswith(_STEP)), None)


def rates_of(owner_id: int, at_ms: int, text: str, *, of_brand: bool) -> list[RateSet]:
    """The pass rate in a line of `read_watched`, where it has one."""
    found = [word for word in text.split(":") if word.startswith(_RATE)]
    return [RateSet(owner_id, of_brand, at_ms // MINUTE_MS, int(word.removeprefix(_RATE))) for word in found]


def _split(word: str) -> tuple[int, str]:
    campaign_id, _, plan = word.partition(":")
    return int(campaign_id), plan
