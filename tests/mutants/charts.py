"""Faults in the pages of a brand, of a campaign and of the system, and in the week of a schedule."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

BRAND: Final = "tests/web/test_brand_page.py::test_"
CAMPAIGN: Final = "tests/web/test_campaign_page.py::test_"
SYSTEM: Final = "tests/web/test_system_page.py::test_"
WEEK: Final = "tests/web/test_week_grid.py::test_"
COURSE: Final = "tests/web/test_day_course.py::test_"

# fmt: off
DRAWN: Final = (
    M("a course ends with what the log has, not with what is spent", "engine/views/day_course.py",
      "return (*points, (now_ms, spent_now))", "return (*points, (now_ms, total))",
      (COURSE + "what_the_log_has_not_yet_is_spent_by_now_and_minutes_add_up_before",)),
    M("a day of the past has today's budget", "engine/views/courses.py",
      "first = changes[0].old if changes else now", "first = now",
      (BRAND + "each_of_31_days_has_its_own_budget_an_empty_one_too",)),
    M("a forecast goes on evenly, whenever traffic comes", "engine/views/day_course.py",
      "part = (by - before) * PPM // (PPM - before) if before < PPM else", "part = (by - before) * PPM // (PPM - before) if before < 0 else",
      (COURSE + "a_forecast_goes_on_as_a_usual_day_and_begins_at_what_is_spent",)),
    M("the time before anything was known counts as running", "engine/views/strip.py",
      "Stretch(max(at, since_ms), end, reasons)", "Stretch(since_ms, end, reasons)",
      (CAMPAIGN + "a_strip_has_each_stretch_and_nothing_of_the_time_before_it_was_known",)),
    M("the reason of a pause is lost", "engine/ledger/campaigns.py",
      "changes.flag(before.enabled), changes.flag(enabled), note)", "changes.flag(before.enabled), changes.flag(enabled), None)",
      (CAMPAIGN + "a_pause_says_who_why_and_stays_on_the_page",)),
    M("a schedule that is not on half hours is rounded by the grid", "web/week_grid.py",
      "if start % CELL_MINUTES or end % CELL_MINUTES:", "if start % 10 or end % 10:",
      (WEEK + "a_schedule_that_is_not_on_half_hours_has_no_grid_and_an_empty_grid_is_no_schedule",)),
    M("an empty grid is always", "web/week_grid.py", "    if not cells:\n", "    if cells is None:\n",
      (WEEK + "a_schedule_that_is_not_on_half_hours_has_no_grid_and_an_empty_grid_is_no_schedule",)),
    M("a failed invariant reads as one that was not checked", "engine/views/invariants.py",
      "if name in failed\n", "if name in passed and name in failed\n",
      (SYSTEM + "each_invariant_is_told_in_words_with_the_money_that_is_unaccounted_for",)),
)
# fmt: on
