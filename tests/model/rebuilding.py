"""Rebuild: everything that is live follows from the plan and the journal, or it is not promised.

Counters are the journal's sum: a correction was never counted to its day, and to its month only while that was open. Open holds are those
without an end. Remembered are ids that came within one window; a call that moved no money left no entry, and is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from engine.domain.flights import flight_field
from engine.domain.ids import brand_of
from engine.domain.periods import MINUTE_MS, day_start_ms
from engine.domain.zone_text import UTC, Zone
from tests.model.decisions import APPROVED, REFUSED, WAITING, Ledger
from tests.model.journal import COUNTED, EARLIER, Entry, Row, Verdict
from tests.model.late import bring_closed, bring_limits
from tests.model.plan import LIFETIME, Brand, Campaign, Hold, periods_of
from tests.model.publishing import BrandPlan, CampaignPlan, put
from tests.model.rollover import Carry, walk
from tests.model.shard import Call, End, Refunded, Seen, Shard, event_name, hold_name, refund_name
from tests.model.steps import limits_at


def counted_in(entry: Entry, row: Row) -> Iterator[str]:
    """The periods whose counters a row moved."""
    day, month = periods_of(day_start_ms(row.day))
    today, this_month = periods_of(entry.ms + dict(entry.zones).get(brand_of(row.campaign_id), 0))
    # A late spend moved those of its day, also where they were over.
    if day == today or row.kind == "spend":
        yield day
    if month == this_month or row.kind == "spend":
        yield month


History = Sequence[tuple[int, BrandPlan]]
"""The catalog's plans of a brand, each with the instant from which on it was there."""


def rebuild(
    shard: Shard,
    brands: Sequence[BrandPlan],
    campaigns: Sequence[CampaignPlan],
    catalog: Mapping[int, History],
    ledger: Ledger,
    clock: int,
) -> None:
    """Makes the shard from the plan and from its journal, and opens the next generation with a mark. catalog: by brand."""
    # Time goes on from the last row, and from the last entry where the stream still stands.
    last_row = max(clock, *(entry.ms for entry in shard.journal if entry.rows), 0)
    now = last_row if shard.wiped or not shard.journal else max(last_row, shard.journal[-1].ms)
    brands_before, campaigns_before = shard.brands, shard.campaigns
    shard.brands, shard.campaigns = {}, {}
    for memory in (shard.requests, shard.events, shard.refunds, shard.refunded, shard.ends):
        memory.forget_all()
    for plan in brands:
        put(shard, plan, [])
    put(shard, None, campaigns)
    for brand in shard.brands.values():
        brand.limits_then = _limits_then(brand, catalog[brand.brand_id], now)
        bring_closed(brand, brands_before.get(brand.brand_id), now, bool(shard.grace_minutes))
    for campaign in shard.campaigns.values():
        bring_limits(campaign, campaigns_before.get(campaign.campaign_id), now)
    # What a rebuild calculated is in the log too, under the number of its mark.
    told = list(shard.restored)
    for entry in shard.journal:
        _count(shard, entry)
        told += [(entry.n, brand_id, Carry(*carry)) for brand_id, *carry in entry.carries]
        _in_minute(shard, entry, last_row)
        _hold(shard, entry)
        _remember(shard, entry, last_row, now)
        for trip in entry.trips:
            # One that a person closed since is of an earlier round.
            if (campaign := shard.campaigns[trip.campaign_id]).brake.round <= trip.round:
                campaign.broken_ms = entry.ms
    told.sort(key=lambda of: of[0])
    for brand in shard.brands.values():
        if brand.cap is not None:
            known = [carry for _, brand_id, carry in told if brand_id == brand.brand_id]
            brand.kept = brand.opened = _carry(brand, known, catalog[brand.brand_id], now)
            shard.restored.append((shard.n + 1, brand.brand_id, brand.kept))
    for name, refund in ledger.refunds.items():
        of_shard = brand_of(refund.asked.campaign_id) in shard.brands
        recent = refund.state == REFUSED and refund.order[0] >= last_row - shard.events.window_ms
        if of_shard and (recent or refund.state in (WAITING, APPROVED)):
            kept = Refunded(refund.asked.campaign_id, refund.asked.micros, refund.cause or "w")
            shard.refunds.remember(name, kept, now)
    # Late spends go on to count to the day before, as long as the log has not closed it.
    shard.closed = max([shard.total, *(brand.total for brand in shard.brands.values() if brand.zone == UTC)])
    if shard.grace_minutes:
        shard.late_from = 0
    shard.generation += 1
    shard.marked, shard.wiped, shard.kept_now = True, False, now
    shard.append(Entry(shard.n + 1, now, generation=shard.generation))


def _carry(brand: Brand, told: Sequence[Carry], history: History, now: int) -> Carry:
    """The carry of the present day, from the last that is told, with the plans that the catalog had at the end of each day. A rollover that was
    switched on since then begins on that day. history: those plans, each with the instant from which on it was the catalog's.
    """
    day = brand.zone.day_of(now)
    began = [(at, plan) for (at, plan), before in zip(history, (None, *history), strict=False) if _begins(plan, before)]
    on = min(day, Zone.parse(began[-1][1].zone).day_of(began[-1][0])) if began else day
    last = next((carry for carry in reversed(told) if carry.day <= day), None)
    carry = last if last is not None and last.day >= on else Carry(on, 0, None)
    while carry.day < day:
        ends = _ends_ms(history, carry.day)
        then = next(plan for at, plan in reversed(history) if at < ends)
        limits, cap = (then.daily_limit, then.monthly_limit), then.rollover_cap or 0
        zone = Zone.parse(next(plan.zone for at, plan in reversed(history) if at <= ends))
        carry = walk(carry, carry.day + 1, cap, limits, then.steps, brand.spent, zone)
    return carry


def _limits_then(brand: Brand, history: History, now: int) -> tuple[int, tuple[int | None, ...]] | None:
    """The limits at the end of the day before, where they were others."""
    day = brand.zone.day_of(now) - 1
    ends = brand.zone.midnight_ms(day + 1)
    then = next((plan for at, plan in reversed(history) if at < ends), history[0][1])
    limits = limits_at((then.daily_limit, then.monthly_limit), then.steps, ends - 1)
    return (day, limits) if limits != brand.limits else None


def daily_at_end(history: History, day: int) -> int | None:
    """The daily budget that a brand had when a day of it ended."""
    ends = _ends_ms(history, day)
    then = next((plan for at, plan in reversed(history) if at < ends), history[0][1])
    return limits_at((then.daily_limit, then.monthly_limit), then.steps, ends - 1)[0]


def _begins(plan: BrandPlan, before: tuple[int, BrandPlan] | None) -> bool:
    return plan.rollover_cap is not None and (before is None or before[1].rollover_cap is None)


def _ends_ms(history: History, day: int) -> int:
    """When a day ended, by the last plan that was there by then: the text of a later one may not know it."""
    ends = ((at, Zone.parse(plan.zone).midnight_ms(day + 1)) for at, plan in reversed(history))
    return next(ms for at, ms in ends if at <= ms)


def _count(shard: Shard, entry: Entry) -> None:
    for row in entry.rows:
        for period in counted_in(entry, row):
            shard.brands[brand_of(row.campaign_id)].spent[period] += row.micros
            shard.campaigns[row.campaign_id].spent[period] += row.micros
        shard.campaigns[row.campaign_id].spent[LIFETIME] += row.micros
        if row.flight is not None:
            shard.campaigns[row.campaign_id].spent[flight_field(row.flight)] += row.micros


def _in_minute(shard: Shard, entry: Entry, now: int) -> None:
    """What the minute of `now` spent; nothing that was given back is taken off it."""
    if entry.ms // MINUTE_MS == now // MINUTE_MS:
        for row in entry.rows:
            for owner in (shard.brands[brand_of(row.campaign_id)], shard.campaigns[row.campaign_id]):
                if owner.pace or (isinstance(owner, Campaign) and owner.brake.round):
                    owner.minute = (now // MINUTE_MS, owner.in_minute(now) + max(row.micros, 0))


def _hold(shard: Shard, entry: Entry) -> None:
    for step in entry.steps:
        holds = shard.brands[brand_of(step.campaign_id)].holds
        if step.expires_ms is not None:
            holds[step.campaign_id, step.hold_id] = Hold(step.held, step.expires_ms)
        else:
            holds.pop((step.campaign_id, step.hold_id), None)


def _remember(shard: Shard, entry: Entry, until: int, now: int) -> None:
    if entry.content and entry.ms >= until - shard.requests.window_ms:
        counted = Verdict(COUNTED)
        verdicts = tuple(counted if verdict.word == EARLIER else verdict for verdict in entry.verdicts)
        # Of a call that was counted whole nothing says any more whether it stated or asked: both verbs are answered.
        call = (
            Call(entry.verb, entry.content, verdicts)
            if verdicts
            else Call("", entry.content, (counted,) * len(entry.content))
        )
        shard.requests.remember(entry.request_id, call, now)
    if entry.ms < until - shard.events.window_ms:
        return
    for row in entry.rows:
        if row.event_id is not None:
            name = event_name(row.campaign_id, row.event_id)
            if row.micros < 0:
                shard.refunds.remember(refund_name(name, row.refund_id), Refunded(row.campaign_id, -row.micros), now)
                shard.refunded.remember(name, (shard.refunded.recall(name, now) or 0) - row.micros, now)
            else:
                shard.events.remember(name, Seen(row.campaign_id, row.micros, row.day, row.flight), now)
    for step in entry.steps:
        if step.state != "open":
            end = End(step.state, step.held, step.settled)
            shard.ends.remember(hold_name(step.campaign_id, step.hold_id), end, now)
