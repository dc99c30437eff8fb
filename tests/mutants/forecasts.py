"""Faults in forecasts, learned curves, simulations and the model of the gate."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

AHEAD: Final = "tests/domain/test_forecast.py::test_"
GATE: Final = "tests/domain/test_gate.py::test_"
DAY: Final = "tests/domain/test_simulation.py::test_"
SHOWN: Final = "tests/cli/test_forecast_command.py::test_"
REPLAYED: Final = "tests/cli/test_simulate_command.py::test_"

# fmt: off
FORESEEN: Final = (
    M("a past day is forecast by a shape that knows it", "engine/domain/forecast.py",
      "shape, actual = shape_of(history, weekday_of(day), without=day), sum(hours)",
      "shape, actual = shape_of(history, weekday_of(day)), sum(hours)",
      (AHEAD + "a_past_day_is_forecast_without_itself",)),
    M("a forecast passes the budget", "engine/domain/forecast.py",
      "most = max(limit, spent)", "most = max(limit, spent, band.expected)",
      (AHEAD + "no_forecast_is_past_a_budget_and_none_is_below_what_is_spent",)),
    M("the rule that was farther off forecasts", "engine/domain/forecast.py",
      "// _CLEARLY < missed[AS_USUAL]", "// _CLEARLY >= missed[AS_USUAL]",
      (AHEAD + "where_days_differ_in_size_today_decides_and_where_they_do_not_the_usual_day_does",)),
    M("today is counted twice in the month", "engine/domain/forecast.py",
      "before = spent.month - spent.day", "before = spent.month",
      (AHEAD + "the_month_adds_the_usual_sum_of_each_weekday_that_is_left",)),
    M("a weekend is as a weekday", "engine/domain/traffic.py",
      "if weekday_of(day) == weekday]", "if weekday_of(day) >= 0]",
      (AHEAD + "a_learned_curve_is_the_shape_of_its_own_weekday",)),
    M("one large day decides a curve", "engine/domain/traffic.py",
      "hour * _UNIT // sum(hours) for hour in hours", "hour for hour in hours",
      (AHEAD + "one_large_day_does_not_decide_the_shape",)),
    M("a day that ran out of money teaches when there is traffic", "engine/domain/traffic.py",
      "if day not in used_up}", "if day}",
      (AHEAD + "days_on_which_the_budget_ran_out_teach_nothing",)),
    M("six days are history enough", "engine/domain/traffic.py",
      "LEAST_DAYS: Final = 7", "LEAST_DAYS: Final = 6",
      (AHEAD + "too_little_history_is_named_and_nothing_is_forecast[6]",)),
    M("a brand is forecast by one of its campaigns", "engine/ledger/hourly.py",
      "return campaign_id_of(self.id + 1, 0) if", "return campaign_id_of(self.id, 2) if",
      (SHOWN + "a_brand_is_forecast_by_the_hours_of_all_its_campaigns_and_of_no_other_brand",)),
    M("the gate lets pass what is exactly due", "engine/domain/gate.py",
      "self.spent + self.held < self.allowed(ms)", "self.spent + self.held <= self.allowed(ms)",
      (GATE + "what_is_exactly_due_is_spent_and_one_micro_more_is_not_below_it",)),
    M("a minute's cap counts the amount before it passes", "engine/domain/gate.py",
      "self._most is None or self._in_minute < self._most", "self._most is None or self._in_minute <= self._most",
      (GATE + "outside_of_a_window_what_is_behind_may_still_be_spent",)),
    M("asap passes the budget in a simulation", "engine/domain/simulation.py",
      "elif passes := gate.spent + amount <= limit:", "elif passes := gate.spent < limit or amount > 0:",
      (DAY + "asap_spends_it_all_by_six_and_is_dark_for_eighteen_hours",)),
    M("an hour in which nothing is due is dark", "engine/domain/simulation.py",
      "marks[ends[at]] > marks[at] and not", "marks[ends[at]] >= marks[at] and not",
      (DAY + "an_hour_in_which_nothing_was_due_is_not_dark",)),
    M("a simulated day knows its own hours", "engine/views/simulations.py",
      "shape_of(teaching_days(connection, owner, number, clock), weekday)", "shape_of(teaching_days(connection, owner, number + 1, clock), weekday)",
      (REPLAYED + "the_curve_of_traffic_is_what_the_days_before_teach_and_no_later_one",)),
)
# fmt: on
