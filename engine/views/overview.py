"""What people see: the catalog, the live figures and the latest rows of the log, read together and never written.

One refresh costs a few statements and one pipelined read of Redis, however many brands there are. Redis computes the
statuses at that instant. Where Redis is away or not ready, spend comes from the log and causes from PostgreSQL, and
the result shows that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import redis
from sqlalchemy import Engine

from engine.domain.budget import BUDGETS, CAMPAIGN_BUDGETS, OWN_CAUSES, Budget
from engine.domain.causes import (
    ARCHIVED,
    BREAKER,
    FLIGHT,
    MANUAL,
    SCHEDULE,
    Status,
    again_ms,
    in_order,
    sentence,
    standing,
    status_of,
)
from engine.domain.flights import Flight, next_start_ms
from engine.domain.ids import brand_of, ordinal_of
from engine.domain.periods import Period, at_ms, date_of, day_of, ms_of
from engine.errors import BudgetError, InvalidInput, ServerAway
from engine.ledger import flight_sums, lifetimes, reports
from engine.ledger.catalog import CampaignGroup, Catalog
from engine.ledger.records import BrandRecord, CampaignRecord
from engine.ledger.reports import BrandDay, BrandHour, CatalogLine, SpendLine
from engine.live.admin import LiveRedis
from engine.live.plans import LiveBrand, LiveCampaign
from engine.views.flights import effects_of, flight_views
from engine.views.health import Health, HealthBoard
from engine.views.hindsight import Campaigns, Hindsight, Ran
from engine.views.models import (
    BrandView,
    CampaignView,
    ChangeLine,
    FlightView,
    Snapshot,
    Tally,
)
from engine.views.pacing import pacing_view
from engine.views.pacing_effects import PacingEffects

__all__ = ["BrandView", "CampaignView", "Health", "Overview", "Snapshot"]

DAYS = 31
MOST_DAYS = 3660


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


class Overview:
    """The figures of the status page and of `brand list`, `campaign list` and `show`."""

    def __init__(
        self,
        db: Engine,
        catalog: Catalog,
        live: LiveRedis,
        jobs_redis: redis.Redis,
        *,
        clock_ms: Callable[[], int] = _clock_ms,
        hot_redis: redis.Redis | None = None,
    ) -> None:
        self._db = db
        self._hot_redis = hot_redis
        self._catalog = catalog
        self._live = live
        self._jobs_redis = jobs_redis
        self._clock_ms = clock_ms
        self._hindsight = Hindsight(db)
        self.why_not_live = ""
        """Why the last read had no figures of Redis, for a process with one caller."""

    def snapshot(self, include_archived: bool = False) -> Snapshot:
        """Every brand with its campaigns, taken together. Raises ServerAway only when PostgreSQL is away."""
        return self._snapshot(
            self._catalog.brands(include_archived=include_archived),
            self._catalog.campaigns(include_archived=include_archived),
        )

    def summary(self, opened: Collection[int] = ()) -> Snapshot:
        """As snapshot(), but only brands in `opened` have their campaigns; the others only their numbers.

        It costs as many reads of Redis as there are brands. Budgets, switches and schedules are the catalog's, which
        Redis has a second later.
        """
        brands = self._catalog.brands()
        groups: dict[int, list[CampaignGroup]] = {}
        for alike in self._catalog.alike():
            groups.setdefault(alike.brand_id, []).append(alike)
        ran = self._hindsight.ran_today(self._clock_ms())
        plain = self._snapshot(brands, [], ran)
        views = {view.id: self._summed(view, groups.get(view.id, []), ran) for view in plain.brands}
        for brand in brands:
            if brand.id in opened:
                views[brand.id] = self._snapshot([brand], self._catalog.campaigns(brand.id), ran).brands[0]
        return replace(plain, brands=tuple(views.values()))

    def count_brands(self) -> int:
        """How many are in use."""
        return self._catalog.count_brands()

    def brands(self, include_archived: bool = True) -> list[BrandView]:
        """Every brand by id, archived ones too unless told otherwise."""
        return list(self.snapshot(include_archived).brands)

    def brand(self, brand_id: int, *, alone: bool = False) -> BrandView:
        """One brand, archived or not, with its campaigns; `alone` without, of which it may have 65,535. Raises NotFound."""
        brand = self._catalog.brand(brand_id)
        own = [] if alone else self._catalog.campaigns(brand_id, include_archived=True)
        return self._snapshot([brand], own).brands[0]

    def campaigns(self, brand_id: int | None = None, include_archived: bool = True) -> list[CampaignView]:
        """The campaigns of a brand, or all, archived ones too unless told otherwise. Raises NotFound for an unknown brand."""
        found = self.snapshot(include_archived).brands if brand_id is None else (self.brand(brand_id),)
        return [c for brand in found for c in brand.campaign_views if include_archived or not c.archived]

    def campaign(self, campaign_id: int) -> CampaignView:
        """One campaign, archived or not. Raises NotFound."""
        record = self._catalog.campaign(campaign_id)
        # Only this one, and not the other 65,534 that its brand may have.
        return self._snapshot([self._catalog.brand(record.brand_id)], [record]).brands[0].campaign_views[0]

    def latest_spends(self, limit: int = 12) -> list[SpendLine]:
        """The newest rows of the spend log."""
        return reports.latest_spends(self._db, limit)

    def brand_days(self, brand_id: int, days: int = DAYS) -> list[BrandDay]:
        """A brand's spend a day as the log has it, oldest first: each of the last so many UTC days, those without any too. Raises NotFound, InvalidInput."""
        if not 1 <= days <= MOST_DAYS:
            raise InvalidInput(f"days {days} is not from 1 to {MOST_DAYS}", "days")
        self._catalog.brand(brand_id)
        today = self.today()
        each = [today - timedelta(days=back) for back in reversed(range(days))]
        found = {line.day: line for line in reports.brand_days(self._db, brand_id, each[0], today)}
        return [found.get(day) or BrandDay(day, 0, 0) for day in each]

    def brand_hours(self, brand_id: int, day: date | None = None) -> list[BrandHour]:
        """A brand's spend an hour of a UTC day (today when none is given) as the log has it; hours without any are left out. Raises NotFound."""
        self._catalog.brand(brand_id)
        return reports.brand_hours(self._db, brand_id, day or self.today())

    def today(self) -> date:
        """The UTC day by this machine's clock."""
        return date_of(day_of(self._clock_ms()))

    def latest_changes(self, limit: int = 12) -> list[ChangeLine]:
        """The newest status changes, with their causes in the words of their own instant."""
        # A schedule may have been changed since, so its next opening then is not shown.
        return [
            ChangeLine(row, sentence(row.reasons, None, ms_of(row.at)))
            for row in reports.latest_status_changes(self._db, limit)
        ]

    def catalog_changes(self, limit: int = 100, before_id: int | None = None) -> list[CatalogLine]:
        """Who changed what in the catalog, newest first; with `before_id` those before that line, so that all can be walked through."""
        return reports.catalog_changes(self._db, limit, before_id=before_id)

    def health(self) -> Health:
        """Each part and job."""
        return self.parts.health()

    @cached_property
    def parts(self) -> HealthBoard:
        """Where each part is asked."""
        return HealthBoard(self._db, self._live, self._jobs_redis, self._clock_ms, hot_redis=self._hot_redis)

    def _snapshot(self, brands: list[BrandRecord], campaigns: list[CampaignRecord], ran: Ran | None = None) -> Snapshot:
        of_brand: dict[int, list[CampaignRecord]] = {brand.id: [] for brand in brands}
        for campaign in campaigns:
            if campaign.brand_id in of_brand:
                of_brand[campaign.brand_id].append(campaign)
        now_ms, note = self._clock_ms(), None
        live: Mapping[int, LiveBrand | None] = {}
        try:
            live = self._read_live(of_brand)
        except BudgetError as error:
            away = isinstance(error, ServerAway)
            note = f"{error}. " if away else f"Redis answers, but not for us: {error}. "
            note += f"Spend is the log's as of {at_ms(now_ms):%H:%M:%S} UTC, causes are those last written."
        self.why_not_live = note or ""
        now_ms = max([now_ms, *(brand.now_ms for brand in live.values() if brand is not None)])
        behind = [brand.id for brand in brands if live.get(brand.id) is None]
        logged = self._logged(behind, now_ms)
        spent_of: dict[int, tuple[int, int]] = {}
        for campaign_id, (day, month) in logged.items():
            before = spent_of.get(brand_of(campaign_id), (0, 0))
            spent_of[brand_of(campaign_id)] = (before[0] + day, before[1] + month)
        ran = ran or self._hindsight.ran_today(now_ms)
        views = [
            self._hindsight.paced(
                self._view(b, of_brand[b.id], live.get(b.id), logged, spent_of.get(b.id, (0, 0)), now_ms),
                (Campaigns(c.enabled, c.schedule, c.status == "active", 1) for c in of_brand[b.id] if not c.archived),
                ran,
            )
            for b in brands
        ]
        if note is None and any(not b.archived for b in views if not b.ready):
            note = (
                "Some brands are not live yet (just made, or their shard is being rebuilt): their spend is the log's."
            )
        return Snapshot(now_ms, tuple(self._hindsight.explained(views)), note)

    def _summed(self, brand: BrandView, groups: list[CampaignGroup], ran: Ran) -> BrandView:
        kinds = (Campaigns(a.enabled, a.schedule, a.status == "active", a.campaigns) for a in groups)
        return replace(self._hindsight.paced(brand, kinds, ran), tally=_tally(brand, groups))

    def _read_live(self, of_brand: Mapping[int, Sequence[CampaignRecord]]) -> Mapping[int, LiveBrand | None]:
        if "parts" in self.__dict__:
            # Who has waited for the health already does not wait for the same server again.
            self.parts.refuse_if_silent("redis")
        if [len(campaigns) for campaigns in of_brand.values()] == [1]:
            ((brand_id, (campaign,)),) = of_brand.items()
            return {brand_id: self._live.read_campaign(campaign.id)}
        ordinals = {
            brand_id: max((ordinal_of(c.id) for c in campaigns), default=0) for brand_id, campaigns in of_brand.items()
        }
        return self._live.read_plans(ordinals) if ordinals else {}

    def _logged(self, brand_ids: list[int], now_ms: int) -> dict[int, tuple[int, int]]:
        """Campaign id -> (today's, this month's spend) from the log, for brands without figures in Redis."""
        if not brand_ids:
            return {}
        spends = reports.open_spends(self._db, date_of(day_of(now_ms)), brand_ids)
        return {c: (spend.daily_spend_micros, spend.monthly_spend_micros) for c, spend in spends.items()}

    def flights(self, campaign_id: int) -> tuple[FlightView, ...]:
        """All flights of a campaign with their figures. Raises NotFound."""
        self._catalog.campaign(campaign_id)
        live = self._live_campaign(campaign_id)
        with self._db.connect() as conn:
            spent = flight_sums.spent(conn, [campaign_id])
        now_ms = self._catalog.flights.now_ms() if live is None else live[0]
        flown = {counter: micros for (_, counter), micros in spent.items()}
        return flight_views(self._catalog.flights.of([campaign_id])[campaign_id], live and live[1], now_ms, flown)

    def flight_effects(self, campaign_id: int, no: int, changes: Mapping[str, Any]) -> list[str]:
        """What a change of a running flight will do, said before it is made. Raises NotFound."""
        flights = self._catalog.flights.of([campaign_id])[campaign_id]
        return effects_of(flights, self.flights(campaign_id), no, changes, self._catalog.flights.now_ms())

    @cached_property
    def paced(self) -> PacingEffects:
        """What changes of pacing will do."""
        return PacingEffects(self._catalog, self._spent_today)

    def _spent_today(self, entity: str, entity_id: int) -> tuple[int, int]:
        """What a brand or campaign spent today, and the time by which that is so. Raises NotFound."""
        if entity == "brand":
            brand = self.brand(entity_id)
            return brand.daily_spend, brand.now_ms
        return self.campaign(entity_id).daily_spend, self._clock_ms()

    def _live_campaign(self, campaign_id: int) -> tuple[int, LiveCampaign] | None:
        """A campaign as Redis has it, with its time; None where it has no figures."""
        try:
            brand = self._live.read_campaign(campaign_id)
        except ServerAway:
            return None
        found = None if brand is None else brand.campaigns.get(campaign_id)
        return None if brand is None or found is None else (brand.now_ms, found)

    def _lifetimes(self, campaigns: Sequence[CampaignRecord], live: Mapping[int, LiveCampaign]) -> dict[int, int]:
        """What campaigns with a lifetime budget spent by the log, where Redis has no counter of it."""
        limited = [c.id for c in campaigns if c.limits.lifetime is not None]
        wanted = [
            id_ for id_ in limited if id_ not in live or not live[id_].budgets or live[id_].budgets[-1].limit is None
        ]
        if not wanted:
            return {}
        with self._db.connect() as conn:
            return lifetimes.spent(conn, wanted)

    def _view(
        self,
        brand: BrandRecord,
        campaigns: list[CampaignRecord],
        live: LiveBrand | None,
        logged: Mapping[int, tuple[int, int]],
        spent_of_brand: tuple[int, int],
        now_ms: int,
    ) -> BrandView:
        plans = {} if live is None else live.campaigns
        spent = [logged.get(c.id, (0, 0)) for c in campaigns]
        in_all = self._lifetimes(campaigns, plans)
        flights = self._catalog.flights.of([c.id for c in campaigns if c.flights])
        views = tuple(
            _campaign_view(c, plans.get(c.id), (*from_log, in_all.get(c.id, 0)), now_ms, flights.get(c.id, ()))
            for c, from_log in zip(campaigns, spent, strict=True)
        )
        budgets = _budgets(brand, live, spent_of_brand)
        paced = (brand.pacing, brand.catch_up, brand.pace, brand.daily_budget_micros, budgets[0].spent, now_ms)
        return BrandView(
            id=brand.id,
            external_id=brand.external_id,
            name=brand.name,
            archived=brand.archived,
            budgets=budgets,
            version=brand.version,
            now_ms=now_ms,
            ready=live is not None,
            campaign_views=views,
            pacing=pacing_view(*paced),
        )


def _budgets(brand: BrandRecord, live: LiveBrand | None, logged: tuple[int, int]) -> tuple[Budget, ...]:
    """A brand's budgets with Redis' figures. logged: the log's spend of its day and month, where Redis has no
    figures.
    """
    of_period: dict[Period, int] = {"day": logged[0], "month": logged[1]}
    found = [None if live is None else live.budget(kind.cause) for kind in BUDGETS]
    return tuple(
        Budget(kind.cause, kind.limit_of(brand), of_period[kind.period] if seen is None else seen.spent)
        for kind, seen in zip(BUDGETS, found, strict=True)
    )


def _own_budgets(
    campaign: CampaignRecord, live: LiveCampaign | None, logged: tuple[int, int, int]
) -> tuple[Budget, ...]:
    """A campaign's own budgets with Redis' figures. logged: the log's spend of its day, its month and its life."""
    day, month = logged[:2] if live is None else (live.daily_spend, live.monthly_spend)
    counted = live.budgets[-1] if live is not None and live.budgets else None
    lifetime = logged[2] if counted is None or counted.limit is None else counted.spent
    return tuple(
        Budget(kind.cause, limit, micros)
        for kind, limit, micros in zip(CAMPAIGN_BUDGETS, campaign.limits, (day, month, lifetime), strict=True)
    )


def _tally(brand: BrandView, groups: Iterable[CampaignGroup]) -> Tally:
    """The numbers of a brand's campaigns: budgets by Redis' figures, or all as last written where Redis has none."""

    def of(alike: CampaignGroup) -> tuple[Status, tuple[str, ...], int]:
        if not (brand.ready and alike.published):
            return "active" if alike.status == "active" else "paused", in_order(alike.reasons), alike.campaigns
        manual = () if alike.enabled else (MANUAL,)
        outside = () if alike.schedule.is_within_ms(brand.now_ms) else (SCHEDULE,)
        # Each campaign has its own budgets: their causes are those last written.
        own = (cause for cause in in_order(alike.reasons) if cause in OWN_CAUSES or cause in (FLIGHT, BREAKER))
        reasons = (*manual, *outside, *brand.used_up, *own)
        return status_of(reasons), reasons, alike.campaigns

    return Tally.of(of(alike) for alike in groups)


def _campaign_view(
    campaign: CampaignRecord,
    live: LiveCampaign | None,
    logged: tuple[int, int, int],
    now_ms: int,
    flights: Sequence[Flight] = (),
) -> CampaignView:
    starts_ms = next_start_ms(campaign.flights, now_ms)
    reasons = in_order(campaign.reasons) if live is None else standing(live.reasons)
    if campaign.archived and ARCHIVED not in reasons:
        reasons = in_order((*reasons, ARCHIVED))
    own = _own_budgets(campaign, live, logged)
    paced = (campaign.pacing, campaign.catch_up, campaign.pace, campaign.daily_budget_micros, own[0].spent, now_ms)
    return CampaignView(
        id=campaign.id,
        external_id=campaign.external_id,
        brand_id=campaign.brand_id,
        name=campaign.name,
        status="paused" if live is None and campaign.status == "paused" else status_of(reasons),
        reasons=reasons,
        sentence=sentence(reasons, campaign.schedule, now_ms, starts_ms),
        schedule=campaign.schedule,
        daily_spend=logged[0] if live is None else live.daily_spend,
        monthly_spend=logged[1] if live is None else live.monthly_spend,
        archived=campaign.archived,
        enabled=campaign.enabled,
        version=campaign.version,
        again_ms=again_ms(reasons, campaign.schedule, now_ms, starts_ms),
        budgets=own,
        flights=flight_views(flights, live, now_ms),
        pacing=pacing_view(*paced),
        brake=campaign.brake,
        broken_ms=live.brake.since_ms if live is not None and live.brake is not None else None,
        minute_spend=live.brake.spent if live is not None and live.brake is not None else 0,
    )
