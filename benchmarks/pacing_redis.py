"""The gate of a real Redis beside its model, over the same tries: whether both decide alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.embedded import servers
from benchmarks.pacing_policies import OurGate
from benchmarks.pacing_traffic import FORECAST, TRAFFIC, Day
from benchmarks.size import fresh
from engine.domain.gate import Due
from engine.domain.pacing import Pacing
from engine.domain.periods import DAY_MS, at_ms
from engine.domain.traffic import Shape
from engine.live.scripts import swapping
from engine.wiring import System
from tests.live.plant import MOVABLE_CLOCK

HEAD: Final = (
    "| plan | tries | refused | decided as the model | retry times as the model |\n| --- | ---: | ---: | ---: | ---: |"
)
_CURVE: Final = "forecast"
_RETRIES: Final = 20
"""The retry time of each so many-th refusal is compared: the model searches for it."""


@dataclass(slots=True)
class Compared:
    """Tries of one day."""

    tries: int = 0
    refused: int = 0
    alike: int = 0
    retries: int = 0
    retries_alike: int = 0

    @property
    def whole(self) -> bool:
        return self.alike == self.tries and self.retries_alike == self.retries

    def line(self, plan: str) -> str:
        return (
            f"| {plan} | {self.tries:,} | {self.refused:,} | {self.alike:,} | {self.retries_alike:,} of {self.retries:,}"
            " |"
        )


def compare(days: dict[str, tuple[Due, Day, int]], say: Callable[[str], None]) -> bool:
    """Plays days of {plan: (curve, offers, budget)} on a real Redis; whether each try was decided as by the model."""
    say(f"\nThe same on a real Redis, its clock moved to each offer\n\n{HEAD}")
    whole = True
    with servers() as urls, fresh(urls) as system, swapping({"lib/clock.lua": MOVABLE_CLOCK}):
        system.manage.put_curve(_CURVE, {0: Shape(FORECAST, 0).points}, "bench")
        begins = system.live.now_ms() // DAY_MS * DAY_MS
        for number, (plan, (due, day, budget)) in enumerate(days.items(), 1):
            found = _play(system, begins + number * DAY_MS, due, day, budget)
            whole &= found.whole
            say(found.line(plan))
    return whole


def _play(system: System, begins: int, due: Due, day: Day, budget: int) -> Compared:
    found, model = Compared(), OurGate(budget, due, 0, len(day.instants)).gate
    pacing = Pacing(f"custom:{_CURVE}" if due is TRAFFIC else "even")
    brand = system.manage.create_brand(f"Paced {begins}", budget, None, None, "bench", pacing).row
    (campaign,) = system.manage.create_campaigns(brand.id, ["c"], "bench")
    for ms, price in zip(day.instants, day.prices, strict=True):
        system.hot_redis.set("test:clock", begins + ms)
        result = system.client.try_spend(campaign.id, amount_micros=price)
        found.tries += 1
        found.alike += bool(result) == model.try_spend(ms, price)
        if not result:
            found.refused += 1
            if found.refused % _RETRIES == 0:
                found.retries += 1
                retry = model.retry_ms(price)
                found.retries_alike += result.retry_at == (None if retry is None else at_ms(begins + retry))
    return found
