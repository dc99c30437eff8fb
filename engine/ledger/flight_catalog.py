"""The catalog of flights: each call one transaction."""

from __future__ import annotations

from collections.abc import Collection
from typing import Unpack

from sqlalchemy import Engine

from engine.domain.flights import ASAP, Flight
from engine.domain.names import clean_name
from engine.ledger import flights
from engine.ledger.database import writing
from engine.ledger.flights import FlightChanges
from engine.ledger.records import CampaignRecord


class FlightCatalog:
    """Flights of campaigns as they were agreed. Each change is one of the campaign."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, campaign_ids: Collection[int]) -> dict[int, list[Flight]]:
        """{campaign id: its flights in the order of their instants}."""
        if not campaign_ids:
            return {}
        with self._engine.connect() as connection:
            return flights.of_campaigns(connection, campaign_ids)

    def now_ms(self) -> int:
        """The clock by which flights may be changed."""
        with self._engine.connect() as connection:
            return flights.now_ms(connection)

    def add(
        self,
        campaign_id: int,
        actor: str,
        starts_ms: int | None,
        ends_ms: int,
        budget_micros: int | None,
        carries: bool,
        spread: str = ASAP,
    ) -> CampaignRecord:
        """A new flight of a campaign; starts_ms: None is now. Raises InvalidFlight, InvalidBudget, Conflict, NotFound."""
        actor = clean_name(actor, "actor")
        with writing(self._engine) as connection:
            return flights.add(connection, campaign_id, actor, starts_ms, ends_ms, budget_micros, carries, spread)

    def change(self, campaign_id: int, no: int, actor: str, **changes: Unpack[FlightChanges]) -> CampaignRecord:
        """Changes what is given of a flight. Raises as `add`."""
        actor = clean_name(actor, "actor")
        with writing(self._engine) as connection:
            return flights.change(connection, campaign_id, no, actor, changes)

    def remove(self, campaign_id: int, no: int, actor: str) -> CampaignRecord:
        """Removes a flight that has not begun. Raises as `add`."""
        actor = clean_name(actor, "actor")
        with writing(self._engine) as connection:
            return flights.remove(connection, campaign_id, no, actor)

    def move_on(self) -> list[int]:
        """Puts the next flights into the plans of campaigns of which one is over; returns these campaigns."""
        with writing(self._engine) as connection:
            return flights.move_on(connection, "check")
