"""One odd value in Redis stops nothing but its own shard: no budget opens, every other shard goes on, and the shard heals by itself."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import NamedTuple

import pytest

from engine.domain.ids import SHARDS, shard_of
from engine.domain.periods import day_of, month_of
from engine.errors import BudgetError
from engine.flows.catalog.check import check_all
from engine.flows.persist.persister import DrainStats
from engine.jobs import persist_loop
from engine.live.keys import keys_of_brand, shard_keys
from engine.live.repair import probe_shards
from engine.views.doctor.examine import examine
from engine.wiring import System
from tests.faults.figures import Figures
from tests.faults.odd import ODD
from tests.flows.test_persist import rows
from tests.patience import in_time

EVERY = int(os.environ.get("TEST_ODD_EVERY", "4"))
"""Of the odd values of a field each fourth is planted, another fourth in the next field; `make odd` plants all."""
HEALS_S = 30.0
BUDGET = 10_000_000


class Plant(NamedTuple):
    """A value to be planted in a field of a key of each brand's shard. harmless: values that mean something there."""

    key: str
    field: str
    harmless: tuple[str, ...] = ()


SHARD = [Plant("shard", field) for field in ("mark", "layout", "now", "n", "adjusted_n")]
MEMORIES = [Plant("shard", f"{name}_{part}") for name in ("req", "ev") for part in ("active", "until", "window")]
BRAND = [
    Plant("brand", "v"),
    Plant("brand", "daily", ("",)),
    Plant("brand", "monthly", ("",)),
    Plant("brand", "archived"),
    Plant("brand", "held"),
    Plant("brand", "daily_at", ("",)),
    Plant("brand", "monthly_at", ("",)),
    # A number below zero is a difference, which verify and reconcile name.
    Plant("brand", "d", ("-1",)),
    Plant("brand", "m", ("-1",)),
]
CAMPAIGN = [
    Plant("campaign", "v"),
    Plant("campaign", "on"),
    Plant("campaign", "archived"),
    Plant("campaign", "schedule", ("",)),
    Plant("campaign", "d", ("-1",)),
    Plant("campaign", "m", ("-1",)),
]
NOTES = [
    Plant("shard", "catalog"),
    # A number of calls, for the metrics alone.
    Plant("shard", "count:recorded", ("-1",)),
]
OTHER = [Plant("registry", "brand"), Plant("holds", "hold"), Plant("requests", "request"), Plant("events", "event")]
TABLE = [*SHARD, *MEMORIES, *BRAND, *CAMPAIGN, *OTHER, *NOTES]


class Shop:
    """A brand with a campaign in each shard but one, and one more that nobody harms."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.brands: dict[int, int] = {}
        for number in range(SHARDS):
            brand, campaign = self.made(f"brand {number}")
            self.brands[brand] = campaign
        self.good, *self.harmed = sorted(self.brands)
        for brand, campaign in self.brands.items():
            assert system.client.record_spend(campaign, "2", event_id=f"e{brand}", request_id=f"r{brand}")
            assert system.client.reserve(campaign, "1", 86_400, f"h{brand}")
        system.persister.drain_all()

    def made(self, name: str) -> tuple[int, int]:
        """A new brand with a campaign."""
        brand = self.system.manage.create_brand(name, BUDGET, 100 * BUDGET, None, "test").row.id
        return brand, self.system.manage.create_campaigns(brand, ["c"], "test")[0].id

    def place(self, plant: Plant, brand: int) -> tuple[str, str]:
        """The key and field of a plant in a brand's shard."""
        keys, campaign, plain = keys_of_brand(brand), self.brands[brand], self.system.hot_redis
        live = self.system.live.read_brand(brand, 1)
        day_ms = live.now_ms if live else self.system.live.now_ms()
        period = {"d": f"d:{day_of(day_ms)}", "m": f"m:{month_of(day_ms)}"}
        if plant.key == "brand":
            return keys.brand(brand), period.get(plant.field, plant.field)
        if plant.key == "campaign":
            return keys.campaign(campaign), period.get(plant.field, plant.field)
        if plant.key == "holds":
            return keys.holds(brand)[0], f"{campaign}:h{brand}"
        if plant.key == "registry":
            return keys.registry, str(brand)
        if plant.key in ("requests", "events"):
            field = f"r{brand}" if plant.key == "requests" else f"{brand}:e{brand}"
            pair = keys.requests if plant.key == "requests" else keys.events
            return next((key for key in pair if plain.hexists(key, field)), pair[0]), field
        return keys.shard, plant.field

    def calls(self, brand: int) -> None:
        """What bidders do: a question that no budget here can answer with yes, the first spend again, and its win notice again. None
        may raise anything but ours."""
        campaign, client = self.brands[brand], self.system.client
        with suppress(BudgetError):
            answer = client.try_spend(campaign, "15")
            assert answer.outcome in ("refused", "not_ready"), (brand, answer)
            again = client.record_spend(campaign, "2", event_id=f"e{brand}", request_id=f"r{brand}")
            assert again.outcome in ("recorded", "not_ready"), (brand, again)
            notice = client.record_spend(campaign, "2", event_id=f"e{brand}")
            assert notice.outcome in ("duplicate", "not_ready"), (brand, notice)


@contextmanager
def at_work(system: System) -> Iterator[DrainStats]:
    """The jobs of a worker: persist with its duties, and the look at every shard that the sweep takes each minute, here each second."""
    stop, total = threading.Event(), DrainStats()
    failures: list[BaseException] = []

    def run(work: object) -> None:
        try:
            work()  # type: ignore[operator]
        except BaseException as error:
            failures.append(error)

    def sweeps() -> None:
        while not stop.wait(1):
            probe_shards(system.live, [brand.id for brand in system.catalog.brands(include_archived=True)])

    loop = persist_loop(system)
    threads = [threading.Thread(target=run, args=(work,)) for work in (lambda: loop.run(stop.is_set, total), sweeps)]
    for thread in threads:
        thread.start()
    try:
        yield total
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []


@pytest.mark.long
def test_an_odd_value_in_any_field_opens_no_budget_and_its_shard_heals_by_itself_while_others_spend(
    ready: System,
) -> None:
    heals(ready, Shop(ready), TABLE)


def heals(ready: System, shop: Shop, table: list[Plant]) -> None:
    """Plants the odd values of a table, a shard each, until all shards are well again and every spend is counted once."""
    wanted = [
        (plant, odd)
        for at, plant in enumerate(table)
        for turn, odd in enumerate(ODD)
        if odd not in plant.harmless and (at + turn) % EVERY == 0
    ]
    counted, healed = 0, 0.0
    with at_work(ready):
        todo = iter(wanted)
        while part := list(islice(todo, len(shop.harmed))):
            planted = {
                brand: (*shop.place(plant, brand), odd) for brand, (plant, odd) in zip(shop.harmed, part, strict=False)
            }
            for key, field, odd in planted.values():
                ready.hot_redis.hset(key, field, odd)
            began = time.monotonic()
            sick = set(planted)
            while sick:
                assert in_time(time.monotonic() - began, HEALS_S), "\n".join(str(planted[b]) for b in sorted(sick))
                for brand in planted:
                    shop.calls(brand)
                assert ready.client.record_spend(shop.brands[shop.good], "0.001"), "a shard that nobody harmed"
                counted += 1
                states = {state.shard: state for state in ready.live.read_shards()}
                for brand in list(sick):
                    key, field, odd = planted[brand]
                    raw = odd if isinstance(odd, bytes) else odd.encode()
                    if states[shard_of(brand)].ready and ready.hot_redis.hget(key, field) != raw:
                        sick.discard(brand)
            healed = max(healed, time.monotonic() - began)
    # Not beside the job, which may have the cursor of a shard just then.
    ready.persister.drain_all()
    check_all(ready.publisher, ready.status)
    assert [str(check.findings) for check in ready.verifier.verify() if check.findings] == []
    assert rows(ready, "SELECT count(*), sum(amount_micros) FROM spend") == [
        (SHARDS + counted, SHARDS * 2_000_000 + counted * 1_000)
    ]
    assert ready.client.status(shop.brands[shop.good])
    print(Figures(len(wanted), 0, 0, more=f"odd values; slowest healing {healed:.1f} s"))


def test_doctor_verify_and_pages_name_a_shard_with_an_odd_number_and_never_die_of_it(ready: System) -> None:
    brand = ready.manage.create_brand("one", BUDGET, None, None, "test").row.id
    shard = shard_of(brand)
    for odd in ODD:
        ready.hot_redis.hset(shard_keys(shard).shard, "n", odd)
        assert [state.shard for state in ready.live.read_shards() if not state.ready] == [shard]
        told = [finding for check in ready.verifier.verify() for finding in check.findings]
        assert any(f"shard {shard}" in line for line in told), (odd, told)
        found = list(examine(ready.settings, lambda _: ()))
        assert [f.state for f in found if f.name == "shards"] == ["fail"], (odd, found)
        assert len(ready.rebuilder.rebuild_missing()) == 1
