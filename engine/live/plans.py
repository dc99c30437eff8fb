"""Brands and campaigns as Redis has them at one instant, parsed from the lines of `lua/read_plan.lua`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from engine.domain.brake import Brake
from engine.domain.budget import BUDGETS, CAMPAIGN_BUDGETS, Budget, budgets_of
from engine.domain.causes import DAILY_BUDGET, MONTHLY_BUDGET, reasons_of
from engine.domain.flights import PlannedFlight
from engine.domain.pass_rate import WHOLE, together
from engine.domain.zone_text import UTC, Zone
from engine.live.replies import optional_int
from engine.live.transport.pool import Reply

_FIELDS: Final = 5
"""Of every campaign's line."""
_OWN_FIELDS: Final = 7
"""That follow where it has, or had, limits of its own."""
_FLIGHT_FIELDS: Final = 4
"""That follow then where it has flights."""
_RATE: Final = "rate"


class LiveBrake(NamedTuple):
    """A campaign's brake as Redis has it. since_ms: since when its breaker is open, None where it is not. spent: micros in this
    minute.
    """

    plan: Brake
    since_ms: int | None
    spent: int


class LiveCarry(NamedTuple):
    """A brand's rollover as Redis has it: its cap, and what is carried into the present day, in micros. The daily limit has it."""

    cap: int
    carried: int


@dataclass(frozen=True, slots=True)
class LiveCampaign:
    """A campaign as Redis has it; money in micros. budgets: its own, in the order of `CAMPAIGN_BUDGETS`, also those without
    a limit; empty where it never had one. flights: those in its plan, each with what its counter has. pass_rate: the ppm of
    its offers to try in this minute, its brand's rate among it.
    """

    campaign_id: int
    version: int
    enabled: bool
    reasons: tuple[str, ...]
    daily_spend: int
    monthly_spend: int
    budgets: tuple[Budget, ...] = ()
    flights: tuple[tuple[PlannedFlight, int], ...] = ()
    brake: LiveBrake | None = None
    pass_rate: int = WHOLE


@dataclass(frozen=True, slots=True)
class LiveBrand:
    """A brand as Redis has it. budgets: in the order of `BUDGETS`, as many as its shard reported. pass_rate: ppm, as of a campaign."""

    brand_id: int
    now_ms: int
    n: int
    version: int
    archived: bool
    budgets: tuple[Budget, ...]
    campaigns: Mapping[int, LiveCampaign]
    zone: Zone = UTC
    pass_rate: int = WHOLE
    carry: LiveCarry | None = None

    def budget(self, cause: str) -> Budget | None:
        """The budget of a cause; None for one that its shard did not report."""
        return next((budget for budget in self.budgets if budget.cause == cause), None)

    @property
    def daily_limit(self) -> int | None:
        return self._always(DAILY_BUDGET).limit

    @property
    def monthly_limit(self) -> int | None:
        return self._always(MONTHLY_BUDGET).limit

    @property
    def daily_spend(self) -> int:
        return self._always(DAILY_BUDGET).spent

    @property
    def monthly_spend(self) -> int:
        return self._always(MONTHLY_BUDGET).spent

    def _always(self, cause: str) -> Budget:
        found = self.budget(cause)
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class LiveCauses:
    """A brand, its `campaigns` left empty, and the causes of each campaign as a bit mask. own: the own budgets of those
    campaigns that have, or had, any. broken: {campaign id: since when (ms)} of open breakers.
    """

    brand: LiveBrand
    masks: Mapping[int, int]
    own: Mapping[int, tuple[Budget, ...]]
    broken: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class PlanLines:
    """The last reply of `read_plan` for a brand, and the lines of its campaigns, not yet parsed."""

    brand_id: int
    reply: Reply
    campaigns: dict[int, bytes]

    def brand(self, campaigns: Mapping[int, LiveCampaign]) -> LiveBrand:
        return read_brand_line(self.brand_id, self.reply, campaigns)

    def with_figures(self) -> LiveBrand:
        rate = self.brand({}).pass_rate
        return self.brand({id_: read_campaign_line(id_, text.decode(), rate) for id_, text in self.campaigns.items()})

    def masks(self) -> dict[int, int]:
        return {id_: int(text.split(b":", 3)[2]) for id_, text in self.campaigns.items()}

    def causes(self) -> LiveCauses:
        of_own = {
            id_: read_campaign_line(id_, text.decode())
            for id_, text in self.campaigns.items()
            if text.count(b":") >= _FIELDS
        }
        own = {id_: campaign.budgets for id_, campaign in of_own.items()}
        brakes = {id_: campaign.brake for id_, campaign in of_own.items()}
        broken = {id_: brake.since_ms for id_, brake in brakes.items() if brake and brake.since_ms is not None}
        return LiveCauses(self.brand({}), self.masks(), own, broken)


def read_campaign_line(campaign_id: int, text: str, brand_rate: int = WHOLE) -> LiveCampaign:
    """`version:on:causes:daily_spend:monthly_spend`; with limits of its own `:daily:monthly:lifetime limit:lifetime
    spend:daily_at:monthly_at:lifetime_at`; with flights `:f1:f2:spend of each one's counter`; with a brake `:br=...:bk=...:s=...`;
    with a pass rate below 1 `:rate=...`; and fields of later releases. brand_rate: the pass rate of its brand, ppm.
    """
    version, on, mask, daily, monthly, *own = text.split(":")
    tagged = dict(word.split("=", 1) for word in own if "=" in word)
    own = [word for word in own if "=" not in word]
    budgets: tuple[Budget, ...] = ()
    if len(own) >= _OWN_FIELDS:
        limits, spent, since = own[:3], (daily, monthly, own[3] or "0"), own[4:7]
        budgets = tuple(
            Budget(kind.cause, optional_int(limit), int(micros), optional_int(at))
            for kind, limit, micros, at in zip(CAMPAIGN_BUDGETS, limits, spent, since, strict=True)
        )
    return LiveCampaign(
        campaign_id, int(version), on == "1", reasons_of(int(mask)), int(daily), int(monthly), budgets,
        _flights(own[_OWN_FIELDS : _OWN_FIELDS + _FLIGHT_FIELDS]), _brake(tagged),
        together(brand_rate, int(tagged.get(_RATE, WHOLE))),
    )  # fmt: skip


def _brake(tagged: Mapping[str, str]) -> LiveBrake | None:
    if "br" not in tagged:
        return None
    return LiveBrake(Brake.parse(tagged["br"]), optional_int(tagged.get("bk", "")), int(tagged.get("s", 0)))


def _flights(fields: Sequence[str]) -> tuple[tuple[PlannedFlight, int], ...]:
    if len(fields) < _FLIGHT_FIELDS:
        return ()
    pairs = zip(fields[:2], fields[2:], strict=True)
    return tuple((PlannedFlight.parse(text), int(spent or 0)) for text, spent in pairs if text)


def read_brand_line(brand_id: int, reply: Reply, campaigns: Mapping[int, LiveCampaign]) -> LiveBrand:
    """`version:archived:` and the brand's budgets: limits, spends and when each last changed (`budgets_of` has the order); with a
    time zone then `:zone=...`, with a rollover `:carry=...`, and with a pass rate below 1 `:rate=...`.
    """
    version, archived, *words = reply[3].decode().split(":")
    fields = [word for word in words if "=" not in word]
    tagged = dict(word.split("=", 1) for word in words if "=" in word)
    budgets = tuple(
        Budget(kind.cause, optional_int(limit), int(spent), optional_int(since))
        for kind, (limit, spent, since) in zip(BUDGETS, budgets_of(fields, 3), strict=False)
    )
    return LiveBrand(
        brand_id,
        int(reply[1]),
        int(reply[2]),
        int(version),
        archived == "1",
        budgets,
        campaigns,
        Zone.parse(tagged.get("zone")),
        int(tagged.get(_RATE, WHOLE)),
        LiveCarry(*map(int, tagged["carry"].split(","))) if "carry" in tagged else None,
    )
