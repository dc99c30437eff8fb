"""Forms of what is done to a selection: by how much a budget changes, and another schedule."""

from __future__ import annotations

from wtforms import RadioField
from wtforms.fields import SelectChoice

from engine.domain.operations import Wanted, wanted_of
from engine.errors import BudgetError
from web.forms import CampaignForm
from web.how_much import HowMuch, how_field
from web.refusals import complain, missing


class BudgetChangeForm(HowMuch):
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
    how = how_field(RadioField)

    def wanted(self) -> Wanted | None:
        """What was asked for; None where a field is wrong, and it is marked."""
        if self.validate() and not missing(self, "period", "how"):
            try:
                return wanted_of("budget", period=self.period.data, change=self.change_text())
            except BudgetError as error:
                error.field = "amount"  # type: ignore[attr-defined]  # whatever it is called below
                complain(self, error)
        return None


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
