"""Two promises of pacing on a real Redis, each call at an instant of its own: holds overspend nothing, and a refused try
passes at the millisecond that it was told and not before.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.embedded import servers
from benchmarks.pacing_traffic import FORECAST
from benchmarks.size import fresh
from engine.domain.ids import brand_of
from engine.domain.pacing import Pacing
from engine.domain.periods import DAY_MS, MINUTE_MS, ms_of
from engine.domain.traffic import Shape
from engine.live.keys import keys_of_brand
from engine.live.scripts import swapping
from engine.wiring import System
from tests.live.plant import MOVABLE_CLOCK

_LIMIT: Final = 2_000_000
_PACINGS: Final = tuple(
    (Pacing(mode, catch_up), zone)
    for mode, zone in (("even", None), ("ahead", "Europe/Berlin"), ("custom:exact", "Asia/Kolkata"))
    for catch_up in ("300", "150", "spread", "asap")
)


@dataclass(slots=True)
class Exact:
    """retries: refused tries that were told an instant. right: those refused a millisecond before it and accepted at it.
    holds: that were asked for. over: micros above the budget, spent and on hold together, at the worst instant.
    """

    retries: int = 0
    right: int = 0
    holds: int = 0
    over: int = 0


def measure(say: Callable[[str], None], retries: int, holds: int) -> Exact:
    """Prints a line each for retry times and holds."""
    found, drawn = Exact(), random.Random(18)
    with servers() as urls, fresh(urls) as system, swapping({"lib/clock.lua": MOVABLE_CLOCK}):
        system.manage.put_curve("exact", {0: Shape(FORECAST, 0).points}, "bench")
        now = (system.live.now_ms() // DAY_MS + 1) * DAY_MS
        for number, (pacing, zone) in enumerate(_PACINGS):
            system.hot_redis.set("test:clock", now)
            brand = system.manage.create_brand(f"Exact {number}", _LIMIT, None, None, "bench", pacing, zone).row
            (campaign,) = system.manage.create_campaigns(brand.id, ["c"], "bench")
            now = _retries(system, campaign.id, now, retries * (number + 1) // len(_PACINGS), found, drawn)
            now = _holds(system, campaign.id, now, holds // len(_PACINGS), found, drawn)
    say(f"| `retry_at`: refused one ms before, accepted at it | {found.right:,} of {found.retries:,} |")
    say(f"| {found.holds:,} holds: over the budget, spent and on hold | {found.over:,} micros |")
    return found


def _retries(system: System, campaign: int, now: int, until: int, found: Exact, drawn: random.Random) -> int:
    """Tries until so many refusals were told an instant. Returns the clock."""

    def passes(at: int, micros: int) -> bool:
        system.hot_redis.set("test:clock", at)
        return bool(system.client.try_spend(campaign, amount_micros=micros))

    while found.retries < until:
        micros = drawn.choice((300, 900, 2_900))
        system.hot_redis.set("test:clock", now)
        result = system.client.try_spend(campaign, amount_micros=micros)
        if result:
            continue
        if result.retry_at is None:
            now += MINUTE_MS * 10
            continue
        at = ms_of(result.retry_at)
        found.retries += 1
        found.right += not passes(at - 1, micros) and passes(at, micros)
        now = at + drawn.choice((0, 1, 40_000))
    return now


def _holds(system: System, campaign: int, now: int, count: int, found: Exact, drawn: random.Random) -> int:
    """Reserves, and settles or releases, and notes the most that spends and holds are above the budget."""
    for _ in range(count):
        now += drawn.randrange(20_000)
        system.hot_redis.set("test:clock", now)
        micros = drawn.choice((300, 900, 2_900))
        held = system.client.reserve(campaign, ttl=60, amount_micros=micros)
        found.holds += 1
        if held and drawn.random() < 0.7:
            system.client.settle(held.hold_id, amount_micros=micros)
        on_hold: Any = system.hot_redis.hget(keys_of_brand(brand_of(campaign)).brand(brand_of(campaign)), "held")
        live = system.live.read_brand(brand_of(campaign), 0)
        assert live is not None
        found.over = max(found.over, live.daily_spend + int(on_hold or 0) - _LIMIT)
    return now
