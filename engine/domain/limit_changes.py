"""Scheduled changes of a limit: at an instant, and where wanted until another. Pure: instants are epoch milliseconds, money is micros.

A change sets a daily or monthly limit, adds to it, or takes percent of it. Changes of one limit do not overlap. The plan in Redis has the next two
steps, each with the limits from its instant on, so they are taken with every job dead. `lua/lib/steps.lua` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from engine.domain.flights import LAST_MS, instant_text
from engine.domain.money import MAX_TOTAL_MICROS, format_micros, format_optional, parse_budget
from engine.errors import BudgetError, InvalidInput, shown

Period = Literal["daily", "monthly"]
PERIODS: Final[tuple[Period, ...]] = ("daily", "monthly")
IN_PLAN: Final = 2
MOST_OPEN: Final = 100
"""Changes of one brand or campaign that are not over."""
_PERCENT_MICROS: Final = 100_000_000
"""100 percent, in millionths of a percent."""
MOST_PERCENT: Final = 1000
SET: Final = "set"
ADD: Final = "add"
PERCENT: Final = "percent"
KINDS: Final = (SET, ADD, PERCENT)


class InvalidLimitChange(InvalidInput):
    """A scheduled change that does not fit; `field` names what is wrong."""


class LimitChange(NamedTuple):
    """A change of a daily or monthly limit. value: micros to set (None is no limit) or to add, or millionths of a percent. The start is included,
    the end is not; without an end it stays. begun: it is in force, and `before` is the limit that its end brings back.
    """

    id: int
    period: Period
    kind: str
    value: int | None
    starts_ms: int
    ends_ms: int | None = None
    begun: bool = False
    before: int | None = None


class Turn(NamedTuple):
    """A begin or end of a change: the limit before and after. over: nothing of the change follows."""

    at_ms: int
    change: LimitChange
    before: int | None
    after: int | None
    over: bool


class Step(NamedTuple):
    """The daily and monthly limit from an instant on, as the scripts read them."""

    at_ms: int
    daily: int | None
    monthly: int | None

    @property
    def compiled(self) -> str:
        """The field `n1` or `n2` of a hash, at most 64 bytes."""
        return f"{self.at_ms},{_digits(self.daily)},{_digits(self.monthly)}"

    @classmethod
    def parse(cls, text: str) -> Step:
        """Raises ValueError."""
        at, daily, monthly = text.split(",")
        return cls(int(at), int(daily) if daily else None, int(monthly) if monthly else None)


def parse_change(text: str) -> tuple[str, int | None]:
    """Kind and value of `set:A`, `set:none`, `add:A` or `percent:P`. Raises InvalidLimitChange."""
    kind, _, given = text.strip().partition(":")
    try:
        if kind == SET:
            return kind, parse_budget(given, "change")
        if kind == ADD:
            minus = given.startswith("-")
            added = parse_budget(given.removeprefix("-"), "change")
            if added:
                return kind, -added if minus else added
        if kind == PERCENT:
            percent = parse_budget(given, "change")
            if percent is not None and 0 < percent <= MOST_PERCENT * 1_000_000:
                return kind, percent
            raise InvalidLimitChange(
                f"change {shown(text)} is out of range: give percent above 0 and up to {MOST_PERCENT}", "change"
            )
    except InvalidLimitChange:
        raise
    except BudgetError as error:
        raise InvalidLimitChange(f"change {shown(text)}: {error}", "change") from None
    raise InvalidLimitChange(
        f"change {shown(text)} is none: give set:200.00, set:none, add:50.00, add:-50.00 or percent:150", "change"
    )


def change_text(change: LimitChange) -> str:
    """A change as `parse_change` takes it."""
    if change.kind == ADD and change.value is not None and change.value < 0:
        return f"{ADD}:-{format_micros(-change.value)}"
    if change.kind != PERCENT:
        return f"{change.kind}:{format_optional(change.value) or 'none'}"
    whole, rest = divmod(change.value or 0, 1_000_000)
    return f"{PERCENT}:{whole}" + (f".{rest:06}".rstrip("0") if rest else "")


def told(change: LimitChange) -> str:
    """A change in one line, as the audit trail has it."""
    until = "" if change.ends_ms is None else f" until {instant_text(change.ends_ms)}"
    return f"{change.id}: {change.period} {change_text(change)} at {instant_text(change.starts_ms)}{until}"


def applied(change: LimitChange, limit: int | None) -> int | None:
    """The limit that a change makes of one. Adding to no limit leaves none.

    What would leave the range stays at its edge: `check` refuses such changes before.
    """
    value = change.value
    if change.kind == SET or value is None:
        return value
    if limit is None:
        return None
    made = limit + value if change.kind == ADD else limit * value // _PERCENT_MICROS
    return min(max(made, 0), MAX_TOTAL_MICROS)


def turns(limit: int | None, changes: Iterable[LimitChange]) -> list[Turn]:
    """What is still to come of the changes of one limit, in order. limit: the one now, with changes that have begun."""
    edges: list[tuple[int, int, LimitChange]] = []
    for change in changes:
        if not change.begun:
            edges.append((change.starts_ms, 1, change))
        if change.ends_ms is not None:
            edges.append((change.ends_ms, 0, change))
    found: list[Turn] = []
    before = {change.id: change.before for _, _, change in edges if change.begun}
    # At one instant an end comes first, so the change that begins there takes the limit that the end brought back.
    for at_ms, begins, change in sorted(edges, key=lambda edge: (edge[0], edge[1], edge[2].id)):
        if begins:
            before[change.id], after = limit, applied(change, limit)
        else:
            after = before[change.id]
        found.append(Turn(at_ms, change, limit, after, not begins or change.ends_ms is None))
        limit = after
    return found


def every_turn(limits: Sequence[int | None], changes: Sequence[LimitChange]) -> list[Turn]:
    """The same of the daily and the monthly limit."""
    found = [
        turn
        for period, limit in zip(PERIODS, limits, strict=True)
        for turn in turns(limit, (change for change in changes if change.period == period))
    ]
    return sorted(found, key=lambda turn: turn.at_ms)


def steps(limits: Sequence[int | None], changes: Sequence[LimitChange]) -> tuple[Step, ...]:
    """The steps that stand in the plan. limits: daily and monthly, now."""
    now: dict[str, int | None] = dict(zip(PERIODS, limits, strict=True))
    found: list[Step] = []
    for turn in every_turn(limits, changes):
        now[turn.change.period] = turn.after
        step = Step(turn.at_ms, now["daily"], now["monthly"])
        if found and found[-1].at_ms == turn.at_ms:
            found[-1] = step
        else:
            found.append(step)
    return tuple(found[:IN_PLAN])


def named_steps(plan: Iterable[Step]) -> list[str]:
    """Steps as named parts of a plan: `n1=...`, `n2=...`."""
    return [f"n{place}={step.compiled}" for place, step in enumerate(plan, 1)]


def limits_at(limits: tuple[int | None, int | None], plan: Iterable[Step], ms: int) -> tuple[int | None, int | None]:
    """The daily and monthly limit in force at an instant, by the steps of a plan. limits: before all of these."""
    for step in plan:
        if ms >= step.at_ms:
            limits = (step.daily, step.monthly)
    return limits


class Coming(NamedTuple):
    """What a step will do to one limit."""

    period: Period
    after: int | None
    at_ms: int


def coming(limits: tuple[int | None, int | None], plan: Iterable[Step], now_ms: int) -> list[Coming]:
    """What the next step does, limit by limit; nothing where none is to come. limits: before all steps of the plan."""
    found = list(plan)
    step = next((step for step in found if step.at_ms > now_ms), None)
    if step is None:
        return []
    now, then = limits_at(limits, found, now_ms), (step.daily, step.monthly)
    return [
        Coming(period, after, step.at_ms)
        for period, before, after in zip(PERIODS, now, then, strict=True)
        if before != after
    ]


def check(limits: Sequence[int | None], changes: Sequence[LimitChange], field: str = "change") -> None:
    """Raises InvalidLimitChange where a change would add to no limit, or make one below 0 or above the largest."""
    for turn in every_turn(limits, changes):
        change, limit = turn.change, turn.before
        if change.kind == SET or change.value is None or change.begun or turn.at_ms != change.starts_ms:
            continue
        if limit is None:
            raise InvalidLimitChange(
                f"{field}: there is no {change.period} limit that change {told(change)} could take from: give the limit"
                " first, or use set",
                field,
            )
        made = limit + change.value if change.kind == ADD else limit * change.value // _PERCENT_MICROS
        if not 0 <= made <= MAX_TOTAL_MICROS:
            side = "below 0" if made < 0 else f"above {format_optional(MAX_TOTAL_MICROS)}"
            raise InvalidLimitChange(
                f"{field}: change {told(change)} would take the {change.period} limit {format_optional(limit)} {side}: give"
                " another change",
                field,
            )


def check_instants(change: LimitChange, others: Iterable[LimitChange], now_ms: int) -> None:
    """Raises InvalidLimitChange where a new change begins in the past, ends before it begins, or overlaps another of its limit."""
    if change.starts_ms < now_ms:
        raise InvalidLimitChange(
            f"at {instant_text(change.starts_ms)} is in the past: give an instant from now on, or now", "at"
        )
    if change.ends_ms is not None and change.ends_ms <= change.starts_ms:
        raise InvalidLimitChange(
            f"until {instant_text(change.ends_ms)} is not after {instant_text(change.starts_ms)}: give a later end",
            "until",
        )
    if max(change.starts_ms, change.ends_ms or 0) > LAST_MS:
        raise InvalidLimitChange(
            f"until {instant_text(LAST_MS)} is the last instant", "at" if change.starts_ms > LAST_MS else "until"
        )
    for other in others:
        if other.period == change.period and _overlap(change, other):
            raise InvalidLimitChange(
                f"at {instant_text(change.starts_ms)} overlaps change {told(other)}: changes of one limit do not overlap;"
                f" `limit cancel {other.id}` takes that one back",
                "at",
            )


def _overlap(one: LimitChange, other: LimitChange) -> bool:
    """Whether two changes of a limit would meet. One without an end is an instant."""
    if one.ends_ms is None and other.ends_ms is None:
        return one.starts_ms == other.starts_ms
    one_end = one.starts_ms + 1 if one.ends_ms is None else one.ends_ms
    other_end = other.starts_ms + 1 if other.ends_ms is None else other.ends_ms
    return one.starts_ms < other_end and other.starts_ms < one_end


def sentences(change: LimitChange, every: Sequence[Turn], whose: str) -> list[str]:
    """What a change will do, or does, for people: `the daily budget of brand 81 becomes 200.000000 at ...`. every: the turns to come."""
    own = [turn for turn in every if turn.change.id == change.id]
    return [
        f"the {change.period} budget of {whose} {'becomes' if place == 0 and not change.begun else 'is again'}"
        f" {format_optional(turn.after) or 'unlimited'} at {instant_text(turn.at_ms)}"
        for place, turn in enumerate(own)
    ]


def _digits(limit: int | None) -> str:
    return "" if limit is None else str(limit)
