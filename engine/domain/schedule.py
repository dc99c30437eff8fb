"""Dayparting: when a campaign may run, in its brand's time zone, to the minute.

A schedule is a window or a list of windows: `{"days": ["mon", ...], "start_time": "09:00", "end_time": "17:00"}`.
- The start is included, the end is not; `24:00` is an end.
- A window over midnight belongs to the day on which it starts.
- Without days it applies to all days, without times all day.
- An empty schedule (`{}`, `[]`) and the words `always` and `none` mean always.
It compiles to text like `12345@540-1020;6@0-360` (days 1 = Monday to 7, minutes of the day). The text is short enough
for Redis' compact hashes, and the scripts read it at each decision (`lua/lib/schedule.lua`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from engine.domain.periods import DAY_MS, MINUTE_MS, day_of, day_start_ms, ms_of
from engine.domain.zone_text import UTC, UTC_NAME, Zone
from engine.errors import InvalidSchedule, shown

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES: Final = 1440
MAX_WINDOWS: Final = 50
ALWAYS_WORDS: Final = frozenset({"always", "none"})
"""What a person writes for a campaign that may always run."""
_FIELDS: Final = frozenset({"days", "start_time", "end_time"})
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_THURSDAY: Final = 3
_EXAMPLE: Final = '{"days": ["mon"], "start_time": "09:00", "end_time": "17:00"}'


def weekday_of(day: int) -> int:
    """The weekday of a day number, Monday = 0. (1970-01-01 was a Thursday.)"""
    return (day + _THURSDAY) % 7


@dataclass(frozen=True, slots=True)
class Window:
    """Minutes of the day on some weekdays (Monday = 0). With end <= start it runs over midnight; start None is all day."""

    days: tuple[int, ...]
    start: int | None
    end: int | None

    def pieces(self) -> Iterable[tuple[int, int, int]]:
        """(weekday, from minute, to minute), cut at midnight."""
        for day in self.days or range(7):
            if self.start is None or self.end is None:
                yield day, 0, DAY_MINUTES
            elif self.start < self.end:
                yield day, self.start, self.end
            else:
                yield day, self.start, DAY_MINUTES
                if self.end:
                    yield (day + 1) % 7, 0, self.end

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if self.days:
            out["days"] = [DAYS[day] for day in self.days]
        if self.start is not None and self.end is not None:
            out["start_time"] = _clock(self.start)
            out["end_time"] = _clock(self.end)
        return out


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """The windows in which a campaign may run; none of them means always."""

    windows: tuple[Window, ...] = ()
    listed: bool = False

    @classmethod
    def parse(cls, value: object, field: str = "schedule") -> Schedule:
        """A schedule from text (JSON, `always` or `none`) or from its parsed value; None, {} and [] are always.

        Refuses an empty text, which an unset variable or an empty field would give. Raises InvalidSchedule with the
        path.
        """
        if isinstance(value, Schedule):
            return value
        if isinstance(value, str):
            value = _json(value, field)
        if value is None:
            return cls()
        if isinstance(value, Mapping):
            return cls((_window(value, field),)) if value else cls()
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            if len(value) > MAX_WINDOWS:
                raise InvalidSchedule(f"{field} has {len(value)} windows: give at most {MAX_WINDOWS}", field)
            return cls(tuple(_window(item, f"{field}[{i}]") for i, item in enumerate(value)), bool(value))
        raise InvalidSchedule(
            f"{field} {shown(value)} is neither a window nor a list of windows: write {_EXAMPLE}", field
        )

    def to_json(self) -> dict[str, Any] | list[dict[str, Any]] | None:
        """The JSON value that parses to this schedule; None for always."""
        if not self.windows:
            return None
        return [w.to_json() for w in self.windows] if self.listed else self.windows[0].to_json()

    @property
    def always(self) -> bool:
        """True when it never stops a campaign."""
        return self.compiled == ""

    def week(self) -> list[list[tuple[int, int]]]:
        """For each weekday (Monday first) the minute ranges in which it runs, merged and in order."""
        days: list[list[tuple[int, int]]] = [[] for _ in DAYS]
        for day, start, end in sorted(piece for window in self.windows for piece in window.pieces()):
            ranges = days[day]
            if ranges and start <= ranges[-1][1]:
                ranges[-1] = (ranges[-1][0], max(end, ranges[-1][1]))
            else:
                ranges.append((start, end))
        return days

    @property
    def compiled(self) -> str:
        """The text in Redis: "" is always, else `days@from-to` pieces joined by `;`."""
        return _compiled(self) if self.windows else ""

    def is_within(self, at: datetime) -> bool:
        """Whether a campaign with this schedule may run at an instant (an aware datetime)."""
        return self.is_within_ms(ms_of(at))

    def is_within_ms(self, ms: int, zone: Zone = UTC) -> bool:
        """The same for an instant in epoch milliseconds, by the clock of a zone."""
        local = zone.local_ms(ms)
        minute = local % DAY_MS // MINUTE_MS
        return not self.windows or any(a <= minute < b for a, b in self.week()[weekday_of(day_of(local))])

    def next_change_ms(self, ms: int, zone: Zone = UTC) -> int | None:
        """The first instant after `ms` at which it opens or closes; None when it never does."""
        return min((edge for edge in self._changes(ms, zone) if edge > ms), default=None)

    def last_change_ms(self, ms: int, zone: Zone = UTC) -> int | None:
        """The last instant up to `ms` at which it opened or closed; None when it never does."""
        return max((edge for edge in self._changes(ms, zone) if edge <= ms), default=None)

    def _changes(self, ms: int, zone: Zone) -> Iterable[int]:
        """Every opening and closing within eight days of an instant. Clocks that change may open or close it as well, and
        show its edges once, twice, or not at all.
        """
        edges = self._edges(day_of(zone.local_ms(ms)))
        if zone == UTC:
            return edges
        found = {instant for edge in edges for instant in zone.instants_of(edge)}
        if found:
            found.update(at for at in zone.changes if abs(at - ms) < 8 * DAY_MS)
        return [at for at in found if self.is_within_ms(at, zone) != self.is_within_ms(at - 1, zone)]

    def _edges(self, around: int) -> Iterable[int]:
        """Every opening and closing within eight days of a day."""
        if self.always:
            return
        week = self.week()
        before = week[weekday_of(around - 9)]
        was_open = bool(before) and before[-1][1] == DAY_MINUTES
        for day in range(around - 8, around + 9):
            for start, end in week[weekday_of(day)]:
                if not (was_open and start == 0):
                    if was_open:
                        yield day_start_ms(day)
                    yield day_start_ms(day) + start * MINUTE_MS
                was_open = end == DAY_MINUTES
                if not was_open:
                    yield day_start_ms(day) + end * MINUTE_MS
            if not week[weekday_of(day)] and was_open:
                yield day_start_ms(day)
                was_open = False

    def words(self, label: str = UTC_NAME) -> str:
        """The schedule for people: "Mon-Fri 09:00-17:00, Sat all day (UTC)". label: the name of its brand's zone."""
        if self.always:
            return "always"
        return ", ".join(_window_words(window) for window in self.windows) + f" ({label})"


@lru_cache(4096)
def _compiled(schedule: Schedule) -> str:
    """Cached, because thousands of campaigns share a few schedules."""
    by_range: dict[tuple[int, int], str] = {}
    for day, ranges in enumerate(schedule.week()):
        for piece in ranges:
            by_range[piece] = by_range.get(piece, "") + str(day + 1)
    if not by_range or by_range == {(0, DAY_MINUTES): "1234567"}:
        return ""
    return ";".join(f"{days}@{start}-{end}" for (start, end), days in by_range.items())


def _window_words(window: Window) -> str:
    times = "all day" if window.start is None or window.end is None else f"{_clock(window.start)}-{_clock(window.end)}"
    return f"{_days_words(window.days)} {times}" if window.days else f"daily {times}"


def _days_words(days: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for day in days:
        if runs and day == runs[-1][-1] + 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    names = [[DAYS[day].capitalize() for day in run] for run in runs]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(run) for run in names)


def _json(text: str, field: str) -> object:
    if text.strip().lower() in ALWAYS_WORDS:
        return None
    if not text.strip():
        raise InvalidSchedule(f"{field} is empty: give windows such as {_EXAMPLE}, or always for no windows", field)
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _named_once(pairs, field))
    except (ValueError, RecursionError):
        raise InvalidSchedule(f"{field} {shown(text)} is not JSON: write {_EXAMPLE}", field) from None


def _named_once(pairs: list[tuple[str, Any]], field: str) -> dict[str, Any]:
    """The object, if it has no field twice: the last would silently win, and the campaign run at wrong hours."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise InvalidSchedule(f"{field} has the field {shown(name)} twice: name each field once", f"{field}.{name}")
        fields[name] = value
    return fields


def _window(value: object, field: str) -> Window:
    if not isinstance(value, Mapping):
        raise InvalidSchedule(f"{field} {shown(value)} is not a window: write {_EXAMPLE}", field)
    unknown = [name for name in value if name not in _FIELDS]
    if unknown:
        raise InvalidSchedule(
            f"{field} has an unknown field {shown(unknown[0])}: use days, start_time, end_time", f"{field}.{unknown[0]}"
        )
    days = _days(value["days"], f"{field}.days") if "days" in value else ()
    start = _minute(value["start_time"], f"{field}.start_time", False) if "start_time" in value else None
    end = _minute(value["end_time"], f"{field}.end_time", True) if "end_time" in value else None
    for given, missing, name in ((start, end, "end_time"), (end, start, "start_time")):
        if given is not None and missing is None:
            raise InvalidSchedule(
                f"{field}.{name} is missing: give both start_time and end_time, or neither for all day",
                f"{field}.{name}",
            )
    if start is not None and start == end:
        raise InvalidSchedule(
            f"{field}.end_time {_clock(start)} equals start_time: leave both out for all day", f"{field}.end_time"
        )
    return Window(days, start, end)


def _days(value: object, field: str) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise InvalidSchedule(f'{field} {shown(value)} is not a list: write ["mon", "tue"]', field)
    for i, name in enumerate(value):
        if not isinstance(name, str) or name not in DAYS:
            raise InvalidSchedule(f"{field}[{i}] {shown(name)} is not a day: use {', '.join(DAYS)}", f"{field}[{i}]")
        if name in value[:i]:
            raise InvalidSchedule(f"{field}[{i}] {shown(name)} stands twice: name each day once", f"{field}[{i}]")
    return tuple(sorted(DAYS.index(name) for name in value))


def _minute(value: object, field: str, is_end: bool) -> int:
    if is_end and value == "24:00":
        return DAY_MINUTES
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        last = "24:00" if is_end else "23:59"
        raise InvalidSchedule(f"{field} {shown(value)} is not a time: write HH:MM from 00:00 to {last}", field)
    return int(match[1]) * 60 + int(match[2])
