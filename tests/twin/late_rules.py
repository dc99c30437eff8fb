"""Rules of late spends: a part of the machine."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from engine.domain.periods import next_day_ms
from tests.model import ReferenceModel
from tests.twin.drawn import AMOUNTS, EVENTS, GRACES, OCCURRED
from tests.twin.side import Side

Drawn = tuple[int, int | str, str | None, int | str | None]
"""A spend as it is drawn: the place of its campaign, amount, event id, when it occurred."""


class LateRules(RuleBasedStateMachine):
    """The grace of late spends, and spends right after a midnight."""

    side: Side
    twin: ReferenceModel
    clock: int
    spends: Callable[[str, str | None, list[Drawn]], None]
    moves_on: Callable[[Callable[[ReferenceModel, int], int], int], None]

    @rule(minutes=GRACES)
    def publishes_a_grace(self, minutes: int) -> None:
        self.side.grace(minutes)
        self.twin.take_grace(self.side.shards, minutes, self.clock)

    @rule(
        verb=st.sampled_from(("record", "try", "try")),
        given=st.lists(st.tuples(st.integers(0, 59), AMOUNTS, EVENTS, OCCURRED), max_size=2),
        place=st.integers(0, 59),
        amount=AMOUNTS,
        after=st.sampled_from((None, 0, 0, 1, 3_599_999, 3_600_000)),
    )
    def spends_late(self, verb: str, given: list[Drawn], place: int, amount: int | str, after: int | None) -> None:
        """Spends of the day before, at once or so many ms after the next midnight."""
        if after is not None:
            self.moves_on(lambda _, ms: next_day_ms(ms), after)
        self.spends(verb, None, [(place, amount, None, "yesterday"), *given])
