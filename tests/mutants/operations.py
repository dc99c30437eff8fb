"""Faults in operations: a row changed twice, overwritten, or changed by nobody in particular."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

FLOW: Final = "tests/flows/test_operations.py::test_"
BULK: Final = "tests/web/test_bulk.py::test_"
IMPORT: Final = "tests/flows/test_imports.py::test_"
ACTIVITY: Final = "tests/web/test_activity_page.py::test_"
PAGE: Final = "tests/web/test_operations_page.py::test_"

# fmt: off
TAKEN_BACK: Final = (
    M("an operation overwrites what a colleague changed since the preview", "engine/ledger/operations.py",
      "if before.version != item.version:", "if before.version < item.version:",
      (FLOW + "what_changes_between_preview_and_apply_is_skipped",)),
    M("an undo overwrites what a colleague changed since", "engine/flows/operations/desk.py",
      "    if now != after:", "    if now is None:",
      (FLOW + "undo_gives_back_each_value_and_skips_what_somebody_changed_since",)),
    M("an operation that was killed adds its amount again", "engine/ledger/operations.py",
      "        return _note(connection, operation_id, no, after=after.version)",
      "    with writing(engine) as connection:\n        return _note(connection, operation_id, no, after=after.version)",
      (FLOW + "a_row_whose_change_cannot_be_noted_is_not_changed",)),
    M("the trail does not name the operation", "engine/ledger/changes.py",
      "if operation and operation.actor == actor else None", "if operation and operation.actor != actor else None",
      (FLOW + "an_applied_operation_reaches_bidders_and_every_row_names_it",)),
    M("bidders are not told of what an operation changed", "engine/flows/operations/desk.py",
      "            self._bring(import_rows.made_brands(self._db, operation_id, made), actor)", "            self._bring([], actor)",
      (FLOW + "an_applied_operation_reaches_bidders_and_every_row_names_it",)),
    M("the preview counts campaigns that run already as starting", "engine/flows/operations/effects.py",
      "starts += runs and not ran", "starts += runs",
      (FLOW + "a_raised_budget_says_how_many_campaigns_start_again_and_they_do",)),
    M("an operator reads and takes back operations of brands that he does not see", "engine/ledger/operations.py",
      "set(found) <= set(seen)", "bool(set(found) & set(seen))",
      (PAGE + "who_does_not_see_every_brand_of_an_operation_finds_none",)),
    M("an import overwrites what somebody changed since the export", "engine/flows/operations/imports.py",
      "        if row.version != version:", "        if row.version < version:",
      (IMPORT + "a_row_that_somebody_changed_since_the_export_is_left_out_and_never_overwritten",)),
    M("an import changes brands that a person does not see", "engine/flows/operations/imports.py",
      "        return self._seen is None or brand_id in self._seen", "        return True",
      (IMPORT + "who_sees_some_brands_changes_no_other_and_makes_none",)),
    M("what an import made stays when it is taken back", "engine/flows/operations/desk.py",
      "{ARCHIVED: [False, True]} if not item.version else", "{} if not item.version else",
      (IMPORT + "rows_without_an_id_are_made_and_taking_them_back_archives_them",)),
    M("a formula leaves in a cell of its own", "engine/domain/csv_cells.py",
      "return _FORMULA.sub(\"'\", text)", "return text",
      ("tests/domain/test_catalog_csv.py::test_a_guarded_text_is_no_formula_wherever_a_spreadsheet_splits_it_and_comes_back_as_it_was",)),
    M("a formula leaves behind a semicolon of a cell", "engine/domain/csv_cells.py",
      '_FORMULA: Final = re.compile(r"(?:^|(?<=[;\\n\\r]))', '_FORMULA: Final = re.compile(r"(?:^)',
      ("tests/domain/test_catalog_csv.py::test_a_guarded_text_is_no_formula_wherever_a_spreadsheet_splits_it_and_comes_back_as_it_was",)),
    M("lines of one instant are lost between two pages", "engine/ledger/activity.py",
      "\"({at}, {id}) < (:after_at, :after_id)\"", "\"{at} < :after_at\"",
      (ACTIVITY + "every_line_is_on_one_page_and_one_only_also_where_many_are_of_one_instant",)),
    M("who asks for changes of users by their name sees them", "engine/ledger/activity.py",
      "    if not wanted.people:\n", "    elif not wanted.people:\n",
      (ACTIVITY + "logins_and_changes_of_users_are_for_admins",)),
    M("the feed has the rows of brands out of sight", "engine/ledger/activity.py",
      "inner = _ANY_ITEMS if brands is None else _OWN_ITEMS", "inner = _ANY_ITEMS",
      (ACTIVITY + "who_sees_one_brand_of_an_operation_sees_its_rows_and_no_others",)),
    M("the feed by a person has what he did in brands out of sight", "engine/ledger/activity.py",
      '"EXISTS (SELECT FROM operation_brand AS b WHERE b.operation_id = o.id AND', '"EXISTS (SELECT FROM operation_brand AS b WHERE true OR',
      (ACTIVITY + "what_a_person_did_in_brands_out_of_sight_is_in_no_feed_by_his_name",)),
    M("the feed by a person has the campaigns that he paused in brands out of sight", "engine/ledger/activity.py",
      'WHERE {brand} = ANY(CAST(:brands AS bigint[])) AND {where}', 'WHERE {where}',
      (ACTIVITY + "what_a_person_did_in_brands_out_of_sight_is_in_no_feed_by_his_name",)),
    M("logins are in everybody's feed", "engine/ledger/activity.py",
      "(source != \"login\" or (wanted.people and wanted.brand_id is None))", "(source != \"login\" or wanted.brand_id is None)",
      (ACTIVITY + "logins_and_changes_of_users_are_for_admins",)),
    M("a selection by id takes brands out of sight", "web/bulk.py",
      "            if not who.sees(", "            if who.sees(0) and not who.sees(",
      (BULK + "who_sees_one_brand_selects_no_other_by_id_or_filter",)),
    M("all that match are those of the page alone", "web/bulk.py",
      "state, every=True)", "state)",
      (BULK + "all_that_match_means_what_the_filter_leaves_and_not_a_page_of_it",)),
)
