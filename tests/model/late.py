"""Late spends: a spend of the previous day counts to that day, while its end is younger than the grace and it is not closed."""

from __future__ import annotations

from engine.domain.causes import in_order
from engine.domain.ids import brand_of
from engine.domain.periods import MINUTE_MS, day_start_ms
from engine.domain.zone_text import UTC, Zone
from tests.model.journal import Spend
from tests.model.plan import Brand, Campaign, periods_of, switched_off
from tests.model.shard import Shard
from tests.model.steps import limits_at


def previous_day(now: int, zone: Zone = UTC) -> tuple[int, int, int]:
    """The previous day: its number, and the instants at which it began and ended."""
    day = zone.day_of(now) - 1
    return day, zone.midnight_ms(day), zone.midnight_ms(day + 1)


def booked_day(shard: Shard, spend: Spend, now: int) -> int:
    """The day to which a spend counts."""
    brand = shard.brands[brand_of(spend.campaign_id)]
    day, starts, ends = previous_day(now, brand.zone)
    occurred = spend.occurred_ms
    is_open = day > shard.closed if brand.zone == UTC else day > brand.closed and ends > shard.late_from
    takes = now - ends < shard.grace_minutes * MINUTE_MS and is_open
    return day if takes and occurred is not None and starts <= occurred < ends else day + 1


def take_grace(shard: Shard, minutes: int, clock: int) -> None:
    """A grace is published. From none it begins with the present day. Raises shard.NotReady."""
    now = shard.now(clock)
    if minutes == shard.grace_minutes:
        return
    if not shard.grace_minutes:
        shard.closed, shard.late_from = max(shard.closed, previous_day(now)[0]), now
    shard.grace_minutes, shard.kept_now = minutes, now


def keep_limits(owner: Brand | Campaign, limits: tuple[int | None, ...], now: int, with_grace: bool) -> None:
    """Before an owner's limits change: those that it had at the end of the day before. The catalog knows them without a grace."""
    day = previous_day(now, owner.zone)[0]
    owner.day_ends.setdefault(day, limits)
    if with_grace and (owner.limits_then is None or owner.limits_then[0] != day):
        owner.limits_then = (day, limits)


def limits_then(owner: Brand | Campaign, now: int) -> tuple[int | None, ...]:
    """The limits that an owner's plan had at the end of the day before."""
    return limits_at(owner.limits, owner.steps, previous_day(now, owner.zone)[2] - 1)


def bring_limits(owner: Brand | Campaign, before: Brand | Campaign | None, now: int) -> None:
    """A rebuild brings back the limits at the end of the day before, by the catalog. before: the owner before it."""
    day = previous_day(now, owner.zone)[0]
    owner.day_ends = before.day_ends if before is not None else {}
    then = owner.day_ends.get(day, owner.limits)
    owner.limits_then = (day, then) if then != owner.limits else None


def bring_closed(brand: Brand, before: Brand | None, now: int, with_grace: bool) -> None:
    """A rebuild brings back the last day of a brand with a zone that takes no late spends: no day before its first one does."""
    brand.born_ms, brand.total = (before.born_ms, before.total) if before is not None else (now, 0)
    if with_grace and brand.zone != UTC:
        day = previous_day(now, brand.zone)[0]
        brand.closed = max(day if brand.total >= day else day - 1, brand.zone.day_of(brand.born_ms) - 1)


def refusal_then(brand: Brand, campaign: Campaign, micros: int, day: int, now: int) -> tuple[str, ...]:
    """Why a late spend may not be made: its campaign may not run now, or a budget has no room in the period of its day. Holds
    take their part of periods that go on.
    """
    present, causes = periods_of(now, brand.zone), []
    held = {brand.brand_id: brand.held, campaign.campaign_id: brand.held_by(campaign.campaign_id)}
    for owner in (brand, campaign):
        then = owner.limits_then[1] if owner.limits_then and owner.limits_then[0] == day else limits_then(owner, now)
        # What follows the day and the month is of no period, and goes on.
        for place, budget in enumerate(owner.budgets(now)):
            period = periods_of(day_start_ms(day))[place] if place < len(present) else None
            if period is None or period == present[place]:
                fits = budget.allows(held[owner.owner_id] + micros)
            else:
                limit = then[place]
                if place == 0 and isinstance(owner, Brand) and owner.cap is not None:
                    before = owner.carry(now).before
                    # What was carried into the present day is not left of the day before.
                    limit = limit if before is None else max(0, before - owner.carried(now))
                fits = budget._replace(limit=limit, spent=owner.spent[period]).allows(micros)
            causes += [] if fits else [budget.cause]
    return in_order(switched_off(brand, campaign, now) + tuple(causes))
