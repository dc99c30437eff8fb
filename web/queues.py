"""rq-dashboard under /rq. It has neither login nor CSRF protection of its own: `web.guard` asks for both on every one of its requests."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import rq_dashboard
from flask import Flask, abort, request
from flask_wtf import CSRFProtect
from rq_dashboard.web import setup_rq_connection


def install(app: Flask, jobs_redis_url: str, csrf: CSRFProtect) -> None:
    """Mounts the job pages. Their buttons post without a token, so guard's same-origin check stands in for it."""
    app.config["RQ_DASHBOARD_REDIS_URL"] = _impatient(jobs_redis_url)
    app.config["RQ_DASHBOARD_POLL_INTERVAL"] = 2500
    setup_rq_connection(app)
    app.register_blueprint(rq_dashboard.blueprint, url_prefix="/rq")
    csrf.exempt(rq_dashboard.blueprint)

    @app.before_request
    def only_one_instance() -> None:
        # Any other number makes rq-dashboard fail with a traceback.
        if request.blueprint == "rq_dashboard" and (request.view_args or {}).get("instance_number", 0) != 0:
            abort(404, "There is one jobs Redis here, number 0.")


def _impatient(url: str) -> str:
    """The URL with timeouts, unless it has its own: rq-dashboard makes a client for each request and would wait for ever."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    query = {"socket_connect_timeout": "2", "socket_timeout": "5", **query}
    return urlunsplit(parts._replace(query=urlencode(query)))
