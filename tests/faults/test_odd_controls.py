"""One odd value in a field of zones, rollover, pacing, flights, brakes and steps opens no budget, and its shard heals by itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from engine.domain.brake import Brake
from engine.domain.budget import OwnLimits
from engine.domain.ids import shard_of
from engine.domain.pacing import Pacing
from engine.domain.periods import DAY_MS
from engine.flows.catalog.publish import Mended
from engine.flows.catalog.restored import TakenBack
from engine.flows.upkeep.look import Look
from engine.ledger import published
from engine.live.keys import keys_of_brand
from engine.live.repair import probe_shards
from engine.wiring import System
from tests.faults.odd import ODD
from tests.faults.test_odd_values import BUDGET, Plant, Shop, heals
from tests.flows.test_persist import brand_with_campaigns

SHARD = [Plant("shard", field) for field in ("grace", "closed", "late_from", "late_n")]
BRAND = [
    *(Plant("brand", field) for field in ("b", "n1", "n2", "p", "s", "own", "closed", "c1")),
    Plant("brand", "zone"),
]
OF_CAMPAIGN = (
    "x", "f1", "f2", "f", "p", "br", "bk", "s", "n1", "n2", "own_daily_at", "own_monthly_at", "lifetime_at", "c1",
)  # fmt: skip
HARMLESS = dict.fromkeys(("own_daily_at", "own_monthly_at", "lifetime_at"), ("",)) | {"f": ("-1",), "f2": ("",)}
"""Empty, these are not there; a next flight is so until the present one has ended, and takes its shard out of use then. Spend below zero is a difference, which verify and reconcile name."""
OTHERS = {
    ("brand", "zone"): ("-1", "0", "7200000"),
    ("brand", "daily"): ("90000000",),
    ("campaign", "f2"): (*ODD[1:], "1,1,5,6,7"),
    ("campaign", "x"): ("90000000::",),
}
"""Values in whose place others are right, and which no script can tell from these."""
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


def test_what_reads_well_and_is_another_than_the_catalog_s_is_named_by_verify_and_mended_by_the_next_looks(
    ready: System,
) -> None:
    shop, plain = Controlled(ready), ready.hot_redis
    looks = _looks(ready)
    looks()
    for number, (plant, others) in enumerate(OTHERS.items()):
        brand = shop.harmed[number]
        key, field = shop.place(Plant(*plant), brand)
        right = plain.hget(key, field)
        for other in others:
            plain.hset(key, field, other)
            shop.calls(brand)
            told = [str(finding) for check in ready.verifier.verify() for finding in check.findings]
            entity = f"{plant[0]} {brand if plant[0] == 'brand' else shop.brands[brand]} has "
            assert any(entity in line and "in Redis, the catalog says" in line for line in told), (plant, other, told)
            looks()
            ready.publisher.keep_published()
            assert plain.hget(key, field) == right, (plant, other)
    assert [check.findings for check in ready.verifier.verify() if check.findings] == []


def _looks(ready: System) -> Look:
    return Look(ready.live, ready.db, ready.catalog, ready.publisher, ready.windows.both_ms)


def test_a_look_takes_so_many_shards_that_a_big_catalog_costs_no_more_and_a_brand_of_very_many_campaigns_holds_nothing_up(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []

    def mend(shards: Sequence[int], *, lost: bool = False) -> Mended:
        seen.append(list(shards))
        return Mended(TakenBack(), 0)

    monkeypatch.setattr(ready.publisher, "mend", mend)
    looks = _looks(ready)
    for rows, looked in (
        ([0] * 64, [64]),
        ([15] * 64, [64]),
        ([100] * 64, [10] * 6 + [4]),
        ([5000] * 64, [1] * 64),
        ([65_536, *[10] * 63], [63]),
        ([*[10] * 63, 65_536], [63]),
        ([65_536] * 64, []),
    ):
        monkeypatch.setattr(published, "rows_by_shard", lambda connection, rows=rows: rows)
        del seen[:]
        for _ in looked or [0]:
            looks()
        assert list(map(len, seen)) == looked, rows
        at = [shard for part in seen for shard in part]
        assert at == [shard for shard in range(64) if rows[shard] < 65_536]


def test_rows_are_counted_by_shard(ready: System) -> None:
    brand, _ = brand_with_campaigns(ready, 3)
    other, _ = brand_with_campaigns(ready, 1, name="Borealis")
    with ready.db.connect() as connection:
        found = published.rows_by_shard(connection)
    assert found == [{brand: 4, other: 2}.get(shard, 0) for shard in range(64)]
