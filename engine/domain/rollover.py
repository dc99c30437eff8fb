"""Rollover: what a brand's daily budget left yesterday is added to today's, at most a cap. Pure: days are numbers, money is micros.

The limit of a day is its budget and what is carried into it. What that day leaves of this limit is carried into the next day, at most the cap.
A day whose budget is none or 0 leaves nothing, and the first day of a month begins with nothing: so no month may spend more than the
daily budgets of its days together. A day that never was, because its brand's clock went ahead over it, has no budget and leaves none. `lua/lib/rollover.lua` has the same rule.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from engine.domain.money import MAX_TOTAL_MICROS, check_budget_micros
from engine.domain.periods import date_of, days_of_month, month_of_date


def check_cap(micros: int | None) -> int | None:
    """The cap of a rollover; None and 0 are none. Raises InvalidBudget."""
    return check_budget_micros(micros, "rollover_cap") or None


class Carry(NamedTuple):
    """What a day begins with. left: what the day before left of its limit, 0 on the first day of a month. before: the limit that the day before
    had, with its own carry; None where it had none or never was, or the rollover began on this day.
    """

    day: int
    left: int
    before: int | None = None


class Told(NamedTuple):
    """The carry of a brand's day, as the journal has it. left, before: as of a `Carry`."""

    brand_id: int
    day: int
    left: int
    before: int | None


Piece = tuple[int, int | None]
"""A day, and the daily budget at its end and at that of the days after it, until the next piece."""


def carried(cap: int, left: int) -> int:
    """What of a day's rest is carried into the next."""
    return min(cap, left)


def day_limit(budget: int | None, carry: int) -> int | None:
    """The limit of a day with what is carried into it. No budget has no limit, and a budget of 0 allows nothing."""
    return min(budget + carry, MAX_TOTAL_MICROS) if budget else budget


def left_after(left: int, budget: int | None, days: int, cap: int) -> int:
    """What the last of `days` days without a spend leaves, all of one budget, where the day before them left `left`."""
    if days == 0:
        return left
    if not budget:
        return 0
    return min(budget + min(cap, left + (days - 1) * budget), MAX_TOTAL_MICROS)


def carry_on(
    carry: Carry, day: int, spent: int, pieces: Sequence[Piece], cap: int, skipped: Collection[int] = ()
) -> Carry:
    """The carry of a later day. spent: on the day of the carry; the days between have no spends. pieces: in their order, the first not later
    than the carry's day. skipped: days that never were.
    """
    if day <= carry.day:
        return carry
    last, limit = day - 1, None
    month = _first_of_month(last)
    if carry.day < month:
        left, at = 0, month
    elif carry.day in skipped:
        left, at = carry.left, carry.day + 1
    else:
        limit = day_limit(_budget_on(pieces, carry.day), carried(cap, carry.left))
        left, at = max(0, (limit or 0) - spent), carry.day + 1
    while at <= last:
        budget, until = _budget_on(pieces, at), min([day, *(first for first, _ in pieces if first > at)])
        days = sum(one not in skipped for one in range(at, until))
        if days:
            left = left_after(left, budget, days, cap)
            limit = left if budget else budget
        at = until
    if last in skipped:
        limit = None
    return Carry(day, 0 if _first_of_month(day) == day else left, limit)


def _budget_on(pieces: Sequence[Piece], day: int) -> int | None:
    return next(budget for first, budget in reversed(pieces) if first <= day)


def _first_of_month(day: int) -> int:
    return next(iter(days_of_month(month_of_date(date_of(day)))))
