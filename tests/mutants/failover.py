"""Faults in what a failover meets: another release's database, read-only servers, poolers, and commands that a provider refuses."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

REVISION: Final = "tests/cli/test_other_revision.py::test_"
READ_ONLY: Final = "tests/processes/test_read_only_servers.py::test_"
REFUSED: Final = "tests/live/test_refused_commands.py::test_"
WATCHED: Final = "tests/watch/test_watch_faults.py::test_"
RESENT: Final = "tests/flows/test_resend.py::test_"
REPLICAS: Final = "tests/cluster/test_waiting_for_replicas.py::test_"
POOLER: Final = "tests/processes/test_pooler.py::test_"

# fmt: off
FAILED_OVER: Final = (
    M("a command of another release begins", "engine/cli/group.py",
      "if not self.any_revision:", "if False:",
      (REVISION + "no_command_writes_into_a_database_of_another_revision[9999-upgrade the program]",)),
    M("a transaction of another release writes", "engine/ledger/database.py",
      "        revision.check_in(connection)\n        yield connection", "        yield connection",
      (REVISION + "a_job_that_is_at_work_while_the_database_is_migrated_writes_nothing_more",)),
    M("a PostgreSQL that takes no writes passes for well", "engine/views/health.py",
      "if not takes_writes(conn):", "if False:",
      (READ_ONLY + "a_database_that_was_set_read_only_is_down_too",)),
    M("a replica passes for well", "engine/views/health.py",
      "if plain is not None and is_replica(plain):", "if False:",
      (READ_ONLY + "a_redis_that_is_a_read_only_replica_is_down_for_readyz",)),
    M("a refused SCRIPT LOAD is the end", "engine/live/transport/loading.py",
      "if not is_refused(refusal):", "if True:",
      (REFUSED + "spends_are_counted_where_script_load_is_refused",)),
    M("a watch that reads nothing tries as if it did", "engine/client/watch/watch.py",
      "tries = 0 if self._whole else tries + 1", "tries = 0",
      (WATCHED + "a_login_whose_scripts_are_refused_gets_a_line_now_and_then_and_not_twenty_a_second",)),
    M("fewer replicas than asked for are enough", "engine/live/transport/held.py",
      "return type(reply) is int and reply >= replicas", "return type(reply) is int and reply >= 0",
      (REPLICAS + "an_absent_replica_is_said_and_more_replicas_than_there_are_as_well",)),
    M("a closed client drops what was lost", "engine/client/resend.py",
      "            self._look_for_the_last_time()\n", "",
      (RESENT + "a_client_that_is_closed_right_after_a_loss_sends_its_calls_again_first",)),
    M("a closed client does not wait for a rebuild", "engine/client/kept.py",
      "if shard.suspect or shard.checked_at is None\n        )", "if shard.suspect\n        )",
      (RESENT + "a_client_that_is_closed_while_its_shard_is_lost_waits_for_the_rebuild",)),
    M("a closed asyncio client drops what was lost", "engine/client/aio/resend.py",
      "                await self._check()\n            except Exception:  # what is open",
      "                pass\n            except Exception:  # what is open",
      (RESENT + "an_asyncio_client_that_is_closed_right_after_a_loss_sends_its_calls_again_first",)),
    M("a call is kept after its replica was waited for", "engine/client/sync.py",
      "        if keep_s:\n            wire = ResendingTransport(wire, keep_s)\n",
      "        if keep_s:\n            return cls(ResendingTransport(WaitingTransport(wire, replicas), keep_s), timeout_ms)\n",
      (REPLICAS + "a_call_is_kept_before_its_replica_is_waited_for",)),
    M("a connection whose WAIT is not answered is used again", "engine/live/transport/held.py",
      "                link.drop()  # its reply may still come\n", "                pool.give(link)\n",
      (REPLICAS + "a_frozen_replica_delays_a_spend_to_its_deadline_and_the_spend_counts_once",)),
    M("a spend that no replica confirmed is sent again", "engine/client/waiting.py",
      "            held.confirm(self._replicas, deadline)\n            return replies\n",
      "            held.confirm(self._replicas, deadline)\n"
      "            return replies if all(c.replicated for c in calls) else self._inner.call_all(calls, timeout_s, away_after_s)\n",
      (REPLICAS + "a_frozen_replica_delays_a_spend_to_its_deadline_and_the_spend_counts_once",)),
    M("awaited spends are given before their replicas were waited for", "engine/client/aio/lanes.py",
      "                    waited.heard = reply\n", "                    self._answer(waited, reply)\n",
      (REPLICAS + "awaited_spends_say_so_too_and_one_question_serves_all_of_a_round_trip",)),
    M("what was refused is sent again", "engine/client/kept.py",
      "any(letter in letters for letter in outcomes)", "bool(letters)",
      (RESENT + "a_question_that_was_refused_is_not_sent_again_when_there_is_room[False]",)),
    M("a call that was refused in part is sent again whole", "engine/client/kept.py",
      "if len(counted) < len(outcomes):", "if False:",
      (RESENT + "a_question_that_was_refused_is_not_sent_again_when_there_is_room[False]",)),
    M("doctor waits for a node that hangs again and again", "engine/views/doctor/examine.py",
      "        live.known_silent(hot.silent, _RUN_S)\n        plain.known_silent(hot.silent, _RUN_S)\n", "",
      ("tests/cluster/test_system.py::test_one_node_away_stops_no_other_shard_and_is_named",)),
    M("a transaction of a pooler waits for locks as long as it likes", "engine/ledger/pooler.py",
      "set_local.append(f\"SET LOCAL {name} = '{quoted}'\")", "set_local.append(f\"SET LOCAL {name} = '0'\")",
      (POOLER + "options_of_a_session_become_statements_of_a_transaction",)),
)
# fmt: on
