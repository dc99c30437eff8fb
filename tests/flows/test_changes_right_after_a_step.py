"""A person changes a limit within two seconds of a step of it, and the brand's day ends between: the step counts first, as it did in Redis."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pytest

from engine.domain.budget import OwnLimits
from engine.domain.ids import SHARDS, shard_of
from engine.domain.limit_changes import InvalidLimitChange
from engine.domain.periods import DAY_MS, at_ms
from engine.errors import Conflict
from engine.ledger import changes, limit_rows
from engine.live.keys import keys_of_brand
from engine.live.plans import LiveCarry
from engine.live.registry import stamps
from engine.wiring import System
from tests.flows.conftest import at, born_on_the_moved_clock
from tests.flows.test_limit_changes import UNIT, found, persisted, schedule, second
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_rollover import carry, wipe
from tests.flows.test_status_and_close import instant

Go = Callable[[int], None]
MIDNIGHT = instant(2037, 11, 11, 0)
STEP = MIDNIGHT - 700
PERSON = MIDNIGHT + 600
LATER = MIDNIGHT + 5000
CLOSED = "SELECT budget_micros FROM period_total WHERE period = 'day' ORDER BY starts_on DESC LIMIT 1"
TRAIL = "SELECT old, new FROM catalog_change WHERE field = 'daily_budget' ORDER BY at, id"


GRACE = 60


@pytest.fixture
def go(clock: System, monkeypatch: pytest.MonkeyPatch) -> Go:
    """Moves the clocks of Redis and of PostgreSQL, which dates the audit trail."""
    now = [0]
    write: Any = changes.write

    def written(conn: Any, entity: Any, actor: str, trail: Sequence[Any], when: datetime | None = None) -> None:
        write(conn, entity, actor, trail, when or at_ms(now[0]))

    def moved(ms: int) -> None:
        at(clock, ms)
        now[0] = ms

    monkeypatch.setattr(limit_rows, "now_ms", lambda _: now[0])
    monkeypatch.setattr(changes, "write", written)
    return moved


def begun(system: System, go: Go, change: str = "add:20", ends: int | None = None) -> tuple[int, int, int]:
    """A brand with 100 units a day and a rollover, of which 77 are spent, and a step right before the day's end. Returns it,
    its campaign and the change.
    """
    go(MIDNIGHT - DAY_MS // 2)
    brand_id, (one,) = brand_with_campaigns(system, daily=100 * UNIT)
    born_on_the_moved_clock(system)
    assert system.manage.update_brand(brand_id, "anna", rollover_cap_micros=500 * UNIT).published
    number = schedule(system, brand_id, change, STEP, ends)
    assert system.client.try_spend(one, "77").outcome == "accepted"
    system.persister.drain_all()
    return brand_id, one, number


def rebuilt(system: System, brand_id: int) -> LiveCarry | None:
    system.rebuilder.rebuild([shard_of(brand_id)])
    return carry(system, brand_id)


@pytest.mark.parametrize("taken_over", [True, False])
def test_a_rebuild_carries_what_the_step_left_and_not_what_the_old_limit_or_the_new_one_would_have(
    clock: System, go: Go, taken_over: bool
) -> None:
    brand_id, one, _ = begun(clock, go)
    wipe(clock, brand_id)
    go(PERSON)
    assert not clock.manage.update_brand(brand_id, "anna", daily_budget_micros=40 * UNIT).published
    go(LATER)
    if taken_over:
        clock.catalog.limits.take_over(LATER)
    assert rebuilt(clock, brand_id) == LiveCarry(500 * UNIT, 43 * UNIT)
    second(clock)
    assert clock.client.try_spend(one, "83.000001").reasons == ("daily_budget",)
    assert clock.client.try_spend(one, "83").outcome == "accepted", "the person's 40 hold, and what was left"
    persisted(clock)
    assert not found(clock)


@pytest.mark.parametrize("lost", [True, False])
def test_redis_and_a_rebuild_carry_the_same_and_a_late_spend_has_the_limit_of_its_day(
    clock: System, go: Go, lost: bool
) -> None:
    brand_id, one, _ = begun(clock, go)
    go(MIDNIGHT - 1)
    clock.publisher.keep_published()
    wanted, brand = LiveCarry(500 * UNIT, 43 * UNIT), keys_of_brand(brand_id).brand(brand_id)
    go(PERSON)
    assert clock.manage.update_brand(brand_id, "anna", daily_budget_micros=40 * UNIT).published
    assert carry(clock, brand_id) == wanted
    if lost:
        wipe(clock, brand_id)
        go(LATER)
        assert rebuilt(clock, brand_id) == wanted
    go(LATER)
    live = clock.live.read_brand(brand_id, 0)
    assert live is not None
    assert live.daily_limit == 83 * UNIT
    assert clock.hot_redis.hmget(brand, "n1", "n2") == [None, None], "the step is in the limit that the person changed"
    assert clock.client.try_spend(one, "83").outcome == "accepted"
    persisted(clock)
    assert not found(clock)


def test_a_closed_day_and_the_trail_have_the_step_before_the_person(clock: System, go: Go) -> None:
    brand_id, _, _ = begun(clock, go)
    go(PERSON)
    assert clock.manage.update_brand(brand_id, "anna", daily_budget_micros=40 * UNIT).published
    go(LATER)
    second(clock)
    persisted(clock)
    clock.closer.close_ended()
    assert rows(clock, CLOSED) == [(120 * UNIT,)]
    assert rows(clock, TRAIL) == [("100.000000", "120.000000"), ("120.000000", "40.000000")]


def test_a_change_that_has_just_begun_for_a_time_is_cancelled_as_one_that_was_in_force(clock: System, go: Go) -> None:
    brand_id, one, number = begun(clock, go, ends=MIDNIGHT + DAY_MS)
    wipe(clock, brand_id)
    go(PERSON)
    with pytest.raises(Conflict, match=f"limit cancel {number}"):
        clock.manage.update_brand(brand_id, "anna", daily_budget_micros=40 * UNIT)
    clock.manage.cancel_limit(number, "anna")
    go(LATER)
    assert rebuilt(clock, brand_id) == LiveCarry(500 * UNIT, 43 * UNIT)
    assert rows(clock, TRAIL) == [("100.000000", "120.000000"), ("120.000000", "100.000000")]
    second(clock)
    assert clock.client.try_spend(one, "143").outcome == "accepted"
    persisted(clock)
    assert not found(clock)


def test_a_change_that_has_just_begun_for_good_cannot_be_cancelled(clock: System, go: Go) -> None:
    _, _, number = begun(clock, go)
    go(PERSON)
    with pytest.raises(InvalidLimitChange, match="has been taken and cannot be cancelled"):
        clock.manage.cancel_limit(number, "anna")
    assert clock.catalog.limits.one(number).cancelled is False


def test_a_limit_that_stays_and_another_field_leave_a_step_to_the_clock_of_redis(clock: System, go: Go) -> None:
    brand_id, _, _ = begun(clock, go)
    go(STEP + 1)
    changed = clock.manage.update_brand(brand_id, "anna", name="Borealis", daily_budget_micros=100 * UNIT)
    assert changed.published
    assert clock.catalog.brand(brand_id).daily_budget_micros == 100 * UNIT
    assert [step.at_ms for step in clock.catalog.brand(brand_id).steps] == [STEP]
    second(clock)
    assert clock.catalog.brand(brand_id).daily_budget_micros == 120 * UNIT


@pytest.mark.parametrize("lost", [True, False])
def test_a_late_spend_of_a_campaign_has_the_step_of_its_day_and_not_what_a_person_set_after_it(
    clock: System, go: Go, lost: bool
) -> None:
    brand_id, _, _ = begun(clock, go)
    assert clock.manage.update_brand(brand_id, "anna", rollover_cap_micros=None).published
    own = clock.manage.create_campaign(brand_id, "own", None, None, "anna", limits=OwnLimits(10 * UNIT)).row.id
    schedule(clock, own, "add:5", STEP, entity="campaign")
    clock.settings = dataclasses.replace(clock.settings, late_grace_minutes=GRACE)
    vars(clock).pop("rebuilder", None)
    assert stamps(clock.live, clock.instance, range(SHARDS), grace_minutes=GRACE)
    assert clock.client.try_spend(own, "10").outcome == "accepted"
    clock.persister.drain_all()
    if lost:
        wipe(clock, brand_id)
    go(PERSON)
    assert clock.manage.update_campaign(own, "anna", daily_budget_micros=1 * UNIT).published is (not lost)
    go(LATER)
    if lost:
        clock.rebuilder.rebuild([shard_of(brand_id)])
    late = at_ms(MIDNIGHT - 1)
    assert clock.client.try_spend(own, "5.000001", occurred_at=late).reasons == ("campaign_daily_budget",)
    assert clock.client.try_spend(own, "5", occurred_at=late).outcome == "accepted"
    assert clock.client.try_spend(own, "1.000001").reasons == ("campaign_daily_budget",)
    assert clock.client.try_spend(own, "1").outcome == "accepted"
