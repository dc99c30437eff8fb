"""The rows of the spend log of a brand or campaign over days, for a table. They are read hour by hour, so memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import Engine, text

from engine.domain.periods import HOUR_MS, at_ms, day_number
from engine.domain.zone_text import Zone
from engine.ledger.hourly import Owner

_ROWS: Final = (
    "SELECT l.recorded_at, l.day, l.campaign_id, campaign.name AS campaign, l.amount_micros, l.kind, l.event_id, l.request_id,"
    " l.occurred_at, l.hold_id FROM spends_of(:brand, :since, :until) AS l JOIN campaign ON campaign.id = l.campaign_id"
    "{only} ORDER BY l.recorded_at, l.generation, l.n, l.position"
)
_A_READ: Final = 1000


class SpendRow(NamedTuple):
    """A row of the log. amount_micros is below 0 for what was given back."""

    recorded_at: datetime
    day: date
    campaign_id: int
    campaign: str
    amount_micros: int
    kind: str
    event_id: str | None
    request_id: str
    occurred_at: datetime | None
    hold_id: str | None


def rows(engine: Engine, owner: Owner, first: date, last: date, clock: Zone) -> Iterator[SpendRow]:
    """What was recorded from a day to another, both included, by the brand's clock; in order."""
    one = owner.kind == "campaign"
    query = text(_ROWS.format(only=" WHERE l.campaign_id = :campaign" if one else "")).execution_options(
        yield_per=_A_READ
    )
    begin, end = clock.midnight_ms(day_number(first)), clock.midnight_ms(day_number(last) + 1)
    for since in range(begin, end, HOUR_MS):
        given = {"brand": owner.brand_id, "since": at_ms(since), "until": at_ms(min(since + HOUR_MS, end))}
        with engine.connect() as connection:
            for row in connection.execute(query, given | ({"campaign": owner.id} if one else {})):
                yield SpendRow(*row)
