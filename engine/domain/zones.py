"""Time zones by their IANA names, for the catalog's side: `Europe/Berlin` to the text that a brand's plan has.

The rules come from the package `tzdata`, not from the machine, so that every process of one release compiles the same.
Bidders need neither this module nor that package: a plan has offsets and instants (`zone_text.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC as DATETIME_UTC
from datetime import datetime, timedelta
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from engine.domain.periods import DAY_MS, MINUTE_MS, at_ms, date_of, ms_of
from engine.domain.zone_text import IN_UTC, UTC, UTC_NAME, Local, Zone
from engine.errors import InvalidInput, shown

QUARTER_MS: Final = 15 * MINUTE_MS
"""Every offset is a multiple of it, so local days begin on the quarters of an hour."""
FIRST_YEAR: Final = 2015
LAST_YEAR: Final = 2050
"""The years whose changes are known. Before and after them the nearest offset holds."""
RIGHT_FOR_MS: Final = 7 * DAY_MS
"""A published text must be right for so long, with every job dead."""
RENEW_MS: Final = 180 * DAY_MS
"""Once a text is right for less, a check writes a new one."""
_MOST_CHANGES: Final = 2
_STEP_MS: Final = 4 * DAY_MS
"""No zone changes twice in so short a time."""


class InvalidZone(InvalidInput):
    """A time zone that is none; the field is `time_zone`."""


def check_zone(value: str) -> str | None:
    """The name of a zone as it is stored; None for UTC. Raises InvalidZone."""
    name = value.strip()
    if name in (UTC_NAME, ""):
        if not name:
            raise InvalidZone(_unknown(value), "time_zone")
        return None
    if name not in names():
        raise InvalidZone(_unknown(value), "time_zone")
    if any(offset % QUARTER_MS for offset in _named(name).offsets):
        raise InvalidZone(f"time_zone {shown(name)} has an offset that is no multiple of 15 minutes", "time_zone")
    return None if _named(name) == UTC else name


def _unknown(value: str) -> str:
    close = (
        [name for name in names() if value.strip().lower().replace(" ", "_") in name.lower()] if value.strip() else []
    )
    hint = f" such as {', '.join(close[:3])}" if close else ", such as Europe/Berlin, or UTC"
    return f"time_zone {shown(value)} is no time zone: use a name of the IANA list{hint}"


@lru_cache(1)
def names() -> tuple[str, ...]:
    """All names of the IANA list, in order."""
    listed = resources.files("tzdata").joinpath("zones").read_text(encoding="ascii").split()
    return tuple(sorted(name for name in listed if name not in ("Factory", "localtime")))


@dataclass(frozen=True, slots=True)
class BrandZone:
    """A brand's zones. steps: (instant in ms from which on, name of the zone), in order; None is UTC, and the first has always been.

    A change is told days ahead, and so is a step of the future.
    """

    steps: tuple[tuple[int, str | None], ...] = ((0, None),)

    @classmethod
    def of(cls, name: str | None) -> BrandZone:
        """A brand that never had another zone."""
        return cls(((0, name),))

    @classmethod
    def parse(cls, stored: Sequence[str]) -> BrandZone:
        """From what `stored` gives; nothing is UTC."""
        if not stored:
            return UTC_ZONE
        parts = (step.split("=", 1) for step in stored)
        return cls(tuple((int(since), name or None) for since, name in parts))

    @property
    def stored(self) -> list[str]:
        """As a row of the catalog has it: `<ms>=<name>` of each step; nothing for UTC."""
        return [] if self == UTC_ZONE else [f"{since}={name or ''}" for since, name in self.steps]

    @property
    def name(self) -> str | None:
        """The zone that was chosen last, which may have yet to begin; None is UTC."""
        return self.steps[-1][1]

    @property
    def since_ms(self) -> int:
        """When it begins, or began."""
        return self.steps[-1][0]

    @property
    def clock(self) -> Zone:
        """Its offsets in the years that are known."""
        return UTC if self == UTC_ZONE else _clock(self)

    def label(self, ms: int) -> str:
        """The name of the zone that holds at an instant, for people."""
        return next((name for since, name in reversed(self.steps) if since <= ms), self.steps[0][1]) or UTC_NAME

    def local(self, ms: int) -> Local:
        """Its clock and the name of the zone that holds at an instant."""
        return IN_UTC if self == UTC_ZONE else Local(self.clock, self.label(ms))

    def stretches(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """(since, until, offset) of each stretch of time in which one offset and one zone hold, from an instant to another one."""
        clock = self.clock
        inner = {*clock.changes, *(since for since, _ in self.steps)}
        for since, until in pairwise((begin, *sorted(at for at in inner if begin < at < end), end)):
            yield since, until, clock.offset_ms(since)

    def pending(self, ms: int) -> bool:
        """Whether a change has yet to take effect."""
        return len(self.steps) > 1 and ms < self.since_ms

    def text(self, ms: int) -> str:
        """The text of a plan: the offset at the beginning of the day before an instant's, and the next two changes after
        that. Empty for UTC.

        Scripts take from it when this day and the one before began, so it begins there.
        """
        clock = self.clock
        first = bisect_right(clock.changes, self._begins_ms(ms))
        part = slice(first, first + _MOST_CHANGES)
        return Zone(clock.offsets[first : first + _MOST_CHANGES + 1], clock.changes[part]).text

    def right_until_ms(self, text: str | None, ms: int) -> int | None:
        """The first instant at which a plan's text is wrong, from the day before that of `ms` on; None where it never is."""
        told, clock, begin = Zone.parse(text), self.clock, self._begins_ms(ms)
        edges = sorted({begin, *(at for at in (*told.changes, *clock.changes) if at > begin)})
        return next((at for at in edges if told.offset_ms(at) != clock.offset_ms(at)), None)

    def _begins_ms(self, ms: int) -> int:
        """When the day before that of an instant began."""
        clock = self.clock
        return clock.midnight_ms(clock.day_of(clock.midnight_ms(clock.day_of(ms)) - 1))

    def changed(self, name: str | None, now_ms: int) -> BrandZone:
        """The brand's zone after somebody chose another: it takes effect at the next midnight of the present one.

        One that is still pending is replaced, and the way back is no change at all.
        """
        kept = BrandZone(self.steps[:-1]) if self.pending(now_ms) else self
        if name == kept.name:
            return kept
        return BrandZone((*kept.steps, (kept.clock.next_day_ms(now_ms), name)))

    def told(self) -> str:
        """What the last change does, in a sentence, before it takes effect."""
        clock, old = self.clock, BrandZone(self.steps[:-1])
        local = at_ms(old.clock.local_ms(self.since_ms))
        text = (
            f"{self.name or UTC_NAME} takes effect on {local:%-d %b %Y %H:%M} {old.name or UTC_NAME},"
            f" {at_ms(self.since_ms):%-d %b %H:%M} UTC"
        )
        day = clock.day_of(self.since_ms - 1)
        for number in range(day, day + 3):
            length = clock.day_length_ms(number)
            if length == 0:
                text += f"; {date_of(number):%-d %b} is skipped"
            elif length != (old.clock if number == day else _named(self.name)).day_length_ms(number):
                text += f"; {date_of(number):%-d %b} has {hours(length)}"
        return text


UTC_ZONE: Final = BrandZone()


def hours(length_ms: int) -> str:
    """A length in words: "25 hours", "23 hours 30 minutes"."""
    whole, minutes = divmod(length_ms // MINUTE_MS, 60)
    return f"{whole} hours" + (f" {minutes} minutes" if minutes else "")


def zone_text(name: str | None, ms: int) -> str:
    """The text of a zone that never was another, from an instant on."""
    return BrandZone.of(name).text(ms)


@lru_cache(1024)
def _named(name: str | None) -> Zone:
    """The offsets of a zone in the known years, with the day never going back."""
    if name is None:
        return UTC
    steps = list(_steps(name))
    return never_back(Zone(tuple(offset for _, offset in steps), tuple(at for at, _ in steps[1:])))


def _steps(name: str) -> Iterator[tuple[int, int]]:
    """(instant, offset from then on): at the first known instant, and at each change after it."""
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        zone = ZoneInfo.from_file(file, key=name)

    def offset(ms: int) -> int:
        told = at_ms(ms).astimezone(zone).utcoffset()
        return (told or timedelta()) // timedelta(milliseconds=1)

    begin, end = (ms_of(datetime(year, 1, 1, tzinfo=DATETIME_UTC)) for year in (FIRST_YEAR, LAST_YEAR))
    yield begin, offset(begin)
    for low, high in pairwise(range(begin, end + 1, _STEP_MS)):
        was, then = offset(low), offset(high)
        if was != then:
            before, after = low, high
            while after - before > 1:
                middle = (before + after) // 2
                before, after = (middle, after) if offset(middle) == was else (before, middle)
            yield after, then


def never_back(zone: Zone) -> Zone:
    """A clock whose day never goes back: a change that would take it back comes when the day before is past."""
    offsets, changes = [zone.offsets[0]], list[int]()
    for at, offset in zip(zone.changes, zone.offsets[1:], strict=True):
        day = (at - 1 + offsets[-1]) // DAY_MS
        starts = at if (at + offset) // DAY_MS >= day else day * DAY_MS - offset
        if starts != at and (starts - 1 + offsets[-1]) // DAY_MS != day:
            # Until then the old clock would reach one more day: that day waits as long.
            changes.append(at)
            offsets.append(offsets[-1] - DAY_MS)
        changes.append(starts)
        offsets.append(offset)
    return Zone(tuple(offsets), tuple(changes))


@lru_cache(4096)
def _clock(zone: BrandZone) -> Zone:
    """All zones of a brand, joined at the instants of its changes."""
    joined = _named(zone.steps[0][1])
    for since, name in zone.steps[1:]:
        new = _named(name)
        kept = [at for at in joined.changes if at < since]
        later = [at for at in new.changes if at > since]
        offsets = (
            *joined.offsets[: len(kept) + 1],
            new.offset_ms(since),
            *new.offsets[len(new.changes) - len(later) + 1 :],
        )
        joined = never_back(Zone(offsets, (*kept, since, *later)))
    return joined
