"""What a rebuild restores of the grace for late spends: which days are closed, and the limits at the end of the day before.

Each brand's day before is that of its own time zone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Engine

from engine.domain.budget import BUDGETS
from engine.domain.periods import at_ms, date_of, day_number, ms_of
from engine.domain.zone_text import UTC, Zone
from engine.ledger import day_ends, periods
from engine.ledger.changes import Entity
from engine.ledger.database import writing
from engine.ledger.records import BrandRecord, CampaignRecord

LimitsOfDay = Mapping[tuple[Entity, int], tuple[int, Sequence[int | None]]]
"""{(kind, id): a day, and the limits in micros at its end}"""

OF_EACH_BRAND: Final = "0"
"""`late_from` of a shard in which each brand with a time zone has its own last closed day."""


class Late(NamedTuple):
    """takes: the brands whose day before is open for late spends. limits: at the end of that day, of owners that had others.

    closed: of brands with time zones, the last day that takes none. told: what the script that writes the mark is told, the
    grace in minutes, the last closed day of the others, and `late_from`.
    """

    takes: frozenset[int] = frozenset()
    limits: LimitsOfDay = {}
    closed: Mapping[int, int] = {}
    told: tuple[str, ...] = ()


NO_GRACE: Final = Late()


def read_late(
    db: Engine,
    shard: int,
    grace_minutes: int,
    now_ms: int,
    brands: Sequence[BrandRecord],
    campaigns: Sequence[CampaignRecord],
) -> Late:
    """Reads it from PostgreSQL. A close that is under way has ended then, and later ones find the shard out of use."""
    if not grace_minutes:
        return NO_GRACE
    zones = {brand.id: Zone.parse(brand.zone) for brand in brands}
    before = {brand_id: zone.day_of(now_ms) - 1 for brand_id, zone in zones.items()}
    with writing(db) as conn:
        day_ends.after_closes(conn)
        of_shard = day_ends.last_closed(conn, shard)
        found = periods.last_totals(conn, list(zones), date_of(min(before.values())))
    totals = {brand_id: day_number(on) for (brand_id, period), on in found.items() if period == "day"}
    # The shard closes a day with the last of its brands; those without a zone close theirs together, maybe days of zones earlier.
    in_utc = [totals[brand_id] for brand_id, zone in zones.items() if zone == UTC and brand_id in totals]
    last = max([*in_utc, *([day_number(of_shard)] if of_shard else [])], default=None)
    closed: dict[int, int] = {}
    for brand in brands:
        zone, day = zones[brand.id], before[brand.id]
        if zone != UTC:
            # No day before a brand's first one has a total, and none takes late spends.
            closed[brand.id] = max(
                day if totals.get(brand.id, 0) >= day else day - 1, zone.day_of(ms_of(brand.created_at)) - 1
            )
    takes = frozenset(i for i, day in before.items() if (closed.get(i, last or 0)) < day)
    told = (str(grace_minutes), "" if last is None else str(last), OF_EACH_BRAND)
    return Late(takes, _limits_then(db, zones, before, takes, brands, campaigns), closed, told)


def _limits_then(
    db: Engine,
    zones: Mapping[int, Zone],
    before: Mapping[int, int],
    takes: frozenset[int],
    brands: Sequence[BrandRecord],
    campaigns: Sequence[CampaignRecord],
) -> LimitsOfDay:
    """The limits that open days before had at their end, of owners that had others than now."""
    alike: dict[tuple[int, int], list[int]] = {}
    for brand_id in sorted(takes):
        day = before[brand_id]
        alike.setdefault((day, zones[brand_id].midnight_ms(day + 1)), []).append(brand_id)
    now: dict[tuple[Entity, int], Sequence[int | None]] = {}
    for brand in brands:
        now["brand", brand.id] = [kind.limit_of(brand) for kind in BUDGETS]
    for campaign in campaigns:
        now["campaign", campaign.id] = campaign.limits
    found: dict[tuple[Entity, int], tuple[int, Sequence[int | None]]] = {}
    for (day, ends_ms), ids in alike.items():
        with db.connect() as conn:
            then = day_ends.limits_before(conn, ids, now, at_ms(ends_ms))
        found |= {owner: (day, limits) for owner, limits in then.items()}
    return found
