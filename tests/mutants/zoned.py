"""Faults in time zones: in the day of a brand, its hours, its pace, its journal, its rebuild, its watch."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

LIVE: Final = "tests/live/test_zones.py::test_"
PLANS: Final = "tests/live/test_zone_plans.py::test_"
WHOLE: Final = "tests/flows/test_zoned_journal.py::test_"
DAY: Final = LIVE + "a_day_and_its_month_begin_at_the_midnight_of_the_brand_and_not_a_millisecond_before"
HOURS: Final = LIVE + "hours_open_and_close_by_the_clock_of_the_brand"
PACE: Final = LIVE + "a_pace_is_spread_over_the_whole_of_the_brand_s_day_of_23_24_or_25_hours"
REFUND: Final = LIVE + "a_refund_gives_money_back_on_the_brand_s_own_day_of_the_spend"
SAME_AS_SLOW: Final = (
    "tests/live/test_fast_paths.py::test_a_fast_path_of_a_brand_with_a_time_zone_does_what_the_slow_path_does"
)
ROWS: Final = WHOLE + "rows_and_sums_of_days_and_hours_are_those_of_the_brand"
REBUILT: Final = WHOLE + "a_rebuild_has_the_zone_and_the_counters_of_the_brand_s_own_day_and_month"

# fmt: off
ZONED: Final = (
    M("a brand with a zone counts on the day of UTC", "lua/lib/plan.lua",
      "if own_day ~= day then", "if false then",
      (DAY + "[Berlin in summer-a batch]",)),
    M("the fast path of one spend knows no zones", "lua/lib/fast_single.lua",
      "if with_control and brand[#brand] then", "if false then",
      (DAY + "[Berlin in summer-alone]",)),
    M("the fast path of batches knows no zones", "lua/lib/fast_packed.lua",
      "if brands and brands[1] then day, month = brands[1].day, brands[1].month end", "",
      (DAY + "[Berlin in summer-packed]",)),
    M("by the fast path of one spend, hours open by the clock of UTC", "lua/lib/fast_single.lua",
      "    local now = local_now\n", "",
      (HOURS + "[alone-Europe/Berlin-opens0-closes0]",)),
    M("by the fast path of batches, hours open by the clock of UTC", "lua/lib/fast_packed.lua",
      "brand.local_now or now", "now",
      (HOURS + "[packed-Europe/Berlin-opens0-closes0]",)),
    M("by the fast path of batches, the journal does not tell the offset", "lua/lib/fast_packed.lua",
      "moved, steps and steps.add_zones(entry, by_id, now) or '2')", "moved, '2')",
      (SAME_AS_SLOW + "[Asia/Kolkata]",)),
    M("by the fast path of batches, events are kept with the caller's day", "lua/lib/fast_packed.lua",
      "if text(day) ~= utc then", "if false then",
      (LIVE + "an_event_is_kept_with_the_day_of_the_brand_by_whatever_path_it_came[packed with event ids]",)),
    M("by the fast path of batches, brands on two days count on that of the first", "lua/lib/fast_packed.lua",
      "or (brands[1] and brand.day ~= brands[1].day) then", "then",
      (LIVE + "a_packed_batch_of_brands_on_two_days_counts_to_the_day_of_each",)),
    M("hours open by the clock of UTC", "lua/lib/plan.lua",
      "local at = local_ms(brand.zone, now)", "local at = now",
      (HOURS + "[alone-Europe/Berlin-opens0-closes0]",)),
    M("a day begins by the offset before it changed", "lua/lib/local_day.lua",
      "if wanted - zone[1] < zone[2] then return wanted - zone[1] end", "do return wanted - zone[1] end",
      (PACE + "[day0-23]", PACE + "[day1-25]")),
    M("every day has 24 hours", "lua/lib/local_day.lua",
      "return now - begins, day_begins(zone, day + 1) - begins", "return now - begins, DAY_MS",
      (PACE + "[day0-23]", PACE + "[day1-25]")),
    M("an event is kept with the day of UTC", "lua/lib/by_one.lua",
      "if brand.zone then targets[i].of_day", "if false then targets[i].of_day",
      (REFUND + "[St Johns in summer-a batch with event ids]",)),
    M("a packed batch keeps its events with the caller's day", "lua/lib/charge.lua",
      "if campaign.flight or campaign.zone then", "if campaign.flight then",
      (REFUND + "[St Johns in summer-packed with event ids]",)),
    M("the journal does not tell the offset", "lua/lib/zone_entry.lua",
      "if not told[1] then return nil end", "do return nil end",
      (PLANS + "a_brand_without_a_zone_beside_one_with_keeps_the_day_of_utc",)),
    M("a malformed zone is UTC", "lua/lib/plan.lua",
      "    if not zone then return false end\n    local_now", "    zone = zone or { 0, math.huge, 0, math.huge, 0 }\n    local_now",
      (PLANS + "a_malformed_zone_takes_the_shard_out_of_use_before_any_money_moves[x]",)),
    M("another zone takes a day back", "lua/publish.lua",
      "if day_of(local_ms(zone, shard.now)) < brand.day then", "if false then",
      (PLANS + "a_zone_by_which_the_day_would_go_back_is_refused_and_changes_nothing",)),
    M("counters of a day that goes on are pruned", "lua/prune.lua",
      "if shard.layout == LAYOUT then return nil end", "do return nil end",
      (PLANS + "counters_of_a_brand_whose_day_goes_on_are_not_pruned",)),
    M("late spends count to a day that ended before the grace", "lua/lib/grace.lua",
      "and day > last and ends > since or false", "and day > last or false",
      (PLANS + "no_late_spend_counts_to_a_day_that_ended_before_there_was_a_grace_or_a_zone",)),
    M("a campaign's counter is corrected on the day of UTC", "engine/live/repair.py",
      'if kind == "campaign" else (hash_key,)', 'if kind == "" else (hash_key,)',
      (PLANS + "a_counter_of_a_zoned_brand_s_campaign_is_corrected_on_the_brand_s_day",)),
    M("persist books spends to the day of UTC", "engine/live/journal.py",
      "day=self._own_day(int(campaign)) if booked is None else booked,", "day=booked,",
      (ROWS + "[Europe/Berlin]",)),
    M("sums have the hour of UTC", "engine/flows/persist/posting.py",
      "ahead = timedelta(milliseconds=offset)", "ahead = timedelta()",
      (ROWS + "[Europe/Berlin]",)),
    M("a rebuild forgets the zones of brands", "engine/flows/rebuild/contents.py",
      'fields += ["zone", b.zone] if b.zone else []', "",
      (REBUILT + "[Europe/Berlin]",)),
    M("a rebuild takes the day after a brand's own for its day", "engine/flows/rebuild/contents.py",
      "days = {brand_id: zone.day_of(now) for brand_id, zone in zones.items()}",
      "days = {brand_id: zone.day_of(now) + 1 for brand_id, zone in zones.items()}",
      (REBUILT + "[Europe/Berlin]",)),
    M("a lifetime budget begins with the months before that of UTC", "engine/flows/catalog/publish.py",
      "month = Zone.parse(brand.zone).month_of(brought.now_ms)", "month = Zone.parse(None).month_of(brought.now_ms)",
      (WHOLE + "a_lifetime_budget_begins_with_the_months_before_the_brand_s_own",)),
    M("a watch frees budgets at midnight UTC", "engine/client/watch/eligibility.py",
      "return brand.zone.day_of(self._now_ms), brand.zone.month_of(self._now_ms)", "return self._day, self._month",
      ("tests/watch/test_watch_time.py::test_a_brand_s_own_midnight_frees_its_day_and_opens_its_hours_with_nobody_saying_so[Europe/Berlin]",)),
)
# fmt: on
