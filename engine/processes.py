"""The long-running processes: a worker for one queue or for each of them, and the scheduler. Thin: settings in, doorbell out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import FrameType
from typing import Final

from engine import jobs, logs
from engine.doorbell import run_scheduler, run_worker
from engine.errors import InvalidInput, shown
from engine.job_table import PERSIST_QUEUE, QUEUES
from engine.local.bound import dies_with_us
from engine.settings import jobs_redis_url
from engine.wiring import jobs_redis_at

PATIENCE_S: Final = 10.0
"""For a worker to end by itself; its job ends within about two seconds."""
_POLL_S: Final = 0.05
NICENESS: Final = 10
"""Of the processes that nobody waits for. Ten parts of a processor against a hundred where all want it: they get on, and spends go first."""


def worker(queue: str | None = None) -> None:
    """Works one queue, or each in a process of its own. SIGTERM ends it cleanly, a running job after its transaction."""
    if queue is not None and queue not in QUEUES:
        raise InvalidInput(f"queue {shown(queue)} is not one of {', '.join(QUEUES)}", "queue")
    # Wrong settings are said once, here, and not by each child.
    jobs.parts()
    if queue is None:
        _each()
    else:
        logs.configure()
        if queue != PERSIST_QUEUE:
            give_way()
        run_worker(jobs.parts().jobs_redis, queue)


def give_way() -> None:
    """Lets spends go first where they share processors with this process (on Linux with this thread). Not for persist: the journal is in memory, and must
    not grow because the machine is busy."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(nice, NICENESS))


def scheduler() -> None:
    """Rings the periodic jobs until SIGTERM. It needs no budgets and no database, so it is content with JOBS_REDIS_URL."""
    logs.configure()
    run_scheduler(jobs_redis_at(jobs_redis_url()))


def _each() -> None:
    """One process a queue: with two queues in one worker, a killed one can lose a job that it had taken, and a long job holds up the others.
    One that dies ends all."""
    asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "engine", "worker", "--queue", queue],
            # Away from the terminal's Ctrl-C, which comes to us; and ended with us, however we end.
            start_new_session=True,
            preexec_fn=dies_with_us(signal.SIGTERM),  # noqa: PLW1509  # it makes two system calls, and no more
        )
        for queue in QUEUES
    ]
    while not asked and all(child.poll() is None for child in children):
        time.sleep(_POLL_S)
    for child in children:
        child.terminate()
    deadline = time.monotonic() + PATIENCE_S
    for child in children:
        try:
            child.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if not asked:
        raise SystemExit(1)
