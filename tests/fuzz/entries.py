"""Journal entries with random changes, as anyone who can write to Redis may make them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from engine.wiring import System

Fields = dict[bytes, bytes]
_ODD = (
    b"", b"0", b"-1", b"nan", b"inf", b"1e308", b"0x10", b" 7", b"9" * 40, b"9007199254740993", b"20261128", b"4294967296", b"\x00", b"\xff\xfe",
    "\u0663".encode(), b";", b",", b":", b"k*99999999", b"x999999*1", b"F,65537,e,5,20261128;", b"R,65537,h,5,99999999999999999999;",
    b"A,brand,99999999999999,d:99999999,5,x;", b"A,campaign,65537,m:999913,1e3,y;", b"137438953472:daily_budget:exhausted",
)  # fmt: skip
_NAMES = (b"f", b"n", b"r", b"b", b"s", b"l", b"e", b"o", b"h", b"a", b"t", b"g", b"z")


def real_entries(system: System) -> list[Fields]:
    """Journal entries of every kind, written by the scripts: single, batched and packed spends, try calls, holds,
    refunds, corrections, used-up budgets.
    """
    brand = system.manage.create_brand("fuzz", 1_000_000_000, None, None, "fuzz").row.id
    one, two = (c.id for c in system.manage.create_campaigns(brand, ["one", "two"], "fuzz"))
    client = system.client
    from engine import Spend
    from engine.live.keys import keys_of_brand
    from engine.live.repair import adjust

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
    assert {name for fields in found for name in fields} >= {b"b", b"s", b"l", b"e", b"o", b"h", b"a", b"t", b"g"}
    return found


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
