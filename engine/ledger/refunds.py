"""Refunds as PostgreSQL knows them, for good: what was given back of each event, and what still waits to be decided.

The key of the table is the law: an event has one refund without an id and one for each refund id, once, however often it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.ids import SHARDS

WAITING: Final = "waiting"
REFUSED: Final = "refused"


class Told(NamedTuple):
    """What the journal told of a refund: that it was given or, where it is `asked`, that the log has to decide."""

    brand_id: int
    event_id: str
    refund_id: str
    campaign_id: int
    micros: int
    day: date
    at: datetime
    n: int
    asked: bool


class RefundRow(NamedTuple):
    """A refund. refund_id: "" of the one that needs none. cause: a code of engine/domain/refunds.py, of a refused one. told: Redis' memory
    has its end. tried_ms: Redis' time before it was first given back; check_n: the journal number that the cursor must reach before it
    is tried again. cursor_n: that of its shard, of the same instant."""

    brand_id: int
    event_id: str
    refund_id: str
    campaign_id: int
    micros: int
    day: date
    state: str
    cause: str | None
    tried_ms: int | None
    check_n: int | None
    cursor_n: int


_KEY: Final = "brand_id = :brand_id AND event_id = :event_id AND refund_id = :refund_id"
_FIELDS: Final = (
    "r.brand_id, r.event_id, r.refund_id, r.campaign_id, r.micros, r.day, r.state, r.cause, r.tried_ms, r.check_n, c.n"
)
_GIVEN: Final = (
    "INSERT INTO refund (brand_id, event_id, refund_id, campaign_id, micros, day, state, told, asked_at, asked_n, ended_at)"
    " VALUES (:brand_id, :event_id, :refund_id, :campaign_id, :micros, :day, 'applied', true, :at, :n, :at)"
    " ON CONFLICT (brand_id, event_id, refund_id) DO UPDATE SET state = 'applied', campaign_id = excluded.campaign_id,"
    " micros = excluded.micros, day = excluded.day, cause = NULL, told = true, ended_at = excluded.ended_at"
    " WHERE refund.state <> 'applied'"
)
# One that was refused may be asked for again; any other stands as it is, and its end is told once more.
_ASKED: Final = (
    "INSERT INTO refund (brand_id, event_id, refund_id, campaign_id, micros, day, state, told, asked_at, asked_n)"
    " VALUES (:brand_id, :event_id, :refund_id, :campaign_id, :micros, :day, 'waiting', false, :at, :n)"
    " ON CONFLICT (brand_id, event_id, refund_id) DO UPDATE SET told = false,"
    " state = CASE WHEN refund.state = 'refused' THEN 'waiting' ELSE refund.state END, cause = NULL,"
    " campaign_id = CASE WHEN refund.state = 'refused' THEN excluded.campaign_id ELSE refund.campaign_id END,"
    " micros = CASE WHEN refund.state = 'refused' THEN excluded.micros ELSE refund.micros END,"
    " day = CASE WHEN refund.state = 'refused' THEN excluded.day ELSE refund.day END,"
    " asked_at = CASE WHEN refund.state = 'refused' THEN excluded.asked_at ELSE refund.asked_at END,"
    " asked_n = CASE WHEN refund.state = 'refused' THEN excluded.asked_n ELSE refund.asked_n END,"
    " ended_at = CASE WHEN refund.state = 'refused' THEN NULL ELSE refund.ended_at END"
)


def write(connection: Connection, told: Iterable[Told]) -> None:
    """Writes down what the journal told of refunds, in its order."""
    for line in told:
        connection.execute(text(_ASKED if line.asked else _GIVEN), line._asdict())


def any_open(connection: Connection) -> bool:
    """Whether a refund waits, or is approved and not in the log yet, or its end was not told."""
    return connection.execute(text(f"SELECT EXISTS (SELECT FROM refund AS r WHERE {_OPEN})")).scalar_one() is True


_OPEN: Final = "(r.state IN ('waiting', 'approved') OR NOT r.told)"


def waiting(connection: Connection, limit: int) -> list[RefundRow]:
    """The oldest that wait, locked. Those of a shard with entries in quarantine stay: their spend may lie there."""
    return _rows(
        connection,
        "r.state = 'waiting' AND NOT EXISTS (SELECT FROM quarantine AS q WHERE q.state = 'waiting' AND q.shard = c.shard)",
        limit,
        " FOR UPDATE OF r",
    )


def approved(connection: Connection, limit: int) -> list[RefundRow]:
    """The oldest that are approved and not in the log yet, each with its shard's cursor of the same instant."""
    return _rows(connection, "r.state = 'approved'", limit)


def untold(connection: Connection, limit: int) -> list[RefundRow]:
    """The oldest that have ended without Redis' memory knowing it."""
    return _rows(connection, "r.state IN ('refused', 'applied') AND NOT r.told", limit)


def _rows(connection: Connection, where: str, limit: int, lock: str = "") -> list[RefundRow]:
    query = (
        f"SELECT {_FIELDS} FROM refund AS r JOIN journal_cursor AS c ON c.shard = mod(r.brand_id, {SHARDS}) WHERE {where}"
        f" ORDER BY r.asked_at, r.asked_n, r.brand_id LIMIT :limit{lock}"
    )
    return [RefundRow(*row) for row in connection.execute(text(query), {"limit": limit})]


def approve(connection: Connection, rows: Sequence[RefundRow], now_ms: int) -> None:
    """They are to be given back: committed before the first attempt, whose instant is kept."""
    _each(connection, "UPDATE refund SET state = 'approved', tried_ms = :now, check_n = NULL", rows, now=now_ms)


def refuse(connection: Connection, rows: Sequence[tuple[RefundRow, str]]) -> None:
    """They are not, each with its cause; nothing of a refusal is for good."""
    for row, cause in rows:
        _each(
            connection, "UPDATE refund SET state = 'refused', cause = :cause, told = false, ended_at = now()", [row], cause=cause
        )  # fmt: skip


def set_told(connection: Connection, rows: Sequence[RefundRow]) -> None:
    """Redis' memory knows their end."""
    for row in rows:
        _each(connection, "UPDATE refund SET told = true", [row], f" AND state = '{row.state}'")


def check_at(connection: Connection, row: RefundRow, n: int | None) -> None:
    """Before it is tried again the cursor must have reached n."""
    _each(connection, "UPDATE refund SET check_n = :n", [row], n=n)


def _each(
    connection: Connection, update: str, rows: Sequence[RefundRow], also: str = "", **values: int | str | None
) -> None:
    for row in rows:
        key = {"brand_id": row.brand_id, "event_id": row.event_id, "refund_id": row.refund_id}
        connection.execute(text(f"{update} WHERE {_KEY}{also}"), {**key, **values})


class Remembered(NamedTuple):
    """A refund whose state a rebuilt memory must know: waiting, approved or refused."""

    brand_id: int
    event_id: str
    refund_id: str
    campaign_id: int
    micros: int
    state: str
    cause: str | None


def remembered(connection: Connection, shard: int, since: datetime) -> list[Remembered]:
    """Those of a shard that are open, or were refused since an instant."""
    query = (
        f"SELECT {', '.join(Remembered._fields)} FROM refund WHERE mod(brand_id, {SHARDS}) = :shard"
        " AND (state IN ('waiting', 'approved') OR (state = 'refused' AND asked_at >= :since))"
    )
    return [Remembered(*row) for row in connection.execute(text(query), {"shard": shard, "since": since})]


def applied_sums(connection: Connection, events: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """{(brand_id, event_id): micros} of what was given back of events."""
    wanted = sorted(events)
    if not wanted:
        return {}
    query = (
        "SELECT brand_id, event_id, sum(micros)::bigint AS micros FROM refund"
        " JOIN unnest(CAST(:brands AS bigint[]), CAST(:events AS text[])) AS given(brand_id, event_id)"
        " USING (brand_id, event_id) WHERE state = 'applied' GROUP BY 1, 2"
    )
    asked = {"brands": [brand for brand, _ in wanted], "events": [event for _, event in wanted]}
    return {(row.brand_id, row.event_id): row.micros for row in connection.execute(text(query), asked)}
