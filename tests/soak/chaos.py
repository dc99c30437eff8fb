"""The faults of a soak. After each fault everything runs again without manual help."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import BudgetError
from engine.wiring import System
from tests.processes.conftest import Own, Process, back, rows, until
from tools.node_client import node

PATIENCE_S = 90.0
IN_NODE = "bnode"
"""The name of the bidder in Node."""


def settled(system: System) -> bool:
    """Whether every shard is ready and PostgreSQL has its whole journal."""
    try:
        cursors = dict(rows(system, "SELECT shard, n FROM journal_cursor"))
        return all(state.ready and state.n == cursors[state.shard] for state in system.live.read_shards())
    except BudgetError:
        return False


class Chaos:
    """Causes one random fault at a time, and counts the faults by kind."""

    def __init__(
        self,
        own: Own,
        folder: Path,
        seed: int,
        brands: dict[int, list[int]],
        budgets: list[int],
        in_node: Path | None = None,
    ) -> None:
        """in_node: the folder of the built Node client, whose bidder then runs beside the others."""
        self.own, self.faults = own, Counter[str]()
        self._in_node = in_node
        self._folder, self._seed, self._chance = folder, seed, random.Random(seed)
        self._brands, self._budgets = brands, budgets
        self._parts: dict[str, Process] = {}
        self._bidders = 0
        self._kinds = self.kinds()
        self._left: list[Callable[[], None]] = []

    def kinds(self) -> list[Callable[[], None]]:
        """What may be broken, as often as it stands here a turn."""
        return [
            self.worker_killed, self.worker_killed, self.jobs_worker_killed, self.scheduler_killed, self.redis_frozen,
            self.redis_killed, self.jobs_redis_killed, self.postgresql_stopped, self.postgresql_killed, self.redis_wiped,
            self.key_deleted, self.key_of_wrong_type, self.second_persister, self.second_scheduler, self.bidder_killed,
            self.shard_rebuilt_by_hand,
        ]  # fmt: skip

    def start(self, bidders: int) -> None:
        for name, args in (
            ("persist", ("worker", "--queue", "persist")),
            ("jobs", ("worker", "--queue", "jobs")),
            ("scheduler", ("scheduler",)),
        ):
            self._parts[name] = self.own.processes.start(*args)
        self.always()
        for i in range(bidders):
            self.bidder(f"b{i}")
        if self._in_node is not None:
            self.bidder(IN_NODE)

    def bidder(self, slot: str) -> None:
        self._bidders += 1
        name = f"{slot}g{self._bidders}"
        if slot == IN_NODE:
            script = f"{self._in_node}/dist-test/bidder.js"
            args = [script, str(self._folder), name, str(self._seed), self.own.environment["REDIS_URL"]]
            self._parts[slot] = Process(args, self.own.environment, self._folder / f"{name}.log", node())
            return
        args = ["-m", "tests.soak.bidder", str(self._folder), name, str(self._seed), self.own.environment["REDIS_URL"]]
        self._parts[slot] = Process(args, self.own.environment, self._folder / f"{name}.log")

    def always(self) -> None:
        """Sets appendfsync to always: each write is on disk before its reply, so no acknowledged spend may be lost."""
        self.own.system.hot_redis.config_set("appendfsync", "always")

    def once(self) -> str:
        """Causes one fault and returns its name. Every kind occurs once before any occurs again."""
        if not self._left:
            self._left = self._chance.sample(self._kinds, len(self._kinds))
        fault = self._left.pop()
        fault()
        name = fault.__name__.replace("_", " ")
        self.faults[name] += 1
        self._raise_a_budget()
        return name

    def end(self) -> list[str]:
        """Stops the bidders and waits until PostgreSQL has everything. Returns the logs that have a traceback, of Python
        or Node.
        """
        (self._folder / "stop").touch()
        for name, part in self._parts.items():
            if name[0] == "b":
                part.process.wait(60)
        until(lambda: settled(self.own.system), PATIENCE_S, self.own.processes.said)
        parts = [*self._parts.values(), *self.own.processes._made]
        return sorted({part.log.name for part in parts if "Traceback" in part.said or "\n    at " in part.said})

    def stop(self) -> None:
        for part in self._parts.values():
            part.end()
        self.own.processes.end()

    def worker_killed(self) -> None:
        self._kill("persist", "worker", "--queue", "persist")

    def jobs_worker_killed(self) -> None:
        self._kill("jobs", "worker", "--queue", "jobs")

    def scheduler_killed(self) -> None:
        self._kill("scheduler", "scheduler")

    def bidder_killed(self) -> None:
        slot = self._chance.choice([name for name in self._parts if name[0] == "b"])
        self._parts[slot].end()
        self.bidder(slot)

    def redis_frozen(self) -> None:
        process = self._server("hot")
        process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        process.send_signal(signal.SIGCONT)

    def redis_killed(self) -> None:
        self._kill_server("hot")
        back(self.own.hot)
        self.always()

    def jobs_redis_killed(self) -> None:
        self._kill_server("jobs")
        back(self.own.jobs)

    def postgresql_stopped(self) -> None:
        self.own.postgres.stop()
        time.sleep(self._chance.uniform(0.5, 3))
        self._postgresql_back()

    def postgresql_killed(self) -> None:
        self._kill_server("postgres")
        self._postgresql_back()

    def redis_wiped(self) -> None:
        """FLUSHALL loses what only Redis has, so it runs when PostgreSQL has everything. Bidders pause for it."""
        self._at_rest(self.own.system.hot_redis.flushall)

    def key_deleted(self) -> None:
        self._damage(self.own.system.hot_redis.delete)

    def key_of_wrong_type(self) -> None:
        def spoil(key: str) -> None:
            with self.own.system.hot_redis.pipeline() as both:
                both.delete(key).set(key, "something else").execute()

        self._damage(spoil)

    def second_persister(self) -> None:
        second = self.own.processes.start("worker", "--queue", "persist")
        time.sleep(2)
        second.end()

    def second_scheduler(self) -> None:
        second = self.own.processes.start("scheduler")
        time.sleep(2)
        second.end()

    def shard_rebuilt_by_hand(self) -> None:
        brand = self._chance.choice(list(self._brands))
        self.own.system.rebuilder.rebuild([brand % 64])

    def _kill(self, name: str, *args: str) -> None:
        self._parts[name].end()
        self._parts[name] = self.own.processes.start(*args)

    def _server(self, name: str) -> Any:
        process = getattr(self.own, name).process
        assert process is not None
        return process

    def _kill_server(self, name: str) -> None:
        process = self._server(name)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        getattr(self.own, name).stop()

    def _postgresql_back(self) -> None:
        back(self.own.postgres)
        self.own.system.db.dispose()

    def _damage(self, how: Callable[[str], Any]) -> None:
        brand = self._chance.choice(list(self._brands))
        tag = f"budget:{{{brand % 64}}}:"
        kind = self._chance.choice(["shard", "registry", "requests:0", "requests:1", "events:0", "events:1", "journal",
                                    f"brand:{brand}", f"campaign:{self._brands[brand][0]}", f"holds:{brand}", f"expiry:{brand}"])  # fmt: skip
        if kind == "journal":
            self._at_rest(lambda: how(tag + kind))
        else:
            how(tag + kind)

    def _at_rest(self, work: Callable[[], Any]) -> None:
        """Pauses the bidders, waits until PostgreSQL has everything, and does the work."""
        for path in self._folder.glob("*.paused"):
            path.unlink()
        (self._folder / "pause").touch()
        bidding = [part.log.with_suffix(".paused") for name, part in self._parts.items() if name[0] == "b"]
        until(lambda: all(path.exists() for path in bidding), PATIENCE_S, lambda: f"{bidding} did not pause")
        until(lambda: settled(self.own.system), PATIENCE_S, self.own.processes.said)
        work()
        (self._folder / "pause").unlink()

    def _raise_a_budget(self) -> None:
        """Raises one budget, so that bidders always compete for the rest of a budget."""
        brand = self._chance.choice(self._budgets)
        try:
            now = self.own.system.catalog.brand(brand).daily_budget_micros or 0
            self.own.system.manage.update_brand(brand, "soak", daily_budget_micros=now + 20_000_000)
        except BudgetError:
            # A server is still starting; the next call raises a budget.
            pass
