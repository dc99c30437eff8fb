"""Faults in the time zones of brands: whose day it is, when it ends, and that it never comes twice."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

FLOWS: Final = "tests/flows/test_zones.py::test_"
CLOCKS: Final = "tests/domain/test_zones.py::test_"
CATALOG: Final = "tests/ledger/test_zones.py::test_"
DEAD: Final = (
    FLOWS
    + "with_every_job_dead_over_both_dst_sundays_and_a_month_s_end_each_local_day_and_month_is_closed_once_and_right"
)

# fmt: off
LOCAL_DAYS: Final = (
    M("a brand's day closes at the midnight of UTC", "engine/flows/upkeep/zoned.py",
      "return brand.zones.clock", "return UTC",
      (FLOWS + "each_brand_s_day_ends_and_closes_at_its_own_midnight",)),
    M("a shard's day is closed when it has ended for its first brand", "engine/flows/upkeep/zoned.py",
      "if all(period in each for each in kept)", "if any(period in each for each in kept)",
      (FLOWS + "a_shard_s_day_is_closed_once_it_has_ended_for_its_last_brand",)),
    M("a brand that is closed already is closed again and again", "engine/flows/upkeep/zoned.py",
      "first_day = day_number(day) + 1 if day else", "first_day = day_number(day) if day else",
      (FLOWS + "a_shard_s_day_is_closed_once_it_has_ended_for_its_last_brand",)),
    M("a day goes back where clocks would take it back", "engine/domain/zones.py",
      "if (at + offset) // DAY_MS >= day else day * DAY_MS - offset", "",
      (CLOCKS + "another_zone_begins_at_the_next_midnight_of_the_old_one_and_no_day_comes_twice",)),
    M("a day comes twice while the new zone is more than a day behind", "engine/domain/zones.py",
      "offsets.append(offsets[-1] - DAY_MS)", "offsets.append(offsets[-1])",
      (CLOCKS + "another_zone_begins_at_the_next_midnight_of_the_old_one_and_no_day_comes_twice",)),
    M("another zone begins at once", "engine/domain/zones.py",
      "(kept.clock.next_day_ms(now_ms), name)", "(now_ms, name)",
      (CATALOG + "another_zone_begins_at_the_next_midnight_and_the_way_back_takes_it_off",)),
    M("a zone that comes too late takes back the day", "engine/flows/catalog/zones.py",
      "if wrong_ms is not None and wrong_ms <= now_ms + _MOMENT_MS:", "if False:",
      (FLOWS + "a_zone_that_redis_did_not_get_in_time_begins_later_and_no_day_goes_back",)),
    M("a text begins now, and today's midnight is lost", "engine/domain/zones.py",
      "first = bisect_right(clock.changes, self._begins_ms(ms))", "first = bisect_right(clock.changes, ms)",
      (CLOCKS + "the_text_begins_with_the_day_before_so_that_todays_midnight_can_be_told_from_it",)),
    M("a published zone is never written anew", "engine/flows/catalog/check.py",
      "    publisher.renew_zones()\n", "",
      (FLOWS + "a_check_keeps_the_published_zone_right_and_verify_names_one_that_is_not",)),
    M("verify takes a row on a day beside its brand's for right", "engine/ledger/audit_rows.py",
      "WHEN 'spend' THEN l.day <> {recorded} AND", "WHEN 'spend' THEN abs(l.day - {recorded}) > 1 AND",
      (FLOWS + "verify_names_a_row_that_is_not_on_its_brand_s_own_day",)),
    M("a schedule opens by the clocks of UTC in what is written", "engine/flows/catalog/status.py",
      "last_change_ms(now, brand.zone)", "last_change_ms(now)",
      (FLOWS + "a_campaign_that_waits_for_its_brand_s_midnight_is_paused_and_active_at_the_instants_of_its_clock",)),
    M("a brand's month ends with the day of UTC", "engine/domain/zone_text.py",
      "return month_of_date(date_of(self.day_of(ms)))", "return month_of_date(date_of(ms // DAY_MS))",
      (CLOCKS + "a_month_begins_on_the_local_first",)),
)
# fmt: on
