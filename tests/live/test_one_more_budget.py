"""A budget or a gate that is added to its list alone holds on every path. In memory: the loader is given a longer list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final

import pytest

from engine.domain.periods import day_of
from engine.live.keys import keys_of_brand
from engine.live.packed import NAMED, VERSION, pack
from engine.live.scripts import LAYOUT, lua_folder, script, swapping
from engine.live.transport.pool import Call
from tests.live.plant import BRAND, CAMPAIGN, Plant

TOTAL: Final = "-- | total_budget   | brand | 16384  | total   | ''     | 'spent:total' | total_at   |"
FROZEN: Final = "-- | frozen   | 32768   | schedule == '1234567@0-1440'                          |"
OTHER: Final = CAMPAIGN + 1
BIT: Final = b"16384"

KEYS: Final = keys_of_brand(BRAND)
_fresh: Final = count()


def longer(piece: str, last: str, row: str) -> dict[str, str]:
    """A piece with one row more, after the last of its table."""
    lines = (lua_folder() / "lib" / piece).read_text(encoding="utf-8").splitlines()
    place = next(at for at, line in enumerate(lines) if line.startswith(f"-- | {last}"))
    return {f"lib/{piece}": "\n".join([*lines[: place + 1], row, *lines[place + 1 :]]) + "\n"}


@pytest.fixture
def total(plant: Plant) -> Iterator[Plant]:
    """Of a brand's total budget 100 micros are left; its day and its month have room."""
    with swapping(longer("budgets.lua", "monthly_budget", TOTAL)):
        plant.brand(daily="10", monthly="100")
        plant.campaign(OTHER)
        plant.plain.hset(plant.key(), mapping={"total": "1000", "spent:total": "900"})
        yield plant


@pytest.fixture
def frozen(plant: Plant) -> Iterator[Plant]:
    """A campaign whose schedule a new gate closes, though it always holds, and one that is open."""
    with swapping(longer("gates.lua", "schedule", FROZEN)):
        plant.brand()
        plant.campaign(OTHER)
        plant.plain.hset(KEYS.campaign(CAMPAIGN), "schedule", "1234567@0-1440")
        yield plant


def call(plant: Plant, name: str, *args: str | bytes) -> Any:
    """The reply of a script that is given all keys of the brand and its two campaigns. It may count nothing that it must not: what is not `ok` fails."""
    plan = [KEYS.brand(BRAND), *(() if name == "record_spends" else KEYS.holds(BRAND))]
    both = b"%d" % OTHER in b" ".join(arg if isinstance(arg, bytes) else arg.encode() for arg in args)
    campaigns = [CAMPAIGN, OTHER] if both else [CAMPAIGN]
    keys = (*KEYS.fixed, *plan, *map(KEYS.campaign, campaigns))
    reply = plant.live.call_all([Call(script(name), keys, (LAYOUT, *args))])[0]
    assert reply[0] == b"ok", reply
    return reply


def alone(micros: int, event: str = "") -> tuple[str, ...]:
    return (f"r-{next(_fresh)}", f"{CAMPAIGN},{micros},{event},;")


def batch(micros: int, event: str = "") -> tuple[str, ...]:
    """Two spends as text."""
    return (f"r-{next(_fresh)}", f"{CAMPAIGN},1,{event and event + '-0'},;{CAMPAIGN},{micros},{event},;")


def packed(micros: int, event: str = "") -> tuple[str | bytes, ...]:
    """Two spends, packed."""
    if not event:
        return (f"r-{next(_fresh)}", *pack([CAMPAIGN, CAMPAIGN], [CAMPAIGN], [1, micros], VERSION))
    day = str(day_of(NOW[0]))
    names = f"{BRAND}:{event}-0,{BRAND}:{event}"
    kept = f"{CAMPAIGN},1,{day};{CAMPAIGN},{micros},{day}"
    return (f"r-{next(_fresh)}", *pack([CAMPAIGN, CAMPAIGN], [CAMPAIGN], [1, micros], NAMED), day, names, kept)


NOW: Final = [0]
WAYS: Final[dict[str, Callable[[int], tuple[str | bytes, ...]]]] = {
    "alone": alone,
    "alone with an event id": lambda micros: alone(micros, f"win-{next(_fresh)}"),
    "a batch": batch,
    "a batch with event ids": lambda micros: batch(micros, f"win-{next(_fresh)}"),
    "packed": packed,
    "packed with event ids": lambda micros: packed(micros, f"win-{next(_fresh)}"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_third_budget_refuses_what_it_has_no_room_for_and_counts_the_rest(total: Plant, way: str) -> None:
    NOW[0] = total.live.now_ms()
    refused = call(total, "try_spends", *WAYS[way](101))
    assert refused[1].endswith(b"x16384*1"), refused
    counted = int(total.plain.hget(total.key(), "spent:total") or 0) - 900
    assert counted == (0 if "alone" in way else 1)
    taken = call(total, "try_spends", *WAYS[way](100 - 2 * counted))
    assert b"x" not in taken[1]
    assert total.plain.hget(total.key(), "spent:total") == b"1000"
    assert taken[3] == b"%d:16384" % CAMPAIGN
    assert call(total, "try_spends", *WAYS[way](1))[1].endswith(b"x16384*%d" % (1 if "alone" in way else 2))


@pytest.mark.parametrize("way", WAYS)
def test_facts_pass_a_third_budget_and_its_end_is_told_once(total: Plant, way: str) -> None:
    NOW[0] = total.live.now_ms()
    for micros in (98, 200):
        reply = call(total, "record_spends", *WAYS[way](micros))
        assert b"x" not in reply[1]
    assert reply[3] == b"%d:16384" % CAMPAIGN
    entries: Any = total.plain.xrange(KEYS.journal)
    told = [fields[b"t"] for _, fields in entries if b"t" in fields]
    assert told == [b"%d:total_budget:exhausted" % BRAND]
    assert total.plain.hget(total.key(), "total_at")


def test_a_third_budget_bounds_holds_and_their_settling_counts_to_it(total: Plant) -> None:
    assert call(total, "holds", f"R,{CAMPAIGN},bid-1,101,60000;")[1] == b"x16384"
    assert call(total, "holds", f"R,{CAMPAIGN},bid-2,60,60000;R,{CAMPAIGN},bid-3,50,60000;")[1] == b"a,x16384"
    assert call(total, "try_spends", *alone(41))[1] == b"x16384*1"
    assert call(total, "holds", f"S,{CAMPAIGN},bid-2,55,;")[1] == b"s"
    assert total.plain.hget(total.key(), "spent:total") == b"955"


def test_a_third_budget_bounds_a_lease_and_its_draws_count_to_it(total: Plant) -> None:
    reply = call(total, "lease", str(CAMPAIGN), "lease-1", "500", "60000", "1")
    assert (reply[1], reply[4]) == (b"p", b"100")
    assert call(total, "lease", str(CAMPAIGN), "lease-2", "1", "60000", "1")[1] == b"x16384"
    drawn = call(total, "draw_spends", "draw-1", *pack([CAMPAIGN], [CAMPAIGN], [100]), "lease-1", "")
    assert (drawn[1], drawn[3]) == (b"k*1", b"%d:16384" % CAMPAIGN)
    assert total.plain.hget(total.key(), "spent:total") == b"1000"


def test_a_refund_gives_back_to_a_third_budget_and_a_later_limit_frees_it(total: Plant) -> None:
    call(total, "record_spends", *alone(100, "win"))
    keys = (*KEYS.fixed, KEYS.brand(BRAND), KEYS.campaign(CAMPAIGN))
    given = total.live.call_all([Call(script("refund"), keys, (LAYOUT, str(CAMPAIGN), "win", "30", "", ""))])[0]
    assert (given[1], given[3]) == (b"k", b"%d:0" % CAMPAIGN)
    assert total.plain.hget(total.key(), "spent:total") == b"970"
    call(total, "record_spends", *alone(30))
    head = (LAYOUT, total.instance, str(BRAND), "2", "10000000", "100000000", "0", "0")
    catalog = (KEYS.shard, KEYS.registry, KEYS.journal, KEYS.brand(BRAND))
    total.live.call_all([Call(script("publish"), catalog, head)])
    assert call(total, "try_spends", *alone(1))[1] == b"x16384*1"
    total.live.call_all([Call(script("publish"), catalog, (*head[:3], "3", *head[4:], "2000"))])
    assert call(total, "try_spends", *alone(1))[1] == b"k*1"


def test_a_plan_shows_a_third_budget_among_the_causes(total: Plant) -> None:
    call(total, "record_spends", *alone(100))
    keys = (KEYS.shard, KEYS.brand(BRAND), KEYS.campaign(CAMPAIGN))
    plan = total.live.call_all([Call(script("read_plan"), keys, (LAYOUT,))])[0]
    assert plan[4].split(b":")[2] == BIT


def test_a_limit_of_a_third_budget_that_is_no_number_takes_the_shard_out_of_use(total: Plant) -> None:
    total.plain.hset(total.key(), "total", "1e3")
    keys = (*KEYS.fixed, KEYS.brand(BRAND), *KEYS.holds(BRAND), KEYS.campaign(CAMPAIGN))
    reply = total.live.call_all([Call(script("try_spends"), keys, (LAYOUT, *alone(1)))])[0]
    assert reply == [b"not_ready", b"lost"]


@pytest.mark.parametrize("way", WAYS)
def test_a_new_gate_refuses_on_every_path_and_facts_show_it(frozen: Plant, way: str) -> None:
    NOW[0] = frozen.live.now_ms()
    times = 1 if "alone" in way else 2
    assert call(frozen, "try_spends", *WAYS[way](5))[1] == b"x32768*%d" % times
    fact = call(frozen, "record_spends", *WAYS[way](5))
    assert (fact[1], fact[3]) == (b"k*%d" % times, b"%d:32768" % CAMPAIGN)


def test_a_new_gate_stops_holds_and_leases_and_stands_in_the_plan(frozen: Plant) -> None:
    assert call(frozen, "holds", f"R,{CAMPAIGN},bid-1,1,60000;R,{OTHER},bid-2,1,60000;")[1] == b"x32768,a"
    assert call(frozen, "lease", str(CAMPAIGN), "lease-1", "500", "60000", "1")[1] == b"x32768"
    keys = (KEYS.shard, KEYS.brand(BRAND), KEYS.campaign(CAMPAIGN), KEYS.campaign(OTHER))
    plan = frozen.live.call_all([Call(script("read_plan"), keys, (LAYOUT,))])[0]
    assert [line.split(b":")[2] for line in plan[4:]] == [b"32768", b"0"]
