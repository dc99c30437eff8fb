"""Reads single fields of a journal entry (`engine/live/journal.py`)."""

from __future__ import annotations

import re
from typing import Final

from engine.domain.brake import Trip
from engine.domain.budget import OWN_CAUSES
from engine.domain.causes import BREAKER, cause_of
from engine.domain.ids import brand_of
from engine.domain.rollover import Told
from engine.live.grammar import strictly
from engine.live.logged import Change

_CAUSE: Final = re.compile(r"[a-z][a-z_]{0,39}")


def flights_in(text: str) -> dict[int, int]:
    """The flights of an entry's spends from its field `v`: {campaign id: number of the counter}. Raises ValueError."""
    pairs = (pair.partition(":") for pair in text.split(","))
    return {strictly(campaign, "a campaign"): strictly(counter, "a flight") for campaign, _, counter in pairs}


def late_in(text: str) -> dict[int, int]:
    """The late spends of an entry from its field `y`: {position: day to which it is booked}. Raises ValueError."""
    pairs = (pair.partition(":") for pair in text.split(","))
    return {strictly(position, "a position"): strictly(day, "a day") for position, _, day in pairs}


def zones_in(text: str) -> dict[int, int]:
    """The time zones of an entry's brands from its field `z`: {brand id: offset in ms at its instant}. Raises ValueError."""
    pairs = (pair.partition(":") for pair in text.split(","))
    return {
        strictly(brand, "a brand"): strictly(offset.removeprefix("-"), "an offset") * (-1 if offset[:1] == "-" else 1)
        for brand, _, offset in pairs
    }


def trips_in(text: str) -> tuple[Trip, ...]:
    """The breakers that an entry opened, from its field `k`. Raises ValueError."""
    lines = (part.split(":") for part in text.split(","))
    return tuple(Trip(*(strictly(number, "of a breaker") for number in line)) for line in lines)


def carries_in(text: str) -> tuple[Told, ...]:
    """The carries of the days that begin with an entry, from its field `c`. Raises ValueError."""
    told = []
    for part in text.split(","):
        brand, day, left, before = part.split(":")
        limit = strictly(before, "a limit") if before else None
        told.append(Told(strictly(brand, "a brand"), strictly(day, "a day"), strictly(left, "what a day left"), limit))
    return tuple(told)


def change_of(owner_id: int, name: str, direction: str) -> Change:
    """A change of the budget of a brand, or of a campaign's own budget or breaker."""
    cause = _cause(name)
    if cause in OWN_CAUSES or cause == BREAKER:
        return Change(brand_of(owner_id), cause, direction, owner_id)
    return Change(owner_id, cause, direction)


def _cause(name: str) -> str:
    """A cause by its name; `other` for one of a later release. A malformed name stays as it is, and `entry_laws`
    refuses it.
    """
    return cause_of(name).name if _CAUSE.fullmatch(name) else name
