"""Faults in alerts: nobody hears of a crossing, somebody hears of it twice, or one brand's trouble is everybody's."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

FLOW: Final = "tests/flows/test_alerts.py::test_"
PAGE: Final = "tests/web/test_alerts_page.py::test_"

# fmt: off
ALERTED: Final = (
    M("a threshold alerts a hundredth too late", "engine/domain/alerts.py",
      "not limit or spent * 100 < limit * level", "not limit or spent * 100 <= limit * level",
      (FLOW + "a_raised_budget_that_is_used_up_before_anybody_looks_alerts_again",)),
    M("what comes back without a raised budget alerts again", "engine/ledger/alerts.py",
      'if last.end_reason != "raised" and not rested:', 'if last.end_reason == "off" and not rested:',
      (FLOW + "a_refund_and_the_same_crossing_again_alert_nobody_twice",)),
    M("a raised budget that is used up at once alerts nobody", "engine/domain/alerts.py",
      'return "raised" if raised and event.figure is not None else None', "return None",
      (FLOW + "a_raised_budget_that_is_used_up_before_anybody_looks_alerts_again",)),
    M("an odd brand ends the run", "engine/views/alert_facts.py",
      "                looked.failed[brand.id] = _said(error)", "                return Looked(failed={brand.id: _said(error)})",
      (FLOW + "one_odd_brand_stops_no_alert_of_the_others",)),
    M("half of a brand's alerts are written, or an alert without its message", "engine/flows/alerts/desk.py",
      "                    with conn.begin_nested():", "                    if True:",
      ("tests/flows/test_webhooks.py::test_a_message_is_written_with_its_alert_or_neither_is", FLOW + "one_odd_brand_stops_no_alert_of_the_others")),
    M("a run of alerts that has no time left loses them", "engine/flows/alerts/desk.py",
      "                done.left = len(changes) - start\n", "",
      (FLOW + "a_run_with_more_alerts_than_it_has_time_for_leaves_them_to_the_next_and_loses_none",)),
    M("spend that waits in the journal is a silence", "engine/views/alert_facts.py",
      "whole = logged.get(id_, 0) == running[id_].daily[0]", "whole = True",
      ("tests/flows/test_alert_kinds.py::test_spend_that_the_log_does_not_have_yet_is_no_silence",)),
    M("an operator silences alerts of brands that he does not see", "web/alerts.py",
      "ledger.mute(services().db, alert_id, int(given), g.actor, person().brands)", "ledger.mute(services().db, alert_id, int(given), g.actor)",
      (PAGE + "alerts_of_brands_out_of_sight_are_neither_seen_nor_counted_nor_silenced",)),
)
