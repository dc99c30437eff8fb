"""Leases: a hold that is set to an amount rather than made once, and drawn from by calls that state what was given out.

Its calls are numbered: one that is not above the last sets nothing. A draw is a fact: past the hold, or after its end, it is counted too. Neither
leaves an end in the memory, so a lease may be filled again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from engine.domain.causes import ORDER, PACING
from engine.domain.ids import brand_of
from tests.model.answers import CONFLICT, LATE, OVER, REFUSED, RELEASED, UNKNOWN_CAMPAIGN
from tests.model.journal import COUNTED, Entry, Row, Spend, Step, Verdict
from tests.model.pacing import gap
from tests.model.plan import Hold, ask, count, is_held_back, switched_off
from tests.model.shard import Call, Shard
from tests.model.spends import RECORD, TRY

GRANTED: Final = "granted"
PARTLY: Final = "partly"
ENDED: Final = "ended"
FORGOTTEN: Final = "forgotten"
CLOCKS_APART_MS: Final = 5000


class Granted(NamedTuple):
    """What is on hold after a call of a lease. reasons: of a refusal."""

    outcome: str
    held: int
    reasons: tuple[str, ...] = ()


class Leasing(NamedTuple):
    """One call that sets a lease: the micros that shall be on hold, 0 to end it, for how long, the call's number, and a
    typical amount of its spends, 0 where none is known.
    """

    campaign_id: int
    lease_id: str
    micros: int
    ttl_ms: int
    number: int
    least: int = 0


class Drawing(NamedTuple):
    """One call that draws from a lease. first_sent: the instant at which it was sent before, 0 when it never was."""

    campaign_id: int
    lease_id: str
    request_id: str
    micros: Sequence[int]
    first_sent: int = 0


def lease(shard: Shard, call: Leasing, clock: int) -> Granted:
    """Sets a lease. Raises shard.NotReady; nothing has changed then."""
    now = shard.now(clock)
    campaign = shard.campaigns.get(call.campaign_id)
    if campaign is None:
        return Granted(UNKNOWN_CAMPAIGN, 0)
    brand, name = shard.brands[brand_of(call.campaign_id)], (call.campaign_id, call.lease_id)
    steps = shard.expire([brand], now)
    hold = brand.holds.get(name)
    before = hold.held if hold else 0
    answer, after = Granted(GRANTED, before), before
    if hold is None or call.number > hold.number:
        others = brand.held - before
        lefts = {b.cause: b.remaining - others for b in brand.budgets(now) if b.remaining is not None}
        others = brand.held_by(call.campaign_id) - before
        lefts |= {b.cause: b.remaining - others for b in campaign.budgets(now) if b.remaining is not None}
        held_back = is_held_back(brand, campaign, now)
        own = ((brand.paced(now, brand.held - before)), campaign.paced(now, others))
        rooms = [max(gap(owner, now), call.least) for owner in own if owner]
        if held_back:
            rooms = [0]
        stopped = switched_off(brand, campaign, now)
        full = tuple(cause for cause, left in lefts.items() if left < call.micros) + (PACING,) * held_back
        after = call.micros
        answer = Granted(GRANTED, after)
        if call.micros == 0:
            answer = Granted(ENDED, 0)
        elif call.micros > before:
            after = before if stopped else max(before, min([call.micros, *lefts.values(), *rooms]))
            causes = tuple(cause for cause in ORDER if cause in stopped or cause in full)
            if after < call.micros:
                answer = Granted(REFUSED, after, causes) if stopped or not after else Granted(PARTLY, after)
        if after and (not stopped or after != before):
            brand.holds[name] = Hold(after, now + call.ttl_ms, call.number)
            steps.append(Step(*name, "open", after, 0, now + call.ttl_ms))
        elif before and not after:
            del brand.holds[name]
            steps.append(Step(*name, RELEASED, before))
    if steps:
        shard.append(Entry(shard.n + 1, now, steps=tuple(steps)))
    shard.kept_now = now
    return answer


def draw(shard: Shard, call: Drawing, clock: int) -> str:
    """Draws from a lease: `counted`, `conflict`, `forgotten` or `unknown_campaign`. Raises shard.NotReady; nothing has changed then."""
    now = shard.now(clock)
    content = tuple(Spend(call.campaign_id, micros) for micros in call.micros)
    known = shard.requests.recall(call.request_id, now)
    if known is None and call.first_sent and now - call.first_sent > shard.requests.window_ms - CLOCKS_APART_MS:
        return FORGOTTEN
    brands = shard.named([call.campaign_id], now)
    steps = shard.expire(brands, now)
    campaign = shard.campaigns.get(call.campaign_id)
    rows: list[Row] = []
    with shard.watching(brands, now) as changes:
        if known is None and campaign is not None:
            brand, name, total = brands[0], (call.campaign_id, call.lease_id), sum(call.micros)
            hold = brand.holds.pop(name, None)
            left = max(hold.held - total, 0) if hold else 0
            kind = LATE if hold is None else OVER if hold.held < total else "spend"
            if hold and left:
                brand.holds[name] = hold._replace(held=left)
                steps.append(Step(*name, "open", left, 0, hold.expires_ms))
            else:
                steps.append(Step(*name, RELEASED, 0))
            ask(brand, campaign, total, now)
            for position, micros in enumerate(call.micros):
                count(brand, campaign, micros, now)
                row = Row(position, call.campaign_id, micros, None, kind, call.lease_id, brand.zone.day_of(now))
                rows.append(row._replace(flight=campaign.counter(now)))
            verdicts = (Verdict(COUNTED),) * len(content)
            shard.requests.remember(call.request_id, Call(TRY if kind == "spend" else RECORD, content, verdicts), now)
    if steps:
        told = (call.request_id, "", content) if rows else ("", "", ())
        shard.append(
            Entry(shard.n + 1, now, *told, (), tuple(rows), tuple(steps), frozenset(changes), trips=shard.trips)
        )
    shard.kept_now = now
    if known is not None:
        return COUNTED if known.content == content else CONFLICT
    return COUNTED if campaign else UNKNOWN_CAMPAIGN
