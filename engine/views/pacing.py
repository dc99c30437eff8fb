"""Pacing for people: what is due by now, and what a change of it will do, said before it is made."""

from __future__ import annotations

from dataclasses import dataclass

from engine.domain.money import format_micros
from engine.domain.pacing import ASAP, SPREAD, Pace, Pacing
from engine.domain.periods import at_ms


@dataclass(frozen=True, slots=True)
class PacingView:
    """The pacing of a brand's daily budget, or of a campaign's own. due: what may be spent by now, in micros; None without
    pacing or budget.
    """

    pacing: Pacing
    due: int | None
    limit: int | None
    spent: int

    @property
    def words(self) -> str:
        """In a line: mode, what is due by now, and what is spent of that."""
        if self.pacing.mode == ASAP or self.due is None or self.limit is None:
            return "asap: the whole budget at any time"
        part = f" ({self.spent * 100 // self.due} % of that)" if self.due else ""
        return (
            f"{self.pacing.mode}, {catch_up_words(self.pacing.catch_up)}: {format_micros(self.due)} of"
            f" {format_micros(self.limit)} are due by now, {format_micros(self.spent)} are spent{part}"
        )


def pacing_view(
    mode: str, catch_up: str, parts: tuple[str, ...], limit: int | None, spent: int, now_ms: int
) -> PacingView:
    """From the columns of a brand or campaign. spent: today."""
    pace = Pace.of(parts)
    due = None if pace is None or limit is None else pace.allowed(limit, now_ms)
    return PacingView(Pacing(mode, catch_up), due, limit, spent)


def catch_up_words(catch_up: str) -> str:
    """How fast what is behind may be made good."""
    if catch_up == ASAP:
        return "what is behind at once"
    if catch_up == SPREAD:
        return "what is behind spread over the day"
    return f"at most {catch_up} % of its plan a minute"


def effect_of(name: str, parts: tuple[str, ...], limit: int | None, spent: int, now_ms: int) -> str:
    """What a pacing does from now on, in a sentence. name: of the brand or campaign. spent: today."""
    pace = Pace.of(parts)
    if pace is None or limit is None:
        return f"{name}: its whole daily budget may be spent at any time from now on"
    due = pace.allowed(limit, now_ms)
    said = (
        f"{name}: by now {format_micros(due)} of {format_micros(limit)} are due, and {format_micros(spent)} are spent"
    )
    if spent < due:
        return f"{said}: tries pass, and what is behind is made good with {catch_up_words(_catch_up(pace))}"
    passes = pace.passes_ms(limit, spent, now_ms)
    until = "the day's end" if passes is None else f"{at_ms(passes):%H:%M:%S} UTC"
    return f"{said}: tries are refused until {until}, and what is recorded still counts"


def _catch_up(pace: Pace) -> str:
    return {"0": ASAP, "s": SPREAD}.get(pace.catch_up, pace.catch_up)
