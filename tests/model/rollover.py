"""Rollover as the rule says it, day by day: the limit of a day is its budget and what is carried into it; what the day leaves of that is carried into
the next one, at most the cap. The script's closed form over days without a spend is none of the model's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from engine.domain.limit_changes import Step
from engine.domain.money import MAX_TOTAL_MICROS
from engine.domain.periods import date_of
from engine.domain.zone_text import Zone
from tests.model.steps import limits_at


class Carry(NamedTuple):
    """What a day begins with: what the day before left, and the limit that it had."""

    day: int
    left: int
    before: int | None


NO_CARRY: Final = Carry(0, 0, None)


def with_carry(limit: int | None, carried: int) -> int | None:
    """A day's limit. None stays none, and 0 allows nothing."""
    return min(limit + carried, MAX_TOTAL_MICROS) if limit else limit


def walk(
    carry: Carry,
    day: int,
    cap: int,
    limits: tuple[int | None, ...],
    steps: Sequence[Step],
    spent: Mapping[str, int],
    zone: Zone,
) -> Carry:
    """The carry of a day, from that of an earlier one."""
    at, left, before = carry
    while at < day:
        if zone.day_length_ms(at) == 0:
            at, before = at + 1, None  # it never was, so it has no budget; what the day before it left goes on
            left = 0 if date_of(at).day == 1 else left
            continue
        budget = limits_at(limits, steps, zone.midnight_ms(at + 1) - 1)[0]
        before = with_carry(budget, min(cap, left))
        left = max(0, (before or 0) - spent[f"d:{at}"])
        at += 1
        if date_of(at).day == 1:
            left = 0
    return Carry(at, left, before)
