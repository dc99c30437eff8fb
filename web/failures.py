"""Errors as pages: what went wrong, where, and what to do. Never a traceback; an unexpected error gets a number that
is in the log too.
"""

from __future__ import annotations

import logging
import secrets

import redis
from flask import Flask, g, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

from engine.errors import BudgetError, InvalidId, InvalidInput, NotFound, ServerAway, ServerHangs, WrongVersion
from web import messages
from web.guard import is_htmx
from web.sessions import Unknown
from web.words import plainly

LOG = logging.getLogger("web")
_TOO_SLOW = ("55P03", "57014")
"""PostgreSQL's codes for a lock that was not free in time and a statement that was ended."""
_TITLES = {
    400: "That request could not be read",
    403: "Not from here",
    404: "Not found",
    405: "Not like this",
    413: "Too much at once",
}


def install(app: Flask) -> None:
    """Registers the error pages."""
    _install_servers(app)
    _install_ours(app)
    _install_http(app)


def _install_servers(app: Flask) -> None:
    """Servers that are away, hang or refuse."""

    @app.errorhandler(ServerAway)
    def away(error: ServerAway) -> ResponseReturnValue:
        part = error.part[:1].upper() + error.part[1:]
        if isinstance(error, ServerHangs):
            said = f"It was asked at {error.where} and has not answered for {error.silent_s:.1f} s."
            return _page(503, f"{part} hangs", said, error.hint)
        return _page(503, f"{part} is away", f"It was looked for at {error.where}.", error.hint)

    @app.errorhandler(Unknown)
    def who_is_it(error: Unknown) -> ResponseReturnValue:
        g.actor = None
        said = "It keeps the logins, so whether yours is in force cannot be asked, and nothing was changed."
        hint = "What Redis knows is shown to whoever looked at this page within the last minute. Try again when it is back."
        how = "is away" if isinstance(error.cause, ServerAway) else "is too slow"
        how = "hangs" if isinstance(error.cause, ServerHangs) else how
        return _page(503, f"PostgreSQL {how}", said, hint)

    @app.errorhandler(redis.ConnectionError)
    @app.errorhandler(redis.TimeoutError)
    def jobs_redis_away(error: redis.RedisError) -> ResponseReturnValue:
        LOG.warning("Redis failed on %s: %s", request.path, error)
        if isinstance(error, redis.TimeoutError):
            hint = "It takes connections and says nothing: look at its machine. The page System says where it is."
            return _page(503, "The jobs Redis hangs", "The job pages read from it and show nothing without it.", hint)
        hint = "See the page System for where it is looked for; start it, or correct JOBS_REDIS_URL."
        return _page(503, "The jobs Redis is away", "The job pages read from it and show nothing without it.", hint)

    @app.errorhandler(OperationalError)
    def too_slow(error: OperationalError) -> ResponseReturnValue:
        if getattr(error.orig, "pgcode", None) not in _TOO_SLOW:
            return _unforeseen(error)
        LOG.warning("PostgreSQL ended %s: %s", request.path, " ".join(str(error.orig).split()))
        said = "What this needs is being changed by somebody else, or took longer than a page may."
        return _page(503, "PostgreSQL is too slow", said, "Nothing was changed. Try again in a moment.")

    @app.errorhandler(redis.ResponseError)
    def redis_refused(error: redis.ResponseError) -> ResponseReturnValue:
        return _page(
            409,
            "Redis refused that",
            f"It said: {error}.",
            "An empty queue cannot be compacted, for one. Nothing was changed.",
        )


def _install_ours(app: Flask) -> None:
    """Refusals by the engine."""

    @app.errorhandler(WrongVersion)
    def other_release(error: WrongVersion) -> ResponseReturnValue:
        hint = "Nothing was changed. Run the program and the database of one release."
        return _page(503, "The database is of another release", _sentence(error), hint)

    @app.errorhandler(NotFound)
    def not_found(error: NotFound) -> ResponseReturnValue:
        return _page(
            404, "Not found", _sentence(error), "It may have been archived or mistyped: find it in the list of budgets."
        )

    @app.errorhandler(InvalidId)
    def no_such_id(error: InvalidId) -> ResponseReturnValue:
        # Forms show a wrong id beside its field, so this one was in the address: nothing can be there.
        return not_found(NotFound(str(error)))

    @app.errorhandler(InvalidInput)
    def unreadable(error: InvalidInput) -> ResponseReturnValue:
        return _page(400, _TITLES[400], _sentence(error), "Correct the address, or begin at the list of budgets.")

    @app.errorhandler(BudgetError)
    def refused(error: BudgetError) -> ResponseReturnValue:
        return _page(409, "That was refused", _sentence(error), "Nothing was changed.")


def _install_http(app: Flask) -> None:
    """Refusals by Flask, and unexpected errors."""

    @app.errorhandler(CSRFError)
    def stale_form(_: CSRFError) -> ResponseReturnValue:
        return _page(
            400,
            "That form is out of date",
            "Your login has ended or begun anew since the page was loaded, so nothing was changed.",
            "Go back, reload the page and send it again.",
        )

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> ResponseReturnValue:
        code = error.code or 500
        return _page(code, _TITLES.get(code, error.name), error.description or "", "")

    app.register_error_handler(Exception, _unforeseen)


def _unforeseen(error: Exception) -> ResponseReturnValue:
    number = secrets.token_hex(4)
    LOG.error("error %s on %s %s", number, request.method, request.path, exc_info=error)
    return _page(
        500,
        "Something went wrong here",
        f"It is written down in the log of this server as error {number}.",
        "Try again; if it stays, give that number to whoever looks after the engine.",
    )


def _page(code: int, title: str, text: str, hint: str) -> ResponseReturnValue:
    if is_htmx() and request.method == "POST":
        return messages.refusal(title, text, hint), code
    template = "_away.html" if is_htmx() else "error.html"
    return render_template(template, code=code, title=title, text=text, hint=hint), code


def _sentence(error: BudgetError) -> str:
    message = plainly(str(error))
    return message[:1].upper() + message[1:] + "."
