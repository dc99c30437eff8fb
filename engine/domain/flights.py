"""Flights of a campaign: spans of time with a budget each. Pure: instants are epoch milliseconds, money is micros.

A campaign that has flights runs inside them only. The plan in Redis has two: the present (or the last) and the next, so both begin and end with
every job dead. `lua/lib/flights.lua` has the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC as DATETIME_UTC
from datetime import datetime
from typing import Final, NamedTuple

from engine.domain.budget import LIFETIME_FIELD
from engine.domain.money import MAX_TOTAL_MICROS, format_micros
from engine.domain.periods import MINUTE_MS, at_ms, ms_of
from engine.domain.zone_text import IN_UTC, UTC, Local, Zone, offset_text
from engine.errors import InvalidInput, shown

MAX_NO: Final = 65535
LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999, as in `lua/lib/constants.lua`."""
IN_PLAN: Final = 2
ASAP: Final = "asap"
EVEN: Final = "even"
SPREADS: Final = (EVEN, ASAP, "none")
"""How a flight's budget is spread over its days: evenly, or not at all, which asap and none both are."""
_EVENLY: Final = ",e"
_WHOLE_TIME: Final = 10_000_000
_COUNTER: Final = re.compile(r"f:([1-9]\d{0,4})")


class Flight(NamedTuple):
    """A flight as it was agreed. no: counted from 1, never reused. The start is included, the end is not. budget: None
    is none. carries: what is left at its end goes on into the next flight. spread: over its days, one of SPREADS.
    """

    no: int
    starts_ms: int
    ends_ms: int
    budget_micros: int | None
    carries: bool = False
    spread: str = ASAP


class PlannedFlight(NamedTuple):
    """A flight as the scripts read it. counter: the number of its counter, see `planned`. limit: of that counter. even:
    each day has a part of it.
    """

    no: int
    counter: int
    starts_ms: int
    ends_ms: int
    limit: int
    even: bool = False

    @property
    def field(self) -> str:
        """Its counter in the campaign's hash, which never rolls."""
        return flight_field(self.counter)

    @property
    def compiled(self) -> str:
        """The field `f1` or `f2` of the campaign's hash, at most 64 bytes."""
        return ",".join(map(str, self[:5])) + (_EVENLY if self.even else "")

    @classmethod
    def parse(cls, text: str) -> PlannedFlight:
        """Raises ValueError."""
        no, counter, starts, ends, limit = map(int, text.removesuffix(_EVENLY).split(","))
        return cls(no, counter, starts, ends, limit, text.endswith(_EVENLY))


class InvalidFlight(InvalidInput):
    """A flight that does not fit; `field` names what is wrong."""


def flight_field(counter: int) -> str:
    """The field of a flight's counter in the campaign's hash."""
    return f"f:{counter}"


def flight_of_field(field: str) -> int | None:
    """The counter that a field names; None for the lifetime's and every other field."""
    found = _COUNTER.fullmatch(field) if field != LIFETIME_FIELD else None
    return int(found[1]) if found else None


def chained(flights: Iterable[Flight]) -> list[PlannedFlight]:
    """All flights in the order of their instants, each with its counter and limit.

    A flight that gets what the one before left goes on in that one's counter, with both budgets as its limit. So what is left
    needs no sum of its own, and neither do refunds and a rebuild. Without a budget a flight has the largest limit.
    """
    made: list[PlannedFlight] = []
    before: Flight | None = None
    for flight in sorted(flights, key=lambda flight: flight.starts_ms):
        limit = MAX_TOTAL_MICROS if flight.budget_micros is None else flight.budget_micros
        counter = flight.no
        if before is not None and before.carries:
            counter, limit = made[-1].counter, min(made[-1].limit + limit, MAX_TOTAL_MICROS)
        even = flight.spread == EVEN and limit < MAX_TOTAL_MICROS
        made.append(PlannedFlight(flight.no, counter, flight.starts_ms, flight.ends_ms, limit, even))
        before = flight
    return made


def planned(flights: Iterable[Flight], now_ms: int) -> tuple[PlannedFlight, ...]:
    """The two that stand in the plan: those that are not over, or else the last, so that a campaign with flights stays
    outside them.
    """
    every = chained(flights)
    ahead = [flight for flight in every if flight.ends_ms > now_ms]
    return tuple(ahead[:IN_PLAN] or every[-1:])


def unchained(plan: Sequence[PlannedFlight]) -> list[Flight]:
    """Flights from which a plan follows. Where the first goes on in a counter before it, that one's flight is nominal."""
    made: list[Flight] = []
    before: PlannedFlight | None = None
    for flight in plan:
        limit = flight.limit
        if before is not None and before.counter == flight.counter:
            made[-1] = made[-1]._replace(carries=True)
            limit -= before.limit
        elif flight.counter != flight.no:
            made.append(Flight(flight.counter, flight.starts_ms - 1, flight.starts_ms, 0, True))
        budget, spread = None if flight.limit == MAX_TOTAL_MICROS else limit, EVEN if flight.even else ASAP
        made.append(Flight(flight.no, flight.starts_ms, flight.ends_ms, budget, False, spread))
        before = flight
    return made


def in_force(flights: Sequence[PlannedFlight], now_ms: int) -> PlannedFlight | None:
    """The flight of an instant; None outside all."""
    return next((flight for flight in flights if flight.starts_ms <= now_ms < flight.ends_ms), None)


def next_start_ms(flights: Sequence[PlannedFlight], now_ms: int) -> int | None:
    """When the next flight begins; None where none is planned, and inside one."""
    if in_force(flights, now_ms) is not None:
        return None
    return min((flight.starts_ms for flight in flights if flight.starts_ms > now_ms), default=None)


def last_edge_ms(flights: Sequence[PlannedFlight], now_ms: int) -> int | None:
    """When a flight last began or ended; None where none has yet."""
    edges = (edge for flight in flights for edge in flight[2:4] if edge <= now_ms)
    return max(edges, default=None)


def part_of_day(flight: PlannedFlight, daily: int, spent: int, now_ms: int, zone: Zone = UTC) -> int:
    """What the campaign may spend on the day of an instant, in a flight that is spread evenly. daily: what the campaign spent
    that day; spent: what the flight's counter has. As `lua/lib/flight_part.lua`.
    """
    day = zone.day_of(now_ms)
    morning = zone.midnight_ms(day)
    begins = max(flight.starts_ms, morning)
    share = (min(flight.ends_ms, zone.midnight_ms(day + 1)) - begins) * _WHOLE_TIME // (flight.ends_ms - begins)
    if flight.counter == flight.no and flight.starts_ms > morning:
        return max(flight.limit * share // _WHOLE_TIME + daily - spent, 0)
    return max(flight.limit - max(spent - daily, 0), 0) * share // _WHOLE_TIME


def check_spread(value: str) -> str:
    """Raises InvalidFlight."""
    if value not in SPREADS:
        raise InvalidFlight(f"spread {shown(value)} is none: use {', '.join(SPREADS[:-1])} or {SPREADS[-1]}", "spread")
    return value


def parse_instant(text: str, field: str, local: Local = IN_UTC) -> int:
    """An instant in epoch milliseconds: with its zone, as `2026-12-01T09:00Z` or `2026-12-01T10:00:00.250+01:00`, or by the
    brand's clock, as `2026-12-01T10:00`. Raises InvalidFlight.
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        at = None
    by_clock = at is not None and at.tzinfo is None and ":" in text
    if at is None or (at.tzinfo is None and not by_clock):
        raise InvalidFlight(
            f"{field} {shown(text)} is no instant: give one by the clock of {local.label} as 2026-12-01T10:00, or with a zone"
            " as 2026-12-01T09:00Z",
            field,
        )
    if at.microsecond % 1000:
        raise InvalidFlight(f"{field} {shown(text)} is finer than a millisecond: give at most three decimals", field)
    try:
        return _by_clock(text, ms_of(at.replace(tzinfo=DATETIME_UTC)), field, local) if by_clock else ms_of(at)
    except OverflowError:
        raise InvalidFlight(
            f"{field} {shown(text)} is out of range: give one of the years 1970 to 9999", field
        ) from None


def _by_clock(text: str, local_ms: int, field: str, local: Local) -> int:
    """The one instant at which clocks show a time. Raises InvalidFlight where they never do, or twice."""
    found = local.zone.instants_of(local_ms)
    if not found:
        raise InvalidFlight(
            f"{field} {shown(text)} does not exist in {local.label}, where clocks go forward over it: give another, or an"
            " instant with a zone",
            field,
        )
    if len(found) > 1:
        either = " or ".join(f"{at_ms(local_ms):%Y-%m-%dT%H:%M}{offset_text(local_ms - at)}" for at in found)
        raise InvalidFlight(f"{field} {shown(text)} comes twice in {local.label}: give {either}", field)
    return found[0]


def instant_text(ms: int) -> str:
    """An instant as people read and `parse_instant` takes it: in UTC, without what is zero."""
    at = f"{at_ms(ms):%Y-%m-%dT%H:%M}"
    seconds, rest = divmod(ms % MINUTE_MS, 1000)
    return at + (f":{seconds:02}" if seconds or rest else "") + (f".{rest:03}" if rest else "") + "Z"


def effects(flight: Flight, changed: Flight, spend_micros: int, now_ms: int, *, used_up: bool) -> list[str]:
    """What a change of a running flight will do, in sentences. spend_micros: what it spent so far. used_up: whether its counter then has
    all that it may spend, with what the one before left.
    """
    if not flight.starts_ms <= now_ms < flight.ends_ms:
        return []
    said = [f"flight {flight.no} is running since {instant_text(flight.starts_ms)}"]
    if changed.ends_ms <= now_ms:
        said.append("it ends at once: the campaign stops until its next flight begins")
    elif changed.ends_ms < flight.ends_ms:
        said.append(f"it ends earlier, at {instant_text(changed.ends_ms)}")
    elif changed.ends_ms > flight.ends_ms:
        said.append(f"it goes on until {instant_text(changed.ends_ms)}, with the same budget unless that is changed")
    if changed.budget_micros != flight.budget_micros:
        budget = "no budget" if changed.budget_micros is None else f"a budget of {format_micros(changed.budget_micros)}"
        said.append(f"it has {budget} from now on")
        if changed.budget_micros is not None and used_up:
            said.append("that is used up already: the campaign stops at once")
    if changed.carries != flight.carries:
        said.append(
            "what is left at its end " + ("goes on into the next flight" if changed.carries else "is not spent")
        )
    if changed.spread != flight.spread:
        said.append("each day has an even part of it" if changed.spread == EVEN else "its days have no parts any more")
    said.append(f"what was spent {format_micros(spend_micros)} stays counted to it")
    return said
