"""The long-running processes: a worker for one queue or for each of them, and the scheduler."""

from __future__ import annotations

import os
import sys
import time
from typing import Final

from engine import jobs, logs
from engine.doorbell import run_scheduler, run_worker
from engine.errors import InvalidInput, shown
from engine.job_table import PERSIST_QUEUE, QUEUES
from engine.local.child import Child, stop_together
from engine.local.supervisor import StopAsked
from engine.settings import jobs_redis_url
from engine.wiring import jobs_redis_at

PATIENCE_S: Final = 10.0
"""Seconds for a worker to end by itself; its job ends within about two."""
_POLL_S: Final = 0.05
NICENESS: Final = 10
"""The niceness of background processes: about a tenth of the CPU where all compete, so they advance and spends go
first.
"""


def worker(queue: str | None = None) -> None:
    """Works one queue, or each in a process of its own. On SIGTERM a running job ends after its transaction."""
    if queue is not None and queue not in QUEUES:
        raise InvalidInput(f"queue {shown(queue)} is not one of {', '.join(QUEUES)}", "queue")
    # Wrong settings are reported once, here, and not by each child.
    jobs.services()
    if queue is None:
        _each()
    else:
        logs.configure()
        if queue != PERSIST_QUEUE:
            give_way()
        run_worker(jobs.services().jobs_redis, queue)


def give_way() -> None:
    """Lowers this process's priority (on Linux this thread's) below bidders that share its CPUs. Not for persist: the
    journal is in memory, and must not grow because the machine is busy.
    """
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(nice, NICENESS))


def scheduler() -> None:
    """Enqueues the periodic jobs until SIGTERM. It needs no budgets and no database, only JOBS_REDIS_URL."""
    logs.configure()
    run_scheduler(jobs_redis_at(jobs_redis_url()))


def _each() -> None:
    """Runs one process a queue. With two queues in one worker, a kill can lose a popped job, and a long job delays
    the others. When one dies, all end.
    """
    stop = StopAsked()
    with stop.listening():
        children = [
            Child(queue, [sys.executable, "-m", "engine", "worker", "--queue", queue], os.environ) for queue in QUEUES
        ]
        for child in children:
            child.start()
        while not stop() and all(child.alive for child in children):
            time.sleep(_POLL_S)
        stop_together(children, PATIENCE_S)
    if not stop():
        raise SystemExit(1)
