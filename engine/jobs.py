"""The functions that RQ calls. Each may run twice, or never, without harm: pending work is in the journal, PostgreSQL
and the calendar.

Every run is one row in job_run. A function takes nothing and returns one line for the job's page.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import Final

from rq import get_current_job
from sqlalchemy.exc import DBAPIError

from engine import logs
from engine.domain.periods import at_ms
from engine.errors import ServerAway
from engine.flows.catalog.check import check_all
from engine.flows.catalog.publish import NotAllPublished
from engine.flows.persist.loop import PersistLoop
from engine.flows.persist.persister import DrainStats, trim_all
from engine.flows.rebuild.rebuilder import NotAllRebuilt, lost_in
from engine.flows.upkeep import tidy as upkeep
from engine.flows.upkeep.close import WAIT_S, NotAllClosed
from engine.flows.upkeep.look import Look
from engine.flows.upkeep.sweep import sweep_expired
from engine.flows.upkeep.tidy import Tidied
from engine.flows.verify import FAIL, summary
from engine.job_table import (
    BY_NAME,
    JOBS,
    JOBS_QUEUE,
    PERSIST_LONGEST_S,
    PERSIST_QUEUE,
    PERSIST_S,
)
from engine.ledger import runs
from engine.ledger.database import wait_for_revision
from engine.ledger.locks import LOCKED_OUT, is_held
from engine.live.admin import LiveShard
from engine.live.repair import probe_shards, told_lost
from engine.settings import Settings
from engine.stop_flag import StopFlag
from engine.views.alert_facts import troubles
from engine.wiring import System

log = logging.getLogger(__name__)

REBUILD_ENDS_S: Final = 1.2
"""Seconds that a stopping worker waits for its rebuild, which ends between two shards."""
REBUILD_LONGEST_S: Final = 3600
"""Seconds after which a rebuild that is still running in job_run counts as killed."""

LOOKS: Final = 3
LOOK_AGAIN_S: Final = 5.0
"""How often verify repeats a check that fails, and after how many seconds, before it alarms. Changes of this second
and rebuilds are no findings.
"""
STOPPING: Final = StopFlag()
"""Set when this worker was asked to stop: a long job ends after its transaction. Signal handlers set it."""
WORKING: Final = threading.Event()
"""Set while a job runs; only then may `Stopped` be raised in it."""


class Stopped(BaseException):
    """The worker was asked to stop. A BaseException, so that no handler takes it for the failure of one shard."""


@cache
def services() -> System:
    """This worker's services, made once a process."""
    return System(Settings.load())


def system() -> System:
    """The services, once PostgreSQL is reachable and has our version of the schema. Raises Stopped, WrongVersion."""
    made = services()
    if not wait_for_revision(made.db, log.warning, should_stop=STOPPING.is_set, poll_s=0.5):
        raise Stopped
    return made


def stop_if_asked(_: object = None) -> None:
    """Call it between two transactions. Raises Stopped."""
    if STOPPING.is_set():
        raise Stopped


def persist() -> str:
    """Persists journal entries until the next persist job takes over."""
    return _run("persist", _persist)


def _persist(run: runs.Run, made: System) -> None:
    started = time.monotonic()

    def should_stop() -> bool:
        passed = time.monotonic() - started
        if STOPPING.is_set() or passed >= PERSIST_LONGEST_S:
            return True
        return passed >= PERSIST_S and not loop.away and made.is_waited_for(PERSIST_QUEUE)

    loop = persist_loop(made)
    total = DrainStats()
    _restore_catalog(made)
    try:
        loop.run(should_stop, total)
    finally:
        _leave(made)
        if STOPPING.is_set() and not made.rebuild_beside.stop(REBUILD_ENDS_S):
            log.warning("a rebuild is left in the middle: the next worker begins it again")
        run.detail = f"{total.rows} spends from {total.entries} entries"
        if alarm := loop.alarm():
            run.outcome, run.detail = "failed", f"{run.detail}; {alarm}"


def _leave(made: System) -> None:
    """Gives this worker's shards to the others at once. Where that fails they notice its silence."""
    with suppress(ServerAway, DBAPIError):
        made.shares.leave()


def _restore_catalog(made: System) -> None:
    """Restores what a restored PostgreSQL lost, before a journal is read: spends need their brands, and a rebuild
    must not lose their ids.
    """
    try:
        made.publisher.recognise()
    except Exception as error:  # noqa: BLE001  # nothing may stop persist
        log.warning("Redis was not compared with the catalog: %s", " ".join(str(error).split()))


def persist_loop(made: System) -> PersistLoop:
    """The persist loop with its duties: status of brands, pending publications, the journal's trim, and rebuilds in a
    process of their own.
    """

    def rebuild(broken: list[LiveShard]) -> bool:
        return made.rebuild_beside.look_after(bool(broken) and not STOPPING.is_set())

    return PersistLoop(
        made.persister,
        made.live,
        on_changes=lambda brands: ignore(made.status.refresh(brands, rests=False)),
        on_not_ready=rebuild,
        on_drained=made.refund_desk.decide,
        each_second=made.publisher.keep_published,
        each_minute=lambda: ignore(trim_all(made.db, made.live, made.instance, made.settings.journal_keep_minutes)),
        each_look=Look(made.live, made.db, made.catalog, made.publisher, made.windows.both_ms),
        shares=made.shares,
    )


def rebuild_lost_shards() -> None:
    """Rebuilds every shard without a mark. It runs in a process that persist started, and prints an error as its last
    line, which persist reports.
    """
    logs.configure()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: STOPPING.set())
    try:
        made = system()
        broken = [state for state in made.live.read_shards() if state.unmarked]
        with logs.bound(job="rebuild"):
            _rebuild(made, sorted({state.why for state in broken}), [state.shard for state in broken])
    except Stopped:
        return
    except Exception as error:  # noqa: BLE001  # persist reports any error and starts the rebuild again
        print(f"{type(error).__name__}: {' '.join(str(error).split())}")
        sys.exit(1)


def _rebuild(made: System, why: list[str], shards: list[int]) -> None:
    """Rebuilds the given shards as one row of job_run. why: the causes, for the log and the run's detail."""
    if not shards:
        return
    causes = ", ".join(why[:3]) + (f" and {len(why) - 3} more" if len(why) > 3 else "")
    log.warning("rebuilding %d shards of Redis: %s", len(shards), causes)
    runs.end_lost(made.db, "rebuild", REBUILD_LONGEST_S)
    with runs.run(made.db, "rebuild") as run:
        failure: NotAllRebuilt | None = None
        try:
            done = made.rebuilder.rebuild(shards, stop_if_asked, only_missing=True)
        except NotAllRebuilt as some:
            done, failure = some.done, some
        except Stopped:
            run.outcome, run.detail = "waiting", "stopped with its worker: the next one rebuilds the rest"
            return
        if done:
            made.status.refresh(
                brand.id for of in done for brand in made.catalog.brands(include_archived=True, shards=(of.shard,))
            )
        if failure is not None:
            raise NotAllRebuilt(f"{failure}{lost_in(done)}", done)
        run.detail = f"{len(done)} shards rebuilt: {causes}{lost_in(done)}"
    if done:
        log.warning("rebuild: %s", run.detail)


def ignore(_: object) -> None:
    """For calls whose return value is not needed."""


def check() -> str:
    """Checks all campaigns against budgets and schedules. Also closes periods that had to wait for persist at
    midnight, and maintains the log's partitions.
    """
    return _run("check", _close)


def publish() -> str:
    """Publishes what the catalog has and Redis does not have yet."""
    return _run("publish", _publish)


def _publish(run: runs.Run, made: System) -> None:
    failure: NotAllPublished | None = None
    try:
        published = made.publisher.publish_pending()
    except NotAllPublished as some:
        published, failure = some.done, some
    if published:
        made.status.refresh(published)
    if failure is not None:
        raise failure
    run.detail = f"{len(published)} brands published"


def alerts() -> str:
    """Decides the alerts of every brand, and of the engine."""
    return _run("alerts", _alerts)


def _alerts(run: runs.Run, made: System) -> None:
    done = made.alerts.run(made.alert_facts.read, lambda: troubles(made.overview.health()))
    run.detail, run.outcome = str(done), "failed" if done.failed else run.outcome


def webhooks() -> str:
    """Sends messages to webhooks: new ones, and those that did not arrive."""
    return _run("webhooks", _webhooks)


def _webhooks(run: runs.Run, made: System) -> None:
    run.detail = str(made.sender.send_due(STOPPING.is_set, lambda: made.is_waited_for(JOBS_QUEUE)))


def operations() -> str:
    """Goes on with operations that have begun: large ones, and those whose process ended."""
    return _run("operations", _operations)


def _operations(run: runs.Run, made: System) -> None:
    done = made.operations.apply_open(STOPPING.is_set, lambda: made.is_waited_for(JOBS_QUEUE))
    run.detail = f"{done} operations done"


def close_day() -> str:
    """At 00:00 UTC: closes every ended period, reactivates campaigns that may run again, and drops data past its
    retention.
    """
    return _run("close_day", _close_and_tidy)


def close_month() -> str:
    """At 00:00 UTC on the 1st: closes every ended period, as `close_day` does."""
    return _run("close_month", _close)


def _close(run: runs.Run, made: System) -> None:
    ahead = _make_ahead(made)
    made.catalog.flights.move_on()
    try:
        closed = made.closer.close_ended(WAIT_S, stop_if_asked)
    except NotAllClosed as some:
        # The statuses do not wait for the shard that could not be closed.
        checked = check_all(made.publisher, made.status)
        raise NotAllClosed(f"{some}; {checked}") from None
    stop_if_asked()
    checked = check_all(made.publisher, made.status)
    run.detail = f"{closed}; {checked}"
    made.log_days.summarise()
    if dropped := str(made.log_days.drop_old(stop_if_asked)):
        run.detail += f"; {dropped}"
    if ahead:
        run.detail += f"; no partitions were made ahead: {ahead}"
    if closed.drift or ahead:
        run.outcome = "failed"


def _make_ahead(made: System) -> str:
    """Makes the log's next partitions; returns why it could not. Nothing waits for them before midnight, and persist
    makes a missing one.
    """
    try:
        made.log_days.make_ahead()
    except Exception as error:
        if not is_held(error):
            raise
        log.warning("no partitions of the spend log were made ahead: %s", why := LOCKED_OUT)
        return why
    return ""


def _close_and_tidy(run: runs.Run, made: System) -> None:
    try:
        _close(run, made)
    finally:
        tidy(made)


def tidy(made: System) -> Tidied:
    """Drops what is past its time. Returns how many of each."""
    windows = max(timedelta(minutes=made.settings.request_id_minutes), timedelta(hours=made.settings.event_id_hours))
    return upkeep.tidy(made.db, at_ms(made.live.now_ms()), windows)


def sweep() -> str:
    """Removes expired holds and detects lost keys of brands without calls. Calls do both for their own brands."""
    return _run("sweep", _sweep)


def _sweep(run: runs.Run, made: System) -> None:
    swept = sweep_expired(made.db, made.live, made.inspector, stop_if_asked)
    run.detail = f"{swept.holds} holds of {swept.brands} brands expired"
    stop_if_asked()
    if lost := probe_shards(made.live, made.catalog.highest_ordinals(), made.windows.both_ms):
        run.outcome, run.detail = "failed", f"{run.detail}; {told_lost(lost)}"


def verify() -> str:
    """Checks every invariant that can be checked from outside: new rows on each run, and all rows once a night. A FAIL
    makes a failed run, and so an alarm on the page.
    """
    return _run("verify", _verify)


def _verify(run: runs.Run, made: System) -> None:
    recent = not made.verifier.passes.full_is_due()
    checks = made.verifier.verify(progress=stop_if_asked, recent=recent, between=stop_if_asked)
    for _ in range(LOOKS - 1):
        if all(check.result != FAIL for check in checks):
            break
        STOPPING.wait(LOOK_AGAIN_S)
        stop_if_asked()
        checks = made.verifier.verify(progress=stop_if_asked, recent=recent, between=stop_if_asked)
    run.detail = summary(checks)
    if any(check.result == FAIL for check in checks):
        run.outcome = "failed"
        log.error("verify: %s", run.detail)


def _fail_if_away(run: runs.Run, made: System) -> None:
    """Marks the run as failed where one server of several was away, even if all other shards were done."""
    gone = [str(away) for away in made.live.lacking.values() if str(away) not in run.detail]
    if gone:
        run.outcome, run.detail = "failed", "; ".join([*([run.detail] if run.detail else []), *gone])


def _run(job: str, work: Callable[[runs.Run, System], None]) -> str:
    """Runs the work as one row of job_run; returns its detail. A stop is not a failure: the next run does the rest."""
    row = runs.Run()
    WORKING.set()
    try:
        made = system()
        runs.end_lost(made.db, job, BY_NAME[job].timeout_s + 60)
        with logs.bound(job=job, job_id=_rq_id(job)), runs.run(made.db, job) as row:
            try:
                stop_if_asked()
                work(row, made)
                _fail_if_away(row, made)
            except Stopped:
                WORKING.clear()
                row.outcome = "waiting"
                row.detail = f"{row.detail or 'nothing done'}; stopped with its worker, the next run does the rest"
            WORKING.clear()
            log.info("job ended", extra={"outcome": row.outcome, "detail": row.detail})
    except Stopped:
        row.detail = row.detail or "stopped with its worker before it began"
    finally:
        WORKING.clear()
    return row.detail


def _rq_id(job: str) -> str:
    """RQ's id of this run, which its pages show too; `<job>-by-hand` outside RQ."""
    run = get_current_job()
    return f"{job}-by-hand" if run is None else str(run.id)


FUNCTIONS: Final[dict[str, Callable[[], str]]] = {job.name: globals()[job.name] for job in JOBS}
"""The function of each row of the table; importing this module fails where a row has none."""
