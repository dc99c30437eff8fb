"""Faults in what a failover meets: another release's database, read-only servers, poolers, and commands that a provider refuses."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

REVISION: Final = "tests/cli/test_other_revision.py::test_"
READ_ONLY: Final = "tests/processes/test_read_only_servers.py::test_"
REFUSED: Final = "tests/live/test_refused_commands.py::test_"
WATCHED: Final = "tests/watch/test_watch_faults.py::test_"
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
    M("a transaction of a pooler waits for locks as long as it likes", "engine/ledger/pooler.py",
      "set_local.append(f\"SET LOCAL {name} = '{quoted}'\")", "set_local.append(f\"SET LOCAL {name} = '0'\")",
      (POOLER + "options_of_a_session_become_statements_of_a_transaction",)),
)
# fmt: on
