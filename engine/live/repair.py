"""Repairs of the live state beside publishing: adding a logged difference to a counter, removing expired holds, and
probing shards for lost keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from engine.domain.ids import SHARDS, brand_of, campaign_id_of, shard_of
from engine.errors import BudgetError
from engine.live.admin import TURN, LiveRedis
from engine.live.keys import ShardKeys, keys_of_brand, shard_keys
from engine.live.replies import NOT_READY, head
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call

_BRANDS: Final = 10
"""Brands in one probe of a shard, each with its holds: three keys."""


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A counter after its correction, and the number of the journal entry. again: it had been made before."""

    value: int
    n: int
    again: bool


def adjust(
    live: LiveRedis,
    instance: str,
    shard: int,
    hash_key: str,
    field: str,
    difference_micros: int,
    name: str,
    compared_n: int,
) -> Adjusted | None:
    """Adds a difference to a counter; None when another adjustment of the shard followed the comparison at
    `compared_n`: compare again.

    Raises BudgetError when the shard refuses it, ServerAway.
    """
    keys = shard_keys(shard)
    args = (LAYOUT, instance, field, str(difference_micros), name, str(compared_n))
    kind, _, of = hash_key.removeprefix(keys.tag).partition(":")
    # The hash of a campaign's brand says which day it is.
    wanted = (hash_key, keys.brand(brand_of(int(of)))) if kind == "campaign" else (hash_key,)
    reply = live.call_all([Call(script("adjust"), (keys.shard, keys.registry, keys.journal, *wanted), args)])[0]
    said = head(reply)
    if said in ("ok", "done"):
        return Adjusted(int(reply[1]), int(reply[2]), said == "done")
    if said == "moved":
        return None
    raise BudgetError(f"shard {shard} takes no correction now ({said} {reply[1].decode()}): run `budget-engine doctor`")


def sweep(live: LiveRedis, brand_ids: Iterable[int]) -> set[int]:
    """Removes up to 50 expired holds of each brand; returns the brands whose shard took the call."""
    listed, calls = sorted(set(brand_ids)), []
    for brand_id in listed:
        keys = keys_of_brand(brand_id)
        # The call needs no campaign: the brand's own number in its place gets `unknown`.
        wanted = (*keys.fixed, keys.brand(brand_id), *keys.holds(brand_id))
        calls.append(Call(script("holds"), wanted, (LAYOUT, f"E,{campaign_id_of(brand_id, 0)},,,;")))
    done = set()
    for brand_id, reply in zip(listed, live.call_some(calls), strict=True):
        if reply is not None and head(reply) != NOT_READY:
            done.add(brand_id)
    return done


def probe_shards(live: LiveRedis, brand_ids: Iterable[int], windows_ms: tuple[int, ...] = ()) -> set[int]:
    """Probes every shard's own keys, and these brands and their holds. Returns the shards of which a key was missing
    or of a wrong type; they are out of use until they are rebuilt.

    windows_ms: the dedup windows of request ids and event ids. A shard with a shorter window is out of use too, since
    it has forgotten ids that the log still has; one that no setting allows is cut.
    """
    by_shard: dict[int, list[int]] = {shard: [] for shard in range(SHARDS)}
    for brand_id in sorted(set(brand_ids)):
        by_shard[shard_of(brand_id)].append(brand_id)
    return _probe(
        live,
        (
            (shard, [key for brand_id in part for key in _brand_and_holds(shard_keys(shard), brand_id)])
            for shard, listed in by_shard.items()
            for start in range(0, max(len(listed), 1), _BRANDS)
            for part in [listed[start : start + _BRANDS]]
        ),
        windows_ms,
    )


def probe_brands(live: LiveRedis, ordinals: Mapping[int, int]) -> set[int]:
    """Probes brands with their campaigns: {brand id: highest ordinal}."""
    return _probe(
        live,
        (
            (
                shard_of(brand_id),
                [*_brand_and_holds(keys, brand_id), *(keys.campaign(campaign_id_of(brand_id, o)) for o in part)],
            )
            for brand_id, highest in ordinals.items()
            for keys in [keys_of_brand(brand_id)]
            for start in range(1, max(highest, 1) + 1, TURN)
            for part in [range(start, min(start + TURN, highest + 1))]
        ),
    )


def told_lost(shards: set[int]) -> str:
    """Describes shards that lost a key."""
    named = ", ".join(map(str, sorted(shards)))
    return (
        f"keys gone or of a wrong type in shard {named}, or values that no script writes: rebuilt by persist; find out who writes to this Redis,"
        " unless REQUEST_ID_MINUTES or EVENT_ID_HOURS were just raised"
    )


def _brand_and_holds(keys: ShardKeys, brand_id: int) -> tuple[str, str, str]:
    return (keys.brand(brand_id), *keys.holds(brand_id))


def _probe(live: LiveRedis, looks: Iterable[tuple[int, list[str]]], windows_ms: tuple[int, ...] = ()) -> set[int]:
    listed, args = list(looks), (LAYOUT, *map(str, windows_ms))
    calls = (Call(script("probe"), (*shard_keys(shard).fixed, *keys), args) for shard, keys in listed)
    replies = live.call_each_there(calls)
    return {
        shard
        for (shard, _), reply in zip(listed, replies, strict=True)
        if reply is not None and head(reply) == NOT_READY and reply[1] == b"lost"
    }
