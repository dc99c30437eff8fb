"""The long-running processes: a worker for one queue or for both, and the scheduler. Thin: settings in, doorbell out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType

from engine.doorbell import QUEUES, run_scheduler, run_worker
from engine.errors import InvalidInput, shown
from engine.settings import Settings
from engine.wiring import System


def worker(queue: str | None = None) -> None:
    """Works one queue, or both in a process each. SIGTERM ends it cleanly, a running job after its transaction."""
    if queue is None:
        _both()
        return
    if queue not in QUEUES:
        raise InvalidInput(f"queue {shown(queue)} is not one of {', '.join(QUEUES)}", "queue")
    run_worker(System(Settings.load()).jobs_redis, queue)


def scheduler() -> None:
    """Rings the periodic jobs until SIGTERM."""
    run_scheduler(System(Settings.load()).jobs_redis)


def _both() -> None:
    """One process a queue: with two queues in one worker, a killed one can lose a job that it had taken. One that dies ends both."""
    children = [subprocess.Popen([sys.executable, "-m", "engine", "worker", "--queue", queue]) for queue in QUEUES]

    def stop(number: int, frame: FrameType | None) -> None:
        for child in children:
            child.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    pid, status = os.wait()
    stop(signal.SIGTERM, None)
    for child in children:
        if child.pid != pid:
            child.wait()
    if status != 0 and status != signal.SIGTERM:
        raise SystemExit(1)
