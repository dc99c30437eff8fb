"""Breakers that opened: written by persist, read for rebuild, verify and whoever resumes a campaign."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.ids import SHARDS

_ADD: Final = text(
    "INSERT INTO breaker_trip (campaign_id, round, at, spend_micros) VALUES (:campaign_id, :round, :at, :spend_micros)"
    " ON CONFLICT DO NOTHING"
)
_OPEN: Final = (
    "SELECT c.id, max(t.at) AS at FROM campaign AS c JOIN breaker_trip AS t ON t.campaign_id = c.id AND t.round >= c.breaker_round"
    " WHERE c.breaker_round > 0"
)
_OPEN_OF: Final = text(f"{_OPEN} AND c.id = ANY(CAST(:campaigns AS bigint[])) GROUP BY c.id")
_OPEN_OF_SHARD: Final = text(f"{_OPEN} AND mod(c.brand_id, {SHARDS}) = :shard GROUP BY c.id")
_SHARDS: Final = text(f"SELECT DISTINCT mod(brand_id, {SHARDS}) FROM campaign WHERE breaker_round > 0 ORDER BY 1")
_BRAKED: Final = text(
    f"SELECT id FROM campaign WHERE breaker_round > 0 AND published_version = version AND mod(brand_id, {SHARDS}) = :shard"
    " ORDER BY id"
)
_STOPPED: Final = text(
    "SELECT c.id FROM campaign AS c JOIN brand AS b ON b.id = c.brand_id WHERE 'breaker' = ANY(c.reasons)"
    " AND c.archived_at IS NULL AND b.archived_at IS NULL ORDER BY c.id"
)


class TripRow(NamedTuple):
    """A breaker that opened, as its table has it."""

    campaign_id: int
    round: int
    at: datetime
    spend_micros: int


def add(connection: Connection, rows: Sequence[TripRow]) -> None:
    """Writes breakers that opened; one that is there already stays as it is."""
    if rows:
        connection.execute(_ADD, [row._asdict() for row in rows])


def open_of(connection: Connection, campaign_ids: Collection[int]) -> dict[int, datetime]:
    """{campaign id: since when} of those whose breaker is open by the log."""
    if not campaign_ids:
        return {}
    found = connection.execute(_OPEN_OF, {"campaigns": list(campaign_ids)})
    return {row.id: row.at for row in found}


def open_of_shard(connection: Connection, shard: int) -> dict[int, datetime]:
    """The same of a whole shard."""
    return {row.id: row.at for row in connection.execute(_OPEN_OF_SHARD, {"shard": shard})}


def shards(connection: Connection) -> list[int]:
    """Those of which any campaign has, or had, a brake."""
    return list(connection.execute(_SHARDS).scalars())


def braked(connection: Connection, shard: int) -> list[int]:
    """The campaigns of a shard with a brake that Redis has as the catalog has it."""
    return list(connection.execute(_BRAKED, {"shard": shard}).scalars())


def stopped(connection: Connection) -> list[int]:
    """The campaigns in use that an open breaker stops, by their last written status."""
    return list(connection.execute(_STOPPED).scalars())
