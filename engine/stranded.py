"""Jobs that a worker popped and never began. RQ leaves them in its intermediate queue, and fails them after ten
minutes without a run.

A worker pops by one command, which moves the job's id from the queue to the intermediate queue. A few commands later
it marks the job as begun, which removes the id. A worker that ends in between, by kill -9 or by the signal that stops
it, leaves the id there.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

import redis
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.queue import Queue

from engine.domain.seldom import Seldom

log = logging.getLogger(__name__)

GRACE_S: Final = 5.0
"""A running worker begins what it popped within milliseconds; on a busy machine within this."""

_MOVE: Final = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('UNLINK', KEYS[4])
if redis.pcall('HGET', KEYS[3], 'status') ~= 'queued' then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[1])
return 1
"""
"""One atomic step, so that two processes enqueue a job once, and never a job that has just begun. It goes to the end
of the queue, so that a job that RQ cannot begin does not delay the others.
"""


def popped(connection: redis.Redis, queue: str) -> list[bytes]:
    """The ids in a queue's intermediate queue: stranded jobs, and briefly the one that a worker is about to begin."""
    # Read raw: a foreign entry that is not text must not hide ours.
    ids: Any = connection.lrange(_intermediate(connection, queue).key, 0, -1)
    return list(ids)


def requeue(connection: redis.Redis, queue: str, ids: list[bytes]) -> list[str]:
    """Enqueues each popped job that was never begun, and removes jobs that cannot run; returns the jobs that it
    enqueued.

    A job that a worker begins at this moment may run twice. Every job may, without harm.
    """
    return [name for raw in ids if (name := _requeue_one(connection, queue, raw))]


def drop_unreadable(connection: redis.Redis, queue: str) -> int:
    """Removes what was popped and is no job that can be read; returns how many."""
    return sum(_dropped(connection, queue, raw) for raw in popped(connection, queue))


def _dropped(connection: redis.Redis, queue: str, raw: bytes) -> bool:
    """Whether a popped id is of no job that can be read, and is gone now: RQ would end the worker's loop over it."""
    if _reads(connection, raw):
        return False
    set_aside(connection, queue, raw, "it is no job that can be read")
    return True


def set_aside(connection: redis.Redis, queue: str, raw: bytes, why: str) -> None:
    """Removes a popped id for good: else it would be enqueued again and again."""
    if connection.lrem(_intermediate(connection, queue).key, 1, raw):  # type: ignore[arg-type]  # redis-py takes bytes too
        log.error("removed %r from queue %s: %s", raw.decode(errors="backslashreplace")[:80], queue, why)


def _requeue_one(connection: redis.Redis, queue: str, raw: bytes) -> str | None:
    if _dropped(connection, queue, raw):
        return None
    intermediate = _intermediate(connection, queue)
    name = raw.decode(errors="backslashreplace")
    move = connection.register_script(_MOVE)
    job = Job.key_for(name)
    keys = [intermediate.key, Queue(queue, connection=connection).key, job, intermediate.get_first_seen_key(name)]
    if not move(keys=keys, args=[raw]):
        return None
    log.warning("%s was taken from queue %s by a worker that ended before it began it: queued again", name, queue)
    return name


def _reads(connection: redis.Redis, raw: bytes) -> bool:
    try:
        Job.fetch(raw.decode(), connection=connection)
    except (redis.ConnectionError, redis.TimeoutError):
        raise
    except Exception:  # noqa: BLE001  # whatever is wrong with it, no worker can run it
        return False
    return True


def _intermediate(connection: redis.Redis, queue: str) -> IntermediateQueue:
    return Queue(queue, connection=connection).intermediate_queue


class StrandedJobs:
    """Watches some queues: enqueues a job that has been popped for longer than a running worker takes to begin it."""

    def __init__(self, connection: redis.Redis, queues: tuple[str, ...]) -> None:
        self._connection, self._queues = connection, queues
        self._since: dict[tuple[str, bytes], float] = {}
        self._seldom = Seldom()

    def look(self) -> list[str]:
        """Checks once; returns the jobs that it enqueued."""
        now = time.monotonic()
        found = {(queue, raw) for queue in self._queues for raw in self._popped(queue)}
        self._since = {each: self._since.get(each, now) for each in found}
        late = [each for each, since in self._since.items() if now - since >= GRACE_S]
        for each in late:
            del self._since[each]
        return [name for queue, raw in late for name in requeue(self._connection, queue, [raw])]

    def _popped(self, queue: str) -> list[bytes]:
        try:
            return popped(self._connection, queue)
        except redis.ResponseError as error:
            # It is not a list. The other queues are checked all the same.
            self._seldom.say(log.error, f"the intermediate queue of {queue} cannot be read: {error}")
            return []
