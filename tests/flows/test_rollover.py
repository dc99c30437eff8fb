"""Rollover in a whole system: catalog, journal, log, close, rebuild and verify."""

from __future__ import annotations

from sqlalchemy import text

from engine.domain.ids import shard_of
from engine.domain.periods import DAY_MS, at_ms, date_of, day_of
from engine.live.keys import keys_of_brand
from engine.live.plans import LiveCarry
from engine.wiring import System
from tests.flows.conftest import at
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


def test_a_rollover_that_was_off_meanwhile_begins_anew_with_a_rebuild(clock: System) -> None:
    brand_id, one = rolled(clock)
    clock.manage.update_brand(brand_id, "anna", rollover_cap_micros=None)
    at(clock, NOON + DAY_MS)
    clock.client.record_spend(one, "1")
    clock.persister.drain_all()
    wipe(clock, brand_id)
    at(clock, NOON + 2 * DAY_MS)
    assert not clock.manage.update_brand(brand_id, "anna", rollover_cap_micros=50 * UNIT).published
    clock.rebuilder.rebuild([shard_of(brand_id)])
    assert carry(clock, brand_id) == LiveCarry(50 * UNIT, 0)


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
