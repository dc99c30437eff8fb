"""Faults in the pause of a whole brand."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

LIVE: Final = "tests/live/test_paused_brands.py::test_"
WHOLE: Final = "tests/flows/test_paused_brands.py::test_"
PAGE: Final = "tests/web/test_budgets_page.py::test_"
ALL: Final = "tests/flows/test_pause_everything.py::test_"
EVERY: Final = LIVE + "a_paused_brand_refuses_every_spend_counts_every_fact_and_runs_again_when_resumed"

# fmt: off
BRANDS_PAUSED: Final = (
    M("a bulk pause takes brands that are paused already, so its undo resumes them", "engine/domain/operations.py",
      "if values[PAUSED] != paused:", "if True:",
      (ALL + "brands_that_are_paused_together_keep_the_switches_of_their_campaigns_and_an_undo_gives_them_back",)),
    M("resume everything resumes nothing", "engine/flows/operations/desk.py",
      'if brand.paused == (kind == "resume")]', "if not brand.paused]",
      (ALL + "everything_pauses_in_one_operation_and_its_undo_resumes_the_brands_that_it_paused_alone",)),
    M("who pauses a brand is shown the figures of before", "engine/views/board.py",
      "            if asked_at < since:\n", "            if asked_at < 0:\n",
      (PAGE + "who_changed_something_is_answered_a_question_of_after_it_however_young_the_last_answer_is",)),
    M("a paused brand stops nobody", "lua/lib/plan.lua",
      "paused = got[2] >= '2',", "paused = false,",
      (EVERY + "[plain-alone]", EVERY + "[plain-packed]")),
    M("the fast path runs a paused brand", "lua/lib/fast_packed.lua",
      "if not brand or brand.paused or brand.n1 or", "if not brand or brand.n1 or",
      (EVERY + "[plain-packed]",)),
    M("a rebuild resumes a paused brand", "engine/flows/rebuild/contents.py",
      "            b.stops,\n", "            _bit(b.archived_at is not None),\n",
      (WHOLE + "a_rebuild_keeps_a_brand_paused_and_verify_finds_it_right",)),
    M("a pause in the same version is not told", "lua/publish.lua",
      "or brand.stops ~= stops or", "or brand.archived ~= (stops % 2 == 1) or",
      (LIVE + "another_plan_of_the_same_version_that_only_differs_in_the_pause_is_told[plain]",)),
)
