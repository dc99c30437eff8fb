"""By how much a budget changes: a choice and an amount or percent, in place of the text that commands and files have."""

from __future__ import annotations

from typing import Final

from flask_wtf import FlaskForm
from wtforms import Field, RadioField, SelectField, StringField
from wtforms.fields import SelectChoice

from engine.domain.limit_changes import MOST_PERCENT, LimitChange, change_text
from engine.domain.money import parse_budget
from engine.errors import InvalidBudget
from web.refusals import text_of

HOW: Final = {
    "set": "Set to an amount",
    "none": "Set to no limit",
    "up_percent": "Raise by percent",
    "down_percent": "Lower by percent",
    "up": "Raise by an amount",
    "down": "Lower by an amount",
}
_WHOLE: Final = 100_000_000


def how_field(kind: type[RadioField] | type[SelectField]) -> Field:
    """The choice, as buttons or as a list."""
    return kind("How", choices=[SelectChoice(*pair) for pair in HOW.items()], default="set")


class HowMuch(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """The amount of a form that has a field `how` of HOW."""

    amount = StringField("Amount or percent", filters=[text_of], description="100.00, or 10 for ten percent.")

    def change_text(self) -> str:
        """The change as `parse_change` takes it. Raises InvalidBudget, InvalidAmount."""
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
        return change_text(LimitChange(0, "daily", "percent", whole, 0))
