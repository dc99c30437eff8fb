"""Publish: brings the catalog's word into the live state, version by version; what could not be brought is tried again every second."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from sqlalchemy import Engine

from engine.errors import BudgetError, ServerAway
from engine.ledger import spend_log
from engine.ledger.catalog import Catalog
from engine.ledger.records import BrandRecord, CampaignRecord
from engine.live.admin import BrandPlan, CampaignPlan, LiveRedis

log = logging.getLogger(__name__)


class NotAllPublished(BudgetError):
    """Some brands could not be published; `done` are those that were."""

    def __init__(self, message: str, done: set[int]) -> None:
        super().__init__(message)
        self.done = done


class Publisher:
    """Publishes brands with those of their campaigns that changed."""

    def __init__(self, db: Engine, catalog: Catalog, live: LiveRedis, instance: str) -> None:
        self._db = db
        self._catalog = catalog
        self._live = live
        self._instance = instance

    def publish(self, brand_ids: Iterable[int]) -> set[int]:
        """Brings brands into the live state; answers those whose shard took them. Raises ServerAway; NotAllPublished after all others."""
        done: set[int] = set()
        failed: list[str] = []
        for brand_id in brand_ids:
            try:
                if self._publish(brand_id):
                    done.add(brand_id)
            except ServerAway:
                raise
            except BudgetError as error:
                failed.append(f"brand {brand_id}: {error}")
        if failed:
            more = f"; and {len(failed) - 1} more brands" if len(failed) > 1 else ""
            raise NotAllPublished(f"not published: {failed[0]}{more}", done)
        return done

    def publish_pending(self, limit: int = 1000) -> set[int]:
        """Everything whose version was not published yet."""
        return self.publish(self._catalog.unpublished(limit))

    def _publish(self, brand_id: int) -> bool:
        brand = self._catalog.brand(brand_id)
        campaigns = [
            c for c in self._catalog.campaigns(brand_id, include_archived=True) if c.version != c.published_version
        ]
        campaigns.sort(key=lambda c: c.ordinal)
        never = brand.published_version is None or any(c.published_version is None for c in campaigns)
        with_rows = self._with_log_rows(brand_id) if never else set()
        brand_is_new = brand.published_version is None and not with_rows
        plans = [campaign_plan(c, create=c.published_version is None and c.id not in with_rows) for c in campaigns]
        if not self._live.publish(self._instance, brand_plan(brand, create=brand_is_new), plans):
            return False
        log.info(
            "published", extra={"brand": brand_id, "version": brand.version, "campaigns": [c.id for c in campaigns]}
        )
        self._catalog.mark_published(brand_id, brand.version, {c.id: c.version for c in campaigns})
        return True

    def _with_log_rows(self, brand_id: int) -> set[int]:
        with self._db.connect() as conn:
            return spend_log.campaigns_with_rows(conn, brand_id)


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
