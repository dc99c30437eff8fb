"""Alerts in PostgreSQL: opened once a round, ended, acknowledged and muted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, text

from engine.domain.alerts import EndReason, Event, Holding, Key, Kind, Severity
from engine.errors import InvalidInput, NotFound, shown
from engine.ledger import changes
from engine.ledger.changes import FieldChange
from engine.ledger.database import writing

MUTE_HOURS: Final = (1, 8, 24, 168)
KEEP_DAYS: Final = 100
"""Days for which an alert that ended is kept."""
_AT_ONCE: Final = 5_000
_KEY: Final = "kind = :kind AND subject = :subject AND period = :period AND level = :level"
_OPEN: Final = text(
    "SELECT id, kind, subject, period, level, round, figure_micros, limit_micros, brand_id FROM alert_event"
    " WHERE ended_at IS NULL ORDER BY id"
)
_LAST: Final = text(
    f"SELECT id, round, ended_at, end_reason, clock_timestamp() AS now FROM alert_event WHERE {_KEY}"
    " ORDER BY round DESC LIMIT 1"
)
_MUTED: Final = (
    "EXISTS (SELECT FROM alert_mute AS m WHERE m.kind = {0}kind AND m.subject = {0}subject AND m.until > now())"
)
_INSERT: Final = text(
    "INSERT INTO alert_event (kind, subject, period, level, round, brand_id, severity, detail, figure_micros, limit_micros, muted)"
    " VALUES (:kind, :subject, :period, :level, :round, :brand_id, :severity, :detail, :figure, :limit,"
    f" {_MUTED.format(':')}) ON CONFLICT DO NOTHING RETURNING id, muted"
)
_END: Final = text(
    "UPDATE alert_event SET ended_at = clock_timestamp(), end_reason = :reason WHERE id = :id AND ended_at IS NULL"
    " RETURNING id, muted"
)
_AGAIN: Final = text("UPDATE alert_event SET ended_at = NULL, end_reason = NULL WHERE id = :id AND ended_at = :ended")
_COLUMNS: Final = (
    "e.id, e.kind, e.subject, e.period, e.level, e.round, e.brand_id, e.severity, e.detail, e.figure_micros, e.limit_micros,"
    " e.muted, e.opened_at, e.ended_at, e.end_reason, e.acknowledged_at, e.acknowledged_by,"
    " (SELECT name FROM brand WHERE brand.id = e.brand_id) AS brand_name,"
    " (SELECT until FROM alert_mute AS m WHERE m.kind = e.kind AND m.subject = e.subject AND m.until > now()) AS muted_until"
)
_SEEN: Final = "(CAST(:brands AS bigint[]) IS NULL OR e.brand_id = ANY(CAST(:brands AS bigint[])))"
_HIGHEST: Final = (
    "SELECT DISTINCT ON (kind, subject, period) * FROM alert_event WHERE ended_at IS NULL"
    " ORDER BY kind, subject, period, level DESC"
)
"""Of each budget's open alerts the one with the highest level, which says what the lower ones say."""
_COUNTS: Final = f"e.severity <> 'note' AND e.acknowledged_at IS NULL AND NOT {_MUTED.format('e.')}"
_LIST_OPEN: Final = text(
    f"SELECT {_COLUMNS}, ({_COUNTS}) AS counts FROM ({_HIGHEST}) AS e WHERE {_SEEN}"
    " ORDER BY counts DESC, array_position(ARRAY['critical', 'warning', 'note'], e.severity), e.id DESC LIMIT :limit"
)
_COUNT: Final = text(f"SELECT e.brand_id, count(*) AS number FROM ({_HIGHEST}) AS e WHERE {_COUNTS} GROUP BY 1")
_HISTORY: Final = text(
    f"SELECT {_COLUMNS}, false AS counts FROM alert_event AS e WHERE {_SEEN} AND (CAST(:before AS bigint) IS NULL OR e.id < :before)"
    " AND (CAST(:brand AS bigint) IS NULL OR e.brand_id = :brand) ORDER BY e.id DESC LIMIT :limit"
)
_ONE: Final = text(f"SELECT {_COLUMNS}, false AS counts FROM alert_event AS e WHERE e.id = :id AND {_SEEN}")
_ACK: Final = text(
    "UPDATE alert_event AS e SET acknowledged_at = clock_timestamp(), acknowledged_by = :actor FROM alert_event AS one"
    " WHERE one.id = :id AND (e.kind, e.subject, e.period) = (one.kind, one.subject, one.period) AND e.level <= one.level"
    " AND e.acknowledged_at IS NULL AND (e.id = one.id OR e.ended_at IS NULL)"
)
_MUTE: Final = text(
    "INSERT INTO alert_mute (kind, subject, until, muted_by) VALUES (:kind, :subject, now() + :span, :actor)"
    " ON CONFLICT (kind, subject) DO UPDATE SET until = excluded.until, muted_at = now(), muted_by = excluded.muted_by"
)
_UNMUTE: Final = text("DELETE FROM alert_mute WHERE kind = :kind AND subject = :subject")
_PRUNE: Final = text(
    "DELETE FROM alert_event WHERE id = ANY (ARRAY(SELECT id FROM alert_event"
    " WHERE ended_at < now() - :kept ORDER BY id LIMIT :most))"
)


class AlertRow(NamedTuple):
    """An alert for people. counts: whether it is open and a person should look at it. muted: when it was opened; muted_until: now."""

    id: int
    kind: Kind
    subject: str
    period: str
    level: int
    round: int
    brand_id: int | None
    severity: Severity
    detail: str
    figure_micros: int | None
    limit_micros: int | None
    muted: bool
    opened_at: datetime
    ended_at: datetime | None
    end_reason: EndReason | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    brand_name: str | None
    muted_until: datetime | None
    counts: bool


class Change(NamedTuple):
    """What a transaction did to an alert, for who must hear of it. muted: nobody."""

    event_id: int
    what: str
    muted: bool


def open_events(connection: Connection) -> dict[int | None, list[Event]]:
    """Every open alert by its brand, None for the engine's."""
    found: dict[int | None, list[Event]] = {}
    for row in connection.execute(_OPEN):
        key = Key(row.kind, row.subject, row.period, row.level)
        event = Event(row.id, key, row.round, row.figure_micros, row.limit_micros)
        found.setdefault(row.brand_id, []).append(event)
    return found


def end(connection: Connection, event_id: int, reason: EndReason) -> Change | None:
    """Ends an open alert; None where another process has done so."""
    row = connection.execute(_END, {"id": event_id, "reason": reason}).first()
    return None if row is None else Change(row.id, "ended", row.muted)


def open_(connection: Connection, held: Holding, again_ms: int | None) -> Change | None:
    """Opens an alert, in a new round where its budget was raised or it ended `again_ms` ago. None where nothing is new: it is open already,
    or it goes on after it had ended for a while.
    """
    last = connection.execute(_LAST, held.key._asdict()).first()
    round_ = 1
    if last is not None:
        if last.ended_at is None:
            return None
        rested = again_ms is not None and last.now - last.ended_at >= timedelta(milliseconds=again_ms)
        if last.end_reason != "raised" and not rested:
            connection.execute(_AGAIN, {"id": last.id, "ended": last.ended_at})
            return None
        round_ = last.round + 1
    values = {**held.key._asdict(), "round": round_, "brand_id": held.brand_id, "severity": held.severity}
    row = connection.execute(
        _INSERT, {**values, "detail": held.detail, "figure": held.figure, "limit": held.limit}
    ).first()
    return None if row is None else Change(row.id, "opened", row.muted)


def counts(db: Engine) -> dict[int | None, int]:
    """How many open alerts a person should look at, by brand; None is the engine."""
    with db.connect() as conn:
        return {row.brand_id: row.number for row in conn.execute(_COUNT)}


def count_of(found: Mapping[int | None, int], brands: Collection[int] | None) -> int:
    """Those of the brands that a person sees, None for every brand and the engine."""
    return sum(number for brand_id, number in found.items() if brands is None or brand_id in brands)


def list_open(db: Engine, brands: Collection[int] | None, limit: int) -> list[AlertRow]:
    """Open alerts, those that count first; of each budget the highest level. brands: those that a person sees."""
    return _rows(db, _LIST_OPEN, brands, limit=limit)


def history(
    db: Engine, brands: Collection[int] | None, limit: int, before: int | None = None, brand_id: int | None = None
) -> list[AlertRow]:
    """All alerts, the newest first."""
    return _rows(db, _HISTORY, brands, limit=limit, before=before, brand=brand_id)


def one(db: Engine, event_id: int, brands: Collection[int] | None = None) -> AlertRow:
    """An alert by its id. Raises NotFound, also for one of a brand that is out of sight."""
    found = _rows(db, _ONE, brands, id=event_id)
    if not found:
        raise NotFound(f"there is no alert {shown(event_id)}: `alert list` shows all")
    return found[0]


def row_of(connection: Connection, event_id: int) -> AlertRow:
    """An alert by its id, as this transaction has it."""
    return AlertRow(**connection.execute(_ONE, {"id": event_id, "brands": None}).mappings().one())


def acknowledge(db: Engine, event_id: int, actor: str, brands: Collection[int] | None = None) -> AlertRow:
    """Notes who has seen an alert, and with it the open lower levels of its budget. Again changes nothing. Raises NotFound."""
    found = one(db, event_id, brands)
    with writing(db) as conn:
        if conn.execute(_ACK, {"id": event_id, "actor": actor}).rowcount:
            _trail(conn, actor, found, "acknowledged", None, found.detail)
    return one(db, event_id, brands)


def mute(db: Engine, event_id: int, hours: int, actor: str, brands: Collection[int] | None = None) -> AlertRow:
    """Silences what an alert is about, for some hours from now. Raises NotFound, InvalidInput."""
    if hours not in MUTE_HOURS:
        raise InvalidInput(f"hours {shown(hours)} is none of {', '.join(map(str, MUTE_HOURS))}", "hours")
    found = one(db, event_id, brands)
    with writing(db) as conn:
        values = {"kind": found.kind, "subject": found.subject, "span": timedelta(hours=hours), "actor": actor}
        conn.execute(_MUTE, values)
        _trail(conn, actor, found, "muted", None, f"for {hours} h")
    return one(db, event_id, brands)


def unmute(db: Engine, event_id: int, actor: str, brands: Collection[int] | None = None) -> AlertRow:
    """Ends that silence. Raises NotFound."""
    found = one(db, event_id, brands)
    with writing(db) as conn:
        if conn.execute(_UNMUTE, {"kind": found.kind, "subject": found.subject}).rowcount:
            _trail(conn, actor, found, "muted", "muted", None)
    return one(db, event_id, brands)


def _trail(conn: Connection, actor: str, row: AlertRow, field: str, old: str | None, new: str | None) -> None:
    """Writes down what a person did with an alert: under its brand, 0 for one of the engine."""
    about = f"alert {row.id}: {row.kind} of {row.subject}"
    changes.write(conn, "alert", actor, [FieldChange(row.brand_id or 0, field, old, new, about)])


def prune(db: Engine) -> int:
    """Drops alerts that ended long ago; returns how many."""
    gone = 0
    while True:
        with writing(db) as conn:
            part = conn.execute(_PRUNE, {"kept": timedelta(days=KEEP_DAYS), "most": _AT_ONCE}).rowcount
        gone += part
        if part < _AT_ONCE:
            return gone


def _rows(db: Engine, query: Any, brands: Iterable[int] | None, **values: object) -> list[AlertRow]:
    with db.connect() as conn:
        found = conn.execute(query, {"brands": None if brands is None else sorted(brands), **values})
        return [AlertRow(**row) for row in found.mappings()]
