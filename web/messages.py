"""Messages after an action. They are shown outside the fragments of a page that refresh themselves.

A message has what changed, what follows from it, and whether bidders have it. The session keeps it for the next page,
or the reply to htmx shows it at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from flask import flash, get_flashed_messages, render_template

from engine.domain.budget import daily_above_monthly
from engine.domain.causes import sentence
from engine.flows.catalog.manage import Changed
from engine.ledger.records import BrandRecord, CampaignRecord
from engine.views.rollover import told
from web.formats import count, money
from web.services import services
from web.words import differences

Style = Literal["done", "then", "warn", "undo"]
"""undo: no sentence, but the id of the operation that its button takes back."""
_CATEGORY: Final = "told"


@dataclass(frozen=True, slots=True)
class Message:
    """One message: what was done, what follows, and warnings, each line with its style."""

    lines: tuple[tuple[str, str], ...]

    @property
    def undo(self) -> str | None:
        """The id of the operation that can be taken back."""
        return next((text for style, text in self.lines if style == "undo"), None)

    @property
    def kind(self) -> str:
        return "warn" if any(style == "warn" for style, _ in self.lines) else "done"


def tell(*lines: tuple[Style, str]) -> None:
    """Stores a message for the next page or reply."""
    flash([list(line) for line in lines], _CATEGORY)  # type: ignore[arg-type]  # the session keeps any JSON value


def waiting() -> list[Message]:
    """Takes the messages that were not shown yet out of the session."""
    kept = cast("list[tuple[str, Any]]", get_flashed_messages(with_categories=True))
    return [_message_of(kind, message) for kind, message in kept]


def _message_of(kind: str, message: Any) -> Message:
    if kind == _CATEGORY:
        return Message(tuple((style, text) for style, text in message))  # a text may be Markup, with a link in it
    return Message(((kind if kind in ("done", "warn") else "done", message),))


def refusal(title: str, text: str, hint: str) -> str:
    """A refusal as such a message, which the next refresh does not remove."""
    lines = [("warn", title), *(("then", line) for line in (text, hint[:1].upper() + hint[1:]) if line)]
    return render_template("_toasts.html", toasts=[Message(tuple(lines))])


def of_change(changed: Changed[Any], done: str) -> None:
    """Adds a message about a change of the catalog. done: the sentence for it, unless nothing changed."""
    row = changed.row
    lines: list[tuple[Style, str]] = []
    if changed.nothing:
        lines.append(("done", f"Nothing changed: {row.name} was like that already."))
    else:
        apart = differences(changed.before, row) if changed.before is not None else []
        lines.append(("done", f"{done.removesuffix('.')}: {'; '.join(apart)}." if apart else done))
        if changed.published:
            lines += [("then", text) for text in _consequences(changed)]
            lines += [("then", text) for text in _rollover(row, changed.before)]
    if isinstance(row, BrandRecord) and not row.archived and _budgets_were_set(changed):
        lines += [("warn", text) for text in _budget_warnings(row)]
    if not changed.published:
        lines.append(("warn", f"Bidders do not have it yet: {changed.why_not}."))
    if changed.before is not None and not changed.nothing and (made := services().operations.of_row(row)) is not None:
        lines.append(("undo", str(made)))
    tell(*lines)


def _consequences(changed: Changed[Any]) -> list[str]:
    row, before = changed.row, changed.before
    if isinstance(row, CampaignRecord):
        return _of_campaign(row, before)
    if before is None:
        return []
    if changed.starting:
        campaigns = count(abs(changed.starting), "campaign")
        one = abs(changed.starting) == 1
        if changed.starting > 0:
            return [f"{campaigns} {'starts' if one else 'start'} again."]
        return [f"{campaigns} {'stops' if one else 'stop'} at once."]
    return ["No campaign starts or stops by it."] if _budgets_were_set(changed) or row.archived else []


def _rollover(row: Any, before: Any) -> list[str]:
    """What is carried into the day of a brand with a rollover."""
    if not isinstance(row, BrandRecord) or row.archived:
        return []
    if row.rollover_cap_micros is None and (before is None or before.rollover_cap_micros is None):
        return []
    said = told(services().overview.brand(row.id, alone=True))
    return [f"{said[0].upper()}{said[1:]}."]


def _of_campaign(row: CampaignRecord, before: CampaignRecord | None) -> list[str]:
    if row.archived:
        return []
    if row.status == "active":
        return [] if before is not None and before.status == "active" else ["It runs now."]
    if not row.enabled or (before is not None and (before.status, before.reasons) == (row.status, row.reasons)):
        return []
    why = sentence(row.reasons, row.schedule, time.time_ns() // 1_000_000).removeprefix("paused: ")
    return [f"It does not run now: {why}."]


def _budgets_were_set(changed: Changed[Any]) -> bool:
    before, row = changed.before, changed.row
    if before is None:
        return True
    return (before.daily_budget_micros, before.monthly_budget_micros) != (
        row.daily_budget_micros,
        row.monthly_budget_micros,
    )


def _budget_warnings(row: BrandRecord) -> list[str]:
    daily, monthly = row.daily_budget_micros, row.monthly_budget_micros
    if daily is None or monthly is None or not daily_above_monthly(daily, monthly):
        return []
    slip = f"The daily budget ({money(daily)}) is above the monthly one ({money(monthly)}), which is used up first."
    return [f"{slip} Is one of them a slip?"]
