"""The engine's hands in the live state beside publishing: adding a logged difference to a counter, and sweeping holds that are past their time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.errors import BudgetError
from engine.live.admin import LiveRedis
from engine.live.keys import keys_of_brand, shard_keys
from engine.live.replies import NOT_READY, head
from engine.live.scripts import LAYOUT, script
from engine.live.wire import Call


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A counter after its correction, and the journal number of the entry that tells of it. again: it had been made before."""

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
    judged_n: int,
) -> Adjusted | None:
    """Adds a difference to a counter; None when another adjustment of the shard came after `judged_n`: judge it again.

    Raises BudgetError when the shard does not take it, ServerAway.
    """
    keys = shard_keys(shard)
    args = (LAYOUT, instance, field, str(difference_micros), name, str(judged_n))
    reply = live.call_all([Call(script("adjust"), (keys.shard, keys.registry, keys.journal, hash_key), args)])[0]
    said = head(reply)
    if said in ("ok", "done"):
        return Adjusted(int(reply[1]), int(reply[2]), said == "done")
    if said == "moved":
        return None
    raise BudgetError(f"shard {shard} takes no correction now ({said} {reply[1].decode()}): run `budget-engine doctor`")


def sweep(live: LiveRedis, brand_ids: Iterable[int]) -> set[int]:
    """Ends up to 50 holds of each brand that are past their time; answers the brands whose shard did."""
    listed, calls = sorted(set(brand_ids)), []
    for brand_id in listed:
        keys = keys_of_brand(brand_id)
        # No campaign is needed: the brand's own number in its place is answered with `unknown`.
        wanted = (*keys.fixed, keys.brand(brand_id), *keys.holds(brand_id))
        calls.append(Call(script("holds"), wanted, (LAYOUT, f"E,{brand_id << 16},,,;")))
    done = set()
    for brand_id, reply in zip(listed, live.call_all(calls), strict=True):
        if head(reply) != NOT_READY:
            done.add(brand_id)
    return done
