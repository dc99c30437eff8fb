"""Operations: what a change of many rows will do, its progress and its result; apply, discard and undo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from redis.exceptions import RedisError

from engine.domain.operations import INLINE
from engine.doorbell import enqueue_now
from engine.errors import Conflict, InvalidInput, NotFound, shown
from engine.job_table import BY_NAME
from engine.ledger import import_rows, operations
from engine.ledger.operations import Item, OperationRecord
from web import messages
from web.access import may, person
from web.formats import count
from web.guard import local_path
from web.operation_words import effect
from web.query import whole_number
from web.services import services

A_PAGE: Final = 100
LARGEST_NO: Final = 2**31 - 1

blueprint = Blueprint("operations", __name__)


@blueprint.get("/operations/<int:operation_id>")
def show(operation_id: int) -> ResponseReturnValue:
    """What an operation will do, does, or did."""
    return render_template("operation.html", **_context(_seen(operation_id)))


@blueprint.get("/operations/<int:operation_id>/progress")
def progress(operation_id: int) -> ResponseReturnValue:
    """The part of that page that refreshes itself until the operation is done."""
    return render_template("_operation.html", **_context(_seen(operation_id)))


@blueprint.post("/operations/<int:operation_id>/apply")
def apply(operation_id: int) -> ResponseReturnValue:
    """Applies a draft: at once where it is small, else by a worker."""
    found = services().operations.begin(_seen(operation_id).id, g.actor, request.form.get("note"))
    if found.state == "done":
        tell(found)
    else:
        hand_over()
    return redirect(url_for("operations.show", operation_id=operation_id))


@blueprint.post("/operations/<int:operation_id>/discard")
def discard(operation_id: int) -> ResponseReturnValue:
    """Drops a draft."""
    found = _seen(operation_id)
    if not operations.discard(services().db, operation_id):
        raise Conflict(f"operation {operation_id} has begun already: take it back when it is done")
    messages.tell(("done", f"{found.words}: dropped. Nothing was changed."))
    return redirect(url_for("budgets.budgets"))


@blueprint.post("/operations/<int:operation_id>/undo")
def undo(operation_id: int) -> ResponseReturnValue:
    """Takes an operation back: at once where nobody changed its rows since, else after a look at what is left out."""
    made = services().operations.undo(_seen(operation_id).id, g.actor)
    if made.skipped or made.ready > INLINE:
        return redirect(url_for("operations.show", operation_id=made.id))
    tell(services().operations.begin(made.id, g.actor))
    return redirect(_page_before())


@blueprint.post("/operations/everything")
def everything() -> ResponseReturnValue:
    """A draft that pauses every brand, or resumes every paused one; its page says how many brands and campaigns that is."""
    kind = request.form.get("kind")
    if kind not in ("pause", "resume"):
        raise InvalidInput(f"kind {shown(kind)} is none of pause, resume", "kind")
    made = services().operations.preview_everything("pause" if kind == "pause" else "resume", g.actor)
    if made.ready:
        return redirect(url_for("operations.show", operation_id=made.id))
    operations.discard(services().db, made.id)
    why = "Every brand is paused already" if kind == "pause" else "No brand is paused"
    messages.tell(("warn", f"{why}. Nothing was changed."))
    return redirect(url_for("budgets.budgets"))


def hand_over() -> None:
    """Lets a worker begin now. Where the jobs' Redis is away, the next run of the job begins it."""
    try:
        enqueue_now(services().jobs_redis, BY_NAME["operations"])
    except RedisError:
        messages.tell(("warn", "The jobs' Redis is away: a worker begins when it is back."))


def tell(found: OperationRecord) -> None:
    """The message about an operation that is done, with its undo."""
    lines: list[tuple[messages.Style, str]] = [("done", f"{found.words}: {count(found.done, 'row')} changed.")]
    if found.skipped:
        lines.append(("warn", f"{count(found.skipped, 'row')} left out, with the reason on the page of the operation."))
    if found.done and (follows := effect(found)):
        lines.append(("then", follows))
    if found.done and operations.behind(services().db, found.id):
        lines.append(("warn", "Bidders do not have it yet."))
    if found.done:
        lines.append(("undo", str(found.id)))
    messages.tell(*lines)


def _seen(operation_id: int) -> OperationRecord:
    """The operation, for a person who sees all brands that it is about. Raises NotFound."""
    found, who = services().operations.one(operation_id), person()
    brands = operations.brands_of(services().db, operation_id)
    # One that is of no brand, such as a file of wrong lines alone, is for whoever made it.
    if not operations.within(brands, who.brands) or not (brands or who.sees_all or found.actor == who.name):
        raise NotFound(f"there is no operation {shown(operation_id)}: `operation list` shows all")
    return found


def _context(found: OperationRecord) -> dict[str, Any]:
    db = services().db
    after = whole_number(request.args, "after", LARGEST_NO) or 0
    rows = operations.items(db, found.id, after=after, limit=A_PAGE)
    skipped = operations.items(db, found.id, skipped=True, limit=A_PAGE)
    return {
        "operation": found,
        "rows": rows,
        "older": rows[-1].no if len(rows) == A_PAGE else None,
        "after": after,
        "skipped": skipped,
        "wrong": import_rows.wrong_lines(db, found.id, A_PAGE) if found.wrong else [],
        "brands": _brands(rows, skipped),
        "behind": operations.behind(db, found.id) if found.state == "done" else 0,
        "inline": INLINE,
        "may_change": may("operations.apply", "POST"),
    }


def _brands(*lists: Sequence[Item]) -> dict[int, str]:
    ids = {item.brand_id for items in lists for item in items if item.entity == "campaign" and item.brand_id}
    return {brand_id: services().catalog.brand(brand_id).name for brand_id in ids}


def _page_before() -> str:
    """The page of this console from which the request came, else the board."""
    asked = urlsplit(request.referrer or "")
    path = local_path(f"{asked.path}?{asked.query}" if asked.query else asked.path)
    return path if path and asked.netloc == request.host else url_for("budgets.budgets")
