"""Controllers of a paced budget, each written from the rule of its source, for `benchmarks.pacing`.

A controller may skip an offer (`bids`), bid less for it (`shade`), and at last answer whether the money may be spent
(`takes`). `tick` is called at each end of `tick_ms`. Except for ours, nothing but the budget's end refuses.
"""

from __future__ import annotations

import math
import random
from typing import Final

from benchmarks.pacing_traffic import TRAFFIC
from engine.domain.curves import PPM
from engine.domain.gate import Due, Gate
from engine.domain.periods import DAY_MS, MINUTE_MS

MINUTES: Final = DAY_MS // MINUTE_MS


class Policy:
    """A hard stop: everything passes until the budget is used up. What ad servers do without pacing."""

    name = "hard stop"
    tick_ms = MINUTE_MS

    def __init__(self, budget: int, due: Due, seed: int, offers: int) -> None:
        """budget: micros. due: the plan. offers: how many a forecast expects in the day."""
        self.budget, self.due, self.offers = budget, due, offers
        self.spent = 0
        self.drawn = random.Random(seed)
        self.before = 0
        self.start()

    def start(self) -> None:
        """Sets what the controller begins a day with."""

    def bids(self, ms: int) -> bool:
        """Whether to bid on an offer at all."""
        return True

    def shade(self) -> float:
        """The part of the full bid that is bid."""
        return 1.0

    def takes(self, ms: int, price: int) -> bool:
        """Whether a won offer may be paid; it is counted where it may."""
        passes = self.spent + price <= self.budget
        self.spent += price * passes
        return passes

    def saw(self, ms: int, paid: int) -> None:
        """Called after each offer with what was paid for it, 0 for nothing."""

    def tick(self, ms: int) -> None:
        """Called at each end of `tick_ms`."""

    def planned(self, ms: int) -> int:
        """Micros that are due by an instant."""
        return self.budget * self.due(min(ms, DAY_MS)) // PPM

    def last_minute(self) -> int:
        """What was spent since the last call of this."""
        spent, self.before = self.spent - self.before, self.spent
        return spent


class FiveMinuteJob(Policy):
    """The seed design of this engine: a job each five minutes pauses what is over its budget. In between nothing stops."""

    name = "job each 5 minutes"
    tick_ms = 5 * MINUTE_MS

    def start(self) -> None:
        self.running = True

    def takes(self, ms: int, price: int) -> bool:
        self.spent += price * self.running
        return self.running

    def tick(self, ms: int) -> None:
        self.running = self.spent < self.budget


class LinkedIn(Policy):
    """Agarwal, Ghosh, Wei, You: Budget Pacing for Targeted Online Advertisements at LinkedIn (KDD 2014).

    The pass-through rate begins at a tenth. Each minute it rises by a tenth while less is spent than is due, and else
    falls by a tenth. Its fast finish (to be done two hours early) is left out, so that all have one plan.
    """

    name = "LinkedIn, KDD 2014"

    def start(self) -> None:
        self.rate = 0.1

    def bids(self, ms: int) -> bool:
        return self.drawn.random() < self.rate

    def tick(self, ms: int) -> None:
        self.rate = min(1.0, self.rate * 1.1) if self.spent <= self.planned(ms) else max(1e-4, self.rate * 0.9)


class SmartPacing(Policy):
    """Xu, Lee, Li, Qi, Lu: Smart Pacing for Effective Online Ad Campaign Optimization (KDD 2015), with one layer.

    The rate of the next slot is that of the last one, times what the next slot shall spend over what the last one spent.
    A slot shall spend its plan and an even part of what is behind. Slots are minutes.
    """

    name = "Smart Pacing, KDD 2015"

    def start(self) -> None:
        self.rate = 0.1

    def bids(self, ms: int) -> bool:
        return self.drawn.random() < self.rate

    def tick(self, ms: int) -> None:
        spent, now = self.last_minute(), self.planned(ms)
        left = max(1, (DAY_MS - ms) // MINUTE_MS)
        wanted = max(0.0, self.planned(ms + MINUTE_MS) - now + (now - self.spent) / left)
        grown = self.rate * wanted / spent if spent else self.rate * 2
        self.rate = min(1.0, max(grown, self.rate / 5, 5e-4))


class Mystique(Policy):
    """Mystique: A Budget Pacing System for Performance Optimization in Online Advertising (WWW 2024, companion), with
    the constants of its published simulation.

    A signal shades the bids. Each minute two corrections change it: by how far the spend is off the plan, and by how far
    its speed is off the plan's speed. The nearer the two lines are to meet, the more the speed counts.
    """

    name = "Mystique, WWW 2024"

    def start(self) -> None:
        self.signal = 0.1

    def shade(self) -> float:
        return self.signal

    def tick(self, ms: int) -> None:
        spent = self.last_minute()
        if self.spent >= self.budget:
            return
        off = (self.spent - self.planned(ms)) / self.budget
        speed = (spent - (self.planned(ms + MINUTE_MS) - self.planned(ms))) / self.budget * MINUTES
        meet = MINUTES + 1.0 if abs(speed) < 1e-9 else -MINUTES * off / speed
        of_level = 0.5 if meet < 0 else min(0.9, 0.2 * meet)
        level = 0.025 * min(1.0, abs(off) / 0.25)
        slope = max(0.01, 0.025 * min(1.0, abs(speed) / 1.5))
        change = of_level * math.copysign(level, off) + (1 - of_level) * math.copysign(slope, speed)
        self.signal = min(1.0, max(1e-4, self.signal - change))


class PiMultiplier(Policy):
    """A PI controller of a bid multiplier, each minute on its logarithm, as Zhang, Rong, Wang, Zhu, Wang: Feedback Control
    of Real-Time Display Advertising (WSDM 2016) do for costs. Gains are tuned by hand for these days.
    """

    name = "PI multiplier, WSDM 2016"

    def start(self) -> None:
        self.log = math.log(0.5)

    def shade(self) -> float:
        return math.exp(self.log)

    def tick(self, ms: int) -> None:
        spent, now, even = self.last_minute(), self.planned(ms), self.budget / MINUTES
        behind = (now - self.spent) / even
        slower = (max(1, self.planned(ms + MINUTE_MS) - now) - spent) / even
        self.log += 0.04 * max(-1.5, min(1.5, slower)) + 0.01 * max(-5.0, min(5.0, behind))
        self.log = min(0.0, max(-4.5, self.log))


class DualMirrorDescent(Policy):
    """Balseiro, Lu, Mirrokni: The Best of Many Worlds: Dual Mirror Descent for Online Allocation Problems (2020).

    A bid is the value over one plus a price of money. After each offer the price moves by what the offer should have
    cost, less what it did. What an offer should cost follows the plan, by a forecast of the offers.
    """

    name = "dual mirror descent, 2020"
    _AROUND_MS: Final = 5 * MINUTE_MS
    _USUAL_PRICE: Final = 900

    def start(self) -> None:
        self.price = 1.0
        self.step = 4 / math.sqrt(max(1, self.offers))
        self.each = self.budget / max(1, self.offers)
        self.minute = -1
        self.target = self.each

    def shade(self) -> float:
        return 1 / (1 + self.price)

    def saw(self, ms: int, paid: int) -> None:
        if ms // MINUTE_MS != self.minute:
            self.minute = ms // MINUTE_MS
            low, high = max(0, ms - self._AROUND_MS), min(DAY_MS, ms + self._AROUND_MS)
            offered = TRAFFIC(high) - TRAFFIC(low)
            planned = self.due(high) - self.due(low)
            self.target = self.each * planned / max(1, offered)
        self.price = min(40.0, max(0.0, self.price - self.step * (self.target - paid) / self._USUAL_PRICE))


class OurGate(Policy):
    """This engine's gate alone, by its model: a try passes while less is spent than is due."""

    name = "our gate"
    catch_up = "300"

    def start(self) -> None:
        self.gate = Gate(self.budget, self.due, self.catch_up)

    def takes(self, ms: int, price: int) -> bool:
        return self.gate.try_spend(ms, price)


class OurGateAndRate(OurGate):
    """The gate, and bidders who skip offers by its pass rate. Until the first try of a minute the rate is 1."""

    name = "our gate with a pass rate"

    def bids(self, ms: int) -> bool:
        return self.drawn.random() * PPM < self.gate.rate(ms)


PEERS: Final = (FiveMinuteJob, Policy, LinkedIn, SmartPacing, Mystique, PiMultiplier, DualMirrorDescent)
OURS: Final = (OurGate, OurGateAndRate)
