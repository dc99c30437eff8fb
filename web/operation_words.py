"""Operations in words: what changes of a row, what follows for running campaigns, and where an operation is."""

from __future__ import annotations

from typing import Any, Final

from flask import Flask

from engine.domain.money import MICROS
from engine.domain.schedule import Schedule
from engine.domain.zone_text import UTC_NAME
from engine.errors import BudgetError
from engine.ledger.operations import OperationRecord
from web.formats import NO_LIMIT, count, money

_FIELDS: Final = {
    "daily_budget_micros": "daily budget",
    "monthly_budget_micros": "monthly budget",
    "lifetime_budget_micros": "lifetime budget",
    "rollover_cap_micros": "rollover",
    "rate_limit_micros": "limit for a minute",
    "breaker_micros": "breaker",
    "external_id": "external id",
    "time_zone": "time zone",
    "catch_up": "catch-up",
    "enabled": "switch",
}
_SWITCHES: Final = {"enabled": ("off", "on"), "archived": ("in use", "archived"), "paused": ("running", "paused")}
STATES: Final = {"draft": "not applied yet", "applying": "being applied", "done": "done"}


def field_words(field: str) -> str:
    """The name of a field, for people."""
    return _FIELDS.get(field, field.replace("_", " "))


def value_words(field: str, value: Any) -> str:
    """A value of a change, for people."""
    if field.endswith("_micros"):
        return money(value) if isinstance(value, int) else NO_LIMIT
    if isinstance(value, bool):
        return _SWITCHES.get(field, ("no", "yes"))[value]
    if field == "schedule":
        try:
            return Schedule.parse(value).words()
        except BudgetError:  # another release wrote it
            return str(value)
    if value is None:
        return UTC_NAME if field == "time_zone" else "none"
    return str(value)


def effect(operation: OperationRecord) -> str:
    """What follows for running campaigns; "" where the live figures were not there."""
    if operation.starts is None or operation.stops is None:
        return ""
    of = f" of {count(operation.brands, 'brand')}" if operation.kind in ("pause", "resume") and operation.brands else ""
    parts = []
    if operation.starts:
        parts.append(
            f"{count(operation.starts, 'campaign')}{of} {'starts' if operation.starts == 1 else 'start'} again"
        )
    if operation.stops:
        parts.append(f"{count(operation.stops, 'campaign')}{of} {'stops' if operation.stops == 1 else 'stop'} at once")
    return ", ".join(parts) + "." if parts else "No campaign starts or stops by it."


def button(operation: OperationRecord) -> str:
    """What the button of a draft says."""
    if operation.kind in ("pause", "resume") and operation.brands == operation.ready:
        return f"{operation.kind.capitalize()} {count(operation.brands, 'brand')}"
    return f"Change {count(operation.ready, 'row')}"


def by_how_much(field: str, old: Any, new: Any) -> str:
    """The difference of two amounts, as "+10.00"; "" for anything else."""
    if not field.endswith("_micros") or not isinstance(old, int) or not isinstance(new, int):
        return ""
    sign = "+" if new >= old else "−"
    return f"{sign}{money(abs(new - old))}" if abs(new - old) < 10**9 * MICROS else ""


def install(app: Flask) -> None:
    """Registers the template filters."""
    app.jinja_env.filters.update(field_words=field_words)
    app.jinja_env.globals.update(
        value_words=value_words, by_how_much=by_how_much, effect=effect, button=button, OPERATION_STATES=STATES
    )
