"""Every key in Redis. All keys of a shard have its hash tag, so they share one slot of a cluster.

| key | type | what |
| `budget:{17}:shard` | hash | mark, layout, now, journal number n, windows |
| `budget:{17}:registry` | hash | brand id -> highest ordinal published |
| `budget:{17}:journal` | stream | the journal |
| `budget:{17}:requests:0`, `:1` and `budget:{17}:events:0`, `:1` | hashes | ids in their dedup windows |
| `budget:{17}:brand:81`, `budget:{17}:campaign:5308417` | hashes | plan and counters |
| `budget:{17}:holds:81` | hash | open holds |
| `budget:{17}:expiry:81` | sorted set | their expiry |
| `budget:{17}:changes` | channel | one message a change of a brand |
"""

from __future__ import annotations

from functools import cache
from typing import Final

from engine.domain.ids import SHARDS, brand_of, shard_of

PREFIX: Final = "budget:"


class ShardKeys:
    """The keys of one shard."""

    __slots__ = ("changes", "events", "fixed", "journal", "registry", "requests", "shard", "tag")

    def __init__(self, shard: int) -> None:
        self.tag = f"{PREFIX}{{{shard}}}:"
        self.shard = self.tag + "shard"
        self.registry = self.tag + "registry"
        self.journal = self.tag + "journal"
        self.requests = (self.tag + "requests:0", self.tag + "requests:1")
        self.events = (self.tag + "events:0", self.tag + "events:1")
        self.changes = self.tag + "changes"
        self.fixed = (self.shard, self.registry, self.journal, *self.requests, *self.events)
        """The first KEYS of a charge."""

    def brand(self, brand_id: int) -> str:
        return f"{self.tag}brand:{brand_id}"

    def holds(self, brand_id: int) -> tuple[str, str]:
        """The keys of the brand's open holds and their expiry, in the order that scripts take them."""
        return f"{self.tag}holds:{brand_id}", f"{self.tag}expiry:{brand_id}"

    def campaign(self, campaign_id: int) -> str:
        return f"{self.tag}campaign:{campaign_id}"


@cache
def shard_keys(shard: int) -> ShardKeys:
    """The keys of a shard (0..63)."""
    if not 0 <= shard < SHARDS:
        raise ValueError(f"shard {shard} is not one of 0..{SHARDS - 1}")
    return ShardKeys(shard)


def keys_of_brand(brand_id: int) -> ShardKeys:
    """The keys of the shard that holds a brand."""
    return shard_keys(shard_of(brand_id))


def keys_of_campaign(campaign_id: int) -> ShardKeys:
    """The keys of the shard that holds a campaign."""
    return shard_keys(shard_of(brand_of(campaign_id)))


def shard_of_key(key: str) -> int:
    """The shard (0..63) of one of these keys. Raises ValueError."""
    return int(key[len(PREFIX) + 1 : key.index("}")])
