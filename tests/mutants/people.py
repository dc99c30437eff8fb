"""Faults in who may do what: a role or a brand's scope that is not asked for, and logins that outlive their end."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

ACCESS: Final = "tests/web/test_access.py::test_"
OIDC: Final = "tests/web/test_oidc.py::test_"
PEOPLE: Final = "tests/web/test_people.py::test_"
SCOPE: Final = "tests/web/test_scope.py::test_"

# fmt: off
LET_IN: Final = (
    M("an operator of one brand opens every brand's pages", "web/access.py",
      "        raise NotFound(f\"there is no {scope}", "        return NotFound(f\"there is no {scope}",
      (ACCESS + "a_brand_out_of_sight_is_answered_like_one_that_does_not_exist",)),
    M("a change asks for no more than the role that reads", "web/access.py",
      "    least = rule.read if method in SAFE_METHODS else rule.change\n    if least is not None and not person", "    least = rule.read\n    if least is not None and not person",
      (ACCESS + "a_role_may_do_what_lower_ones_may_and_no_more",)),
    M("an address without a row is open to every role", "web/access.py",
      "return TABLE.get(endpoint or \"\", ADMIN)", "return TABLE.get(endpoint or \"\", Rule(\"viewer\", \"viewer\"))",
      (ACCESS + "an_address_that_is_new_is_for_admins_until_it_has_a_row",)),
    M("a disabled user's session goes on", "engine/ledger/sessions.py",
      " AND u.disabled_at IS NULL\"", "\"",
      (PEOPLE + "a_session_whose_row_was_not_ended_opens_nothing_for_a_user_who_is_disabled",)),
    M("another password leaves the other sessions open", "engine/ledger/users.py",
      "        return sessions.end_of_user(conn, user_id, \"password\", but_session)", "        return 1",
      (PEOPLE + "another_password_ends_the_other_sessions_and_no_others",)),
    M("the shared password opens a user's name", "engine/flows/people.py",
      "        if found is None:\n            right", "        if person is None and not right:\n            right",
      (PEOPLE + "a_users_name_takes_his_own_password_and_every_other_name_the_shared_one",)),
    M("an unknown name is refused at once", "engine/flows/people.py",
      "(found is not None or self.exist()) and fits", "found is not None and fits",
      (PEOPLE + "an_unknown_name_takes_as_long_as_a_wrong_password",)),
    M("each process of the page counts wrong passwords by itself", "engine/ledger/logins.py",
      "                if new != old:", "                if new is None:",
      (PEOPLE + "wrong_passwords_count_in_every_process_of_the_page",)),
    M("sessions of a shared password that was taken away go on", "web/guard.py",
      "if password is None or not isinstance(proof, str) or not hmac", "if password is not None and not hmac",
      (PEOPLE + "the_shared_password_taken_away_ends_its_sessions_and_leaves_those_of_users",)),
    M("the trail shows every brand's changes", "engine/ledger/reports.py",
      "        conditions.append(_OF_BRANDS)", "        pass",
      (SCOPE + "who_sees_one_brand_finds_no_other_in_any_page_list_search_trail_or_error",)),
    M("the status page shows every brand", "engine/views/overview.py",
      "return found if within is None else [brand", "return found if True else [brand",
      (SCOPE + "who_sees_one_brand_finds_no_other_in_any_page_list_search_trail_or_error",)),
    M("figures that were shown last are those of another's brands", "web/last_shown.py",
      "return self._figures.get(scope)", "return next(iter(self._figures.values()), None)",
      (SCOPE + "what_one_viewer_was_shown_is_not_shown_to_one_who_sees_less_while_postgresql_is_away",)),
    M("a login with a provider may be ended in another browser", "web/oidc.py",
      "if not isinstance(kept, dict) or not hmac.compare_digest(state.encode(), str(kept.get(\"state\")).encode()):",
      "if not isinstance(kept, dict):",
      (OIDC + "a_code_is_good_once_in_the_browser_that_began_and_with_its_state",)),
    M("what the provider signed for another login counts for this one", "web/oidc.py",
      "nonce={\"essential\": True, \"value\": kept[\"nonce\"]},", "nonce={\"essential\": True},",
      (OIDC + "what_is_signed_for_another_login_client_or_time_gets_nobody_in",)),
    M("a browser is sent to the provider without the digest of a secret", "web/oidc.py",
      "                code_verifier=kept[\"verifier\"],\n            )\n        return str(url)", "            )\n        return str(url)",
      (OIDC + "a_browser_is_sent_with_state_nonce_and_the_digest_of_a_secret",)),
    M("a provider's user goes where a foreign link says", "web/oidc.py",
      "\"next\": local_path(request.args.get(\"next\")) or \"\"", "\"next\": request.args.get(\"next\") or \"\"",
      (OIDC + "next_leads_to_this_site_only_after_a_login_there_too",)),
    M("a disabled user comes in by the provider", "engine/flows/people.py",
      "return Tried(None if found.disabled else found.person, outcome)", "return Tried(found.person, outcome)",
      (OIDC + "whoever_has_no_group_is_disabled_or_has_anothers_name_does_not_come_in",)),
    M("a user who is shut out gets another role", "engine/ledger/users.py",
      "    if user.disabled_at is None:\n        user = change", "    if True:\n        user = change",
      (OIDC + "whoever_has_no_group_is_disabled_or_has_anothers_name_does_not_come_in",)),
    M("of several groups the brands of every role count", "engine/domain/people.py",
      "for each, brands in found if each == role]", "for each, brands in found]",
      (OIDC + "the_highest_role_counts_with_the_brands_of_all_groups_that_have_it",)),
    M("whoever lost his groups keeps his sessions", "engine/ledger/users.py",
      "            sessions.end_of_user(conn, id_, \"no role\")", "            pass",
      (OIDC + "who_lost_his_groups_is_out_everywhere_once_he_tries_again",)),
    M("a revoked token still opens", "engine/ledger/tokens.py",
      " AND revoked_at IS NULL\"", "\"",
      ("tests/ledger/test_tokens.py::test_a_revoked_token_opens_nothing_from_that_instant_and_stays_in_the_list",)),
    M("a token is stored as it is sent", "engine/ledger/tokens.py",
      "\"name\": name, \"hash\": hash_of(secret)", "\"name\": secret, \"hash\": hash_of(secret)",
      ("tests/ledger/test_tokens.py::test_the_database_has_no_token_that_could_be_sent",)),
    M("whoever is no admin reads which tokens there are", "engine/ledger/reports.py",
      "NOT IN ('user', 'token', 'alert', 'webhook')", "NOT IN ('user', 'alert', 'webhook')",
      ("tests/ledger/test_tokens.py::test_changes_of_tokens_are_for_admins",)),
)
# fmt: on
