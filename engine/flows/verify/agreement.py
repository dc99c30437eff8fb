"""V8 and V12: Redis and PostgreSQL agree on every campaign's status and every plan, or will within one check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import Engine

from engine.domain.causes import in_order, reasons_of, standing_mask, status_of
from engine.domain.periods import at_ms, ms_of
from engine.flows.catalog.plans import Apart, plans_off
from engine.flows.catalog.status import began
from engine.flows.catalog.zones import WrongZone, wrong_zones
from engine.flows.verify.breakers import breakers_off
from engine.flows.verify.findings import Check, confirmed
from engine.ledger import audit_plan
from engine.ledger.catalog import Catalog
from engine.ledger.records import CampaignRecord
from engine.live.admin import LiveRedis
from engine.live.inspect import Inspector

ONE_CHECK_S: Final = 330
"""The check job writes all statuses every five minutes; half a minute more for the job itself."""
_BRANDS_AT_ONCE: Final = 50
_DAYS_OF_CHANGES: Final = 2


class Agreement:
    """Compares the two stores."""

    def __init__(self, db: Engine, catalog: Catalog, live: LiveRedis, inspector: Inspector) -> None:
        self._db = db
        self._catalog = catalog
        self._live = live
        self._inspector = inspector
        self._all: list[CampaignRecord] | None = None

    def _campaigns(self) -> list[CampaignRecord]:
        """All campaigns, read once for both checks; differences are read again before they are reported."""
        if self._all is None:
            self._all = self._catalog.campaigns(include_archived=True)
        return self._all

    def statuses(self) -> Check:
        """V8."""
        title = "status: PostgreSQL has the causes that Redis computes, its last change says so, every change changed something, and breakers are open in both"
        check = Check("V8", title)
        campaigns = self._campaigns()
        check.checked = f"{len(campaigns)} campaigns"
        suspects = {apart.brand_id for apart in self._causes_off(campaigns)}
        of_suspects = [campaign.id for campaign in campaigns if campaign.brand_id in suspects]
        for apart in confirmed(lambda: self._causes_off(self._read_again(of_suspects))) if suspects else ():
            check.find(apart.text)
        since = at_ms(self._live.now_ms()) - timedelta(days=_DAYS_OF_CHANGES)

        def rows() -> Iterator[audit_plan.WrongChange]:
            with self._db.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
                yield from audit_plan.last_changes_off(conn)
                yield from audit_plan.changes_without_change(conn, since)

        for wrong in confirmed(rows):
            check.find(f"campaign {wrong.campaign_id} {wrong.what}")
        for apart in confirmed(lambda: breakers_off(self._db, self._live)):
            check.find(apart.text)
        return check

    def _read_again(self, ids: Sequence[int]) -> list[CampaignRecord]:
        wanted = set(ids)
        return [campaign for campaign in self._catalog.campaigns(include_archived=True) if campaign.id in wanted]

    def _causes_off(self, campaigns: Sequence[CampaignRecord]) -> Iterator[Apart]:
        """Campaigns whose causes differ for longer than one check."""
        of_brand: dict[int, list[CampaignRecord]] = {}
        for campaign in campaigns:
            of_brand.setdefault(campaign.brand_id, []).append(campaign)
        ids = sorted(of_brand)
        for start in range(0, len(ids), _BRANDS_AT_ONCE):
            part = ids[start : start + _BRANDS_AT_ONCE]
            found = self._live.read_causes({b: max(c.ordinal for c in of_brand[b]) for b in part}, rests=False)
            for campaign in (c for brand_id in part for c in of_brand[brand_id]):
                causes = found[campaign.brand_id]
                mask = causes.masks.get(campaign.id) if causes is not None else None
                if causes is None or mask is None:
                    continue  # V11 and V12 report it.
                brand, reasons = causes.brand, reasons_of(standing_mask(mask))
                if campaign.reasons == reasons and campaign.status == status_of(reasons):
                    continue
                before, after = frozenset(in_order(campaign.reasons)), frozenset(reasons)
                if before == after and campaign.status == status_of(reasons):
                    continue
                at = max(
                    (
                        began(cause, campaign, brand, causes.own.get(campaign.id, ()), causes.broken.get(campaign.id))
                        for cause in before ^ after
                    ),
                    default=ms_of(campaign.created_at),
                )
                if brand.now_ms - at > ONE_CHECK_S * 1000:
                    said, is_so = ", ".join(campaign.reasons) or "no cause", ", ".join(reasons) or "no cause"
                    text = f"campaign {campaign.id} is written {campaign.status} ({said}), Redis says {status_of(reasons)} ({is_so}) since {at_ms(at):%Y-%m-%d %H:%M} UTC"
                    yield Apart(f"campaign {campaign.id}", campaign.brand_id, text)

    def zones(self) -> Check:
        """V15."""
        check = Check("V15", "zone: each published time zone = what the catalog's compiles to, for a week ahead")
        zoned = self._catalog.zones.zoned()
        check.checked = f"{len(zoned)} brands with a time zone"
        for wrong in confirmed(self._zones_off) if zoned else ():
            check.find(wrong.text, f"brand {wrong.brand_id}", 0, wrong.brand_id)
        return check

    def _zones_off(self) -> Iterator[WrongZone]:
        """Of brands that are published as they are now, read anew."""
        published = {
            brand.id
            for brand in self._catalog.brands(include_archived=True)
            if brand.published_version == brand.version
        }
        zoned = [brand for brand in self._catalog.zones.zoned() if brand.id in published]
        yield from wrong_zones(self._inspector, zoned, self._live.now_ms())

    def plans(self) -> Check:
        """V12."""
        check = Check("V12", "agreement: the published plan in Redis = the catalog, or younger than one check")
        brands = self._catalog.brands(include_archived=True)
        campaigns = self._campaigns()
        check.checked = f"{len(brands)} brands, {len(campaigns)} campaigns"
        suspects = {apart.brand_id for apart in plans_off(self._inspector, brands, campaigns)}

        def again() -> Iterator[Apart]:
            found = list(
                plans_off(
                    self._inspector,
                    [b for b in self._catalog.brands(include_archived=True) if b.id in suspects],
                    [c for c in self._catalog.campaigns(include_archived=True) if c.brand_id in suspects],
                )
            )
            with self._db.connect() as conn:
                young = audit_plan.changed_within(conn, [apart.entity for apart in found], ONE_CHECK_S)
            return (apart for apart in found if not (apart.live_is_older and apart.entity in young))

        for apart in confirmed(again) if suspects else ():
            check.find(apart.text, f"brand {apart.brand_id}", apart.micros, apart.brand_id)
        return check
