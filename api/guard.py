"""Authentication before everything else, and headers after it. An anonymous caller learns nothing but that a token is needed."""

from __future__ import annotations

import logging
import re
import secrets
from typing import Final

from flask import Flask, Response, current_app, g, request

from api.access import OPEN, needs
from api.known import KnownTokens
from api.problems import problem
from api.rates import KEY as RATES
from api.rates import Rates
from web.requests import HEADER, ID

LOG = logging.getLogger("api")
KNOWN: Final = "known_tokens"
ALWAYS: Final = (("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store"))
"""Headers of every answer."""
_BEARER: Final = re.compile(r"Bearer +(\S+)", re.IGNORECASE)
_SPENDING: Final = "spending."
_POLICY: Final = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""For the page of the document, which has a style sheet of its own and no script."""


def install(app: Flask) -> None:
    """Registers the checks and headers."""

    @app.before_request
    def check() -> Response | None:
        given = request.headers.get(HEADER, "")
        g.request_id = given if ID.fullmatch(given) else secrets.token_hex(8)
        needed = needs(request.endpoint)
        if needed == OPEN:
            return None
        sent = _BEARER.fullmatch(request.headers.get("Authorization", ""))
        if sent is None:
            return problem(
                401, "Send a token: Authorization: Bearer be_live_... (`budget-engine token create` makes one)."
            )
        found = known().find(sent[1])
        if found is None:
            return problem(401, "This token is unknown, or revoked.")
        g.token, g.actor = found, actor_of(found.id, found.name)
        wait_s = rates().take(found.id)
        if wait_s:
            return problem(429, too_many(rates().rate), wait_s)
        if request.endpoint is None:
            return None  # 404 or 405
        if needed not in found.scopes:
            return problem(403, f"This needs the scope {needed}, which this token does not have.", scope=needed)
        return None

    @app.after_request
    def headers(response: Response) -> Response:
        response.headers[HEADER] = g.request_id
        for name, value in ALWAYS:
            response.headers[name] = value
        if response.mimetype == "text/html":
            response.headers["Content-Security-Policy"] = _POLICY
            response.headers["X-Frame-Options"] = "DENY"
            response.headers["Referrer-Policy"] = "same-origin"
        if response.status_code >= 500 or _is_change():
            LOG.info("request", extra={"method": request.method, "path": request.path, "status": response.status_code, "actor": g.get("actor"), "request_id": g.request_id})  # fmt: skip
        return response


def actor_of(token_id: int, name: str) -> str:
    """The name with which a token signs its changes: as `cli:` does, no user can have it."""
    return f"token:{token_id} {name}"[:64]


def known() -> KnownTokens:
    """The tokens of this app."""
    found = current_app.extensions[KNOWN]
    assert isinstance(found, KnownTokens)
    return found


def rates() -> Rates:
    """How much each token may ask of this app."""
    found = current_app.extensions[RATES]
    assert isinstance(found, Rates)
    return found


def too_many(rate: int) -> str:
    """What a token is told that sends too much."""
    return f"This token sends more than {rate} requests a second, the most that each process takes of one: slow down."


def _is_change() -> bool:
    """Whether this request changes the catalog. Spends are in the journal, and a line each would cost as much as the spend."""
    return request.method not in ("GET", "HEAD", "OPTIONS") and not (request.endpoint or "").startswith(_SPENDING)
