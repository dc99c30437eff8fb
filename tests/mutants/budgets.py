"""Faults in the list of budgets: what it shows to whom, what it costs, and what its export does in a spreadsheet."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

BUDGETS: Final = "tests/web/test_budgets_page.py::test_"
SCOPE: Final = "tests/web/test_scope.py::test_"
EDIT: Final = "tests/web/test_budget_edit.py::test_"
BULK: Final = "tests/web/test_bulk.py::test_"
SEARCH: Final = "tests/web/test_search.py::test_"
LIMITS: Final = "tests/web/test_limits_page.py::test_"
BACK: Final = "tests/web/test_back.py::test_"
AWAY: Final = "tests/web/test_away.py::test_"

# fmt: off
LISTED: Final = (
    M("the list of budgets has the brands that a person does not see", "web/budget_list.py",
      "    return list(lines) if within is None else [line", "    return list(lines) if True else [line",
      (SCOPE + "who_sees_one_brand_finds_no_other_in_any_page_list_search_trail_or_error[viewer]",)),
    M("each viewer of the board asks the servers", "engine/views/board.py",
      "return answered_at > 0 and now - asked_at < min(", "return answered_at > 0 and now - asked_at < -min(",
      (BUDGETS + "ten_viewers_cost_what_one_does_and_nobody_costs_nothing",)),
    M("an exported name is a formula", "web/csv_text.py",
      "    return guarded(value)", "    return value",
      (BUDGETS + "the_export_has_all_of_what_is_filtered_exactly_and_no_cell_is_a_formula",)),
    M("a poll has no body though money moved", "web/budgets.py",
      "hashlib.sha256(html.encode())", "hashlib.sha256(b\"\")",
      (BUDGETS + "a_poll_of_what_has_not_changed_has_no_body_and_one_after_a_spend_has",)),
    M("a brand of which some campaigns run counts as paused", "engine/views/budget_line.py",
      "    if view.active_campaigns:\n", "    if view.active_campaigns < 0:\n",
      (BUDGETS + "a_brand_is_in_the_tab_of_its_state_and_the_tabs_have_their_counts",)),
    M("the first look does not ask for new brands", "engine/views/budget_board.py",
      "        if not new:\n", "        if True:\n",
      (BUDGETS + "a_brand_that_was_made_after_redis_was_asked_is_live_at_the_first_look",)),
    M("a brand that a person paused is shown as running", "engine/views/figures.py",
      "by_person = (BRAND_PAUSED,) if brand.paused else ()", "by_person = ()",
      (BUDGETS + "the_first_page_says_why_campaigns_stand_still_and_how_the_parts_are",)),
    M("the list reads Redis as often as it can", "engine/views/board.py",
      "max(fresh_s, self._rest * (answered_at - asked_at))", "max(fresh_s, answered_at - asked_at)",
      (BUDGETS + "a_part_is_left_alone_for_as_many_times_as_long_as_its_answer_took",)),
    M("the second editor of a budget overwrites the first", "web/budget_edit.py",
      "**wanted, expected_version=version)", "**wanted)",
      (EDIT + "the_second_editor_is_told_who_was_first_overwrites_nothing_and_keeps_what_he_typed",)),
    M("all that match are those of every tab", "web/bulk.py",
      'for name in ("q", "tab", "only")}', 'for name in ("q",)}',
      (BULK + "all_that_match_in_the_list_of_budgets_are_the_brands_that_its_tab_chips_and_search_leave",)),
    M("a search finds a brand by a campaign that is archived", "engine/views/campaign_names.py",
      '_MATCH: Final = "archived_at IS NULL AND', '_MATCH: Final = "true AND',
      (SEARCH + "an_archived_campaign_finds_nothing_and_a_new_name_is_found_within_seconds",)),
    M("what a search selects is not what it shows", "web/bulk.py",
      "state, services().campaign_names.brands_with(state.text))", "state)",
      (SEARCH + "what_is_exported_and_selected_is_what_is_shown",)),
    M("a look at what a scheduled budget will do schedules it", "web/limits.py",
      '    if "look" in request.form:', '    if "look" in request.args:',
      (LIMITS + "what_a_change_will_do_is_said_before_it_is_scheduled_and_nothing_is_written",)),
    M("a budget that is lowered by percent is raised", "web/how_much.py",
      'if how == "up_percent" else _WHOLE - micros', 'if how == "up_percent" else _WHOLE + micros',
      (LIMITS + "what_a_change_will_do_is_said_before_it_is_scheduled_and_nothing_is_written",)),
    M("a form leads to its brand wherever it was opened", "web/back.py",
      "    if given:\n", "    if given is None:\n",
      (BACK + "a_form_leads_back_to_the_list_or_page_on_which_it_was_opened",)),
    M("a page that does without a server does not say that it is away", "engine/views/health.py",
      'if part.state == "down"]', 'if part.state == "gone"]',
      (AWAY + "a_page_names_a_server_that_is_away_also_where_it_does_without_it",)),
)
# fmt: on
