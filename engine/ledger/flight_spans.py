"""What campaigns spent from one instant to another, by the log: of flights that share a counter, the part of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.ids import brand_of
from engine.domain.periods import at_ms
from engine.domain.zone_text import Zone
from engine.ledger.hourly import hour_at

_UNTIL: Final = text(
    "SELECT (coalesce((SELECT sum(spend_micros) FROM campaign_day AS d WHERE d.campaign_id = given.campaign"
    " AND d.day >= given.first AND d.day < given.day), 0)"
    " + coalesce((SELECT sum(spend_micros) FROM campaign_hour AS h WHERE h.day = given.day AND h.campaign_id = given.campaign"
    " AND h.hour < given.hour), 0)"
    " + coalesce((SELECT sum(amount_micros) FROM spends_of(given.brand, given.begins, given.at) AS l"
    " WHERE l.campaign_id = given.campaign AND l.day = given.day), 0))::bigint AS micros"
    " FROM unnest(CAST(:campaigns AS bigint[]), CAST(:brands AS bigint[]), CAST(:firsts AS date[]), CAST(:ats AS timestamptz[]),"
    " CAST(:days AS date[]), CAST(:hours AS integer[]), CAST(:begins AS timestamptz[]))"
    " WITH ORDINALITY AS given(campaign, brand, first, at, day, hour, begins, place) ORDER BY place"
)


class Span(NamedTuple):
    """A campaign from an instant until another, by the clock of its brand."""

    campaign_id: int
    starts_ms: int
    ends_ms: int
    clock: Zone


def spent(connection: Connection, spans: Sequence[Span]) -> list[int]:
    """The micros of each span. Whole days and hours come from their sums, so at each edge only the rows of one hour are read; of a
    day whose rows were dropped, that hour counts to what comes after the edge.
    """
    names = ("campaigns", "brands", "firsts", "ats", "days", "hours", "begins")
    values: dict[str, list[Any]] = {name: [] for name in names}
    for campaign_id, starts_ms, ends_ms, clock in spans:
        first = hour_at(starts_ms, clock)[0]
        for ms in (starts_ms, ends_ms):
            given = (campaign_id, brand_of(campaign_id), first, at_ms(ms), *hour_at(ms, clock))
            for name, value in zip(names, given, strict=True):
                values[name].append(value)
    found = list(connection.execute(_UNTIL, values).scalars()) if spans else []
    return [until - before for before, until in zip(found[::2], found[1::2], strict=True)]
