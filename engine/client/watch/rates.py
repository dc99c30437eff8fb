"""Pass rates in a watch: of each paced brand and campaign the last one that was heard, with the minute in which it holds.

The call that sets a rate publishes it, so nothing is asked for. Outside its minute a rate says nothing, and 1 holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from engine.client.watch.clock import NodeClocks
from engine.domain.ids import brand_of
from engine.domain.pass_rate import WHOLE, together
from engine.domain.periods import MINUTE_MS


class RateSet(NamedTuple):
    """The rate of a brand, or of a campaign, in a minute (its number since 1970). ppm: from 1,000 to 1,000,000."""

    owner_id: int
    of_brand: bool
    minute: int
    ppm: int


class RatedWatch:
    """The part of a watch that knows rates. Its maps are replaced value by value, so any thread may read them."""

    may_bid: Callable[[int], bool]
    _clock: NodeClocks

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._of_brands: dict[int, tuple[int, int]] = {}
        self._of_campaigns: dict[int, tuple[int, int]] = {}

    def pass_rate(self, campaign_id: int) -> float:
        """Which part of the campaign's offers to try in this minute, above 0 to 1: its brand's rate times its own. 1.0
        without pacing, and until the rate of this minute is known. No network and no lock.
        """
        brand, own = self._of_brands.get(brand_of(campaign_id)), self._of_campaigns.get(campaign_id)
        if brand is None and own is None:
            return 1.0
        # A rate of a minute that this clock has not reached yet is news, and not old.
        minute = self._clock.exact_ms() // MINUTE_MS
        of_brand, of_campaign = (rate[1] if rate and rate[0] >= minute else WHOLE for rate in (brand, own))
        return together(of_brand, of_campaign) / WHOLE

    def should_bid(self, campaign_id: int) -> bool:
        """Whether to bid on an offer: the campaign may run, and a coin falls under its pass rate. Toss it once an offer."""
        if not self.may_bid(campaign_id):
            return False
        rate = self.pass_rate(campaign_id)
        return rate >= 1.0 or self._random() < rate

    def _see_rates(self, rates: Iterable[RateSet]) -> None:
        for owner_id, of_brand, minute, ppm in rates:
            known = self._of_brands if of_brand else self._of_campaigns
            if minute >= known.get(owner_id, (0, 0))[0]:
                known[owner_id] = (minute, ppm)
