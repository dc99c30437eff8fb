"""A wiped or damaged Redis comes back exactly as the log has it, and counts nothing twice."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from engine.client.sync import Spend
from engine.domain.ids import shard_of
from engine.domain.periods import day_of, ms_of
from engine.errors import BudgetError
from engine.flows.rebuild import fork, salvage
from engine.live.keys import keys_of_brand, shard_keys
from engine.live.scripts import script
from engine.live.transport.pool import Call
from engine.wiring import System
from tests.flows.conftest import at, born_on_the_moved_clock
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_verify import failed


def test_a_wiped_redis_is_rebuilt_with_its_counters_and_accepts_not_one_unit_more(ready: System) -> None:
    _, (one, two) = brand_with_campaigns(ready, 2, daily=10_000_000)
    ready.client.record_spend(one, "4")
    ready.client.record_spend(two, "5")
    ready.persister.drain_all()
    ready.hot_redis.flushall()
    assert ready.client.try_spend(one, "1").outcome == "not_ready"
    assert len(ready.rebuilder.rebuild_missing()) == 64
    assert ready.client.try_spend(one, "2").outcome == "refused"
    answer = ready.client.try_spend(two, "1")
    assert (answer.outcome, answer.daily_spend, answer.monthly_spend) == ("accepted", Decimal(10), Decimal(10))
    ready.persister.drain_all()
    assert rows(ready, "SELECT generation, amount_micros FROM spend ORDER BY n") == [
        (1, 4_000_000),
        (1, 5_000_000),
        (2, 1_000_000),
    ]


def test_calls_and_win_notices_from_before_are_still_known_after_a_rebuild(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready, daily=10_000_000)
    batch = [Spend(campaign, "1", "win-1"), Spend(campaign, "2")]
    mixed = [Spend(campaign, "3"), Spend(campaign, "9"), Spend(campaign, "1", "win-1")]
    ready.client.record_spends(batch, request_id="whole")
    ready.client.try_spends(mixed, request_id="mixed")
    ready.persister.drain_all()
    ready.hot_redis.flushall()
    ready.rebuilder.rebuild_missing()
    assert [a.outcome for a in ready.client.record_spends(batch, request_id="whole")] == ["recorded", "recorded"]
    assert [a.outcome for a in ready.client.try_spends(mixed, request_id="mixed")] == [
        "accepted",
        "refused",
        "duplicate",
    ]
    assert ready.client.record_spend(campaign, "7", request_id="whole").outcome == "conflict"
    assert ready.client.record_spend(campaign, "1", event_id="win-1").outcome == "duplicate"
    assert ready.client.record_spend(campaign, "2", event_id="win-1").outcome == "conflict"
    assert ready.client.status(campaign).status == "active"
    assert ready.persister.drain_all().rows == 0


def test_a_lost_key_is_brought_back_and_what_was_still_in_the_journal_is_persisted_first(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    ready.client.record_spend(campaign, "2")
    ready.hot_redis.delete(keys_of_brand(brand_id).brand(brand_id))
    assert ready.client.record_spend(campaign, "4").outcome == "not_ready"
    (rebuilt,) = ready.rebuilder.rebuild_missing()
    assert (rebuilt.shard, rebuilt.persisted, rebuilt.salvaged) == (shard_of(brand_id), 1, 0)
    assert ready.client.record_spend(campaign, "4").daily_spend == Decimal(7)
    ready.persister.drain_all()
    assert rows(ready, "SELECT count(*), sum(amount_micros) FROM spend") == [(3, 7_000_000)]


def test_spends_of_a_redis_that_fell_back_are_salvaged_and_those_logged_before_are_not_doubled(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    keys = keys_of_brand(brand_id)
    ready.client.record_spend(campaign, "1", request_id="kept")
    ready.client.record_spend(campaign, "2", request_id="fell-out", event_id="win")
    ready.persister.drain_all()
    # An older Redis: the last entry, its counters and its ids are gone.
    ready.hot_redis.xdel(keys.journal, ready.hot_redis.xrange(keys.journal)[-1][0])
    ready.hot_redis.hset(keys.shard, "n", 2)
    ready.hot_redis.hdel(keys.requests[0], "fell-out")
    ready.hot_redis.hdel(keys.events[0], f"{brand_id}:win")
    # The bidder repeats its call, then goes on.
    assert ready.client.record_spend(campaign, "2", request_id="fell-out", event_id="win").outcome == "recorded"
    ready.client.record_spend(campaign, "4", request_id="new")
    ready.persister.drain_all()
    (rebuilt,) = ready.rebuilder.rebuild_missing()
    assert rebuilt.salvaged == 1
    answer = ready.client.record_spend(campaign, "8")
    assert (answer.outcome, answer.daily_spend) == ("recorded", Decimal(15))
    ready.persister.drain_all()
    assert rows(ready, "SELECT count(*), sum(amount_micros) FROM spend") == [(4, 15_000_000)]
    assert rows(ready, "SELECT count(*) FROM (SELECT DISTINCT shard, generation, n, position FROM spend) d") == [(4,)]


def test_a_rebuild_run_twice_changes_nothing(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "3")
    for _ in range(2):
        ready.rebuilder.rebuild([shard_of(brand_id)])
    assert ready.client.record_spend(campaign, "1").daily_spend == Decimal(4)
    ready.persister.drain_all()
    assert rows(ready, "SELECT count(*), sum(amount_micros) FROM spend") == [(2, 4_000_000)]


def test_another_instances_redis_is_never_rebuilt(ready: System) -> None:
    shard = keys_of_brand(1).shard
    ready.hot_redis.hset(shard, "mark", "someone-else:1")
    ready.hot_redis.hset(shard, "owner", "someone-else")
    with pytest.raises(BudgetError, match="another instance"):
        ready.rebuilder.rebuild([1])
    assert ready.hot_redis.hget(shard, "mark") == b"someone-else:1"


def test_a_change_made_while_redis_was_empty_is_there_after_the_rebuild(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready, daily=1_000_000)
    ready.hot_redis.flushall()
    changed = ready.manage.update_brand(brand_id, "anna", daily_budget_micros=7_000_000)
    assert (changed.published, changed.row.daily_budget_micros) == (False, 7_000_000)
    ready.rebuilder.rebuild_missing()
    assert ready.client.record_spend(campaign, "1").daily_remaining == Decimal(6)
    assert ready.catalog.unpublished() == []


def test_a_slow_rebuild_that_was_overtaken_leaves_the_cursor_of_the_quicker_one_alone(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    shard = shard_of(brand_id)
    ready.client.record_spend(campaign, "1")
    restart = salvage._restart

    def overtaken(*args: Any) -> Any:
        monkeypatch.setattr(salvage, "_restart", restart)
        # The lock that keeps rebuilds apart goes with its connection; the token is what remains.
        ready.rebuilder._rebuild(shard)
        assert ready.client.record_spend(campaign, "2").outcome == "recorded"
        return restart(*args)

    monkeypatch.setattr(salvage, "_restart", overtaken)
    assert ready.rebuilder.rebuild([shard]) == []
    assert ready.client.record_spend(campaign, "4").daily_spend == Decimal(7)
    assert ready.persister.drain_all().rows == 2
    assert rows(ready, "SELECT generation, amount_micros FROM spend ORDER BY n") == [
        (1, 1_000_000),
        (2, 2_000_000),
        (2, 4_000_000),
    ]
    ready.rebuilder.rebuild([shard])
    assert ready.client.record_spend(campaign, "1").daily_spend == Decimal(8)


def test_two_salvages_at_once_write_what_was_missing_once(ready: System, monkeypatch: pytest.MonkeyPatch) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    keys = keys_of_brand(brand_id)
    for _ in range(3):
        ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    ready.hot_redis.xdel(keys.journal, ready.hot_redis.xrange(keys.journal)[-1][0])
    ready.hot_redis.hset(keys.shard, "n", 3)
    ready.client.record_spend(campaign, "5")
    write = salvage._salvage

    def overtaken(*args: Any) -> Any:
        monkeypatch.setattr(salvage, "_salvage", write)
        ready.rebuilder._rebuild(shard_of(brand_id))
        return write(*args)

    monkeypatch.setattr(salvage, "_salvage", overtaken)
    ready.rebuilder.rebuild([shard_of(brand_id)])
    ready.persister.drain_all()
    assert rows(ready, "SELECT count(*), sum(amount_micros) FROM spend") == [(4, 8_000_000)]
    assert ready.client.record_spend(campaign, "1").daily_spend == Decimal(9)


def fall_back(system: System, brand_id: int) -> None:
    """An older Redis: what the last call wrote to journal and number is gone."""
    keys = keys_of_brand(brand_id)
    system.hot_redis.xdel(keys.journal, system.hot_redis.xrange(keys.journal)[-1][0])
    system.hot_redis.hincrby(keys.shard, "n", -1)


def test_a_salvage_of_more_than_a_page_carries_all_of_it_over(ready: System, monkeypatch: pytest.MonkeyPatch) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    fall_back(ready, brand_id)
    for _ in range(7):
        ready.client.record_spend(campaign, "5")
    ready.persister.drain_all()
    monkeypatch.setattr(fork, "SLICE", 3)
    (rebuilt,) = ready.rebuilder.rebuild_missing()
    assert rebuilt.salvaged == 7
    assert rows(ready, "SELECT count(*), sum(amount_micros) FROM spend") == [(8, 36_000_000)]


def test_a_salvage_goes_on_after_the_highest_number_of_either_store(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    fall_back(ready, brand_id)
    for _ in range(4):
        ready.client.record_spend(campaign, "5")
    ready.persister.drain_all()
    ready.rebuilder.rebuild_missing()
    assert failed(ready) == {}, "a counter is compared with the rows up to its number"
    assert ready.client.record_spend(campaign, "7").daily_spend == Decimal(28)
    ready.persister.drain_all()
    assert failed(ready) == {}


def begin(system: System, shard: int, token: str) -> str:
    """Takes a shard out of use as a rebuild does; answers the journal's last entry id."""
    keys = shard_keys(shard)
    call = Call(script("rebuild_begin"), (keys.shard, keys.journal), (system.instance, token))
    return system.live.call_all([call])[0][4].decode()


def finish(system: System, shard: int, token: str, last: str) -> bytes:
    """Asks for the mark as a rebuild does, 99 its generation; answers the reply's word."""
    keys, n = shard_keys(shard), system.live.read_shard(shard).n
    args = (token, system.instance, "99", str(n), last, "0", "600000", "3600000")
    return system.live.call_all([Call(script("rebuild_finish"), (keys.shard, keys.journal), args)])[0][0]


def test_a_shard_that_is_being_rebuilt_takes_no_spend(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    begin(ready, shard_of(brand_id), "one")
    answer = ready.client.record_spend(campaign, "1")
    assert (answer.outcome, answer.detail) == ("not_ready", "rebuilding")
    ready.rebuilder.rebuild_missing()
    assert ready.client.record_spend(campaign, "2").daily_spend == Decimal(2)


def test_a_rebuild_whose_token_is_void_writes_no_slice_and_no_mark(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    keys, shard = keys_of_brand(brand_id), shard_of(brand_id)
    begin(ready, shard, "slow")
    last = begin(ready, shard, "quick")
    before = ready.hot_redis.hgetall(keys.brand(brand_id))
    late = ("slow", "replace", "2", "v", "1")
    reply = ready.live.call_all([Call(script("rebuild_set"), (keys.shard, keys.brand(brand_id)), late)])[0]
    assert reply[0] == b"taken"
    assert ready.hot_redis.hgetall(keys.brand(brand_id)) == before
    assert finish(ready, shard, "slow", last) == b"taken"
    assert not ready.live.read_shard(shard).mark
    assert finish(ready, shard, "quick", last) == b"ok"


def test_no_mark_is_written_over_an_entry_that_is_not_persisted(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    last = begin(ready, shard_of(brand_id), "one")
    late = {"f": "1", "n": ready.live.read_shard(shard_of(brand_id)).n + 1, "r": "late", "b": f"{campaign},1000000,,;"}
    ready.hot_redis.xadd(keys_of_brand(brand_id).journal, late)  # type: ignore[arg-type]
    assert finish(ready, shard_of(brand_id), "one", last) == b"behind"
    assert not ready.live.read_shard(shard_of(brand_id)).mark


def test_a_rebuilt_shards_time_goes_on_from_its_last_entry(clock: System) -> None:
    # Not at a minute's begin, from which on a rebuilt shard goes on in any case.
    now = ms_of(datetime(2030, 5, 5, 12, tzinfo=UTC)) + 700
    at(clock, now)
    brand_id, (campaign,) = brand_with_campaigns(clock)
    clock.client.record_spend(campaign, "1")
    clock.persister.drain_all()
    clock.hot_redis.flushall()
    at(clock, now - 500)
    clock.rebuilder.rebuild_missing()
    assert clock.live.read_shard(shard_of(brand_id)).now_ms >= now


def test_a_rebuild_brings_back_no_counter_of_a_closed_day_which_no_close_would_remove_again(clock: System) -> None:
    now = ms_of(datetime(2037, 5, 5, 23, tzinfo=UTC))
    at(clock, now)
    brand_id, (campaign,) = brand_with_campaigns(clock)
    born_on_the_moved_clock(clock)
    clock.client.record_spend(campaign, "1")
    clock.persister.drain_all()
    keys = keys_of_brand(brand_id)
    for closed in (False, True):
        at(clock, now + 2 * 60 * 60_000)
        clock.persister.drain_all()
        if closed:
            assert clock.closer.close_ended().days
        clock.rebuilder.rebuild([shard_of(brand_id)])
        found = [
            clock.hot_redis.hget(key, f"d:{day_of(now)}") for key in (keys.brand(brand_id), keys.campaign(campaign))
        ]
        assert found == ([None, None] if closed else [b"1000000"] * 2)


def test_a_rebuild_remembers_win_notices_for_their_own_window(clock: System) -> None:
    now = ms_of(datetime(2030, 5, 5, 12, tzinfo=UTC))
    at(clock, now)
    _, (campaign,) = brand_with_campaigns(clock)
    clock.client.record_spend(campaign, "1", event_id="win")
    clock.persister.drain_all()
    clock.hot_redis.flushall()
    at(clock, now + 59 * 60_000)
    clock.rebuilder.rebuild_missing()
    assert clock.client.record_spend(campaign, "1", event_id="win").outcome == "duplicate"


def test_a_campaign_lost_after_a_rebuild_is_lost_and_not_unknown(ready: System) -> None:
    brand_id, (one, two) = brand_with_campaigns(ready, 2)
    ready.rebuilder.rebuild([shard_of(brand_id)])
    ready.hot_redis.delete(keys_of_brand(brand_id).campaign(two))
    assert ready.client.record_spend(two, "1").outcome == "not_ready"
    ready.rebuilder.rebuild_missing()
    assert [ready.client.record_spend(c, "1").outcome for c in (one, two)] == ["recorded", "recorded"]
