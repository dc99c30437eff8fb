"""The log of jobs: one row a run, from its start to its end, also when it fails, so that the pages can say what is overdue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import Engine, insert, text

from engine.errors import ServerAway
from engine.ledger.database import writing
from engine.ledger.run_model import JobRun

Outcome = Literal["running", "done", "failed", "waiting"]

_DETAIL_LENGTH: Final = 4000
"""A rebuild names for each of 64 shards what nobody knows."""


_END_LOST: Final = text(
    "UPDATE job_run SET finished_at = clock_timestamp(), outcome = 'failed',"
    " detail = 'its process ended without a word: killed, or PostgreSQL was away at its end'"
    " WHERE job = :job AND outcome = 'running' AND started_at < now() - make_interval(secs => :after)"
)
_LAST_ENDED: Final = text(
    "SELECT * FROM job_run WHERE job = :job AND outcome IN ('done', 'failed') ORDER BY id DESC LIMIT 1"
)
_PRUNE: Final = text(
    "DELETE FROM job_run WHERE started_at < now() - make_interval(days => :days)"
    " AND id NOT IN (SELECT max(id) FROM job_run GROUP BY job)"
    " AND id NOT IN (SELECT max(id) FROM job_run WHERE outcome = 'done' GROUP BY job)"
)
_FINISH: Final = text(
    "UPDATE job_run SET finished_at = clock_timestamp(), outcome = :outcome, detail = :detail WHERE id = :id"
)


@dataclass(slots=True)
class Run:
    """What a job tells of its run; `outcome` may be set to "waiting" when it must be run again."""

    outcome: Outcome = "done"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as it stands in job_run; finished_at is None while it runs, or when its process was killed."""

    id: int
    job: str
    started_at: datetime
    finished_at: datetime | None
    outcome: Outcome
    detail: str


@contextmanager
def run(engine: Engine, job: str) -> Iterator[Run]:
    """Writes down a run: started now, ended when the block ends. An error is written down and goes on its way."""
    with writing(engine) as connection:
        run_id: int = connection.execute(insert(JobRun).values(job=job).returning(JobRun.id)).scalar_one()
    told = Run()
    try:
        yield told
    except BaseException as error:
        told.outcome, told.detail = "failed", _one_line(error)
        # The job's own error matters more than that it could not be written down.
        with suppress(ServerAway):
            _finish(engine, run_id, told)
        raise
    _finish(engine, run_id, told)


def end_lost(engine: Engine, job: str, after_s: int) -> int:
    """Ends the runs of a job that have been running for longer than it may: their process was killed. Answers how many."""
    with writing(engine) as connection:
        return connection.execute(
            _END_LOST,
            {"job": job, "after": after_s},
        ).rowcount


def last_runs(engine: Engine) -> dict[str, RunRecord]:
    """The latest run of each job."""
    return _read(engine, "SELECT DISTINCT ON (job) * FROM job_run ORDER BY job, id DESC")


def last_ended(engine: Engine, job: str) -> RunRecord | None:
    """The latest run of a job that has ended."""
    with engine.connect() as connection:
        row = connection.execute(
            _LAST_ENDED,
            {"job": job},
        ).one_or_none()
    return None if row is None else RunRecord(**row._asdict())


def last_successes(engine: Engine) -> dict[str, RunRecord]:
    """The latest run of each job that ended well."""
    return _read(engine, "SELECT DISTINCT ON (job) * FROM job_run WHERE outcome = 'done' ORDER BY job, id DESC")


def prune(engine: Engine, keep_days: int = 14) -> int:
    """Drops old runs, but never a job's latest; answers how many."""
    with writing(engine) as connection:
        return connection.execute(
            _PRUNE,
            {"days": keep_days},
        ).rowcount


def _finish(engine: Engine, run_id: int, told: Run) -> None:
    # Not `writing`: that a run has ended is noted also where somebody migrated the database meanwhile.
    with engine.begin() as connection:
        connection.execute(
            _FINISH,
            {"id": run_id, "outcome": told.outcome, "detail": _short(told.detail)},
        )


def _read(engine: Engine, query: str) -> dict[str, RunRecord]:
    with engine.connect() as connection:
        return {row.job: RunRecord(**row._asdict()) for row in connection.execute(text(query))}


def _one_line(error: BaseException) -> str:
    said = str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _short(detail: str) -> str:
    """One line that PostgreSQL takes, whatever an error's text holds."""
    line = " ".join(detail.replace("\0", " ").split()).encode(errors="replace").decode()
    return line if len(line) <= _DETAIL_LENGTH else line[: _DETAIL_LENGTH - 3] + "..."
