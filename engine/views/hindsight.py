"""Explanations of a brand's figures: why one is past its budget, and how long its campaigns ran today. Read from the
ledger, cached for some seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from sqlalchemy import Engine

from engine.domain.budget import BUDGETS
from engine.domain.excess import BudgetChange, Excess, excess_of
from engine.domain.pace import Pace, ahead_of
from engine.domain.periods import Period, at_ms, ms_of
from engine.domain.schedule import Schedule
from engine.domain.zone_text import UTC, Zone
from engine.ledger import history
from engine.ledger.history import BudgetLine, RanToday
from engine.views.models import BrandView

KEPT_MS: Final = 10_000
"""A page asks every two seconds for each viewer; data of the past may be this old."""
MOST_KEPT: Final = 10_000
MANY: Final = 2_000
"""So many campaigns are read in some milliseconds."""
Ran = tuple[int, dict[Zone, dict[int, RanToday]]]
"""The instant (ms) of reading, and by clock the value of each brand since the midnight of that clock."""


class Campaigns(NamedTuple):
    """So many campaigns of a brand that are in use: whether a person left them on, their hours, and whether they run, as last written."""

    enabled: bool
    schedule: Schedule
    running: bool
    number: int


class Hindsight:
    """Reads both for the brands of a page."""

    def __init__(self, db: Engine) -> None:
        self._db = db
        self._spent: dict[int, tuple[int, tuple[int, int]]] = {}
        """Id of a change -> (when it was read, what was spent of the day and the month by then)."""
        self._ran: Ran = (-KEPT_MS, {})

    def explained(self, views: Iterable[BrandView]) -> list[BrandView]:
        """The brands, with the reason for those past a budget."""
        found = list(views)
        past = {view.id: view for view in found if _past(view)}
        if not past:
            return found
        now_ms = max(view.now_ms for view in past.values())
        since = at_ms(min(view.zones.clock.period_start_ms("month", now_ms) for view in past.values()))
        with self._db.connect() as connection:
            lines = history.budget_changes(connection, list(past), since)
            stale = [line for line in lines if self._spent.get(line.id, (-KEPT_MS,))[0] <= now_ms - KEPT_MS]
            spent = (
                history.spent_until(
                    connection, [(line.brand_id, line.at, past[line.brand_id].zones.clock) for line in stale]
                )
                if stale
                else []
            )
        if len(self._spent) > MOST_KEPT:
            self._spent.clear()
        of = {line.id: self._spent.get(line.id, (0, (0, 0)))[1] for line in lines}
        for line, by_then in zip(stale, spent, strict=True):
            self._spent[line.id] = (now_ms, by_then)
            of[line.id] = by_then
        return [replace(view, excess=_excess(view, lines, of)) if view.id in past else view for view in found]

    def paced(self, view: BrandView, campaigns: Iterable[Campaigns], ran: Ran) -> BrandView:
        """The brand with how long its campaigns ran today and may run until its end; as it is where the day has turned since `ran` was read."""
        kinds = list(campaigns)
        clock = view.zones.clock
        elapsed = clock.time_of_day(view.now_ms)[0]
        read_ms, brands = ran
        if clock not in brands or clock.day_of(read_ms) != clock.day_of(view.now_ms):
            return view
        changed = brands[clock].get(view.id, RanToday(0, 0, 0))
        # A campaign whose status did not change today is now as it was at midnight.
        unchanged = max(0, sum(kind.number for kind in kinds if kind.running) - changed.running)
        ran_ms = changed.ran_ms + changed.running * max(0, view.now_ms - read_ms) + unchanged * elapsed
        ahead = ahead_of(((kind.schedule, kind.number) for kind in kinds if kind.enabled), view.now_ms, clock)
        return replace(view, pace=Pace(ran_ms, changed.ran + unchanged, ahead))

    def ran_today(self, now_ms: int, clocks: Collection[Zone] = (UTC,)) -> Ran:
        """How long campaigns ran today, for all brands at once; where many changed, kept for some seconds."""
        read_ms, brands = self._ran
        many = sum(brand.ran for by_clock in brands.values() for brand in by_clock.values()) > MANY
        same = all(clock in brands and clock.day_of(read_ms) == clock.day_of(now_ms) for clock in clocks)
        if many and same and read_ms <= now_ms < read_ms + KEPT_MS:
            return self._ran
        with self._db.connect() as connection:
            midnights = {clock: clock.period_start_ms("day", now_ms) for clock in clocks}
            found = {ms: history.ran_today(connection, now_ms, ms) for ms in set(midnights.values())}
        self._ran = (now_ms, {clock: found[ms] for clock, ms in midnights.items()})
        return self._ran


def _past(view: BrandView) -> bool:
    return not view.archived and any(not budget.allows(0) for budget in view.budgets)


def _excess(view: BrandView, lines: Iterable[BudgetLine], spent: dict[int, tuple[int, int]]) -> dict[Period, Excess]:
    changes: dict[str, list[BudgetChange]] = defaultdict(list)
    periods = {kind.cause: kind.period for kind in BUDGETS}
    for line in lines:
        period = periods.get(line.field)
        if (
            line.brand_id == view.id
            and period
            and ms_of(line.at) >= view.zones.clock.period_start_ms(period, view.now_ms)
        ):
            by_then: dict[Period, int] = dict(zip(("day", "month"), spent[line.id], strict=True))
            changes[line.field].append(BudgetChange(ms_of(line.at), line.old, line.new, by_then[period]))
    found = {kind.period: excess_of(b.spent, b.limit, changes[kind.cause]) for kind, b in view.meters}
    return {period: excess for period, excess in found.items() if excess is not None}
