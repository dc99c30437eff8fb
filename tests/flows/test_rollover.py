"""Rollover in a whole system: catalog, journal, log, close, rebuild and verify."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import text

from engine.domain.ids import shard_of
from engine.domain.periods import DAY_MS, HOUR_MS, at_ms, date_of, day_of, next_day_ms
from engine.flows.rebuild.rebuilder import How
from engine.live.keys import keys_of_brand
from engine.live.plans import LiveCarry
from engine.wiring import System
from tests.flows.conftest import at, born_on_the_moved_clock
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_status_and_close import instant

NOON = instant(2037, 11, 10, 12)
UNIT = 1_000_000
CARRIES = "SELECT day, left_micros, before_micros FROM brand_carry ORDER BY n"


def rolled(system: System) -> tuple[int, int]:
    """A brand with 100 units a day and a cap of 50, of which 77 are spent at noon."""
    at(system, NOON)
    brand_id, (one,) = brand_with_campaigns(system, daily=100 * UNIT)
    changed = system.manage.update_brand(brand_id, "anna", rollover_cap_micros=50 * UNIT)
    assert changed.published
    assert system.client.try_spend(one, "77").outcome == "accepted"
    return brand_id, one


def carry(system: System, brand_id: int) -> LiveCarry | None:
    live = system.live.read_brand(brand_id, 0)
    return live and live.carry


def wipe(system: System, brand_id: int) -> None:
    """The brand's shard is gone."""
    for key in system.hot_redis.scan_iter(match=keys_of_brand(brand_id).tag + "*", count=1000):
        system.hot_redis.delete(key)


def nothing_found(system: System) -> bool:
    return [check for check in system.verifier.verify() if check.findings] == []


def test_a_day_that_spends_its_carry_is_in_the_log_and_verify_finds_no_overspend(clock: System) -> None:
    brand_id, one = rolled(clock)
    at(clock, NOON + DAY_MS)
    assert clock.client.try_spend(one, "123").outcome == "accepted"
    assert nothing_found(clock), "with a backlog"
    clock.persister.drain_all()
    day = day_of(NOON)
    assert rows(clock, CARRIES) == [(date_of(day), 0, None), (date_of(day + 1), 23 * UNIT, 100 * UNIT)]
    # PostgreSQL's clock is not the one that was moved: what follows is dated by the moved one.
    clock.manage.update_brand(brand_id, "anna", rollover_cap_micros=None)
    with clock.db.begin() as conn:
        conn.execute(text("UPDATE catalog_change SET at = :at WHERE new IS NULL"), {"at": at_ms(NOON + DAY_MS)})
    # Without the rollover the day is above its budget, and was within its limit when it was spent.
    assert nothing_found(clock)
    trail = "SELECT old, new FROM catalog_change WHERE field = 'rollover_cap' ORDER BY id"
    assert rows(clock, trail) == [(None, "50.000000"), ("50.000000", None)]


def test_verify_finds_a_try_beyond_the_budget_and_its_carry(clock: System) -> None:
    brand_id, one = rolled(clock)
    at(clock, NOON + DAY_MS)
    day = day_of(NOON) + 1
    clock.hot_redis.hset(keys_of_brand(brand_id).brand(brand_id), "b", f"50000000,{day},33000000,100000000")
    assert clock.client.try_spend(one, "133").outcome == "accepted"
    clock.persister.drain_all()
    with clock.db.begin() as conn:
        conn.execute(
            text("INSERT INTO brand_carry VALUES (:b, 1, :d, 23000000, 100000000, now())"),
            {"b": brand_id, "d": date_of(day)},
        )
    clock.hot_redis.hset(keys_of_brand(brand_id).brand(brand_id), "b", f"50000000,{day},23000000,100000000")
    (found,) = [check for check in clock.verifier.verify() if check.findings]
    assert found.id == "V3"


def test_a_rebuild_in_the_middle_of_a_day_restores_its_carry_exactly(clock: System) -> None:
    brand_id, one = rolled(clock)
    at(clock, NOON + DAY_MS)
    assert clock.client.try_spend(one, "20").outcome == "accepted"
    clock.persister.drain_all()
    before = clock.hot_redis.hget(keys_of_brand(brand_id).brand(brand_id), "b")
    wipe(clock, brand_id)
    at(clock, NOON + DAY_MS)
    clock.rebuilder.rebuild([shard_of(brand_id)])
    assert clock.hot_redis.hget(keys_of_brand(brand_id).brand(brand_id), "b") == before
    assert clock.client.try_spend(one, "103.000001").reasons == ("daily_budget",)
    assert clock.client.try_spend(one, "103").outcome == "accepted"
    assert nothing_found(clock)


def test_a_rebuild_before_the_first_call_of_a_day_calculates_what_redis_would_have(clock: System) -> None:
    brand_id, one = rolled(clock)
    clock.persister.drain_all()
    wipe(clock, brand_id)
    at(clock, NOON + 3 * DAY_MS)
    clock.rebuilder.rebuild([shard_of(brand_id)])
    assert carry(clock, brand_id) == LiveCarry(50 * UNIT, 50 * UNIT)
    assert clock.client.try_spend(one, "150").outcome == "accepted"
    clock.persister.drain_all()
    assert rows(clock, CARRIES)[-1] == (date_of(day_of(NOON) + 3), 150 * UNIT, 150 * UNIT)
    assert nothing_found(clock)


def changes(system: System, brand_id: int, ms: int, **values: int | str | None) -> None:
    """A person changes the catalog at an instant, while Redis is lost."""
    at(system, ms)
    assert not system.manage.update_brand(brand_id, "anna", **values).published
    with system.db.begin() as conn:
        last = text("UPDATE catalog_change SET at = :at WHERE id = (SELECT max(id) FROM catalog_change)")
        conn.execute(last, {"at": at_ms(ms)})


def rebuilt_carry(system: System, brand_id: int, ms: int) -> LiveCarry | None:
    at(system, ms)
    system.rebuilder.rebuild([shard_of(brand_id)])
    return carry(system, brand_id)


def lost(system: System, brand_id: int) -> None:
    """All of it is in the log, and Redis has none of it."""
    system.persister.drain_all()
    wipe(system, brand_id)


def test_a_cap_that_was_raised_while_redis_was_lost_carries_no_more_of_the_days_before(clock: System) -> None:
    brand_id, _ = rolled(clock)
    lost(clock, brand_id)
    changes(clock, brand_id, NOON + 3 * DAY_MS, rollover_cap_micros=500 * UNIT)
    # Each day until then had 50 of what the day before left, so the last one had 150, and left it.
    assert rebuilt_carry(clock, brand_id, NOON + 3 * DAY_MS) == LiveCarry(500 * UNIT, 150 * UNIT)


def test_a_rollover_that_was_off_for_a_day_without_spends_carries_from_the_day_on_which_it_came_back(
    clock: System,
) -> None:
    brand_id, _ = rolled(clock)
    lost(clock, brand_id)
    changes(clock, brand_id, NOON + DAY_MS, rollover_cap_micros=None)
    changes(clock, brand_id, NOON + 2 * DAY_MS, rollover_cap_micros=500 * UNIT)
    assert rebuilt_carry(clock, brand_id, NOON + 3 * DAY_MS) == LiveCarry(500 * UNIT, 100 * UNIT)


def test_a_rollover_that_was_off_meanwhile_begins_anew_with_a_rebuild(clock: System) -> None:
    brand_id, one = rolled(clock)
    clock.manage.update_brand(brand_id, "anna", rollover_cap_micros=None)
    at(clock, NOON + DAY_MS)
    clock.client.record_spend(one, "1")
    lost(clock, brand_id)
    changes(clock, brand_id, NOON + 2 * DAY_MS, rollover_cap_micros=50 * UNIT)
    assert rebuilt_carry(clock, brand_id, NOON + 2 * DAY_MS) == LiveCarry(50 * UNIT, 0)


def test_a_carry_that_a_restored_postgresql_lacks_is_calculated_again_beside_the_days_spends(clock: System) -> None:
    brand_id, one = rolled(clock)
    lost(clock, brand_id)
    expected = LiveCarry(50 * UNIT, 23 * UNIT)
    assert rebuilt_carry(clock, brand_id, NOON + DAY_MS) == expected
    assert clock.client.try_spend(one, "7").outcome == "accepted"
    # The rebuild has told it to PostgreSQL alone, which is restored to a state from before; the journal is persisted again.
    forget = text("DELETE FROM brand_carry WHERE day > :day")
    with clock.db.begin() as conn:
        conn.execute(forget, {"day": date_of(day_of(NOON))})
    lost(clock, brand_id)
    assert rebuilt_carry(clock, brand_id, NOON + DAY_MS) == expected
    assert clock.client.try_spend(one, "115").outcome == "accepted"
    clock.persister.drain_all()
    with clock.db.begin() as conn:
        conn.execute(forget, {"day": date_of(day_of(NOON))})
    lost(clock, brand_id)
    assert rebuilt_carry(clock, brand_id, NOON + 2 * DAY_MS) == LiveCarry(50 * UNIT, UNIT)


def test_a_rollover_that_was_switched_on_while_redis_was_lost_carries_what_that_day_left(clock: System) -> None:
    at(clock, NOON)
    brand_id, (one,) = brand_with_campaigns(clock, daily=100 * UNIT)
    assert clock.client.try_spend(one, "77").outcome == "accepted"
    lost(clock, brand_id)
    changes(clock, brand_id, NOON + 1, rollover_cap_micros=500 * UNIT)
    assert rebuilt_carry(clock, brand_id, NOON + 2 * DAY_MS) == LiveCarry(500 * UNIT, 123 * UNIT)


def test_a_month_that_ended_while_redis_was_lost_carries_nothing_on_and_is_closed_after_its_rebuild(
    clock: System,
) -> None:
    brand_id, one = rolled(clock)
    born_on_the_moved_clock(clock)
    lost(clock, brand_id)
    december = instant(2037, 12, 2, 12)
    # What December 1 left, up to the cap, and nothing of November.
    assert rebuilt_carry(clock, brand_id, december) == LiveCarry(50 * UNIT, 50 * UNIT)
    clock.persister.drain_all()
    assert clock.closer.close_ended().drift == []
    assert rows(clock, "SELECT starts_on, spend_micros FROM period_total WHERE period = 'month'") == [
        (date(2037, 11, 1), 77 * UNIT)
    ]
    assert clock.client.try_spend(one, "150").outcome == "accepted"
    lost(clock, brand_id)
    assert rebuilt_carry(clock, brand_id, december) == LiveCarry(50 * UNIT, 50 * UNIT)
    assert clock.client.try_spend(one, "0.000001").reasons == ("daily_budget",)
    clock.status.refresh([brand_id])
    assert nothing_found(clock)


def test_a_rebuild_after_a_clock_that_slipped_back_over_midnight_keeps_the_new_days_carry(clock: System) -> None:
    brand_id, one = rolled(clock)
    midnight = next_day_ms(NOON)
    at(clock, midnight + 200)
    assert clock.manage.update_brand(brand_id, "anna", daily_budget_micros=40 * UNIT).published
    before = clock.hot_redis.hget(keys_of_brand(brand_id).brand(brand_id), "b")
    at(clock, midnight - 300)
    clock.live.unmark(clock.instance, shard_of(brand_id), "test")
    clock.rebuilder.rebuild([shard_of(brand_id)])
    assert clock.hot_redis.hget(keys_of_brand(brand_id).brand(brand_id), "b") == before
    assert clock.client.try_spend(one, "63").outcome == "accepted"


def test_a_clock_that_was_days_ahead_and_is_set_right_leaves_the_carry_of_the_right_day(clock: System) -> None:
    brand_id, one = rolled(clock)
    at(clock, NOON + 5 * DAY_MS)
    assert clock.client.try_spend(one, "1").outcome == "accepted"
    clock.persister.drain_all()
    at(clock, NOON + DAY_MS)
    clock.rebuilder.rebuild([shard_of(brand_id)], how=How(accept_clock=True))
    assert carry(clock, brand_id) == LiveCarry(50 * UNIT, 23 * UNIT)


def test_days_before_a_zone_was_changed_end_at_their_own_midnights_in_a_rebuild(clock: System) -> None:
    march = instant(2037, 3, 20, 12)
    at(clock, march)
    brand = clock.manage.create_brand("Berlin", 100 * UNIT, None, None, "anna", time_zone="Europe/Berlin").row
    (one,) = clock.manage.create_campaigns(brand.id, ["c"], "anna")
    assert clock.manage.update_brand(brand.id, "anna", rollover_cap_micros=5000 * UNIT).published
    assert clock.client.try_spend(one.id, "77").outcome == "accepted"
    lost(clock, brand.id)
    # At 23:30 of that day, in winter time. The new zone is chosen in summer time, and its text has no other.
    changes(clock, brand.id, march + 10 * HOUR_MS + HOUR_MS // 2, daily_budget_micros=200 * UNIT)
    changes(clock, brand.id, march + 11 * DAY_MS, time_zone="Europe/Paris")
    assert rebuilt_carry(clock, brand.id, march + 11 * DAY_MS) == LiveCarry(5000 * UNIT, 2123 * UNIT)


@pytest.mark.parametrize("rebuilt", [False, True])
def test_a_day_that_a_new_zone_goes_over_leaves_no_budget_also_after_a_rebuild_and_verify_finds_nothing(
    clock: System, rebuilt: bool
) -> None:
    at(clock, NOON)
    brand = clock.manage.create_brand("Pago", 100 * UNIT, None, None, "anna", time_zone="Pacific/Pago_Pago").row
    (one,) = clock.manage.create_campaigns(brand.id, ["c"], "anna")
    assert clock.manage.update_brand(brand.id, "anna", rollover_cap_micros=5000 * UNIT).published
    assert clock.client.try_spend(one.id, "77").outcome == "accepted"
    clock.persister.drain_all()
    if rebuilt:
        lost(clock, brand.id)
        changes(clock, brand.id, NOON + HOUR_MS, time_zone="Pacific/Kiritimati")
    else:
        at(clock, NOON + HOUR_MS)
        assert clock.manage.update_brand(brand.id, "anna", time_zone="Pacific/Kiritimati").published
    # The day of Pago Pago ends at 11:00 UTC, when it is the day after the next one on Kiritimati, which lasts until 10:00.
    begins = NOON + 23 * HOUR_MS
    if rebuilt:
        assert rebuilt_carry(clock, brand.id, begins) == LiveCarry(5000 * UNIT, 23 * UNIT)
    at(clock, begins)
    assert clock.client.try_spend(one.id, "123.000001").reasons == ("daily_budget",)
    assert clock.client.try_spend(one.id, "123").outcome == "accepted"
    clock.persister.drain_all()
    assert nothing_found(clock)


def test_a_close_keeps_what_the_closed_day_left(clock: System) -> None:
    brand_id, one = rolled(clock)
    at(clock, NOON + 2 * DAY_MS)
    clock.persister.drain_all()
    expected = carry(clock, brand_id)
    clock.closer.close_ended()
    assert clock.hot_redis.hexists(keys_of_brand(brand_id).brand(brand_id), f"d:{day_of(NOON)}") is False
    assert carry(clock, brand_id) == expected == LiveCarry(50 * UNIT, 50 * UNIT)
    clock.persister.drain_all()
    assert rows(clock, CARRIES)[-1] == (date_of(day_of(NOON) + 2), 123 * UNIT, 123 * UNIT)
    assert clock.client.try_spend(one, "150").outcome == "accepted"
    clock.persister.drain_all()
    assert nothing_found(clock)


def test_a_budget_that_a_person_changes_is_published_with_the_cap_beside_it(clock: System) -> None:
    brand_id, _ = rolled(clock)
    at(clock, NOON + DAY_MS)
    changed = clock.manage.update_brand(brand_id, "anna", daily_budget_micros=40 * UNIT)
    assert changed.published
    live = clock.live.read_brand(brand_id, 0)
    assert live is not None
    assert (live.daily_limit, live.carry) == (63 * UNIT, LiveCarry(50 * UNIT, 23 * UNIT))
    clock.hot_redis.hset(keys_of_brand(brand_id).brand(brand_id), "b", "7,1,0,")
    assert not nothing_found(clock)
