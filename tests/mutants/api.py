"""Faults in the HTTP API: money that counts twice or not at all, and callers who get further than their token."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

SPENDS: Final = "tests/api/test_spends.py::test_"
QUICK: Final = "tests/api/test_quick.py::test_"
TOKENS: Final = "tests/api/test_tokens.py::test_"
CATALOG: Final = "tests/api/test_catalog.py::test_"

# fmt: off
OVER_HTTP: Final = (
    M("the key of a request does not reach Redis", "api/spending.py",
      "    request_id = header.key or next_id()\n    call = _client().try_spend if", "    request_id = next_id()\n    call = _client().try_spend if",
      (SPENDS + "a_repeat_with_the_same_key_or_event_counts_once",)),
    M("on the event loop a spend with a key shares a call under another id", "api/quick.py",
      "shares = key is None and asked.event_id is not None", "shares = asked.event_id is not None or key is not None",
      (SPENDS + "a_repeat_with_the_same_key_or_event_counts_once",)),
    M("the event loop spends of brands that the token does not see", "api/quick.py",
      "    return brands is None or all(", "    return brands is None or True or all(",
      (SPENDS + "a_token_of_one_brand_spends_nothing_of_another",)),
    M("the event loop holds money of brands that the token does not see", "api/quick.py",
      "        return _sees(token, (check_campaign_id(campaign_id),)) and not", "        return not",
      (QUICK + "a_hold_of_a_brand_that_the_token_does_not_see_is_refused_by_either_way",)),
    M("a hold on the event loop is another one than that of a thread", "api/quick.py",
      "        name = asked.hold_id or key\n", "        name = key or asked.hold_id and asked.hold_id + '.'\n",
      (QUICK + "holds_and_refunds_say_the_same_both_ways_and_a_repeat_by_the_other_way_counts_once",)),
    M("a batch on the event loop forgets the key of its request", "api/quick.py",
      "        request_id = key or next_id()\n        call = self._client.try_spends", "        request_id = next_id()\n        call = self._client.try_spends",
      (QUICK + "a_batch_that_is_repeated_by_the_other_way_counts_once",)),
    M("a 503 of the event loop names no id to repeat with", "api/quick.py",
      '    more = {"request_id": request_id, **said.more}', '    more: dict[str, object] = {}',
      ("tests/api/test_faults.py::test_redis_frozen_and_then_killed_loses_and_doubles_no_spend_and_healthz_never_waits",)),
    M("a token may send as much as it likes", "api/rates.py",
      "            if full_at > now + 1.0 + 1e-9:", "            if full_at > now + 1e9:",
      (QUICK + "a_token_that_sends_more_than_its_rate_gets_429_and_nothing_counts",)),
    M("a batch is not asked whose brands it spends", "api/spending.py",
      '    access.check_spends((one["campaign_id"] for one in body.spends), indexed=True)\n', "",
      (SPENDS + "a_token_of_one_brand_spends_nothing_of_another",)),
    M("a token of any scope opens every route", "api/guard.py",
      "        if needed not in found.scopes:", "        if not found.scopes:",
      (TOKENS + "every_route_has_a_row_and_needs_its_scope",)),
    M("a revoked token goes on in the processes that know it", "api/known.py",
      "            self._known = found | {key: token for key, token in self._known.items() if key not in known}", "            self._known = self._known | found",
      (TOKENS + "a_revoked_token_is_refused_within_a_second",)),
    M("without PostgreSQL a known token goes on for ever", "api/known.py",
      "        if stale or now - self._confirmed_at > GOES_ON_S or not", "        if stale or not",
      (TOKENS + "without_postgresql_a_known_token_goes_on_for_a_quarter_of_an_hour",)),
    M("a change overwrites what another made meanwhile", "api/brands.py",
      "expected_version=version, **changes)", "expected_version=None, **changes)",
      (CATALOG + "the_second_of_two_changes_from_one_version_is_412_and_changes_nothing",)),
    M("a brand out of sight is told apart from one that is not there", "api/access.py",
      "    if brands is not None and brand_id not in brands:\n        raise NotFound(", "    if brands is not None and brand_id not in brands:\n        raise OutOfScope(",
      (CATALOG + "a_token_of_one_brand_sees_no_other",)),
    M("a forged cursor reaches PostgreSQL", "api/lists.py",
      " and all(map(_is_stored, place))\n", "\n",
      (CATALOG + "a_forged_cursor_and_a_nul_are_refused_before_postgresql_gets_them",)),
    M("the same request under its key runs again", "engine/ledger/idempotency.py",
      "        if conn.execute(_CLAIM, values).first() is not None:\n", "        if conn.execute(_CLAIM, values).first() is not None or True:\n",
      (CATALOG + "the_same_post_with_its_key_happens_once_and_gets_the_same_answer",)),
    M("each spend that a server refuses writes a line", "api/problems.py",
      "    if more is not None:\n", "    if True:\n",
      ("tests/faults/test_fault_06_refusing_api.py::test_many_spends_that_one_refusal_meets_write_one_line",)),
)
