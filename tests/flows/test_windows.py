"""For how long ids are remembered is the settings' word: a shard that forgets sooner, by an older setting or by somebody's hand, counts no event twice
for long, and one that remembers for longer is set right without a pause.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from engine.domain.ids import shard_of
from engine.domain.periods import HOUR_MS, MINUTE_MS, ms_of
from engine.flows.persist.persister import DrainStats
from engine.jobs import persist_loop
from engine.live.keys import shard_keys
from engine.live.repair import probe_shards
from engine.wiring import System
from tests.flows.conftest import at, born_on_the_moved_clock
from tests.patience import in_time

NOON = ms_of(datetime(2037, 11, 23, 12, tzinfo=UTC))
HEALS_S = 30
ODD_ENDS = [("req_until", "9000000000000000"), ("ev_until", "9000000000000000"), ("ev_until", "4102444800000")]
TOO_SHORT = [("req_window", "1"), ("ev_window", "1"), ("ev_window", "3599999")]
TOO_LONG = [("req_window", "2592000001"), ("ev_window", "9000000000000000"), ("ev_window", "2592000001")]
"""Longer than 30 days, the most that the settings allow."""


def a_campaign(system: System) -> int:
    brand = system.manage.create_brand("one", 10_000_000, None, None, "test").row.id
    return system.manage.create_campaigns(brand, ["c"], "test")[0].id


def look(system: System) -> set[int]:
    return probe_shards(system.live, (), system.windows.both_ms)


def test_an_event_of_two_hours_ago_counts_once_after_event_id_hours_was_raised(clock: System) -> None:
    at(clock, NOON)
    campaign = a_campaign(clock)
    born_on_the_moved_clock(clock)
    clock.rebuilder.rebuild([shard_of(campaign // 65536)])
    assert clock.client.record_spend(campaign, "2", event_id="win-1")
    clock.persister.drain_all()
    at(clock, NOON + 5 * HOUR_MS // 2)
    assert clock.client.record_spend(campaign, "1", event_id="win-2")
    clock.persister.drain_all()
    raised = System(replace(clock.settings, event_id_hours=24))
    assert shard_of(campaign // 65536) in look(raised)
    raised.rebuilder.rebuild_missing()
    again = raised.client.record_spend(campaign, "2", event_id="win-1")
    assert (again.outcome, str(again.daily_spend)) == ("duplicate", "3.000000")
    assert look(raised) == set()
    raised.close()


@pytest.mark.parametrize(("field", "value"), TOO_SHORT)
def test_a_window_that_somebody_made_shorter_counts_no_event_twice_once_it_was_looked_at(
    ready: System, field: str, value: str
) -> None:
    campaign = a_campaign(ready)
    shard = shard_of(campaign // 65536)
    assert ready.client.record_spend(campaign, "2", event_id="win-1", request_id="r1")
    ready.persister.drain_all()
    ready.hot_redis.hset(shard_keys(shard).shard, field, value)
    assert look(ready) == {shard}
    assert not ready.live.read_shard(shard).ready
    ready.rebuilder.rebuild_missing()
    assert ready.client.record_spend(campaign, "2", event_id="win-1").outcome == "duplicate"
    again = ready.client.record_spend(campaign, "2", event_id="win-1", request_id="r1")
    assert (again.outcome, str(again.daily_spend)) == ("recorded", "2.000000")


@pytest.mark.parametrize(("field", "value"), TOO_LONG)
def test_a_window_that_is_longer_than_any_setting_is_cut_and_its_shard_goes_on(
    ready: System, field: str, value: str
) -> None:
    campaign = a_campaign(ready)
    shard = shard_of(campaign // 65536)
    assert ready.client.record_spend(campaign, "2", event_id="win-1")
    key, name = shard_keys(shard).shard, field.partition("_")[0]
    ready.hot_redis.hset(key, field, value)
    ready.hot_redis.hset(key, f"{name}_until", ms_of(datetime.now(UTC)) + min(int(value), 10**12) - MINUTE_MS)
    assert look(ready) == set()
    request_ms, event_ms = ready.windows.both_ms
    wanted = request_ms if name == "req" else event_ms
    assert int(ready.hot_redis.hget(key, field) or 0) == wanted
    assert int(ready.hot_redis.hget(key, f"{name}_until") or 0) <= ms_of(datetime.now(UTC)) + wanted
    assert ready.client.record_spend(campaign, "2", event_id="win-1").outcome == "duplicate"
    assert ready.live.read_shard(shard).ready


def test_a_window_of_another_workers_longer_setting_stays_so_that_two_workers_rebuild_nothing_in_turn(
    ready: System,
) -> None:
    shard = shard_of(a_campaign(ready) // 65536)
    longer = str(2 * ready.windows.both_ms[1])
    ready.hot_redis.hset(shard_keys(shard).shard, "ev_window", longer)
    assert look(ready) == set()
    assert ready.hot_redis.hget(shard_keys(shard).shard, "ev_window") == longer.encode()


@pytest.mark.parametrize(("field", "value"), ODD_ENDS)
def test_an_end_of_a_window_that_never_comes_takes_its_shard_out_of_use(ready: System, field: str, value: str) -> None:
    campaign = a_campaign(ready)
    shard = shard_of(campaign // 65536)
    ready.hot_redis.hset(shard_keys(shard).shard, field, value)
    assert look(ready) == {shard}
    ready.rebuilder.rebuild_missing()
    assert look(ready) == set()
    assert ready.client.record_spend(campaign, "2", event_id="win-1")


def test_an_odd_value_in_a_shard_that_nobody_calls_is_found_and_healed_by_the_persist_job_alone(ready: System) -> None:
    stop = threading.Event()
    worker = threading.Thread(target=persist_loop(ready).run, args=(stop.is_set, DrainStats()))
    worker.start()
    try:
        time.sleep(2)  # its first look is over
        odd = {7: ("ev_window", "abc"), 9: ("req_window", "1"), 11: ("ev_until", "9000000000000000")}
        for shard, (field, value) in odd.items():
            ready.hot_redis.hset(shard_keys(shard).shard, field, value)
        ready.hot_redis.hdel(shard_keys(13).registry, "#")
        began = time.monotonic()
        while in_time(time.monotonic() - began, HEALS_S):
            states = {state.shard: state for state in ready.live.read_shards()}
            values = [ready.hot_redis.hget(shard_keys(s).shard, f) != v.encode() for s, (f, v) in odd.items()]
            if (
                all(values)
                and ready.hot_redis.hexists(shard_keys(13).registry, "#")
                and all(s.ready for s in states.values())
            ):
                return
            time.sleep(0.2)
        pytest.fail(f"not healed within {HEALS_S} s")
    finally:
        stop.set()
        worker.join()
