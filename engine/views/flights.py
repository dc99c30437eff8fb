"""Flights of a campaign for people: the plan, what was spent, what is left, and what a change will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from sqlalchemy import Engine

from engine.domain.flights import Flight, chained, effects, part_of_day
from engine.domain.money import MAX_TOTAL_MICROS
from engine.domain.zone_text import UTC, Zone
from engine.ledger import flight_spans
from engine.ledger.flight_spans import Span
from engine.live.plans import LiveCampaign
from engine.views.models import FlightView

Earlier = Mapping[tuple[int, int], int]
"""{(campaign id, number): micros} of flights that are over, and whose counter a later one goes on with."""


def earlier_spends(db: Engine, flights: Mapping[int, tuple[Sequence[Flight], Zone]], now_ms: int) -> Earlier:
    """What each flight spent of a counter with which a later one goes on by now, by the log. flights: {campaign id: its flights,
    and its brand's clock}.
    """
    names: list[tuple[int, int]] = []
    spans: list[Span] = []
    for campaign_id, (given, clock) in flights.items():
        begun = [flight for flight in chained(given) if flight.starts_ms <= now_ms]
        for flight, after in pairwise(begun):
            if flight.counter == after.counter:
                names.append((campaign_id, flight.no))
                spans.append(Span(campaign_id, flight.starts_ms, flight.ends_ms, clock))
    if not spans:
        return {}
    with db.connect() as conn:
        return dict(zip(names, flight_spans.spent(conn, spans), strict=True))


def flight_views(
    campaign_id: int,
    flights: Sequence[Flight],
    live: LiveCampaign | None,
    now_ms: int,
    earlier: Earlier,
    logged: Mapping[int, int] | None = None,
    zone: Zone = UTC,
) -> tuple[FlightView, ...]:
    """Flights with Redis' figures, which has those of the flights in the plan; logged: {counter: micros} for the others. zone: the
    brand's clock.
    """
    counted = dict(logged or {}) | ({} if live is None else {flight.counter: spent for flight, spent in live.flights})
    before: dict[int, int] = {}
    views = []
    for flight, planned in zip(sorted(flights, key=lambda f: f.starts_ms), chained(flights), strict=True):
        state: Literal["over", "running", "ahead"] = (
            "over" if flight.ends_ms <= now_ms else "running" if flight.starts_ms <= now_ms else "ahead"
        )
        in_all = counted.get(planned.counter)
        own = earlier.get((campaign_id, flight.no))
        if own is None:
            # The last that has begun has what those before it did not spend. One that is ahead has spent nothing yet.
            own = 0 if state == "ahead" or in_all is None else in_all - before.get(planned.counter, 0)
            known = in_all
        else:
            known = before.get(planned.counter, 0) + own
        before[planned.counter] = before.get(planned.counter, 0) + own
        left = None if known is None or planned.limit == MAX_TOTAL_MICROS else planned.limit - known
        today = None
        if live is not None and planned.even and state == "running":
            today = part_of_day(planned, live.daily_spend, in_all or 0, now_ms, zone)
        views.append(FlightView(*flight, state, own, left, today))
    return tuple(views)


def effects_of(
    flights: Sequence[Flight], views: Sequence[FlightView], no: int, changes: Mapping[str, Any], now_ms: int
) -> list[str]:
    """What a change will do to a running flight; nothing for one that is not running, or is not there."""
    for flight in flights:
        if flight.no == no:
            given = {**changes, **({"ends_ms": now_ms} if changes.get("ends_ms", now_ms) is None else {})}
            changed = flight._replace(**given)
            counters = {planned.no: planned.counter for planned in chained(flights)}
            in_all = sum(view.spend for view in views if counters[view.no] == counters[no])
            after = next(p for p in chained([changed if f.no == no else f for f in flights]) if p.no == no)
            spend = next(view.spend for view in views if view.no == no)
            return effects(flight, changed, spend, now_ms, used_up=in_all >= after.limit)
    return []
