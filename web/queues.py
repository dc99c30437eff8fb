"""rq-dashboard under /rq. It has neither login nor CSRF protection of its own: `web.guard` asks for both on every one of its requests."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import rq_dashboard
from flask import Flask, Response, abort, request
from flask_wtf import CSRFProtect
from markupsafe import Markup
from rq_dashboard.web import config, setup_rq_connection

from engine.rq_gate import JsonOnly


def install(app: Flask, jobs_redis_url: str, csrf: CSRFProtect, warning: str | None) -> None:
    """Mounts the job pages. Their buttons post without a token, so guard's same-origin check stands in for it."""
    app.config["RQ_DASHBOARD_REDIS_URL"] = _impatient(jobs_redis_url)
    app.config["RQ_DASHBOARD_POLL_INTERVAL"] = 2500
    # It was read when rq-dashboard was imported, maybe before the gate was closed.
    config.serializer = JsonOnly
    setup_rq_connection(app)
    app.register_blueprint(rq_dashboard.blueprint, url_prefix="/rq")
    csrf.exempt(rq_dashboard.blueprint)

    @app.before_request
    def only_one_instance() -> None:
        # Any other number makes rq-dashboard fail with a traceback.
        if request.blueprint == "rq_dashboard" and (request.view_args or {}).get("instance_number", 0) != 0:
            abort(404, "There is one jobs Redis here, number 0.")

    @app.after_request
    def way_back(response: Response) -> Response:
        if request.blueprint == "rq_dashboard" and response.mimetype == "text/html" and not response.direct_passthrough:
            band = _BAND.format(Markup("<br><strong>{}</strong>").format(warning) if warning else "")
            head, body, rest = response.get_data(as_text=True).partition("<body>")
            if body:
                response.set_data(head + body + str(band) + rest)
        return response


_BAND = Markup(
    '<p style="margin:0;padding:.4rem 1rem;background:#fdf0d9;color:#5b3600"><a href="/">← Budget engine status</a>{}</p>'
)


def _impatient(url: str) -> str:
    """The URL with timeouts, unless it has its own: rq-dashboard makes a client for each request and would wait for ever."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    query = {"socket_connect_timeout": "2", "socket_timeout": "5", **query}
    return urlunsplit(parts._replace(query=urlencode(query)))
