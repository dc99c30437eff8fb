"""After a restore of PostgreSQL to an earlier state: enters what only Redis has into the catalog, archived, so that
no id is given out twice.

Redis is read first and the catalog after it. What is published was committed before, so what only Redis has was lost.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine

from engine.domain.brake import NO_BRAKE
from engine.domain.budget import NO_LIMITS, OwnLimits
from engine.domain.ids import SHARDS, campaign_id_of
from engine.ledger.catalog import Catalog
from engine.ledger.database import writing
from engine.ledger.lost import LostBrand, LostCampaign, last_brand_id, skip_numbers, take_back
from engine.live.admin import LiveRedis
from engine.live.registry import registered, registered_of

log = logging.getLogger(__name__)

_NEXT: Final = 16
"""How many ids after the last one are checked before another is given out: others may take some in between."""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """How many brands and campaigns the catalog had lost."""

    brands: int = 0
    campaigns: int = 0

    def __bool__(self) -> bool:
        return bool(self.brands or self.campaigns)

    def __str__(self) -> str:
        return f"{self.brands} brands and {self.campaigns} campaigns that the catalog had lost came back from Redis, archived"


class Restored:
    """Compares the ids in Redis with those of the catalog."""

    def __init__(self, db: Engine, catalog: Catalog, live: LiveRedis, instance: str) -> None:
        self._db = db
        self._catalog = catalog
        self._live = live
        self._instance = instance

    def take_back(self, shards: Iterable[int] = range(SHARDS)) -> TakenBack:
        """Enters into the catalog what only Redis has, of shards that are in use. Raises ServerAway."""
        return self._take_back(registered(self._live, self._instance, shards))

    def skip_numbers(self) -> None:
        """Gives no number of a lost row out again, of tables that Redis does not know."""
        with writing(self._db) as conn:
            skip_numbers(conn)

    def before_a_brand(self) -> TakenBack:
        """Ensures that the next ids of brands are unused in Redis. Raises ServerAway."""
        with self._db.connect() as conn:
            last = last_brand_id(conn)
        next_ids = range(last + 1, last + 1 + _NEXT)
        return self.take_back() if registered_of(self._live, self._instance, next_ids) else TakenBack()

    def before_campaigns(self, brand_id: int) -> TakenBack:
        """The same for a brand's next campaigns. Raises ServerAway."""
        return self._take_back(registered_of(self._live, self._instance, [brand_id]))

    def _take_back(self, known: Mapping[int, int]) -> TakenBack:
        if not known:
            return TakenBack()
        given = self._catalog.highest_ordinals(list(known))
        apart = {b: highest for b, highest in known.items() if b not in given or highest > given[b]}
        lost = [one for b, highest in apart.items() if (one := self._lost(b, given.get(b, 0), highest)) is not None]
        if not lost:
            return TakenBack()
        with writing(self._db) as conn:
            back = TakenBack(*take_back(conn, lost))
        log.warning("%s: an older PostgreSQL came back", back)
        return back

    def _lost(self, brand_id: int, given: int, highest: int) -> LostBrand | None:
        """What Redis has of a brand beyond what the catalog gave out; None where its registry names a brand without a
        key.
        """
        brand = self._live.read_brand(brand_id, highest)
        if brand is None:
            return None
        campaigns = []
        for ordinal in range(given + 1, highest + 1):
            one = brand.campaigns.get(campaign_id_of(brand_id, ordinal))
            # A campaign without a key keeps its number all the same: its publish has the shard rebuilt.
            limits = OwnLimits(*(budget.limit for budget in one.budgets)) if one else NO_LIMITS
            flights = tuple(flight for flight, _ in one.flights) if one else ()
            state = (one.version, one.enabled) if one else (0, False)
            brake = one.brake.plan if one and one.brake else NO_BRAKE
            campaigns.append(LostCampaign(ordinal, *state, limits, flights, brake))
        return LostBrand(brand_id, brand.version, brand.daily_limit, brand.monthly_limit, campaigns)
