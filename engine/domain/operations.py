"""Operations: one kind of change to many brands and campaigns. Pure: what each row becomes, or why it stays as it is.

A row's change is `{field: [old, new]}` in values that JSON has.
These are micros, switches as true and false, and schedules as in the catalog.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, get_args

from engine.domain.causes import BREAKER
from engine.domain.limit_changes import ADD, PERCENT, SET, parse_change
from engine.domain.money import MAX_TOTAL_MICROS, format_micros, format_optional
from engine.domain.schedule import Schedule
from engine.errors import InvalidInput, shown

Kind = Literal["pause", "resume", "budget", "schedule", "archive", "unarchive", "change", "import", "undo"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
ON_MANY: Final = ("pause", "resume", "budget", "schedule", "archive")
"""What a person may do to a selection."""
INLINE: Final = 200
"""Up to this many rows are changed at once; more are left to a worker."""
MOST_ROWS: Final = 100_000
"""Rows of one operation."""
BUDGET_PERIODS: Final = ("daily", "monthly", "lifetime")
ENABLED, ARCHIVED, PAUSED = "enabled", "archived", "paused"
OF_BRAND: Final = "brand"
"""Of a new campaign whose brand is new as well: the name of that."""
Change = dict[str, list[Any]]
_WHOLE_PERCENT: Final = 100_000_000


class Wanted(NamedTuple):
    """What an operation does to each of its rows. how, value: of a budget, as `parse_change` gives them."""

    kind: Kind
    period: str = "daily"
    how: str = SET
    value: int | None = None
    schedule: Schedule | None = None

    @property
    def field(self) -> str:
        """The column of the budget that it changes."""
        return f"{self.period}_budget_micros"

    @property
    def words(self) -> str:
        """What it does, as the name of the operation."""
        if self.kind == "budget":
            return f"{self.period.capitalize()} budget {_how_words(self.how, self.value)}"
        if self.kind == "schedule":
            return f"Schedule: {(self.schedule or Schedule()).words()}"
        return self.kind.capitalize()


class Stays(Exception):  # no error: a row that is left out, with the reason
    """A row that an operation leaves as it is; the text is why."""


def wanted_of(kind: str, *, period: str = "daily", change: str = "", schedule: object = None) -> Wanted:
    """What a person asked for. change: of a budget, `set:A`, `set:none`, `add:A`, `add:-A` or `percent:P`. Raises InvalidInput."""
    if kind not in ON_MANY:
        raise InvalidInput(f"kind {shown(kind)} is none of {', '.join(ON_MANY)}", "kind")
    if kind == "budget":
        if period not in BUDGET_PERIODS:
            raise InvalidInput(f"period {shown(period)} is none of {', '.join(BUDGET_PERIODS)}", "period")
        return Wanted("budget", period, *parse_change(change))
    if kind == "schedule":
        return Wanted("schedule", schedule=Schedule.parse(schedule))
    return Wanted(kind)  # type: ignore[arg-type]  # one of ON_MANY


def change_of(wanted: Wanted, entity: str, values: Mapping[str, Any]) -> Change:
    """The change of one row. values: the fields of the row as JSON has them, and its `reasons`. Raises Stays."""
    if values[ARCHIVED]:
        raise Stays("it is archived" + (" already" if wanted.kind == "archive" else ""))
    if wanted.kind == "archive":
        return {ARCHIVED: [False, True]}
    if wanted.kind == "budget":
        return _budget_change(wanted, entity, values)
    if wanted.kind == "schedule":
        new = (wanted.schedule or Schedule()).to_json()
        if new == values["schedule"]:
            raise Stays("it has this schedule already")
        return {"schedule": [values["schedule"], new]}
    on = wanted.kind == "resume"
    return _pause_change(not on, values) if entity == "brand" else _switch_change(on, values)


def _pause_change(paused: bool, values: Mapping[str, Any]) -> Change:
    """Of a whole brand: its campaigns keep their switches."""
    if values[PAUSED] != paused:
        return {PAUSED: [values[PAUSED], paused]}
    raise Stays("it is paused already" if paused else "it is not paused")


def _switch_change(on: bool, values: Mapping[str, Any]) -> Change:
    if values[ENABLED] != on:
        return {ENABLED: [values[ENABLED], on]}
    if on and BREAKER in values["reasons"]:
        return {BREAKER: ["open", "closed"]}
    raise Stays("it is not paused" if on else "it is paused already")


def _budget_change(wanted: Wanted, entity: str, values: Mapping[str, Any]) -> Change:
    if wanted.field not in values:
        raise Stays(f"a {entity} has no {wanted.period} budget")
    old: int | None = values[wanted.field]
    new = wanted.value
    if wanted.how != SET:
        if old is None:
            raise Stays(f"it has no {wanted.period} budget to change")
        assert wanted.value is not None
        new = old + wanted.value if wanted.how == ADD else old * wanted.value // _WHOLE_PERCENT
        if not 0 <= new <= MAX_TOTAL_MICROS:
            raise Stays(f"its {wanted.period} budget would be {format_micros(new)}, which is no budget")
    if new == old:
        raise Stays(f"its {wanted.period} budget is that already")
    return {wanted.field: [old, new]}


def reversed_change(change: Change) -> Change:
    """What takes a change back; an open breaker does not open again."""
    return {field: [new, old] for field, (old, new) in change.items() if field != BREAKER}


def _how_words(how: str, value: int | None) -> str:
    if how == PERCENT:
        assert value is not None
        text = f"{value // 1_000_000}.{value % 1_000_000:06d}".rstrip("0").rstrip(".")
        return f"to {text} % of what it is"
    amount = format_optional(value) or "none"
    short = amount if value is None else _short(abs(value))
    if how == ADD:
        return f"{'down' if (value or 0) < 0 else 'up'} by {short}"
    return f"to {'no limit' if value is None else short}"


def _short(micros: int) -> str:
    whole, _, decimals = format_micros(micros).partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"
