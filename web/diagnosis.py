"""The page of the system, for whoever is on call: one sentence, each part with its age, jobs to run now, what verify found, memory."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from engine.doorbell import enqueue_now
from engine.errors import NotFound, shown
from engine.job_table import BY_NAME
from engine.views.diagnosis import Diagnosis, diagnose
from web import messages
from web.fragments import fragment, tag_of
from web.services import services

QUARANTINE_SHOWN: Final = 20
STATES: Final = {"ok": "works", "wait": "needs a look", "down": "down"}

blueprint = Blueprint("system", __name__)


@blueprint.get("/system")
def system() -> ResponseReturnValue:
    """The whole page."""
    found = _look()
    html = _live(found)
    return render_template("system.html", html=html, etag=tag_of(html), now_ms=found.health.now_ms)


@blueprint.get("/system/live")
def live() -> ResponseReturnValue:
    """The fragment that refreshes itself."""
    return fragment(_live(_look()), 0.0, "")


@blueprint.get("/system.txt")
def diagnosis() -> ResponseReturnValue:
    """All of it as plain text."""
    return Response(_look().text(), mimetype="text/plain")


@blueprint.post("/system/jobs/<job_name>/run")
def run(job_name: str) -> ResponseReturnValue:
    """Enqueues one run of a job, unless one waits already."""
    row = BY_NAME.get(job_name)
    if row is None:
        raise NotFound(f"there is no job {shown(job_name)}: its name is one of {', '.join(BY_NAME)}")
    services().overview.parts.refuse_if_silent("jobs_redis")
    if enqueue_now(services().jobs_redis, row):
        messages.tell(("done", f"{row.name} is in the queue."), ("then", "A worker begins with it in a moment."))
    else:
        messages.tell(("done", f"{row.name} waits in the queue already, so nothing was added."))
    return redirect(url_for("system.system"))


def _look() -> Diagnosis:
    own = services()
    return diagnose(own.overview, own.db, own.plain, own.jobs_look)


def _live(found: Diagnosis) -> str:
    return render_template("_system.html", found=found, STATES=STATES, jobs=BY_NAME, MOST=QUARANTINE_SHOWN)
