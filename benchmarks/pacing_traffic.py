"""Days of traffic for `benchmarks.pacing`: when somebody offers an impression, what it costs, and what one bids for it.

Prices, minutes and seconds come from a real log where its files are given; else from a seeded sample that is made here.
The two curves of hours are real and disjoint: a forecast never knows the day that it forecasts.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.domain.curves import curve_of
from engine.domain.periods import HOUR_MS, MINUTE_MS
from engine.domain.traffic import Shape

FORECAST: Final = (
    2286748, 755396, 433706, 417712, 234660, 247174, 288930, 583210, 866118, 1035430, 1597422, 1621498,
    1621532, 1770730, 1659966, 1864510, 1889388, 1816568, 1948908, 1508746, 1528058, 1280188, 1950740, 1437978,
)  # fmt: skip
"""Impressions of each hour in one part of the iPinYou data set (30.6 million)."""
ACTUAL: Final = (
    97,
    57,
    40,
    41,
    25,
    24,
    22,
    31,
    57,
    91,
    121,
    118,
    115,
    127,
    141,
    185,
    203,
    208,
    152,
    96,
    60,
    108,
    149,
    132,
)
"""Wins of each hour in another part of it (4.23 million), in parts."""
TRAFFIC: Final = curve_of(Shape(FORECAST, 0).points).due
"""What a learned curve would be: of the forecast, not of the day."""
PRICES: Final = "ipinyou-2821-a.csv"
_ARRIVALS: Final = "arrivals-2821.csv"
_SAMPLE_SEED: Final = 2821
_SAMPLE: Final = 5000


@dataclass(frozen=True, slots=True)
class Market:
    """prices: pairs of bid and price paid, in micros. hours: the milliseconds of an hour at which there were wins, for
    some hours; none where no log is given. source: what to say of it.
    """

    prices: Sequence[tuple[int, int]]
    hours: Sequence[Sequence[int]]
    source: str


@dataclass(frozen=True, slots=True)
class Day:
    """One day of offers in order: instants (ms since it began), bids and prices, in micros."""

    instants: Sequence[int]
    bids: Sequence[int]
    prices: Sequence[int]


def market(folder: Path) -> Market:
    """The market of a folder with the real log's files, or else the seeded one."""
    if not all((folder / name).is_file() for name in (PRICES, _ARRIVALS)):
        return _seeded()
    with (folder / PRICES).open(encoding="utf-8") as file:
        prices = [(int(row["bid_micros"]), int(row["amount_micros"])) for row in csv.DictReader(file)]
    hours: dict[int, list[int]] = {}
    with (folder / _ARRIVALS).open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            hours.setdefault(int(row["hour"]), []).append(int(row["ms_of_hour"]))
    # The first hour and the last one are not whole.
    return Market(prices, [hours[hour] for hour in sorted(hours)[1:-1]], f"{len(prices):,} prices of a real log")


def _seeded() -> Market:
    """Second prices below a bid that is one of a few, as in a real log: many cheap ones, and few near the bid."""
    drawn = random.Random(_SAMPLE_SEED)
    prices = []
    for _ in range(_SAMPLE):
        bid = drawn.choice((2270, 2390, 2770, 2940))
        prices.append((bid, min(bid, max(10, int(drawn.lognormvariate(6.5, 0.8))) // 10 * 10)))
    return Market(prices, [], "a seeded sample of prices")


def day_of_traffic(
    of: Market, number: int, seed: int, *, clumped: bool = False, outage: tuple[int, int] | None = None
) -> Day:
    """A day of so many offers.

    clumped: most of a minute's offers come in its first seconds, as in the real log, whose bidder had a quota a minute.
    outage: from when to when (ms) nobody offers anything.
    """
    drawn = random.Random(seed)
    instants = []
    minutes = [[drawn.gammavariate(12, 1) for _ in range(60)] for _ in range(24)]
    base = [drawn.choice(of.hours) if of.hours else [] for _ in range(24)]
    for hour in drawn.choices(range(24), ACTUAL, k=number):
        if of.hours:
            into = drawn.choice(base[hour])
            into = into if clumped else into - into % MINUTE_MS + drawn.randrange(MINUTE_MS)
        else:
            (minute,) = drawn.choices(range(60), minutes[hour])
            into = minute * MINUTE_MS + (_clumped(drawn) if clumped else drawn.randrange(MINUTE_MS))
        instants.append(hour * HOUR_MS + into)
    instants.sort()
    if outage is not None:
        instants = [at for at in instants if not outage[0] <= at < outage[1]]
    pairs = drawn.choices(of.prices, k=len(instants))
    return Day(instants, [bid for bid, _ in pairs], [price for _, price in pairs])


def _clumped(drawn: random.Random) -> int:
    """36 of 100 in the first second of a minute, 90 in the first seven."""
    part = drawn.random()
    if part < 0.36:
        return drawn.randrange(1000)
    return drawn.randrange(1000, 7000) if part < 0.9 else drawn.randrange(7000, MINUTE_MS)
