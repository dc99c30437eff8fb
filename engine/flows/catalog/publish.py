"""Publish: writes the catalog's plans into the live state, version by version. Publications that fail are retried
every second.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from engine.domain.ids import SHARDS, shard_of
from engine.domain.periods import date_of, days_of_month
from engine.domain.zone_text import Zone
from engine.errors import BudgetError, ServerAway
from engine.flows.catalog.plans import Apart, plans_off
from engine.flows.catalog.restored import Restored, TakenBack
from engine.flows.catalog.zones import begins_late
from engine.ledger.catalog import Catalog, PendingPublication
from engine.ledger.changes import Entity
from engine.ledger.published import MAX_VERSION, Ahead
from engine.ledger.records import BrandRecord, CampaignRecord
from engine.live.admin import Brought, LiveRedis
from engine.live.inspect import Inspector
from engine.live.published_plans import BrandPlan, CampaignPlan, LifetimeBase
from engine.live.registry import stamp, stamps

log = logging.getLogger(__name__)

BRANDS_AT_ONCE: Final = 50
"""Brands that are read and marked as published together, with a few statements each time."""


_TRIES: Final = 4
"""Attempts to publish a brand when the catalog was raised above Redis' version, or another publisher came first."""


_LOOKS: Final = 2


_PERSIST_S: Final = 1.5
"""How long a lifetime budget waits for persist, which runs each second."""
_PERSIST_STEP_S: Final = 0.1


class NotAllPublished(BudgetError):
    """Some brands could not be published; `done` are those that were."""

    def __init__(self, message: str, done: set[int]) -> None:
        super().__init__(message)
        self.done = done


@dataclass(frozen=True, slots=True)
class Mended:
    """What a comparison found: what the catalog had lost, how many plans differed in Redis, and the shards that miss one."""

    back: TakenBack
    plans: int
    older: tuple[int, ...] = ()

    def __str__(self) -> str:
        plans = f"{self.plans} plans that differed in Redis published again" if self.plans else ""
        older = (
            f"shard {', '.join(map(str, self.older))} lost what was published: rebuilt by persist" if self.older else ""
        )
        return "; ".join(filter(None, (str(self.back) if self.back else "", plans, older)))


class Publisher:
    """Publishes brands with those of their campaigns that changed."""

    def __init__(
        self,
        catalog: Catalog,
        live: LiveRedis,
        instance: str,
        inspector: Inspector,
        restored: Restored,
        grace_minutes: int = 0,
    ) -> None:
        self._catalog = catalog
        self._live = live
        self._instance = instance
        self._inspector = inspector
        self._restored = restored
        self._grace_minutes = grace_minutes
        self._seen: float = math.inf
        """The last change that every shard has seen; at first all that there are, since nobody knows better."""

    def publish(self, brand_ids: Iterable[int]) -> set[int]:
        """Publishes brands; returns those whose shard took them. Raises ServerAway; NotAllPublished after all others."""
        done: set[int] = set()
        failed: list[str] = []
        ids = list(dict.fromkeys(brand_ids))
        for start in range(0, len(ids), BRANDS_AT_ONCE):
            self._publish(ids[start : start + BRANDS_AT_ONCE], done, failed)
        if failed:
            more = f"; and {len(failed) - 1} more brands" if len(failed) > 1 else ""
            raise NotAllPublished(f"not published: {failed[0]}{more}", done)
        return done

    def is_broken(self, campaign_id: int) -> bool:
        """Whether Redis has a campaign's breaker open; False also where Redis cannot be asked."""
        try:
            live = self._live.read_campaign(campaign_id)
        except BudgetError:
            return False
        found = live and live.campaigns.get(campaign_id)
        return bool(found and found.brake and found.brake.since_ms is not None)

    def now_ms(self) -> int | None:
        """The time by Redis' clock; None where it cannot be asked."""
        try:
            return self._live.now_ms()
        except BudgetError:
            return None

    def renew_zones(self) -> int:
        """Writes the texts of time zones anew that will be wrong within months; returns how many. Raises ServerAway."""
        return len(self._catalog.zones.renew(self._live.now_ms()))

    def _move_zones(self, brands: Sequence[BrandRecord]) -> bool:
        """Lets zones begin later that would take back the day that Redis has; returns whether there were any."""
        changing = [brand for brand in brands if len(brand.zones.steps) > 1]
        late = begins_late(self._inspector, changing, self._live.now_ms()) if changing else {}
        for brand_id, (to_ms, now_ms) in late.items():
            self._catalog.zones.move(brand_id, to_ms, now_ms)
        return bool(late)

    def publish_pending(self, limit: int = 1000) -> set[int]:
        """Publishes everything whose version is not published yet, with the scheduled changes that the catalog takes over now."""
        self._take_over()
        return self.publish(self._catalog.unpublished(limit))

    def _take_over(self) -> None:
        """What has begun or ended of scheduled changes becomes the catalog's limit. Redis' clock decides, and has them in force already."""
        due_ms = self._catalog.limits.next_ms()
        if due_ms is not None and due_ms <= (now_ms := self._live.now_ms()):
            for brand_id in self._catalog.limits.take_over(now_ms):
                log.info("a scheduled change of a limit was taken over", extra={"brand": brand_id})

    def recognise(self) -> Mended | None:
        """Detects a PostgreSQL that was restored to an earlier state: Redis has a later change than the catalog.
        Repairs all of it; None where there is nothing to repair.

        Rows that the catalog lost are restored in any case. Raises ServerAway.
        """
        seen = stamp(self._live, self._instance, range(SHARDS))
        last = self._catalog.last_change()
        if seen <= last:
            back = self._restored.take_back()
            return Mended(back, 0) if back else None
        log.warning("an older PostgreSQL came back: Redis has seen change %d, the catalog's last is %d", seen, last)
        self._restored.skip_numbers()
        mended = self.mend(lost=True)
        self.publish_pending()
        stamp(self._live, self._instance, range(SHARDS), self._catalog.last_change(), lower=True)
        return mended

    def keep_published(self) -> set[int]:
        """Publishes what is pending, and what shards had and lost: each keeps the number of the last change that it
        has seen, and one with an earlier number came back older. Also publishes the grace for late spends. Returns the
        brands published. Raises ServerAway, NotAllPublished.

        A brand whose shard came back older has limits of then, and no spend need be missing from its journal.
        """
        # In this order: a change in between is published, and its number is stored a call later.
        number = self._catalog.last_change()
        done = self.publish_pending()
        seen = stamps(self._live, self._instance, range(SHARDS), grace_minutes=self._grace_minutes)
        # A PostgreSQL that was restored has a lower number than before; `recognise` is for that.
        wanted = int(min(number, self._seen))
        older = [shard for shard, had in seen.items() if had < wanted]
        if older:
            self.mend(older)
            done |= self.publish_pending()
            stamp(self._live, self._instance, older, wanted)
        if not done:
            if behind := [shard for shard, had in seen.items() if had < number]:
                stamp(self._live, self._instance, behind, number)
            self._seen = number
        return done

    def mend(self, shards: Collection[int] = range(SHARDS), *, lost: bool = False) -> Mended:
        """Finds where Redis and the catalog differ though all was published, and marks it to be published again.
        lost: the catalog is an older one, so its trail keeps what Redis had. Raises ServerAway.
        """
        back = self._restored.take_back(shards)
        suspects: set[int] | None = None
        off: dict[str, list[Apart]] = {}
        for _ in range(_LOOKS):
            # A change may be in progress, so only a difference that is found twice counts.
            brands = [b for b in self._catalog.brands(True, shards=shards) if _noted(b, suspects, b.id)]
            campaigns = [
                c for c in self._catalog.campaigns(None, True, shards=shards) if _noted(c, suspects, c.brand_id)
            ]
            off = {}
            for one in plans_off(self._inspector, brands, campaigns, rests=True):
                off.setdefault(one.entity, []).append(one)
            if not off:
                break
            suspects = {each[0].brand_id for each in off.values()}
        # What is gone is no plan that differs: its shard must be rebuilt.
        older = self._give_up([off.pop(entity)[0] for entity, each in list(off.items()) if each[0].missing])
        self._catalog.doubt({_row_of(entity): [one.text for one in each] for entity, each in off.items()}, lost)
        for each in off.values():
            for one in each:
                log.warning("%s: it is published again", one.text)
        return Mended(back, len(off), older)

    def _give_up(self, gone: Sequence[Apart]) -> tuple[int, ...]:
        """Takes shards out of use that once had these and have them no more, though they are in use; answers which. Where the registry has gone with
        them no call can tell: an older state of Redis came back.
        """
        first = {shard_of(one.brand_id): one for one in reversed(gone)}
        ready = {state.shard for state in self._live.read_shards() if state.ready} if first else set()
        for shard in sorted(ready & set(first)):
            log.warning("%s: an older Redis came back, and its shard %d is rebuilt", first[shard].text, shard)
            self._live.unmark(self._instance, shard, first[shard].entity)
        return tuple(sorted(ready & set(first)))

    def _publish(self, brand_ids: Sequence[int], done: set[int], failed: list[str]) -> None:
        left = list(brand_ids)
        for _ in range(_TRIES):
            left = self._publish_once(left, done, failed)
            if not left:
                return
        failed += [f"brand {b}: Redis has a later version than the catalog again and again" for b in left]

    def _publish_once(self, brand_ids: Sequence[int], done: set[int], failed: list[str]) -> list[int]:
        """Raises the catalog above Redis for brands where Redis has more than the catalog; returns them, to be
        published again.
        """
        number = self._catalog.last_change()
        owed = self._catalog.owed(brand_ids)
        if self._move_zones([one.brand for one in owed]):
            owed = self._catalog.owed(brand_ids)
        missing = set(brand_ids) - {one.brand.id for one in owed}
        failed += [f"brand {brand_id}: not in the catalog" for brand_id in sorted(missing)]
        taken: list[PendingPublication] = []
        kept: dict[int, tuple[PendingPublication, dict[int, int]]] = {}
        try:
            for one in owed:
                try:
                    ahead = self._bring(one)
                except BudgetError as error:
                    if isinstance(error, ServerAway) and not error.partial:
                        raise
                    failed.append(f"brand {one.brand.id}: {error}")
                    continue
                if ahead:
                    kept[one.brand.id] = one, ahead
                elif ahead is not None:
                    taken.append(one)
        finally:
            # What Redis took is marked as published, also when it went away half-way.
            if taken:
                self._catalog.mark_published(
                    {one.brand.id: one.brand.version for one in taken},
                    {c.id: c.version for one in taken for c in one.campaigns},
                )
        done |= {one.brand.id for one in taken}
        self._overtake(kept)
        stamp(self._live, self._instance, sorted({shard_of(one.brand.id) for one in taken}), number)
        return list(kept)

    def _overtake(self, kept: dict[int, tuple[PendingPublication, dict[int, int]]]) -> None:
        """The catalog wins, whether PostgreSQL was restored or Redis was written by hand; unless this publish was
        only late.
        """
        of_brands: dict[int, Ahead] = {}
        of_campaigns: dict[int, Ahead] = {}
        for brand_id, (one, ahead) in kept.items():
            if max(ahead.values()) > MAX_VERSION:
                # Not written by publish: a rebuild writes the catalog's version.
                self._live.unmark(
                    self._instance, shard_of(brand_id), f"version {max(ahead.values())} of brand {brand_id}"
                )
                continue
            sent = {c.id: c.version for c in one.campaigns}
            of_brands |= {i: Ahead(one.brand.version, v) for i, v in ahead.items() if i == brand_id}
            of_campaigns |= {i: Ahead(sent[i], v) for i, v in ahead.items() if i != brand_id}
        brands, campaigns = self._catalog.overtake(of_brands, of_campaigns)
        if brands or campaigns:
            log.warning(
                "Redis had later versions than the catalog: the catalog's are published above them",
                extra={"brands": brands, "campaigns": campaigns},
            )

    def _bring(self, one: PendingPublication) -> dict[int, int] | None:
        plans = [campaign_plan(c, create=c.id in one.new) for c in one.campaigns]
        brand = brand_plan(one.brand, create=one.is_new)
        brought = self._live.bring(self._instance, brand, plans)
        ahead = None if brought is None else brought.ahead
        if brought is not None and brought.uncounted:
            ahead = brought.ahead | self._begin_lifetimes(brand, plans, brought)
        if ahead is not None:
            log.info(
                "published",
                extra={"brand": one.brand.id, "version": one.brand.version, "campaigns": [c.id for c in one.campaigns]},
            )
        return ahead

    def _begin_lifetimes(self, brand: BrandPlan, plans: Sequence[CampaignPlan], brought: Brought) -> dict[int, int]:
        """Publishes campaigns whose lifetime counter begins with what they spent before; returns what is ahead. Waits a
        moment for persist. Raises BudgetError where the log is too far behind: then it is published later.
        """
        deadline_s, shard = time.monotonic() + _PERSIST_S, shard_of(brand.brand_id)
        while True:
            month = Zone.parse(brand.zone).month_of(brought.now_ms)
            n, spent = self._catalog.spent_before(shard, brought.uncounted, date_of(next(days_of_month(month))))
            if n >= brought.n:
                based = [
                    replace(plan, base=LifetimeBase(spent[plan.campaign_id], month, n))
                    for plan in plans
                    if plan.campaign_id in brought.uncounted
                ]
                again = self._live.bring(self._instance, brand, based)
                if again is not None and not again.uncounted:
                    return again.ahead
                brought = again or brought
            if time.monotonic() > deadline_s:
                campaigns = ", ".join(map(str, brought.uncounted))
                raise BudgetError(
                    f"the lifetime budget of campaign {campaigns} begins when persist has caught up with the journal of shard {shard}"
                )
            time.sleep(_PERSIST_STEP_S)


def _row_of(entity: str) -> tuple[Entity, int]:
    """The row of a name such as `brand 81`."""
    kind, number = entity.split()
    return "brand" if kind == "brand" else "campaign", int(number)


def _noted(row: BrandRecord | CampaignRecord, suspects: set[int] | None, brand_id: int) -> bool:
    """Whether a row should be in Redis as it is, and is to be compared."""
    if row.published_version != row.version:
        return False
    return suspects is None or brand_id in suspects


def brand_plan(brand: BrandRecord, *, create: bool) -> BrandPlan:
    """A brand of the catalog as publish takes it."""
    return BrandPlan(
        brand.id,
        brand.version,
        brand.daily_budget_micros,
        brand.monthly_budget_micros,
        brand.archived_at is not None,
        create,
        brand.pace,
        brand.zone,
        brand.steps,
        brand.paused,
        brand.rollover_cap_micros,
    )


def campaign_plan(campaign: CampaignRecord, *, create: bool) -> CampaignPlan:
    """A campaign of the catalog as publish takes it."""
    return CampaignPlan(
        campaign.id,
        campaign.version,
        campaign.enabled,
        campaign.archived_at is not None,
        campaign.schedule,
        create,
        campaign.limits,
        flights=campaign.flights,
        pace=campaign.pace,
        brake=campaign.brake,
        steps=campaign.steps,
    )
