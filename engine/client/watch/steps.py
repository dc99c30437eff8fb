"""When a watch reads shards again: at the steps of scheduled changes of limits (`lua/lib/steps.lua`). Whether a step uses a budget up or frees it
depends on what was spent until then, which a watch does not know.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from engine.client.watch.clock import NodeClocks
from engine.client.watch.messages import BrandSnapshot, CampaignSnapshot, PlanPublished

_LONGEST_S = 60.0


class StepTimes:
    """The next steps of what a watch covers. Used by its listener alone."""

    def __init__(self) -> None:
        self._ahead: list[tuple[int, int]] = []

    def see(self, shard: int, brands: Iterable[tuple[int, BrandSnapshot, list[CampaignSnapshot]]]) -> None:
        """Takes the steps of a shard that was read, in place of those known."""
        self._ahead = [one for one in self._ahead if one[1] != shard]
        heapq.heapify(self._ahead)
        for _, brand, campaigns in brands:
            self._add(shard, brand, campaigns)

    def hear(self, shard: int, change: object) -> None:
        """Takes those of a plan that was published. One that was cancelled costs a reading."""
        if isinstance(change, PlanPublished):
            self._add(shard, change.brand, change.campaigns)

    def due(self, clock: NodeClocks) -> list[int]:
        """The shards of which a step has passed, each once. By then the servers' clocks have passed it for certain."""
        found: set[int] = set()
        while self._ahead and clock.known and self._ahead[0][0] <= clock.exact_ms() - clock.error_ms:
            found.add(heapq.heappop(self._ahead)[1])
        return sorted(found)

    def wait_s(self, clock: NodeClocks) -> float:
        """Seconds until the next step."""
        if not self._ahead or not clock.known:
            return _LONGEST_S
        return max(self._ahead[0][0] + clock.error_ms - clock.exact_ms(), 0) / 1000

    def _add(self, shard: int, brand: BrandSnapshot, campaigns: Iterable[CampaignSnapshot]) -> None:
        owns = (campaign.own.step_ms for campaign in campaigns if campaign.own is not None)
        for at_ms in {brand.step_ms, *owns} - {None}:
            if at_ms is not None and (at_ms, shard) not in self._ahead:
                heapq.heappush(self._ahead, (at_ms, shard))
