"""/webhooks, for the scope admin: where alerts are sent. A secret is in one answer only."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Response, g
from pydantic import Field
from redis.exceptions import RedisError

from api.keyed import keyed, once
from api.lists import PageQuery, packed, page, place_of
from api.reading import Answer, Body, KeyHeader, Path, reads
from api.results import answer, instant
from api.routes import routes
from engine.doorbell import enqueue_now
from engine.errors import InvalidInput
from engine.job_table import BY_NAME
from engine.ledger import webhooks as ledger
from engine.ledger.webhooks import Delivery, Made
from engine.views.control_documents import webhook_document
from web.services import services

blueprint = routes("webhooks", __name__)


class WebhookIn(Body):
    """A new receiver."""

    name: str = Field(min_length=1, max_length=400)
    url: str = Field(max_length=2000, description="https://..., where the signed messages are sent")
    least: str = Field("warning", max_length=20, description="note, warning or critical: from which on it hears")


class WebhookPath(Path):
    """The address of a webhook."""

    webhook_id: Annotated[int, Field(ge=1, le=2**63 - 1)]


class WebhooksQuery(PageQuery):
    """Webhooks, disabled ones last."""


class DeliveriesQuery(PageQuery):
    """The messages to a webhook, the latest first."""


class WebhookOut(Answer):
    """A receiver. waiting: messages that are not delivered yet."""

    id: int
    name: str
    url: str
    least: str
    created_at: str
    created_by: str
    disabled: bool
    waiting: int


class WebhookMadeOut(WebhookOut):
    """A receiver with its new secret."""

    secret: str | None = Field(description="Nothing shows it again: null where the same request is repeated")


class WebhooksOut(Answer):
    """A page of webhooks."""

    items: list[WebhookOut]
    next: str | None


class TestOut(Answer):
    """A test message that was written; a worker sends it within a minute."""

    webhook: int
    message: str


class DeliveryOut(Answer):
    """A message. state: waiting, delivered or failed; status, answer: what the receiver said last."""

    id: int
    message: str
    alert_id: int | None
    what: str
    state: str
    tries: int
    created_at: str | None
    next_at: str | None
    last_at: str | None
    status: int | None
    answer: str | None


class DeliveriesOut(Answer):
    """A page of messages."""

    items: list[DeliveryOut]
    next: str | None


@blueprint.get("/webhooks", responses={200: WebhooksOut})
@reads
def webhooks(query: WebhooksQuery) -> Response:
    """List the webhooks."""
    place = place_of(query.cursor, [], (int, int))
    found = ledger.all_webhooks(services().db)
    first = 0
    if place is not None:
        first = next((at + 1 for at, one in enumerate(found) if one.id == place[1]), max(place[0], 0))
    shown = found[first : first + query.limit]
    cursor = packed([], (first + len(shown), shown[-1].id)) if first + query.limit < len(found) else None
    return answer(page([webhook_document(one) for one in shown], cursor))


@blueprint.post("/webhooks", responses={201: WebhookMadeOut})
@reads
@keyed
def create_webhook(body: WebhookIn, header: KeyHeader) -> Response:
    """Create a webhook. The answer has its secret, which nothing shows again."""
    return _made(ledger.create(services().db, g.actor, body.name, body.url, body.least), 201)


@blueprint.get("/webhooks/<int:webhook_id>", responses={200: WebhookOut})
@reads
def webhook(path: WebhookPath) -> Response:
    """Read a webhook."""
    return answer(webhook_document(ledger.one(services().db, path.webhook_id)))


@blueprint.post("/webhooks/<int:webhook_id>/rotate", responses={200: WebhookMadeOut})
@reads
@keyed
def rotate_webhook(path: WebhookPath, header: KeyHeader) -> Response:
    """Give a webhook another secret. The last one signs too for a day."""
    return _made(ledger.rotate(services().db, g.actor, path.webhook_id), 200)


@blueprint.post("/webhooks/<int:webhook_id>/test", responses={202: TestOut})
@reads
@keyed
def test_webhook(path: WebhookPath, header: KeyHeader) -> Response:
    """Send a test message to a webhook. A worker sends it within a minute."""
    message = ledger.add_test(services().db, g.actor, path.webhook_id)
    try:
        enqueue_now(services().jobs_redis, BY_NAME["webhooks"])
    except RedisError:
        pass  # the next run of the job sends it
    return answer({"webhook": path.webhook_id, "message": message}, 202)


@blueprint.post("/webhooks/<int:webhook_id>/disable", responses={200: WebhookOut})
@reads
@keyed
def disable_webhook(path: WebhookPath, header: KeyHeader) -> Response:
    """Send nothing more to a webhook. Messages that wait for it are dropped."""
    return answer(webhook_document(ledger.set_disabled(services().db, g.actor, path.webhook_id, True)))


@blueprint.post("/webhooks/<int:webhook_id>/enable", responses={200: WebhookOut})
@reads
@keyed
def enable_webhook(path: WebhookPath, header: KeyHeader) -> Response:
    """Send to a disabled webhook again."""
    return answer(webhook_document(ledger.set_disabled(services().db, g.actor, path.webhook_id, False)))


@blueprint.get("/webhooks/<int:webhook_id>/deliveries", responses={200: DeliveriesOut})
@reads
def deliveries(path: WebhookPath, query: DeliveriesQuery) -> Response:
    """List the messages to a webhook, the latest first."""
    found = ledger.one(services().db, path.webhook_id)
    place = place_of(query.cursor, [found.id], (int,))
    before = None if place is None else place[0]
    if before is not None and not 0 < before < 2**63:
        raise InvalidInput("cursor is not of this list: take `next` of its page before", "cursor")
    rows = ledger.log(services().db, query.limit + 1, found.id, before)
    cursor = packed([found.id], [rows[query.limit - 1].id]) if len(rows) > query.limit else None
    return answer(page([_delivery(row) for row in rows[: query.limit]], cursor))


def _made(made: Made, status: int) -> Response:
    return once({**webhook_document(made.webhook), "secret": made.secret}, "secret", status)


def _delivery(row: Delivery) -> dict[str, Any]:
    return {
        "id": row.id,
        "message": row.message_id,
        "alert_id": row.event_id,
        "what": row.what,
        "state": row.state,
        "tries": row.tries,
        "created_at": instant(row.created_at),
        "next_at": instant(row.next_at),
        "last_at": instant(row.last_at),
        "status": row.status,
        "answer": row.answer,
    }
