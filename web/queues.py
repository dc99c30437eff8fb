"""rq-dashboard under /rq: it reads the jobs and handles the buttons. All its pages are templates of this project
(`templates/rq_dashboard`).

rq-dashboard has no login and no CSRF protection of its own; `web.guard` checks both on each of its requests.
"""

from __future__ import annotations

from functools import cache

import redis
import rq_dashboard
import rq_dashboard.web
from flask import Flask, abort, request
from flask_wtf import CSRFProtect
from rq_dashboard.web import config, setup_rq_connection

from engine.live.transport.plain import impatient_redis
from engine.rq_gate import JsonOnly
from engine.views.board import ANSWER_S
from web import job_answers
from web.services import services


def install(app: Flask, jobs_redis_url: str, csrf: CSRFProtect) -> None:
    """Mounts the job pages. Their buttons post without a token, so guard's same-origin check replaces it."""
    app.config["RQ_DASHBOARD_REDIS_URL"] = jobs_redis_url
    app.config["RQ_DASHBOARD_POLL_INTERVAL"] = 2500
    # It was read when rq-dashboard was imported, perhaps before RQ was restricted.
    config.serializer = JsonOnly
    setup_rq_connection(app)
    app.register_blueprint(rq_dashboard.blueprint, url_prefix="/rq")
    csrf.exempt(rq_dashboard.blueprint)

    @app.before_request
    def only_one_instance() -> None:
        # Any other number makes rq-dashboard fail with a traceback.
        if request.blueprint == "rq_dashboard" and (request.view_args or {}).get("instance_number", 0) != 0:
            abort(404, "There is one jobs Redis here, number 0.")

    @app.before_request
    def none_of_its_scripts() -> None:
        # Our pages use none of its files, and its old jQuery and Bootstrap make scripts of plain markup.
        if request.endpoint == "rq_dashboard.static":
            abort(404, "Nothing of rq-dashboard's own is used here.")

    @app.before_request
    def not_while_it_hangs() -> None:
        # Its pages poll: several viewers would keep many threads waiting.
        if request.blueprint == "rq_dashboard":
            services().overview.parts.refuse_if_silent("jobs_redis")

    job_answers.install(app)


def _connect(url: str, **_: object) -> tuple[str, redis.Redis]:
    """Replaces rq-dashboard's own, which makes a client for each request and retries ten times."""
    return "redis", _client(url)


@cache
def _client(url: str) -> redis.Redis:
    return impatient_redis(url, ANSWER_S)


rq_dashboard.web.from_url = _connect
