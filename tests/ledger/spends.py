"""Spends for the tests of the ledger: rows as persist would write them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine

from engine.domain.ids import brand_of, shard_of
from engine.ledger import log_rows, spend_log
from engine.ledger.log_rows import SpendRow

UNIT = 1_000_000
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
TODAY = NOON.date()


def row(
    campaign_id: int,
    amount_micros: int = UNIT,
    n: int = 1,
    position: int = 0,
    *,
    at: datetime = NOON,
    event_id: str | None = None,
    request_id: str = "r1",
    occurred_at: datetime | None = None,
    kind: str = "spend",
    day: date | None = None,
    generation: int = 1,
) -> SpendRow:
    """One spend; its brand, shard and day follow from its campaign and instant."""
    brand_id = brand_of(campaign_id)
    return SpendRow(
        at,
        day or at.date(),
        brand_id,
        campaign_id,
        amount_micros,
        event_id,
        request_id,
        occurred_at,
        kind,
        shard_of(brand_id),
        generation,
        n,
        position,
    )


def write(engine: Engine, rows: Sequence[SpendRow]) -> None:
    """Rows and their sums in one transaction."""
    sums: defaultdict[tuple[int, date, int], list[int]] = defaultdict(lambda: [0, 0])
    for r in rows:
        key = (r.campaign_id, r.day, spend_log.hour_of(r.day, r.recorded_at))
        sums[key][0] += r.amount_micros
        sums[key][1] += 1
    with engine.begin() as connection:
        for day in sorted({r.day for r in rows}):
            spend_log.ensure_partition(connection, day)
        spend_log.copy_rows(connection, log_rows.rows_of(rows))
        spend_log.add_sums(
            connection, {key: (brand_of(key[0]), micros, spends) for key, (micros, spends) in sums.items()}
        )


def ago(**spans: int) -> datetime:
    return NOON - timedelta(**spans)
