"""PostgreSQL's values of what Redis has too, for `doctor`: read only, and bounded."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, text


class Published(NamedTuple):
    """A brand or campaign with its version, and the one that was published (None: none yet)."""

    id: int
    version: int
    published: int | None


def newest_brands(connection: Connection, limit: int) -> list[Published]:
    """The brands that changed last."""
    query = "SELECT id, version, published_version FROM brand ORDER BY updated_at DESC, id DESC LIMIT :limit"
    return [Published(*row) for row in connection.execute(text(query), {"limit": limit})]


def newest_campaigns(connection: Connection, limit: int) -> list[Published]:
    """The campaigns that changed last."""
    query = "SELECT id, version, published_version FROM campaign ORDER BY updated_at DESC, id DESC LIMIT :limit"
    return [Published(*row) for row in connection.execute(text(query), {"limit": limit})]


def highest_published(connection: Connection, limit: int) -> dict[int, int]:
    """{brand: the highest ordinal of its campaigns that were published}, of the brands with the latest ids."""
    query = (
        "SELECT b.id, last.ordinal FROM (SELECT id FROM brand ORDER BY id DESC LIMIT :limit) AS b, LATERAL"
        " (SELECT ordinal FROM campaign WHERE brand_id = b.id AND published_version IS NOT NULL"
        " ORDER BY ordinal DESC LIMIT 1) AS last"
    )
    return {row.id: row.ordinal for row in connection.execute(text(query), {"limit": limit})}


def held(connection: Connection) -> dict[int, int]:
    """{brand: micros on hold}, of those that have any."""
    query = "SELECT brand_id, sum(held_micros)::bigint AS micros FROM hold WHERE state = 'open' GROUP BY 1"
    return {row.brand_id: row.micros for row in connection.execute(text(query))}
