"""What reconcile did to counters, one row a correction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text


class CorrectionRow(NamedTuple):
    """A difference added to a counter of Redis."""

    name: str
    brand_id: int
    campaign_id: int | None
    field: str
    difference_micros: int
    recorded_at: datetime
    shard: int
    n: int


def write(connection: Connection, rows: Iterable[CorrectionRow]) -> None:
    """Stores corrections, each once."""
    for row in rows:
        connection.execute(
            text(
                "INSERT INTO counter_correction (name, brand_id, campaign_id, field, difference_micros, recorded_at, shard, n)"
                " VALUES (:name, :brand_id, :campaign_id, :field, :difference_micros, :recorded_at, :shard, :n)"
                " ON CONFLICT (name) DO NOTHING"
            ),
            row._asdict(),
        )


def since(connection: Connection, at: datetime) -> list[CorrectionRow]:
    """The corrections since an instant, the newest first."""
    found = connection.execute(
        text(
            f"SELECT {', '.join(CorrectionRow._fields)} FROM counter_correction WHERE recorded_at >= :at ORDER BY recorded_at DESC, n DESC"
        ),
        {"at": at},
    )
    return [CorrectionRow(*row) for row in found]


def latest(connection: Connection, limit: int = 50) -> list[CorrectionRow]:
    """The newest corrections first."""
    found = connection.execute(
        text(
            f"SELECT {', '.join(CorrectionRow._fields)} FROM counter_correction ORDER BY recorded_at DESC, n DESC LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [CorrectionRow(*row) for row in found]
