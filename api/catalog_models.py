"""Brands and campaigns as JSON: what is sent, and what is answered."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from api.lists import PageQuery
from api.reading import Answer, Body, Path
from api.spending import TextId
from engine.domain.ids import MAX_BRAND_ID, MAX_CAMPAIGN_ID, MIN_CAMPAIGN_ID

Budget = Annotated[str | None, Field(description='A decimal such as "100.00"; null is no limit', max_length=90)]
PerMinute = Annotated[str | None, Field(description='An amount a minute, such as "5" or "5/min"; null is none')]
Name = Annotated[str, Field(min_length=1, max_length=400)]
Pacing = Annotated[str, Field(max_length=60, description="asap, even, ahead, traffic or custom:NAME")]
CatchUp = Annotated[str, Field(max_length=20, description="Percent from 100 to 99999, asap or spread")]
Rollover = Annotated[
    str | None,
    Field(description="The most that a day carries into the next of what it left; null is no rollover", max_length=90),
]
Schedule = Annotated[Any, Field(description="When it may run: a window, a list of windows, or null for always")]


class BrandIn(Body):
    """A new brand."""

    name: Name
    external_id: TextId | None = None
    daily_budget: Budget = None
    monthly_budget: Budget = None
    rollover_cap: Rollover = None
    time_zone: str | None = Field(None, max_length=64, description="Such as Europe/Berlin; null is UTC")
    pacing: Pacing = "asap"
    catch_up: CatchUp = "300"


class BrandChange(Body):
    """What is to change of a brand; what is not given stays."""

    name: Name | None = None
    external_id: TextId | None = None
    daily_budget: Budget = None
    monthly_budget: Budget = None
    rollover_cap: Rollover = None
    time_zone: str | None = Field(None, max_length=64, description="It holds from the brand's next midnight on")
    pacing: Pacing | None = None
    catch_up: CatchUp | None = None


class CampaignIn(Body):
    """A new campaign."""

    brand_id: Annotated[int, Field(ge=1, le=MAX_BRAND_ID)]
    name: Name
    external_id: TextId | None = None
    schedule: Schedule = None
    daily_budget: Budget = None
    monthly_budget: Budget = None
    lifetime_budget: Budget = None
    pacing: Pacing = "asap"
    catch_up: CatchUp = "300"
    rate_limit: PerMinute = None
    breaker: PerMinute = None


class CampaignChange(Body):
    """What is to change of a campaign; what is not given stays."""

    name: Name | None = None
    external_id: TextId | None = None
    schedule: Schedule = None
    daily_budget: Budget = None
    monthly_budget: Budget = None
    lifetime_budget: Budget = None
    pacing: Pacing | None = None
    catch_up: CatchUp | None = None
    rate_limit: PerMinute = None
    breaker: PerMinute = None


class Reason(Body):
    """Why, for the history."""

    reason: str | None = Field(None, max_length=500)


class NewName(Body):
    """Another name, where the old one is taken meanwhile."""

    name: Name | None = None


class BrandPath(Path):
    """The address of a brand."""

    brand_id: Annotated[int, Field(ge=1, le=MAX_BRAND_ID)]


class CampaignPath(Path):
    """The address of a campaign."""

    campaign_id: Annotated[int, Field(ge=MIN_CAMPAIGN_ID, le=MAX_CAMPAIGN_ID)]


class BrandsQuery(PageQuery):
    """Which brands, and how they are sorted; as on the page."""

    q: str = Field("", max_length=100, description="A part of the name, or an id")
    state: str = Field("", description="attention, running, budget, schedule, paused or archived; all without it")
    only: str = Field(
        "", max_length=60, description="Why they need a look, joined by dots: near, out, stopped, under, unlive"
    )
    sort: str = Field(
        "name", description="name, state, today, pace, end, month or running; with - before it from the largest"
    )


class CampaignsQuery(PageQuery):
    """Which campaigns, and how they are sorted."""

    brand_id: Annotated[int, Field(ge=1, le=MAX_BRAND_ID)] | None = None
    q: str = Field("", max_length=100, description="A part of the name, or an external id")
    status: str = Field("", pattern="^(active|paused)?$")
    archived: bool = False
    sort: str = Field("id", pattern="^-?(id|name)$")


class FlightOut(Answer):
    """A flight with its figures. Amounts are decimal strings, instants UTC."""

    no: int
    starts_at: str
    ends_at: str
    budget: str | None
    spend: str
    left: str | None
    carries_on: bool
    spread: str
    today_budget: str | None
    state: str


class BreakerOut(Answer):
    """A campaign's breaker. limit, spend: an amount a minute, and that of this one."""

    limit: str | None
    open: bool
    open_since: str | None
    spend: str


class BrandOut(Answer):
    """A brand with its figures. Amounts are decimal strings, null is no limit."""

    id: int
    external_id: str | None
    name: str
    version: int
    archived: bool
    paused: bool
    daily_budget: str | None
    monthly_budget: str | None
    rollover_cap: str | None
    carried: str
    daily_spend: str
    monthly_spend: str
    daily_remaining: str | None
    monthly_remaining: str | None
    time_zone: str
    pacing: str | None
    catch_up: str | None
    due_now: str | None
    pass_rate: float
    active_campaigns: int
    forecast: Any = Field(None, description="Of one brand alone, as GET /brands/{brand_id}/forecast answers it")


class CampaignOut(Answer):
    """A campaign with its figures. Amounts are decimal strings, null is no limit."""

    id: int
    external_id: str | None
    brand_id: int
    name: str
    version: int
    archived: bool
    status: str
    reasons: list[str]
    schedule: Any = None
    daily_spend: str
    monthly_spend: str
    daily_budget: str | None
    monthly_budget: str | None
    lifetime_budget: str | None
    lifetime_spend: str | None = Field(description="Counted where it has a lifetime budget")
    pacing: str | None
    catch_up: str | None
    due_now: str | None
    pass_rate: float
    flight: FlightOut | None = Field(description="The present one, or the next")
    rate_limit: str | None = Field(description="An amount a minute")
    breaker: BreakerOut | None


class BrandsOut(Answer):
    """A page of brands. next: the cursor of the page after it, null at the end."""

    items: list[BrandOut]
    next: str | None


class CampaignsOut(Answer):
    """A page of campaigns. next: as of brands."""

    items: list[CampaignOut]
    next: str | None
