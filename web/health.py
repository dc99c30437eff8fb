"""/healthz: this process is alive. /readyz: every part answers. Both without login and without details of addresses."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from web.parts import parts

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    """200 while the process answers, whatever else is away."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def readyz() -> ResponseReturnValue:
    """200 when no part is down, else 503; each part by name with its state. An alarm is reported, and is not "down".

    In a serving process a thread of its own asks the parts all the time, so this waits for none of them.
    """
    health = parts().overview.parts.health(latest=True).parts
    states = {part.key: part.state for part in health}
    ready = all(part.state != "down" for part in health if part.serves)
    return jsonify(status="ok" if ready else "down", parts=states), 200 if ready else 503
