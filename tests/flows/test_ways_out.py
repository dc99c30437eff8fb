"""Every shard that takes no spends has a way out: by itself, or by one command that says what a person must decide."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from engine.client.spends import Spend
from engine.domain.ids import shard_of
from engine.domain.periods import DAY_MS, HOUR_MS, ms_of
from engine.flows.catalog.check import check_all
from engine.flows.persist.quarantine import Quarantined
from engine.flows.rebuild.rebuilder import How, NotAllRebuilt
from engine.live.keys import keys_of_brand
from engine.live.transport.pool import Call, ConnectionPool
from engine.views.doctor.examine import examine
from engine.wiring import System
from tests.faults.odd import ODD
from tests.flows.conftest import at, born_on_the_moved_clock
from tests.flows.test_persist import rows
from tests.processes.conftest import until

NOON = ms_of(datetime(2037, 11, 23, 12, tzinfo=UTC))


def one_campaign(system: System) -> tuple[int, int]:
    brand = system.manage.create_brand("one", 10_000_000, None, None, "test").row.id
    campaign = system.manage.create_campaigns(brand, ["c"], "test")[0].id
    born_on_the_moved_clock(system)
    return brand, campaign


def failures(system: System) -> list[str]:
    return [finding for check in system.verifier.verify() for finding in check.findings]


def test_an_entry_of_the_future_in_a_journal_is_left_behind_by_a_rebuild_and_no_spend_is_lost(ready: System) -> None:
    brand, campaign = one_campaign(ready)
    assert ready.client.record_spend(campaign, "2")
    ready.hot_redis.xadd(keys_of_brand(brand).journal, {"f": "1"}, id="9999999999999-0")
    assert ready.client.record_spend(campaign, "1").detail == "clock"
    try:
        ready.rebuilder.rebuild([shard_of(brand)])
    except NotAllRebuilt as left:
        pytest.fail(f"the shard takes no spends: {left}")
    after = ready.client.record_spend(campaign, "1")
    assert (after.outcome, str(after.daily_spend)) == ("recorded", "3.000000")
    ready.persister.drain_all()
    assert [line[:30] for line in failures(ready)] == ["1 entry waits in quarantine (0"]
    Quarantined(ready.db, ready.persister).drop([1], "no script wrote it", "test")
    assert failures(ready) == []


@pytest.mark.parametrize("n", ["9007199254740992", "9007199254740993", "9000000000000001"])
def test_a_journal_number_that_no_double_holds_takes_its_shard_out_of_use_and_a_rebuild_brings_it_back(
    ready: System, n: str
) -> None:
    brand, campaign = one_campaign(ready)
    assert ready.client.record_spend(campaign, "2")
    ready.hot_redis.hset(keys_of_brand(brand).shard, "n", n)
    assert ready.client.record_spend(campaign, "1").detail == "lost"
    assert len(ready.rebuilder.rebuild_missing()) == 1
    assert str(ready.client.record_spend(campaign, "1").daily_spend) == "3.000000"
    ready.persister.drain_all()
    assert failures(ready) == []


def test_a_shard_of_another_owner_is_taken_over_by_name_and_by_no_job(ready: System) -> None:
    brand, campaign = one_campaign(ready)
    keys = keys_of_brand(brand)
    ready.hot_redis.hdel(keys.shard, "mark")
    ready.hot_redis.hset(keys.shard, "owner", "99999999-2222-4333-8444-555555555555")
    with pytest.raises(NotAllRebuilt, match="another instance"):
        ready.rebuilder.rebuild_missing()
    assert len(ready.rebuilder.rebuild([shard_of(brand)], how=How(take_over=True))) == 1
    assert ready.client.record_spend(campaign, "1")


@pytest.mark.parametrize("owner", ODD)
def test_an_owner_that_is_no_instance_s_name_stands_in_no_rebuild_s_way(ready: System, owner: str | bytes) -> None:
    brand, campaign = one_campaign(ready)
    keys = keys_of_brand(brand)
    assert ready.client.record_spend(campaign, "2")
    ready.hot_redis.hdel(keys.shard, "mark")
    ready.hot_redis.hset(keys.shard, "owner", owner)
    assert [rebuilt.shard for rebuilt in ready.rebuilder.rebuild_missing()] == [shard_of(brand)]
    assert str(ready.client.record_spend(campaign, "1").daily_spend) == "3.000000"


def test_a_shard_with_our_mark_is_ours_whatever_its_owner_says(ready: System) -> None:
    brand, campaign = one_campaign(ready)
    ready.hot_redis.hset(keys_of_brand(brand).shard, "owner", "99999999-2222-4333-8444-555555555555")
    assert len(ready.rebuilder.rebuild([shard_of(brand)])) == 1
    assert ready.client.record_spend(campaign, "1")


def test_a_clock_that_was_a_day_ahead_and_came_back_is_accepted_by_name_and_the_day_goes_on(clock: System) -> None:
    at(clock, NOON)
    brand, campaign = one_campaign(clock)
    shard = shard_of(brand)
    assert clock.client.record_spend(campaign, "2")
    at(clock, NOON + DAY_MS + HOUR_MS)
    assert clock.client.record_spend(campaign, "3")
    clock.persister.drain_all()
    clock.closer.close_ended()
    assert rows(clock, "SELECT spend_micros FROM period_total WHERE spend_micros > 0") == [(2_000_000,)]

    at(clock, NOON + HOUR_MS)
    assert clock.client.record_spend(campaign, "1").detail == "clock"
    with pytest.raises(NotAllRebuilt, match=r"takes no spends before 2037-11-24 13:00:00 UTC.*--accept-clock"):
        clock.rebuilder.rebuild([shard])
    assert len(clock.rebuilder.rebuild([shard], how=How(accept_clock=True))) == 1
    # The day of the 23rd is open again, with what was spent in it.
    again = clock.client.try_spend(campaign, "8")
    assert (again.outcome, str(again.daily_spend)) == ("accepted", "10.000000")
    assert clock.client.try_spend(campaign, "0.000001").outcome == "refused"
    clock.persister.drain_all()

    at(clock, NOON + DAY_MS + 2 * HOUR_MS)
    next_day = clock.client.try_spend(campaign, "7")
    assert (next_day.outcome, str(next_day.daily_spend)) == ("accepted", "10.000000")
    clock.persister.drain_all()
    clock.closer.close_ended()
    check_all(clock.publisher, clock.status)
    assert rows(clock, "SELECT spend_micros FROM period_total WHERE spend_micros > 0") == [(10_000_000,)]
    assert failures(clock) == []


OF_THE_ENGINE = ("read_shard", "rebuild_begin", "rebuild_set", "rebuild_finish")
"""These work on shards that are out of use, and only the engine calls them."""


def every_key(system: System) -> dict[bytes, bytes | None]:
    return {key: system.hot_redis.dump(key) for key in system.hot_redis.scan_iter("budget:*")}


def calls_of_each_kind(system: System, campaign: int) -> list[Call]:
    """A call of each script with several keys, as clients and the engine make them, from one that was sent."""
    client, made = system.client, dict[tuple[str, int], Call]()
    sent = ConnectionPool.call
    sent_all = ConnectionPool.call_all

    def note(calls: Sequence[Call]) -> None:
        for call in calls:
            args = call.args() if callable(call.args) else call.args
            if len(call.keys) > 1:
                made.setdefault((call.script.name, len(args)), Call(call.script, tuple(call.keys), tuple(args)))

    def call(self: ConnectionPool, one: Call, timeout_s: float) -> Any:
        note([one])
        return sent(self, one, timeout_s)

    def call_all(self: ConnectionPool, calls: Sequence[Call], *args: Any, **more: Any) -> Any:
        note(calls)
        return sent_all(self, calls, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConnectionPool, "call", call)
        patch.setattr(ConnectionPool, "call_all", call_all)
        client.record_spend(campaign, "1", event_id="e")
        client.try_spend(campaign, "1")
        client.record_spends([Spend(campaign, "1")] * 40)
        client.try_spends([Spend(campaign, "1", f"all {i}".replace(" ", "-")) for i in range(40)])
        client.release(client.reserve(campaign, "1", 60, "h").hold_id)
        client.refund(campaign, "1", "e")
        client.status(campaign)
        with client.lease(campaign, "5", 60) as lease:
            until(lambda: lease.try_spend("1"))
        client.close()
        system.persister.drain_all()
        system.manage.update_brand(campaign >> 16, "ann", daily_budget_micros=800_000_000)
        system.verifier.verify()
        check_all(system.publisher, system.status)
    return list(made.values())


def test_the_keys_of_two_shards_in_one_call_are_refused_and_nothing_is_written(ready: System) -> None:
    brand, campaign = one_campaign(ready)
    ready.manage.update_brand(brand, "ann", daily_budget_micros=900_000_000)
    other = ready.manage.create_brand("other", 10_000_000, None, None, "ann").row.id
    theirs = ready.manage.create_campaigns(other, ["c"], "ann")[0].id
    assert shard_of(other) != shard_of(brand)
    ready.client.record_spend(theirs, "1")
    calls = calls_of_each_kind(ready, campaign)
    names = {call.script.name for call in calls}
    assert names >= {"record_spends", "try_spends", "draw_spends", "holds", "lease", "refund", "read_plan", "publish"}
    mine, tag = f"budget:{{{shard_of(brand)}}}:", f"budget:{{{shard_of(other)}}}:"
    before = every_key(ready)
    for call in calls:
        if call.script.name in OF_THE_ENGINE:
            continue
        for place in range(1, len(call.keys)):
            mixed = list(call.keys)
            key = mixed[place].removeprefix(mine)
            mixed[place] = tag + key.replace(str(campaign), str(theirs)).replace(f":{brand}", f":{other}")
            args = list(call.args)  # type: ignore[arg-type]  # noted as they were sent
            if call.script.name in ("record_spends", "try_spends"):
                args[1] = f"mixed-{call.script.name}-{len(args)}-{place}"
            reply = ready.live.call_all([Call(call.script, mixed, args)])[0]
            assert (reply[0], reply[-1]) == (b"invalid", b"keys"), (call.script.name, place, reply)
    assert every_key(ready) == before
    answer = ready.client.record_spend(theirs, "1")
    assert str(answer.daily_spend) == "2.000000"
    ready.persister.drain_all()
    assert failures(ready) == []


def test_data_that_no_invariant_can_read_fails_that_invariant_and_the_others_are_judged(ready: System) -> None:
    one_campaign(ready)
    with ready.db.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO quarantine (shard, generation, n, entry_id, fields, sums, reason)"
                " VALUES (1, 1, NULL, '1-0', '{}', '[[\"brand\"]]', 'planted')"
            )
        )
    checks = {check.id: check for check in ready.verifier.verify()}
    assert "could not be judged" in checks["V1"].findings[0]
    assert set(checks) >= {f"V{n}" for n in (1, 3, 4, 5, 7, 8, 9, 10, 11, 12)}
    assert checks["V12"].findings == []


def test_doctor_names_the_shards_whose_journal_ends_in_the_future_and_the_way_out(ready: System) -> None:
    brand, campaign = one_campaign(ready)
    ready.hot_redis.xadd(keys_of_brand(brand).journal, {"f": "1"}, id="9999999999999-0")
    (found,) = [f for f in examine(ready.settings, lambda _: ()) if f.name == "shard journals"]
    assert found.state == "fail" and f"({shard_of(brand)})" in found.detail
    assert "rebuild --shard N" in found.todo
    assert ready.rebuilder.rebuild([shard_of(brand)])
    assert ready.client.record_spend(campaign, "1")
