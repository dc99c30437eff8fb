"""What persist looks at every ten seconds: an odd value that stands in a shard that nobody calls shows in no answer.

Each look takes the next shards, so that every value is seen again within half a minute in a catalog of up to 3,000 brands
and campaigns. Of a bigger one a look takes as much, or one shard; a shard of very many is left to the check ([decision
88](docs/decisions/0088-values-are-looked-at-in-turns.md)).
"""

from __future__ import annotations

import logging
from typing import Final

from sqlalchemy import Engine

from engine.domain.ids import SHARDS
from engine.flows.catalog.publish import Publisher
from engine.ledger import published
from engine.ledger.catalog import Catalog
from engine.live.admin import LiveRedis
from engine.live.repair import probe_shards

log = logging.getLogger(__name__)

ROWS: Final = 1000
"""About so many brands and campaigns are compared in one look: some hundredths of a second."""
MOST: Final = 5 * ROWS
"""A shard of more is left to the check, which holds no persist up."""


class Look:
    """Goes round the shards, some each time. Used by one thread."""

    def __init__(
        self, live: LiveRedis, db: Engine, catalog: Catalog, publisher: Publisher, windows_ms: tuple[int, ...]
    ) -> None:
        self._live = live
        self._db = db
        self._catalog = catalog
        self._publisher = publisher
        self._windows_ms = windows_ms
        self._next = 0
        self._rows: list[int] = []
        """Brands and campaigns of each shard, as of the beginning of this round."""

    def __call__(self) -> None:
        """Looks at the own keys of every shard, and at the brands and plans of the next ones. Raises ServerAway."""
        part = self._part()
        brands = [brand.id for brand in self._catalog.brands(include_archived=True, shards=part)]
        probe_shards(self._live, brands, self._windows_ms)
        mended = self._publisher.mend(part) if part else None
        if mended is not None and mended.plans:
            log.warning("%s", mended)

    def _part(self) -> list[int]:
        """The next shards, and moves on: what fails for one of them is not met by every look."""
        if self._next == 0:
            with self._db.connect() as connection:
                self._rows = published.rows_by_shard(connection)
        part, sum_ = list[int](), 0
        while self._next < SHARDS:
            rows = self._rows[self._next]
            if rows <= MOST:
                if part and sum_ + rows > ROWS:
                    break
                part.append(self._next)
                sum_ += rows
            self._next += 1
        self._next %= SHARDS
        return part
