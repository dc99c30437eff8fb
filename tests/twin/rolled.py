"""The machine's rules of rollover."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from engine.domain.zone_text import UTC
from tests.model import BrandPlan, CampaignPlan, ReferenceModel
from tests.twin.drawn import AMOUNTS
from tests.twin.late_rules import Drawn
from tests.twin.side import Side
from tests.twin.stepped import SteppedMachine

CAPS: Final = st.sampled_from((None, 0, 5, 20, 20, 50, 200, 1000, 9 * 10**15))
DAILY: Final = st.sampled_from((None, 0, 20, 50, 200))


def few_days(_: ReferenceModel, ms: int) -> int:
    """A few days without a spend."""
    return UTC.midnight_ms(UTC.day_of(ms) + 3)


class RolledRules(RuleBasedStateMachine):
    """Brands whose unused budget is carried on: a part of the machines."""

    side: Side
    plans: dict[int, BrandPlan]
    bring: Callable[[BrandPlan, list[CampaignPlan]], None]
    spends: Callable[[str, str | None, list[Drawn]], None]
    moves_on: Callable[[Callable[[ReferenceModel, int], int], int], None]

    @rule(place=st.integers(0, 2), cap=CAPS, daily=DAILY)
    def rolls_over(self, place: int, cap: int | None, daily: int | None) -> None:
        plan = self.plans.get(self.side.brands[place])
        if plan is not None:
            daily = plan.daily_limit if daily is None else daily
            self.bring(plan._replace(version=plan.version + 1, rollover_cap=cap, daily_limit=daily), [])

    @rule(place=st.integers(0, 59), amount=AMOUNTS, days=st.integers(1, 3), verb=st.sampled_from(("try", "record")))
    def spends_days_later(self, place: int, amount: int | str, days: int, verb: str) -> None:
        """At a midnight, after days without a spend."""
        self.moves_on(lambda _, ms: UTC.midnight_ms(UTC.day_of(ms) + days), 0)
        self.spends(verb, None, [(place, amount, None, None)])


class RolledMachine(RolledRules, SteppedMachine):
    """With brands whose unused budget is carried on."""

    moves = {**SteppedMachine.moves, "three days": few_days}
