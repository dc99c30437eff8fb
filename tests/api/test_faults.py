"""Faults under spends over HTTP: Redis frozen and killed, and the API killed. Each spend counts once, and /healthz answers all the while."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from engine.errors import BudgetError
from engine.ledger import tokens
from engine.wiring import System
from tests.api.test_spends import spent
from tests.faults.test_fault_13_hangs import frozen
from tests.patience import PATIENCE_S, in_time
from tests.ports import free_port
from tests.processes.conftest import Own, Process, Processes, back, brand_of, kill_redis, own, processes, until

__all__ = ["own", "processes"]


class Programs:
    """Programs that send spends of 1 without a pause, each until it is answered: under its key, by its event, or under the id of the 503."""

    def __init__(self, port: int, secret: str, campaign: int, kinds: tuple[str, ...]) -> None:
        self.port, self._secret, self._campaign = port, secret, campaign
        self.counted = 0
        self.unknown = 0
        self.failed: list[BaseException] = []
        self._lock = threading.Lock()
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n, kinds[n % len(kinds)])) for n in range(8)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)
        assert not self.failed, self.failed

    def go_on(self, spends: int) -> None:
        """Waits until so many more are counted."""
        seen = self.counted
        until(lambda: self.counted > seen + spends, PATIENCE_S, lambda: f"{self.unknown} unknown, {self.failed}")

    def _run(self, number: int, kind: str) -> None:
        try:
            for n in range(1_000_000):
                if self._ends.is_set():
                    return
                self._until_answered(f"{kind}-{number}-{n}", kind)
        except BaseException as error:
            self.failed.append(error)

    def _until_answered(self, name: str, kind: str) -> None:
        body: dict[str, Any] = {
            "campaign_id": self._campaign,
            "amount": "1",
            **({"event_id": name} if kind == "event" else {}),
        }
        path, sent = ("/api/v1/spends", {"spends": [body] * 3}) if kind == "batch" else ("/api/v1/spend", body)
        key = name if kind in ("key", "batch") else None
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            status, told = self.ask(path, sent, key)
            if status == 200:
                outcomes = {one["outcome"] for one in told.get("results", [told])}
                assert outcomes <= {"recorded", "duplicate"}, told
                with self._lock:
                    self.counted += 3 if kind == "batch" else 1
                return
            assert status in (0, 503), (status, told)
            if status == 503:
                assert told["request_id"] == (key or told["request_id"]), told
                key = key or (told["request_id"] if kind == "plain" else None)
                self.unknown += 1
            time.sleep(0.02)
        raise AssertionError(f"{name} had no answer for {PATIENCE_S:g} s")

    def ask(self, path: str, body: Any, key: str | None = None) -> tuple[int, Any]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        headers = {"Authorization": f"Bearer {self._secret}", "Content-Type": "application/json"}
        try:
            more = {} if key is None else {"Idempotency-Key": key}
            line.request(
                "GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers | more
            )
            answer = line.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            return 0, None
        finally:
            line.close()


def counted(system: System, brand: int) -> str:
    """What Redis has counted, read as soon as a busy machine lets it answer."""
    found: list[str] = []

    def read() -> bool:
        with suppress(BudgetError):
            found.append(spent(system, brand))
        return bool(found)

    until(read, PATIENCE_S)
    return found[0]


def begun(
    system: System, processes: Processes, kinds: tuple[str, ...]
) -> tuple[Programs, Process, int, Callable[[], Process]]:
    """Programs with an API of their own: (programs, process, brand, starts another API on the same port)."""
    brand, (campaign,) = brand_of(system, "Over HTTP", campaigns=1)
    port = free_port()
    processes.environment = {**processes.environment, "BUDGET_API_PORT": str(port)}
    process = processes.start("api")
    secret = tokens.create(system.db, "test", "bidder", ["spend"], None).secret
    programs = Programs(port, secret, campaign, kinds)
    until(lambda: programs.counted > 20, PATIENCE_S, lambda: process.said)
    return programs, process, brand, lambda: processes.start("api")


def test_redis_frozen_and_then_killed_loses_and_doubles_no_spend_and_healthz_never_waits(own: Own) -> None:
    own.system.rebuilder.rebuild()
    programs, _, brand, _ = begun(own.system, own.processes, ("key", "event", "plain", "batch"))
    with frozen(own.hot):
        until(lambda: programs.unknown >= 8, PATIENCE_S)
        for _ in range(5):
            began = time.monotonic()
            assert programs.ask("/healthz", None)[0] == 200
            assert in_time(time.monotonic() - began, 0.1)
    programs.go_on(20)
    kill_redis(own)
    seen = programs.unknown
    until(lambda: programs.unknown > seen, PATIENCE_S)
    assert programs.ask("/healthz", None)[0] == 200
    back(own.hot)
    programs.go_on(20)
    programs.stop()
    assert counted(own.system, brand) == f"{programs.counted:g}"


def test_an_api_that_is_killed_loses_and_doubles_no_spend_that_its_caller_repeats(
    ready: System, processes: Processes
) -> None:
    programs, process, brand, again = begun(ready, processes, ("key", "event", "batch"))
    for _ in range(2):
        os.killpg(process.process.pid, signal.SIGKILL)
        process.process.wait()
        process = again()
        programs.go_on(20)
    programs.stop()
    assert counted(ready, brand) == f"{programs.counted:g}"
