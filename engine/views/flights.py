"""Flights of a campaign for people: the plan, what was spent, what is left, and what a change will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from engine.domain.flights import Flight, chained, effects, part_of_day
from engine.domain.money import MAX_TOTAL_MICROS
from engine.live.plans import LiveCampaign
from engine.views.models import FlightView


def flight_views(
    flights: Sequence[Flight], live: LiveCampaign | None, now_ms: int, logged: Mapping[int, int] | None = None
) -> tuple[FlightView, ...]:
    """Flights with Redis' figures, which has those of the flights in the plan; logged: {counter: micros} for the others."""
    counted = dict(logged or {}) | ({} if live is None else {flight.counter: spent for flight, spent in live.flights})
    views = []
    for flight, planned in zip(sorted(flights, key=lambda f: f.starts_ms), chained(flights), strict=True):
        state: Literal["over", "running", "ahead"] = (
            "over" if flight.ends_ms <= now_ms else "running" if flight.starts_ms <= now_ms else "ahead"
        )
        spend = counted.get(planned.counter)
        left = None if spend is None or planned.limit == MAX_TOTAL_MICROS else planned.limit - spend
        today = None
        if live is not None and planned.even and state == "running":
            today = part_of_day(planned, live.daily_spend, spend or 0, now_ms)
        # One that goes on with what is left counts with the flight before: nothing of that is its own before it begins.
        views.append(FlightView(*flight, state, 0 if state == "ahead" else spend or 0, left, today))
    return tuple(views)


def effects_of(
    flights: Sequence[Flight], views: Sequence[FlightView], no: int, changes: Mapping[str, Any], now_ms: int
) -> list[str]:
    """What a change will do to a running flight; nothing for one that is not running, or is not there."""
    for flight in flights:
        if flight.no == no:
            given = {**changes, **({"ends_ms": now_ms} if changes.get("ends_ms", now_ms) is None else {})}
            spend = next(view.spend for view in views if view.no == no)
            return effects(flight, flight._replace(**given), spend, now_ms)
    return []
