"""Faults in late spends, backfills and simulations of brands with time zones: which of their days are closed, and to which each is booked."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

REBUILT: Final = "tests/flows/test_zoned_late_spends.py::test_"
LIMITS: Final = "tests/flows/test_verify_limits.py::test_v3_"
SIMULATED: Final = "tests/domain/test_simulation.py::test_"
FILES: Final = "tests/cli/test_backfill_command.py::test_"
SAME_DAY: Final = REBUILT + "a_late_spend_of_a_zoned_brand_is_booked_to_the_same_local_day_before_and_after_a_rebuild"
STAYS_CLOSED: Final = (
    REBUILT + "a_rebuild_opens_no_day_that_is_closed_for_its_brand_while_the_shard_waits_for_a_later_zone"
)
OWN_LIMITS: Final = REBUILT + "after_a_rebuild_a_late_try_of_a_zoned_brand_meets_the_limits_at_the_end_of_its_local_day"

# fmt: off
ZONED_LATE: Final = (
    M("after a rebuild late spends of a zone are booked today", "lua/rebuild_finish.lua",
      "'late_from', whole(from) and from or text(now))", "'late_from', text(now))",
      (SAME_DAY + "[Europe/Berlin-unmarked]",)),
    M("after a rebuild late spends of a zone count to a day that is closed", "engine/flows/rebuild/contents.py",
      'fields += ["closed", str(late.closed[b.id])] if b.id in late.closed else []', "",
      (STAYS_CLOSED + "[Asia/Kolkata]",)),
    M("a rebuild opens a day that its shard has yet to close", "engine/flows/rebuild/late.py",
      "[*in_utc, *([day_number(of_shard)]", "[*([day_number(of_shard)]",
      (STAYS_CLOSED + "[None]",)),
    M("a rebuild forgets the counter of a zone's month before", "engine/flows/rebuild/contents.py",
      "if brand_id in takes_late and days[brand_id] == first", "if brand_id in takes_late and zones[brand_id] == Zone() and days[brand_id] == first",
      (SAME_DAY + "[Asia/Kolkata-wiped]",)),
    M("a rebuild takes the limits at midnight UTC for those of the brand's", "engine/flows/rebuild/late.py",
      "zones[brand_id].midnight_ms(day + 1)", "UTC.midnight_ms(day + 1)",
      (OWN_LIMITS + "[unmarked]",)),
    M("a rebuild does not wait for the close of a brand's day", "engine/ledger/day_ends.py",
      "LOCK TABLE period_total, shard_close IN", "LOCK TABLE shard_close IN",
      (REBUILT + "a_rebuild_waits_for_a_close_of_one_brand_that_is_under_way_and_locks_as_it_does",)),
    M("after a rebuild a day before the brand takes late spends", "engine/flows/rebuild/late.py",
      "zone.day_of(ms_of(brand.created_at)) - 1\n", "0\n",
      (REBUILT + "a_brand_that_was_made_today_takes_no_late_spends_of_yesterday_before_and_after_a_rebuild",)),
    M("the first day of a brand is never closed where its shard had closed it", "engine/flows/upkeep/zoned.py",
      "is_new, of_born = born > first[0] - NEW_DAYS,", "is_new, of_born = born >= first[0],",
      ("tests/flows/test_zones.py::test_the_first_day_of_a_brand_is_closed_also_where_its_shard_had_closed_that_day_before_it_was_made[False]",)),
    M("V3 takes the day of UTC for that of the brand", "engine/flows/verify/limits.py",
      "day = zone.date_of(ended_ms - 1)", "day = UTC.date_of(ended_ms - 1)",
      (LIMITS + "counts_the_brand_s_month_before_as_long_as_it_is_open[Pacific/Chatham]",
       LIMITS + "finds_a_late_try_beyond_the_budget_of_the_brand_s_day_before_and_not_beyond_todays[Asia/Kolkata]",
       LIMITS + "finds_a_late_try_beyond_the_budget_of_the_brand_s_day_before_and_not_beyond_todays[America/St_Johns]")),
    M("V3 forgets brands with time zones", "engine/flows/verify/limits.py",
      "            if day_number(last) < days[brand.id]:", "            if zone == UTC and day_number(last) < days[brand.id]:",
      (LIMITS + "finds_a_late_try_beyond_the_budget_of_the_brand_s_day_before_and_not_beyond_todays[Asia/Kolkata]",)),
    M("a spend is backfilled to the day of UTC", "engine/ledger/backfill.py",
      "coalesce(z.ahead, interval '0')", "interval '0'",
      (FILES + "each_spend_of_a_file_is_booked_to_the_day_that_its_own_brand_had_also_where_that_has_23_or_25_hours",)),
    M("a day that a brand still has is backfilled", "engine/ledger/backfill.py",
      "CASE WHEN closed >= born THEN born - 1 ELSE closed END", "closed",
      (FILES + "a_day_is_backfilled_once_it_is_closed_for_its_own_brand",)),
    M("a day of 25 hours is simulated by the curve of 24", "engine/views/simulations.py",
      "PPM if ms * DAY_MS >= LANDED_MS * length_ms else pace.due(begins_ms + ms, clock)", "PPM if ms >= LANDED_MS else pace.due(begins_ms + ms)",
      (SIMULATED + "a_day_that_clocks_make_longer_or_shorter_is_spread_to_its_own_end[day1-25]",)),
    M("tries of a file are simulated on the day of UTC", "engine/cli/simulate.py",
      "day = clock.day_of(ms_of(row.at))", "day = ms_of(row.at) // 86_400_000",
      ("tests/cli/test_simulate_command.py::test_days_and_hours_are_those_of_the_brand_s_clock_also_on_a_day_of_25_hours",)),
)
# fmt: on
