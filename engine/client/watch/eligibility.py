"""The view of which campaigns may run: data and rules, no network and no thread. `engine/client/watch/watch.py` feeds
it and holds its lock.

`running` is one set for the view's whole life, changed in place, so that a check is one lookup. A campaign is in it
when neither its own state stops it (switch, archive) nor its brand's (archive, budgets), its hours are open, and its
shard is fresh. Campaigns with the same compiled schedule and time zone share one group. `ready` are those that only the schedule
may stop, so that a boundary is one update of a set by another.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from itertools import count
from typing import Final

from engine.client.watch.budgets import NEVER, OwnBudgets, stopping
from engine.client.watch.groups import Group
from engine.client.watch.messages import BrandSnapshot, BudgetMoved, CampaignSnapshot, PlanPublished
from engine.client.watch.parts import BrandState, CampaignState, Edge, Midnight, ShardState
from engine.client.watch.wanted import WatchFilter
from engine.domain.causes import ARCHIVED, BRAND_PAUSED, MANUAL, SCHEDULE, mask_of
from engine.domain.ids import SHARDS, brand_of, shard_of
from engine.domain.periods import day_of, month_of, next_day_ms
from engine.domain.zone_text import UTC, Zone

_MANUAL: Final = mask_of((MANUAL,))
_ARCHIVED: Final = mask_of((ARCHIVED,))
_PAUSED: Final = mask_of((BRAND_PAUSED,))
_SCHEDULE: Final = mask_of((SCHEDULE,))


class EligibilityView:
    """Which campaigns may run. fail_open: while a shard is not fresh, its campaigns keep their last known state, and
    time goes on; else none of them may run.
    """

    def __init__(self, fail_open: bool, wanted: WatchFilter) -> None:
        self.running: set[int] = set()
        self.fail_open = fail_open
        self._wanted = wanted
        self._shards = [ShardState() for _ in range(SHARDS)]
        self._groups: dict[tuple[str, Zone], Group] = {}
        self._boundaries: list[tuple[int, int, Group | Edge | Midnight]] = []
        self._order = count()
        self._expiring: set[BrandState] = set()
        """Brands whose causes change when their day or month ends."""
        self._expiring_own: dict[int, BrandState] = {}
        """{campaign id: its brand} of campaigns whose own budgets do."""
        self._flying: dict[int, BrandState] = {}
        """{campaign id: its brand} of campaigns with flights."""
        self._zoned: set[BrandState] = set()
        """Brands with a time zone, which have midnights of their own."""
        self._now_ms = self._day = self._month = 0
        self._next_day_ms = 0

    def __len__(self) -> int:
        """How many campaigns are known."""
        return sum(len(brand.campaigns) for shard in self._shards for brand in shard.brands.values())

    def mask(self, campaign_id: int) -> int | None:
        """Why the campaign may not run, as causes; 0 when it may, None when it is not known."""
        brand = self._shards[shard_of(brand_of(campaign_id))].brands.get(brand_of(campaign_id))
        campaign = brand and brand.campaigns.get(campaign_id)
        if not brand or not campaign:
            return None
        return campaign.stops | campaign.own_stops | brand.mask | (0 if campaign.group.open else _SCHEDULE)

    def load(self, shard: int, brands: Iterable[tuple[int, BrandSnapshot, list[CampaignSnapshot]]]) -> None:
        """Replaces what is known of a shard by a snapshot; the shard is then fresh."""
        shard_state = self._shards[shard]
        shard_state.fresh = True
        gone = set(shard_state.brands)
        for brand_id, seen, campaigns in brands:
            gone.discard(brand_id)
            brand = shard_state.brands.setdefault(brand_id, BrandState(shard_state))
            brand.n = brand.version = NEVER
            self._apply_brand(brand, seen)
            self._put_campaigns(brand, campaigns, True)
            known = {c.campaign_id for c in campaigns}
            for campaign_id in [c for c in brand.campaigns if c not in known]:
                self._drop(brand, campaign_id)
            self._evaluate_all(brand)
        for brand_id in gone:
            brand = shard_state.brands.pop(brand_id)
            self._expiring.discard(brand)
            self._zoned.discard(brand)
            for campaign_id in list(brand.campaigns):
                self._drop(brand, campaign_id)

    def mark_stale(self, shard: int) -> None:
        """Marks a shard as not fresh until it is loaded again."""
        shard_state = self._shards[shard]
        if shard_state.fresh:
            shard_state.fresh = False
            if not self.fail_open:
                for brand in shard_state.brands.values():
                    self._evaluate_all(brand)

    def mark_all_stale(self) -> None:
        """Marks all shards as not fresh."""
        for shard_state in self._shards:
            shard_state.fresh = False
        if not self.fail_open:
            self.forget()

    def forget(self) -> None:
        """Stops every campaign until its shard is loaded again."""
        self.running.clear()
        for group in self._groups.values():
            group.ready.clear()

    def apply_budget(self, change: BudgetMoved) -> None:
        """Applies a message that a budget was used up or freed. Ignored while the shard is not fresh: its snapshot
        follows.
        """
        shard_state = self._shards[shard_of(change.brand_id)]
        brand = shard_state.brands.get(change.brand_id)
        if not shard_state.fresh or brand is None:
            return
        if change.campaign_id is not None:
            campaign = brand.campaigns.get(change.campaign_id)
            if campaign is not None and campaign.own is not None:
                campaign.own.move(change.cause, change.used_up, change.at_ms, change.n, brand.zone)
                self._derive_own(brand, change.campaign_id, campaign)
                self._evaluate(brand, change.campaign_id, campaign)
            return
        if change.n < brand.n:
            return
        brand.n = change.n
        brand.budgets[change.cause].set(change.used_up, brand.zone.local_ms(change.at_ms))
        self._update_brand(brand)

    def apply_plan(self, change: PlanPublished) -> None:
        """Applies a message that a plan was published: its brand, and the campaigns that changed."""
        shard_state = self._shards[shard_of(change.brand_id)]
        if not shard_state.fresh or not self._wanted.brand(change.brand_id):
            return
        brand = shard_state.brands.setdefault(change.brand_id, BrandState(shard_state))
        before = brand.mask
        self._apply_brand(brand, change.brand)
        changed = self._put_campaigns(brand, change.campaigns, False)
        if bool(before) != bool(brand.mask):
            self._evaluate_all(brand)
        else:
            for campaign_id in changed:
                self._evaluate(brand, campaign_id, brand.campaigns[campaign_id])

    def advance(self, now_ms: int) -> int:
        """Advances the time: opens and closes windows, and begins days and months. Returns the next instant at which
        anything may change.
        """
        self._now_ms = now_ms
        if now_ms >= self._next_day_ms or day_of(now_ms) != self._day:
            self._day, self._month, self._next_day_ms = day_of(now_ms), month_of(now_ms), next_day_ms(now_ms)
            for brand in list(self._expiring):
                self._update_brand(brand)
            for campaign_id, brand in list(self._expiring_own.items()):
                self._update_own(brand, campaign_id)
        while self._boundaries and self._boundaries[0][0] <= now_ms:
            self._cross(heapq.heappop(self._boundaries)[2])
        return min(self._next_day_ms, self._boundaries[0][0]) if self._boundaries else self._next_day_ms

    def restart(self, now_ms: int) -> None:
        """Sets the time to `now_ms`, which may be earlier, because another Redis has another clock."""
        self._next_day_ms = 0
        self.advance(now_ms)
        self._boundaries.clear()
        for group in list(self._groups.values()):
            self._cross(group)
        for campaign_id, brand in list(self._flying.items()):
            self._cross(Edge(brand, campaign_id))
        for brand in list(self._zoned):
            self._cross(Midnight(brand, brand.zone))

    def _cross(self, group: Group | Edge | Midnight) -> None:
        if isinstance(group, Midnight):
            self._begin_day(group)
            return
        if isinstance(group, Edge):
            campaign = group.brand.campaigns.get(group.campaign_id)
            if campaign is not None and campaign.own is not None:
                campaign.own.edge_ms = None
                self._update_own(group.brand, group.campaign_id)
            return
        if not group.users:
            self._groups.pop((group.text, group.zone), None)
            return
        is_open = group.is_open(self._now_ms)
        if is_open != group.open:
            group.open = is_open
            if is_open:
                self.running.update(group.ready)
            else:
                self.running.difference_update(group.ready)
        self._wait_for(group)

    def _begin_day(self, midnight: Midnight) -> None:
        """A day of a brand with a time zone has ended, or its zone is new."""
        brand = midnight.brand
        if brand not in self._zoned or brand.zone != midnight.zone:
            return
        self._update_brand(brand)
        for campaign_id, campaign in brand.campaigns.items():
            if campaign.own is not None:
                self._update_own(brand, campaign_id)
        at_ms = brand.zone.next_day_ms(self._now_ms)
        heapq.heappush(self._boundaries, (at_ms, next(self._order), midnight))

    def _take_zone(self, brand: BrandState, zone: Zone) -> None:
        """A brand's zone changed: its hours are of another group, and its day ends at another instant."""
        brand.zone = zone
        if zone == UTC:
            self._zoned.discard(brand)
        else:
            self._zoned.add(brand)
            at_ms = zone.next_day_ms(self._now_ms)
            heapq.heappush(self._boundaries, (at_ms, next(self._order), Midnight(brand, zone)))
        for campaign_id, campaign in brand.campaigns.items():
            self._leave(campaign_id, campaign)
            campaign.group = self._group(campaign.group.text, zone)
            campaign.group.users += 1
            self._derive_own(brand, campaign_id, campaign)
            self._evaluate(brand, campaign_id, campaign)

    def _wait_for(self, group: Group) -> None:
        at_ms = group.next_change_ms(self._now_ms)
        if at_ms is not None:
            heapq.heappush(self._boundaries, (at_ms, next(self._order), group))

    def _group(self, text: str, zone: Zone) -> Group:
        # What is always open is so in each zone.
        key = (text, zone if text else UTC)
        group = self._groups.get(key)
        if group is None:
            # Without boundaries, `ready` would be a second copy of `running`.
            group = self._groups[key] = Group(*key, set() if text else self.running, self._now_ms)
            self._wait_for(group)
        return group

    def _put_campaigns(self, brand: BrandState, campaigns: Iterable[CampaignSnapshot], whole: bool) -> list[int]:
        """Stores campaigns of a brand; returns those that changed. whole: from a snapshot, which also replaces later
        versions.
        """
        changed = []
        for campaign_id, version, enabled, archived, schedule, own in campaigns:
            if not self._wanted.campaign(campaign_id):
                continue
            stops = (0 if enabled else _MANUAL) | (_ARCHIVED if archived else 0)
            campaign = brand.campaigns.get(campaign_id)
            if campaign is not None and version < campaign.version and not whole:
                continue
            group = self._group(schedule, brand.zone)
            if campaign is None:
                campaign = brand.campaigns[campaign_id] = CampaignState(version, stops, group)
                group.users += 1
            elif campaign.group is not group:
                self._leave(campaign_id, campaign)
                campaign.group = group
                group.users += 1
            campaign.version, campaign.stops = version, stops
            if own is None or whole or campaign.own is None:
                campaign.own = None if own is None else OwnBudgets()
            if own is not None and campaign.own is not None:
                campaign.own.see(own, brand.zone)
            self._derive_own(brand, campaign_id, campaign)
            changed.append(campaign_id)
        return changed

    def _leave(self, campaign_id: int, campaign: CampaignState) -> None:
        campaign.group.users -= 1
        campaign.group.ready.discard(campaign_id)
        self.running.discard(campaign_id)

    def _drop(self, brand: BrandState, campaign_id: int) -> None:
        self._leave(campaign_id, brand.campaigns.pop(campaign_id))
        self._expiring_own.pop(campaign_id, None)
        self._flying.pop(campaign_id, None)

    def _apply_brand(self, brand: BrandState, seen: BrandSnapshot) -> None:
        if seen.version >= brand.version:
            brand.version, brand.archived, brand.paused = seen.version, seen.archived, seen.paused
            for cause, state in brand.budgets.items():
                state.zero_limit = cause in seen.zero_limits
            if seen.zone != brand.zone:
                self._take_zone(brand, seen.zone)
        if seen.n >= brand.n:
            brand.n = seen.n
            for cause in seen.reported:
                brand.budgets[cause].set(cause in seen.used_up, brand.zone.local_ms(seen.at_ms))
        self._derive_mask(brand)

    def _derive_mask(self, brand: BrandState) -> None:
        """Derives the causes that stop the whole brand."""
        mask, expires = stopping(brand.budgets.values(), *self._periods(brand))
        brand.mask = mask | (_ARCHIVED if brand.archived else 0) | (_PAUSED if brand.paused else 0)
        if expires:
            self._expiring.add(brand)
        else:
            self._expiring.discard(brand)

    def _derive_own(self, brand: BrandState, campaign_id: int, campaign: CampaignState) -> None:
        """Derives the causes of a campaign's own budgets."""
        expires = False
        if campaign.own is None:
            campaign.own_stops = 0
        else:
            campaign.own_stops, expires = campaign.own.stopping(self._now_ms, *self._periods(brand))
            self._wait_for_edge(brand, campaign_id, campaign.own)
        if expires:
            self._expiring_own[campaign_id] = brand
        elif self._expiring_own:
            self._expiring_own.pop(campaign_id, None)

    def _wait_for_edge(self, brand: BrandState, campaign_id: int, own: OwnBudgets) -> None:
        """Waits for the next begin or end of a campaign's flights."""
        if own.flights:
            self._flying[campaign_id] = brand
        elif self._flying:
            self._flying.pop(campaign_id, None)
        at_ms = own.next_edge_ms(self._now_ms)
        if at_ms is not None and at_ms != own.edge_ms:
            heapq.heappush(self._boundaries, (at_ms, next(self._order), Edge(brand, campaign_id)))
        own.edge_ms = at_ms

    def _periods(self, brand: BrandState) -> tuple[int, int]:
        """The present day and month of a brand."""
        if brand.zone == UTC:
            return self._day, self._month
        return brand.zone.day_of(self._now_ms), brand.zone.month_of(self._now_ms)

    def _update_own(self, brand: BrandState, campaign_id: int) -> None:
        campaign = brand.campaigns[campaign_id]
        self._derive_own(brand, campaign_id, campaign)
        self._evaluate(brand, campaign_id, campaign)

    def _update_brand(self, brand: BrandState) -> None:
        before = brand.mask
        self._derive_mask(brand)
        if bool(before) != bool(brand.mask):
            self._evaluate_all(brand)

    def _evaluate_all(self, brand: BrandState) -> None:
        for campaign_id, campaign in brand.campaigns.items():
            self._evaluate(brand, campaign_id, campaign)

    def _evaluate(self, brand: BrandState, campaign_id: int, campaign: CampaignState) -> None:
        group = campaign.group
        if (
            not campaign.stops
            and not campaign.own_stops
            and not brand.mask
            and (brand.shard_state.fresh or self.fail_open)
        ):
            group.ready.add(campaign_id)
            if group.open:
                self.running.add(campaign_id)
        else:
            group.ready.discard(campaign_id)
            self.running.discard(campaign_id)
