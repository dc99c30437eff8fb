"""What persist looks at every ten seconds: an odd value that stands in a shard that nobody calls shows in no answer.

Each look takes the next shards, so that every value is seen again within half a minute in a catalog of up to 3,000 brands
and campaigns. Of a bigger one a look takes as much, and the check sees the rest ([decision
88](docs/decisions/0088-values-are-looked-at-in-turns.md)).
"""

from __future__ import annotations

import logging
from typing import Final

from engine.domain.ids import SHARDS
from engine.flows.catalog.publish import Publisher
from engine.ledger.catalog import Catalog
from engine.live.admin import LiveRedis
from engine.live.repair import probe_shards

log = logging.getLogger(__name__)

ROWS: Final = 1000
"""About so many brands and campaigns are compared in one look: some hundredths of a second."""
_FIRST: Final = 8
"""Shards of the first look: how many rows they have is not known yet."""


class Look:
    """Goes round the shards, some each time. Used by one thread."""

    def __init__(self, live: LiveRedis, catalog: Catalog, publisher: Publisher, windows_ms: tuple[int, ...]) -> None:
        self._live = live
        self._catalog = catalog
        self._publisher = publisher
        self._windows_ms = windows_ms
        self._next = 0
        self._at_once = _FIRST

    def __call__(self) -> None:
        """Looks at the own keys of every shard, and at the brands and plans of the next ones. Raises ServerAway."""
        part = [(self._next + i) % SHARDS for i in range(self._at_once)]
        # First, so that what fails for one of them is not met by every look.
        self._next = (part[-1] + 1) % SHARDS
        brands = [brand.id for brand in self._catalog.brands(include_archived=True, shards=part)]
        probe_shards(self._live, brands, self._windows_ms)
        mended = self._publisher.mend(part)
        self._at_once = min(max(len(part) * ROWS // max(mended.rows, 1), 1), SHARDS)
        if mended.plans:
            log.warning("%s", mended)
