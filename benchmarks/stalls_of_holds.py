"""What `benchmarks.stalls` measures of holds, leases, refunds, corrections and rebuilds: each script at its largest call."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from engine.domain.ids import SHARDS, campaign_id_of, shard_of
from engine.domain.periods import day_of
from engine.domain.schedule import Schedule
from engine.live.admin import BrandPlan, CampaignPlan
from engine.live.batches import MAX_BRANDS_A_CALL, Spend
from engine.live.keys import keys_of_brand
from engine.live.leases.calls import asks_draw, asks_lease
from engine.live.repair import adjust
from engine.live.scripts import LAYOUT, script
from engine.live.wire import Call
from engine.wiring import System

Case = tuple[str, str, Callable[[], object]]
"""The script, how large its call is, and the call."""

DUE: Final = 200
"""Holds of a brand that are past their time at once."""
_TTL_MS: Final = 60_000


def cases_of_holds(system: System, brand: int, campaigns: Sequence[int]) -> list[Case]:
    """On a brand without limits and its campaigns."""
    live, client, keys = system.live, system.client, keys_of_brand(brand)
    part, names = list(campaigns[:100]), count()
    plan = (*keys.fixed, keys.brand(brand), *map(keys.campaign, part), *keys.holds(brand))

    def operations(verb: str, serial: int) -> str:
        rest = {"R": f"1000,{_TTL_MS}", "S": "900,"}[verb]
        return "".join(f"{verb},{campaign},h{serial},{rest};" for campaign in part)

    def reserve() -> None:
        live.call_all([Call(script("holds"), plan, (LAYOUT, operations("R", next(names))))])

    def settle() -> None:
        serial = next(names)
        live.call_all([Call(script("holds"), plan, (LAYOUT, operations(verb, serial))) for verb in "RS"])

    def draw(size: int) -> None:
        lease = uuid.uuid4().hex
        live.call_all([asks_lease(part[0], lease, 10 * size, _TTL_MS, 1)])
        live.call_all([asks_draw(part[0], lease, 1, [5] * size, 0)])

    def refund() -> None:
        event = uuid.uuid4().hex
        client.record_spend(part[0], amount_micros=5, event_id=event)
        client.refund(part[0], event_id=event, amount_micros=5)

    def correct() -> None:
        shard = shard_of(brand)
        now = live.read_shard(shard)
        adjust(live, system.instance, shard, keys.brand(brand), f"d:{day_of(now.now_ms)}", 1, uuid.uuid4().hex, now.n)

    def overdue() -> None:
        _reserve_shortly(system, brand, part[0])
        client.try_spend(part[0], amount_micros=5)

    return [
        ("holds", "100 reserved over 100 campaigns", reserve),
        ("holds", "100 settled over 100 campaigns", settle),
        ("lease", "one lease set", lambda: draw(1)),
        ("draw_spends", "1,000 spends of one lease", lambda: draw(1000)),
        ("try_spends", f"one spend where {DUE} holds are past their time", overdue),
        ("refund", "one refund", refund),
        ("adjust", "one correction", correct),
        ("read_shard", "one shard", lambda: live.read_shard(shard_of(brand))),
        ("read_watched", "100 campaigns", lambda: live.call_all([Call(script("read_watched"), (keys.shard, keys.brand(brand), *map(keys.campaign, part)), (LAYOUT,))])),
    ]  # fmt: skip


def _reserve_shortly(system: System, brand: int, campaign: int) -> None:
    """Holds that end after a millisecond, and the millisecond."""
    keys = keys_of_brand(brand)
    plan = (*keys.fixed, keys.brand(brand), keys.campaign(campaign), *keys.holds(brand))
    body = "".join(f"R,{campaign},{uuid.uuid4().hex},1000,1;" for _ in range(DUE))
    system.live.call_all([Call(script("holds"), plan, (LAYOUT, body))])
    ends = system.live.now_ms() + 2
    while system.live.now_ms() <= ends:
        pass


def cases_of_rebuild(system: System, brand: int) -> list[Case]:
    """The rebuild of a shard with all that the cases before have left in it."""
    shard = shard_of(brand)

    def rebuild() -> None:
        system.persister.drain_all()
        system.rebuilder.rebuild([shard])

    return [
        (name, "a shard of 400 campaigns and what was remembered", rebuild)
        for name in ("rebuild_begin", "rebuild_set", "rebuild_finish")
    ]


def cases_of_many_brands(system: System, brand: int) -> list[Case]:
    """A question to as many brands of a shard as a call may have, each with holds that are past their time. They are in Redis only: nothing may
    be persisted afterwards."""
    brands = [brand + SHARDS * (i + 1) for i in range(MAX_BRANDS_A_CALL)]
    campaigns = [campaign_id_of(id_, 1) for id_ in brands]
    for id_, campaign in zip(brands, campaigns, strict=True):
        plan = CampaignPlan(campaign, 1, True, False, Schedule(), True)
        system.live.publish(system.instance, BrandPlan(id_, 1, None, None, False, True), [plan])

    def ask() -> None:
        for id_, campaign in zip(brands, campaigns, strict=True):
            _reserve_shortly(system, id_, campaign)
        system.client.try_spends([Spend(campaign, amount_micros=5) for campaign in campaigns])

    return [("try_spends", f"{len(brands)} brands, each with {DUE} holds past their time", ask)]
