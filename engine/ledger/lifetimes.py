"""What campaigns spent in their whole life: the first value of a lifetime counter."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

from sqlalchemy import Connection, text

from engine.domain.ids import brand_of
from engine.ledger import quarantine

_SPENT: Final = text(
    "SELECT campaign_id, sum(spend_micros)::bigint AS micros FROM campaign_day"
    " WHERE campaign_id = ANY(CAST(:campaigns AS bigint[])) AND day < coalesce(CAST(:before AS date), 'infinity')"
    " GROUP BY campaign_id"
)


def spent(connection: Connection, campaign_ids: Sequence[int], before: date | None = None) -> dict[int, int]:
    """{campaign id: micros} of all days, or of those before a day: the daily sums, and what stands in quarantine."""
    totals = dict.fromkeys(campaign_ids, 0)
    if not totals:
        return totals
    for row in connection.execute(_SPENT, {"campaigns": list(campaign_ids), "before": before}):
        totals[row.campaign_id] += row.micros
    waiting = quarantine.sums(connection, {brand_of(campaign_id) for campaign_id in campaign_ids})
    for (_, campaign_id, day), micros in waiting.items():
        if campaign_id in totals and (before is None or day < before):
            totals[campaign_id] += micros
    return totals
