"""The live state as the system under test: a real Redis, called through the bidders' client."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Final
from unittest import mock

import redis

from engine.client import batches
from engine.client.leases.calls import asks_draw, asks_lease, read_draw, read_grant
from engine.client.sync import BudgetClient
from engine.client.sync import Spend as ClientSpend
from engine.domain.causes import FLIGHT, PACING, reasons_of
from engine.domain.ids import SHARDS, brand_of, campaign_id_of
from engine.domain.periods import at_ms, date_of, day_of
from engine.domain.zone_text import Zone
from engine.errors import NotFound, NotReady
from engine.live import admin, published_plans
from engine.live.keys import keys_of_campaign
from engine.live.registry import stamps
from engine.live.replies import head, read_figures
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call, ConnectionPool
from tests.live.plant import mark
from tests.model import (
    Answer,
    BrandPlan,
    CampaignPlan,
    Drawing,
    Figures,
    Granted,
    Leasing,
    Operation,
    ReferenceModel,
    Spend,
)
from tests.model.plan import LIFETIME
from tests.twin.compare import RedisView, answer_of

_VERBS: Final = {"reserve": "R", "settle": "S", "release": "L", "sweep": "E"}
_CODES: Final = {
    "a": ("accepted", ""),
    "s": ("settled", ""),
    "o": ("settled", "over"),
    "t": ("settled", "late"),
    "l": ("released", ""),
    "e": ("expired", ""),
    "n": ("unknown_hold", ""),
    "c": ("conflict", ""),
    "u": ("unknown_campaign", ""),
    "w": ("swept", ""),
}


class LiveSide:
    """Two brands on one shard and one on another. Each example begins on marked, empty shards."""

    brands = (17, 17 + SHARDS, 18)
    strangers = (campaign_id_of(17, 9), campaign_id_of(17 + 3 * SHARDS, 1))
    shards = (17, 18)
    all_periods = True

    def __init__(self, plain: redis.Redis, wire: ConnectionPool, instance: str = "twin") -> None:
        self.plain = plain
        self.wire = wire
        self.instance = instance
        self._clock = 0
        self.client = BudgetClient(wire, timeout_ms=20_000)
        self.live = admin.LiveRedis(wire, 20.0)

    @property
    def own(self) -> list[int]:
        """Every campaign that may be published."""
        return [campaign_id_of(brand, ordinal) for brand in self.brands for ordinal in (1, 2, 3)]

    def begin(self, twin: ReferenceModel, clock: int) -> None:
        self.twin = twin
        self.view = RedisView(self.wire, self.shards, self.brands, self.own)
        self.plain.unlink(*self.view.keys())
        self.at(clock)
        for shard in self.shards:
            mark(self.live, self.instance, shard)
        twin.rebuild(self.shards, [], [], clock)

    def at(self, clock: int) -> None:
        self._clock = clock
        self.plain.set("test:clock", clock)

    def spend(self, verb: str, request_id: str, spends: list[Spend]) -> list[Answer]:
        if len(spends) == 1:
            ((campaign, micros, event, occurred),) = spends
            one = self.client.record_spend if verb == "record" else self.client.try_spend
            at = None if occurred is None else at_ms(occurred)
            answer = one(campaign, amount_micros=micros, event_id=event, request_id=request_id, occurred_at=at)
            return [answer_of(answer)]
        many = self.client.record_spends if verb == "record" else self.client.try_spends
        given = [
            ClientSpend(
                s.campaign_id, None, s.event_id, s.micros, None if s.occurred_ms is None else at_ms(s.occurred_ms)
            )
            for s in spends
        ]
        with mock.patch.object(batches, "today", return_value=str(day_of(self._clock))):
            return [answer_of(answer) for answer in many(given, request_id=request_id)]

    def hold(self, operation: Operation) -> Answer:
        verb, campaign, name, micros, ttl_ms = operation
        if verb == "reserve":
            ttl = timedelta(milliseconds=ttl_ms)
            return answer_of(self.client.reserve(campaign, ttl=ttl, hold_id=name, amount_micros=micros))
        hold_id = f"{campaign}:{name}"
        return answer_of(
            self.client.settle(hold_id, amount_micros=micros) if verb == "settle" else self.client.release(hold_id)
        )

    def operate(self, operations: list[Operation]) -> list[Answer]:
        """Calls the script directly, which takes many operations at once."""
        campaign = operations[0].campaign_id
        keys, brand = keys_of_campaign(campaign), brand_of(campaign)
        body = ""
        for verb, of_campaign, name, micros, ttl_ms in operations:
            money = str(micros) if verb in ("reserve", "settle") else ""
            body += f"{_VERBS[verb]},{of_campaign},{name},{money},{ttl_ms if verb == 'reserve' else ''};"
        plan = (keys.brand(brand), keys.campaign(campaign), *keys.holds(brand))
        reply = self.live.call_all([Call(script("holds"), (*keys.fixed, *plan), (LAYOUT, body))])[0]
        if head(reply) == "not_ready":
            return [Answer("not_ready", detail=reply[1].decode())] * len(operations)
        figures, masks = read_figures(reply)
        got = figures.get(brand)
        after = got and Figures(got.daily_spend, got.monthly_spend, got.daily_limit, got.monthly_limit)
        answers = []
        for code in reply[1].decode().split(","):
            word, noted = ("refused", "") if code[0] == "x" else _CODES[code]
            causes = reasons_of(int(code[1:]) if code[0] == "x" else masks.get(campaign, 0))
            by_clock = word == "refused" and causes in ((FLIGHT,), (PACING,))
            retry, rate = (
                (got.starts.get(campaign) if by_clock else None, got.rates.get(campaign)) if got else (None, None)
            )
            answers.append(Answer(word, causes, after, noted, retry_ms=retry, pass_ppm=rate or 1_000_000))
        return answers

    def lease(self, call: Leasing) -> Granted:
        asked = asks_lease(call.campaign_id, call.lease_id, call.micros, call.ttl_ms, call.number, call.least)
        grant = read_grant(self.wire.call(asked, 20.0))
        return Granted(grant.outcome, grant.held, grant.reasons)

    def draw(self, call: Drawing) -> str:
        number = int(call.request_id.rpartition("/")[2])
        return read_draw(
            self.wire.call(asks_draw(call.campaign_id, call.lease_id, number, call.micros, call.first_sent), 20.0)
        )

    def refund(
        self, campaign_id: int, micros: int, event_id: str, spent_day: int | None, refund_id: str | None
    ) -> Answer:
        on = None if spent_day is None else date_of(spent_day)
        given = self.client.refund(
            campaign_id, event_id=event_id, amount_micros=micros, spent_on=on, refund_id=refund_id
        )
        return answer_of(given)

    def publish(self, brand: BrandPlan, campaigns: list[CampaignPlan], create: set[int]) -> dict[int, int] | None:
        of_brand = published_plans.BrandPlan(
            *brand[:5], brand.brand_id in create, brand.pace, brand.zone, brand.steps, brand.paused, brand.rollover_cap
        )
        plans = [
            published_plans.CampaignPlan(
                *plan[:5],
                plan.campaign_id in create,
                plan.limits,
                None,
                plan.flights,
                plan.brake,
                plan.pace,
                plan.steps,
            )
            for plan in campaigns
        ]
        brought = self.live.bring(self.instance, of_brand, plans)
        if brought is None or not brought.uncounted:
            return brought and brought.ahead
        # There is no log here: the twin says what it would have of earlier months.
        month = Zone.parse(brand.zone).month_of(brought.now_ms)
        based = []
        for plan in plans:
            spent = self.twin.shard(plan.campaign_id).campaigns[plan.campaign_id].spent
            base = published_plans.LifetimeBase(spent[LIFETIME] - spent[f"m:{month}"], month, brought.n)
            based.append(dataclasses.replace(plan, base=base))
        again = self.live.bring(self.instance, of_brand, based)
        assert again is not None and not again.uncounted
        return brought.ahead | again.ahead

    def grace(self, minutes: int) -> None:
        stamps(self.live, self.instance, self.shards, grace_minutes=minutes)

    def status(self, campaign_id: int) -> tuple[str, ...] | str | None:
        try:
            return self.client.status(campaign_id).reasons
        except NotFound:
            return None
        except NotReady as why:
            return str(why).partition("(")[2].partition(")")[0]

    def check(self, twin: ReferenceModel) -> None:
        self.view.check(twin, all_periods=self.all_periods)
