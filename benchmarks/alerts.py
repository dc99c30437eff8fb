"""`python -m benchmarks.alerts [BRANDS]`: what a run of the job `alerts` takes at 10,000 brands, part by part, and what it holds Redis up.

The job shares its queue with check and close, so it must end long before its next run. Beside the time of each part stands its processor time.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import text

from benchmarks import embedded, size
from benchmarks.catalog_of_size import fill, publish_all, spend_once_each
from benchmarks.processors import processor_s
from engine.domain.money import MICROS
from engine.job_table import BY_NAME
from engine.views.alert_facts import troubles
from engine.wiring import System

BRANDS: Final = 10_000
EACH: Final = 3
ROUNDS: Final = 3
# The course of a week, so that silence and spikes compare with something: each brand spent every half hour until an hour ago.
_MINUTES: Final = text(
    "INSERT INTO brand_minute (day, brand_id, at, spend_micros) SELECT (at AT TIME ZONE 'UTC')::date, id, at, 1000000 FROM brand,"
    " generate_series(date_trunc('hour', now()) - interval '7 days', now() - interval '1 hour', interval '30 minutes') AS at ON CONFLICT DO NOTHING"
)


def prepare(system: System, brands: int) -> None:
    """Fills an empty system; every brand has spent, and one in ten is near the end of its budget."""
    sized = fill(system.db, brands, EACH, daily=30 * MICROS, monthly=900 * MICROS)
    with system.db.begin() as conn:
        conn.execute(text("UPDATE brand SET daily_budget_micros = 8000000, version = version + 1 WHERE id % 10 = 0"))
        conn.execute(_MINUTES)
    with system.db.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("ANALYZE"))
    publish_all(system)
    spend_once_each(system, sized)
    system.persister.drain_all()


def measure(system: System, say: Callable[[str], None]) -> None:
    """Some runs after each other: the first opens what is to be opened."""
    period_s = BY_NAME["alerts"].every_s
    say(
        f"load {os.getloadavg()[0]:.1f}\n| run | part | s | processor of the job s | Redis s | PostgreSQL s |\n| --- | --- | ---: | ---: | ---: | ---: |"
    )
    for number in range(1, ROUNDS + 1):
        done = _run(system, number, say)
        say(f"{done}; its period is {period_s} s")


def _run(system: System, number: int, say: Callable[[str], None]) -> Any:
    """One run, part by part, as the job makes it."""
    rules = system.alerts.rules()
    _timed(system, number, "health", lambda: troubles(system.overview.health()), say)
    seen = _timed(system, number, "read", lambda: system.alert_facts.read(rules), say)
    return _timed(
        system, number, "decide", lambda: system.alerts.decide(seen.facts, rules, seen.failed, seen.unknown), say
    )


def _timed(system: System, number: int, what: str, work: Callable[[], Any], say: Callable[[str], None]) -> Any:
    redis_s, ledger_s = _redis_s(system), processor_s("postgres")
    began, cpu = time.perf_counter(), time.process_time()
    found = work()
    took, own = time.perf_counter() - began, time.process_time() - cpu
    say(
        f"| {number} | {what} | {took:.2f} | {own:.2f} | {_redis_s(system) - redis_s:.2f} | {processor_s('postgres') - ledger_s:.2f} |"
    )
    return found


def _redis_s(system: System) -> float:
    found: dict[str, Any] = system.hot_redis.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


def main() -> None:
    """Runs it on embedded servers."""
    with embedded.servers() as servers, size.fresh(servers) as system:
        prepare(system, int(sys.argv[1]) if len(sys.argv) > 1 else BRANDS)
        measure(system, print)


if __name__ == "__main__":
    main()
