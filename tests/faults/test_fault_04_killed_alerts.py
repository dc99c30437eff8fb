"""Fault 4 in the alerts: the job that decides them, and the one that sends their messages, killed (-9) at each point. No alert is lost, none is told twice."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import jobs
from engine.flows.alerts import desk, sending
from engine.ledger import webhooks
from engine.wiring import System
from tests.flows.test_alerts import brand, levels, spend
from tests.flows.test_webhooks import due_now, receiving, states
from tests.patience import PATIENCE_S
from tests.ports import free_port

Patch = Callable[[Any, str], None]
"""Lets a function of a module or class be this process' last: it works, and the process is killed before anything else."""


def _last(owner: Any, name: str) -> None:
    real = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, wrapped)


def _last_awaited(owner: Any, name: str) -> None:
    real = getattr(owner, name)

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        await real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, wrapped)


POINTS: dict[str, tuple[str, Any, str, Patch]] = {
    "alerts, before the commit": ("alerts", webhooks, "write", _last),
    "alerts, after a commit of brands": ("alerts", desk.Alerts, "_write_each", _last),
    "alerts, at its end": ("alerts", desk.Alerts, "run", _last),
    "webhooks, after the claim": ("webhooks", webhooks, "claim", _last),
    "webhooks, after the receiver has it": ("webhooks", sending.Sender, "_post", _last_awaited),
    "webhooks, after the result is written": ("webhooks", webhooks, "note", _last),
}


def killed(point: str, environment: dict[str, str]) -> None:
    """Runs a job in a process of its own until its end there."""
    job, owner, name, patch = POINTS[point]
    child = os.fork()
    if child == 0:
        try:
            os.environ.update(environment)
            jobs.services.cache_clear()
            patch(owner, name)
            getattr(jobs, job)()
        finally:
            os._exit(1)
    give_up = time.monotonic() + PATIENCE_S
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > give_up:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"{point} was not reached within {PATIENCE_S:g} s")
        time.sleep(0.005)
    assert os.waitstatus_to_exitcode(ended[1]) == -signal.SIGKILL, f"{point}: it ended by itself"


@pytest.mark.parametrize("point", POINTS)
def test_fault_04_a_job_of_alerts_that_is_killed_loses_no_alert_and_a_receiver_counts_each_message_once(
    point: str, ready: System, environment: dict[str, str], tmp_path: Path
) -> None:
    file, port = tmp_path / "counted", free_port()
    hook = webhooks.create(ready.db, "anna", "Duty", f"http://127.0.0.1:{port}/hook")
    for name in ("Aurora", "Borealis"):
        _, campaign = brand(ready, name)
        spend(ready, campaign, "96")
    private = {**environment, "BUDGET_WEBHOOK_PRIVATE": "1"}
    with receiving(file, hook.secret, port):
        if point.startswith("webhooks"):
            assert jobs_run(private, "alerts") == 0
        killed(point, private)
        for _ in range(2):
            assert jobs_run(private, "alerts") == 0
            due_now(ready)  # a message that a dead process had is due a minute later
            assert jobs_run(private, "webhooks") == 0
    assert sorted(levels(ready)) == sorted([(50, 1, None), (80, 1, None), (95, 1, None)] * 2)
    messages = [message for message, *_ in states(ready)]
    assert {state for _, state, _ in states(ready)} == {"delivered"}
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert {what for _, what in lines} <= {"alert.opened", "alert.ended"}, "each was verified"
    assert sorted({id_ for id_, _ in lines}) == sorted(messages) and len(messages) >= 4
    # Beside the brands' there are messages of the engine, which misses its worker and scheduler.
    again = len(lines) - len(messages)
    assert again <= (sending.AT_ONCE if "webhooks" in point else 0), "only what the dead process had not noted"
    if point == "webhooks, after the receiver has it":
        assert again > 0, "it was told again, under the id that the receiver had kept"


def jobs_run(environment: dict[str, str], job: str) -> int:
    """Runs a job in a process of its own; its exit status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.environ.update(environment)
            jobs.services.cache_clear()
            getattr(jobs, job)()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
