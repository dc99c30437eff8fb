"""Real processes of the engine on real servers. They end with their test, whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from engine.client.sync import BudgetClient, Spend
from engine.errors import Unavailable
from engine.ledger import migrate
from engine.local.servers import EmbeddedServers
from engine.settings import Settings
from engine.wiring import System
from tests.in_memory import folder_in_memory
from tests.patience import PATIENCE_S
from tests.prepared import Prepared

ROOT = Path(__file__).resolve().parents[2]
ENGINE = [sys.executable, "-m", "engine"]


def until(what: Callable[[], Any], patience_s: float = PATIENCE_S, why: Callable[[], str] = lambda: "") -> float:
    """Waits until `what` holds; returns the seconds. Fails the test after `patience_s`, with the text of `why`."""
    started = time.monotonic()
    while not what():
        assert time.monotonic() - started < patience_s, f"not within {patience_s:g} s; {why()}"
        time.sleep(0.02)
    return time.monotonic() - started


class Process:
    """One process of the engine, with its output in a log."""

    def __init__(self, args: list[str], environment: dict[str, str], log: Path, program: str = sys.executable) -> None:
        self.log = log
        self.process = _begun([program, *args], environment, log)

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def remarks(self) -> list[str]:
        """The output's lines without those of ended jobs, whose number depends on time."""
        return [line for line in self.said.splitlines() if '"event": "job ended"' not in line]

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self, number: signal.Signals = signal.SIGTERM, patience_s: float = PATIENCE_S) -> float:
        """Sends a signal and waits for the end; returns the seconds."""
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(patience_s)
        return time.monotonic() - started

    def end(self) -> None:
        if self.alive:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _begun(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes] | Prepared:
    """The process of a command, in a session of its own: prepared, where it is the engine's and not `up`."""
    env = {**os.environ, **environment, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    if command[:3] == ENGINE and command[3] != "up":
        return Prepared(command[3:], env, ROOT, log)
    with log.open("ab") as out:
        return subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )


class Processes:
    """Starts `python -m engine ...` on the test's servers, and ends all at the end."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self._folder = folder
        self._made: list[Process] = []

    def start(self, *args: str) -> Process:
        log = self._folder / f"{len(self._made)}-{'-'.join(args).replace('/', '_')}.log"
        command = list(args) if args[0].endswith(".py") else ["-m", "engine", *args]
        self._made.append(Process(command, self.environment, log))
        return self._made[-1]

    def end(self) -> None:
        for each in self._made:
            each.end()

    def said(self) -> str:
        return "\n".join(f"== {each.log.name}\n{each.said[-3000:]}" for each in self._made)


@pytest.fixture
def processes(environment: dict[str, str], tmp_path: Path) -> Iterator[Processes]:
    made = Processes(environment, tmp_path)
    yield made
    made.end()


class Own:
    """Servers of one test, which it may stop and start, with a system on them."""

    def __init__(self, embedded: EmbeddedServers, folder: Path) -> None:
        urls = embedded.start()
        self.hot, self.jobs, self.postgres = embedded.all
        self.environment = {
            "REDIS_URL": urls.hot,
            "JOBS_REDIS_URL": urls.jobs,
            "DATABASE_URL": urls.database,
            "BUDGET_ENV_FILE": os.devnull,
            "SECRET_KEY": "tests-only",
        }
        self.system = System(Settings.load(self.environment, None))
        migrate.upgrade(self.system.db)
        self.processes = Processes(self.environment, folder)


def kill_redis(own: Own) -> None:
    """Kills the hot Redis while no fsync of its append-only file runs.

    With `everysec`, Redis replies before it writes while an fsync runs (up to 2 s), so a kill then loses acknowledged
    spends. docs/reliability.md promises nothing for that moment.
    """
    process = own.hot.process
    assert process is not None
    until(lambda: own.system.hot_redis.info("persistence")["aof_pending_bio_fsync"] == 0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    own.hot.stop()


def back(server: Any) -> None:
    """Starts a stopped server again and waits until it answers."""
    server.launch()
    server.wait(lambda: False)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Own]:
    yield from own_servers(tmp_path)


def own_servers(logs: Path) -> Iterator[Own]:
    """Starts the servers; removes them when the generator ends. logs: the folder of the processes' logs."""
    folder = Path(tempfile.mkdtemp(prefix="own servers ", dir=folder_in_memory()))
    embedded = EmbeddedServers(folder / "data")
    made = None
    try:
        made = Own(embedded, logs)
        yield made
    finally:
        if made is not None:
            made.processes.end()
            made.system.close()
        embedded.remove()
        shutil.rmtree(folder, ignore_errors=True)


def rows(system: System, query: str, **values: Any) -> list[Any]:
    with system.db.connect() as conn:
        return [tuple(row) for row in conn.execute(text(query), values)]


def count(system: System, table: str = "spend_log") -> int:
    return int(rows(system, f"SELECT count(*) FROM {table}")[0][0])


def ready(system: System) -> bool:
    return all(state.ready for state in system.live.read_shards())


def brand_of(system: System, name: str, campaigns: int = 2, daily: int | None = None) -> tuple[int, list[int]]:
    brand = system.manage.create_brand(name, daily, None, None, "test").row
    return brand.id, [
        c.id for c in system.manage.create_campaigns(brand.id, [f"c{i}" for i in range(campaigns)], "test")
    ]


def verified(system: System) -> list[str]:
    """The findings of `verify`, one text each."""
    return [f"{check.id} {finding}" for check in system.verifier.verify() for finding in check.findings]


class Load:
    """Bidders that record spends all the time, each with its own client. A call without a reply is repeated under its
    id until it has one.
    """

    def __init__(self, url: str, campaigns: list[int], threads: int = 3, batch: int = 5) -> None:
        self.acknowledged: list[str] = []
        self.unavailable = 0
        self.slowest_s = 0.0
        self.errors: list[BaseException] = []
        self._url, self._campaigns, self._batch = url, campaigns, batch
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, failed: type[BaseException] | None, *exc: object) -> None:
        self._stop.set()
        if failed is None:  # otherwise the test's own failure counts, and Redis may be gone
            self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert not self.errors, self.errors

    @property
    def spends(self) -> int:
        """The number of acknowledged spends."""
        return len(self.acknowledged) * self._batch

    def _run(self, number: int) -> None:
        client = BudgetClient.from_url(self._url, timeout_ms=500)
        try:
            i = 0
            while not self._stop.is_set():
                i += 1
                campaign = self._campaigns[(number + i) % len(self._campaigns)]
                self._until_answered(client, [Spend(campaign, "0.001")] * self._batch, f"load-{number}-{i}")
                time.sleep(0.003)
        except BaseException as error:
            self.errors.append(error)
        finally:
            client.close()

    def _until_answered(self, client: BudgetClient, spends: list[Spend], request_id: str) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            started = time.monotonic()
            try:
                outcomes = {answer.outcome for answer in client.record_spends(spends, request_id=request_id)}
            except Unavailable as error:
                assert error.request_id == request_id
                self.unavailable += 1
                self.slowest_s = max(self.slowest_s, time.monotonic() - started)
            else:
                if outcomes == {"recorded"}:
                    with self._lock:
                        self.acknowledged.append(request_id)
                    return
                assert outcomes == {"not_ready"}, outcomes
            time.sleep(0.05)
        raise AssertionError(f"{request_id} had no answer for {PATIENCE_S:g} s")


def lost_and_doubled(system: System, load: Load, batch: int = 5) -> tuple[set[str], list[str]]:
    """The acknowledged calls that lack rows, and the calls with too many rows."""
    found = dict(rows(system, "SELECT request_id, count(*) FROM spend_log GROUP BY 1"))
    lost = {request for request in load.acknowledged if found.get(request, 0) < batch}
    return lost, [request for request, n in found.items() if n > batch]
