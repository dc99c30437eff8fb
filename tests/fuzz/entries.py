"""Journal entries with random changes, as anyone who can write to Redis may make them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from engine import Spend
from engine.client.leases.calls import asks_lease
from engine.domain.brake import Brake
from engine.domain.periods import DAY_MS, at_ms
from engine.live.keys import keys_of_brand
from engine.live.repair import adjust
from engine.wiring import System

Fields = dict[bytes, bytes]
_ODD = (
    b"", b"0", b"-1", b"nan", b"inf", b"1e308", b"0x10", b" 7", b"9" * 40, b"9007199254740993", b"20261128", b"4294967296", b"\x00", b"\xff\xfe",
    "\u0663".encode(), b";", b",", b":", b"k*99999999", b"x999999*1", b"F,65537,e,5,20261128;", b"R,65537,h,5,99999999999999999999;",
    b"A,brand,99999999999999,d:99999999,5,x;", b"A,campaign,65537,m:999913,1e3,y;", b"137438953472:daily_budget:exhausted", b"1:172799999",
    b"1:-172799999", b"65537:1:9000000000000000", b"1:2932896:9000000000000000:", b"4294967296:0:0:0", b"65537:65535", b"0:0,1:20787,2:99999",
    b"D,65537,lease,5,1;", b"Q,65537,lease,5,1,x;",
)  # fmt: skip
_NAMES = (b"f", b"n", b"r", b"b", b"s", b"l", b"e", b"o", b"h", b"a", b"t", b"g", b"z", b"v", b"y", b"k", b"c")


def real_entries(system: System) -> list[Fields]:
    """Journal entries of every kind, written by the scripts: single, batched and packed spends, try calls, holds,
    refunds, corrections, used-up budgets, and those of controls.
    """
    brand = system.manage.create_brand("fuzz", 1_000_000_000, None, None, "fuzz").row.id
    one, two = (c.id for c in system.manage.create_campaigns(brand, ["one", "two"], "fuzz"))
    client = system.client
    client.record_spend(one, "1")
    client.record_spend(one, "1", event_id="win")
    client.record_spends([Spend(one, "1", event_id="a"), Spend(two, "2", occurred_at=None)])
    client.record_spends([Spend(one, "1"), Spend(two, "2"), Spend(two, "3")] * 20)
    client.record_spends([Spend(one, "1", event_id=f"p{i}") for i in range(30)])
    client.try_spends([Spend(one, "100"), Spend(two, "990000"), Spend(one, "5")])
    held = client.reserve(one, "5", 3600, "held")
    client.settle(held.hold_id, "4")
    client.release(client.reserve(two, "5", 3600, "freed").hold_id)
    client.settle(client.reserve(two, "5", 3600, "more").hold_id, "7")
    client.refund(one, "1", "win")
    client.record_spend(one, "2000")
    keys = keys_of_brand(brand)
    n = system.live.read_shard(brand % 64).n
    adjust(
        system.live,
        system.instance,
        brand % 64,
        keys.brand(brand),
        f"d:{system.live.now_ms() // 86_400_000}",
        -5,
        "fix",
        n,
    )
    found = [dict(fields) for _, fields in system.hot_redis.xrange(keys.journal)]
    found.append({b"f": b"1", b"n": b"9", b"g": b"3"})
    found += _of_controls(system)
    assert {name for fields in found for name in fields} >= {
        b"b",
        b"s",
        b"l",
        b"e",
        b"o",
        b"h",
        b"a",
        b"t",
        b"g",
        b"v",
        b"k",
        b"z",
        b"c",
        b"y",
    }
    return found


def _of_controls(system: System) -> list[Fields]:
    """Entries of a brand with a time zone and rollover, whose campaign has a flight and a breaker, and of a lease."""
    manage, client, now = system.manage, system.client, system.live.now_ms()
    brand = manage.create_brand("controls", 10**9, None, None, "fuzz", time_zone="Pacific/Chatham").row.id
    manage.update_brand(brand, "fuzz", rollover_cap_micros=10**9)
    one = manage.create_campaign(brand, "one", None, None, "fuzz", brake=Brake(None, 3_000_000)).row.id
    two = manage.create_campaign(brand, "two", None, None, "fuzz").row.id
    manage.add_flight(two, "fuzz", None, now + DAY_MS, 10**9, False)
    system.live.call_all([asks_lease(two, "lease.a", 5_000_000, 60_000, 1)])
    client.record_spends([Spend(two, "1"), Spend(one, "2"), Spend(one, "3")])
    client.record_spends([Spend(one, "1", occurred_at=at_ms(now)), Spend(two, "1", occurred_at=at_ms(now))])
    keys = keys_of_brand(brand)
    # The first call of a day writes the carry, as if the rollover had begun two days ago.
    cap, day, left, before = system.hot_redis.hget(keys.brand(brand), "b").split(b",")  # type: ignore[union-attr]  # it is there
    system.hot_redis.hset(keys.brand(brand), "b", b",".join((cap, b"%d" % (int(day) - 2), left, before)))
    client.record_spend(two, "1")
    found = [dict(fields) for _, fields in system.hot_redis.xrange(keys.journal)]
    # A late spend counts to the day before in the first hour of a day only.
    midnight = now - now % DAY_MS
    late = {b"f": b"3", b"n": b"9", b"r": b"late", b"y": b"0:%d" % (midnight // DAY_MS - 1)}
    return [*found, late | {b"b": b"%d,5,win,%d;" % (two, midnight - 1)}]


def changed(real: Sequence[Fields], chance: random.Random) -> Iterator[Fields]:
    """Yields real entries with one to four random changes, without end."""
    while True:
        fields = dict(chance.choice(real))
        for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
            _change(fields, real, chance)
        yield fields


def _change(fields: Fields, real: Sequence[Fields], chance: random.Random) -> None:
    if not fields:
        fields[b"f"] = b"1"
    name = chance.choice(list(fields))
    value = fields[name]
    kind = chance.randrange(9)
    if kind == 0:
        del fields[name]
    elif kind == 1:
        fields[chance.choice(_NAMES)] = chance.choice(_ODD)
    elif kind == 2:
        other = chance.choice(real)
        taken = chance.choice(list(other))
        fields[taken] = other[taken]
    elif kind == 3:
        fields[name] = value * chance.choice((2, 3, 50))
    elif kind == 4 and value:
        fields[name] = value[: chance.randrange(len(value))]
    elif kind == 5 and value:
        # Replaces one of the comma-separated values.
        parts = value.split(b",")
        parts[chance.randrange(len(parts))] = chance.choice(_ODD)
        fields[name] = b",".join(parts)
    else:
        at = chance.randrange(len(value) + 1)
        put = chance.choice(
            (
                bytes([chance.randrange(256)]),
                chance.choice(b"0123456789;,:kxdFCRA").to_bytes(1, "big"),
                chance.choice(_ODD),
            )
        )
        fields[name] = value[:at] + put + value[at + chance.randrange(2) :]
