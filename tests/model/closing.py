"""Close: a day that is over for every spend gets its total in the log, and its counters go. Nothing else changes by it, but that what the present day
carries of such a day is written down first, and that no late spend counts to it any more.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.domain.zone_text import UTC
from tests.model.journal import Entry
from tests.model.shard import Shard, keep_carry


def close(shard: Shard, brand_ids: Sequence[int], days: Sequence[int]) -> None:
    """Closes days of brands, at the shard's own time. No brands: of the shard itself."""
    brands, now, last = [shard.brands[brand_id] for brand_id in brand_ids], shard.kept_now, max(days, default=0)
    begun = [brand for brand in brands if brand.cap is not None and brand.kept.day in days]
    if begun:
        carries = frozenset((brand.brand_id, *keep_carry(brand, now)) for brand in begun)
        shard.append(Entry(shard.n + 1, now, carries=carries))
    for brand in brands:
        brand.total = max(brand.total, last)
        if brand.zone != UTC:
            brand.closed = max(brand.closed, last)
    if not brands:
        shard.total = max(shard.total, last)
    elif any(brand.zone == UTC for brand in brands):
        shard.closed = max(shard.closed, last)
