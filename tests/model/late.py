"""Late spends: a spend of the previous day counts to that day, while its end is younger than the grace and it is not closed."""

from __future__ import annotations

from engine.domain.causes import in_order
from engine.domain.periods import MINUTE_MS, day_of, day_start_ms
from tests.model.journal import Spend
from tests.model.plan import Brand, Campaign, periods_of, switched_off
from tests.model.shard import Shard


def previous_day(now: int) -> tuple[int, int, int]:
    """The previous day: its number, and the instants at which it began and ended."""
    day = day_of(now) - 1
    return day, day_start_ms(day), day_start_ms(day + 1)


def booked_day(shard: Shard, spend: Spend, now: int) -> int:
    """The day to which a spend counts."""
    day, starts, ends = previous_day(now)
    occurred = spend.occurred_ms
    takes = now - ends < shard.grace_minutes * MINUTE_MS and day > shard.closed
    return day if takes and occurred is not None and starts <= occurred < ends else day + 1


def take_grace(shard: Shard, minutes: int, clock: int) -> None:
    """A grace is published. From none it begins with the present day. Raises shard.NotReady."""
    now = shard.now(clock)
    if minutes == shard.grace_minutes:
        return
    if not shard.grace_minutes:
        shard.closed = max(shard.closed, previous_day(now)[0])
    shard.grace_minutes, shard.kept_now = minutes, now


def keep_limits(owner: Brand | Campaign, limits: tuple[int | None, ...], now: int) -> None:
    """Before an owner's limits change: those that it had at the end of the day before."""
    day = previous_day(now)[0]
    if owner.limits_then is None or owner.limits_then[0] != day:
        owner.limits_then = (day, limits)


def refusal_then(brand: Brand, campaign: Campaign, micros: int, day: int, now: int) -> tuple[str, ...]:
    """Why a late spend may not be made: its campaign may not run now, or a budget has no room in the period of its day. Holds
    take their part of periods that go on.
    """
    present, causes = periods_of(now), []
    held = {brand.brand_id: brand.held, campaign.campaign_id: brand.held_by(campaign.campaign_id)}
    for owner in (brand, campaign):
        then = owner.limits_then[1] if owner.limits_then and owner.limits_then[0] == day else owner.limits
        # What follows the day and the month is of no period, and goes on.
        for place, budget in enumerate(owner.budgets(now)):
            period = periods_of(day_start_ms(day))[place] if place < len(present) else None
            if period is None or period == present[place]:
                fits = budget.allows(held[owner.owner_id] + micros)
            else:
                fits = budget._replace(limit=then[place], spent=owner.spent[period]).allows(micros)
            causes += [] if fits else [budget.cause]
    return in_order(switched_off(brand, campaign, now) + tuple(causes))
