"""What a watch covers."""

from __future__ import annotations

from collections.abc import Iterable

from engine.domain.ids import SHARDS, brand_of, campaign_id_of, shard_of


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
