"""The instants at which something changes by time alone. Rules often fail there, so each is tried a millisecond before,
at, and after the change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Final

from engine.domain.ids import brand_of
from engine.domain.periods import (
    DAY_MS,
    MINUTE_MS,
    at_ms,
    date_of,
    day_number,
    day_of,
    day_start_ms,
    month_date,
    month_of,
    month_start_ms,
    ms_of,
    next_day_ms,
    next_month_ms,
)
from engine.domain.zone_text import UTC as UTC_CLOCK
from engine.domain.zone_text import Zone
from tests.model import ReferenceModel

STARTS: Final = tuple(
    ms_of(datetime(*parts, tzinfo=UTC))
    for parts in (
        (2031, 12, 31, 22, 30),
        (2032, 2, 28, 23, 50),
        (2032, 2, 29, 23, 59),
        (2033, 2, 28, 21, 0),
        (2035, 4, 30, 23, 0),
        (2035, 6, 15, 12, 0, 0),
    )
)


def _leap_day(ms: int) -> int:
    """The next beginning or end of a Feb 29."""
    leaps = (year for year in range(at_ms(ms).year, at_ms(ms).year + 9) if year % 4 == 0)
    return _soonest((ms_of(datetime(year, *day, tzinfo=UTC)) for year in leaps for day in ((2, 29), (3, 1))), ms)


def _new_year(ms: int) -> int:
    return day_start_ms(day_number(date(at_ms(ms).year + 1, 1, 1)))


def _soonest(candidates: Iterable[int | None], ms: int) -> int:
    return min((at for at in candidates if at is not None and at > ms), default=ms + 1)


def next_expiry(twin: ReferenceModel, ms: int) -> int:
    """The instant at which the next open hold expires."""
    holds = [h for shard in twin.shards.values() for brand in shard.brands.values() for h in brand.holds.values()]
    return _soonest((hold.expires_ms for hold in holds), ms)


def _schedule(twin: ReferenceModel, ms: int) -> int:
    campaigns = [campaign for shard in twin.shards.values() for campaign in shard.campaigns.values()]
    return _soonest((campaign.schedule.next_change_ms(ms) for campaign in campaigns), ms)


def _flight(twin: ReferenceModel, ms: int) -> int:
    """When a flight begins or ends next."""
    campaigns = [campaign for shard in twin.shards.values() for campaign in shard.campaigns.values()]
    return _soonest((edge for campaign in campaigns for flight in campaign.flights for edge in flight[2:4]), ms)


def _graces(twin: ReferenceModel, ms: int) -> Iterator[int]:
    """When a shard takes no more late spends of the day before."""
    for shard in twin.shards.values():
        if shard.grace_minutes:
            yield day_start_ms(day_of(ms)) + shard.grace_minutes * MINUTE_MS
            yield next_day_ms(ms) + shard.grace_minutes * MINUTE_MS


def _now_of(twin: ReferenceModel, clock: int, campaign: int) -> tuple[int, Zone]:
    """The instant of a call for a campaign, and the clock of its brand."""
    shard = twin.shard(campaign)
    brand = shard.brands.get(brand_of(campaign))
    return max(clock, shard.kept_now), brand.zone if brand else UTC_CLOCK


def occurred_ms(twin: ReferenceModel, clock: int, campaign: int, when: str | int | None) -> int | None:
    """When a spend of a campaign occurred, by its description."""
    now, zone = _now_of(twin, clock, campaign)
    today = zone.midnight_ms(zone.day_of(now))
    named = {"yesterday": today - 1, "its begin": today - DAY_MS, "the day before": today - DAY_MS - 1}
    return named[when] if isinstance(when, str) else when


MOVES: Final[dict[str, Callable[[ReferenceModel, int], int]]] = {
    "a moment": lambda _, ms: ms + 7,
    "seconds": lambda _, ms: ms + 4_000,
    "minutes": lambda _, ms: ms + 300_000,
    "the next edge of a schedule": _schedule,
    "the next edge of a flight": _flight,
    "an edge of a flight again": _flight,
    "the request ids' window": lambda _, ms: (ms // 600_000 + 1) * 600_000,
    "the request ids' window but one": lambda _, ms: (ms // 600_000 + 2) * 600_000,
    "the event ids' window": lambda _, ms: (ms // 3_600_000 + 1) * 3_600_000,
    "the event ids' window but one": lambda _, ms: (ms // 3_600_000 + 2) * 3_600_000,
    "midnight": lambda _, ms: next_day_ms(ms),
    "the end of a grace": lambda twin, ms: _soonest(_graces(twin, ms), ms),
    "the month's end": lambda _, ms: next_month_ms(ms),
}
FAR_MOVES: Final[dict[str, Callable[[ReferenceModel, int], int]]] = {
    "Feb 29": lambda _, ms: _leap_day(ms),
    "New Year": lambda _, ms: _new_year(ms),
}


def spent_days(twin: ReferenceModel, clock: int, campaign: int) -> dict[str, date | None]:
    """The days that a refund may name, by description: those of the campaign's brand."""
    now, zone = _now_of(twin, clock, campaign)
    ms = zone.local_ms(now)
    month = month_start_ms(month_of(ms))
    return {
        "none": None,
        "today": date_of(day_of(ms)),
        "yesterday": date_of(day_of(ms) - 1),
        "the month's first": month_date(month_of(ms)),
        "last month": date_of(day_of(month) - 1),
    }
