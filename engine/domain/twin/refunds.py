"""Refunds: an opposite entry, once for an event id, that belongs to the day of its spend.

While that day is today, both counters go down; later in the same month the month's only, because a closed day never changes; after that none.
"""

from __future__ import annotations

from engine.domain.ids import brand_of
from engine.domain.periods import day_of, day_start_ms
from engine.domain.twin.answers import CONFLICT, REFUNDED, UNKNOWN_CAMPAIGN, UNKNOWN_EVENT, Answer
from engine.domain.twin.journal import Entry, Row
from engine.domain.twin.plan import periods_of
from engine.domain.twin.shard import Refunded, Shard, event_name


def refund(shard: Shard, campaign_id: int, micros: int, event_id: str, told_day: int | None, clock: int) -> Answer:
    """One refund. told_day: the day of the spend, for where its event is forgotten. Raises shard.NotReady."""
    now = shard.now(clock)
    if campaign_id not in shard.campaigns:
        return shard.answer(campaign_id, UNKNOWN_CAMPAIGN, now)
    name = event_name(campaign_id, event_id)
    before, spend = shard.refunds.recall(name, now), shard.events.recall(name, now)
    if before is not None:
        return shard.answer(campaign_id, REFUNDED if before == (campaign_id, micros) else CONFLICT, now)
    if spend is not None and (spend.campaign_id != campaign_id or micros > spend.micros):
        return shard.answer(campaign_id, CONFLICT, now)
    day = told_day if spend is None else spend.day
    if day is None:
        return shard.answer(campaign_id, UNKNOWN_EVENT, now)

    brand, today = shard.brands[brand_of(campaign_id)], periods_of(now)
    with shard.watching([brand], now) as changes:
        for period in periods_of(day_start_ms(day)):
            if period in today:
                brand.spent[period] -= micros
                shard.campaigns[campaign_id].spent[period] -= micros
    kind = "refund" if day == day_of(now) else "correction"
    row = Row(0, campaign_id, -micros, event_id, kind, None, day)
    shard.append(Entry(shard.n + 1, now, rows=(row,), changes=frozenset(changes)))
    shard.refunds.remember(name, Refunded(campaign_id, micros), now)
    shard.kept_now = now
    return shard.answer(campaign_id, REFUNDED, now)
