"""The doorbell: the schedule heals itself, rings each due time once, and survives being killed between any two of its commands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from rq import Queue

from engine import doorbell
from engine.doorbell import HealingScheduler, enqueue_now, missing_from_schedule, schedule_id
from engine.job_table import JOBS, QUEUES

LINES = "rq:scheduler:scheduled_jobs"
DAY = 86400
NOON = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC).timestamp()


class Killed(BaseException):
    """kill -9: nothing after this command is done, no handler runs."""


class Dying(redis.Redis):
    """A connection that is killed before its k-th command, or between the k-th's effect and its reply."""

    left = 1 << 60
    after = False

    def _count(self, work: Callable[[], Any]) -> Any:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        answer = work()
        if self.left == 0:
            raise Killed
        return answer

    def execute_command(self, *args: Any, **options: Any) -> Any:
        return self._count(lambda: super(Dying, self).execute_command(*args, **options))

    def pipeline(self, transaction: Any = True, shard_hint: Any = None) -> Any:
        made = super().pipeline(transaction, shard_hint)
        execute = made.execute
        made.execute = lambda raise_on_error=True: self._count(lambda: execute(raise_on_error))  # type: ignore[method-assign]
        return made


class Clock:
    """The scheduler's time, moved by the test."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock(NOON)
    monkeypatch.setattr(doorbell, "time", made)
    return made


@pytest.fixture
def scheduler(jobs_redis: redis.Redis) -> HealingScheduler:
    return HealingScheduler("jobs", interval=2, connection=jobs_redis)


def queued(connection: redis.Redis) -> dict[str, list[str]]:
    return {name: Queue(name, connection=connection).job_ids for name in QUEUES}


def work_off(connection: redis.Redis) -> list[str]:
    """What a worker would take; the runs' hashes stay for as long as their results do."""
    taken = [run for ids in queued(connection).values() for run in ids]
    for name in QUEUES:
        connection.delete(f"rq:queue:{name}")
    return taken


def whole(connection: redis.Redis, now: float) -> bool:
    """Every line stands in the schedule, not too late, nothing else does, and each job reads."""
    lines = dict(connection.zrange(LINES, 0, -1, withscores=True))
    return (
        set(lines) == {schedule_id(ring).encode() for ring in JOBS}
        and all(lines[schedule_id(ring).encode()] <= ring.due_after(now) for ring in JOBS)
        and all(connection.hexists(f"rq:job:{schedule_id(ring)}", "data") for ring in JOBS)
    )


DAMAGES: dict[str, Callable[[redis.Redis], Any]] = {
    "a job's hash deleted": lambda r: r.delete("rq:job:schedule-persist"),
    "a job's hash unreadable": lambda r: r.hset("rq:job:schedule-check", "data", b"\x80\xffnonsense"),
    "a job's hash emptied": lambda r: r.hdel("rq:job:schedule-check", "data", "created_at"),
    "a job's key of another type": lambda r: (r.delete("rq:job:schedule-check"), r.set("rq:job:schedule-check", "x")),
    "a line deleted": lambda r: r.zrem(LINES, "schedule-persist"),
    "a line moved to the end of time": lambda r: r.zadd(LINES, {"schedule-persist": float("inf")}),
    "a line moved by a month": lambda r: r.zadd(LINES, {"schedule-check": NOON + 30 * DAY}),
    "all lines deleted": lambda r: r.delete(LINES),
    "a foreign line": lambda r: r.zadd(LINES, {"somebody-elses": 1}),
    "a foreign line that is no text": lambda r: r.zadd(LINES, {b"\xff\xfe\x00": 1}),
    "a foreign line whose job does not read": lambda r: (
        r.hset("rq:job:bad", "data", b"\xff"),
        r.zadd(LINES, {"bad": 1}),
    ),
    "the schedule of another type": lambda r: (r.delete(LINES), r.set(LINES, "x")),
    "everything flushed": lambda r: r.flushall(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_schedule_heals_from(
    damage: str, scheduler: HealingScheduler, jobs_redis: redis.Redis, clock: Clock
) -> None:
    scheduler.enqueue_jobs()
    assert whole(jobs_redis, clock.now)
    DAMAGES[damage](jobs_redis)
    scheduler.enqueue_jobs()
    assert whole(jobs_redis, clock.now)
    assert missing_from_schedule(jobs_redis) == []
    clock.now += 60
    scheduler.enqueue_jobs()
    assert any(run.startswith("persist-") for run in work_off(jobs_redis)), "it rings again"


def test_each_due_time_of_two_hours_over_midnight_rings_once(
    scheduler: HealingScheduler, jobs_redis: redis.Redis, clock: Clock
) -> None:
    taken: list[str] = []
    clock.now = NOON + 11 * 3600
    end = clock.now + 2 * 3600
    scheduler.enqueue_jobs()
    while clock.now < end:
        clock.now += 20
        scheduler.enqueue_jobs()
        taken += work_off(jobs_redis)
    assert len(taken) == len(set(taken))
    counts = {ring.name: sum(run.startswith(f"{ring.name}-") for run in taken) for ring in JOBS}
    assert counts == {
        "persist": 120,
        "publish": 120,
        "check": 24,
        "alerts": 120,
        "webhooks": 120,
        "close_day": 1,
        "close_month": 0,
        "operations": 120,
        "sweep": 120,
        "verify": 8,
    }


def test_two_days_missed_over_a_months_end_ring_once_each(
    scheduler: HealingScheduler, jobs_redis: redis.Redis, clock: Clock
) -> None:
    clock.now = datetime(2027, 2, 27, 12, tzinfo=UTC).timestamp()
    scheduler.enqueue_jobs()
    clock.now = datetime(2027, 3, 1, 12, tzinfo=UTC).timestamp()
    scheduler.enqueue_jobs()
    assert sorted(run.rsplit("-", 1)[0] for run in work_off(jobs_redis)) == sorted(ring.name for ring in JOBS)
    scheduler.enqueue_jobs()
    assert work_off(jobs_redis) == []


def test_a_queue_with_a_waiting_run_is_not_rung_again(
    scheduler: HealingScheduler, jobs_redis: redis.Redis, clock: Clock
) -> None:
    scheduler.enqueue_jobs()
    for _ in range(5):
        clock.now += 60
        scheduler.enqueue_jobs()
    assert {name: len(ids) for name, ids in queued(jobs_redis).items()} == {"persist": 1, "jobs": 6, "verify": 0}
    assert not enqueue_now(jobs_redis, JOBS[0])


def test_a_queue_of_another_type_does_not_keep_the_other_from_being_rung(
    scheduler: HealingScheduler, jobs_redis: redis.Redis, clock: Clock
) -> None:
    scheduler.enqueue_jobs()
    jobs_redis.set("rq:queue:persist", "x")
    clock.now += 60
    assert scheduler.enqueue_jobs() == ["publish", "alerts", "webhooks", "operations", "sweep"]


def test_entries_of_a_queue_that_are_no_text_do_not_keep_ours_from_being_rung(
    jobs_redis: redis.Redis, clock: Clock
) -> None:
    jobs_redis.rpush("rq:queue:persist", b"\xff\xfe")
    assert enqueue_now(jobs_redis, JOBS[0])


@pytest.mark.parametrize("after", [False, True], ids=["before a command", "after its effect"])
def test_killed_at_any_command_it_rings_each_due_time_once_and_is_whole_again(
    after: bool, jobs_redis: redis.Redis, servers: Any, clock: Clock
) -> None:
    """Every k: a pass that heals an empty Redis, and one in which all jobs are due, is killed at its k-th command and run anew."""
    dying = Dying.from_url(servers.jobs)
    dying.after = after
    for begin in ("empty", "due"):
        k = 0
        while True:
            k += 1
            jobs_redis.flushdb()
            clock.now = datetime(2026, 11, 30, 23, 58, tzinfo=UTC).timestamp()
            if begin == "due":
                HealingScheduler("jobs", interval=2, connection=jobs_redis).enqueue_jobs()
                clock.now += 150
            dying.left = k
            try:
                HealingScheduler("jobs", interval=2, connection=dying).enqueue_jobs()
                died = False
            except Killed:
                died = True
            dying.left = 1 << 60
            taken = work_off(jobs_redis)
            clock.now += 15
            HealingScheduler("jobs", interval=2, connection=jobs_redis).enqueue_jobs()
            taken += work_off(jobs_redis)
            assert whole(jobs_redis, clock.now), f"{begin}, killed at {k}"
            wanted = sorted(ring.name for ring in JOBS) if begin == "due" else []
            assert sorted(run.rsplit("-", 1)[0] for run in taken) == wanted, f"{begin}, killed at {k}"
            if not died:
                break
        assert k > 10
    dying.close()


def test_two_schedulers_at_once_ring_each_due_time_once(jobs_redis: redis.Redis, servers: Any, clock: Clock) -> None:
    both = [HealingScheduler("jobs", interval=2, connection=redis.Redis.from_url(servers.jobs)) for _ in range(2)]
    taken: list[str] = []
    for _ in range(30):
        clock.now += 60
        threads = [threading.Thread(target=each.enqueue_jobs) for each in both]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken += work_off(jobs_redis)
    assert len(taken) == len(set(taken))
    # The first pass writes the schedule, so the 29 minutes after it ring.
    assert sum(run.startswith("persist-") for run in taken) == 29
    assert whole(jobs_redis, clock.now)
    for each in both:
        each.connection.close()


@pytest.fixture(autouse=True)
def _not_stopping() -> Iterator[None]:
    yield
    doorbell.jobs.STOPPING.clear()
