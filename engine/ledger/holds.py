"""Holds from the journal: the open ones and how others ended, for a rebuild."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text


class HoldRow(NamedTuple):
    """A hold. state: open, settled, over, late, released or expired."""

    campaign_id: int
    hold_id: str
    brand_id: int
    held_micros: int
    settled_micros: int
    state: str
    reserved_at: datetime | None
    expires_at: datetime | None
    ended_at: datetime | None


def write(connection: Connection, rows: Iterable[HoldRow]) -> None:
    """Stores the latest state of holds, in one statement."""
    last = {(row.campaign_id, row.hold_id): row for row in rows}
    if not last:
        return
    columns = list(zip(*(last[key] for key in sorted(last)), strict=True))
    connection.execute(
        text(
            "INSERT INTO hold (campaign_id, hold_id, brand_id, held_micros, settled_micros, state, reserved_at, expires_at, ended_at)"
            " SELECT * FROM unnest(CAST(:c AS bigint[]), CAST(:h AS text[]), CAST(:b AS bigint[]), CAST(:held AS bigint[]),"
            " CAST(:settled AS bigint[]), CAST(:state AS text[]), CAST(:reserved AS timestamptz[]),"
            " CAST(:expires AS timestamptz[]), CAST(:ended AS timestamptz[]))"
            " ON CONFLICT (campaign_id, hold_id) DO UPDATE SET held_micros = excluded.held_micros,"
            " settled_micros = excluded.settled_micros, state = excluded.state, ended_at = excluded.ended_at,"
            " reserved_at = coalesce(excluded.reserved_at, hold.reserved_at),"
            " expires_at = coalesce(excluded.expires_at, hold.expires_at)"
        ),
        dict(
            zip(
                ("c", "h", "b", "held", "settled", "state", "reserved", "expires", "ended"),
                map(list, columns),
                strict=True,
            )
        ),
    )


def open_holds(connection: Connection, brand_ids: Sequence[int]) -> list[HoldRow]:
    """The open holds of brands."""
    return _read(
        connection, "state = 'open' AND brand_id = ANY(CAST(:brands AS bigint[]))", {"brands": list(brand_ids)}
    )


def ended_since(connection: Connection, brand_ids: Sequence[int], since: datetime) -> list[HoldRow]:
    """The holds of brands that ended at or after an instant."""
    where = "ended_at >= :since AND brand_id = ANY(CAST(:brands AS bigint[]))"
    return _read(connection, where, {"brands": list(brand_ids), "since": since})


def brands_with_open(connection: Connection) -> list[int]:
    """Brands with an open hold."""
    return [
        row.brand_id
        for row in connection.execute(text("SELECT DISTINCT brand_id FROM hold WHERE state = 'open' ORDER BY 1"))
    ]


def prune(connection: Connection, before: datetime) -> int:
    """Drops holds that ended before an instant; their spends stay in the log."""
    return connection.execute(text("DELETE FROM hold WHERE ended_at < :before"), {"before": before}).rowcount


def _read(connection: Connection, where: str, values: dict[str, object]) -> list[HoldRow]:
    found = connection.execute(text(f"SELECT {', '.join(HoldRow._fields)} FROM hold WHERE {where}"), values)
    return [HoldRow(*row) for row in found]
