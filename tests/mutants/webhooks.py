"""Faults in webhooks: a message lost, sent twice, led elsewhere, or signed with what nobody knows."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

FLOW: Final = "tests/flows/test_webhooks.py::test_"

# fmt: off
SENT_ON: Final = (
    M("a message that nobody took is never sent again", "engine/ledger/webhooks.py",
      'state = "delivered" if arrived else "failed" if over else "waiting"', 'state = "delivered" if arrived else "failed"',
      (FLOW + "a_receiver_that_is_killed_and_comes_back_counts_each_message_once_by_its_id",)),
    M("a message is sent to addresses of this machine", "engine/flows/alerts/sending.py",
      "if inside and not self._private:", "if inside and self._private:",
      (FLOW + "no_connection_is_made_to_an_address_of_this_machine_or_network_unless_that_is_meant",)),
    M("one public address of a name lets the others be private", "engine/flows/alerts/sending.py",
      "inside = [each for each in addresses if not is_public(each)]", "inside = [each for each in addresses[:1] if not is_public(each)]",
      (FLOW + "a_name_is_resolved_once_and_every_address_of_it_is_checked",)),
    M("an IPv6 address that wraps a private one counts as public", "engine/domain/webhooks.py",
      "for each in (found, *_wrapped(found)))", "for each in (found,))",
      (FLOW + "only_addresses_of_the_internet_are_public",)),
    M("parts of IPv6 that are given to nobody count as the Internet", "engine/domain/webhooks.py",
      "    return within and all(", "    return all(",
      (FLOW + "only_addresses_of_the_internet_are_public",)),
    M("a message is signed with the last secret for ever", "engine/ledger/webhooks.py",
      "CASE WHEN w.old_until > now() THEN w.old_secret END", "CASE WHEN w.old_until IS NOT NULL THEN w.old_secret END",
      (FLOW + "while_a_secret_rotates_a_message_has_both_signatures_and_after_that_the_new_one_alone",)),
    M("who muted an alert is called all the same", "engine/ledger/webhooks.py",
      "        if change.muted:\n", "        if change.muted and not change.event_id:\n",
      (FLOW + "what_is_muted_below_the_severity_or_of_a_disabled_receiver_is_not_written",)),
)
