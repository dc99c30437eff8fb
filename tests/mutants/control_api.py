"""Faults in the routes of reports, control and people: a program that sees, changes or keeps more than it may."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

AUDIT: Final = "tests/api/test_audit.py::test_"
CONTROL: Final = "tests/api/test_control.py::test_"
PEOPLE: Final = "tests/api/test_people.py::test_"
SCOPES: Final = "tests/api/test_scopes.py::test_"

# fmt: off
CONTROLLED: Final = (
    M("a search by id reads the whole day", "engine/ledger/find_spends.py",
      "plain, given, seqscan=False)", "plain, given, seqscan=True)",
      (AUDIT + "a_search_reads_the_index_of_its_id_and_no_whole_day",)),
    M("an event is found by a part of its id", "engine/ledger/find_spends.py",
      '"strpos(names, :event_id) > 0 AND event_id = :event_id"', '"strpos(names, :event_id) > 0 AND strpos(event_id, :event_id) > 0"',
      (AUDIT + "an_event_is_found_with_what_was_given_back_of_it",)),
    M("a search finds spends of brands out of sight", "engine/ledger/find_spends.py",
      '        plain.append("brand_id + 0 = ANY(CAST(:brands AS bigint[]))")\n', "",
      (AUDIT + "a_token_of_one_brand_finds_no_spend_of_another",)),
    M("a page of spends begins with the last row of the one before", "engine/ledger/find_spends.py",
      "position) < (:place", "position) <= (:place",
      (AUDIT + "the_spends_of_a_campaign_come_in_pages_without_one_twice_or_missing",)),
    M("a day that is over keeps pages without a filter", "engine/flows/upkeep/log_days.py",
      "                made += find_spends.summarise(conn, day)", "                made += 0",
      (AUDIT + "a_day_that_is_over_has_all_its_filters_after_the_close",)),
    M("the secret of a webhook or token is kept with its answer", "api/keyed.py",
      "json.dumps({**document, secret: None})", "json.dumps(document)",
      (PEOPLE + "a_webhooks_secret_is_shown_once_and_kept_nowhere_else", PEOPLE + "a_token_is_made_once_used_and_revoked")),
    M("a password is a part of what is kept of a request", "api/keyed.py",
      'document.pop("password", None) is not None', 'document.get("nothing") is not None',
      (PEOPLE + "a_user_is_made_changed_by_version_and_shut_out",)),
    M("an operation changes brands out of sight", "api/operations.py",
      "            access.check_brand(brand_id)\n", "            pass\n",
      (SCOPES + "a_change_of_rows_out_of_sight_is_refused_whole",)),
    M("an operation of other brands can be read", "api/operations.py",
      "    if not ledger.within(about, brands) or ", "    if ",
      (SCOPES + "of_another_brand_every_route_answers_as_of_one_that_does_not_exist",)),
    M("a scheduled limit of another brand can be taken back", "api/limits.py",
      "    if brands is not None and found.brand_id not in brands:", "    if brands is not None and not brands:",
      (SCOPES + "of_another_brand_every_route_answers_as_of_one_that_does_not_exist",)),
    M("a flight is changed from an old version", "engine/ledger/flights.py",
      '    campaigns.refuse_stale(before, changes.get("expected_version"))\n', "",
      (CONTROL + "a_flight_is_added_changed_by_version_and_removed",)),
    M("a curve that paces something is removed", "engine/ledger/curves.py",
      "    if found:\n        of = ", "    if len(found) > 1:\n        of = ",
      (CONTROL + "a_curve_is_made_changed_by_version_and_kept_while_it_paces",)),
    M("what is done with an alert has no actor in the trail", "engine/ledger/alerts.py",
      '            _trail(conn, actor, found, "acknowledged", None, found.detail)\n', "            pass\n",
      (PEOPLE + "an_alert_is_acknowledged_and_muted_by_name",)),
)
