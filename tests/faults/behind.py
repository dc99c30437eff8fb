"""A replica that is behind becomes the primary, at any size: how long each shard is out of use, and how far persist falls behind for the others."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis

from engine.client.sync import BudgetClient, Spend
from engine.domain.ids import shard_of
from engine.errors import BudgetError, Unavailable
from engine.local.valkey import Valkey
from engine.settings import Settings
from engine.wiring import System
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.processes.conftest import Own, brand_of, rows, until
from tests.proxy import Proxy

SECOND = 1.0


@dataclass
class Size:
    """entries: journal entries kept; busy: rows of each of the two busy brands in these two hours; behind_s: how far the replica is behind."""

    entries: int = int(os.environ.get("TEST_FAILOVER_ENTRIES", "6000"))
    busy: int = int(os.environ.get("TEST_FAILOVER_ROWS", "20000"))
    behind_s: float = float(os.environ.get("TEST_FAILOVER_BEHIND_S", "1"))


@dataclass
class Seen:
    """What was measured. out_s: {shard: how long it gave no answer after the failover}; lag_s: the longest that persist was behind for a shard that was whole."""

    out_s: dict[int, float] = field(default_factory=dict)
    lag_s: float = 0.0
    lost: int = 0
    doubled: int = 0
    acknowledged: int = 0
    rebuilt: int = 0
    detail: str = ""


class Stage:
    """A primary and its replica behind one address, brands on every shard, and a worker that persists."""

    def __init__(self, own: Own, replica: Valkey, proxy: Proxy) -> None:
        self.own, self.replica, self.proxy = own, replica, proxy
        through = own.environment["REDIS_URL"].replace(f":{own.hot.port}/", f":{proxy.port}/")
        self.environment = {**own.environment, "REDIS_URL": through}
        self.system = System(Settings.load(self.environment, None))
        own.processes.environment.update(self.environment)
        self.system.rebuilder.rebuild_missing()
        self.campaigns: dict[int, int] = {}
        for i in range(64):
            brand, made = brand_of(self.system, f"brand {i}", 1)
            self.campaigns[shard_of(brand)] = made[0]
        self.busy = sorted(self.campaigns)[:2]
        self.quiet = sorted(self.campaigns)[32:]
        self.worker = own.processes.start("worker", "--queue", "persist")

    def fill(self, size: Size) -> None:
        """The journals and rows of the size, all of them persisted."""
        with BudgetClient.from_url(self.environment["REDIS_URL"], timeout_ms=20_000) as client:
            for shard in self.busy:
                for at in range(0, size.busy, 500):
                    call = [Spend(self.campaigns[shard], "0.001", f"busy-{shard}-{at + i}") for i in range(500)]
                    assert {a.outcome for a in client.record_spends(call)} == {"recorded"}
            each = [Spend(campaign, "0.001") for campaign in self.campaigns.values()]
            for _ in range(-(-size.entries // len(each))):
                client.record_spends(each)
        until(self.persisted, 600)

    def persisted(self) -> bool:
        cursors = dict(rows(self.system, "SELECT shard, n FROM journal_cursor"))
        return all(state.ready and state.n == cursors[state.shard] for state in self.system.live.read_shards())

    def fall_behind(self) -> None:
        """From here the replica gets nothing any more: what it has is what it will have when it is promoted."""
        plain = redis.Redis.from_url(self.replica.url)
        primary: Any = self.system.hot_redis.info("replication")
        until(lambda: plain.info("replication")["slave_repl_offset"] >= primary["master_repl_offset"])  # type: ignore[index]
        plain.replicaof("NO", "ONE")
        plain.close()

    def fail_over(self) -> None:
        """The primary is killed, and the address leads to the replica."""
        process = self.own.hot.process
        assert process is not None
        self.proxy.target = self.replica.port
        process.send_signal(signal.SIGKILL)
        process.wait()


@contextmanager
def staged(own: Own) -> Iterator[Stage]:
    replica = Valkey("replica", "replica", own.hot.data, own.hot.program, own.hot.password, free_port())
    replica.launch()
    replica.wait(lambda: False)
    with redis.Redis.from_url(replica.url) as plain:
        plain.config_set("masterauth", own.hot.password)
        plain.replicaof("127.0.0.1", str(own.hot.port))
    proxy = Proxy(own.hot.port)
    stage = Stage(own, replica, proxy)
    try:
        yield stage
    finally:
        own.processes.end()
        stage.system.close()
        proxy.close()
        replica.stop()


class Callers:
    """One thread for some shards, which goes on spending: each call is repeated under its id until it is counted."""

    def __init__(self, url: str, campaigns: dict[int, int], name: str) -> None:
        self._url, self._campaigns, self._name = url, campaigns, name
        self.acknowledged: list[tuple[str, float]] = []
        """Events, and when the call began that was answered."""
        self.answered_at: dict[int, float] = {}
        """{shard: when it last counted a spend after having refused one}."""
        self._refused: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        waiting: dict[int, str] = {}
        number = 0
        with BudgetClient.from_url(self._url, timeout_ms=300) as client:
            while not self._stop.is_set():
                for shard, campaign in self._campaigns.items():
                    if shard not in waiting:
                        number += 1
                        waiting[shard] = f"{self._name}-{shard}-{number}"
                    event, began = waiting[shard], time.monotonic()
                    try:
                        outcome = client.record_spend(campaign, "0.001", event_id=event, request_id=event).outcome
                    except Unavailable:
                        outcome = "unavailable"
                    now = time.monotonic()
                    if outcome in ("recorded", "duplicate"):
                        del waiting[shard]
                        self.acknowledged.append((event, began))
                        if shard in self._refused:
                            self._refused.discard(shard)
                            self.answered_at[shard] = now
                    elif outcome == "not_ready":
                        self._refused.add(shard)
                time.sleep(0.01)

    @property
    def refused(self) -> set[int]:
        """Shards that give no answer now."""
        return set(self._refused)


class Lag:
    """Looks ten times a second how old the oldest entry is that persist has not reached, on some shards."""

    def __init__(self, system: System, shards: list[int]) -> None:
        self._system, self._shards = system, shards
        self.longest_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        seen: dict[int, deque[tuple[float, int]]] = {shard: deque() for shard in self._shards}
        while not self._stop.wait(0.1):
            try:
                states = {state.shard: state for state in self._system.live.read_shards()}
                now = time.monotonic()
                cursors = dict(rows(self._system, "SELECT shard, n FROM journal_cursor"))
            except BudgetError:
                continue
            for shard, queue in seen.items():
                if not states[shard].ready:
                    queue.clear()
                    continue
                queue.append((now, states[shard].n))
                while queue and queue[0][1] <= cursors[shard]:
                    queue.popleft()
                if queue:
                    self.longest_s = max(self.longest_s, time.monotonic() - queue[0][0])

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


def fail_over(stage: Stage, size: Size, patience_s: float) -> Seen:
    """The whole of it: filled, behind, failed over, healed; answers what was seen."""
    seen, url = Seen(), stage.environment["REDIS_URL"]
    stage.fill(size)
    print(f"filled: {size}", flush=True)
    told = len(rows(stage.system, "SELECT 1 FROM job_run WHERE job = 'rebuild'"))
    spent_on = {shard: c for shard, c in stage.campaigns.items() if shard not in stage.quiet}
    callers = Callers(url, spent_on, "behind")
    others = Callers(url, {shard: stage.campaigns[shard] for shard in stage.quiet}, "other")
    stage.fall_behind()
    callers.start()
    time.sleep(size.behind_s)
    stage.fail_over()
    failed_at, failed = time.monotonic(), time.time()
    lag = Lag(stage.system, stage.quiet)
    others.start()
    try:
        until(
            lambda: set(spent_on) <= callers.answered_at.keys() and not callers.refused,
            patience_s,
            stage.own.processes.said,
        )
        time.sleep(SECOND)
    finally:
        callers.end()
        others.end()
        lag.end()
    seen.lag_s = lag.longest_s
    seen.out_s = {shard: at - failed_at for shard, at in callers.answered_at.items()}
    until(stage.persisted, 60)
    found = dict(rows(stage.system, "SELECT event_id, count(*) FROM spend WHERE event_id NOT LIKE 'busy%' GROUP BY 1"))
    acknowledged = callers.acknowledged + others.acknowledged
    seen.acknowledged = len(acknowledged)
    # What the old primary alone had died with it, and its last answers were still on their way. Nothing may be lost of a call that began after its death.
    seen.lost = sum(1 for event, began in acknowledged if event not in found and began > failed_at)
    seen.doubled = sum(1 for times in found.values() if times > 1)
    runs = rows(
        stage.system,
        "SELECT detail, extract(epoch FROM started_at)::float, extract(epoch FROM finished_at - started_at)::float"
        " FROM job_run WHERE job = 'rebuild' ORDER BY id",
    )[told:]
    seen.rebuilt = len(runs)
    seen.detail = "\n".join(
        f"a rebuild began {began - failed:.1f} s after the failover and took {took:.1f} s: {detail}"
        for detail, began, took in runs
    )
    return seen
