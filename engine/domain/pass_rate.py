"""The pass rate of a paced budget: which part of its offers to try in a minute, so that few tries are refused.

It is advice and refuses nothing: the gate stands behind it. It holds for its own minute only. Whole numbers, money in
micros. `lua/lib/pass_rate.lua` has the same rules, and decides.
"""

from __future__ import annotations

from typing import Final

WHOLE: Final = 1_000_000
"""A rate of 1, in ppm."""
LEAST: Final = 1_000
MOST_ASKED: Final = 10**14 - 1
_LARGE: Final = 9 * 10**9
_PARTS: Final = 100_000


class PassRate:
    """The rate of one owner. A day's first minute may follow one of the day before."""

    __slots__ = ("asked", "demand", "minute", "rate")

    def __init__(self) -> None:
        self.minute: int | None = None
        self.asked = self.demand = 0
        self.rate = WHOLE

    def begin(self, minute: int, wanted: int) -> None:
        """Sets the rate at the first call of a minute. wanted: micros that it may spend by its plan and its cap."""
        if self.minute is not None:
            whole = min(self.asked * WHOLE // self.rate, MOST_ASKED)
            self.demand = (3 * self.demand + whole) // 4 if self.demand else whole
            for _ in range(minute - self.minute - 1):
                if not self.demand:
                    break
                self.demand = 3 * self.demand // 4
        self.minute, self.asked, self.rate = minute, 0, rate_of(wanted, self.demand)

    def ask(self, amount: int) -> None:
        """Counts a try that was accepted or that pacing refused."""
        self.asked = min(self.asked + amount, MOST_ASKED)


def together(of_brand: int, own: int) -> int:
    """The rate of a campaign: its brand's and its own, since each is measured on what the other lets pass."""
    return max(of_brand * own // WHOLE, LEAST)


def rate_of(wanted: int, demand: int) -> int:
    """The ppm of a demand to try, a tenth more than is wanted."""
    most = max(wanted, 0)
    if most < demand:
        most += most // 10
    if most >= demand:
        return WHOLE
    if demand > _LARGE:
        most, demand = most // _PARTS, demand // _PARTS
    return max(most * WHOLE // demand, LEAST)
