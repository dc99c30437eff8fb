"""What is carried into a brand's day, in words. Pure."""

from __future__ import annotations

from engine.domain.money import format_micros
from engine.views.models import BrandView


def _plain(micros: int) -> str:
    text = format_micros(micros)
    return text[:-4] if text.endswith("0000") else text


def limit_words(view: BrandView) -> str | None:
    """The parts of today's limit, such as "100.00 + 23.00 carried"; None where nothing is carried into the day."""
    if view.planned_budget is None or not view.carried:
        return None
    return f"{_plain(view.planned_budget)} + {_plain(view.carried)} carried"


def told(view: BrandView) -> str:
    """What a brand's rollover does to its present day, in one sentence."""
    if view.rollover_cap is None:
        today = "has no limit" if view.planned_budget is None else f"has {_plain(view.planned_budget)}"
        return f"nothing is carried from day to day: today {today}"
    if not view.planned_budget:
        return "nothing is carried while there is no daily budget or one of 0"
    most = f"at most {_plain(view.rollover_cap)}"
    if not view.carried:
        return f"nothing is carried into today; what today leaves is carried into tomorrow, {most}"
    return f"today has {limit_words(view)}, at once; tomorrow gets what today leaves, {most}"
