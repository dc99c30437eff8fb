"""Fault 8: bad input is refused by name, in Python before anything is sent and in Lua before anything is written; both agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import NoScriptError

from engine import BudgetClient
from engine.errors import InvalidInput
from engine.live.keys import keys_of_campaign
from engine.live.scripts import LAYOUT, script
from tests.faults.figures import Figures
from tests.live.plant import BRAND, CAMPAIGN, Plant

AMOUNTS = [
    "", "nan", "inf", "-inf", "1e3", "1E3", "0x10", "-1", "0", "000", "+5", " 1", "1 ", "1_000", "١٢", "1.5", "1,5", "1\n", "1\x00",
    "10000000000001", "99999999999999999999", "1000000000001", "\uff11", "1;2", "--1", ".", "1.", "0.0000001",
]  # fmt: skip
IDS = [
    "",
    "a b",
    "a{b}",
    "{",
    "}",
    "a\nb",
    "a\x00b",
    "a,b",
    "a;b",
    "é",
    "a\tb",
    "a" * 81,
    'a"b',
    "a'b",
    "a\\b",
    "a*b",
    "a%b",
    "\x7f",
]
EVENTS = [*IDS[1:], "a" * 65]
CAMPAIGNS = ["", "-1", "x", "1.5", " 1", "0x10", "١"]


def whole(plant: Plant) -> dict[bytes, bytes | None]:
    """Every key of the brand's shard with its bytes, and how many keys there are in all."""
    names = sorted(plant.plain.keys(keys_of_campaign(CAMPAIGN).tag + "*"))
    with plant.plain.pipeline() as pipe:
        for name in names:
            pipe.dump(name)
        bodies = pipe.execute()
    return {**dict(zip(names, bodies, strict=True)), b"keys": str(plant.plain.dbsize()).encode()}


def spend(plant: Plant, verb: str, request: str, body: str, *, layout: str = LAYOUT) -> list[Any]:
    """A raw call, as a bidder in another language would make it."""
    keys = keys_of_campaign(CAMPAIGN)
    plan = [keys.brand(BRAND), keys.campaign(CAMPAIGN)]
    if verb == "try_spends":
        plan[1:1] = keys.holds(BRAND)
    return _raw(plant, verb, [*keys.fixed, *plan], [layout, request, body])


def _raw(plant: Plant, name: str, keys: list[str], args: list[str]) -> list[Any]:
    sent = [arg.encode() for arg in args]
    try:
        answer: Any = plant.plain.evalsha(script(name).sha1, len(keys), *keys, *sent)
    except NoScriptError:
        plant.plain.script_load(script(name).text)
        answer = plant.plain.evalsha(script(name).sha1, len(keys), *keys, *sent)
    return list(answer)


@pytest.mark.parametrize("verb", ["record_spends", "try_spends"])
def test_fault_08_lua_refuses_each_bad_part_by_index_and_name_and_writes_nothing(
    plant: Plant, client: BudgetClient, verb: str, figures: Callable[[Figures], None]
) -> None:
    plant.brand(daily="100")
    assert client.record_spend(CAMPAIGN, "1", event_id="good").outcome == "recorded"
    before, good, calls = whole(plant), f"{CAMPAIGN},5,,;", 0

    def refused(request: str, body: str, index: int, *fields: str) -> None:
        nonlocal calls
        calls += 1
        answer = spend(plant, verb, request, body)
        assert (answer[0], len(answer)) == (b"invalid", 3), (body, answer)
        _, at, field = answer
        assert int(at) == index, (body, at, field)
        assert field.decode() in fields, (body, field)
        assert whole(plant) == before, f"{body!r} changed something"

    for amount in AMOUNTS:
        refused("r", f"{good}{CAMPAIGN},{amount},,;", 1, "amount", "spends")
    for event in EVENTS:
        refused("r", f"{good}{good}{CAMPAIGN},5,{event},;", 2, "event_id", "spends")
    for request in IDS:
        refused(request, good, 0, "request_id")
    for campaign in CAMPAIGNS:
        refused("r", f"{good}{campaign},5,,;", 1, "spends")
    for occurred in ("-1", "x", "1e3", "1.5", "9" * 16, "253402300800000", " 1", "nan"):
        refused("r", f"{CAMPAIGN},5,,{occurred};", 0, "occurred_at", "spends")
    for body in ("", ";", "x", good[:-1], f"{good}x", f"x{good}", f"{good};", f"{good}\n", good.replace(",", "")):
        refused("r", body, good in body and not body.startswith("x"), "spends")
    refused("r", good * 1001, 1000, "spends")
    assert spend(plant, verb, "r", good, layout="0")[0] == b"wrong_version"
    assert whole(plant) == before
    figures(Figures(calls, 0, calls, more="each refused by index and field, every key's bytes as before"))


def test_fault_08_lua_refuses_bad_holds_and_refunds_and_writes_nothing(
    plant: Plant, client: BudgetClient, figures: Callable[[Figures], None]
) -> None:
    plant.brand(daily="100")
    client.record_spend(CAMPAIGN, "1", event_id="good")
    client.reserve(CAMPAIGN, "1", 600, "open")
    before, calls = whole(plant), 0
    keys = keys_of_campaign(CAMPAIGN)
    plan = [*keys.fixed, keys.brand(BRAND), keys.campaign(CAMPAIGN)]
    bodies = [f"{verb},{CAMPAIGN},h,{amount},{ttl};" for verb, ttl in (("R", "1000"), ("S", "")) for amount in AMOUNTS]
    bodies += [f"R,{CAMPAIGN},{name},5,1000;" for name in EVENTS]
    bodies += [f"R,{CAMPAIGN},h,5,{ttl};" for ttl in ("", "0", "-1", "1e3", "nan", "0x10", "86400001", " 1", "1.5")]
    bodies += ["", ";", "X,1,h,5,1;", f"R,{CAMPAIGN},h,5,1000", f"R,{CAMPAIGN},h,5,1000;x"]
    for body in bodies:
        calls += 1
        assert _raw(plant, "holds", [*plan, *keys.holds(BRAND)], [LAYOUT, body])[0] == b"invalid", body
        assert whole(plant) == before, body
    refunds = [("good", amount, "") for amount in AMOUNTS] + [(name, "5", "") for name in EVENTS]
    days = ("-1", "x", "1e3", "9999999", "999999", " 1", "nan", "0", "18261")
    refunds += [("good", "5", day) for day in days]
    parts = [("good", "5", "", name) for name in (*EVENTS, "one,two") if name]
    for event, amount, day, *part in [*refunds, *parts]:
        calls += 1
        said = _raw(plant, "refund", plan, [LAYOUT, str(CAMPAIGN), event, amount, day, *part])
        assert said[0] == b"invalid", (event, amount, day, part)
        assert whole(plant) == before, (event, amount, day, part)
    figures(Figures(calls, 0, calls, more="holds and refunds"))


def test_fault_08_python_refuses_what_lua_refuses_before_anything_is_sent(
    plant: Plant, client: BudgetClient, figures: Callable[[Figures], None]
) -> None:
    plant.brand()
    before, calls = whole(plant), 0
    for amount in AMOUNTS:
        if amount in ("1.5", "10000000000001", "1000000000001"):
            continue  # micros in Lua's grammar, units in Python's
        calls += 1
        with pytest.raises(InvalidInput) as caught:
            client.record_spend(CAMPAIGN, amount)
        assert caught.value.field == "amount", amount
    for micros in (0, -1, 10**12 + 1, 10**13, 1.5, True, "1", None, float("nan")):
        calls += 1
        with pytest.raises(InvalidInput):
            client.try_spend(CAMPAIGN, amount_micros=micros)  # type: ignore[arg-type]
    for event in ["", *EVENTS]:
        calls += 1
        with pytest.raises(InvalidInput) as caught:
            client.record_spend(CAMPAIGN, "1", event_id=event)
        assert caught.value.field == "event_id", event
    for request in IDS:
        calls += 1
        with pytest.raises(InvalidInput) as caught:
            client.record_spend(CAMPAIGN, "1", request_id=request)
        assert caught.value.field == "request_id", request
    for campaign in (0, -1, 65536, True, 1.5, "5308417", None, 2**60):
        calls += 1
        with pytest.raises(InvalidInput):
            client.record_spend(campaign, "1")  # type: ignore[arg-type]
    assert whole(plant) == before
    figures(Figures(calls, 0, calls, more="refused in Python"))
