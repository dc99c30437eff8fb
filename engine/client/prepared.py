"""The calls that charge: their KEYS and first arguments. They are cached half encoded, because a bidder's calls
repeat the same campaigns.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Final

from engine.domain.ids import ORDINALS, shard_of
from engine.live.keys import shard_keys
from engine.live.scripts import RECORD, Script
from engine.live.transport.pool import Arg, Call, encoded_head

_CAMPAIGNS: Final = 16_384
"""Campaigns whose calls are cached, about a kilobyte each."""
_BATCHES: Final = 256
"""Cached calls of several campaigns, about 12 kilobytes for a hundred of them."""


def call_for(code: Script, campaign_id: int, args: Sequence[Arg]) -> Call:
    """A call for one campaign."""
    keys, head = _for_campaign(code, campaign_id)
    return Call(code, keys, args, head)


def call_for_all(
    code: Script,
    shard: int,
    campaigns: Collection[int],
    args: Callable[[], Sequence[Arg]],
    sent: Callable[[], None] | None,
) -> Call:
    """A call for several campaigns of a shard, each once. args, sent: as in `Call`."""
    keys, head = _for_campaigns(code, shard, tuple(campaigns))
    return Call(code, keys, args, head, sent)


@lru_cache(maxsize=_CAMPAIGNS)
def _for_campaign(code: Script, campaign_id: int) -> tuple[Sequence[str], bytes]:
    return _prepared(code, shard_of(campaign_id // ORDINALS), (campaign_id,))


@lru_cache(maxsize=_BATCHES)
def _for_campaigns(code: Script, shard: int, campaigns: tuple[int, ...]) -> tuple[Sequence[str], bytes]:
    return _prepared(code, shard, campaigns)


def _prepared(code: Script, shard: int, campaigns: tuple[int, ...]) -> tuple[Sequence[str], bytes]:
    keys = shard_keys(shard)
    names = list(keys.fixed)
    for brand_id in dict.fromkeys(campaign_id // ORDINALS for campaign_id in campaigns):
        names.append(keys.brand(brand_id))
        if code.name != RECORD:
            # All but record calls also check holds.
            names += keys.holds(brand_id)
    names += map(keys.campaign, campaigns)
    return names, encoded_head(code, names)
