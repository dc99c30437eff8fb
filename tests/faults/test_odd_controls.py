"""One odd value in a field of zones, rollover, pacing, flights, brakes and steps opens no budget, and its shard heals by itself."""

from __future__ import annotations

import pytest

from engine.domain.brake import Brake
from engine.domain.budget import OwnLimits
from engine.domain.ids import shard_of
from engine.domain.pacing import Pacing
from engine.domain.periods import DAY_MS
from engine.flows.catalog.check import check_all
from engine.live.keys import keys_of_brand
from engine.live.repair import probe_shards
from engine.wiring import System
from tests.faults.test_odd_values import BUDGET, ODD, Plant, Shop, heals

SHARD = [Plant("shard", field) for field in ("grace", "closed", "late_from", "late_n")]
BRAND = [
    *(Plant("brand", field) for field in ("b", "n1", "n2", "p", "s", "own", "closed", "c1")),
    # An offset of a millisecond reads well, so no script can tell: the test below has what mends it.
    Plant("brand", "zone", ("-1",)),
]
OF_CAMPAIGN = (
    "x", "f1", "f", "p", "br", "bk", "s", "n1", "n2", "own_daily_at", "own_monthly_at", "lifetime_at", "c1",
)  # fmt: skip
HARMLESS = dict.fromkeys(("own_daily_at", "own_monthly_at", "lifetime_at"), ("",)) | {"f": ("-1",)}
"""Empty, these are not there. Spend below zero is a difference, which verify and reconcile name."""
TABLE = [
    *SHARD,
    *BRAND,
    Plant("brand", "h"),
    *(Plant("campaign", field, HARMLESS.get(field, ())) for field in OF_CAMPAIGN),
]


class Controlled(Shop):
    """Brands with a zone, rollover, pacing and a step; campaigns with budgets of their own, a flight, pacing, a step and a brake."""

    def __init__(self, system: System) -> None:
        # All of a day's budget is due after its first minute, whenever this runs.
        system.manage.put_curve("early", {0: ((0, 0), (60, 1_000_000), (86_100, 1_000_000))}, "test")
        super().__init__(system)

    def made(self, name: str) -> tuple[int, int]:
        manage, now = self.system.manage, self.system.live.now_ms()
        pacing = Pacing("custom:early", "asap")
        brand = manage.create_brand(name, BUDGET, 100 * BUDGET, None, "test", pacing, "Europe/Berlin", BUDGET).row.id
        limits = OwnLimits(BUDGET, 50 * BUDGET, None)
        campaign = manage.create_campaign(
            brand, "c", None, None, "test", limits, pacing, Brake(BUDGET, 9 * BUDGET)
        ).row.id
        for entity, owner in (("brand", brand), ("campaign", campaign)):
            manage.schedule_limit(
                entity, owner, "test", "daily", ("set", BUDGET // 2), now + 5 * DAY_MS, now + 6 * DAY_MS
            )
        manage.add_flight(campaign, "test", None, now + 9 * DAY_MS, 20 * BUDGET, False)
        return brand, campaign

    def place(self, plant: Plant, brand: int) -> tuple[str, str]:
        key, field = super().place(plant, brand)
        if field == "h":
            return key, f"h:{self.brands[brand]}"
        if field == "f":
            return key, "f:1"
        return key, field


@pytest.mark.long
def test_an_odd_value_in_any_field_of_a_control_opens_no_budget_and_its_shard_heals_by_itself(ready: System) -> None:
    heals(ready, Controlled(ready), TABLE)


def test_a_number_of_a_shard_that_calls_seldom_read_is_found_by_the_sweep_and_a_rebuild_writes_it_anew(
    ready: System,
) -> None:
    one = ready.manage.create_brand("one", BUDGET, None, None, "test", time_zone="Europe/Berlin").row.id
    keys, plain, shard = keys_of_brand(one), ready.hot_redis, shard_of(one)
    for key, field in (*((keys.shard, plant.field) for plant in SHARD), (keys.brand(one), "closed")):
        plain.hset(key, field, "0x10")
        assert probe_shards(ready.live, [one]) == {shard}, field
        assert [rebuilt.shard for rebuilt in ready.rebuilder.rebuild_missing()] == [shard], field
        assert probe_shards(ready.live, [one]) == set(), field
        assert plain.hget(key, field) != b"0x10"


def test_a_zone_that_reads_well_and_is_another_is_named_by_verify_and_mended_by_the_next_check(ready: System) -> None:
    brand = ready.manage.create_brand("one", BUDGET, None, None, "test", time_zone="Europe/Berlin").row.id
    key, plain = keys_of_brand(brand).brand(brand), ready.hot_redis
    right = plain.hget(key, "zone")
    for other in ("-1", "0", "7200000"):
        plain.hset(key, "zone", other)
        told = [str(finding) for check in ready.verifier.verify() for finding in check.findings]
        assert any(f"brand {brand} has time zone {other} in Redis" in line for line in told), told
        check_all(ready.publisher, ready.status)
        assert plain.hget(key, "zone") == right
    assert [check.findings for check in ready.verifier.verify() if check.findings] == []


def test_an_odd_next_flight_opens_no_budget_and_is_named_by_verify_and_mended_by_the_next_check(ready: System) -> None:
    shop = Controlled(ready)
    brand = shop.harmed[0]
    key, field = shop.place(Plant("campaign", "f2"), brand)
    for odd in (*ODD[1:], "1,1,5,6,7"):
        ready.hot_redis.hset(key, field, odd)
        shop.calls(brand)
        told = [str(finding) for check in ready.verifier.verify() for finding in check.findings]
        assert any(f"campaign {shop.brands[brand]} has next flight" in line for line in told), (odd, told)
        check_all(ready.publisher, ready.status)
        assert ready.hot_redis.hget(key, field) is None, odd
