"""The cases of `benchmarks.stalls` for holds, leases, refunds, corrections and rebuilds: each script's largest call."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from benchmarks.catalog_of_size import always_open
from engine.client.batches import MAX_BRANDS_A_CALL
from engine.client.leases.calls import COUNTED, asks_draw, asks_lease, read_draw
from engine.client.spends import Spend
from engine.domain.ids import SHARDS, campaign_id_of, shard_of
from engine.domain.periods import day_of
from engine.domain.schedule import Schedule
from engine.live.keys import keys_of_brand
from engine.live.published_plans import BrandPlan, CampaignPlan
from engine.live.repair import adjust
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call
from engine.wiring import System

Case = tuple[str, str, Callable[[], object]]
"""The script, the size of its call, and the call."""

DUE: Final = 200
"""How many holds of a brand expire at once."""
_TTL_MS: Final = 60_000


def cases_of_holds(system: System, brand: int, campaigns: Sequence[int]) -> list[Case]:
    """The cases on a brand without limits and its campaigns."""
    live, client, keys = system.live, system.client, keys_of_brand(brand)
    part, names = always_open(campaigns)[:100], count()
    plan = (*keys.fixed, keys.brand(brand), *map(keys.campaign, part), *keys.holds(brand))

    def operations(verb: str, serial: int) -> str:
        rest = {"R": f"1000,{_TTL_MS}", "S": "900,"}[verb]
        return "".join(f"{verb},{campaign},h{serial},{rest};" for campaign in part)

    def reserve() -> None:
        _holds(system, plan, operations("R", next(names)), b"a")

    def settle() -> None:
        serial = next(names)
        for verb, outcome in (("R", b"a"), ("S", b"s")):
            _holds(system, plan, operations(verb, serial), outcome)

    def draw(size: int) -> None:
        lease = uuid.uuid4().hex
        live.call_all([asks_lease(part[0], lease, 10 * size, _TTL_MS, 1)])
        assert read_draw(live.call_all([asks_draw(part[0], lease, 1, [5] * size, 0)])[0]) == COUNTED

    def refund() -> None:
        event = uuid.uuid4().hex
        client.record_spend(part[0], amount_micros=5, event_id=event)
        assert client.refund(part[0], event_id=event, amount_micros=5).outcome == "refunded"

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
        ("probe", "100 campaigns", lambda: live.call_all([Call(script("probe"), plan, (LAYOUT,))])),
        ("read_watched", "100 campaigns", lambda: live.call_all([Call(script("read_watched"), (keys.shard, keys.brand(brand), *map(keys.campaign, part)), (LAYOUT,))])),
    ]  # fmt: skip


def _holds(system: System, plan: Sequence[str], operations: str, outcome: bytes) -> None:
    """Calls `holds` and asserts the outcome of each operation, because a refused one would measure something else."""
    (reply,) = system.live.call_all([Call(script("holds"), plan, (LAYOUT, operations))])
    assert reply[0] == b"ok" and set(reply[1].split(b",")) == {outcome}, f"not all {outcome!r}: {reply[:2]}"


def _reserve_shortly(system: System, brand: int, campaign: int) -> None:
    """Reserves DUE holds that expire after a millisecond, and waits until they have."""
    keys = keys_of_brand(brand)
    plan = (*keys.fixed, keys.brand(brand), keys.campaign(campaign), *keys.holds(brand))
    body = "".join(f"R,{campaign},{uuid.uuid4().hex},1000,1;" for _ in range(DUE))
    _holds(system, plan, body, b"a")
    ends = system.live.now_ms() + 2
    while system.live.now_ms() <= ends:
        pass


def cases_of_rebuild(system: System, brand: int) -> list[Case]:
    """The rebuild of a shard that has the data of all previous cases."""
    shard = shard_of(brand)

    def rebuild() -> None:
        system.persister.drain_all()
        system.rebuilder.rebuild([shard])

    return [
        (name, "a shard of 400 campaigns and what was remembered", rebuild)
        for name in ("rebuild_begin", "rebuild_set", "rebuild_finish")
    ]


def cases_of_many_brands(system: System, brand: int) -> list[Case]:
    """A try call for as many brands of a shard as a call may have, each with expired holds.

    These brands are in Redis only, so nothing may be persisted or rebuilt after this case.
    """
    brands = [brand + SHARDS * (i + 1) for i in range(MAX_BRANDS_A_CALL)]
    campaigns = [campaign_id_of(id_, 1) for id_ in brands]

    def ask() -> None:
        for id_, campaign in zip(brands, campaigns, strict=True):
            plan = CampaignPlan(campaign, 1, True, False, Schedule(), True)
            system.live.publish(system.instance, BrandPlan(id_, 1, None, None, False, True), [plan])
            _reserve_shortly(system, id_, campaign)
        answers = system.client.try_spends([Spend(campaign, amount_micros=5) for campaign in campaigns])
        assert {answer.outcome for answer in answers} == {"accepted"}, answers[:2]

    return [("try_spends", f"{len(brands)} brands, each with {DUE} holds past their time", ask)]
