"""When a campaign ran and when it was stopped, and by what: its status over time as stretches. Pure; instants are epoch milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from engine.domain.causes import cause_of

MOST_STRETCHES: Final = 500
Kind = Literal["running", "budget", "clock", "switch"]


@dataclass(frozen=True, slots=True)
class Stretch:
    """From when to when it had the same causes; none: it ran."""

    since_ms: int
    until_ms: int
    reasons: tuple[str, ...]

    @property
    def kind(self) -> Kind:
        """What stopped it, in a word: a person's switch before money, and money before the clock."""
        kinds = {cause_of(name).kind for name in self.reasons}
        if not kinds:
            return "running"
        return "switch" if "switch" in kinds else "budget" if "money" in kinds else "clock"

    @property
    def words(self) -> str:
        """The causes in words."""
        return "; ".join(cause_of(name).sentence for name in self.reasons) or "running"


def stretches(changes: Sequence[tuple[int, tuple[str, ...]]], since_ms: int, until_ms: int) -> tuple[Stretch, ...]:
    """From changes of status, oldest first, of which the first may be before `since_ms`. Of the time before all of them nothing is known."""
    ends = [at for at, _ in changes[1:]] + [until_ms]
    return tuple(
        Stretch(max(at, since_ms), end, reasons)
        for (at, reasons), end in zip(changes, ends, strict=False)
        if max(at, since_ms) < min(end, until_ms)
    )


def within(found: Sequence[Stretch], since_ms: int) -> tuple[Stretch, ...]:
    """Those from an instant on, the first one cut there."""
    return tuple(
        Stretch(max(one.since_ms, since_ms), one.until_ms, one.reasons) for one in found if one.until_ms > since_ms
    )


def ran_ms(found: Sequence[Stretch]) -> int:
    """How long it ran."""
    return sum(one.until_ms - one.since_ms for one in found if not one.reasons)
