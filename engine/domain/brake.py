"""The brake of a campaign: a limit for a minute, and a breaker. Pure; money is micros.

A try that would pass the limit is refused until the next minute. A minute whose spend, recorded spends included, goes above the breaker switches the
campaign off until a person resumes it. `lua/lib/brake.lua` has the same rules.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.domain.money import NO_LIMIT_WORD, check_budget_micros, format_micros, parse_budget
from engine.errors import InvalidBudget, shown

LIFTED: Final = ",,0"
"""The field `br` of a campaign that has none of these any more, where the catalog never had any."""
PER_MINUTE: Final = "/min"
MAX_ROUND: Final = 2**31 - 1
"""What its column holds."""


class Brake(NamedTuple):
    """A campaign's brake. limit, breaker: micros a minute, None is none. round: 0 is a campaign that never had a brake; it
    rises when a person closes an open breaker, so a shard knows by it whether that was done.
    """

    limit: int | None = None
    breaker: int | None = None
    round: int = 0

    @property
    def compiled(self) -> str:
        """The field `br` of its hash: `<limit>,<breaker>,<round>`; nothing where it never had one."""
        return ",".join("" if part is None else str(part) for part in self) if self.round else ""

    @classmethod
    def parse(cls, text: str) -> Brake:
        """Raises ValueError."""
        limit, breaker, number = text.split(",")
        return cls(int(limit) if limit else None, int(breaker) if breaker else None, int(number))


NO_BRAKE: Final = Brake()


class Trip(NamedTuple):
    """A breaker that opened. round: of the brake; there is one a round. spent: micros in that minute."""

    campaign_id: int
    round: int
    spent: int


def parse_per_minute(written: str, field: str) -> int | None:
    """The micros a minute of `100/min` or `100`; None for "none". Raises InvalidBudget."""
    text = written.strip()
    amount = text.removesuffix(PER_MINUTE).rstrip()
    if "/" in amount:
        raise InvalidBudget(
            f"{field} {shown(written)} is no amount a minute: give one as 5/min, or none for no limit", field
        )
    return check_per_minute(parse_budget(amount or text, field), field)


def check_per_minute(micros: int | None, field: str) -> int | None:
    """The law for an amount a minute: None, or from one micro on. Raises InvalidBudget."""
    if check_budget_micros(micros, field) == 0:
        raise InvalidBudget(
            f"{field} {shown(0)} is below one amount: give at least 0.000001 a minute, {NO_LIMIT_WORD} for none, or pause the"
            " campaign to stop it",
            field,
        )
    return micros


def per_minute_text(micros: int | None) -> str:
    """An amount a minute for people, as `parse_per_minute` takes it."""
    return NO_LIMIT_WORD if micros is None else format_micros(micros) + PER_MINUTE
