"""What a change of a campaign may be given, and the columns that follow."""

from __future__ import annotations

from typing import Any, Final, TypedDict

from engine.domain.brake import check_per_minute
from engine.domain.budget import CAMPAIGN_BUDGETS
from engine.domain.causes import BREAKER
from engine.domain.ids import check_text_id
from engine.domain.money import check_budget_micros
from engine.domain.names import clean_name
from engine.domain.schedule import Schedule
from engine.ledger import brands
from engine.ledger.records import KEEP, Keep

PER_MINUTE: Final = ("rate_limit", BREAKER)
"""The names of the amounts a minute of a brake, in its order."""


class CampaignChanges(TypedDict, total=False):
    """What `campaigns.change` may be given."""

    name: str | Keep
    schedule: Schedule | Keep | None
    external_id: str | Keep | None
    daily_budget_micros: int | Keep | None
    monthly_budget_micros: int | Keep | None
    lifetime_budget_micros: int | Keep | None
    pacing: str | Keep
    catch_up: str | Keep
    rate_limit_micros: int | Keep | None
    breaker_micros: int | Keep | None
    expected_version: int | None
    note: str | None


def checked(given: CampaignChanges) -> dict[str, Any]:
    """The columns of what is given. Raises InvalidName, InvalidBudget, InvalidId, InvalidPacing."""
    values: dict[str, Any] = {field: value for field, value in given.items() if not isinstance(value, Keep)}
    wanted: dict[str, Any] = brands.pacing_columns(values.get("pacing", KEEP), values.get("catch_up", KEEP))
    for field, value in values.items():
        if field == "name":
            wanted[field] = clean_name(value)
        elif field == "schedule":
            wanted[field] = value or Schedule()
        elif field == "external_id":
            wanted[field] = None if value is None else check_text_id(value, field)
    for kind in CAMPAIGN_BUDGETS:
        if kind.column in values:
            wanted[kind.column] = check_budget_micros(values[kind.column], f"{kind.name}_budget")
    for name in PER_MINUTE:
        if f"{name}_micros" in values:
            wanted[f"{name}_micros"] = check_per_minute(values[f"{name}_micros"], name)
    return wanted
