"""The view of which campaigns may run: data and rules, no network and no thread. `engine/client/watch/watch.py` feeds
it and holds its lock.

`running` is one set for the view's whole life, changed in place, so that a check is one lookup. A campaign is in it
when neither its own state stops it (switch, archive) nor its brand's (archive, budgets), its hours are open, and its
shard is fresh. Campaigns with the same compiled schedule share one group. `ready` are those that only the schedule
may stop, so that a boundary is one update of a set by another.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from itertools import count
from typing import Final, NamedTuple

from engine.client.watch.budgets import NEVER, BudgetState, OwnBudgets, stopping
from engine.client.watch.messages import BrandSnapshot, BudgetMoved, CampaignSnapshot, PlanPublished
from engine.domain.budget import BUDGETS
from engine.domain.causes import ARCHIVED, MANUAL, OTHER, SCHEDULE, mask_of
from engine.domain.hours import Hours
from engine.domain.ids import SHARDS, brand_of, campaign_id_of, shard_of
from engine.domain.periods import Period, day_of, month_of, next_day_ms

_MANUAL: Final = mask_of((MANUAL,))
_ARCHIVED: Final = mask_of((ARCHIVED,))
_SCHEDULE: Final = mask_of((SCHEDULE,))
_BUDGETS: Final[dict[str, Period]] = {kind.cause: kind.period for kind in BUDGETS} | {OTHER: "day"}
"""{cause: its period} of what stops a whole brand for a while. The period of a budget of a later release is not
known: it stops for the day.
"""


class WatchFilter:
    """What a watch covers: all, or some brands and some campaigns."""

    def __init__(self, brands: Iterable[int] | None, campaigns: Iterable[int] | None) -> None:
        self.all = brands is None and campaigns is None
        self._whole = frozenset(brands or ())
        self._single: frozenset[int] = frozenset()
        self.brands: frozenset[int] = self._whole
        self.add(campaigns or ())

    def add(self, campaigns: Iterable[int]) -> None:
        """Adds campaigns."""
        self._single = self._single.union(campaigns)
        self.brands = self._whole.union(map(brand_of, self._single))
        self.shards = tuple(range(SHARDS)) if self.all else tuple(sorted({shard_of(b) for b in self.brands}))

    def brands_of(self, shard: int) -> list[int]:
        return [b for b in self.brands if shard_of(b) == shard]

    def brand(self, brand_id: int) -> bool:
        return self.all or brand_id in self.brands

    def campaign(self, campaign_id: int) -> bool:
        return self.all or brand_of(campaign_id) in self._whole or campaign_id in self._single

    def campaigns_of(self, brand_id: int, highest: int) -> list[int]:
        """The campaigns of a brand to watch, by its highest ordinal."""
        ids = range(campaign_id_of(brand_id, 1), campaign_id_of(brand_id, highest) + 1)
        return [campaign_id for campaign_id in ids if self.campaign(campaign_id)]


class _Group:
    """The campaigns of one compiled schedule."""

    __slots__ = ("hours", "open", "ready", "text", "users")

    def __init__(self, text: str, ready: set[int], now_ms: int) -> None:
        self.text = text
        self.hours = Hours(text)
        self.open = self.hours.is_open(now_ms)
        self.ready = ready
        self.users = 0


class _Campaign:
    """stops: by a person. own_stops: by its own budgets, of which most campaigns have none (`own`)."""

    __slots__ = ("group", "own", "own_stops", "stops", "version")

    def __init__(self, version: int, stops: int, group: _Group) -> None:
        self.version = version
        self.stops = stops
        self.group = group
        self.own: OwnBudgets | None = None
        self.own_stops = 0


class _Brand:
    __slots__ = ("archived", "budgets", "campaigns", "mask", "n", "shard_state", "version")

    def __init__(self, shard_state: _Shard) -> None:
        self.shard_state = shard_state
        self.n = self.version = NEVER
        self.budgets = {cause: BudgetState(cause, period) for cause, period in _BUDGETS.items()}
        self.archived = False
        self.mask = 0
        self.campaigns: dict[int, _Campaign] = {}


class _Edge(NamedTuple):
    """A begin or end of a campaign's flight."""

    brand: _Brand
    campaign_id: int


class _Shard:
    __slots__ = ("brands", "fresh")

    def __init__(self) -> None:
        self.brands: dict[int, _Brand] = {}
        self.fresh = False


class EligibilityView:
    """Which campaigns may run. fail_open: while a shard is not fresh, its campaigns keep their last known state, and
    time goes on; else none of them may run.
    """

    def __init__(self, fail_open: bool, wanted: WatchFilter) -> None:
        self.running: set[int] = set()
        self.fail_open = fail_open
        self._wanted = wanted
        self._shards = [_Shard() for _ in range(SHARDS)]
        self._groups: dict[str, _Group] = {}
        self._boundaries: list[tuple[int, int, _Group | _Edge]] = []
        self._order = count()
        self._expiring: set[_Brand] = set()
        """Brands whose causes change when their day or month ends."""
        self._expiring_own: dict[int, _Brand] = {}
        """{campaign id: its brand} of campaigns whose own budgets do."""
        self._flying: dict[int, _Brand] = {}
        """{campaign id: its brand} of campaigns with flights."""
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
            brand = shard_state.brands.setdefault(brand_id, _Brand(shard_state))
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
                campaign.own.move(change.cause, change.used_up, change.at_ms, change.n)
                self._derive_own(brand, change.campaign_id, campaign)
                self._evaluate(brand, change.campaign_id, campaign)
            return
        if change.n < brand.n:
            return
        brand.n = change.n
        brand.budgets[change.cause].set(change.used_up, change.at_ms)
        self._update_brand(brand)

    def apply_plan(self, change: PlanPublished) -> None:
        """Applies a message that a plan was published: its brand, and the campaigns that changed."""
        shard_state = self._shards[shard_of(change.brand_id)]
        if not shard_state.fresh or not self._wanted.brand(change.brand_id):
            return
        brand = shard_state.brands.setdefault(change.brand_id, _Brand(shard_state))
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
                campaign = brand.campaigns[campaign_id]
                self._derive_own(brand, campaign_id, campaign)
                self._evaluate(brand, campaign_id, campaign)
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
            self._cross(_Edge(brand, campaign_id))

    def _cross(self, group: _Group | _Edge) -> None:
        if isinstance(group, _Edge):
            campaign = group.brand.campaigns.get(group.campaign_id)
            if campaign is not None and campaign.own is not None:
                campaign.own.edge_ms = None
                self._derive_own(group.brand, group.campaign_id, campaign)
                self._evaluate(group.brand, group.campaign_id, campaign)
            return
        if not group.users:
            self._groups.pop(group.text, None)
            return
        is_open = group.hours.is_open(self._now_ms)
        if is_open != group.open:
            group.open = is_open
            if is_open:
                self.running.update(group.ready)
            else:
                self.running.difference_update(group.ready)
        self._wait_for(group)

    def _wait_for(self, group: _Group) -> None:
        at_ms = group.hours.next_change_ms(self._now_ms)
        if at_ms is not None:
            heapq.heappush(self._boundaries, (at_ms, next(self._order), group))

    def _group(self, text: str) -> _Group:
        group = self._groups.get(text)
        if group is None:
            # Without boundaries, `ready` would be a second copy of `running`.
            group = self._groups[text] = _Group(text, set() if text else self.running, self._now_ms)
            self._wait_for(group)
        return group

    def _put_campaigns(self, brand: _Brand, campaigns: Iterable[CampaignSnapshot], whole: bool) -> list[int]:
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
            group = self._group(schedule)
            if campaign is None:
                campaign = brand.campaigns[campaign_id] = _Campaign(version, stops, group)
                group.users += 1
            elif campaign.group is not group:
                self._leave(campaign_id, campaign)
                campaign.group = group
                group.users += 1
            campaign.version, campaign.stops = version, stops
            if own is None or whole or campaign.own is None:
                campaign.own = None if own is None else OwnBudgets()
            if own is not None and campaign.own is not None:
                campaign.own.see(own)
            self._derive_own(brand, campaign_id, campaign)
            changed.append(campaign_id)
        return changed

    def _leave(self, campaign_id: int, campaign: _Campaign) -> None:
        campaign.group.users -= 1
        campaign.group.ready.discard(campaign_id)
        self.running.discard(campaign_id)

    def _drop(self, brand: _Brand, campaign_id: int) -> None:
        self._leave(campaign_id, brand.campaigns.pop(campaign_id))
        self._expiring_own.pop(campaign_id, None)
        self._flying.pop(campaign_id, None)

    def _apply_brand(self, brand: _Brand, seen: BrandSnapshot) -> None:
        if seen.version >= brand.version:
            brand.version, brand.archived = seen.version, seen.archived
            for cause, state in brand.budgets.items():
                state.zero_limit = cause in seen.zero_limits
        if seen.n >= brand.n:
            brand.n = seen.n
            for cause in seen.reported:
                brand.budgets[cause].set(cause in seen.used_up, seen.at_ms)
        self._derive_mask(brand)

    def _derive_mask(self, brand: _Brand) -> None:
        """Derives the causes that stop the whole brand."""
        mask, expires = stopping(brand.budgets.values(), self._day, self._month)
        brand.mask = mask | (_ARCHIVED if brand.archived else 0)
        if expires:
            self._expiring.add(brand)
        else:
            self._expiring.discard(brand)

    def _derive_own(self, brand: _Brand, campaign_id: int, campaign: _Campaign) -> None:
        """Derives the causes of a campaign's own budgets."""
        expires = False
        if campaign.own is None:
            campaign.own_stops = 0
        else:
            campaign.own_stops, expires = campaign.own.stopping(self._now_ms, self._day, self._month)
            self._wait_for_edge(brand, campaign_id, campaign.own)
        if expires:
            self._expiring_own[campaign_id] = brand
        elif self._expiring_own:
            self._expiring_own.pop(campaign_id, None)

    def _wait_for_edge(self, brand: _Brand, campaign_id: int, own: OwnBudgets) -> None:
        """Waits for the next begin or end of a campaign's flights."""
        if own.flights:
            self._flying[campaign_id] = brand
        elif self._flying:
            self._flying.pop(campaign_id, None)
        at_ms = own.next_edge_ms(self._now_ms)
        if at_ms is not None and at_ms != own.edge_ms:
            heapq.heappush(self._boundaries, (at_ms, next(self._order), _Edge(brand, campaign_id)))
        own.edge_ms = at_ms

    def _update_brand(self, brand: _Brand) -> None:
        before = brand.mask
        self._derive_mask(brand)
        if bool(before) != bool(brand.mask):
            self._evaluate_all(brand)

    def _evaluate_all(self, brand: _Brand) -> None:
        for campaign_id, campaign in brand.campaigns.items():
            self._evaluate(brand, campaign_id, campaign)

    def _evaluate(self, brand: _Brand, campaign_id: int, campaign: _Campaign) -> None:
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
