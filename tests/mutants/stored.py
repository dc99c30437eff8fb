"""Faults in how stored values and journal entries are read: what opens a budget, and what stops a shard, persist or a rebuild for good."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

LIMITS: Final = "tests/live/test_odd_limits.py::test_"
OUT: Final = "tests/flows/test_ways_out.py::test_"
BYTES: Final = "tests/fuzz/test_fuzz_entries.py::test_no_bytes_in_a_journal_entry_stop_persist_a_rebuild_or_verify"
SELDOM: Final = "tests/faults/test_odd_controls.py::test_a_number_of_a_shard_that_calls_seldom_read_is_found_by_the_sweep_and_a_rebuild_writes_it_anew"

# fmt: off
READ: Final = (
    M("a limit of letters is no limit", "lua/lib/stored.lua",
      "return value == '' or whole(value) ~= nil\nend\n\n-- Whether this is the instant", "return true\nend\n\n-- Whether this is the instant",
      (LIMITS + "a_limit_that_is_no_number_counts_nothing_on_any_path_and_takes_its_shard_out_of_use",)),
    M("the fast path takes a limit of letters for none", "lua/lib/fast_single.lua",
      "  , '^%d*$') then break end", "  , '') then break end",
      (LIMITS + "a_limit_that_is_no_number_counts_nothing_on_any_path_and_takes_its_shard_out_of_use",)),
    M("a journal number may be any number", "lua/lib/stored.lua",
      "return number <= MAX_TOTAL and number or nil\nend\n\n-- A counter", "return number\nend\n\n-- A counter",
      (OUT + "a_journal_number_that_no_double_holds_takes_its_shard_out_of_use_and_a_rebuild_brings_it_back",)),
    M("a grace of letters stays where it is", "lua/probe.lua",
      "  if value and not whole(value) then return invalidate_shard(shard_key, SHARD_NUMBERS[i]) end\n", "",
      (SELDOM,)),
    M("a rebuild leaves a grace of letters", "lua/rebuild_finish.lua",
      "  if value and not whole(value) then redis.call('HDEL', shard_key, name) end\n", "",
      (SELDOM,)),
    M("a call may have the keys of two shards", "lua/lib/shard.lua",
      "if string.sub(KEYS[i], 1, #tag) ~= tag then", "if false then",
      (OUT + "the_keys_of_two_shards_in_one_call_are_refused_and_nothing_is_written",)),
    M("by the fast path of one spend, the holds may be another shard's", "lua/lib/fast_single.lua",
      "if is_try and (holds_key ~= prefix", "if is_try and false and (holds_key ~= prefix",
      (OUT + "the_keys_of_two_shards_in_one_call_are_refused_and_nothing_is_written",)),
    M("a rebuild keeps a journal that ends in the future", "engine/flows/rebuild/salvage.py",
      "if ms_of_entry(entry_id) > clock_ms + CLOCK_SLACK_MS:", "if False:",
      (OUT + "an_entry_of_the_future_in_a_journal_is_left_behind_by_a_rebuild_and_no_spend_is_lost",)),
    M("a rebuild does not ask whether its shard answers", "engine/flows/rebuild/rebuilder.py",
      "        self._prove(shard)\n", "",
      (OUT + "a_clock_that_was_a_day_ahead_and_came_back_is_accepted_by_name_and_the_day_goes_on",)),
    M("days that a wrong clock closed stay closed", "engine/flows/rebuild/rebuilder.py",
      "            self._reopen(shard, clock_ms)\n", "            pass\n",
      (OUT + "a_clock_that_was_a_day_ahead_and_came_back_is_accepted_by_name_and_the_day_goes_on",)),
    M("what counted in a day to come is forgotten by a rebuild", "engine/flows/rebuild/contents.py",
      "zone.day_of(max(now, last_ms))", "zone.day_of(now)",
      (OUT + "a_clock_that_was_a_day_ahead_and_came_back_is_accepted_by_name_and_the_day_goes_on",)),
    M("entries are posted without a look at their values", "engine/flows/persist/entry_laws.py",
      "    _check_spends(entry)\n    for step", "    for step",
      (BYTES,)),
)
