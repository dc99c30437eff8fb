"""Pacing for people: what is due by now, and what a change of it will do, said before it is made."""

from __future__ import annotations

from dataclasses import dataclass

from engine.domain.money import format_micros
from engine.domain.pacing import ASAP, SPREAD, Pace, Pacing
from engine.domain.pass_rate import WHOLE
from engine.domain.zone_text import IN_UTC, Local
from engine.live.plans import LiveBrand, LiveCampaign


@dataclass(frozen=True, slots=True)
class PacingView:
    """The pacing of a brand's daily budget, or of a campaign's own. due: what may be spent by now, in micros; None without
    pacing or budget. pass_rate: the part of its offers to try in this minute, to 1; of a campaign also its brand's pacing counts.
    """

    pacing: Pacing
    due: int | None
    limit: int | None
    spent: int
    pass_rate: float = 1.0

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

    @property
    def rate_words(self) -> str:
        """The pass rate in words, empty where all offers are worth a try."""
        return f"{self.pass_rate * 100:.1f} % of the offers of this minute" if self.pass_rate < 1 else ""


def pacing_view(
    mode: str,
    catch_up: str,
    parts: tuple[str, ...],
    limit: int | None,
    spent: int,
    now_ms: int,
    local: Local = IN_UTC,
    live: LiveBrand | LiveCampaign | None = None,
) -> PacingView:
    """From the columns of a brand or campaign, and what Redis has of it. spent: today. local: the brand's clock."""
    pace = Pace.of(parts)
    due = None if pace is None or limit is None else pace.allowed(limit, now_ms, local.zone)
    return PacingView(Pacing(mode, catch_up), due, limit, spent, 1.0 if live is None else live.pass_rate / WHOLE)


def catch_up_words(catch_up: str) -> str:
    """How fast what is behind may be made good."""
    if catch_up == ASAP:
        return "what is behind at once"
    if catch_up == SPREAD:
        return "what is behind spread over the day"
    return f"at most {catch_up} % of its plan a minute"


def effect_of(
    name: str, parts: tuple[str, ...], limit: int | None, spent: int, now_ms: int, local: Local = IN_UTC
) -> str:
    """What a pacing does from now on, in a sentence. name: of the brand or campaign. spent: today. local: the brand's clock."""
    pace = Pace.of(parts)
    if pace is None or limit is None:
        return f"{name}: its whole daily budget may be spent at any time from now on"
    due = pace.allowed(limit, now_ms, local.zone)
    said = (
        f"{name}: by now {format_micros(due)} of {format_micros(limit)} are due, and {format_micros(spent)} are spent"
    )
    if spent < due:
        return f"{said}: tries pass, and what is behind is made good with {catch_up_words(_catch_up(pace))}"
    passes = pace.passes_ms(limit, spent, now_ms, local.zone)
    until = "the day's end" if passes is None else local.words(passes, "%H:%M:%S")
    return f"{said}: tries are refused until {until}, and what is recorded still counts"


def _catch_up(pace: Pace) -> str:
    return {"0": ASAP, "s": SPREAD}.get(pace.catch_up, pace.catch_up)
