"""What rq-dashboard reads from the jobs Redis, made safe for our pages: every text is cut and visible, and one
malformed entry never hides the rest.

Whoever can write to that Redis chooses each byte of a job, a worker and a queue. rq-dashboard reads them through
names of its module, so those names are replaced here, once, for the process.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import redis
import rq_dashboard.web
from flask import Flask, Response, abort, current_app, jsonify, render_template, request, url_for
from rq import Queue
from rq.exceptions import DeserializationError, InvalidJobOperation, NoSuchJobError, TimeoutFormatError
from rq.job import Job
from rq.results import Result

from engine.views.workers import seen_worker, workers_of
from web.seen import bounded, cut

REGISTRIES: Final = ("queued", "scheduled", "deferred", "started", "finished", "failed", "canceled")
MOST: Final = 200
"""Jobs on one page."""
_FARTHEST: Final = 10**9
_LONGEST_ID: Final = 500
"""A longer id is shown cut, without a link."""
_ODD: Final = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError, zlib.error,
    redis.ResponseError, DeserializationError, TimeoutFormatError,
)  # fmt: skip
"""What RQ raises for text that it did not write; not the errors of a server that is away."""
_original_job_entry: Final = rq_dashboard.web.serialize_job
_original_delete: Final = rq_dashboard.web.delete_job_view


@dataclass(frozen=True)
class Unread:
    """A job that RQ cannot read, and why."""

    id: str
    why: str


def _why(error: Exception) -> str:
    return cut(f"{type(error).__name__}: {error}")[:300]


class SteadyQueue(Queue):
    """Queues that show an unreadable job as such, and are not changed by being read."""

    @classmethod
    def all(cls, connection: redis.Redis, *_: Any, **__: Any) -> list[Queue]:
        return list(_readable(connection.smembers(cls.redis_queues_keys), lambda key: cls.from_queue_key(key, connection)))  # fmt: skip

    def fetch_job(self, job_id: str) -> Any:
        try:
            job = Job.fetch(job_id, connection=self.connection, serializer=self.serializer)
        except NoSuchJobError:
            return None
        except _ODD as error:
            return Unread(job_id, _why(error))
        return job if job.origin == self.name else None


class SteadyWorker(seen_worker()):  # type: ignore[misc]  # the base class is made at the first call
    """Workers, without those that cannot be read."""

    @classmethod
    def all(cls, connection: redis.Redis | None = None, *_: Any, **__: Any) -> list[Any]:
        return workers_of(connection, cls) if connection is not None else []

    def get_current_job(self) -> Any:
        try:
            return super().get_current_job()
        except _ODD as error:
            return Unread("?", _why(error))


def _readable(keys: Any, read: Callable[[str], Any]) -> Iterator[Any]:
    for key in keys:
        try:
            yield read(key.decode() if isinstance(key, bytes) else key)
        except _ODD:  # not of RQ's format: no queue and no worker
            continue


def _job_entry(job: Any) -> dict[str, Any]:
    try:
        entry = {"id": job.id, "unread": job.why} if isinstance(job, Unread) else _original_job_entry(job)
    except _ODD as error:
        entry = {"id": job.id, "unread": _why(error)}
    # Made from the id itself, before it is cut.
    return dict(bounded(entry), **_addresses(job.id))


def _addresses(job_id: str) -> dict[str, str]:
    if len(job_id) > _LONGEST_ID:
        return {}
    return {
        "view_url": url_for("rq_dashboard.job_view", instance_number=0, job_id=job_id),
        "delete_url": url_for("rq_dashboard.delete_job_view", job_id=job_id),
        "requeue_url": url_for("rq_dashboard.requeue_job_view", job_id=job_id),
    }


def _delete(job_id: str, registry: Any = None) -> Any:
    try:
        return _original_delete(job_id, registry)
    except _ODD:
        return _remove_everywhere(job_id)


def _remove_everywhere(job_id: str) -> Any:
    """Removes a job that RQ cannot read from every list; RQ itself would read it before it deletes it."""
    jobs: redis.Redis = current_app.redis_conn  # type: ignore[attr-defined]
    with jobs.pipeline() as steps:
        for queue in SteadyQueue.all(jobs):
            steps.lrem(queue.key, 0, job_id)
            for state in REGISTRIES[1:]:
                steps.zrem(getattr(queue, f"{state}_job_registry").key, job_id)
        steps.delete(Job.key_for(job_id), Result.get_key(job_id))  # type: ignore[no-untyped-call]
        steps.execute(raise_on_error=False)
    return jsonify(status="OK")


def _current_job_entry(job: Any) -> dict[str, Any] | str:
    if job is None:
        return "idle"
    if isinstance(job, Unread):
        return {"unread": job.why}
    return {"job_id": job.id, "description": job.description, **_addresses(job.id)}


def install(app: Flask) -> None:
    """Routes the blueprint's views through here; call it after it is registered."""
    for name in ("job_view", "job_info", "list_queues", "list_jobs", "list_workers", "requeue_job_view"):  # fmt: skip
        endpoint = f"rq_dashboard.{name}"
        app.view_functions[endpoint] = _catch_errors(app.view_functions[endpoint])

    app.view_functions["rq_dashboard.delete_job_view"] = _delete

    @app.before_request
    def within_reason() -> None:
        if request.blueprint == "rq_dashboard":
            _check(request.view_args or {})

    @app.after_request
    def in_bounds(response: Response) -> Response:
        if request.blueprint == "rq_dashboard" and response.mimetype == "application/json":
            answer = json.loads(response.get_data())
            if isinstance(answer.get("result"), list | dict):
                answer["result"] = json.dumps(answer["result"], indent=2)
            jobs = {"jobs": answer.pop("jobs")} if "jobs" in answer else {}  # each was cut as it was read
            response.set_data(json.dumps(bounded(answer) | jobs))
        return response


def _catch_errors(view: Callable[..., Any]) -> Callable[..., Any]:
    def answer(**where: Any) -> Any:
        try:
            with _jobs_faults():
                return view(**where)
        except _ODD as error:
            if request.endpoint == "rq_dashboard.job_info":
                return jsonify(id=where["job_id"], unread=_why(error))
            if request.endpoint == "rq_dashboard.job_view":
                return render_template("rq_dashboard/job.html", id=where["job_id"], enable_delete=True)
            abort(409, f"What stands in the jobs Redis cannot be read: {_why(error)}. Nothing was changed.")

    return answer


@contextmanager
def _jobs_faults() -> Iterator[None]:
    try:
        yield
    except NoSuchJobError:
        abort(404, "There is no job of this id: it has ended and was forgotten, or was deleted.")
    except InvalidJobOperation as error:
        abort(409, f"RQ refused that: {_why(error)}. Nothing was changed.")


def _check(where: dict[str, Any]) -> None:
    """Whether an address is valid; most others end in a traceback of rq-dashboard."""
    if where.get("registry_name", REGISTRIES[0]) not in REGISTRIES:
        abort(404, f"There is no such list of jobs. There are {', '.join(REGISTRIES)}.")
    if where.get("order", "asc") not in ("asc", "dsc"):
        abort(404, "Jobs are listed asc or dsc.")
    for name, most in (("per_page", MOST), ("page", _FARTHEST)):
        number = str(where.get(name, 1))
        if not (number.isascii() and number.isdigit() and len(number) <= 10 and 1 <= int(number) <= most):
            abort(404, f"{name} is a number from 1 to {most:,}.")


dashboard: Any = rq_dashboard.web
dashboard.Queue = SteadyQueue
dashboard.Worker = SteadyWorker
dashboard.serialize_job = _job_entry
dashboard.delete_job_view = _delete
dashboard.serialize_current_job = _current_job_entry
