"""Why more is spent than a budget: a lower budget, spend past the budget, or both, to the micro."""

from __future__ import annotations

import pytest

from engine.domain.excess import BudgetChange, Excess, excess_of


def change(at: int, old: int | None, new: int | None, spent: int) -> BudgetChange:
    return BudgetChange(at, old, new, spent)


@pytest.mark.parametrize(("spent", "budget"), [(5, 5), (4, 5), (0, 0), (99, None)])
def test_what_is_within_the_budget_is_no_excess(spent: int, budget: int | None) -> None:
    assert excess_of(spent, budget, [change(1, 12, 3, 4)]) is None


def test_spend_past_a_budget_that_nobody_changed_came_too_late() -> None:
    assert excess_of(13, 10, []) == Excess(3, 3, None)


def test_a_budget_lowered_below_what_is_spent_is_the_whole_reason() -> None:
    lowered = change(1, 12, 5, 9)
    assert excess_of(9, 5, [lowered]) == Excess(4, 0, lowered)
    unlimited = change(1, None, 5, 9)
    assert excess_of(9, 5, [unlimited]) == Excess(4, 0, unlimited)


def test_what_is_recorded_after_the_budget_was_lowered_is_told_apart() -> None:
    lowered = change(1, 12, 5, 9)
    assert excess_of(11, 5, [lowered]) == Excess(6, 2, lowered)


def test_spend_past_the_old_budget_was_too_late_before_it_was_lowered() -> None:
    lowered = change(1, 12, 5, 14)
    assert excess_of(14, 5, [lowered]) == Excess(9, 2, lowered)


def test_a_budget_lowered_while_enough_was_left_is_no_reason() -> None:
    assert excess_of(7, 5, [change(1, 12, 5, 4)]) == Excess(2, 2, None)


def test_of_several_changes_the_one_that_went_below_what_was_spent_is_named() -> None:
    first, second = change(1, 12, 10, 9), change(2, 10, 5, 9)
    assert excess_of(9, 5, [first, second]) == Excess(4, 0, second)
    below, lower = change(1, 12, 8, 9), change(2, 8, 5, 9)
    assert excess_of(9, 5, [below, lower]) == Excess(4, 0, below)
    raised = change(2, 5, 7, 9)
    assert excess_of(9, 7, [change(1, 12, 5, 9), raised]) == Excess(2, 0, change(1, 12, 5, 9))


def test_a_refund_after_the_change_leaves_no_late_spend() -> None:
    lowered = change(1, 12, 5, 9)
    assert excess_of(6, 5, [lowered]) == Excess(1, 0, lowered)
