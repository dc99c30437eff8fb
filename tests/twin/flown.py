"""Flights that the machine draws."""

from __future__ import annotations

from typing import Final, NamedTuple

from hypothesis import strategies as st

from engine.domain.flights import PlannedFlight
from engine.domain.money import MAX_TOTAL_MICROS


class FlightMove(NamedTuple):
    """A flight begins, follows the one before (and goes on with what that leaves), is moved while it runs, or goes.

    gap, length: in milliseconds; limit: in micros; even: whether a new one is spread evenly over its days.
    """

    change: str
    gap: int
    length: int
    limit: int
    even: bool


FLIGHT_MOVES: Final = st.builds(
    FlightMove,
    st.sampled_from(("begin", "begin", "next", "next", "next goes on", "end", "budget", "none")),
    st.sampled_from((0, 0, 1, 5_000, 300_000)),
    st.sampled_from((1, 5_000, 300_000, 86_400_000, 3 * 86_400_000)),
    st.sampled_from((0, 5, 20, 60, MAX_TOTAL_MICROS)),
    st.booleans(),
)


def moved_flights(had: tuple[PlannedFlight, ...], no: int, now: int, move: FlightMove) -> tuple[PlannedFlight, ...]:
    """A plan's flights after a move at an instant. no: of a new one."""
    change, gap, length, limit, even = move
    even = even and limit < MAX_TOTAL_MICROS
    last = had[-1] if had else None
    if last is None or change == "begin":
        return (PlannedFlight(no, no, now + gap, now + gap + length, limit, even),)
    if change in ("next", "next goes on"):
        starts, goes_on = max(last.ends_ms, now) + gap, change == "next goes on"
        both = min(last.limit + limit, MAX_TOTAL_MICROS) if goes_on else limit
        return (
            last,
            PlannedFlight(
                no, last.counter if goes_on else no, starts, starts + length, both, even and both < MAX_TOTAL_MICROS
            ),
        )
    if change == "end":
        return (*had[:-1], last._replace(ends_ms=max(now, last.starts_ms + 1)))
    if change == "budget":
        return (last._replace(limit=limit, even=last.even and limit < MAX_TOTAL_MICROS),) if len(had) == 1 else had
    return ()
