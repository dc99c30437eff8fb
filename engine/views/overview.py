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
from typing import Any, NamedTuple

import redis
from sqlalchemy import Engine

from engine.domain.ids import brand_of, ordinal_of
from engine.domain.limit_changes import coming
from engine.domain.periods import at_ms
from engine.domain.zone_text import Local
from engine.domain.zones import check_zone
from engine.errors import BudgetError, InvalidInput, ServerAway
from engine.ledger import flight_sums, lifetimes, listing, reports
from engine.ledger.catalog import CampaignGroup, Catalog
from engine.ledger.records import BrandRecord, CampaignRecord
from engine.ledger.reports import BrandDay, BrandHour
from engine.live.admin import LiveRedis
from engine.live.plans import LiveBrand, LiveCampaign
from engine.views.figures import budgets_of, campaign_view, carried_into, tally_of
from engine.views.flights import earlier_spends, effects_of, flight_views
from engine.views.health import Health, HealthBoard
from engine.views.hindsight import Campaigns, Hindsight, Ran
from engine.views.history import History
from engine.views.models import (
    BrandView,
    CampaignView,
    FlightView,
    Snapshot,
)
from engine.views.pacing import pacing_view
from engine.views.pacing_effects import PacingEffects

__all__ = ["BrandView", "CampaignView", "Health", "Overview", "Snapshot"]

DAYS = 31
MOST_DAYS = 3660
FEW = 500
"""So many campaigns are read one by one. Of more, all of each brand are read."""


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


class Cataloged(NamedTuple):
    """What PostgreSQL has of all brands at an instant. groups: {brand id: its campaigns, counted by what decides whether they run}."""

    now_ms: int
    brands: tuple[BrandRecord, ...]
    groups: Mapping[int, list[CampaignGroup]]
    ran: Ran


class Overview(History):
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
        super().__init__(db)
        self._hot_redis = hot_redis
        self._catalog = catalog
        self._live = live
        self._jobs_redis = jobs_redis
        self._clock_ms = clock_ms
        self._hindsight = Hindsight(db)
        self.why_not_live = ""
        """Why the last read had no figures of Redis, for a process with one caller."""

    def snapshot(self, include_archived: bool = False, within: Collection[int] | None = None) -> Snapshot:
        """Every brand, or those `within`, with its campaigns, taken together. Raises ServerAway only when PostgreSQL is away."""
        return self._snapshot(
            self._brands(include_archived, within),
            self._catalog.campaigns(include_archived=include_archived, within=within),
        )

    def summary(self, opened: Collection[int] = (), within: Collection[int] | None = None) -> Snapshot:
        """As snapshot(), but only brands in `opened` have their campaigns; the others only their numbers.

        It costs as many reads of Redis as there are brands. Budgets, switches and schedules are the catalog's, which
        Redis has a second later.
        """
        brands = self._brands(False, within)
        groups: dict[int, list[CampaignGroup]] = {}
        for alike in self._catalog.alike():
            groups.setdefault(alike.brand_id, []).append(alike)
        ran = self._hindsight.ran_today(self._clock_ms(), {brand.zones.clock for brand in brands})
        plain = self._snapshot(brands, [], ran)
        views = {view.id: self._summed(view, groups.get(view.id, []), ran) for view in plain.brands}
        for brand in brands:
            if brand.id in opened:
                views[brand.id] = self._snapshot([brand], self._catalog.campaigns(brand.id), ran).brands[0]
        return replace(plain, brands=tuple(views.values()))

    def cataloged(self) -> Cataloged:
        """What the catalog and the past have of all brands, archived ones too. Raises ServerAway."""
        now_ms, brands = self._clock_ms(), self._catalog.brands(include_archived=True)
        groups: dict[int, list[CampaignGroup]] = {}
        for alike in self._catalog.alike():
            groups.setdefault(alike.brand_id, []).append(alike)
        ran = self._hindsight.ran_today(now_ms, {brand.zones.clock for brand in brands if not brand.archived})
        return Cataloged(now_ms, tuple(brands), groups, ran)

    def figures(self, brand_ids: Iterable[int]) -> Mapping[int, LiveBrand | None]:
        """What Redis has of brands, without their campaigns; None where it has none. Raises ServerAway and other errors of Redis."""
        return self._live.read_brands(brand_ids)

    def joined(self, found: Cataloged, live: Mapping[int, LiveBrand | None]) -> list[BrandView]:
        """The brands with the numbers of their campaigns and the figures of Redis; with the log's where it has none. Raises ServerAway."""
        lacking = [brand for brand in found.brands if live.get(brand.id) is None and not brand.archived]
        spent: dict[int, tuple[int, int]] = {}
        for campaign_id, (day, month) in (self._logged(lacking, found.now_ms) if lacking else {}).items():
            before = spent.get(brand_of(campaign_id), (0, 0))
            spent[brand_of(campaign_id)] = (before[0] + day, before[1] + month)
        out = []
        for brand in found.brands:
            seen = live.get(brand.id)
            now_ms = found.now_ms if seen is None else seen.now_ms
            view = self._view(brand, [], seen, {}, spent.get(brand.id, (0, 0)), now_ms)
            out.append(self._summed(view, found.groups.get(brand.id, []), found.ran))
        return out

    def count_brands(self) -> int:
        """How many are in use."""
        return self._catalog.count_brands()

    def _brands(self, include_archived: bool, within: Collection[int] | None) -> list[BrandRecord]:
        found = self._catalog.brands(include_archived=include_archived)
        return found if within is None else [brand for brand in found if brand.id in within]

    def brands(self, include_archived: bool = True) -> list[BrandView]:
        """Every brand by id, archived ones too unless told otherwise."""
        return list(self.snapshot(include_archived).brands)

    def brand(self, brand_id: int, *, alone: bool = False) -> BrandView:
        """One brand, archived or not, with its campaigns; `alone` without, of which it may have 65,535. Raises NotFound."""
        brand = self._catalog.brand(brand_id)
        own = [] if alone else self._catalog.campaigns(brand_id, include_archived=True)
        return self._snapshot([brand], own).brands[0]

    def summed(self, brand_id: int) -> BrandView:
        """One brand, archived or not, with the numbers of its campaigns in their place. Raises NotFound."""
        brand = self._catalog.brand(brand_id)
        ran = self._hindsight.ran_today(self._clock_ms(), {brand.zones.clock})
        return self._summed(self._snapshot([brand], [], ran).brands[0], self._catalog.alike(brand_id), ran)

    def campaigns(self, brand_id: int | None = None, include_archived: bool = True) -> list[CampaignView]:
        """The campaigns of a brand, or all, archived ones too unless told otherwise. Raises NotFound for an unknown brand."""
        found = self.snapshot(include_archived).brands if brand_id is None else (self.brand(brand_id),)
        return [c for brand in found for c in brand.campaign_views if include_archived or not c.archived]

    def campaign(self, campaign_id: int) -> CampaignView:
        """One campaign, archived or not. Raises NotFound."""
        return self.around(campaign_id).brands[0].campaign_views[0]

    def some(self, campaign_ids: Sequence[int]) -> list[CampaignView]:
        """These campaigns, read together, in this order; unknown ones are left out. Raises ServerAway only when PostgreSQL is away."""
        brands, campaigns = listing.with_brands(self._db, campaign_ids)
        views = {c.id: c for brand in self._snapshot(brands, campaigns).brands for c in brand.campaign_views}
        return [views[id_] for id_ in campaign_ids if id_ in views]

    def around(self, campaign_id: int) -> Snapshot:
        """One campaign as the only one of its brand. Raises NotFound, ServerAway."""
        record = self._catalog.campaign(campaign_id)
        # Only this one, and not the other 65,534 that its brand may have.
        return self._snapshot([self._catalog.brand(record.brand_id)], [record])

    def brand_days(self, brand_id: int, days: int = DAYS) -> list[BrandDay]:
        """A brand's spend a day as the log has it, oldest first: each of the last so many of its days, those without any too. Raises NotFound, InvalidInput."""
        if not 1 <= days <= MOST_DAYS:
            raise InvalidInput(f"days {days} is not from 1 to {MOST_DAYS}", "days")
        today = self.today(brand_id)
        each = [today - timedelta(days=back) for back in reversed(range(days))]
        found = {line.day: line for line in reports.brand_days(self._db, brand_id, each[0], today)}
        return [found.get(day) or BrandDay(day, 0, 0) for day in each]

    def brand_hours(self, brand_id: int, day: date | None = None) -> list[BrandHour]:
        """A brand's spend an hour of its day (today when none is given) as the log has it; hours without any are left out. Raises NotFound."""
        return reports.brand_hours(self._db, brand_id, day or self.today(brand_id))

    def today(self, brand_id: int) -> date:
        """A brand's day by this machine's clock. Raises NotFound."""
        return self._catalog.brand(brand_id).zones.clock.date_of(self._clock_ms())

    def local(self, brand_id: int) -> Local:
        """A brand's clock now, with the name of its zone. Raises NotFound."""
        return self._catalog.brand(brand_id).zones.local(self._clock_ms())

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
        logged = self._logged([brand for brand in brands if live.get(brand.id) is None], now_ms)
        spent_of: dict[int, tuple[int, int]] = {}
        for campaign_id, (day, month) in logged.items():
            before = spent_of.get(brand_of(campaign_id), (0, 0))
            spent_of[brand_of(campaign_id)] = (before[0] + day, before[1] + month)
        ran = ran or self._hindsight.ran_today(now_ms, {brand.zones.clock for brand in brands})
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
        return replace(self._hindsight.paced(brand, kinds, ran), tally=tally_of(brand, groups))

    def _read_live(self, of_brand: Mapping[int, Sequence[CampaignRecord]]) -> Mapping[int, LiveBrand | None]:
        if "parts" in self.__dict__:
            # Who has waited for the health already does not wait for the same server again.
            self.parts.refuse_if_silent("redis")
        if sum(map(len, of_brand.values())) <= FEW:
            return self._live.read_campaigns(
                {brand_id: [ordinal_of(c.id) for c in campaigns] for brand_id, campaigns in of_brand.items()}
            )
        ordinals = {
            brand_id: max((ordinal_of(c.id) for c in campaigns), default=0) for brand_id, campaigns in of_brand.items()
        }
        return self._live.read_plans(ordinals) if ordinals else {}

    def _logged(self, brands: list[BrandRecord], now_ms: int) -> dict[int, tuple[int, int]]:
        """Campaign id -> (today's, this month's spend) from the log, for brands without figures in Redis."""
        by_date: dict[date, list[int]] = {}
        for brand in brands:
            by_date.setdefault(brand.zones.clock.date_of(now_ms), []).append(brand.id)
        return {
            campaign_id: (spend.daily_spend_micros, spend.monthly_spend_micros)
            for day, ids in by_date.items()
            for campaign_id, spend in reports.open_spends(self._db, day, ids).items()
        }

    def flights(self, campaign_id: int) -> tuple[FlightView, ...]:
        """All flights of a campaign with their figures. Raises NotFound."""
        self._catalog.campaign(campaign_id)
        live = self._live_campaign(campaign_id)
        with self._db.connect() as conn:
            spent = flight_sums.spent(conn, [campaign_id])
        now_ms = self._catalog.flights.now_ms() if live is None else live[0]
        flown = {counter: micros for (_, counter), micros in spent.items()}
        flights = self._catalog.flights.of([campaign_id])[campaign_id]
        zone = self._catalog.brand(brand_of(campaign_id)).zones.clock
        earlier = earlier_spends(self._db, {campaign_id: (flights, zone)}, now_ms)
        return flight_views(campaign_id, flights, live and live[1], now_ms, earlier, flown, zone)

    def flight_effects(self, campaign_id: int, no: int, changes: Mapping[str, Any]) -> list[str]:
        """What a change of a running flight will do, said before it is made. Raises NotFound."""
        flights = self._catalog.flights.of([campaign_id])[campaign_id]
        return effects_of(flights, self.flights(campaign_id), no, changes, self._catalog.flights.now_ms())

    def zone_effect(self, brand_id: int, zone: str) -> str | None:
        """What another time zone of a brand does, said before it is chosen; None where it is no other. Raises NotFound, InvalidZone."""
        wanted, brand = check_zone(zone), self._catalog.brand(brand_id)
        if wanted == brand.time_zone:
            return None
        now_ms = self.brand(brand_id, alone=True).now_ms
        changed = brand.zones.changed(wanted, now_ms)
        return changed.told() if changed.pending(now_ms) else f"{changed.label(now_ms)} stays"

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
        in_all, local = self._lifetimes(campaigns, plans), brand.zones.local(now_ms)
        flown = [c.id for c in campaigns if c.flights]
        flights = self._catalog.flights.of(flown) if flown else {}
        earlier = earlier_spends(self._db, {c: (given, brand.zones.clock) for c, given in flights.items()}, now_ms)
        views = tuple(
            campaign_view(
                c, plans.get(c.id), (*from_log, in_all.get(c.id, 0)), now_ms, flights.get(c.id, ()), local, earlier
            )
            for c, from_log in zip(campaigns, spent, strict=True)
        )
        budgets = budgets_of(brand, live, spent_of_brand, now_ms)
        paced = (brand.pacing, brand.catch_up, brand.pace, budgets[0].limit, budgets[0].spent, now_ms, local)
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
            pacing=pacing_view(*paced, live),
            coming=tuple(coming((brand.daily_budget_micros, brand.monthly_budget_micros), brand.steps, now_ms)),
            zones=brand.zones,
            paused=brand.paused,
            rollover_cap=brand.rollover_cap_micros,
            carried=carried_into(brand, live) if budgets[0].limit else 0,
        )
