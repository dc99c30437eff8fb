"""The periodic jobs, one row each: what RQ may call, when, on which queue, and how long it may take.

Jobs, the scheduler, the workers' queues, health, RQ's allow list and docs/operations.md use this table.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.domain.periods import DAY_MS, MINUTE_MS, month_of, month_start_ms, next_month_ms

MONTHLY: Final = -1
RESULT_TTL_S: Final = 3600
_DAY_S: Final = DAY_MS // 1000


class Job(NamedTuple):
    """One row.

    name: of the job and of its function in `engine.jobs`. every_s: seconds, counted from 00:00 UTC (MONTHLY: on the
    1st at 00:00 UTC).
    timeout_s: RQ ends a run that takes longer; a run that has no end by then was killed.
    late_ms: how long after its last start it is overdue; of a daily or monthly job, how long after its due time.
    words: for people.
    """

    name: str
    queue: str
    every_s: int
    timeout_s: int
    late_ms: int
    words: str

    @property
    def by_calendar(self) -> bool:
        """Whether it is due at the beginning of a day or month, and not at an interval."""
        return self.every_s in (MONTHLY, _DAY_S)

    @property
    def due(self) -> str:
        """When it is due, for people."""
        if self.every_s == MONTHLY:
            return "00:00 UTC on the 1st"
        if self.every_s == _DAY_S:
            return "00:00 UTC"
        return "each minute" if self.every_s == 60 else f"every {self.every_s // 60} minutes"

    @property
    def result_ttl_s(self) -> int:
        """How long a finished run is kept: at least its period, because its id prevents a second run for the same due
        time.
        """
        return RESULT_TTL_S if self.every_s == MONTHLY else max(RESULT_TTL_S, 2 * self.every_s)

    def due_after(self, now_s: float) -> int:
        """The first due time (epoch seconds) after an instant."""
        if self.every_s == MONTHLY:
            return next_month_ms(int(now_s * 1000)) // 1000
        return (int(now_s) // self.every_s + 1) * self.every_s

    def due_before(self, now_s: float) -> int:
        """The last due time up to an instant."""
        if self.every_s == MONTHLY:
            return month_start_ms(month_of(int(now_s * 1000))) // 1000
        return int(now_s) // self.every_s * self.every_s


PERSIST_S: Final = 55
"""Seconds after which a persist job hands over to the next one, if that is in the queue."""
PERSIST_LONGEST_S: Final = 600
"""Seconds for which it goes on when none is in the queue, so that a dead scheduler does not stop the log."""

PERSIST_QUEUE: Final = "persist"
JOBS_QUEUE: Final = "jobs"
VERIFY_QUEUE: Final = "verify"
"""verify has a queue of its own: it may take minutes, and a check or a close must not wait for it."""

VERIFY_LONGEST_S: Final = 3 * 3600
"""Once a night it reads all rows of the month. The passes between take seconds."""

OPERATIONS_S: Final = 10
"""Seconds after which a job of changes lets the others in its queue go first, if any wait."""
OPERATIONS_LONGEST_S: Final = 600
"""Seconds after which it ends in any case: the next one goes on."""

JOBS: Final = (
    Job(
        "persist", PERSIST_QUEUE, 60, PERSIST_LONGEST_S + 60, 12 * MINUTE_MS,
        "Persists the journal into the spend log",
    ),
    Job("publish", JOBS_QUEUE, 60, 120, 4 * MINUTE_MS, "Publishes catalog changes to Redis that could not be published at once"),
    Job("check", JOBS_QUEUE, 300, 600, 11 * MINUTE_MS, "Compares all campaigns with budgets and schedules"),
    Job("alerts", JOBS_QUEUE, 60, 300, 6 * MINUTE_MS, "Decides the alerts of every brand"),
    Job("webhooks", JOBS_QUEUE, 60, 120, 6 * MINUTE_MS, "Sends messages to webhooks"),
    Job("close_day", JOBS_QUEUE, _DAY_S, 1800, 15 * MINUTE_MS, "Closes every ended period"),
    Job("close_month", JOBS_QUEUE, MONTHLY, 1800, 15 * MINUTE_MS, "The same"),
    Job("operations", JOBS_QUEUE, 60, OPERATIONS_LONGEST_S + 60, 15 * MINUTE_MS, "Goes on with changes of many rows at once"),
    Job("sweep", JOBS_QUEUE, 60, 120, 4 * MINUTE_MS, "Ends expired holds"),
    Job("verify", VERIFY_QUEUE, 900, VERIFY_LONGEST_S, 31 * MINUTE_MS, "Checks every invariant that is visible from outside"),
)  # fmt: skip
BY_NAME: Final = {job.name: job for job in JOBS}
QUEUES: Final = tuple(dict.fromkeys(job.queue for job in JOBS))
"""One worker process each, so that no queue waits for the jobs of another."""
