"""Fault 10: PostgreSQL, or a journal, goes back to an earlier state. Inside JOURNAL_KEEP_MINUTES nothing is lost; beyond it it is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, text

from engine.client.sync import Spend
from engine.domain.ids import shard_of
from engine.flows.persist.persister import trim_all
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.databases import run_sql
from tests.faults.figures import Figures
from tests.processes.conftest import Load, Processes, brand_of, count, lost_and_doubled, ready, rows, until, verified


class Snapshot:
    """The database as it is now; `restore` puts it in the place of what it has become."""

    def __init__(self, postgres: Engine, system: System) -> None:
        self._postgres, self._system = postgres, system
        self._name = str(rows(system, "SELECT current_database()")[0][0])
        self._kept = f"{self._name}_kept"
        self._copy(self._name, self._kept)

    def restore(self) -> None:
        run_sql(self._postgres, f"DROP DATABASE {self._name} WITH (FORCE)")
        self._copy(self._kept, self._name)

    def remove(self) -> None:
        run_sql(self._postgres, f"DROP DATABASE IF EXISTS {self._kept} WITH (FORCE)")

    def _copy(self, source: str, target: str) -> None:
        self._system.db.dispose()
        # A template must have no sessions, and a worker comes back at once.
        run_sql(self._postgres, f"ALTER DATABASE {source} ALLOW_CONNECTIONS false")
        try:
            end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{source}'"
            until(lambda: _tried(self._postgres, end, f"CREATE DATABASE {target} TEMPLATE {source}"))
        finally:
            run_sql(self._postgres, f"ALTER DATABASE {source} ALLOW_CONNECTIONS true")
            if target == self._name:
                run_sql(self._postgres, f"ALTER DATABASE {target} ALLOW_CONNECTIONS true")


def _tried(postgres: Engine, *statements: str) -> bool:
    try:
        for statement in statements:
            run_sql(postgres, statement)
    except Exception:
        return False
    return True


@pytest.fixture
def snapshots(postgres: Engine) -> Iterator[Callable[[System], Snapshot]]:
    made: list[Snapshot] = []

    def take(system: System) -> Snapshot:
        made.append(Snapshot(postgres, system))
        return made[-1]

    yield take
    for one in made:
        one.remove()


def drained(system: System) -> bool:
    cursors = dict(rows(system, "SELECT shard, n FROM journal_cursor"))
    return all(state.ready and state.n == cursors[state.shard] for state in system.live.read_shards())


@pytest.mark.long
def test_fault_10_postgresql_restored_under_load_within_the_kept_journal_loses_and_doubles_nothing(
    system: System,
    processes: Processes,
    hot_url: str,
    snapshots: Callable[[System], Snapshot],
    figures: Callable[[Figures], None],
) -> None:
    worker = processes.start("worker", "--queue", "persist")
    until(lambda: ready(system), why=processes.said)
    campaigns = [c for i in range(4) for c in brand_of(system, f"brand {i}")[1]]
    with Load(hot_url, campaigns) as load:
        until(lambda: count(system) > 200, why=processes.said)
        earlier = snapshots(system)
        kept = len(load.acknowledged)
        until(lambda: count(system) > (kept + 200) * 5, why=processes.said)
        gone = count(system)
        earlier.restore()
        gone -= count(system)
        until(lambda: drained(system) or count(system) > (kept + 300) * 5, why=processes.said)
        load.stop()
    until(lambda: drained(system), why=processes.said)
    lost, doubled = lost_and_doubled(system, load)
    assert count(system) == load.spends
    assert verified(system) == []
    assert rows(system, "SELECT 1 FROM job_run WHERE job = 'rebuild' AND detail LIKE '%lost%'") == []
    assert rows(system, "SELECT 1 FROM quarantine") == [], worker.said
    said = f"{gone} rows went back and came again"
    figures(Figures(load.spends, load.spends, 1, 5000 * len(lost), 5000 * len(doubled), more=said))


def test_fault_10_postgresql_restored_to_before_the_days_partition_sets_no_entry_aside(
    ready: System, snapshots: Callable[[System], Snapshot]
) -> None:
    _, (campaign, _) = brand_of(ready, "Aurora")
    ready.persister.drain_all()
    earlier = snapshots(ready)
    ready.client.record_spend(campaign, "1")
    assert ready.persister.drain_all().rows == 1
    earlier.restore()
    again = ready.persister.drain_all()
    assert (again.rows, again.quarantined) == (1, 0)
    assert verified(ready) == []


def test_fault_10_postgresql_restored_beyond_the_kept_journal_is_named_and_stops_its_shard(
    ready: System, snapshots: Callable[[System], Snapshot], figures: Callable[[Figures], None]
) -> None:
    brand_id, (campaign, _) = brand_of(ready, "Aurora", daily=100_000_000)
    ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    earlier = snapshots(ready)
    ready.hot_redis.config_set("stream-node-max-entries", 1)
    try:
        for _ in range(5):
            ready.client.record_spend(campaign, "1")
            ready.persister.drain_all()
        for _ in range(3):
            with ready.db.begin() as conn:
                conn.execute(text("UPDATE journal_cursor SET next_at = now() - interval '11 minutes'"))
            trim_all(ready.db, ready.live, ready.instance, 10)
        earlier.restore()
        assert any("V9" in finding and "is gone" in finding for finding in verified(ready)), verified(ready)
        ready.persister.drain_all()
    finally:
        ready.hot_redis.config_set("stream-node-max-entries", 100)
    answer = ready.client.try_spend(campaign, "1")
    ((stopped,),) = rows(ready, "SELECT stopped FROM journal_cursor WHERE shard = :s", s=shard_of(brand_id))
    assert answer.outcome == "not_ready"
    assert "the cursor stands at" in stopped
    assert count(ready) == 1, "nothing was invented"
    said = "verify names the gap, the shard stops, 5.000000 that PostgreSQL and the journal both lost are not invented"
    figures(Figures(6, 6, 1, more=said))


def test_fault_10_an_older_journal_that_has_come_up_to_the_same_number_is_found(ready: System) -> None:
    """Its n is the cursor's, its entries are others: nothing but the last entry's id tells."""
    brand_id, (campaign, _) = brand_of(ready, "Aurora")
    keys = keys_of_brand(brand_id)
    for _ in range(3):
        ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    # An older Redis: the last entry and its counters are gone; then one more spend under the same n.
    ready.hot_redis.xdel(keys.journal, ready.hot_redis.xrange(keys.journal)[-1][0])
    ready.hot_redis.hincrby(keys.shard, "n", -1)
    for key in (keys.brand(brand_id), keys.campaign(campaign)):
        for field in ready.hot_redis.hkeys(key):
            if field.startswith((b"d:", b"m:")):
                ready.hot_redis.hincrby(key, field.decode(), -1_000_000)
    assert ready.client.record_spend(campaign, "7").outcome == "recorded"
    ready.persister.drain_all()
    assert ready.client.record_spend(campaign, "1").outcome == "not_ready"
    ready.rebuilder.rebuild_missing()
    ready.persister.drain_all()
    assert rows(ready, "SELECT count(*), sum(amount_micros) FROM spend_log") == [(4, 10_000_000)]
    assert verified(ready) == []


@pytest.mark.parametrize("damage", ["delete", "wrong type"])
def test_fault_10_a_journal_that_is_gone_with_nothing_owed_is_found_without_a_call(ready: System, damage: str) -> None:
    brand_id, (campaign, _) = brand_of(ready, "Aurora")
    ready.client.record_spends([Spend(campaign, "1")] * 3)
    ready.persister.drain_all()
    journal = keys_of_brand(brand_id).journal
    ready.hot_redis.delete(journal)
    if damage == "wrong type":
        ready.hot_redis.set(journal, "no stream")
        assert ready.client.record_spend(campaign, "1").outcome == "not_ready"
    else:
        ready.persister.drain_all()
    assert not ready.live.read_shard(shard_of(brand_id)).ready
    ready.rebuilder.rebuild_missing()
    assert verified(ready) == []
