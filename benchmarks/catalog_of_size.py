"""Fills a catalog of any size by SQL: a thousand brands of a hundred campaigns in seconds. The engine then publishes
and checks it like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Engine, text

from engine.client.sync import Spend
from engine.domain.ids import ORDINALS, campaign_id_of
from engine.wiring import System

CAMPAIGNS_EACH: Final = 100
_SPENDS_A_CALL: Final = 1000

_BRANDS: Final = (
    "INSERT INTO brand (name, daily_budget_micros, monthly_budget_micros, next_ordinal)"
    " SELECT format('Sized %s', lpad(number::text, 6, '0')), :daily, :monthly, :each + 1"
    " FROM generate_series(1, :brands) AS number RETURNING id"
)
# Of nine campaigns six always run, two run on weekdays in the daytime, one runs over midnight.
_CAMPAIGNS: Final = (
    f"INSERT INTO campaign (id, brand_id, ordinal, name, schedule) SELECT brand * {ORDINALS} + ordinal, brand, ordinal,"
    " format('Campaign %s', lpad(ordinal::text, 5, '0')), CASE ordinal % 9"
    """ WHEN 7 THEN '{"days": ["mon", "tue", "wed", "thu", "fri"], "start_time": "09:00", "end_time": "17:00"}'::jsonb"""
    """ WHEN 8 THEN '{"days": ["mon", "tue", "wed", "thu", "fri"], "start_time": "06:30", "end_time": "20:00"}'::jsonb"""
    """ WHEN 0 THEN '{"start_time": "22:00", "end_time": "06:00"}'::jsonb END"""
    " FROM unnest(CAST(:ids AS bigint[])) AS brand, generate_series(1, :each) AS ordinal"
)
_TRAIL: Final = (
    "INSERT INTO catalog_change (actor, entity, entity_id, field, new)"
    " SELECT 'size', 'campaign', id, 'created', name FROM campaign WHERE brand_id = ANY(CAST(:ids AS bigint[]))"
)


def always_open(campaigns: Sequence[int]) -> list[int]:
    """The campaigns without a schedule, so that a result does not depend on the hour."""
    return [campaign for campaign in campaigns if 1 <= campaign % ORDINALS % 9 <= 6]


@dataclass(frozen=True, slots=True)
class Sized:
    """The brands of a filled catalog, each with campaigns 1 to `each`."""

    brands: tuple[int, ...]
    each: int

    @property
    def campaigns(self) -> list[int]:
        """All campaign ids, brand by brand."""
        return [campaign_id_of(brand, ordinal) for brand in self.brands for ordinal in range(1, self.each + 1)]


def fill(
    db: Engine,
    brands: int,
    each: int = CAMPAIGNS_EACH,
    *,
    daily: int | None = 10**12,
    monthly: int | None = 10**13,
) -> Sized:
    """Inserts brands with `each` campaigns, not published yet. daily and monthly: budgets in micros."""
    with db.begin() as conn:
        found = conn.execute(text(_BRANDS), {"brands": brands, "each": each, "daily": daily, "monthly": monthly})
        ids = [int(row[0]) for row in found]
        conn.execute(text(_CAMPAIGNS), {"ids": ids, "each": each})
        conn.execute(text(_TRAIL), {"ids": ids})
    with db.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("ANALYZE brand, campaign"))
    return Sized(tuple(ids), each)


def publish_all(system: System) -> int:
    """Publishes everything that Redis does not have yet; returns the number of brands."""
    done: set[int] = set()
    while published := system.publisher.publish_pending():
        done |= published
    return len(done)


def spend_once_each(system: System, sized: Sized, micros: int = 2_500_000) -> int:
    """Records one spend on every campaign, so that each hash has counters of a day and a month. Returns how many."""
    campaigns, at = sized.campaigns, datetime.now(UTC)
    for start in range(0, len(campaigns), _SPENDS_A_CALL):
        part = campaigns[start : start + _SPENDS_A_CALL]
        system.client.record_spends([Spend(c, amount_micros=micros, occurred_at=at) for c in part])
    return len(campaigns)
