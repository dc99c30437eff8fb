"""Publish: brings the catalog's word into the live state, version by version; what could not be brought is tried again every second."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from engine.errors import BudgetError, ServerAway
from engine.ledger.catalog import Catalog, Owed
from engine.ledger.records import BrandRecord, CampaignRecord
from engine.live.admin import BrandPlan, CampaignPlan, LiveRedis

log = logging.getLogger(__name__)

BRANDS_AT_ONCE: Final = 50
"""Brands that are read and noted together: a few statements each time, whatever their number."""


class NotAllPublished(BudgetError):
    """Some brands could not be published; `done` are those that were."""

    def __init__(self, message: str, done: set[int]) -> None:
        super().__init__(message)
        self.done = done


class Publisher:
    """Publishes brands with those of their campaigns that changed."""

    def __init__(self, catalog: Catalog, live: LiveRedis, instance: str) -> None:
        self._catalog = catalog
        self._live = live
        self._instance = instance

    def publish(self, brand_ids: Iterable[int]) -> set[int]:
        """Brings brands into the live state; answers those whose shard took them. Raises ServerAway; NotAllPublished after all others."""
        done: set[int] = set()
        failed: list[str] = []
        ids = list(dict.fromkeys(brand_ids))
        for start in range(0, len(ids), BRANDS_AT_ONCE):
            self._publish(ids[start : start + BRANDS_AT_ONCE], done, failed)
        if failed:
            more = f"; and {len(failed) - 1} more brands" if len(failed) > 1 else ""
            raise NotAllPublished(f"not published: {failed[0]}{more}", done)
        return done

    def publish_pending(self, limit: int = 1000) -> set[int]:
        """Everything whose version was not published yet."""
        return self.publish(self._catalog.unpublished(limit))

    def _publish(self, brand_ids: Sequence[int], done: set[int], failed: list[str]) -> None:
        owed = self._catalog.owed(brand_ids)
        missing = set(brand_ids) - {one.brand.id for one in owed}
        failed += [f"brand {brand_id}: not in the catalog" for brand_id in sorted(missing)]
        taken: list[Owed] = []
        try:
            for one in owed:
                try:
                    if self._bring(one):
                        taken.append(one)
                except ServerAway:
                    raise
                except BudgetError as error:
                    failed.append(f"brand {one.brand.id}: {error}")
        finally:
            # What Redis has taken is noted also when it went away half-way.
            if taken:
                self._catalog.mark_published(
                    {one.brand.id: one.brand.version for one in taken},
                    {c.id: c.version for one in taken for c in one.campaigns},
                )
        done |= {one.brand.id for one in taken}

    def _bring(self, one: Owed) -> bool:
        plans = [campaign_plan(c, create=c.id in one.new) for c in one.campaigns]
        if not self._live.publish(self._instance, brand_plan(one.brand, create=one.is_new), plans):
            return False
        log.info(
            "published",
            extra={"brand": one.brand.id, "version": one.brand.version, "campaigns": [c.id for c in one.campaigns]},
        )
        return True


def brand_plan(brand: BrandRecord, *, create: bool) -> BrandPlan:
    """A brand of the catalog as the live state takes it."""
    return BrandPlan(
        brand.id,
        brand.version,
        brand.daily_budget_micros,
        brand.monthly_budget_micros,
        brand.archived_at is not None,
        create,
    )


def campaign_plan(campaign: CampaignRecord, *, create: bool) -> CampaignPlan:
    """A campaign of the catalog as the live state takes it."""
    return CampaignPlan(
        campaign.id, campaign.version, campaign.enabled, campaign.archived_at is not None, campaign.schedule, create
    )
