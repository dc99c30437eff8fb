"""The hours of a day add up to the day: for spends, refunds, corrections, salvaged entries and those that come back from quarantine."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import text

from engine.client.sync import Spend
from engine.domain.periods import DAY_MS, HOUR_MS, ms_of
from engine.ledger import migrate, reports
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.flows.conftest import at, rows_only
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_verify import failed

NINE = ms_of(datetime(2037, 11, 23, 9, 59, 59, 999_000, tzinfo=UTC))
TODAY, YESTERDAY = date(2037, 11, 23), date(2037, 11, 22)


def hours(system: System) -> list[tuple[Any, ...]]:
    return rows(system, "SELECT day, campaign_id, hour, spend_micros, spends FROM campaign_hour ORDER BY 1, 2, 3")


def apart(system: System) -> list[Any]:
    """Campaigns and days whose hours, day and rows are not one sum."""
    return rows(
        system,
        "SELECT * FROM (SELECT campaign_id, day, sum(spend_micros) AS micros, sum(spends) AS spends FROM campaign_hour GROUP BY 1, 2) AS h"
        " FULL JOIN (SELECT campaign_id, day, spend_micros, spends FROM campaign_day) AS d USING (campaign_id, day)"
        " FULL JOIN (SELECT campaign_id, day, sum(amount_micros) AS logged, count(*) FILTER (WHERE amount_micros > 0) AS counted"
        " FROM spend GROUP BY 1, 2) AS l USING (campaign_id, day)"
        " WHERE (micros, h.spends) IS DISTINCT FROM (spend_micros, d.spends) OR (micros, h.spends) IS DISTINCT FROM (logged, counted)",
    )


def a_day_of_everything(clock: System) -> tuple[int, int, int]:
    """A spend of yesterday, then calls of two hours, packed and plain, a hold, a refund of today and one of yesterday."""
    at(clock, NINE - DAY_MS)
    brand_id, (one, two) = brand_with_campaigns(clock, 2)
    clock.client.record_spend(one, "5", event_id="old")
    clock.persister.drain_all()
    at(clock, NINE)
    clock.client.record_spends([Spend(one, "1")] * 3)
    clock.client.record_spend(two, "2", event_id="win")
    at(clock, NINE + 1)
    clock.client.record_spends([Spend(one, "0.5")] * 2)
    clock.client.settle(clock.client.reserve(two, "4", 600).hold_id, "3")
    clock.client.refund(two, "2", "win")
    clock.client.refund(one, "4", "old", spent_on=YESTERDAY)
    clock.persister.drain_all()
    assert clock.refund_desk.decide().approved == 1
    clock.persister.drain_all()
    return brand_id, one, two


def test_each_spend_is_summed_in_its_hour_and_what_is_taken_from_an_earlier_day_in_that_days_last(
    clock: System,
) -> None:
    brand_id, one, two = a_day_of_everything(clock)
    assert hours(clock) == [
        (YESTERDAY, one, 9, 5_000_000, 1),
        (YESTERDAY, one, 23, -4_000_000, 0),
        (TODAY, one, 9, 3_000_000, 3),
        (TODAY, one, 10, 1_000_000, 2),
        (TODAY, two, 9, 2_000_000, 1),
        (TODAY, two, 10, 1_000_000, 1),
    ]
    assert apart(clock) == []
    assert [(h.hour, h.spend_micros, h.spends) for h in reports.brand_hours(clock.db, brand_id, TODAY)] == [
        (9, 5_000_000, 4),
        (10, 2_000_000, 3),
    ]
    assert reports.brand_hours(clock.db, brand_id + 1, TODAY) == []


def test_one_hour_that_is_wrong_fails_v2_by_exactly_that(clock: System) -> None:
    a_day_of_everything(clock)
    clock.closer.close_ended()
    clock.status.refresh_all()
    assert failed(clock) == {}
    with clock.db.begin() as conn:
        conn.execute(text("UPDATE campaign_hour SET spend_micros = spend_micros - 17 WHERE hour = 10 AND spends = 2"))
    assert failed(clock) == {"V2": 17}
    with clock.db.begin() as conn:
        conn.execute(text("DELETE FROM campaign_hour WHERE hour = 10 AND spends = 2"))
    assert failed(clock) == {"V2": 1_000_000}


def test_a_ledger_of_before_has_its_hours_from_its_rows_after_the_migration(clock: System) -> None:
    a_day_of_everything(clock)
    before = hours(clock)
    migrate.downgrade(clock.db, "0003")
    migrate.upgrade(clock.db)
    assert hours(clock) == before
    clock.client.record_spend(before[0][1], "1")
    clock.persister.drain_all()
    assert apart(clock) == []


@rows_only
def test_what_is_salvaged_or_comes_back_from_quarantine_is_in_its_own_hour(clock: System) -> None:
    at(clock, NINE)
    brand_id, (one,) = brand_with_campaigns(clock)
    clock.client.record_spend(one, "1")
    clock.persister.drain_all()
    with clock.db.begin() as conn:
        conn.execute(text("ALTER TABLE spend_log ADD CONSTRAINT no_threes CHECK (amount_micros <> 3000000)"))
    clock.client.record_spend(one, "3")
    clock.client.record_spend(one, "2")
    assert clock.persister.drain_all().quarantined == 1
    assert apart(clock) == []
    with clock.db.begin() as conn:
        conn.execute(text("ALTER TABLE spend_log DROP CONSTRAINT no_threes"))
    # The journal of an older Redis: its entry does not join on, and is salvaged an hour later.
    at(clock, NINE + 1)
    clock.client.record_spend(one, "7")
    clock.hot_redis.hset(keys_of_brand(brand_id).shard, "n", 40)
    at(clock, NINE + HOUR_MS)
    clock.client.record_spend(one, "8")
    clock.persister.drain_all()
    at(clock, NINE + 2 * HOUR_MS)
    clock.rebuilder.rebuild([brand_id])
    assert set(clock.quarantined.retry_all("anna")[0].values()) == {1}
    assert hours(clock) == [
        (TODAY, one, 9, 6_000_000, 3),
        (TODAY, one, 10, 15_000_000, 2),
    ]
    assert apart(clock) == []
