"""/healthz: this process answers. /readyz: the hot Redis answers, so that spends are taken; the other parts are told beside it."""

from __future__ import annotations

from flask import Blueprint, Response

from api.results import answer
from web.services import services

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """200 while this process answers, also when a server is away."""
    return answer({"status": "ok"})


@blueprint.get("/readyz")
def readyz() -> Response:
    """200 while spends are taken, else 503; with the state of each part by name. Without PostgreSQL spends go on, so that a
    balancer must not take every process of the API away.
    """
    parts = services().overview.parts.health(latest=True).parts
    states = {part.key: part.state for part in parts if part.serves}
    down = states.get("redis") == "down"
    status = "down" if down else "degraded" if "down" in states.values() else "ok"
    return answer({"status": status, "parts": states}, 503 if down else 200)
