"""Refunds: an opposite entry, once for an event id (or for each refund id of it), that belongs to the day of its spend.

While that day is today, both counters go down; later in the same month the month's only, because a closed day never changes; after that none.
All refunds of an event together are at most its spend, and none takes a counter below 0. Of an event that is forgotten the log decides.
"""

from __future__ import annotations

from engine.domain.flights import flight_field
from engine.domain.ids import brand_of
from engine.domain.periods import day_start_ms
from engine.domain.refunds import WHY
from tests.model.answers import (
    CONFLICT,
    PENDING,
    REFUNDED,
    REFUSED,
    UNKNOWN_CAMPAIGN,
    UNKNOWN_EVENT,
    Answer,
)
from tests.model.journal import Asked, Entry, Row
from tests.model.plan import LIFETIME, keep_rate, periods_of
from tests.model.shard import Refunded, Shard, event_name, refund_name

_ASKS = "asks"
_OUTCOMES = {"k": REFUNDED, "w": PENDING, "c": CONFLICT, "x": REFUSED, "n": UNKNOWN_EVENT, "u": UNKNOWN_CAMPAIGN}


def refund(
    shard: Shard,
    campaign_id: int,
    micros: int,
    event_id: str,
    told_day: int | None,
    clock: int,
    refund_id: str | None = None,
) -> Answer:
    """One refund. told_day: the day of the spend, for where its event is forgotten. Raises shard.NotReady."""
    now = shard.now(clock)
    if campaign_id not in shard.campaigns:
        return shard.answer(campaign_id, UNKNOWN_CAMPAIGN, now)
    shard.named([campaign_id], now)
    code, day, flight = _judge(shard, campaign_id, micros, event_id, told_day, now, refund_id)
    if not code:
        give_back(shard, campaign_id, micros, event_id, day, now, refund_id, flight)
    elif code == _ASKS:
        code = "w"
        asked = Asked(campaign_id, event_id, micros, day, refund_id)
        shard.append(Entry(shard.n + 1, now, asked=(asked,)))
        name = refund_name(event_name(campaign_id, event_id), refund_id)
        shard.refunds.remember(name, Refunded(campaign_id, micros, "w"), now)
        shard.kept_now = now
    return shard.answer(campaign_id, _OUTCOMES[(code or "k")[0]], now, detail=WHY.get(code, ""))


def _judge(
    shard: Shard, campaign_id: int, micros: int, event_id: str, told_day: int | None, now: int, refund_id: str | None
) -> tuple[str, int, int | None]:
    """The outcome where no money moves; else "", the day of the spend, and the counter of its flight."""
    event = event_name(campaign_id, event_id)
    before, spend = shard.refunds.recall(refund_name(event, refund_id), now), shard.events.recall(event, now)
    if before is not None:
        same = before[:2] == (campaign_id, micros)
        if before.state in ("", "w"):
            return (before.state or "k") if same else "ca" if before.campaign_id == campaign_id else "cc", 0, None
        if same:
            return before.state, 0, None
        # A refusal of the log uses up nothing: with other content it is asked for afresh.
    if spend is not None:
        if spend.campaign_id != campaign_id:
            return "cc", 0, None
        if (shard.refunded.recall(event, now) or 0) + micros > spend.micros:
            return "cm", 0, None
        return too_small(shard, campaign_id, micros, spend.day, now, spend.flight), spend.day, spend.flight
    if told_day is None:
        return "n", 0, None
    return too_small(shard, campaign_id, micros, told_day, now, None) or _ASKS, told_day, None


def too_small(shard: Shard, campaign_id: int, micros: int, day: int, now: int, flight: int | None) -> str:
    """Which open counter is smaller than an amount of a day; "" where none is."""
    brand, campaign = shard.brands[brand_of(campaign_id)].spent, shard.campaigns[campaign_id].spent
    today = periods_of(now, shard.brands[brand_of(campaign_id)].zone)
    for code, period in zip(("xd", "xm"), periods_of(day_start_ms(day)), strict=True):
        if period in today and campaign[period] < micros:
            return code
    life = shard.campaigns[campaign_id]
    if life.limits.lifetime is not None and life.spent[LIFETIME] < micros:
        return "xl"
    if flight is not None and campaign[flight_field(flight)] < micros:
        return "xl"
    below = (period for period in periods_of(day_start_ms(day)) if period in today and brand[period] < micros)
    return "xb" if any(below) else ""


def give_back(
    shard: Shard,
    campaign_id: int,
    micros: int,
    event_id: str,
    day: int,
    now: int,
    refund_id: str | None,
    flight: int | None,
) -> None:
    """Lowers the open counters of a day, and writes the refund down."""
    event, (brand,) = event_name(campaign_id, event_id), shard.named([campaign_id], now)
    today = periods_of(now, brand.zone)
    for owner in (brand, shard.campaigns[campaign_id]):
        if owner.begun or owner.rate:
            keep_rate(owner, now)
    with shard.watching([brand], now) as changes:
        for period in periods_of(day_start_ms(day)):
            if period in today:
                brand.spent[period] -= micros
                shard.campaigns[campaign_id].spent[period] -= micros
        shard.campaigns[campaign_id].spent[LIFETIME] -= micros
        if flight is not None:
            shard.campaigns[campaign_id].spent[flight_field(flight)] -= micros
    kind = "refund" if day == brand.zone.day_of(now) else "correction"
    row = Row(0, campaign_id, -micros, event_id, kind, None, day, refund_id, flight)
    shard.append(Entry(shard.n + 1, now, rows=(row,), changes=frozenset(changes)))
    shard.refunds.remember(refund_name(event, refund_id), Refunded(campaign_id, micros), now)
    shard.refunded.remember(event, (shard.refunded.recall(event, now) or 0) + micros, now)
    shard.kept_now = now
