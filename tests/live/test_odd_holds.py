"""A sum on hold that does not fit its holds never opens a budget: the shard is out of use, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine import BudgetClient
from engine.live.keys import keys_of_brand
from engine.live.replies import head
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call
from tests.live.plant import BRAND, CAMPAIGN, Plant

KEYS = keys_of_brand(BRAND)
HOLDS, EXPIRY = KEYS.holds(BRAND)
ONE, LEASE = f"{CAMPAIGN}:one", f"{CAMPAIGN}:mine"


DRAWN = bytes((1, 4, 0)) + (1_500_000).to_bytes(4, "little")
"""One spend, packed."""


def asked(plant: Plant, name: str, *args: str | bytes) -> str:
    keys = (*KEYS.fixed, KEYS.brand(BRAND), HOLDS, EXPIRY, KEYS.campaign(CAMPAIGN))
    return head(plant.live.call_all([Call(script(name), keys, (LAYOUT, *args))])[0])


CALLS: dict[str, Callable[[Plant], str]] = {
    "settle": lambda plant: asked(plant, "holds", f"S,{CAMPAIGN},one,5000000,;"),
    "release": lambda plant: asked(plant, "holds", f"L,{CAMPAIGN},one,,;"),
    "release, then reserve": lambda plant: asked(plant, "holds", f"L,{CAMPAIGN},one,,;R,{CAMPAIGN},two,9000000,60000;"),
    "refill a lease": lambda plant: asked(plant, "lease", str(CAMPAIGN), "mine", "9000000", "60000", "7"),
    "end a lease": lambda plant: asked(plant, "lease", str(CAMPAIGN), "mine", "0", "60000", "8"),
    "draw": lambda plant: asked(plant, "draw_spends", "r-1", f"{CAMPAIGN},1500000,1;", DRAWN, "mine", ""),
}
SWEEPS: dict[str, Callable[[Plant], str]] = {
    **CALLS,
    "sweep": lambda plant: asked(plant, "holds", f"E,{CAMPAIGN},,,;"),
    "reserve": lambda plant: asked(plant, "holds", f"R,{CAMPAIGN},two,1000000,60000;"),
}
PLANTS: dict[str, tuple[Callable[[Any], Any], dict[str, Callable[[Plant], str]]]] = {
    "no sum": (lambda plain: plain.hdel(KEYS.brand(BRAND), "held"), SWEEPS),
    "a sum of nothing": (lambda plain: plain.hset(KEYS.brand(BRAND), "held", 0), SWEEPS),
    "a sum below each hold": (lambda plain: plain.hset(KEYS.brand(BRAND), "held", 1), CALLS),
    "holds of a fortune": (
        lambda plain: plain.hset(HOLDS, mapping=dict.fromkeys((ONE, LEASE), "9" * 15 + ",9000000000000")),
        CALLS,
    ),
    "an end in the sweep before its own": (lambda plain: plain.zadd(EXPIRY, {ONE: 1}), SWEEPS),
    "an end without its hold": (lambda plain: plain.zadd(EXPIRY, {f"{CAMPAIGN}:ghost": 1}), SWEEPS),
}


@pytest.mark.parametrize("planted", PLANTS)
def test_a_sum_that_does_not_fit_its_holds_takes_the_shard_out_of_use_and_writes_nothing(
    plant: Plant, client: BudgetClient, planted: str
) -> None:
    plain, (spoil, calls) = plant.plain, PLANTS[planted]
    plant.brand(daily="10")
    assert client.reserve(CAMPAIGN, "5", 3600, "one")
    assert asked(plant, "lease", str(CAMPAIGN), "mine", "2000000", "60000", "1") == "ok"
    kept = {key: plain.dump(key) for key in plain.keys(f"{KEYS.shard[:-5]}*")}
    for name, call in calls.items():
        spoil(plain)
        before = [plain.dump(key) for key in (KEYS.brand(BRAND), HOLDS, EXPIRY, KEYS.journal)]
        assert call(plant) == "not_ready", name
        assert plain.hget(KEYS.shard, "mark") is None
        assert [plain.dump(key) for key in (KEYS.brand(BRAND), HOLDS, EXPIRY, KEYS.journal)] == before, name
        for key, value in kept.items():
            plain.restore(key, 0, value, replace=True)
    assert [call(plant) for call in CALLS.values()] == ["ok"] * len(CALLS), "and without it each call is answered"
