"""Webhooks in PostgreSQL: receivers, and the messages to them. A message is written in the transaction of its alert, and sent until it
arrives or a day has passed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from secrets import token_hex
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, text

from engine.domain.alerts import BY_KIND, SEVERITIES, Severity
from engine.domain.money import format_optional
from engine.domain.names import clean_name
from engine.domain.webhooks import GIVE_UP, MOST_ANSWER, OLD_SECRET_HOURS, check_url, message, new_secret, rest_after
from engine.errors import Conflict, InvalidInput, NotFound, shown
from engine.ledger import alerts, changes
from engine.ledger.alerts import AlertRow, Change
from engine.ledger.changes import FieldChange
from engine.ledger.database import writing

LEASE: Final = timedelta(seconds=60)
"""While a process sends a message, no other does. Where it is killed, another sends it after this."""
KEEP_DAYS: Final = 30
"""Days for which a message that needs no more tries is kept."""
ONE_RECEIVER: Final = 4
"""Messages to one receiver at once, so that one that hangs leaves room for the others."""
GONE: Final = 410
_ORDER: Final = f"array_position(ARRAY[{', '.join(repr(each) for each in SEVERITIES)}]"
_COLUMNS: Final = (
    "id, name, url, least, created_at, created_by, disabled_at, old_until,"
    " (SELECT count(*) FROM webhook_delivery AS d WHERE d.webhook_id = webhook.id AND d.state = 'waiting') AS waiting"
)
_ALL: Final = text(f"SELECT {_COLUMNS} FROM webhook ORDER BY disabled_at IS NOT NULL, id")
_ONE: Final = f"SELECT {_COLUMNS} FROM webhook WHERE id = :id"
_INSERT: Final = text(
    "INSERT INTO webhook (name, url, least, secret, created_by) VALUES (:name, :url, :least, :secret, :actor) RETURNING id"
)
_ROTATE: Final = text(
    "UPDATE webhook SET old_secret = secret, old_until = now() + :kept, secret = :secret WHERE id = :id"
)
_SWITCH: Final = text("UPDATE webhook SET disabled_at = CASE WHEN :off THEN clock_timestamp() END WHERE id = :id")
_DROP_WAITING: Final = text(
    "UPDATE webhook_delivery SET state = 'failed', next_at = NULL, answer = 'the webhook was disabled'"
    " WHERE webhook_id = :id AND state = 'waiting'"
)
_WRITE: Final = text(
    "INSERT INTO webhook_delivery (webhook_id, message_id, event_id, what, body) SELECT id, :message, :event, :what, :body"
    f" FROM webhook WHERE disabled_at IS NULL AND {_ORDER}, least) <= {_ORDER}, :severity) ON CONFLICT DO NOTHING"
)
_INSTANCE: Final = text("SELECT uuid FROM instance")
_TEST: Final = text(
    "INSERT INTO webhook_delivery (webhook_id, message_id, what, body) VALUES (:id, :message, :what, :body) RETURNING id"
)
_CLAIM: Final = text(
    "UPDATE webhook_delivery AS d SET tries = d.tries + 1, next_at = now() + :lease, last_at = clock_timestamp() FROM webhook AS w"
    " WHERE w.id = d.webhook_id AND d.id = ANY (ARRAY(SELECT id FROM webhook_delivery WHERE state = 'waiting' AND next_at <= now()"
    " AND id = ANY (ARRAY(SELECT id FROM (SELECT id, next_at, row_number() OVER (PARTITION BY webhook_id ORDER BY next_at, id) AS no"
    f" FROM webhook_delivery WHERE state = 'waiting' AND next_at <= now()) AS due WHERE no <= {ONE_RECEIVER} ORDER BY next_at, id LIMIT :most))"
    " FOR UPDATE SKIP LOCKED)) RETURNING d.id, d.webhook_id, d.message_id, d.body, d.tries, d.created_at, w.url, w.secret,"
    " CASE WHEN w.old_until > now() THEN w.old_secret END AS old_secret"
)
_NOTE: Final = text(
    "UPDATE webhook_delivery SET state = CAST(:state AS text), status = :status, answer = :answer,"
    " next_at = CASE WHEN CAST(:state AS text) = 'waiting' THEN clock_timestamp() + :rest END"
    " WHERE id = :id AND state = 'waiting' AND (tries = :tries OR CAST(:state AS text) = 'delivered')"
)
_LOG: Final = text(
    "SELECT d.id, d.webhook_id, w.name, d.message_id, d.event_id, d.what, d.state, d.tries, d.created_at, d.next_at, d.last_at, d.status,"
    " d.answer FROM webhook_delivery AS d JOIN webhook AS w ON w.id = d.webhook_id"
    " WHERE (CAST(:webhook AS bigint) IS NULL OR d.webhook_id = :webhook) AND (CAST(:before AS bigint) IS NULL OR d.id < :before)"
    " ORDER BY d.id DESC LIMIT :limit"
)
_WAITS: Final = text("SELECT EXISTS (SELECT FROM webhook_delivery WHERE state = 'waiting' AND next_at <= now())")
_PRUNE: Final = text("DELETE FROM webhook_delivery WHERE state <> 'waiting' AND created_at < now() - :kept")


class Webhook(NamedTuple):
    """A receiver as pages and commands show it. waiting: messages that are not delivered yet."""

    id: int
    name: str
    url: str
    least: Severity
    created_at: datetime
    created_by: str
    disabled_at: datetime | None
    old_until: datetime | None
    waiting: int


class Made(NamedTuple):
    """A receiver with a new secret, which nothing shows again."""

    webhook: Webhook
    secret: str


class Due(NamedTuple):
    """A message that this process sends now. tries: this one too. secrets: what it is signed with, the present one first."""

    id: int
    webhook_id: int
    message_id: str
    body: str
    tries: int
    created_at: datetime
    url: str
    secrets: tuple[str, ...]


class Delivery(NamedTuple):
    """A line of the delivery log."""

    id: int
    webhook_id: int
    name: str
    message_id: str
    event_id: int | None
    what: str
    state: str
    tries: int
    created_at: datetime
    next_at: datetime | None
    last_at: datetime | None
    status: int | None
    answer: str | None


def create(db: Engine, actor: str, name: str, url: str, least: str = "warning") -> Made:
    """A new receiver. least: the severity from which on it hears of alerts. Raises InvalidInput."""
    values = {"name": clean_name(name), "url": check_url(url), "least": check_least(least), "secret": new_secret()}
    with writing(db) as conn:
        id_ = conn.execute(_INSERT, {**values, "actor": actor}).scalar_one()
        said = f"{values['url']}, from {least} on"
        changes.write(conn, "webhook", actor, [FieldChange(id_, "created", None, values["name"], said)])
        return Made(_one(conn, id_), values["secret"])


def check_least(value: str) -> Severity:
    """A severity. Raises InvalidInput."""
    for severity in SEVERITIES:
        if value == severity:
            return severity
    raise InvalidInput(f"least {shown(value)} is none of {', '.join(SEVERITIES)}", "least")


def rotate(db: Engine, actor: str, webhook_id: int) -> Made:
    """Another secret. The last one signs too for a day. Raises NotFound."""
    secret = new_secret()
    with writing(db) as conn:
        _one(conn, webhook_id, lock=True)
        conn.execute(_ROTATE, {"id": webhook_id, "secret": secret, "kept": timedelta(hours=OLD_SECRET_HOURS)})
        changes.write(conn, "webhook", actor, [FieldChange(webhook_id, "secret", None, "rotated")])
        return Made(_one(conn, webhook_id), secret)


def set_disabled(db: Engine, actor: str, webhook_id: int, off: bool) -> Webhook:
    """Switches a receiver off, which drops its waiting messages, or on again. Again changes nothing. Raises NotFound."""
    with writing(db) as conn:
        return _switch(conn, actor, webhook_id, off)


def _switch(conn: Connection, actor: str, webhook_id: int, off: bool) -> Webhook:
    before = _one(conn, webhook_id, lock=True)
    if (before.disabled_at is not None) == off:
        return before
    conn.execute(_SWITCH, {"id": webhook_id, "off": off})
    if off:
        conn.execute(_DROP_WAITING, {"id": webhook_id})
    flags = changes.flag(not off), changes.flag(off)
    changes.write(conn, "webhook", actor, [FieldChange(webhook_id, "disabled", *flags)])
    return _one(conn, webhook_id)


def all_webhooks(db: Engine) -> list[Webhook]:
    """Every receiver, disabled ones last."""
    with db.connect() as conn:
        return [Webhook(**row) for row in conn.execute(_ALL).mappings()]


def one(db: Engine, webhook_id: int) -> Webhook:
    """A receiver by its id. Raises NotFound."""
    with db.connect() as conn:
        return _one(conn, webhook_id)


def add_test(db: Engine, actor: str, webhook_id: int) -> str:
    """Writes a test message to a receiver; returns its `webhook-id`. Raises NotFound, Conflict for a disabled one."""
    with writing(db) as conn:
        found = _one(conn, webhook_id, lock=True)
        if found.disabled_at is not None:
            raise Conflict(f"webhook {webhook_id} is disabled: enable it first")
        number = conn.execute(text("SELECT nextval(pg_get_serial_sequence('webhook_delivery', 'id'))")).scalar_one()
        name = f"test-{number}-{token_hex(4)}"
        body = message("webhook.test", datetime.now(UTC), {"webhook": found.name, "by": actor})
        conn.execute(_TEST, {"id": webhook_id, "message": name, "what": "test", "body": body})
        return name


def write(connection: Connection, done: Sequence[Change]) -> int:
    """Writes the messages of what a transaction did to alerts, in that transaction; returns how many."""
    written = 0
    for change in done:
        if change.muted:
            continue
        row = alerts.row_of(connection, change.event_id)
        if row.end_reason == "period":
            continue  # its period says so by itself, and midnight would be a storm
        at = row.ended_at or row.opened_at
        body = message(f"alert.{change.what}", at, document(row))
        name = _name_of(connection, row, change.what)
        values = {"message": name, "event": row.id, "what": change.what, "body": body}
        written += connection.execute(_WRITE, {**values, "severity": row.severity}).rowcount
    return written


def _name_of(connection: Connection, row: AlertRow, what: str) -> str:
    """The `webhook-id` of what became of an alert. It is of what the alert is known by, and of no number of a row: a PostgreSQL that was
    restored opens the alert again under another number, and gives the old number to another alert.
    """
    known = [str(connection.execute(_INSTANCE).scalar_one()), row.kind, row.subject, row.period, row.level, row.round]
    if BY_KIND[row.kind].again_ms is not None:
        known.append(row.opened_at.isoformat())  # what comes back is another one, and its rounds were restored as well
    return f"alert-{sha256(json.dumps(known).encode()).hexdigest()[:24]}-{what}"


def document(row: AlertRow) -> dict[str, Any]:
    """An alert as messages and commands have it. Amounts are decimal strings."""
    return {
        "id": row.id,
        "kind": row.kind,
        "severity": row.severity,
        "subject": row.subject,
        "brand_id": row.brand_id,
        "brand": row.brand_name,
        "period": row.period,
        "level": row.level,
        "round": row.round,
        "detail": row.detail,
        "spent": format_optional(row.figure_micros),
        "budget": format_optional(row.limit_micros),
        "opened_at": row.opened_at.isoformat(),
        "ended_at": None if row.ended_at is None else row.ended_at.isoformat(),
        "end_reason": row.end_reason,
        "acknowledged_by": row.acknowledged_by,
        "muted_until": None if row.muted_until is None else row.muted_until.isoformat(),
    }


def claim(db: Engine, most: int) -> list[Due]:
    """Messages that are due, for this process alone while it sends them."""
    with writing(db) as conn:
        rows = conn.execute(_CLAIM, {"most": most, "lease": LEASE}).mappings()
        return [_due(row) for row in rows]


def _due(row: Any) -> Due:
    values = dict(row)
    signing = values.pop("secret"), values.pop("old_secret")
    return Due(**values, secrets=tuple(each for each in signing if each))


def note(db: Engine, due: Due, status: int | None, answer: str) -> str:
    """Writes the result of a try: delivered, or waiting for the next, or failed after a day. Returns which.

    status: what the receiver answered, None for nothing. A receiver that is gone (410) is disabled.
    """
    arrived = status is not None and 200 <= status < 300
    over = status == GONE or datetime.now(UTC) - due.created_at >= GIVE_UP
    state = "delivered" if arrived else "failed" if over else "waiting"
    values = {"id": due.id, "tries": due.tries, "state": state, "status": status, "rest": rest_after(due.tries)}
    with writing(db) as conn:
        conn.execute(_NOTE, {**values, "answer": answer[:MOST_ANSWER]})
        if status == GONE:
            _switch(conn, "receiver (410 Gone)", due.webhook_id, True)
    return state


def is_due(db: Engine) -> bool:
    """Whether a message waits to be sent now."""
    with db.connect() as conn:
        return bool(conn.execute(_WAITS).scalar_one())


def log(db: Engine, limit: int, webhook_id: int | None = None, before: int | None = None) -> list[Delivery]:
    """The latest messages first."""
    with db.connect() as conn:
        found = conn.execute(_LOG, {"limit": limit, "webhook": webhook_id, "before": before})
        return [Delivery(**row) for row in found.mappings()]


def prune(db: Engine) -> int:
    """Drops messages that need no more tries and are old; returns how many."""
    with writing(db) as conn:
        return conn.execute(_PRUNE, {"kept": timedelta(days=KEEP_DAYS)}).rowcount


def _one(conn: Connection, webhook_id: int, *, lock: bool = False) -> Webhook:
    row = conn.execute(text(_ONE + (" FOR UPDATE" if lock else "")), {"id": webhook_id}).mappings().first()
    if row is None:
        raise NotFound(f"there is no webhook {shown(webhook_id)}: `webhook list` shows all")
    return Webhook(**row)
