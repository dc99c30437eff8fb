"""Statuses follow the money and the clock; days and months close by themselves, once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, text

from engine.domain.ids import SHARDS
from engine.domain.periods import DAY_MS, ms_of
from engine.domain.schedule import Schedule
from engine.flows.catalog import status
from engine.flows.catalog.check import check_all
from engine.flows.persist.persister import DrainStats
from engine.flows.upkeep.close import WAIT_S
from engine.jobs import Stopped, persist_loop
from engine.ledger import statuses
from engine.live.admin import LiveRedis
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.flows.conftest import at
from tests.flows.test_holds_and_quarantine import poison
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.patience import PATIENCE_S, TIMES


def instant(*parts: int) -> int:
    return ms_of(datetime(*parts, tzinfo=UTC))  # type: ignore[arg-type]


def changes(system: System, campaign: int) -> list[tuple[str, list[str]]]:
    return rows(system, "SELECT status, reasons FROM status_change WHERE campaign_id = :c ORDER BY id", c=campaign)


def test_a_new_campaign_becomes_active_at_once_and_its_first_status_is_written(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready)
    assert ready.catalog.campaign(campaign).status == "active"
    assert changes(ready, campaign) == [("active", [])]


def test_the_spend_that_uses_up_the_day_pauses_every_campaign_of_the_brand(ready: System) -> None:
    brand_id, campaigns = brand_with_campaigns(ready, 3, daily=2_000_000)
    ready.client.record_spend(campaigns[0], "2")
    drained = ready.persister.drain_all()
    assert drained.changed_brands == {brand_id}
    ready.status.refresh(drained.changed_brands)
    assert [(c.status, c.reasons) for c in ready.catalog.campaigns(brand_id)] == [("paused", ("daily_budget",))] * 3
    ((at_row, recorded),) = rows(
        ready, "SELECT DISTINCT s.at, l.recorded_at FROM status_change s, spend_log l WHERE s.status = 'paused'"
    )
    assert at_row == recorded


def test_raising_the_budget_reactivates_at_once_but_a_persons_pause_stays(ready: System) -> None:
    brand_id, (one, two) = brand_with_campaigns(ready, 2, daily=2_000_000)
    ready.client.record_spend(one, "2")
    ready.persister.drain_all()
    check_all(ready.publisher, ready.status)
    ready.manage.pause_campaign(two, "anna")
    assert ready.catalog.campaign(two).reasons == ("manual", "daily_budget")
    ready.manage.update_brand(brand_id, "anna", daily_budget_micros=10_000_000)
    assert ready.catalog.campaign(one).status == "active"
    assert ready.catalog.campaign(two).reasons == ("manual",)
    check_all(ready.publisher, ready.status)
    assert ready.catalog.campaign(two).reasons == ("manual",)


def test_a_check_that_finds_no_difference_writes_no_row(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready)
    before = changes(ready, campaign)
    assert check_all(ready.publisher, ready.status).changed == 0
    assert changes(ready, campaign) == before


def test_a_schedule_that_opens_is_written_with_the_minute_at_which_it_opened(clock: System) -> None:
    at(clock, instant(2037, 11, 23, 8, 59))
    brand_id, (campaign,) = brand_with_campaigns(clock)
    hours = Schedule.parse({"days": ["mon"], "start_time": "09:00", "end_time": "17:00"})
    clock.manage.update_campaign(campaign, "anna", schedule=hours)
    assert clock.catalog.campaign(campaign).reasons == ("schedule",)
    at(clock, instant(2037, 11, 23, 9, 4))
    clock.status.refresh([brand_id])
    assert rows(clock, "SELECT at FROM status_change WHERE campaign_id = :c ORDER BY id DESC LIMIT 1", c=campaign) == [
        (datetime(2037, 11, 23, 9, 0, tzinfo=UTC),)
    ]


def test_the_day_closes_by_itself_with_its_total_and_reactivates_what_may_run_again(clock: System) -> None:
    at(clock, instant(2037, 11, 30, 23, 59))
    brand_id, (campaign,) = brand_with_campaigns(clock, daily=5_000_000)
    clock.client.record_spend(campaign, "6")
    clock.persister.drain_all()
    clock.status.refresh([brand_id])
    assert clock.catalog.campaign(campaign).reasons == ("daily_budget",)
    at(clock, instant(2037, 12, 1, 0, 0))
    closed = clock.closer.close_ended()
    assert (closed.waiting, closed.drift) == ([], [])
    check_all(clock.publisher, clock.status)
    assert clock.catalog.campaign(campaign).status == "active"
    day, month = datetime(2037, 11, 30, tzinfo=UTC).date(), datetime(2037, 11, 1, tzinfo=UTC).date()
    totals = rows(
        clock, "SELECT period, starts_on, spend_micros, budget_micros FROM period_total WHERE spend_micros > 0"
    )
    assert sorted(totals) == [("day", day, 6_000_000, 5_000_000), ("month", month, 6_000_000, None)]
    assert rows(clock, "SELECT at FROM status_change ORDER BY id DESC LIMIT 1") == [
        (datetime(2037, 12, 1, tzinfo=UTC),)
    ]
    fields = clock.hot_redis.hkeys(keys_of_brand(brand_id).brand(brand_id))
    assert not [f for f in fields if f.startswith((b"d:", b"m:"))], "closed counters are pruned"


def test_closing_again_changes_nothing_and_a_closed_total_stays(clock: System) -> None:
    at(clock, instant(2037, 11, 29, 12))
    _, (campaign,) = brand_with_campaigns(clock)
    clock.client.record_spend(campaign, "1")
    clock.persister.drain_all()
    at(clock, instant(2037, 11, 30, 0, 1))
    clock.closer.close_ended()
    before = rows(clock, "SELECT * FROM period_total ORDER BY 1, 2, 3")
    again = clock.closer.close_ended()
    assert (again.days, again.months) == (0, 0)
    assert rows(clock, "SELECT * FROM period_total ORDER BY 1, 2, 3") == before


def test_days_missed_over_a_months_end_are_each_closed_once(clock: System) -> None:
    start = instant(2037, 11, 29, 12)
    at(clock, start)
    _, (campaign,) = brand_with_campaigns(clock)
    for day in range(4):
        at(clock, start + day * DAY_MS)
        clock.client.record_spend(campaign, str(day + 1))
    clock.persister.drain_all()
    clock.closer.close_ended()
    days = rows(
        clock, "SELECT spend_micros FROM period_total WHERE period = 'day' AND spend_micros > 0 ORDER BY starts_on"
    )
    months = rows(clock, "SELECT spend_micros FROM period_total WHERE period = 'month' AND spend_micros > 0")
    assert (days, months) == ([(1_000_000,), (2_000_000,), (3_000_000,)], [(3_000_000,)])


def test_a_shard_whose_last_entries_are_not_persisted_waits_with_its_close(clock: System) -> None:
    at(clock, instant(2037, 11, 23, 23))
    brand_id, (campaign,) = brand_with_campaigns(clock)
    clock.persister.drain_all()
    clock.client.record_spend(campaign, "1")
    at(clock, instant(2037, 11, 24, 0, 0))
    assert clock.closer.close_ended().waiting == [brand_id % 64]
    clock.persister.drain_all()
    assert clock.closer.close_ended().waiting == []
    assert rows(clock, "SELECT spend_micros FROM period_total WHERE spend_micros > 0") == [(1_000_000,)]


def test_a_shard_that_persist_reaches_while_others_are_closed_is_closed_too(
    clock: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that took: closing is no waiting."""
    at(clock, instant(2037, 11, 23, 23))
    (quick, one), (late, two) = [(b, c[0]) for b, c in (brand_with_campaigns(clock, name=n) for n in ("quick", "late"))]
    clock.client.record_spend(one, "1")
    clock.persister.drain_all()
    clock.client.record_spend(two, "2")
    at(clock, instant(2037, 11, 24, 0, 0))
    prune, pruned = type(clock.live).prune, []

    def persist_meanwhile(live: LiveRedis, instance: str, shard: int, *rest: Any) -> None:
        pruned.append(shard)
        clock.persister.drain_all()
        prune(live, instance, shard, *rest)

    monkeypatch.setattr(type(clock.live), "prune", persist_meanwhile)
    assert clock.closer.close_ended(wait_s=0).waiting == []
    assert pruned == [quick % 64, late % 64]
    assert rows(clock, "SELECT sum(spend_micros) FROM period_total WHERE period = 'day'") == [(3_000_000,)]


def test_a_close_that_waits_for_persist_ends_at_once_when_its_worker_is_asked_to_stop(clock: System) -> None:
    at(clock, instant(2037, 11, 23, 23))
    _, (campaign,) = brand_with_campaigns(clock)
    clock.client.record_spend(campaign, "1")
    at(clock, instant(2037, 11, 24, 0, 0))

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        clock.closer.close_ended(3600, stop)
    assert rows(clock, "SELECT count(*) FROM period_total WHERE spend_micros > 0") == [(0,)]


def test_a_day_closes_on_a_shard_that_goes_on_spending(clock: System) -> None:
    at(clock, instant(2037, 11, 23, 23))
    brand_id, (campaign,) = brand_with_campaigns(clock)
    over = threading.Event()

    def spend() -> None:
        while not over.is_set():
            clock.client.record_spend(campaign, "1")

    threads = [
        threading.Thread(target=spend),
        threading.Thread(target=persist_loop(clock).run, args=(over.is_set, DrainStats())),
    ]
    clock.client.record_spend(campaign, "1")
    for thread in threads:
        thread.start()
    try:
        at(clock, instant(2037, 11, 24, 0, 0))
        closed = clock.closer.close_ended(TIMES * WAIT_S)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert (closed.waiting, closed.drift) == ([], [])
    clock.persister.drain_all()
    ((archived,),) = rows(clock, "SELECT spend_micros FROM period_total WHERE period = 'day' AND spend_micros > 0")
    ((logged,),) = rows(
        clock,
        "SELECT sum(amount_micros)::bigint FROM spend_log WHERE recorded_at < '2037-11-24' AND brand_id = :brand",
        brand=brand_id,
    )
    assert archived == logged
    assert rows(clock, "SELECT count(*) > 0 FROM spend_log WHERE recorded_at >= '2037-11-24'") == [(True,)]


def test_a_counter_that_differs_from_the_log_is_named_at_the_close(clock: System) -> None:
    at(clock, instant(2037, 11, 23, 23))
    brand_id, (campaign,) = brand_with_campaigns(clock)
    clock.client.record_spend(campaign, "1")
    clock.persister.drain_all()
    key = keys_of_brand(brand_id).brand(brand_id)
    field = next(f for f in clock.hot_redis.hkeys(key) if f.startswith(b"d:"))
    clock.hot_redis.hincrby(key, field.decode(), 500_000)
    at(clock, instant(2037, 11, 24, 0, 0))
    assert clock.closer.close_ended().drift == [f"brand {brand_id} day 2037-11-23: counter 1.500000, log 1.000000"]


def test_a_close_with_an_entry_in_quarantine_names_no_drift(clock: System) -> None:
    at(clock, instant(2037, 11, 23, 23))
    _, (campaign,) = brand_with_campaigns(clock)
    with clock.db.begin() as conn:
        conn.execute(text("ALTER TABLE spend_log ADD CONSTRAINT no_threes CHECK (amount_micros <> 3000000)"))
    for amount in ("1", "3"):
        clock.client.record_spend(campaign, amount)
    assert clock.persister.drain_all().quarantined == 1
    at(clock, instant(2037, 11, 24))
    assert clock.closer.close_ended().drift == []


def test_the_last_day_of_a_brand_that_was_archived_is_closed_with_its_total(clock: System) -> None:
    at(clock, instant(2037, 11, 23, 12))
    brand_id, (campaign,) = brand_with_campaigns(clock)
    clock.client.record_spend(campaign, "1")
    clock.manage.archive_brand(brand_id, "anna")
    clock.client.record_spend(campaign, "2")
    clock.persister.drain_all()
    at(clock, instant(2037, 11, 24))
    clock.closer.close_ended()
    assert rows(clock, "SELECT period, spend_micros FROM period_total WHERE spend_micros > 0") == [("day", 3_000_000)]


def test_a_check_publishes_what_is_still_owed(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.catalog.update_brand(brand_id, "anna", daily_budget_micros=5_000_000)
    assert check_all(ready.publisher, ready.status).published == 1
    assert str(ready.client.record_spend(campaign, "1").daily_remaining) == "4.000000"
    assert check_all(ready.publisher, ready.status).published == 0


def test_a_status_waits_for_the_writer_before_it(ready: System, monkeypatch: pytest.MonkeyPatch) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready, daily=1_000_000)
    ready.client.record_spend(campaign, "1")
    met, lock = threading.Event(), statuses.lock_brands

    def watched(connection: Connection, brand_ids: Sequence[int]) -> list[int]:
        if not (free := lock(connection, brand_ids)):
            met.set()
        return free

    monkeypatch.setattr(statuses, "lock_brands", watched)
    monkeypatch.setattr(status, "LOCKED_S", PATIENCE_S)
    thread = threading.Thread(target=ready.status.refresh, args=([brand_id],))
    with ready.db.begin() as other:
        lock(other, [brand_id])
        thread.start()
        assert met.wait(PATIENCE_S), "it wrote beside another writer of the brand"
        assert ready.catalog.campaign(campaign).status == "active"
    thread.join()
    assert ready.catalog.campaign(campaign).reasons == ("daily_budget",)


def closed_periods(system: System) -> list[tuple[int, str, str]]:
    return rows(system, "SELECT brand_id, period, starts_on::text FROM period_total ORDER BY 1, 2 DESC, 3")


def test_a_refund_that_names_an_old_day_makes_no_period_before_its_brand_began(clock: System) -> None:
    at(clock, instant(2030, 5, 15, 12))
    brand_id, (campaign,) = brand_with_campaigns(clock)
    with clock.db.begin() as conn:
        conn.execute(text("UPDATE brand SET created_at = '2030-05-15'"))
    clock.client.record_spend(campaign, "3")
    # As scripts of an older version wrote them: years before the brand, and before everything.
    poison(clock, brand_id, {"h": f"C,{campaign},never,1000000,18300;"})
    poison(clock, brand_id, {"h": f"C,{campaign},never,1000000,0;"})
    assert clock.persister.drain_all().quarantined == 1
    at(clock, instant(2030, 5, 17))
    closed = clock.closer.close_ended()
    assert (closed.days, closed.months, closed.drift) == (2, 0, [])
    assert closed_periods(clock) == [(brand_id, "day", "2030-05-15"), (brand_id, "day", "2030-05-16")]


def test_a_brands_periods_begin_with_it_also_on_a_shard_that_is_older(clock: System) -> None:
    at(clock, instant(2030, 4, 29, 12))
    brand_id, (campaign,) = brand_with_campaigns(clock)
    with clock.db.begin() as conn:
        conn.execute(text(f"ALTER TABLE brand ALTER COLUMN id RESTART WITH {brand_id + SHARDS}"))
    clock.client.record_spend(campaign, "3")
    at(clock, instant(2030, 5, 1, 12))
    younger, (other,) = brand_with_campaigns(clock, name="Borealis")
    with clock.db.begin() as conn:
        conn.execute(text("UPDATE brand SET created_at = '2030-04-29' WHERE id = :id"), {"id": brand_id})
        conn.execute(text("UPDATE brand SET created_at = '2030-05-01 06:00Z' WHERE id = :id"), {"id": younger})
    clock.client.record_spend(other, "3")
    clock.persister.drain_all()
    at(clock, instant(2030, 5, 2))
    clock.closer.close_ended()
    assert closed_periods(clock) == [
        (brand_id, "month", "2030-04-01"),
        *((brand_id, "day", f"2030-{day}") for day in ("04-29", "04-30", "05-01")),
        (younger, "day", "2030-05-01"),
    ]
