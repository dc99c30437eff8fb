"""Scheduled changes of limits in a whole system: catalog, edges with every job dead, status, close, rebuild, verify and watch."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from engine.domain.ids import shard_of
from engine.domain.limit_changes import InvalidLimitChange, Period, parse_change
from engine.domain.periods import DAY_MS, HOUR_MS, MINUTE_MS
from engine.errors import Conflict, InvalidInput, NotFound
from engine.flows.catalog.check import check_all
from engine.flows.verify.findings import Check
from engine.ledger import limit_rows
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.flows.conftest import at, born_on_the_moved_clock
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_status_and_close import instant
from tests.patience import PATIENCE_S
from tests.processes.conftest import until

NOON = instant(2037, 11, 30, 12)
UNIT = 1_000_000


def begin(system: System) -> tuple[int, int]:
    """A brand with 100 units a day, and its campaign, at noon."""
    at(system, NOON)
    brand_id, (one,) = brand_with_campaigns(system)
    system.manage.update_brand(brand_id, "anna", daily_budget_micros=100 * UNIT)
    system.persister.drain_all()
    return brand_id, one


def schedule(
    system: System,
    owner_id: int,
    change: str,
    starts_ms: int | None,
    ends_ms: int | None = None,
    *,
    period: Period = "daily",
    entity: Any = "brand",
) -> int:
    changed = system.manage.schedule_limit(entity, owner_id, "anna", period, parse_change(change), starts_ms, ends_ms)
    assert changed.published
    return changed.change_id


def persisted(system: System) -> None:
    system.status.refresh(system.persister.drain_all().changed_brands)


def found(system: System) -> dict[str, Check]:
    return {check.id: check for check in system.verifier.verify() if check.findings}


def second(system: System) -> None:
    """What persist does each second."""
    system.status.refresh(system.publisher.keep_published())


def test_a_temporary_increase_begins_and_ends_with_every_job_dead_and_verify_knows_it(clock: System) -> None:
    brand_id, one = begin(clock)
    schedule(clock, brand_id, "percent:150", NOON + HOUR_MS, NOON + 2 * HOUR_MS)
    for after, amount, passes in (
        (0, "90", True),
        (HOUR_MS - 1, "20", False),
        (HOUR_MS, "30", True),
        # Verify looks at the calls of the last minutes.
        (2 * HOUR_MS - MINUTE_MS, "30", True),
        (2 * HOUR_MS, "1", False),
    ):
        at(clock, NOON + after)
        assert bool(clock.client.try_spend(one, amount)) is passes, after
    # The catalog has taken over nothing, and knows all the same that 150 were in force.
    assert clock.catalog.brand(brand_id).daily_budget_micros == 100 * UNIT
    persisted(clock)
    assert not found(clock)
    second(clock)
    assert clock.catalog.brand(brand_id).steps == ()
    assert clock.catalog.brand(brand_id).daily_budget_micros == 100 * UNIT
    told = rows(
        clock,
        "SELECT at, old, new FROM catalog_change WHERE field = 'daily_budget' AND note LIKE 'scheduled%' ORDER BY id",
    )
    assert told == [
        (datetime(2037, 11, 30, 13, tzinfo=UTC), "100.000000", "150.000000"),
        (datetime(2037, 11, 30, 14, tzinfo=UTC), "150.000000", "100.000000"),
    ]
    assert clock.hot_redis.hmget(keys_of_brand(brand_id).brand(brand_id), "n1", "n2") == [None, None]
    assert not found(clock)
    assert not clock.client.try_spend(one, "1")


def test_v3_names_what_no_budget_covered_though_a_change_was_in_force_before_it(clock: System) -> None:
    brand_id, one = begin(clock)
    schedule(clock, brand_id, "set:150", NOON + HOUR_MS, NOON + 2 * HOUR_MS)
    at(clock, NOON + HOUR_MS)
    assert clock.client.try_spend(one, "150")
    clock.hot_redis.hset(keys_of_brand(brand_id).brand(brand_id), "n1", f"{NOON},300000000,")
    assert clock.client.try_spend(one, "20")
    persisted(clock)
    clock.hot_redis.hset(keys_of_brand(brand_id).brand(brand_id), "n1", clock.catalog.brand(brand_id).steps[0].compiled)
    assert "V3" in found(clock)


def test_the_catalog_takes_over_what_has_begun_and_three_changes_follow_each_other(clock: System) -> None:
    brand_id, one = begin(clock)
    schedule(clock, brand_id, "set:20", NOON + HOUR_MS, NOON + 2 * HOUR_MS)
    schedule(clock, brand_id, "add:5", NOON + 2 * HOUR_MS)
    schedule(clock, brand_id, "percent:200", NOON + 3 * HOUR_MS)
    limits = []
    for hour in range(1, 4):
        at(clock, NOON + hour * HOUR_MS)
        second(clock)
        brand = clock.catalog.brand(brand_id)
        limits.append((brand.daily_budget_micros or 0) // UNIT)
        assert brand.published_version == brand.version
        live = clock.live.read_brand(brand_id, 0)
        assert live is not None
        assert live.daily_limit == brand.daily_budget_micros
    assert limits == [20, 105, 210]
    assert clock.catalog.limits.next_ms() is None
    assert [one.over for one in clock.catalog.limits.every("brand", brand_id, over=True)] == [True] * 3
    assert clock.client.try_spend(one, "210")
    persisted(clock)
    assert not found(clock)


def test_a_campaign_that_a_budget_paused_runs_again_from_the_step_on_and_the_check_says_since_when(
    clock: System,
) -> None:
    brand_id, one = begin(clock)
    schedule(clock, brand_id, "set:150", NOON + HOUR_MS)
    clock.client.record_spend(one, "100")
    persisted(clock)
    assert clock.catalog.campaign(one).reasons == ("daily_budget",)
    at(clock, NOON + HOUR_MS + 7)
    assert clock.client.status(one)
    check_all(clock.publisher, clock.status)
    assert clock.catalog.campaign(one).status == "active"
    assert rows(clock, "SELECT at FROM status_change ORDER BY id DESC LIMIT 1") == [
        (datetime(2037, 11, 30, 13, tzinfo=UTC),)
    ]
    persisted(clock)
    assert not found(clock)


def test_a_campaign_s_own_budget_changes_by_schedule_as_a_brand_s_does(clock: System) -> None:
    _, one = begin(clock)
    with pytest.raises(InvalidLimitChange, match="there is no daily limit"):
        schedule(clock, one, "add:5", NOON + HOUR_MS, entity="campaign")
    schedule(clock, one, "set:10", NOON + HOUR_MS, NOON + 2 * HOUR_MS, entity="campaign")
    schedule(clock, one, "set:15", NOON + HOUR_MS, entity="campaign", period="monthly")
    at(clock, NOON + HOUR_MS)
    assert clock.client.try_spend(one, "10.000001").reasons == ("campaign_daily_budget",)
    assert clock.client.try_spend(one, "10")
    at(clock, NOON + 2 * HOUR_MS)
    assert clock.client.try_spend(one, "5.000001").reasons == ("campaign_monthly_budget",)
    assert clock.client.try_spend(one, "5")
    persisted(clock)
    assert not found(clock)
    second(clock)
    assert clock.catalog.campaign(one).limits[:2] == (None, 15 * UNIT)
    assert not clock.client.try_spend(one, "1")
    assert not found(clock)


def test_a_rebuild_keeps_the_steps_and_the_layout(clock: System) -> None:
    brand_id, one = begin(clock)
    schedule(clock, brand_id, "set:150", NOON + HOUR_MS, NOON + 2 * HOUR_MS)
    clock.client.record_spend(one, "100")
    persisted(clock)
    keys = keys_of_brand(brand_id)
    before = clock.hot_redis.hmget(keys.brand(brand_id), "n1", "n2")
    assert None not in before
    clock.hot_redis.delete(*keys.fixed, keys.campaign(one), keys.brand(brand_id))
    clock.rebuilder.rebuild([shard_of(brand_id)])
    assert clock.hot_redis.hmget(keys.brand(brand_id), "n1", "n2") == before
    assert clock.hot_redis.hget(keys.shard, "layout") == b"2"
    at(clock, NOON + HOUR_MS)
    assert clock.client.try_spend(one, "50")
    assert not clock.client.try_spend(one, "0.000001")
    persisted(clock)
    assert not found(clock)


def test_changes_that_do_not_fit_are_refused_by_name_and_value_and_nothing_changes(clock: System) -> None:
    brand_id, _ = begin(clock)
    first = schedule(clock, brand_id, "add:-60", NOON + HOUR_MS, NOON + 2 * HOUR_MS)
    version = clock.catalog.brand(brand_id).version
    soon = NOON + HOUR_MS
    wrong: list[tuple[str, int, int | None, str, str]] = [
        ("set:1", 1_000, None, "at", "1970-01-01T00:00:01Z is in the past"),
        ("set:1", soon, soon, "until", "is not after"),
        ("set:1", soon + 1, None, "at", f"overlaps change {first}: daily add:-60.000000"),
        ("set:1", NOON, soon + 1, "at", "overlaps change"),
        ("add:-100.000001", soon + DAY_MS, None, "change", "below 0"),
        ("percent:1000", soon + DAY_MS, None, "", ""),
    ]
    for change, starts, ends, field, said in wrong[:-1]:
        with pytest.raises(InvalidLimitChange, match=said) as refused:
            schedule(clock, brand_id, change, starts, ends)
        assert refused.value.field == field
    for text in (
        "",
        "set",
        "set:",
        "set:x",
        "set:-1",
        "add:0",
        "add:none",
        "percent:0",
        "percent:1000.1",
        "times:2",
        "add:--1",
    ):
        with pytest.raises(InvalidInput, match="change"):
            parse_change(text)
    # A limit that the scheduled change could not be taken from.
    for limit in (None, 59 * UNIT):
        with pytest.raises(InvalidLimitChange) as told:
            clock.manage.update_brand(brand_id, "anna", daily_budget_micros=limit)
        assert told.value.field == "daily_budget"
    with pytest.raises(NotFound):
        clock.manage.cancel_limit(999, "anna")
    assert clock.catalog.brand(brand_id).version == version
    assert len(clock.catalog.limits.every()) == 1
    changed = clock.manage.update_brand(brand_id, "anna", daily_budget_micros=60 * UNIT)
    assert [step.daily for step in changed.row.steps] == [0, 60 * UNIT]


def test_a_limit_in_force_for_a_time_is_cancelled_before_it_is_changed_by_hand(
    clock: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    brand_id, one = begin(clock)
    change = schedule(clock, brand_id, "set:150", NOON + HOUR_MS, NOON + 3 * HOUR_MS)
    at(clock, NOON + 2 * HOUR_MS)
    monkeypatch.setattr(limit_rows, "now_ms", lambda _: NOON + 2 * HOUR_MS)
    with pytest.raises(Conflict, match=f"limit cancel {change}") as refused:
        clock.manage.update_brand(brand_id, "anna", daily_budget_micros=200 * UNIT)
    assert refused.value.field == "daily_budget"
    clock.manage.update_brand(brand_id, "anna", monthly_budget_micros=900 * UNIT)
    assert clock.client.try_spend(one, "150")
    clock.manage.cancel_limit(change, "anna")
    assert clock.catalog.brand(brand_id).daily_budget_micros == 100 * UNIT
    assert not clock.client.try_spend(one, "0.000001")
    with pytest.raises(InvalidLimitChange, match="was cancelled"):
        clock.manage.cancel_limit(change, "anna")
    clock.manage.update_brand(brand_id, "anna", daily_budget_micros=200 * UNIT)
    assert clock.client.try_spend(one, "50")
    persisted(clock)
    assert not found(clock)


@pytest.mark.parametrize("taken_over", [True, False])
def test_a_closed_day_keeps_the_budget_that_it_had_at_its_end(clock: System, taken_over: bool) -> None:
    brand_id, one = begin(clock)
    born_on_the_moved_clock(clock)
    midnight = NOON + DAY_MS // 2
    schedule(clock, brand_id, "set:40", midnight - HOUR_MS)
    schedule(clock, brand_id, "set:7", midnight)
    clock.client.record_spend(one, "1")
    at(clock, midnight + MINUTE_MS)
    if taken_over:
        second(clock)
    assert clock.catalog.brand(brand_id).daily_budget_micros == (7 if taken_over else 100) * UNIT
    persisted(clock)
    clock.closer.close_ended()
    told = rows(
        clock,
        f"SELECT budget_micros FROM period_total WHERE brand_id = {brand_id} AND period = 'day' ORDER BY starts_on DESC LIMIT 1",
    )
    assert told == [(40 * UNIT,)]


def test_a_watch_is_right_at_the_step_by_itself(clock: System) -> None:
    brand_id, one = begin(clock)
    schedule(clock, brand_id, "set:150", NOON + HOUR_MS, NOON + 2 * HOUR_MS)
    clock.client.record_spend(one, "100")
    with clock.client.watch() as watch:
        assert watch.wait_ready(PATIENCE_S)
        assert watch.status(one).reasons == ("daily_budget",)
        for after, reasons in ((HOUR_MS, ()), (2 * HOUR_MS, ("daily_budget",))):
            at(clock, NOON + after)
            until(lambda reasons=reasons: watch.status(one).reasons == reasons)
