"""/healthz: this process is alive. /readyz: every server answers. Neither needs a login nor shows addresses."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from web.services import services

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    """200 while the process answers, whichever server is away."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def readyz() -> ResponseReturnValue:
    """200 when no part is down, else 503, with the state of each part by name. An alarm is reported, but is not "down".

    In a serving process a thread of its own checks the parts all the time, so this request waits for none of them.
    """
    health = services().overview.parts.health(latest=True).parts
    states = {part.key: part.state for part in health}
    ready = all(part.state != "down" for part in health if part.serves)
    return jsonify(status="ok" if ready else "down", parts=states), 200 if ready else 503
