"""The functions that RQ calls. Each may run twice, or never, without harm: what is owed stands in the journal, PostgreSQL and the calendar.

Every run is one row in job_run. A function takes nothing and answers one line for the job's page.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Final

from rq import Queue

from engine.flows.check import check_all
from engine.flows.persist import PersistLoop, trim_all
from engine.ledger import runs
from engine.ledger.database import wait_for_revision
from engine.live.admin import LiveShard
from engine.settings import Settings
from engine.wiring import System

log = logging.getLogger(__name__)

PERSIST_QUEUE: Final = "persist"
JOBS_QUEUE: Final = "jobs"

PERSIST_S: Final = 55
"""After this long a persist job hands over to the next one, if it stands ready."""
PERSIST_LONGEST_S: Final = 600
"""It goes on alone for this long when nobody rings: a dead scheduler does not stop the log."""


STOPPING: Final = threading.Event()
"""Set when this worker was asked to stop: a long job ends after its transaction."""


@cache
def system() -> System:
    """This worker's parts, wired once a process."""
    made = System(Settings.load())
    wait_for_revision(made.db, log.warning, sleep=_pause)
    return made


def _pause(seconds: float) -> None:
    """Between two looks at a database that is not there yet; ends the process when it was asked to stop."""
    if STOPPING.wait(seconds):
        raise SystemExit(0)


def persist() -> str:
    """Carries the journal into the spend log until the next persist job takes over."""
    parts = system()
    waiting = Queue(PERSIST_QUEUE, connection=parts.jobs_redis)
    started = time.monotonic()

    def should_stop() -> bool:
        passed = time.monotonic() - started
        return STOPPING.is_set() or passed >= PERSIST_LONGEST_S or (passed >= PERSIST_S and waiting.count > 0)

    def publish_pending() -> None:
        if published := parts.publisher.publish_pending():
            parts.status.refresh(published)

    def rebuild(broken: list[LiveShard]) -> None:
        with runs.run(parts.db, "rebuild") as run:
            done = parts.rebuilder.rebuild([state.shard for state in broken if not state.mark])
            parts.status.refresh_all()
            run.detail = f"{len(done)} shards rebuilt: {', '.join(sorted({state.why for state in broken}))}"

    loop = PersistLoop(
        parts.persister,
        parts.live,
        on_changes=lambda brands: ignore(parts.status.refresh(brands)),
        on_not_ready=rebuild,
        each_second=publish_pending,
        each_minute=lambda: ignore(trim_all(parts.db, parts.live, parts.instance, parts.settings.journal_keep_minutes)),
    )
    with runs.run(parts.db, "persist") as run:
        total = loop.run(should_stop)
        run.detail = f"{total.rows} spends from {total.entries} entries"
    return run.detail


def ignore(_: object) -> None:
    """For calls whose answer nobody needs."""


def check() -> str:
    """All campaigns against budgets and schedules; also closes what had to wait for persist at midnight."""
    return _close("check")


def publish() -> str:
    """What the catalog holds and Redis does not have yet."""

    def bring() -> str:
        published = system().publisher.publish_pending()
        if published:
            system().status.refresh(published)
        return f"{len(published)} brands published"

    return _run("publish", bring)


def close_day() -> str:
    """Closes every ended period and reactivates what may run again: 00:00 UTC."""
    return _close("close_day")


def close_month() -> str:
    """The same at 00:00 UTC on the 1st: days and months are closed by one flow."""
    return _close("close_month")


def _close(job: str) -> str:
    def close() -> str:
        closed = system().closer.close_ended()
        checked = check_all(system().publisher, system().status)
        return f"{closed}; {checked}"

    return _run(job, close)


def _run(job: str, work: Callable[[], str]) -> str:
    with runs.run(system().db, job) as run:
        run.detail = work()
    return run.detail


BY_NAME: Final[dict[str, Callable[[], str]]] = {
    "persist": persist,
    "check": check,
    "publish": publish,
    "close_day": close_day,
    "close_month": close_month,
}
