"""What the pages and the command line show, as plain values: brands, campaigns, the latest happenings. Figures are micros, instants epoch ms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from engine.domain.brake import NO_BRAKE, Brake
from engine.domain.budget import BUDGETS, CAMPAIGN_BUDGETS, Budget, BudgetKind, OwnBudgetKind, used_up_causes
from engine.domain.causes import BREAKER, DAILY_BUDGET, MONTHLY_BUDGET, Status, cause_of
from engine.domain.excess import Excess
from engine.domain.limit_changes import Coming
from engine.domain.pace import Pace
from engine.domain.periods import Period
from engine.domain.schedule import Schedule
from engine.domain.zone_text import IN_UTC, UTC_NAME, Local
from engine.domain.zones import UTC_ZONE, BrandZone
from engine.ledger.reports import StatusLine
from engine.views.pacing import PacingView


@dataclass(frozen=True, slots=True)
class FlightView:
    """A flight for people. budget: its own, None is none. spend: its own, 0 before it begins. left: of the counter that it counts in,
    so with what the one before left where that goes on, and of one that is over what went on; None without a budget, or where
    Redis has no figures. today: its part of the present day; None where it is not running, or not spread evenly.
    """

    no: int
    starts_ms: int
    ends_ms: int
    budget: int | None
    carries: bool
    spread: str
    state: Literal["over", "running", "ahead"]
    spend: int = 0
    left: int | None = None
    today: int | None = None


@dataclass(frozen=True, slots=True)
class CampaignView:
    """One campaign: what stops it now, and what it spent."""

    id: int
    external_id: str | None
    brand_id: int
    name: str
    status: Status
    """"active" or "paused"; paused without a cause is a new campaign whose first status is not written yet, while Redis is away."""
    reasons: tuple[str, ...]
    sentence: str
    schedule: Schedule
    daily_spend: int
    monthly_spend: int
    archived: bool
    enabled: bool
    version: int
    again_ms: int | None = None
    """When it runs again by itself; None when it runs now, or when only a person can start it."""
    budgets: tuple[Budget, ...] = ()
    """Its own, in the order of `CAMPAIGN_BUDGETS`; those without a limit too."""

    flights: tuple[FlightView, ...] = ()
    """Those in its plan."""
    pacing: PacingView | None = None
    """Of its own daily budget."""
    brake: Brake = NO_BRAKE
    broken_ms: int | None = None
    """Since when its breaker is open, where that is known."""
    minute_spend: int = 0
    """What it spent in this minute, where it has a brake."""
    local: Local = IN_UTC
    """The clock of its brand."""

    @property
    def hours(self) -> str:
        """Its schedule in words, with the name of the zone."""
        return self.schedule.words(self.local.label)

    @property
    def broken(self) -> bool:
        """Whether its breaker is open."""
        return BREAKER in self.reasons

    @property
    def flight(self) -> FlightView | None:
        """The flight that is in force, or else the next."""
        return next((flight for flight in self.flights if flight.state != "over"), None)

    @property
    def meters(self) -> list[tuple[OwnBudgetKind, Budget]]:
        """Each of its own budgets that has a limit, with its row of the list."""
        pairs = zip(CAMPAIGN_BUDGETS, self.budgets, strict=False)
        return [(kind, budget) for kind, budget in pairs if budget.limit is not None]

    @property
    def out_of_money(self) -> bool:
        """Whether a used up budget is among what stops it."""
        return any(cause_of(name).kind == "money" for name in self.reasons)


@dataclass(frozen=True, slots=True)
class Tally:
    """A brand's campaigns in numbers, archived ones not counted. causes: how many each cause stops."""

    campaigns: int = 0
    active: int = 0
    causes: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, groups: Iterable[tuple[Status, tuple[str, ...], int]]) -> Tally:
        """From (status, causes, how many campaigns)."""
        campaigns, active, causes = 0, 0, Counter[str]()
        for status, reasons, number in groups:
            campaigns += number
            active += number if status == "active" else 0
            for cause in reasons:
                causes[cause] += number
        return cls(campaigns, active, causes)


@dataclass(frozen=True, slots=True)
class BrandView:
    """One brand: its budgets, what is spent of them, and its campaigns."""

    id: int
    external_id: str | None
    name: str
    archived: bool
    budgets: tuple[Budget, ...]
    """In the order of `BUDGETS`."""
    version: int
    now_ms: int
    ready: bool
    """False while Redis has no figures of this brand (not published yet, or its shard is being rebuilt): they come
    from the log.
    """
    campaign_views: tuple[CampaignView, ...] = field(default=(), repr=False)
    tally: Tally | None = None
    """Set where only the numbers of its campaigns were read; then `campaign_views` is empty."""
    pace: Pace | None = field(default=None, repr=False)
    """How long its campaigns ran today and may run yet; None counts the whole day."""
    pacing: PacingView | None = None
    zones: BrandZone = UTC_ZONE
    coming: tuple[Coming, ...] = ()
    """What the next step of a scheduled change does to its budgets."""
    excess: Mapping[Period, Excess] = field(default_factory=dict, repr=False)
    """Why more is spent than a budget, for each that is exceeded; empty where that was not asked for."""
    paused: bool = False
    """Whether a person paused all of it."""
    rollover_cap: int | None = None
    """Up to how much of a day's rest is carried into the next; None is no rollover."""
    carried: int = 0
    """What is carried into today. Its daily budget has it."""

    @property
    def time_zone(self) -> str:
        """The zone that was chosen last: an IANA name, or UTC."""
        return self.zones.name or UTC_NAME

    @property
    def local(self) -> Local:
        """Its clock now, with the name of the zone that holds."""
        return self.zones.local(self.now_ms)

    @property
    def new_zone(self) -> str | None:
        """What a change of its zone does, in a sentence, while that has yet to take effect."""
        return self.zones.told() if self.zones.pending(self.now_ms) else None

    def of(self, cause: str) -> Budget:
        """The budget of a cause."""
        return next(budget for budget in self.budgets if budget.cause == cause)

    @property
    def daily_budget(self) -> int | None:
        """Today's limit, with what is carried into today."""
        return self.of(DAILY_BUDGET).limit

    @property
    def planned_budget(self) -> int | None:
        """The daily budget that is in force, without what is carried into today."""
        return None if self.daily_budget is None else self.daily_budget - self.carried

    @property
    def own_daily_budget(self) -> int | None:
        """The daily budget that a person set, without what is carried into today."""
        return None if self.daily_budget is None else self.daily_budget - self.carried

    @property
    def monthly_budget(self) -> int | None:
        return self.of(MONTHLY_BUDGET).limit

    @property
    def daily_spend(self) -> int:
        return self.of(DAILY_BUDGET).spent

    @property
    def monthly_spend(self) -> int:
        return self.of(MONTHLY_BUDGET).spent

    @property
    def daily_remaining(self) -> int | None:
        return self.of(DAILY_BUDGET).remaining

    @property
    def monthly_remaining(self) -> int | None:
        return self.of(MONTHLY_BUDGET).remaining

    flights: tuple[FlightView, ...] = ()
    """Those in its plan."""

    @property
    def flight(self) -> FlightView | None:
        """The flight that is in force, or else the next."""
        return next((flight for flight in self.flights if flight.state != "over"), None)

    @property
    def meters(self) -> list[tuple[BudgetKind, Budget]]:
        """Each budget with its row of the list, for who shows them all."""
        return list(zip(BUDGETS, self.budgets, strict=True))

    @property
    def campaigns(self) -> int:
        """How many it has, archived ones not counted."""
        return self.tally.campaigns if self.tally else sum(not campaign.archived for campaign in self.campaign_views)

    @property
    def active_campaigns(self) -> int:
        return self.tally.active if self.tally else sum(c.status == "active" for c in self.campaign_views)

    @property
    def causes(self) -> Counter[str]:
        """How many campaigns each cause stops."""
        if self.tally:
            return self.tally.causes
        return Counter(cause for campaign in self.campaign_views for cause in campaign.reasons)

    @property
    def used_up(self) -> tuple[str, ...]:
        """Which of its budgets have nothing left."""
        return used_up_causes(self.budgets)

    @property
    def projected_day_micros(self) -> int | None:
        """Today's spend at the end of the brand's day if it goes on as in the time that its campaigns ran; None before that is half an hour."""
        return self._pace.projected(self.daily_spend)

    @property
    def runs_out_ms(self) -> int | None:
        """When today's budget is used up at that rate; None when it lasts the day, is used up already, or nothing is projected."""
        return None if self.daily_budget is None else self.runs_out_at(self.daily_budget)

    def runs_out_at(self, daily_budget: int) -> int | None:
        """The same for another daily budget."""
        return self._pace.reaches_ms(self.daily_spend, daily_budget)

    @property
    def _pace(self) -> Pace:
        return self.pace or Pace.all_day(self.now_ms, self.zones.clock)


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """A change of a campaign's status, with the causes in the words of its own instant."""

    row: StatusLine
    sentence: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that one refresh of the status page shows about brands, taken at one instant."""

    now_ms: int
    brands: tuple[BrandView, ...]
    note: str | None = None
    """Set where figures are not live: which server is away, and how old they are."""
