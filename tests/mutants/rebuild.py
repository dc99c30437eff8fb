"""Faults in making a shard whole again, in repairing a counter, and in giving the scripts away: rebuild, reconcile, sweep, export."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

REBUILD: Final = "tests/flows/test_rebuild.py::test_"
BY_ITSELF: Final = "tests/flows/test_rebuild_by_itself.py::test_"
ONE_SHARD: Final = "tests/flows/test_one_bad_shard.py::test_"
HOLDS: Final = "tests/flows/test_holds_and_quarantine.py::test_"
VERIFY: Final = "tests/flows/test_verify.py::test_"
RECONCILE: Final = "tests/flows/test_reconcile.py::test_"
PROBE: Final = "tests/live/test_not_ready.py::test_"
RESTORED: Final = "tests/flows/test_restored_catalog.py::test_"
EXPORT: Final = "tests/live/test_export.py::test_"

# fmt: off
MADE_WHOLE: Final = (
    # PostgreSQL restored to an earlier state
    M("a restored catalog's word is under what Redis has", "engine/ledger/published.py",
      "SET version = greatest({entity}.version, given.ahead) + 1", "SET version = {entity}.version + 0",
      (RESTORED + "a_budget_changed_after_a_restore_is_the_one_that_redis_enforces",)),
    M("another plan under the same version is taken for the same", "lua/publish.lua",
      "elseif version < brand.version or brand.stops ~= stops or brand.zone_text ~= zone_text or has_other_limits()\n  or not same_steps(brand, n1, n2) or not same_cap(brand.carry, cap)\n  or not same_pacing(brand_key, brand.paced, brand_parts) then",
      "elseif version < brand.version then",
      (RESTORED + "a_budget_under_the_very_version_that_redis_has_with_another_content_is_enforced_too",)),
    M("a late publish raises the catalog's version", "engine/ledger/published.py",
      "ahead[id_].kept - (ahead[id_].sent < ahead[id_].kept)", "ahead[id_].kept",
      (RESTORED + "a_late_publish_of_an_older_plan_changes_neither_redis_nor_the_catalog",)),
    M("a brand is made without a look at Redis' ids", "engine/flows/catalog/manage.py",
      "self._free_ids(lambda: self._restored().before_a_brand())", "pass",
      (RESTORED + "a_new_brand_gets_no_id_that_a_lost_one_had_and_none_of_its_spend_and_budget",)),
    M("a rebuild forgets what only Redis knew", "engine/flows/rebuild/rebuilder.py",
      "            self._restored.take_back(shards)\n", "            pass\n",
      (RESTORED + "a_rebuild_after_a_restore_forgets_no_id",)),
    M("a check leaves plans that differ", "engine/flows/catalog/check.py",
      "mended = publisher.mend()", "mended = publisher._restored.take_back()",
      (RESTORED + "a_check_mends_a_campaign_that_was_switched_in_redis_by_hand",)),
    # The token, the mark and the journal
    M("a rebuild adds to the counters that stand there", "lua/rebuild_set.lua",
      "  if mode == 'replace' then redis.call('UNLINK', KEYS[i]) end\n"
      "  if count > 0 then redis.call(mode == 'score' and 'ZADD' or 'HSET', KEYS[i], unpack(ARGV, at + 1, at + count)) end\n",
      "  for j = at + 1, at + count, 2 do\n"
      "    local counter = mode == 'replace' and string.find(ARGV[j], '^[dm]:')\n"
      "    redis.call(mode == 'score' and 'ZADD' or counter and 'HINCRBY' or 'HSET', KEYS[i], ARGV[j], ARGV[j + 1])\n"
      "  end\n",
      (REBUILD + "a_rebuild_run_twice_changes_nothing",)),
    M("a slice is written under a token that is void", "lua/rebuild_set.lua",
      "if redis.call('HGET', shard_key, 'rebuilding') ~= token then return { 'taken' } end", "",
      (REBUILD + "a_rebuild_whose_token_is_void_writes_no_slice_and_no_mark",)),
    M("a mark is written under a token that is void", "lua/rebuild_finish.lua",
      "if redis.call('HGET', shard_key, 'rebuilding') ~= token then return { 'taken' } end", "",
      (REBUILD + "a_rebuild_whose_token_is_void_writes_no_slice_and_no_mark",)),
    M("a mark is written over entries that are not persisted", "lua/rebuild_finish.lua",
      "if not last or last[1] ~= last_id then", "if not last then",
      (REBUILD + "no_mark_is_written_over_an_entry_that_is_not_persisted",)),
    M("a shard takes spends while it is rebuilt", "lua/rebuild_begin.lua",
      "redis.call('HDEL', shard_key, 'mark')\n", "",
      (REBUILD + "a_shard_that_is_being_rebuilt_takes_no_spend",)),
    M("another instance's shard is rebuilt", "lua/rebuild_begin.lua",
      "if owner and owner ~= instance and take_over ~= '1' then", "if false then",
      (REBUILD + "another_instances_redis_is_never_rebuilt",)),
    M("a rebuild brings back counters of a closed day", "engine/flows/rebuild/contents.py",
      "ended.get(brand_id, 0) < number == days[brand_id] - 1", "number == days[brand_id] - 1",
      (REBUILD + "a_rebuild_brings_back_no_counter_of_a_closed_day_which_no_close_would_remove_again",)),
    M("a rebuilt shard's time may go back", "engine/flows/rebuild/rebuilder.py",
      "floor = max(0 if how.accept_clock else has.last_ms, last_entry_ms, min(kept_now, has.now))", "floor = 0",
      (REBUILD + "a_rebuilt_shards_time_goes_on_from_its_last_entry",)),
    M("what is left of the journal is thrown away", "engine/flows/rebuild/salvage.py",
      "    if has_journal:\n", "    if False:\n",
      (REBUILD + "a_lost_key_is_brought_back_and_what_was_still_in_the_journal_is_persisted_first",)),
    M("a journal that was lost is told to nobody", "engine/flows/rebuild/rebuilder.py",
      "            carried.unknown,\n", "",
      (BY_ITSELF + "a_lost_journal_is_reported_with_the_last_number_that_postgresql_has",)),

    # What comes back
    M("a rebuilt counter forgets what lies in quarantine", "engine/flows/rebuild/contents.py",
      "totals[key] = totals.get(key, 0) + micros", "totals[key] = totals.get(key, 0)",
      (HOLDS + "a_rebuild_counts_what_lies_in_quarantine",)),
    M("a rebuilt month begins today", "engine/flows/rebuild/contents.py",
      "if number >= befores[brand_id]:", "if number >= days[brand_id]:",
      (VERIFY + "a_correction_of_yesterday_is_not_in_yesterdays_counter_after_a_rebuild_before_its_close",)),
    M("a rebuilt shard has no yesterday to close", "engine/flows/rebuild/contents.py",
      "or ended.get(brand_id, 0) < number == days[brand_id] - 1", "",
      (VERIFY + "a_correction_of_yesterday_is_not_in_yesterdays_counter_after_a_rebuild_before_its_close",)),
    M("a correction of yesterday is in yesterday's rebuilt counter", "engine/flows/rebuild/contents.py",
      "micros - corrected.get((brand_id, campaign_id, on), 0)", "micros",
      (VERIFY + "a_correction_of_yesterday_is_not_in_yesterdays_counter_after_a_rebuild_before_its_close",)),
    M("a rebuild forgets calls of which not all was counted", "engine/flows/rebuild/memories.py",
      'requests[item.request_id] = f"{item.digest} {pack(codes)}"', "pass",
      (REBUILD + "calls_and_win_notices_from_before_are_still_known_after_a_rebuild",)),
    M("a rebuild remembers win notices for the calls' window", "engine/flows/rebuild/memories.py",
      "max(now - windows.event_ms, since_ms)", "max(now - windows.request_ms, since_ms)",
      (REBUILD + "a_rebuild_remembers_win_notices_for_their_own_window",)),
    M("a rebuild forgets open holds", "engine/flows/rebuild/rebuilder.py",
      "held = holds.open_holds(conn, ids)", "held: list[HoldRow] = []",
      (HOLDS + "a_rebuild_restores_open_holds_their_expiry_and_the_ends_of_the_others",)),
    M("a rebuild forgets how holds ended", "engine/flows/rebuild/memories.py",
      "for ended in holds.ended_since(conn, brand_ids, events_since):", "for ended in holds.ended_since(conn, [], events_since):",
      (HOLDS + "a_rebuild_restores_open_holds_their_expiry_and_the_ends_of_the_others",)),
    M("a rebuilt registry forgets which campaigns were published", "engine/flows/rebuild/contents.py",
      "registry += [str(b.id), str(highest.get(b.id, 0))]", 'registry += [str(b.id), "0"]',
      (REBUILD + "a_campaign_lost_after_a_rebuild_is_lost_and_not_unknown",)),

    # Reconcile and sweep
    M("a difference is added once more instead of taken off", "engine/flows/verify/reconcile.py",
      "shard, off.key, off.field, -off.apart, name", "shard, off.key, off.field, off.apart, name",
      (RECONCILE + "each_difference_is_added_once_and_kept_as_a_correction",)),
    M("a dry run repairs", "engine/flows/verify/reconcile.py",
      "if not dry_run:", "if True:",
      (RECONCILE + "a_dry_run_says_what_it_would_add_and_adds_nothing",)),
    M("rows that vanished are taken off the counter", "engine/flows/verify/reconcile.py",
      "if off.owner.brand_id in self._ledger_off:", "if False:",
      (RECONCILE + "rows_that_vanished_from_the_log_are_not_taken_off_the_counter",)),
    M("a counter is repaired by a journal with a gap", "engine/flows/verify/reconcile.py",
      "for reason in self._hindrances(shard) if found else ():", "for reason in ():",
      (RECONCILE + "a_gap_in_the_journal_is_named_and_nothing_is_repaired",)),
    M("a sweep ends fifty holds of a brand and leaves the rest", "engine/flows/upkeep/sweep.py",
      "for _ in range(_ROUNDS):", "for _ in range(1):",
      (RECONCILE + "the_sweep_ends_every_expired_hold_of_brands_that_nobody_calls_for",)),
    M("a shard's own key that nobody touches is never looked at", "lua/probe.lua",
      "if guard ~= 1 then return invalidate_shard(shard_key, key) end", "",
      (BY_ITSELF + "a_key_that_nobody_touches_is_found_lost_by_the_sweep_and_its_shard_rebuilt",
       PROBE + "a_probe_finds_a_shards_own_key_lost_though_no_call_needs_it[deleted-older requests]")),
    M("holds that nobody touches are never looked at", "lua/probe.lua",
      "local plans, lost = read_plans(shard.now)", "local plans, lost = { brands = {} }, nil",
      (PROBE + "a_probe_finds_a_brand_or_its_holds_lost_though_nobody_calls_for_it[wrong type-holds]",)),
    M("a campaign that a check misses is taken for one that is not published yet", "engine/flows/catalog/status.py",
      "if (causes := live[brand_id]) is None or len(causes.masks) < last", "if (causes := live[brand_id]) is None",
      (BY_ITSELF + "a_campaign_that_nobody_spends_for_is_found_lost_by_the_check[deleted]",)),
    M("a campaign that is not published yet is taken for one that was lost", "lua/lib/call.lua",
      "(not campaign and ordinal <= (published(brand_id) or 0))", "not campaign",
      (BY_ITSELF + "a_check_takes_no_shard_out_of_use_for_a_campaign_that_is_not_published_yet",)),

    # Export
    M("an export writes over files that are not ours", "engine/live/export.py",
      "earlier.get(name) != _sha1(standing)", "name in earlier",
      (EXPORT + "a_file_that_is_not_ours_stays_and_nothing_is_written[trim.lua]",)),
    M("an export writes over files that somebody changed", "engine/live/export.py",
      "earlier.get(name) != _sha1(standing)", "name not in earlier",
      (EXPORT + "an_exported_file_that_somebody_changed_stays",)),
)
# fmt: on
