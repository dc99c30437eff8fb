"""Each request's id: from X-Request-Id where a proxy set one, else made here. It is in the response, in the logs, and
beside each change.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import Final

import structlog
from flask import Flask, Response, g, request

from web.imports import MOST_BODY

LOG = logging.getLogger("web")
HEADER: Final = "X-Request-Id"
ID: Final = re.compile(r"[A-Za-z0-9._:/+=@~-]{1,64}")


def install(app: Flask) -> None:
    """Registers it before everything else, so that every refusal has an id too."""

    @app.before_request
    def begin() -> None:
        given = request.headers.get(HEADER, "")
        g.request_id = given if ID.fullmatch(given) else secrets.token_hex(8)
        g.began = time.monotonic()
        if request.endpoint == "imports.page":
            request.max_content_length = MOST_BODY  # before anything reads the form
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    @app.after_request
    def end(response: Response) -> Response:
        response.headers[HEADER] = g.request_id
        if request.method not in ("GET", "HEAD", "OPTIONS") or response.status_code >= 500:
            took = round((time.monotonic() - g.began) * 1000)
            LOG.info("request", extra={"method": request.method, "path": request.path, "status": response.status_code, "actor": g.get("actor"), "ms": took})  # fmt: skip
        return response

    @app.teardown_request
    def forget(_: BaseException | None) -> None:
        structlog.contextvars.clear_contextvars()
