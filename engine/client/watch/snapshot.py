"""Reads a watcher's snapshot of one shard, its brands and their plans, with calls that write nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from engine.client.watch.messages import BrandSnapshot, CampaignSnapshot, rates_of, read_brand, read_campaign
from engine.client.watch.rates import RateSet
from engine.client.watch.wanted import WatchFilter
from engine.errors import WrongVersion
from engine.live.keys import shard_keys
from engine.live.replies import NOT_READY, head
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call, Reply

SLICE: Final = 200
BRANDS_A_CALL: Final = 500
CALLS_AT_ONCE: Final = 64


class ShardNotReady(Exception):
    """The shard has no mark, or another one than when the reading began; the message is the reason."""


class Snapshot(NamedTuple):
    """A shard under one mark. Each brand has an n of its own, from which messages continue."""

    mark: str
    brands: list[tuple[int, BrandSnapshot, list[CampaignSnapshot]]]
    rates: list[RateSet]


def read_snapshot(
    ask: Callable[[Call], Reply], ask_all: Callable[[list[Call]], list[Reply]], wanted: WatchFilter, shard: int
) -> Snapshot:
    """Reads the watched part of a shard. Raises ShardNotReady, and what `ask` raises."""
    mark, highest = _brands_there(ask, wanted, shard)
    keys, code = shard_keys(shard), script("read_watched")
    asked: list[tuple[int, list[int]]] = []
    for brand_id, ordinal in highest.items():
        ids = wanted.campaigns_of(brand_id, ordinal)
        asked += [(brand_id, ids[start : start + SLICE]) for start in range(0, max(len(ids), 1), SLICE)]
    brands: dict[int, tuple[BrandSnapshot, list[CampaignSnapshot]]] = {}
    rates: list[RateSet] = []
    for start in range(0, len(asked), CALLS_AT_ONCE):
        part = asked[start : start + CALLS_AT_ONCE]
        calls = [Call(code, (keys.shard, keys.brand(b), *map(keys.campaign, ids)), (LAYOUT,)) for b, ids in part]
        for (brand_id, ids), reply in zip(part, ask_all(calls), strict=True):
            _check(reply, mark)
            if reply[4]:
                n, at_ms = int(reply[3]), int(reply[2])
                seen = read_brand(n, at_ms, reply[4].decode())
                rates += rates_of(brand_id, at_ms, reply[4].decode(), of_brand=True)
                campaigns = brands[brand_id][1] if brand_id in brands else []
                lines = [(c, text.decode()) for c, text in zip(ids, reply[5:], strict=True) if text]
                rates += (rate for c, text in lines for rate in rates_of(c, at_ms, text, of_brand=False))
                campaigns += [read_campaign(c, text, n=n, at_ms=at_ms) for c, text in lines]
                brands[brand_id] = (seen, campaigns)
    return Snapshot(mark, [(brand_id, seen, campaigns) for brand_id, (seen, campaigns) in brands.items()], rates)


def unready(reply: Reply | str) -> tuple[str, bool]:
    """Why a shard cannot be watched, and whether its server does not answer or it is of a layout of another release; an
    empty text where it can. reply: a text where no reply came.
    """
    if isinstance(reply, str):
        return reply, True
    try:
        return (reply[1].decode(), False) if head(reply) == NOT_READY else ("", False)
    except WrongVersion as error:
        return str(error), True


def _brands_there(ask: Callable[[Call], Reply], wanted: WatchFilter, shard: int) -> tuple[str, dict[int, int]]:
    """The mark, and {brand id: highest ordinal} of the watched brands that are published."""
    keys, code = shard_keys(shard), script("read_registry")
    named, found, cursor, mark = wanted.brands_of(shard), dict[int, int](), "0", ""
    while True:
        names = [str(named.pop()) for _ in range(min(BRANDS_A_CALL, len(named)))]
        reply = ask(Call(code, (keys.shard, keys.registry), (LAYOUT, cursor, *names)))
        _check(reply, mark)
        mark, cursor = reply[1].decode(), reply[4].decode()
        found.update((int(b), int(o)) for b, o in (pair.split(":") for pair in reply[5].decode().split(";") if pair))
        if cursor == "0" and not named:
            return mark, found


def _check(reply: Reply, mark: str) -> None:
    if head(reply) == NOT_READY:
        raise ShardNotReady(reply[1].decode())
    if mark and reply[1].decode() != mark:
        raise ShardNotReady("it was rebuilt while it was read")
