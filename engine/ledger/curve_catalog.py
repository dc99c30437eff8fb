"""The catalog of curves: each call one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine

from engine.domain.curves import Points
from engine.domain.names import clean_name
from engine.domain.pacing import Pacing
from engine.ledger import brands, campaigns, curves
from engine.ledger.curves import User
from engine.ledger.database import writing
from engine.ledger.records import BrandRecord, CampaignRecord


class CurveCatalog:
    """Curves of pacing, by name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def names(self) -> list[str]:
        """Every curve."""
        with self._engine.connect() as connection:
            return curves.names(connection)

    def points(self, name: str) -> dict[int, Points]:
        """A curve by weekday: 1 is Monday, 0 every day. Raises NotFound."""
        with self._engine.connect() as connection:
            return curves.points_of(connection, name)

    def users(self, name: str) -> list[User]:
        """The brands and campaigns that a curve paces."""
        with self._engine.connect() as connection:
            return curves.users(connection, name)

    def parts(self, entity: str, entity_id: int, given: Mapping[str, Any]) -> tuple[tuple[str, ...], int | None]:
        """What a brand (or campaign) would have in its plan with other columns, and its daily budget. Raises NotFound,
        InvalidPacing.
        """
        with self._engine.connect() as connection:
            if entity == "brand":
                row: BrandRecord | CampaignRecord = brands.one(connection, entity_id)
            else:
                row = campaigns.one(connection, entity_id)
            pacing = Pacing(given.get("pacing", row.pacing), given.get("catch_up", row.catch_up))
            daily = given.get("daily_budget_micros", row.daily_budget_micros)
            schedule = given.get("schedule", row.schedule if isinstance(row, CampaignRecord) else None)
            brand_id = row.brand_id if isinstance(row, CampaignRecord) else row.id
            return tuple(curves.parts_of(connection, pacing, brand_id, daily, schedule)), daily

    def put(
        self,
        name: str,
        points: Mapping[int, Points],
        actor: str,
        *,
        new: bool = False,
        seen: Mapping[int, Points] | None = None,
    ) -> list[int]:
        """Makes a curve, or another in its place; returns the brands that must be published. Raises Conflict where there is one
        already (new), or where its points are not those that were seen.
        """
        actor = clean_name(actor, "actor")
        with writing(self._engine) as connection:
            return curves.put(connection, name, points, actor, new=new, seen=seen)

    def remove(self, name: str, actor: str) -> None:
        """Removes a curve. Raises NotFound, Conflict where it paces something."""
        actor = clean_name(actor, "actor")
        with writing(self._engine) as connection:
            curves.remove(connection, name, actor)
