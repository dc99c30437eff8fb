"""What a day leaves is carried into the next, at most a cap; over days without a spend in closed form."""

from __future__ import annotations

import random
from datetime import date

from engine.domain.limit_changes import Step
from engine.domain.money import MAX_TOTAL_MICROS
from engine.domain.periods import DAY_MS, day_number, day_start_ms
from engine.domain.rollover import Carry, carried, carry_on, day_limit, left_after
from engine.domain.zone_text import UTC, Zone
from tests.model import rollover as model

JUNE_10 = day_number(date(2032, 6, 10))
"""A day with ten days of its month before it and twenty after."""
PLAIN = [(0, 100)]


def on(day: int, spent: int, left: int = 0, cap: int = 50, after: int = 1, limit: int | None = 100) -> int:
    """What is carried into a day, `after` days after one that spent."""
    return carried(cap, carry_on(Carry(day, left), day + after, spent, [(0, limit)], cap).left)


def test_what_yesterday_left_of_its_limit_with_its_own_carry_is_added_to_today_and_no_more_than_the_cap() -> None:
    assert on(JUNE_10, spent=77) == 23
    assert day_limit(100, 23) == 123
    assert on(JUNE_10, spent=23, left=23) == 50
    assert on(JUNE_10, spent=110, left=23) == 13
    assert on(JUNE_10, spent=123, left=23) == on(JUNE_10, spent=400) == 0


def test_days_without_a_spend_carry_up_to_the_cap_and_never_more() -> None:
    assert [on(JUNE_10, spent=100, cap=250, after=days) for days in range(1, 6)] == [0, 100, 200, 250, 250]
    assert [left_after(0, 100, days, 250) for days in range(5)] == [0, 100, 200, 300, 350]


def test_a_month_begins_with_nothing_so_none_spends_more_than_its_days_together() -> None:
    last = day_number(date(2032, 6, 30))
    assert on(last - 1, spent=0) == 50
    assert on(last, spent=0) == 0
    assert on(last, spent=0, after=2) == 50
    assert on(JUNE_10, spent=0, cap=1000, after=24) == 300, "July 4: what July 1, 2 and 3 left"
    assert carry_on(Carry(last, 50), last + 1, 20, PLAIN, 50) == Carry(last + 1, 0, 150)


def test_no_daily_budget_and_one_of_nothing_leave_nothing_and_get_nothing() -> None:
    assert on(JUNE_10, spent=0, left=40, limit=None) == on(JUNE_10, spent=0, left=40, limit=0) == 0
    assert (day_limit(None, 23), day_limit(0, 23), day_limit(MAX_TOTAL_MICROS, 23)) == (None, 0, MAX_TOTAL_MICROS)


def test_another_budget_from_a_day_on_leaves_what_it_leaves() -> None:
    pieces = [(0, 100), (JUNE_10 + 2, 10)]
    assert carry_on(Carry(JUNE_10, 0), JUNE_10 + 4, 90, pieces, 500) == Carry(JUNE_10 + 4, 130, 130)
    assert carry_on(Carry(JUNE_10, 0), JUNE_10 + 4, 90, [*pieces, (JUNE_10 + 3, None)], 500).left == 0


def test_a_day_that_never_was_leaves_no_budget_to_the_next() -> None:
    spent = Carry(JUNE_10, 0)
    assert carry_on(spent, JUNE_10 + 2, 77, PLAIN, 500, skipped=[JUNE_10 + 1]) == Carry(JUNE_10 + 2, 23, None)
    assert carry_on(spent, JUNE_10 + 3, 77, PLAIN, 500, skipped=[JUNE_10 + 1]).left == 123
    first = day_number(date(2032, 7, 1))
    assert carry_on(Carry(first - 1, 0), first + 1, 77, PLAIN, 500, skipped=[first]).left == 0
    assert carry_on(Carry(first - 2, 0), first, 77, PLAIN, 500, skipped=[first - 1]).left == 0


def test_the_closed_form_is_the_rule_day_by_day() -> None:
    drawn = random.Random(34)
    for _ in range(3000):
        day = JUNE_10 + drawn.randrange(40)
        after = day + drawn.choice((1, 1, 2, 3, drawn.randrange(1, 70)))
        budgets = [drawn.choice((None, 0, 1, 7, 100, 5000, MAX_TOTAL_MICROS)) for _ in range(3)]
        firsts = sorted(day + drawn.randrange(-2, 40) for _ in range(2))
        steps = [
            Step(day_start_ms(at) + drawn.randrange(DAY_MS), budget, None)
            for at, budget in zip(firsts, budgets[1:], strict=True)
        ]
        steps.sort(key=lambda step: step.at_ms)
        cap, left, spent = (drawn.choice((0, 1, 50, 900, MAX_TOTAL_MICROS)) for _ in range(3))
        never = day + drawn.randrange(1, 40)
        clock = Zone((0, DAY_MS), (never * DAY_MS,)) if never < after else UTC
        expected = model.walk(
            model.Carry(day, left, None), after, cap, (budgets[0], None), steps, {f"d:{d}": spent if d == day else 0 for d in range(day, after)}, clock
        )  # fmt: skip
        pieces = [(0, budgets[0]), *((clock.day_of(step.at_ms), step.daily) for step in steps)]
        skipped = [never] if clock != UTC else []
        made = carry_on(Carry(day, left), after, spent, pieces, cap, skipped)
        assert made == expected, (day, after, cap, left, spent, steps, skipped)
