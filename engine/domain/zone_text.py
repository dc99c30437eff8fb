"""A brand's clock: which offset from UTC holds when, as the short text that its plan has in Redis.

`<offset>` or `<offset>,<instant>,<offset then>[,<instant>,<offset then>]`, all in milliseconds: the offset now, the next
change, the offset then, and once more. The empty text is UTC. Local time is the instant plus the offset, and a local day is
its number since 1970-01-01 by that time. `zones.py` compiles the text from the name of a zone; here are no names.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final, NamedTuple

from engine.domain.periods import (
    DAY_MS,
    MINUTE_MS,
    Period,
    at_ms,
    date_of,
    day_number,
    month_date,
    month_of_date,
    next_month,
)
from engine.errors import InvalidInput, shown

UTC_NAME: Final = "UTC"
MOST_CHARACTERS: Final = 57
_TEXT: Final = re.compile(r"-?\d{1,8}(,\d{1,13},-?\d{1,8}){0,2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Zone:
    """Offsets from UTC in ms, one more than there are changes: `offsets[i]` holds until the instant `changes[i]`.

    The local day never goes back. It may skip a number where a clock goes ahead by a day, and may be of any length.
    """

    offsets: tuple[int, ...] = (0,)
    changes: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str | None) -> Zone:
        """From the text of a plan; none is UTC. Raises InvalidInput."""
        return _parsed(text) if text else UTC

    @property
    def text(self) -> str:
        """The text of a plan, with every change that this has; empty for UTC."""
        if self == UTC:
            return ""
        parts = [str(self.offsets[0])]
        for at, offset in zip(self.changes, self.offsets[1:], strict=True):
            parts += (str(at), str(offset))
        return ",".join(parts)

    def offset_ms(self, ms: int) -> int:
        """The offset at an instant."""
        return self.offsets[bisect_right(self.changes, ms)] if self.changes else self.offsets[0]

    def local_ms(self, ms: int) -> int:
        """Local time at an instant, in ms since 1970-01-01 00:00 local time."""
        return ms + self.offset_ms(ms)

    def day_of(self, ms: int) -> int:
        """The number of the local day at an instant."""
        return self.local_ms(ms) // DAY_MS

    def month_of(self, ms: int) -> int:
        """The local month (202611) at an instant."""
        return month_of_date(date_of(self.day_of(ms)))

    def midnight_ms(self, day: int) -> int:
        """The first instant of a local day. Of a day that is skipped, that of the day after."""
        changes, begin = self.changes, day * DAY_MS
        # An offset is under 48 hours, so no earlier one can be in force.
        place = bisect_right(changes, begin - 2 * DAY_MS)
        first = begin - self.offsets[place]
        while place < len(changes) and first >= changes[place]:
            place += 1
            first = max(changes[place - 1], begin - self.offsets[place])
        return first

    def month_start_ms(self, month: int) -> int:
        """The first instant of a local month."""
        return self.midnight_ms(day_number(month_date(month)))

    def day_length_ms(self, day: int) -> int:
        """How long a local day is; 0 for one that is skipped."""
        return self.midnight_ms(day + 1) - self.midnight_ms(day)

    def next_day_ms(self, ms: int) -> int:
        """The instant at which the next local day begins."""
        return self.midnight_ms(self.day_of(ms) + 1)

    def next_month_ms(self, ms: int) -> int:
        """The instant at which the next local month begins."""
        return self.month_start_ms(next_month(self.month_of(ms)))

    def next_period_ms(self, period: Period, ms: int) -> int:
        """The instant at which the next local day or month begins."""
        return self.next_day_ms(ms) if period == "day" else self.next_month_ms(ms)

    def period_start_ms(self, period: Period, ms: int) -> int:
        """The instant at which the local day or month of an instant began."""
        return self.midnight_ms(self.day_of(ms)) if period == "day" else self.month_start_ms(self.month_of(ms))

    def date_of(self, ms: int) -> date:
        """The local date of an instant."""
        return date_of(self.day_of(ms))

    def time_of_day(self, ms: int) -> tuple[int, int]:
        """How much of the local day has passed at an instant, and how long that day is, in ms of real time."""
        day = self.day_of(ms)
        begins = self.midnight_ms(day)
        return ms - begins, self.midnight_ms(day + 1) - begins

    def clock_ms(self, day: int, ms: int) -> int:
        """The instant at which the clocks of a day show a time, in ms since its midnight; the first one where they show it twice,
        and where they leave it out that of the change. Of 24 hours it is the day's end.
        """
        begins, ends = self.midnight_ms(day), self.midnight_ms(day + 1)
        if ms >= DAY_MS:
            return ends
        found = [at for at in self.instants_of(day * DAY_MS + ms) if begins <= at < ends]
        if found:
            return found[0]
        # Clocks leave it out: the change that does is the first instant whose local time is later.
        return next(
            (at for at in self.changes if begins <= at < ends and self.local_ms(at) > day * DAY_MS + ms), begins
        )

    def instants_of(self, local_ms: int) -> tuple[int, ...]:
        """The instants at which local clocks show a time, in order: none in a gap, two where an hour comes twice."""
        found = []
        begins: Sequence[int | None] = (None, *self.changes)
        ends: Sequence[int | None] = (*self.changes, None)
        for at, until, offset in zip(begins, ends, self.offsets, strict=True):
            instant = local_ms - offset
            if (at is None or at <= instant) and (until is None or instant < until):
                found.append(instant)
        return tuple(found)


UTC: Final = Zone()


class Local(NamedTuple):
    """A brand's clock and its name, for sentences."""

    zone: Zone = UTC
    label: str = UTC_NAME

    def words(self, ms: int, pattern: str = "%H:%M") -> str:
        """An instant by the brand's clock, with the name of the zone: "02:30 Europe/Berlin". Where the hour comes twice, with its
        offset: "02:30 +02:00 Europe/Berlin".
        """
        return f"{self.time(ms, pattern)} {self.label}"

    def time(self, ms: int, pattern: str = "%H:%M") -> str:
        """The same without the name."""
        local = self.zone.local_ms(ms)
        text = f"{at_ms(local):{pattern}}"
        return f"{text} {offset_text(local - ms)}" if len(self.zone.instants_of(local)) > 1 else text


IN_UTC: Final = Local()


def offset_text(offset_ms: int) -> str:
    """An offset for people: +05:30."""
    minutes = abs(offset_ms) // MINUTE_MS
    return f"{'-' if offset_ms < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"


@lru_cache(1024)
def _parsed(text: str) -> Zone:
    if len(text) > MOST_CHARACTERS or _TEXT.fullmatch(text) is None:
        raise InvalidInput(f"zone {shown(text)} is no zone of a plan: it is <offset ms>[,<instant ms>,<offset ms>]...")
    numbers = [int(part) for part in text.split(",")]
    zone = Zone(tuple(numbers[::2]), tuple(numbers[1::2]))
    if list(zone.changes) != sorted(set(zone.changes)) or any(abs(offset) >= 2 * DAY_MS for offset in zone.offsets):
        raise InvalidInput(
            f"zone {shown(text)} is no zone of a plan: its instants ascend, and an offset is under 48 hours"
        )
    return zone
