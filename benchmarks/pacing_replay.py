"""A real log replayed through paced brands on a real Redis, whose clock stands at each line's own instant.

The lines go through `Replay` as `budget-engine replay --pace-by at` sends them, but as tries. The log is of two hours
and twenty minutes, so its brands are in a time zone whose day begins half an hour before them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from benchmarks.embedded import servers
from benchmarks.off_plan import off_plan
from benchmarks.pacing_traffic import FORECAST, PRICES
from benchmarks.size import fresh
from engine.client.sync import Spend
from engine.domain.curves import PPM
from engine.domain.gate import Gate
from engine.domain.pacing import Pace, Pacing, compiled
from engine.domain.periods import DAY_MS, HOUR_MS, ms_of
from engine.domain.simulation import SLOT_MS, SLOTS, Course
from engine.domain.traffic import Shape
from engine.feeds.replay import Pair, Replay
from engine.feeds.replay_names import CatalogNames
from engine.feeds.spend_file import SpendFile, SpendRow
from engine.live.replies import ACCEPTED, DUPLICATE, SpendResult
from engine.live.scripts import swapping
from engine.wiring import System
from tests.live.plant import MOVABLE_CLOCK

HEAD: Final = (
    "| pacing | tries | used of what was due | most off plan | largest error of 5 minutes | mean error | refused | as the model |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)
MODES: Final = ("even", "ahead", "traffic")
SOLD: Final = 0.4
"""What is due while the log lasts, as a part of what it offers: 2.5 budgets are for sale."""
_ZONE: Final = "Pacific/Honolulu"
_MIDNIGHT_MS: Final = 10 * HOUR_MS
"""Midnight of that zone, by UTC."""
_CURVE: Final = "forecast"
_POINTS: Final = Shape(FORECAST, 0).points
"""The hours of other days than the log's, as a learned curve would have them."""


@dataclass(slots=True)
class Replayed:
    """One replay. course: what was spent and refused in each five minutes. due: micros that were due by the log's end.
    ends: the slot in which it ends. supply: what each slot offered. alike: the tries that the model decides alike.
    """

    mode: str
    course: Course
    due: int
    ends: int
    supply: list[int] = field(default_factory=lambda: [0] * SLOTS)
    alike: int = 0

    @property
    def off_ppm(self) -> int:
        """The most off plan where the offers covered it for an hour."""
        return off_plan(self.course, self.supply, self.ends).most * PPM // self.course.limit

    @property
    def errors(self) -> list[float]:
        """Of each whole five minutes in which the offers covered the plan: the error, as a part of its plan."""
        marks, errors = self.course.marks(), off_plan(self.course, self.supply, self.ends).errors
        plans = [marks[slot + 1] - marks[slot] for slot in range(self.ends)]
        return [error / plan for error, plan in zip(errors, plans[len(plans) - len(errors) :], strict=True)]

    def line(self) -> str:
        """The row of the table."""
        errors, course = self.errors, self.course
        return (
            f"| {self.mode} | {course.tries:,} | {course.total / self.due * 100:.2f} % | {self.off_ppm / 10_000:.2f} %"
            f" | {max(errors) * 100:.1f} % | {sum(errors) / len(errors) * 100:.1f} %"
            f" | {course.refused_ppm / 10_000:.1f} % | {self.alike:,} |"
        )


def log_of(folder: Path) -> Path | None:
    """The log in a folder of data; None where it has none."""
    return folder / PRICES if (folder / PRICES).is_file() else None


def replay(file: Path, say: Callable[[str], None], modes: Iterable[str] = MODES) -> list[Replayed]:
    """Replays a log under each pacing, and prints the table."""
    say(HEAD)
    found = []
    with servers() as urls, fresh(urls) as system, swapping({"lib/clock.lua": MOVABLE_CLOCK}):
        day = system.live.now_ms() // DAY_MS + 1
        for number, mode in enumerate(modes):
            found.append(replayed(system, file, mode, day + 2 * number))
            say(found[-1].line())
    return found


def replayed(system: System, file: Path, mode: str, day: int) -> Replayed:
    """Replays a log on a day (since 1970), in a brand of its own. The scripts of the system have the movable clock."""
    system.manage.put_curve(_CURVE, {0: _POINTS}, "bench")
    begins, pacing = day * DAY_MS + _MIDNIGHT_MS, Pacing(f"custom:{_CURVE}" if mode == "traffic" else mode)
    pace = Pace.of(compiled(pacing, None, {0: _POINTS} if pacing.curve else None))
    assert pace is not None, mode
    with SpendFile(file) as lines:
        rows = [row for row in lines.rows() if isinstance(row, SpendRow) and row.at is not None]
    last = max(_time(row.at) for row in rows if row.at is not None)
    offered = sum({row.event_id: row.amount_micros for row in rows}.values())
    limit = int(offered * SOLD) * PPM // pace.due(last)
    course = Course(limit, lambda ms: pace.due(min(ms, DAY_MS - 1)))
    found = Replayed(mode, course, limit * pace.due(last) // PPM, last // SLOT_MS)
    gate = Gate(limit, pace.due)

    def heard(spend: Spend, result: SpendResult) -> None:
        if result.outcome != DUPLICATE and spend.occurred_at is not None and spend.amount_micros is not None:
            ms, passes = _time(spend.occurred_at), result.outcome == ACCEPTED
            found.alike += gate.try_spend(ms, spend.amount_micros) == passes
            found.course.add(ms, spend.amount_micros, passes=passes)
            found.supply[ms // SLOT_MS] += spend.amount_micros

    system.hot_redis.set("test:clock", begins)
    system.manage.create_brand(f"{rows[0].brand} {mode}", limit, None, None, "bench", pacing, _ZONE)
    names = _Renamed(CatalogNames(system.catalog, system.manage, "bench"), mode)
    with SpendFile(file) as lines:
        totals = Replay(
            _Trying(system, heard), names, wait_for=lambda at: system.hot_redis.set("test:clock", begins + _time(at))
        ).run(lines)
    assert not totals.stopped, totals.stopped
    return found


def _time(at: datetime) -> int:
    """The time of a line in the day of its brand, in ms."""
    return (ms_of(at) - _MIDNIGHT_MS) % DAY_MS


class _Trying:
    """A client whose spends ask first. heard: gets each spend with its result."""

    def __init__(self, system: System, heard: Callable[[Spend, SpendResult], None]) -> None:
        self._client = system.client
        self._heard = heard

    def record_spends(self, spends: Iterable[Spend], *, request_id: str | None = None) -> list[SpendResult]:
        listed = list(spends)
        found = self._client.try_spends(listed, request_id=request_id)
        for spend, result in zip(listed, found, strict=True):
            self._heard(spend, result)
        return found


class _Renamed:
    """The names of a log with each brand's own pacing after it, so that each replay has brands of its own."""

    def __init__(self, names: CatalogNames, mode: str) -> None:
        self._names = names
        self._mode = mode

    def campaign_ids(self, wanted: Iterable[Pair]) -> tuple[dict[Pair, int], dict[Pair, str]]:
        pairs = {(f"{brand} {self._mode}", campaign): (brand, campaign) for brand, campaign in wanted}
        ids, refused = self._names.campaign_ids(pairs)
        return {pairs[pair]: one for pair, one in ids.items()}, {pairs[pair]: why for pair, why in refused.items()}
