"""The workers that stand in RQ's Redis. Whoever can write there can write anything: what is no worker is passed over, and hides none that is one."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    from rq import Worker


def workers_of(jobs: redis.Redis, kind: type[Worker] | None = None) -> list[Any]:
    """Every worker that can be read, as `seen_worker()` or a class that is made of it. Raises redis.RedisError where the server does not answer."""
    from rq.worker_registration import REDIS_WORKER_KEYS

    names: Any = jobs.smembers(REDIS_WORKER_KEYS)
    found = []
    for name in names:
        try:
            worker = (kind or seen_worker()).find_by_key(name.decode(), connection=jobs)
        except (redis.ConnectionError, redis.TimeoutError):
            raise
        except Exception:  # noqa: BLE001  # whatever is wrong with it, it is no worker of RQ's
            continue
        if worker is not None:
            found.append(worker)
    return found


@cache
def seen_worker() -> type[Worker]:
    """RQ's worker for those who only look at it."""
    from rq import Worker  # here, since commands that ask for no health need not wait for it

    class SeenWorker(Worker):
        """One that leaves its client as it is: RQ's own has it wait for seven minutes from then on, whoever else uses it."""

        def _set_connection(self, connection: redis.Redis) -> redis.Redis:
            return connection

    return SeenWorker
