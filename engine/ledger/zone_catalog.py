"""The catalog of time zones: each call one transaction."""

from __future__ import annotations

from sqlalchemy import Engine

from engine.ledger import zones
from engine.ledger.database import writing
from engine.ledger.zones import ZonedBrand


class ZoneCatalog:
    """Which brand has which time zone when, and the text of it in its plan."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def zoned(self) -> list[ZonedBrand]:
        """The brands that have, had or will have a time zone."""
        with self._engine.connect() as connection:
            return zones.zoned(connection)

    def renew(self, at_ms: int) -> list[int]:
        """Keeps the text of each brand right for months (`zones.renew`); returns the brands to be published."""
        with writing(self._engine) as connection:
            return zones.renew(connection, at_ms)

    def move(self, brand_id: int, to_ms: int, at_ms: int) -> None:
        """Lets a brand's last zone begin at another instant."""
        with writing(self._engine) as connection:
            zones.move(connection, brand_id, to_ms, at_ms)
