"""Faults in what the page says of the past: why a budget is exceeded, and where a day is heading."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

PAST: Final = "tests/domain/test_excess.py::test_"
PACE: Final = "tests/domain/test_pace.py::test_"
SEEN: Final = "tests/flows/test_hindsight.py::test_"

# fmt: off
EXPLAINED: Final = (
    M("a lowered budget is called spend that came too late", "engine/domain/excess.py",
      "within, lowered = allowed, change", "within, lowered = budget, None",
      (PAST + "a_budget_lowered_below_what_is_spent_is_the_whole_reason",)),
    M("spend past the budget that was lowered is laid to the change", "engine/domain/excess.py",
      "else min(change.spent, change.old)", "else change.spent",
      (PAST + "spend_past_the_old_budget_was_too_late_before_it_was_lowered",)),
    M("the first of several changes is named, whichever went below", "engine/domain/excess.py",
      "allowed >= within:", "allowed > within:",
      (PAST + "of_several_changes_the_one_that_went_below_what_was_spent_is_named",)),
    M("closed hours count as time to spend", "engine/domain/pace.py",
      "((0, DAY_MINUTES),) if schedule.always else", "((0, DAY_MINUTES),) if schedule else",
      (PACE + "a_brand_with_hours_is_projected_over_its_hours",)),
    M("a projection waits for nobody", "engine/domain/pace.py",
      "TOO_EARLY_MS * max(1, self.campaigns)", "1",
      (PACE + "it_waits_until_the_campaigns_ran_for_half_an_hour_each",)),
    M("a campaign that is switched off is still ahead", "engine/views/hindsight.py",
      "for kind in kinds if kind.enabled)", "for kind in kinds)",
      (SEEN + "a_campaign_that_is_switched_off_adds_nothing_to_what_is_ahead",)),
    M("what was spent before the change is the whole hour's", "engine/ledger/history.py",
      "given.begins, given.at) AS l", "given.begins, 'infinity') AS l",
      (SEEN + "a_budget_lowered_below_what_was_spent_is_named_with_its_instant_and_what_was_spent_then",)),
    M("yesterday's lower budget explains today", "engine/views/hindsight.py",
      "            and ms_of(line.at) >= view.zones.clock.period_start_ms(period, view.now_ms)\n", "",
      (SEEN + "spend_past_a_budget_that_was_not_lowered_today_came_too_late",)),
)
# fmt: on
