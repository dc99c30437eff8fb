"""What Redis knows of the catalog: the brands of a shard, the highest ordinal published of each, and the number of
the last published change.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.domain.ids import MAX_BRAND_ID, ORDINALS, SHARDS, shard_of
from engine.errors import ServerAway
from engine.live.admin import LiveRedis
from engine.live.keys import shard_keys
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call, Reply

# Malformed numbers are left out. A shard that is not ready, of another layout or of another instance has no brands.


def registered(live: LiveRedis, instance: str, shards: Iterable[int] = range(SHARDS)) -> dict[int, int]:
    """{brand id: highest ordinal} of all brands of shards, page by page. Raises ServerAway."""
    found: dict[int, int] = {}
    for shard in shards:
        cursor = "0"
        while True:
            try:
                (reply,) = live.call_all([_call(shard, cursor)])
            except ServerAway as gone:
                if not gone.partial:
                    raise
                break  # found by the next look
            found |= _brands(reply, instance, shard)
            if reply[0] != b"ok" or (cursor := reply[4].decode()) == "0":
                break
    return found


def registered_of(live: LiveRedis, instance: str, brand_ids: Iterable[int]) -> dict[int, int]:
    """The same of single brands, in one round trip, without those that Redis does not know. Raises ServerAway."""
    asked, found = list(brand_ids), dict[int, int]()
    replies = live.call_all([_call(shard_of(brand_id), "0", brand_id) for brand_id in asked])
    for brand_id, reply in zip(asked, replies, strict=True):
        found |= _brands(reply, instance, shard_of(brand_id))
    return found


def stamp(live: LiveRedis, instance: str, shards: Iterable[int], number: int = 0, *, lower: bool = False) -> int:
    """Stores the number of the catalog's last change in shards, where it is higher; returns the highest that they had
    before. Those of a server that is away, of several, are left out. Raises ServerAway.

    lower: store it even where it is lower, after the restored catalog was published again.
    """
    return max(stamps(live, instance, shards, number, lower=lower).values(), default=0)


def stamps(
    live: LiveRedis,
    instance: str,
    shards: Iterable[int],
    number: int = 0,
    *,
    lower: bool = False,
    grace_minutes: int | None = None,
) -> dict[int, int]:
    """The same, with what each shard had before. Shards that are not ready are left out.

    grace_minutes: the grace for late spends, published to them too; None leaves it.
    """
    grace = "" if grace_minutes is None else str(grace_minutes)
    args, asked = (LAYOUT, instance, str(number), "1" if lower else "0", grace), list(shards)
    replies = live.call_some([Call(script("stamp"), (shard_keys(shard).shard,), args) for shard in asked])
    found = zip(asked, replies, strict=True)
    return {shard: int(reply[1]) for shard, reply in found if reply is not None and reply[0] == b"ok"}


def _call(shard: int, cursor: str, *brand_ids: int) -> Call:
    keys = shard_keys(shard)
    return Call(script("read_registry"), (keys.shard, keys.registry), (LAYOUT, cursor, *map(str, brand_ids)))


def _brands(reply: Reply, instance: str, shard: int) -> dict[int, int]:
    if reply[0] != b"ok" or reply[1].decode().rpartition(":")[0] != instance:
        return {}
    pairs = (tuple(map(int, pair.split(":"))) for pair in reply[5].decode().split(";") if pair)
    return {
        brand_id: highest
        for brand_id, highest in pairs
        if 1 <= brand_id <= MAX_BRAND_ID and shard_of(brand_id) == shard and highest < ORDINALS
    }
