"""Restricts RQ: JSON in place of pickle, and no function but those of `engine.jobs.FUNCTIONS`.

RQ unpickles what is in its Redis and imports any dotted name that it finds there. So whoever can write to that Redis
could run code in worker, scheduler and web. RQ's serializer does not prevent this: each caller may forget the
argument, rq-scheduler cannot be given one, and it does not cover the names of functions and callbacks. Importing this
module replaces the one function that all of them call, for the whole process.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import rq.job
import rq.serializers
from rq.exceptions import DeserializationError
from rq.job import Job

from engine import jobs
from engine.errors import Refused, shown

ALLOWED: Final[dict[str, Callable[..., Any]]] = {
    f"{function.__module__}.{function.__name__}": function for function in jobs.FUNCTIONS.values()
}
"""What a job may call, by the name that is in Redis."""
UNREAD: Final = "(not shown: this is not JSON)"
_CALL: Final = 4
"""RQ keeps a call as function, instance, args and kwargs."""


class ForeignJob(Refused):
    """A job whose call is not allowed. Nothing of it was run."""


class JsonOnly:
    """RQ's serializer: plain JSON. A foreign result or note is shown as unread, so that it cannot break a page."""

    @staticmethod
    def dumps(value: Any, /) -> bytes:
        return json.dumps(value).encode()

    @staticmethod
    def loads(data: bytes, /) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            return UNREAD


def function_of(name: object) -> Callable[..., Any]:
    """The allowed function with this name. Raises ForeignJob."""
    found = ALLOWED.get(name) if isinstance(name, str) else None
    if found is None:
        raise ForeignJob(
            f"a job names {shown(name)}, which is not a function of this engine: nothing was run;"
            " find out who writes to the jobs Redis"
        )
    return found


def refusal(error: BaseException | None) -> BaseException | None:
    """The reason why a job could not be read, which RQ's error hides; any other error unchanged."""
    return error.__cause__ if isinstance(error, DeserializationError) else error


def _read_call(job: Job) -> None:
    """Reads a job's call from its data. Raises DeserializationError where it is not an allowed call."""
    try:
        call = JsonOnly.loads(job.data)
        if call == UNREAD:
            raise ForeignJob(
                "a job's call is not JSON: it is of an older release, which rings again by itself, or not of this engine;"
                " nothing was run"
            )
        if not isinstance(call, list) or len(call) != _CALL:
            raise ForeignJob(f"a job's call is {shown(call)}, which is no call: nothing was run")
        name, instance, args, kwargs = call
        function_of(name)
        if instance is not None or not isinstance(args, list) or not isinstance(kwargs, dict):
            raise ForeignJob(f"the call of {name} has parts that are not ours: nothing was run")
    except ForeignJob as error:
        raise DeserializationError from error
    job._func_name, job._instance, job._args, job._kwargs = name, None, args, kwargs
    # Our jobs never repeat by themselves. A foreign job that repeats without a pause would occupy a worker for ever.
    job.repeats_left = job.retries_left = None


def _send_nothing(job: Job, *_: Any, **__: Any) -> None:
    """Replaces RQ's webhooks, which would post to any address in a job. Our jobs have none."""


def _restrict_rq() -> None:
    gate: Any = JsonOnly
    for name in ("DefaultSerializer", "PickleSerializer"):
        setattr(rq.serializers, name, gate)
    rq.serializers.SERIALIZER_ALIASES.update(pickle=gate, json=gate)
    # Callbacks are imported by the same kind of name as functions.
    module: Any = rq.job
    module.import_attribute = function_of
    closed: Any = Job
    closed._deserialize_data = _read_call
    closed.func = property(lambda job: function_of(job.func_name))
    closed.send_webhooks = _send_nothing


_restrict_rq()
