"""Fault 6: Redis is killed, wiped, put back to an old snapshot, or loses a key of any kind, while callers race. It is rebuilt by itself."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import BudgetClient, Unavailable
from engine.domain.ids import shard_of
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.faults.figures import Figures
from tests.patience import PATIENCE_S
from tests.processes.conftest import (
    Load,
    Own,
    Processes,
    back,
    brand_of,
    count,
    kill_redis,
    lost_and_doubled,
    ready,
    rows,
    until,
    verified,
)

KINDS = (
    "shard", "registry", "requests:0", "requests:1", "events:0", "events:1", "brand", "campaign", "holds", "expiry", "journal",
)  # fmt: skip
"""The journal comes last: the askers have stopped by then."""


class Askers:
    """Threads that ask for money until it is all spent, each call under an id of its own until it has an answer."""

    def __init__(self, url: str, campaigns: list[int], micros: int, threads: int = 3, name: str = "ask") -> None:
        self.accepted: list[str] = []
        self.calls = self.not_ready = self.refused = 0
        self._stop = threading.Event()
        self._url, self._campaigns, self._micros, self._name = url, campaigns, micros, name
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(threads)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _run(self, number: int) -> None:
        client = BudgetClient.from_url(self._url, timeout_ms=500)
        i = 0
        while not self._stop.is_set():
            i += 1
            name = f"{self._name}-{number}-{i}"
            while self._asked(client, self._campaigns[i % len(self._campaigns)], name) and not self._stop.is_set():
                time.sleep(0.01)
        client.close()

    def _asked(self, client: BudgetClient, campaign: int, name: str) -> bool:
        """One try; whether it must be repeated."""
        self.calls += 1
        try:
            outcome = client.try_spend(campaign, amount_micros=self._micros, request_id=name).outcome
        except Unavailable:
            return True
        if outcome == "accepted":
            self.accepted.append(name)
        self.refused += outcome == "refused"
        self.not_ready += outcome == "not_ready"
        return outcome == "not_ready"


def settled(system: System) -> bool:
    """Whether every shard is ready and PostgreSQL has all of it."""
    cursors = dict(rows(system, "SELECT shard, n FROM journal_cursor"))
    return all(state.ready and state.n == cursors[state.shard] for state in system.live.read_shards())


@pytest.mark.parametrize(
    ("how", "kinds"),
    [
        pytest.param("delete", ("shard", "events:0", "brand", "holds", "journal"), id="five kinds"),
        pytest.param("delete", KINDS, marks=pytest.mark.long, id="delete"),
        pytest.param("wrong type", KINDS, marks=pytest.mark.long, id="wrong type"),
    ],
)
def test_fault_06_v11_a_key_of_each_kind_lost_under_askers_is_rebuilt_and_not_one_micro_too_much_is_accepted(
    system: System,
    processes: Processes,
    hot_url: str,
    how: str,
    kinds: tuple[str, ...],
    figures: Callable[[Figures], None],
) -> None:
    worker = processes.start("worker", "--queue", "persist")
    until(lambda: ready(system), why=processes.said)
    limit = 63_000_000
    brand_id, campaigns = brand_of(system, "Aurora", daily=limit)
    keys, shard = keys_of_brand(brand_id), shard_of(brand_id)
    held = system.client.reserve(campaigns[0], "3", 3600)
    assert held.outcome == "accepted"
    names = {
        "brand": keys.brand(brand_id),
        "campaign": keys.campaign(campaigns[1]),
        **dict(zip(("holds", "expiry"), keys.holds(brand_id), strict=True)),
    }
    askers = Askers(hot_url, campaigns, 20_000)
    for kind in kinds:
        before = len(askers.accepted)
        until(lambda before=before: len(askers.accepted) > before + 20 or askers.refused, why=processes.said)  # type: ignore[misc]
        if kind == "journal":
            # What lies nowhere but in the journal goes with it: it is taken when PostgreSQL has all.
            askers.stop()
            until(lambda: settled(system), why=processes.said)
        key = names.get(kind, keys.tag + kind)
        generation = system.live.read_shard(shard).generation
        system.hot_redis.delete(key)
        if how == "wrong type":
            system.hot_redis.set(key, "something else")
        _notice(system, campaigns, kind)
        # Ready alone would also be the shard whose loss nobody has seen yet: the rebuild it is that is waited for.
        until(lambda g=generation: system.live.read_shard(shard).generation > g, why=processes.said)  # type: ignore[misc]
    # What is left is asked for until nothing is: exactly the budget is gone.
    last = Askers(hot_url, campaigns, 20_000, name="last")
    until(lambda: last.refused > 10, why=processes.said)
    last.stop()
    until(lambda: settled(system), why=processes.said)
    found = dict(rows(system, "SELECT request_id, count(*) FROM spend GROUP BY 1"))
    accepted = {*askers.accepted, *last.accepted}
    total = int(rows(system, "SELECT coalesce(sum(amount_micros), 0)::bigint FROM spend")[0][0])
    assert verified(system) == [], worker.said
    assert rows(system, "SELECT state FROM hold") == [("open",)]
    assert 0 <= limit - 3_000_000 - total < 20_000
    figures(
        Figures(
            askers.calls + last.calls,
            len(accepted),
            len(kinds),
            20_000 * sum(found.get(name, 0) < 1 for name in accepted),
            20_000 * sum(max(found[name] - 1, 0) for name in found),
            max(total + 3_000_000 - limit, 0),
            f"not_ready {askers.not_ready}",
        )
    )


def _notice(system: System, campaigns: list[int], kind: str) -> None:
    """What a bidder or the catalog would do next touches the key: only then, or by the persister, a loss can be found."""
    if kind == "registry":
        system.client.record_spend(campaigns[-1] + 1, "1")
    if kind.startswith("events"):
        system.client.try_spend(campaigns[0], "0.01", event_id=f"event-{time.monotonic_ns()}")
    if kind in ("holds", "expiry", "journal"):
        system.client.try_spend(campaigns[0], "0.01", request_id=f"notice-{time.monotonic_ns()}")


@pytest.mark.parametrize("which", [0, 1], ids=["holds", "expiry"])
def test_fault_06_a_wrong_type_where_nothing_is_held_is_found_before_anything_is_written(
    ready: System, which: int
) -> None:
    brand_id, (campaign, _) = brand_of(ready, "Aurora")
    keys = keys_of_brand(brand_id)
    ready.hot_redis.set(keys.holds(brand_id)[which], "something else")
    entries = ready.hot_redis.xlen(keys.journal)
    assert ready.client.reserve(campaign, "1", 60, "h").outcome == "not_ready"
    assert ready.hot_redis.xlen(keys.journal) == entries
    ready.rebuilder.rebuild_missing()
    assert ready.client.reserve(campaign, "1", 60, "h").outcome == "accepted"
    assert verified(ready) == []


@pytest.mark.long
@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_fault_06_redis_killed_again_and_again_under_load(
    own: Own, fsync: str, figures: Callable[[Figures], None]
) -> None:
    own.processes.start("worker", "--queue", "persist")
    until(lambda: ready(own.system), why=own.processes.said)
    campaigns = [c for i in range(4) for c in brand_of(own.system, f"brand {i}")[1]]
    kills = 3
    with Load(own.environment["REDIS_URL"], campaigns) as load:
        for _ in range(kills):
            own.system.hot_redis.config_set("appendfsync", fsync)
            before = len(load.acknowledged)
            until(lambda before=before: len(load.acknowledged) > before + 100, why=own.processes.said)  # type: ignore[misc]
            kill_redis(own)
            back(own.hot)
        before = len(load.acknowledged)
        until(lambda: len(load.acknowledged) > before + 50, why=own.processes.said)
        load.stop()
    until(lambda: settled(own.system), why=own.processes.said)
    lost, doubled = lost_and_doubled(own.system, load)
    assert verified(own.system) == []
    said = f"appendfsync {fsync}, process killed, no sync running (else, and when the machine dies, everysec may lose the last 2 s)"
    figures(
        Figures(load.spends + load.unavailable, load.spends, kills, 5000 * len(lost), 5000 * len(doubled), more=said)
    )


@pytest.mark.long
def test_fault_06_an_old_snapshot_restored_is_found_by_n_and_everything_persisted_is_there(
    own: Own, tmp_path: Path, figures: Callable[[Figures], None]
) -> None:
    worker = own.processes.start("worker", "--queue", "persist")
    until(lambda: ready(own.system), why=own.processes.said)
    _, campaigns = brand_of(own.system, "Aurora")
    kept = tmp_path / "snapshot"
    with Load(own.environment["REDIS_URL"], campaigns) as load:
        until(lambda: count(own.system) > 200, why=own.processes.said)
        own.system.hot_redis.config_set("appendfsync", "always")
        shutil.copytree(own.hot.folder, kept)
        before = count(own.system)
        until(lambda: count(own.system) > before + 500, why=own.processes.said)
        load.stop()
    until(lambda: settled(own.system), why=own.processes.said)
    own.hot.stop()
    owner = own.hot.folder.stat()
    shutil.rmtree(own.hot.folder)
    shutil.copytree(kept, own.hot.folder)
    _as_owner(own.hot.folder, owner)
    back(own.hot)
    with Load(own.environment["REDIS_URL"], campaigns) as after:
        # The same names again: calls of before, which PostgreSQL has, are repeated, and new ones follow.
        until(
            lambda: rows(own.system, "SELECT 1 FROM job_run WHERE job = 'rebuild' AND detail LIKE '%lost%'"),
            why=own.processes.said,
        )
        until(lambda: ready(own.system), why=own.processes.said)
        seen = len(after.acknowledged)
        until(lambda: len(after.acknowledged) > seen + 100, why=own.processes.said)
        after.stop()
    until(lambda: settled(own.system), why=own.processes.said)
    lost, doubled = lost_and_doubled(own.system, load)
    lost_after, doubled_after = lost_and_doubled(own.system, after)
    assert verified(own.system) == [], worker.said
    calls = load.spends + after.spends
    figures(
        Figures(
            calls,
            calls,
            1,
            5000 * len(lost | lost_after),
            5000 * len({*doubled, *doubled_after}),
            more="an AOF of before put back",
        )
    )


def _as_owner(folder: Path, owner: os.stat_result) -> None:
    """The copy belongs to whom the original belonged to: an embedded server started by root runs as another user."""
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, owner.st_uid, owner.st_gid)


def test_fault_06_a_restarted_redis_never_accepts_beyond_the_budget(
    own: Own, figures: Callable[[Figures], None]
) -> None:
    """appendfsync always, killed while three callers race for the last money."""
    own.processes.start("worker", "--queue", "persist")
    until(lambda: ready(own.system), why=own.processes.said)
    limit = 30_000_000
    brand_id, campaigns = brand_of(own.system, "Aurora", daily=limit)
    own.system.hot_redis.config_set("appendfsync", "always")
    askers = Askers(own.environment["REDIS_URL"], campaigns, 20_000)
    kills = 3
    for _ in range(kills):
        before = askers.calls
        until(lambda before=before: askers.calls > before + 300, why=own.processes.said)  # type: ignore[misc]
        kill_redis(own)
        back(own.hot)
        own.system.hot_redis.config_set("appendfsync", "always")
    until(lambda: len(askers.accepted) >= limit // 20_000, why=own.processes.said)
    askers.stop()
    until(lambda: settled(own.system), why=own.processes.said)
    total = int(rows(own.system, "SELECT sum(amount_micros)::bigint FROM spend")[0][0])
    found = dict(rows(own.system, "SELECT request_id, count(*) FROM spend GROUP BY 1"))
    lost = [name for name in askers.accepted if name not in found]
    doubled = sum(max(n - 1, 0) for n in found.values())
    assert verified(own.system) == []
    assert own.system.live.read_shard(shard_of(brand_id)).ready
    figures(
        Figures(askers.calls, len(askers.accepted), kills, 20_000 * len(lost), 20_000 * doubled, max(total - limit, 0))
    )
