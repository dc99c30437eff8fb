"""A week by half hours: the cells of the form's grid, from a schedule and to one. Pure; days are Monday first, a cell is "mon-18" for 09:00."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from engine.domain.schedule import DAY_MINUTES, DAYS, Schedule
from engine.errors import InvalidSchedule, shown

CELL_MINUTES: Final = 30
CELLS_A_DAY: Final = DAY_MINUTES // CELL_MINUTES
CELLS: Final = tuple(f"{day}-{number}" for number in range(CELLS_A_DAY) for day in DAYS)
"""All of them, in the order in which a person reads the grid: half hour by half hour."""


def clock(number: int) -> str:
    """When the cell of a number begins; of the number after the last, when the day ends."""
    return f"{number // 2:02d}:{number % 2 * CELL_MINUTES:02d}"


def cells_of(schedule: Schedule) -> frozenset[str] | None:
    """The cells of a schedule; None where it does not begin and end on half hours, so that a grid would round it."""
    if not schedule.windows:
        return frozenset(CELLS)
    found: set[str] = set()
    for day, ranges in zip(DAYS, schedule.week(), strict=True):
        for start, end in ranges:
            if start % CELL_MINUTES or end % CELL_MINUTES:
                return None
            found.update(f"{day}-{number}" for number in range(start // CELL_MINUTES, end // CELL_MINUTES))
    return frozenset(found)


def schedule_of(cells: Collection[str]) -> Schedule:
    """The schedule of exactly these cells, days with the same hours in one window. Raises InvalidSchedule for none, and for what is no cell."""
    if unknown := sorted(set(cells) - set(CELLS)):
        raise InvalidSchedule(f"schedule.cells {shown(unknown[0])} is no half hour of a week", "schedule.cells")
    if not cells:
        raise InvalidSchedule(
            "schedule.cells is empty, so the campaign would never run: tick a half hour, choose Always, or pause it",
            "schedule.cells",
        )
    windows: dict[tuple[int, int], list[str]] = {}
    for day in DAYS:
        for start, end in _runs([f"{day}-{number}" in cells for number in range(CELLS_A_DAY)]):
            windows.setdefault((start, end), []).append(day)
    return Schedule.parse(
        [
            {"days": days, "start_time": clock(start), "end_time": clock(end)}
            for (start, end), days in sorted(windows.items())
        ]
    )


def _runs(ticked: list[bool]) -> list[tuple[int, int]]:
    """From which cell to which, the end not included, they are ticked without a gap."""
    edges = [
        number
        for number, (before, now) in enumerate(zip([False, *ticked], [*ticked, False], strict=True))
        if before != now
    ]
    return list(zip(edges[::2], edges[1::2], strict=True))
