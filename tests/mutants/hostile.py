"""Faults in what keeps a stranger from stopping others: locks that he keeps, sums that he plants, an older Redis that he puts back."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

LOCKS: Final = "tests/flows/test_held_locks.py::test_"
OLDER: Final = "tests/flows/test_older_plans.py::test_"
SUMS: Final = (
    "tests/live/test_odd_holds.py::test_a_sum_that_does_not_fit_its_holds_takes_the_shard_out_of_use_and_writes_nothing"
)
PROXIES: Final = "tests/web/test_proxies.py::test_"
THROTTLE: Final = "tests/web/test_throttle.py::test_"
REFUSING: Final = "tests/faults/test_fault_06_refusing_redis.py::test_fault_06_each_call_of_a_client_to_a_redis_that_refuses_names_what_to_repeat_and_the_repeat_counts_once"
REFUSING_API: Final = "tests/faults/test_fault_06_refusing_api.py::test_"
CONTROLS: Final = "tests/flows/test_restored_controls.py::test_"
GATE: Final = "tests/test_rq_gate.py::test_"

# fmt: off
HOSTILE: Final = (
    M("holds without their sum count against nothing", "lua/lib/holds.lua",
      "if brand.held == 0 then return holds == 'none' and expiry == 'none' end", "if brand.held == 0 then return true end",
      (SUMS,)),
    M("a hold ends before its own end says so", "lua/lib/holds.lua",
      "if not held or tonumber(expires) > now or", "if not held or",
      (SUMS,)),
    M("a release of more than is on hold opens the budget", "lua/holds.lua",
      "if short then return", "if false then return",
      (SUMS,)),
    M("a lease above what is on hold opens the budget", "lua/lease.lua",
      "if not add_held(brand, campaign_id, -before) then return invalidate_shard(shard_key, brand.key) end", "add_held(brand, campaign_id, -before)",
      (SUMS,)),
    M("a draw from more than is on hold opens the budget", "lua/lib/draw.lua",
      "if rest > brand.held then", "if false then",
      (SUMS,)),
    M("a brand that somebody keeps locked costs the others their status", "engine/flows/persist/loop.py",
      "        except LockHeld as some:\n", "        except ZeroDivisionError as some:\n",
      (LOCKS + "a_brand_that_somebody_keeps_locked_costs_its_own_status_and_persist_goes_on",)),
    M("a lock that a stranger keeps looks like work of ours", "engine/ledger/locks.py",
      "return any((row.kind, row.number, row.is_ours) == (kind, number, False) for row in holders)", "return False",
      (LOCKS + "work_that_waits_for_no_lock_tells_that_a_stranger_keeps_it",)),
    M("a shard that came back with older plans keeps them", "engine/flows/catalog/publish.py",
      "if had < wanted]", "if had < 0]",
      (OLDER + "a_limit_of_an_older_redis_is_replaced_with_the_next_second_not_with_the_next_check",)),
    M("each address of a network guesses by itself", "web/throttle.py",
      "IPv6Network((found, 64), strict=False)", "IPv6Network((found, 128), strict=False)",
      (THROTTLE + "the_many_addresses_of_one_ipv6_machine_are_one_guesser_and_a_mapped_address_is_the_same",)),
    M("whoever makes a cookie up takes the places of uploads", "web/guard.py",
      '"token" in kept or not of.now(look=False)', "True",
      ("tests/web/test_import_page.py::test_only_a_session_that_a_login_began_may_send_a_file_before_it_is_asked_who_it_is",)),
    M("a page that is nowhere is of this site", "web/guard.py",
      'return of != "" and of == asked.host.lower()', "return of in (\"\", asked.host.lower())",
      (PROXIES + "without_a_password_a_proxy_that_rewrites_host_lets_no_outsiders_page_change_a_budget",)),
    M("a job that does not read is begun again and again", "engine/doorbell.py",
      "if not sum(drop_unreadable(queue.connection, queue.name) for queue in queues):", "if True:",
      (GATE + "jobs_with_fields_that_do_not_read_are_set_aside_and_the_worker_goes_on_to_ours",)),
    M("a deadline that passes between two tries is the last that counts", "engine/client/aio/lanes.py",
      "deadline counts.\n            self.limit = None", "deadline counts.\n            pass",
      ("tests/faults/test_fault_06_refusing_redis.py::test_fault_06_a_caller_whose_time_ends_between_two_tries_leaves_the_others_their_own_deadlines",)),
    M("a hold without a reply does not name itself", "engine/client/holds.py",
      "nothing is counted twice\", self.own_id)", "nothing is counted twice\", \"\")",
      (f"{REFUSING}[NOREPLICAS-sync]",)),
    M("whoever sends spends over HTTP learns where Redis is", "api/problems.py",
      "            return Said(503, said, {\"request_id\"", "            return Said(503, str(error), {\"request_id\"",
      (REFUSING_API + "fault_06_a_503_over_http_names_what_to_repeat_and_no_server_and_the_repeat_counts_once[NOREPLICAS-thread]",)),
    M("whoever reads over HTTP learns where PostgreSQL is", "api/problems.py",
      "return Said(503, f\"{error.part} does not answer. Try again in a moment.\", {})", "return Said(503, str(error), {})",
      (REFUSING_API + "who_asks_over_http_does_not_learn_where_a_server_is_that_is_down[postgres]",)),
    M("a receiver counts an alert twice over a restore", "engine/ledger/webhooks.py",
      "    return f\"alert-{sha256(json.dumps(known).encode()).hexdigest()[:24]}-{what}\"", "    return f\"alert-{row.id}-{what}\"",
      (CONTROLS + "a_receiver_counts_each_alert_once_over_a_restore_and_misses_none_that_is_new",)),
    M("who undoes an operation that a restore lost undoes another", "engine/flows/catalog/publish.py",
      "        self._restored.skip_numbers()\n", "",
      (CONTROLS + "an_operation_that_a_restore_lost_leaves_its_number_to_no_other",)),
    M("of what a restore changed in a plan one thing is told", "engine/flows/catalog/publish.py",
      "[one.text for one in each]", "[each[-1].text]",
      (CONTROLS + "what_a_restore_loses_of_flights_limits_zones_and_brakes_is_told_and_no_other_inherits_it",)),
)
# fmt: on
