"""Faults in scheduled changes of limits: their instants, who is told, what the catalog, verify and a rebuild make of them."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

LIVE: Final = "tests/live/test_steps.py::test_"
WHOLE: Final = "tests/flows/test_limit_changes.py::test_"
AFTER: Final = "tests/flows/test_changes_right_after_a_step.py::test_"
EDGES: Final = LIVE + "a_limit_rises_and_falls_on_the_millisecond_on_every_path"
TOLD: Final = LIVE + "the_call_after_a_step_tells_once_that_it_freed_or_used_up_a_budget_with_the_step_s_instant"
DEAD: Final = WHOLE + "a_temporary_increase_begins_and_ends_with_every_job_dead_and_verify_knows_it"

# fmt: off
STEPPED: Final = (
    M("a call that passes the limit before a step is taken for one that the step freed", "lua/lib/changes.lua",
      "budget.since, budget.moved = budget.step_at, true", "",
      ("tests/live/test_steps.py::test_a_budget_that_a_step_raised_in_time_is_told_as_used_up_once_and_never_as_freed",)),
    M("a closed day shows the budget before a change that the catalog took over later", "engine/ledger/limit_rows.py",
      "if step.at_ms < ms_of(end):", "if False:",
      ("tests/flows/test_limit_changes.py::test_a_closed_day_keeps_the_budget_that_it_had_at_its_end[False]",)),
    M("a person's change counts before a step that has just begun", "engine/ledger/limit_rows.py",
      "return now_ms(connection) if before.steps and changed else None", "return None",
      (AFTER + "a_closed_day_and_the_trail_have_the_step_before_the_person",)),
    M("a change that has just begun is cancelled as if it never had", "engine/ledger/limit_changes.py",
      "now if found.change.begun or found.change.starts_ms <= now else None", "None",
      (AFTER + "a_change_that_has_just_begun_for_a_time_is_cancelled_as_one_that_was_in_force",)),
    M("a step comes a millisecond late", "lua/lib/steps.lua",
      "if now >= last then", "if now > last then",
      (EDGES + "[alone-brand]", EDGES + "[packed-campaign]")),
    M("the second step is not read", "lua/lib/steps.lua",
      "for i = 1, second and 2 or 1 do", "for i = 1, 1 do",
      (EDGES + "[a batch-brand]",)),
    M("by the fast path of one spend, a brand's steps are not seen", "lua/lib/fast_single.lua",
      "  if with_control and brand[#brand - 2] then break end\n", "",
      (EDGES + "[alone-brand]",)),
    M("by the fast path of one spend, a campaign's steps are not seen", "lua/lib/fast_single.lua",
      "    if stepped then break end\n", "",
      (EDGES + "[alone-campaign]",)),
    M("by the fast path of a packed batch, a campaign's steps are not seen", "lua/lib/fast_packed.lua",
      "    if got[14] then return nil end\n", "",
      (EDGES + "[packed-campaign]",)),
    M("nobody is told that a step freed a budget", "lua/lib/changes.lua",
      "budget.was_used_up = budget.told_used_up", "budget.was_used_up = is_used_up(budget.limit, budget.spent)",
      (TOLD + "[brand]", TOLD + "[campaign]")),
    M("what a step did is told with the call's instant", "lua/lib/changes.lua",
      "if not budget.stepped then budget.since = text(now) end", "budget.since = text(now)",
      (TOLD + "[brand]",)),
    M("a late spend is checked against the limit of now", "lua/lib/late.lua",
      "or (brand.n1 and limits_by(brand.given, brand.n1, brand.n2, ends - 1))", "",
      (LIVE + "late_spends_are_checked_against_the_limit_at_the_end_of_their_day[brand]",)),
    M("a late spend keeps to itself what a step used up", "lua/lib/late.lua",
      "if budget.stepped then note_before(budget) end", "",
      (LIVE + "a_late_spend_tells_once_what_a_step_did_to_the_present_day[brand]",
       LIVE + "a_late_spend_tells_once_what_a_step_did_to_the_present_day[campaign]")),
    M("a plan with other steps under the same version is taken for the same", "lua/publish.lua",
      "or not same_steps(brand, n1, n2)", "",
      (LIVE + "a_step_that_the_catalog_took_over_leaves_the_plan_and_changes_nothing[brand]",)),
    M("a paced refusal knows no step to come", "lua/lib/retry.lua",
      "if at and at + 0 > now then ahead", "if false then ahead",
      (LIVE + "a_paced_refusal_names_the_millisecond_at_which_steps_let_it_pass",)),
    M("an end leaves the limit that the change made", "engine/domain/limit_changes.py",
      "after = before[change.id]", "after = limit",
      (DEAD,)),
    M("verify does not know what was in force before the catalog took it over", "engine/ledger/audit_plan.py",
      "if turn.change.period == period and ms_of(since)", "if False and ms_of(since)",
      (DEAD,)),
    M("a rebuild forgets the steps", "engine/flows/rebuild/contents.py",
      "(*row.pace, *named_steps(row.steps))", "row.pace",
      (WHOLE + "a_rebuild_keeps_the_steps_and_the_layout",)),
    M("two changes of a limit may overlap", "engine/domain/limit_changes.py",
      "if other.period == change.period and _overlap(change, other):", "if False:",
      (WHOLE + "changes_that_do_not_fit_are_refused_by_name_and_value_and_nothing_changes",)),
    M("a closed day has the budget of the next", "engine/ledger/limit_rows.py",
      "limits |= {row.entity_id: parse_budget(row.old) for row in found}", "",
      (WHOLE + "a_closed_day_keeps_the_budget_that_it_had_at_its_end[True]",)),
)
