"""When a budget is used up, what is refused, and how the causes that stop a campaign are kept apart and said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.budget import Budget, OwnLimits, used_up_causes
from engine.domain.causes import (
    ARCHIVED,
    BRAND_PAUSED,
    BREAKER,
    CAMPAIGN_DAILY_BUDGET,
    CAMPAIGN_MONTHLY_BUDGET,
    CAUSES,
    DAILY_BUDGET,
    FLIGHT,
    FLIGHT_BUDGET,
    MANUAL,
    MONTHLY_BUDGET,
    ORDER,
    OTHER,
    PACING,
    RATE,
    SCHEDULE,
    again_ms,
    in_order,
    mask_of,
    reasons_of,
    sentence,
    status_of,
)
from engine.domain.money import MAX_TOTAL_MICROS
from engine.domain.periods import at_ms, ms_of
from engine.domain.schedule import Schedule

MONDAY_10 = 1_795_428_000_000  # 2026-11-23 10:00 UTC
ALWAYS = Schedule()
MICROS = st.integers(0, MAX_TOTAL_MICROS)


def test_the_clock_of_these_tests_is_a_monday_at_ten() -> None:
    assert f"{at_ms(MONDAY_10):%a %Y-%m-%d %H:%M}" == "Mon 2026-11-23 10:00"
    assert ms_of(at_ms(MONDAY_10)) == MONDAY_10


def test_a_budget_is_used_up_when_nothing_is_left_and_not_before() -> None:
    assert not Budget(DAILY_BUDGET, 100, 99).used_up
    assert Budget(DAILY_BUDGET, 100, 100).used_up
    assert Budget(DAILY_BUDGET, 100, 101).used_up


def test_no_limit_is_never_used_up_and_zero_always_is() -> None:
    assert not Budget(DAILY_BUDGET, None, MAX_TOTAL_MICROS).used_up
    assert Budget(DAILY_BUDGET, None, 5).remaining is None
    assert Budget(DAILY_BUDGET, 0, 0).used_up


def test_remaining_is_negative_when_facts_went_past_the_budget() -> None:
    assert Budget(DAILY_BUDGET, 100, 130).remaining == -30


@given(st.none() | MICROS, MICROS, st.integers(1, 10**12))
def test_an_amount_that_is_allowed_never_takes_a_budget_past_its_limit(
    limit: int | None, spent: int, amount: int
) -> None:
    budget = Budget(DAILY_BUDGET, limit, spent)
    if budget.allows(amount):
        after = Budget(DAILY_BUDGET, limit, spent + amount)
        assert after.remaining is None or after.remaining >= 0
    assert (DAILY_BUDGET in used_up_causes([budget])) == (budget.remaining is not None and budget.remaining <= 0)


def test_the_bits_on_the_wire_are_those_that_were_always_there() -> None:
    assert {cause: mask_of([cause]) for cause in ORDER} == {
        MANUAL: 1,
        ARCHIVED: 2,
        SCHEDULE: 4,
        DAILY_BUDGET: 8,
        MONTHLY_BUDGET: 16,
        CAMPAIGN_DAILY_BUDGET: 32,
        CAMPAIGN_MONTHLY_BUDGET: 64,
        FLIGHT_BUDGET: 128,
        FLIGHT: 256,
        PACING: 512,
        RATE: 1024,
        BREAKER: 2048,
        BRAND_PAUSED: 4096,
    }


def test_each_cause_is_one_row_with_a_bit_of_its_own_and_words_for_people() -> None:
    bits = [row.bit for row in CAUSES]
    # A gap is a bit that another part of the program has.
    assert bits == sorted(set(bits)) and all(bit.bit_count() == 1 for bit in bits)
    assert len({row.name for row in CAUSES}) == len({row.sentence for row in CAUSES}) == len(CAUSES)
    assert [row.name for row in CAUSES if row.lasting == "passing"] == [PACING, RATE]
    timed = [row for row in CAUSES if row.name not in (FLIGHT_BUDGET, RATE)]
    assert all((row.period is not None) == (row.kind == "money") for row in timed)
    assert OTHER not in ORDER


@given(st.integers(-1, 1 << 80))
def test_bits_that_are_not_known_read_as_other_and_stop_the_campaign(mask: int) -> None:
    reasons, strange = reasons_of(mask), mask & ~mask_of(ORDER)
    assert (OTHER in reasons) == bool(strange)
    assert set(reasons) - {OTHER} == set(reasons_of(mask & mask_of(ORDER)))
    assert status_of(reasons) == ("paused" if mask & ~mask_of([PACING, RATE]) else "active")
    assert reasons_of(mask_of(reasons)) == reasons


def test_a_name_of_a_later_release_reads_as_other_in_a_set_and_in_words() -> None:
    assert in_order(["rehearsal", MANUAL, "trickle"]) == (MANUAL, OTHER)
    assert sentence(["rehearsal"], ALWAYS, MONDAY_10) == "paused: stopped by a cause of a later release"
    assert again_ms([DAILY_BUDGET, "rehearsal"], ALWAYS, MONDAY_10) is None
    assert status_of(["rehearsal"]) == "paused"


@given(st.sets(st.sampled_from(ORDER)))
def test_a_set_of_causes_survives_the_wire(reasons: set[str]) -> None:
    back = reasons_of(mask_of(reasons))
    assert set(back) == reasons
    assert list(back) == [cause for cause in ORDER if cause in reasons]
    assert status_of(back) == ("paused" if reasons - {PACING, RATE} else "active")


def test_own_limits_are_compiled_where_there_are_any_and_none_is_not_zero() -> None:
    assert OwnLimits().compiled == ""
    assert OwnLimits(None, 0, 7).compiled == ":0:7"


def test_a_running_campaign_is_called_active() -> None:
    assert sentence((), ALWAYS, MONDAY_10) == "active"


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        ((DAILY_BUDGET,), "paused: daily budget used up, again at 00:00 UTC"),
        ((MONTHLY_BUDGET,), "paused: monthly budget used up, again at 01 Dec 00:00 UTC"),
        ((CAMPAIGN_DAILY_BUDGET,), "paused: its own daily budget used up, again at 00:00 UTC"),
        ((FLIGHT_BUDGET,), "paused: its lifetime or flight budget used up"),
        ((DAILY_BUDGET, FLIGHT_BUDGET), "paused: daily budget used up; its lifetime or flight budget used up"),
        ((MANUAL,), "paused: switched off by a person"),
        ((PACING,), "active"),
        ((PACING, DAILY_BUDGET), "paused: daily budget used up, again at 00:00 UTC"),
        ((BREAKER,), "paused: switched off by its breaker"),
        ((RATE,), "active"),
        ((RATE, DAILY_BUDGET), "paused: daily budget used up, again at 00:00 UTC"),
        ((ARCHIVED, MANUAL), "paused: switched off by a person; archived"),
    ],
)
def test_each_cause_says_what_a_person_can_expect(reasons: tuple[str, ...], words: str) -> None:
    assert sentence(reasons, ALWAYS, MONDAY_10) == words


def test_a_campaign_outside_its_hours_says_when_it_runs_again() -> None:
    evening = Schedule.parse({"start_time": "18:00", "end_time": "22:00"})
    sunday = Schedule.parse({"days": ["sun"]})
    assert sentence((SCHEDULE,), evening, MONDAY_10) == "paused: outside its schedule, again at 18:00 UTC"
    assert sentence((SCHEDULE,), sunday, MONDAY_10) == "paused: outside its schedule, again at 29 Nov 00:00 UTC"


def test_of_two_causes_the_one_time_is_that_at_which_the_campaign_runs_again() -> None:
    days = Schedule.parse({"start_time": "18:00", "end_time": "22:00"})
    # Its window opens at 18:00 today, and its budget is back at midnight: neither is when it runs.
    both = sentence((SCHEDULE, DAILY_BUDGET), days, MONDAY_10)
    assert both == "paused: outside its schedule; daily budget used up; runs again at 24 Nov 18:00 UTC"
    assert "again" not in sentence((MANUAL, DAILY_BUDGET), ALWAYS, MONDAY_10)


def test_a_used_up_budget_of_a_campaign_with_hours_promises_the_hour_and_not_midnight() -> None:
    nine = Schedule.parse({"start_time": "09:00", "end_time": "17:00"})
    assert sentence((DAILY_BUDGET,), nine, MONDAY_10) == "paused: daily budget used up, again at 09:00 UTC"


def test_a_schedule_that_is_not_known_any_more_promises_no_time() -> None:
    assert sentence((SCHEDULE, DAILY_BUDGET), None, MONDAY_10) == "paused: outside its schedule; daily budget used up"
    assert sentence((DAILY_BUDGET,), None, MONDAY_10) == "paused: daily budget used up, again at 00:00 UTC"


def test_a_cause_older_than_the_opening_does_not_promise_the_closing_hour() -> None:
    open_now = Schedule.parse({"start_time": "09:00", "end_time": "17:00"})
    assert "17:00" not in sentence((SCHEDULE,), open_now, MONDAY_10)
