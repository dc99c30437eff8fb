"""Forms of what is done to a selection: by how much a budget changes, and another schedule."""

from __future__ import annotations

from typing import Final

from flask_wtf import FlaskForm
from wtforms import RadioField, StringField
from wtforms.fields import SelectChoice

from engine.domain.limit_changes import MOST_PERCENT, change_text
from engine.domain.limit_changes import LimitChange as Scheduled
from engine.domain.money import parse_budget
from engine.domain.operations import Wanted, wanted_of
from engine.errors import BudgetError, InvalidBudget
from web.forms import CampaignForm
from web.refusals import complain, missing

HOW: Final = {
    "set": "Set to an amount",
    "none": "Set to no limit",
    "up_percent": "Raise by percent",
    "down_percent": "Lower by percent",
    "up": "Raise by an amount",
    "down": "Lower by an amount",
}
_WHOLE: Final = 100_000_000


def _text(value: str | None) -> str:
    return (value or "").strip()


class BudgetChangeForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """By how much the budgets of a selection change."""

    period = RadioField(
        "Which budget",
        choices=[
            SelectChoice("daily", "Daily"),
            SelectChoice("monthly", "Monthly"),
            SelectChoice("lifetime", "Lifetime (campaigns only)"),
        ],
        default="daily",
    )
    how = RadioField("How", choices=[SelectChoice(*pair) for pair in HOW.items()], default="set")
    amount = StringField("Amount or percent", filters=[_text], description="100.00, or 10 for ten percent.")

    def wanted(self) -> Wanted | None:
        """What was asked for; None where a field is wrong, and it is marked."""
        if self.validate() and not missing(self, "period", "how"):
            try:
                return wanted_of("budget", period=self.period.data, change=self._change())
            except BudgetError as error:
                error.field = "amount"  # type: ignore[attr-defined]  # whatever it is called below
                complain(self, error)
        return None

    def _change(self) -> str:
        how, text = self.how.data, self.amount.data
        if how == "none":
            return "set:none"
        micros = parse_budget(text, "amount")
        if micros is None:
            raise InvalidBudget("amount is none: choose Set to no limit for that", "amount")
        if how == "set":
            return f"set:{text}"
        if not micros:
            raise InvalidBudget("amount is 0, which changes nothing: give how much", "amount")
        if how in ("up", "down"):
            return f"add:{'-' if how == 'down' else ''}{text}"
        if how == "down_percent" and micros >= _WHOLE:
            raise InvalidBudget("amount leaves nothing: give less than 100 percent", "amount")
        if how == "up_percent" and _WHOLE + micros > MOST_PERCENT * 1_000_000:
            raise InvalidBudget(f"amount is too much: raise by at most {MOST_PERCENT - 100} percent", "amount")
        whole = _WHOLE + micros if how == "up_percent" else _WHOLE - micros
        return change_text(Scheduled(0, "daily", "percent", whole, 0))


class ScheduleForm(CampaignForm):
    """Another schedule, with the fields of a campaign's form."""

    def wanted(self) -> Wanted | None:
        """What was asked for; None where a field is wrong, and it is marked."""
        needed = {"json": ("schedule_json",), "window": ("start_time", "end_time")}.get(self.mode.data, ())
        if not self.validate() or missing(self, "mode", *needed):
            return None
        try:
            return Wanted("schedule", schedule=self._schedule())
        except BudgetError as error:
            complain(self, error)
            return None
