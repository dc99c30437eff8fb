"""Projects today's spend from the time that campaigns ran today and the time that they may still run before their
brand's day ends.

Time is in campaign-milliseconds: two campaigns that run side by side for an hour are two hours. Pauses and closed
windows do not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from engine.domain.periods import MINUTE_MS
from engine.domain.schedule import DAY_MINUTES, Schedule, weekday_of
from engine.domain.zone_text import UTC, Zone

TOO_EARLY_MS: Final = 30 * MINUTE_MS
"""The least running time before a projection: an early burst would be multiplied by 48 and more."""


@dataclass(frozen=True, slots=True)
class Pace:
    """ran_ms: how long the campaigns ran today, together. ahead: (from, until, campaigns that may run then), in
    order, up to the day's end.
    """

    ran_ms: int
    campaigns: int
    ahead: tuple[tuple[int, int, int], ...]

    @classmethod
    def all_day(cls, now_ms: int, zone: Zone = UTC) -> Pace:
        """The time of one campaign that runs all day."""
        return cls(zone.time_of_day(now_ms)[0], 1, ((now_ms, zone.next_day_ms(now_ms), 1),))

    @property
    def too_early(self) -> bool:
        """Whether they ran for less than half an hour each."""
        return self.ran_ms < TOO_EARLY_MS * max(1, self.campaigns)

    def projected(self, spent: int) -> int | None:
        """The spend at the end of the day at the rate of the time that they ran; None when it is too early to say."""
        if self.too_early:
            return None
        left = sum((until - since) * campaigns for since, until, campaigns in self.ahead)
        return spent + spent * left // self.ran_ms

    def reaches_ms(self, spent: int, budget: int) -> int | None:
        """The instant today at which the spend reaches a budget that is not used up yet; None when it does not."""
        projected = self.projected(spent)
        if projected is None or not 0 < spent < budget < projected:
            return None
        missing = -(-(budget - spent) * self.ran_ms // spent)
        for since, until, campaigns in self.ahead:
            if missing <= (until - since) * campaigns:
                return since + missing // campaigns
            missing -= (until - since) * campaigns
        return None


def ahead_of(
    campaigns: Iterable[tuple[Schedule, int]], now_ms: int, zone: Zone = UTC
) -> tuple[tuple[int, int, int], ...]:
    """How many campaigns may run, and when, from now to the end of the brand's day, from (schedule, how many have it)."""
    day = zone.day_of(now_ms)
    edges: dict[int, int] = {}
    for schedule, number in campaigns:
        for start, end in _open_today(schedule, weekday_of(day)):
            since, until = (zone.clock_ms(day, minute * MINUTE_MS) for minute in (start, end))
            since = max(now_ms, since)
            if since < until:
                edges[since] = edges.get(since, 0) + number
                edges[until] = edges.get(until, 0) - number
    out, running, places = [], 0, sorted(edges)
    for since, until in pairwise(places):
        running += edges[since]
        if running:
            out.append((since, until, running))
    return tuple(out)


@lru_cache(4096)
def _open_today(schedule: Schedule, weekday: int) -> tuple[tuple[int, int], ...]:
    return ((0, DAY_MINUTES),) if schedule.always else tuple(schedule.week()[weekday])
