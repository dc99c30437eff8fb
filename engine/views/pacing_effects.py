"""What a change of pacing will do to the brands and campaigns that it concerns, said before it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.domain.curves import Points
from engine.domain.ids import brand_of
from engine.domain.pacing import Pacing, compiled
from engine.ledger.catalog import Catalog
from engine.views.pacing import effect_of


class PacingEffects:
    """Sentences for people. spent: of `brand` or `campaign` and its id, what it spent today, and the time by which that is so."""

    def __init__(self, catalog: Catalog, spent: Callable[[str, int], tuple[int, int]]) -> None:
        self._catalog = catalog
        self._spent = spent

    def of_curve(self, name: str, points: Mapping[int, Points]) -> list[str]:
        """What another curve of a name does to each brand and campaign that it paces."""
        said = []
        for user in self._catalog.curves.users(name):
            row = self._catalog.brand(user.id) if user.entity == "brand" else self._catalog.campaign(user.id)
            parts = compiled(Pacing(row.pacing, row.catch_up), getattr(row, "schedule", None), points)
            said.append(self._sentence(user.entity, user.id, parts, row.daily_budget_micros))
        return said

    def of_change(self, entity: str, entity_id: int, changes: Mapping[str, Any]) -> str:
        """What a change of a brand or campaign does to its pacing. Raises NotFound, InvalidPacing."""
        parts, limit = self._catalog.curves.parts(entity, entity_id, changes)
        return self._sentence(entity, entity_id, parts, limit)

    def _sentence(self, entity: str, entity_id: int, parts: tuple[str, ...], limit: int | None) -> str:
        spent, now_ms = self._spent(entity, entity_id)
        brand = self._catalog.brand(entity_id if entity == "brand" else brand_of(entity_id))
        return effect_of(f"{entity} {entity_id}", parts, limit, spent, now_ms, brand.zones.local(now_ms))
