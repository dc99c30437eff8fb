"""What a brand spent a minute: for every kind of spend, in both forms of the log, and for eight days."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from engine import jobs
from engine.client.sync import Spend
from engine.domain.periods import DAY_MS, MINUTE_MS, at_ms, ms_of
from engine.ledger import migrate, minutes
from engine.wiring import System
from tests.flows.conftest import at
from tests.flows.test_both_forms import persisted_again
from tests.flows.test_late_spends import MIDNIGHT, persisted, with_grace
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_roll_ups import NINE, a_day_of_everything

TODAY, YESTERDAY = date(2037, 11, 23), date(2037, 11, 22)


def found(system: System) -> list[tuple[Any, ...]]:
    return rows(system, "SELECT day, brand_id, at, spend_micros FROM brand_minute ORDER BY 1, 2, 3")


def apart(system: System) -> list[Any]:
    """Brands and days whose minutes, rows and daily sums are not one sum."""
    return rows(
        system,
        "SELECT * FROM (SELECT brand_id, day, sum(spend_micros) AS micros FROM brand_minute GROUP BY 1, 2) AS m"
        " FULL JOIN (SELECT brand_id, day, sum(amount_micros) AS logged FROM spend GROUP BY 1, 2) AS l USING (brand_id, day)"
        " FULL JOIN (SELECT brand_id, day, sum(spend_micros) AS summed FROM campaign_day GROUP BY 1, 2) AS d USING (brand_id, day)"
        " WHERE micros IS DISTINCT FROM logged OR micros IS DISTINCT FROM summed",
    )


def test_each_spend_is_in_the_minute_in_which_it_happened_and_on_the_day_that_it_counts_to(clock: System) -> None:
    at(clock, NINE - DAY_MS)
    brand_id, (one, two) = brand_with_campaigns(clock, 2)
    clock.client.record_spend(one, "5", event_id="old")
    clock.persister.drain_all()
    at(clock, NINE)
    clock.client.record_spends([Spend(one, "1")] * 3)
    clock.client.record_spend(two, "2", event_id="win")
    at(clock, NINE + 1)
    clock.client.record_spend(two, "0.25")
    at(clock, NINE + MINUTE_MS)
    clock.client.record_spend(two, "0.5")
    clock.client.refund(two, "2", "win")
    clock.client.refund(one, "4", "old", spent_on=YESTERDAY)
    clock.persister.drain_all()
    assert clock.refund_desk.decide().approved == 1
    clock.persister.drain_all()
    first = datetime(2037, 11, 23, 9, 59, tzinfo=UTC)
    assert found(clock) == [
        (YESTERDAY, brand_id, datetime(2037, 11, 22, 9, 59, tzinfo=UTC), 5_000_000),
        # Taken back today, of yesterday's money.
        (YESTERDAY, brand_id, datetime(2037, 11, 23, 10, 0, tzinfo=UTC), -4_000_000),
        (TODAY, brand_id, first, 5_000_000),
        (TODAY, brand_id, datetime(2037, 11, 23, 10, 0, tzinfo=UTC), -1_250_000),
    ]
    assert apart(clock) == []
    with clock.db.connect() as conn:
        assert [micros for _, micros in minutes.of_day(conn, brand_id, TODAY)] == [5_000_000, -1_250_000]
        assert minutes.of_day(conn, brand_id + 1, TODAY) == []


def test_a_minute_grows_with_each_transaction_and_the_next_minute_of_its_hour_is_another(clock: System) -> None:
    at(clock, NINE - 10 * MINUTE_MS)
    brand_id, (one,) = brand_with_campaigns(clock)
    clock.client.record_spend(one, "1")
    clock.persister.drain_all()
    clock.client.record_spend(one, "2")
    at(clock, NINE - 9 * MINUTE_MS)
    clock.client.record_spend(one, "4")
    clock.persister.drain_all()
    with clock.db.connect() as conn:
        assert [micros for _, micros in minutes.of_day(conn, brand_id, TODAY)] == [3_000_000, 4_000_000]
    assert apart(clock) == []


@pytest.mark.parametrize("packed", [False, True])
def test_the_minutes_of_a_brand_add_up_to_its_rows_in_both_forms_of_the_log(clock: System, packed: bool) -> None:
    a_day_of_everything(clock)
    before = found(clock)
    assert before
    assert apart(clock) == []
    persisted_again(clock, packed=packed, first=1)
    assert found(clock) == before
    assert apart(clock) == []


def test_a_late_spend_is_in_the_minute_in_which_it_occurred(clock: System) -> None:
    brand_id, one = with_grace(clock)
    at(clock, MIDNIGHT + 1)
    clock.client.record_spend(one, "7", occurred_at=at_ms(MIDNIGHT - MINUTE_MS))
    clock.client.record_spend(one, "2", occurred_at=at_ms(MIDNIGHT - DAY_MS - 1))
    persisted(clock)
    today = at_ms(MIDNIGHT)
    assert found(clock) == [
        (at_ms(MIDNIGHT - 1).date(), brand_id, at_ms(MIDNIGHT - MINUTE_MS), 7_000_000),
        (today.date(), brand_id, today, 2_000_000),
    ]
    assert apart(clock) == []


def test_a_ledger_of_before_has_its_minutes_from_its_rows_after_the_migration(clock: System) -> None:
    a_day_of_everything(clock)
    before = found(clock)
    migrate.downgrade(clock.db, "0026")
    migrate.upgrade(clock.db)
    assert found(clock) == before


def test_minutes_go_after_eight_days_and_the_sums_of_their_days_stay(clock: System) -> None:
    a_day_of_everything(clock)
    kept = rows(clock, "SELECT * FROM campaign_day ORDER BY 1, 2")
    gone = [row for row in found(clock) if row[0] == YESTERDAY]
    at(clock, ms_of(datetime(2037, 11, 30, 23, 59, tzinfo=UTC)))
    assert jobs.tidy(clock)[2] == 0
    at(clock, ms_of(datetime(2037, 12, 1, tzinfo=UTC)))
    assert jobs.tidy(clock)[2] == len(gone) == 2
    assert {row[0] for row in found(clock)} == {TODAY}
    assert rows(clock, "SELECT * FROM campaign_day ORDER BY 1, 2") == kept
