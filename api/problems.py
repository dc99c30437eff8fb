"""Errors as application/problem+json (RFC 9457): status, what was wrong, the field, and what to do. Never a traceback."""

from __future__ import annotations

import json
import logging
import secrets
import threading
from typing import Any, Final, NamedTuple

import redis
from flask import Flask, Response, g
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

from api.access import OutOfScope
from api.known import TooManyUnknown
from engine.domain.seldom import Seldom
from engine.errors import (
    BudgetError,
    Conflict,
    InvalidInput,
    NotFound,
    NotReady,
    Overloaded,
    ServerAway,
    ServerRefuses,
    Unavailable,
    UnreadableReply,
    WrongVersion,
)

LOG = logging.getLogger("api")
_NOTED: Final = Seldom()
_NOTING: Final = threading.Lock()
TYPE: Final = "application/problem+json"
RETRY_S: Final = 1
_TITLES: Final = {
    400: "The request cannot be read",
    401: "A token is needed",
    403: "This token may not do this",
    404: "Not found",
    405: "Not with this method",
    408: "The request did not arrive in time",
    409: "In conflict with what is there",
    412: "Changed meanwhile",
    413: "Too large",
    415: "Not application/json",
    422: "A value is wrong",
    428: "If-Match is needed",
    429: "Too many requests",
    500: "An error of the engine",
    503: "Not now",
}
_TOO_SLOW: Final = ("55P03", "57014")
"""PostgreSQL's codes for a lock that was not free in time and a statement that was ended."""


class Malformed(Exception):
    """A body that is not JSON."""


class WrongType(Exception):
    """A body that is not application/json."""


class Stale(Exception):
    """If-Match names another version than the present one."""


class NoMatch(Exception):
    """A change without If-Match."""


def body_of(status: int, detail: str, **more: Any) -> bytes:
    """The JSON of a problem."""
    title = _TITLES.get(status, "Refused")
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


def problem(status: int, detail: str, retry_s: int = RETRY_S, **more: Any) -> Response:
    """An answer that says what was wrong. 503 and 429 say when to try again."""
    answer = Response(body_of(status, detail, **more), status, content_type=TYPE)
    if status in (429, 503):
        answer.headers["Retry-After"] = str(retry_s)
    if status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="budget-engine"'
    return answer


def install(app: Flask) -> None:
    """Registers the answers to errors."""
    _install_input(app)
    _install_servers(app)

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        status = error.code or 500
        answer = problem(status, " ".join((error.description or "").split()))
        for name, value in error.get_headers():
            if name == "Allow":
                # The router's own order changes from process to process.
                answer.headers[name] = ", ".join(sorted(value.split(", ")))
        return answer

    @app.errorhandler(Exception)
    def unforeseen(error: Exception) -> Response:
        said = said_of(error)
        return problem(said.status, said.detail)


class Said(NamedTuple):
    """What an error is told as. more: further members of the document, such as field."""

    status: int
    detail: str
    more: dict[str, Any]


def said_of(error: Exception) -> Said:
    """What an error of the engine, or one that nobody foresaw, is told as."""
    match error:
        case InvalidInput():
            return Said(422, sentence(error), {"field": error.field})
        case NotFound():
            return Said(404, sentence(error), {})
        case Conflict():
            return Said(409, sentence(error), {"field": error.field})
        case Unavailable() | ServerAway() | ServerRefuses() | WrongVersion() | OperationalError() | redis.RedisError():
            return _of_server(error)
        case NotReady() | Overloaded() | TooManyUnknown():
            return Said(503, sentence(error), {})
        case BudgetError():
            return Said(409, sentence(error), {})
    number = secrets.token_hex(4)
    LOG.error("unexpected error %s", number, exc_info=error)
    return Said(500, f"An error of the engine, number {number} in its log. Nothing is known of the outcome.", {})


def _of_server(error: Exception) -> Said:
    """What a caller is told of a server that is away, hangs or refuses. Where it is and what it answered is in the log alone."""
    match error:
        case Unavailable():
            _note(logging.ERROR if isinstance(error, UnreadableReply) else logging.WARNING, "no answer", error)
            under = f" with request_id {error.request_id}" if error.request_id else ""
            said = f"Redis did not answer in time, or takes nothing now: repeat it{under}, nothing is counted twice."
            return Said(503, said, {"request_id": error.request_id or None})
        case ServerAway():
            _note(logging.WARNING, "no answer", error)
            return Said(503, f"{error.part} does not answer. Try again in a moment.", {})
        case OperationalError() if getattr(error.orig, "pgcode", None) in _TOO_SLOW:
            return Said(503, "PostgreSQL is too slow: nothing was changed. Try again in a moment.", {})
        case OperationalError():
            _note(logging.ERROR, "PostgreSQL failed", error)
            return Said(503, "PostgreSQL failed. Try again in a moment.", {})
        case redis.RedisError():
            _note(logging.WARNING, "Redis failed", error)
            return Said(503, "Redis does not answer. Try again in a moment.", {})
    _note(logging.ERROR, "a server refuses", error)
    return Said(503, "A server of the engine refuses this; its log has the reason.", {})


def _note(level: int, what: str, error: Exception) -> None:
    """A line in the log for the first of its kind, then one now and then: while a server is away, each spend would write one."""
    # Two that differ in their request id alone are of one kind.
    kind, own = str(error), getattr(error, "request_id", "")
    with _NOTING:
        more = _NOTED.due(kind.replace(own, "") if own else kind)
    if more is not None:
        LOG.log(level, "%s: %s%s", what, error, more)


def _install_input(app: Flask) -> None:
    """What callers send."""

    @app.errorhandler(ValidationError)
    def invalid(error: ValidationError) -> Response:
        return of_validation(error)

    @app.errorhandler(Malformed)
    def malformed(error: Malformed) -> Response:
        return problem(400, sentence(error))

    @app.errorhandler(WrongType)
    def wrong_type(error: WrongType) -> Response:
        return problem(415, sentence(error))

    @app.errorhandler(OutOfScope)
    def out_of_scope(error: OutOfScope) -> Response:
        return problem(403, sentence(error), field=error.field)

    @app.errorhandler(Stale)
    def stale(error: Stale) -> Response:
        return problem(412, sentence(error))

    @app.errorhandler(NoMatch)
    def no_match(error: NoMatch) -> Response:
        return problem(428, sentence(error))


def _install_servers(app: Flask) -> None:
    """Servers that are away, hang or refuse, and what the engine refuses itself."""

    @app.errorhandler(BudgetError)
    @app.errorhandler(OperationalError)
    @app.errorhandler(redis.RedisError)
    def of_engine(error: Exception) -> Response:
        said = said_of(error)
        return problem(said.status, said.detail, **said.more)


def of_validation(error: ValidationError) -> Response:
    """The answer to a body or query of a wrong shape, with each field that is wrong."""
    found = [{"field": path_of(one["loc"]), "detail": one["msg"]} for one in error.errors(include_url=False, include_context=False, include_input=False)]  # fmt: skip
    first = found[0]
    more: dict[str, Any] = {"errors": found[:20]} if len(found) > 1 else {}
    return problem(422, f"{first['field'] or 'the body'}: {first['detail']}", field=first["field"] or None, **more)


def path_of(place: tuple[int | str, ...]) -> str:
    """A field's path, as in `spends[3].amount`."""
    path = ""
    for part in place:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def sentence(error: Exception) -> str:
    """An error's text with a capital letter and a full stop."""
    text = " ".join(str(error).split())
    return text if not text or text.endswith((".", "?", "!")) else f"{text}."


def request_id() -> str | None:
    """This request's id, for messages."""
    found: str | None = g.get("request_id")
    return found
