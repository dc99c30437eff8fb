"""Translates names and values of the engine into plain text for pages: refusals, the audit trail, changes."""

from __future__ import annotations

import re
from typing import Final

from flask import Flask

from engine.domain.excess import Excess
from engine.domain.money import parse_budget
from engine.domain.periods import Period, at_ms
from engine.domain.schedule import Schedule
from engine.domain.zone_text import UTC_NAME
from engine.errors import BudgetError
from engine.ledger.records import BrandRecord, CampaignRecord
from engine.ledger.reports import CatalogLine
from web.formats import NO_LIMIT, money, readable

LONGEST: Final = 80
"""The longest value in a message, in characters. A name may have 200, and a cookie has the whole message."""

_QUOTED: Final = re.compile(r"""('[^']*'|"[^"]*")""")
_COMMAND: Final = re.compile(r": (?:give the whole number that )?`[a-z -]+` shows(?: all)?")
_RENAME: Final = re.compile(r"rename this one first, with `[^`]*`")
_PATH: Final = re.compile(r"\bschedule((?:\[\d+\]|\.[a-z_]+)+)")
_CHANGE: Final = re.compile(r"\b(set|add|percent):(\S+)")
_NAME: Final = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")
_FIELDS: Final = {
    "name": "name",
    "daily_budget_micros": "daily budget",
    "monthly_budget_micros": "monthly budget",
    "rollover_cap_micros": "rollover",
    "lifetime_budget_micros": "lifetime budget",
    "rate_limit_micros": "limit for a minute",
    "breaker_micros": "breaker",
    "schedule": "schedule",
    "external_id": "external id",
    "time_zone": "time zone",
}
KINDS: Final = {"over": "above its hold", "late": "settled late"}
"""Labels of the kinds of spends whose own names are unclear."""


def plainly(message: str) -> str:
    """A refusal without names of code: "schedule[0].days[1]" is "window 1, day 2", and no command is recommended.
    Quoted text stays.
    """
    pieces = _QUOTED.split(_RENAME.sub("choose another", _COMMAND.sub("", message)))
    return "".join(piece if i % 2 else _NAME.sub(_spaced, _PATH.sub(_place, piece)) for i, piece in enumerate(pieces))


def _spaced(name: re.Match[str]) -> str:
    return name[0].replace("_", " ")


def _place(path: re.Match[str]) -> str:
    parts = re.findall(r"\[(\d+)\]|\.([a-z_]+)", path[1])
    said = [part or f"{'day' if i else 'window'} {int(number) + 1}" for i, (number, part) in enumerate(parts)]
    # "days" before "day 2" adds nothing.
    return ", ".join(part for i, part in enumerate(said) if not (part == "days" and i + 1 < len(said)))


def differences(before: BrandRecord | CampaignRecord, after: BrandRecord | CampaignRecord) -> list[str]:
    """The changed fields of a row, each as "daily budget 12.00 → 5.00"."""
    return [
        f"{words} {_value(field, getattr(before, field))} → {_value(field, getattr(after, field))}"
        for field, words in _FIELDS.items()
        if hasattr(before, field) and getattr(before, field) != getattr(after, field)
    ]


def _value(field: str, value: object) -> str:
    if field.endswith("_micros"):
        return money(value) if isinstance(value, int) else NO_LIMIT
    if field == "time_zone" and value is None:
        return UTC_NAME
    text = value.words() if isinstance(value, Schedule) else str(value) if value is not None else "none"
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def trail_field(line: CatalogLine) -> str:
    """The name of a field in the audit trail, for people."""
    return {"enabled": "switch"}.get(line.field, line.field.replace("_", " "))


def trail_value(line: CatalogLine, value: str | None) -> str:
    """A value in the audit trail, for people: budgets as money, schedules and switches in words."""
    if line.field == "enabled" and value is not None:
        return "on" if value == "true" else "off"
    if line.field in ("archived", "paused") and value is not None:
        return "yes" if value == "true" else "no"
    try:
        if line.field.endswith("_budget") or line.field == "rollover_cap":
            micros = parse_budget(value)
            return NO_LIMIT if micros is None else money(micros)
        if line.field == "schedule":
            return Schedule.parse(value).words()
    except BudgetError:  # another release wrote it in another format: show it unchanged
        return value or "–"
    if line.field in ("flight", "limit_change") and value is not None:
        return change_words(readable(value))
    return "–" if value is None else value


def change_words(text: str) -> str:
    """A scheduled change: "set:80.00" is "to 80.00", "add:-5.00" is "by -5.00", "percent:150" is "to 150 %"."""
    return _CHANGE.sub(_changed, text)


def _changed(found: re.Match[str]) -> str:
    kind, value = found.groups()
    if kind == "add":
        return f"by {value}" if value.startswith("-") else f"by +{value}"
    return f"to {NO_LIMIT if value == 'none' else value}{' %' if kind == 'percent' else ''}"


def trail_note(line: CatalogLine) -> str:
    """A note of the audit trail. The note of a new row lists its budgets under names of code, which are translated."""
    return plainly(line.note or "") if line.field == "created" else line.note or ""


def why_past(excess: Excess | None, budget: int, period: Period) -> str:
    """Why more is spent than the budget, as a continuation of "over by 4.00"; "" where that is unknown."""
    if excess is None:
        return ""
    change = excess.lowered
    if change is None:
        return ": spend was recorded after the budget was used up"
    old, new = (NO_LIMIT if value is None else money(value) for value in (change.old, change.new))
    at = f"{at_ms(change.at_ms):%H:%M}" if period == "day" else f"{at_ms(change.at_ms):%d %b %H:%M}"
    words = f": the budget was lowered from {old} to {new} at {at} UTC, when {money(change.spent)} was spent"
    if change.new != budget:
        words += f", and is {money(budget)} since"
    return f"{words}; {money(excess.late)} more was recorded past the budget" if excess.late else words


def install(app: Flask) -> None:
    """Registers the template filters."""
    app.jinja_env.filters.update(
        why_past=why_past,
        change_words=change_words,
        trail_field=trail_field,
        trail_value=trail_value,
        trail_note=trail_note,
    )
