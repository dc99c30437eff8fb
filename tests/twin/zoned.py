"""Time zones that the machine draws, and the rules of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from engine.domain.periods import MINUTE_MS
from engine.domain.zone_text import Zone
from engine.domain.zones import UTC_ZONE, BrandZone
from tests.model import BrandPlan, ReferenceModel
from tests.model.plan import Brand
from tests.twin.drawn import AMOUNTS
from tests.twin.late_rules import Drawn
from tests.twin.paced import PacedMachine
from tests.twin.side import Side

NAMES: Final = (
    "Europe/Berlin", "Asia/Kolkata", "Africa/Casablanca", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Chatham",
    "America/Los_Angeles", "Pacific/Kiritimati", "Pacific/Pago_Pago", None,
)  # fmt: skip
"""Of 30 and 45 minutes, with a change of 30 minutes, and on both sides of the date line; None is UTC."""


def _brands(twin: ReferenceModel) -> Iterable[Brand]:
    return (brand for shard in twin.shards.values() for brand in shard.brands.values())


def _soonest(found: Iterable[int], ms: int) -> int:
    return min((at for at in found if at > ms), default=ms + 1)


def next_midnight(twin: ReferenceModel, ms: int) -> int:
    """When the next day of any brand begins."""
    return _soonest((brand.zone.next_day_ms(ms) for brand in _brands(twin)), ms)


def next_change(twin: ReferenceModel, ms: int) -> int:
    """When a brand's offset changes next."""
    return _soonest((at for brand in _brands(twin) for at in brand.zone.changes), ms)


def next_month(twin: ReferenceModel, ms: int) -> int:
    """When the next month of any brand begins."""
    return _soonest((brand.zone.next_month_ms(ms) for brand in _brands(twin)), ms)


def next_hours(twin: ReferenceModel, ms: int) -> int:
    """When a campaign's hours open or close next by the clock of its brand."""

    def edges() -> Iterator[int]:
        for shard in twin.shards.values():
            for campaign in shard.campaigns.values():
                edge = campaign.schedule.next_change_ms(campaign.zone.local_ms(ms))
                yield from campaign.zone.instants_of(edge) if edge is not None else ()

    return _soonest(edges(), ms)


def end_of_grace(twin: ReferenceModel, ms: int) -> int:
    """When a brand takes no more late spends of the day before."""
    minutes = [shard.grace_minutes for shard in twin.shards.values() if shard.grace_minutes]
    ends = (brand.zone.midnight_ms(brand.zone.day_of(ms)) for brand in _brands(twin))
    return _soonest((end + count * MINUTE_MS for end in ends for count in minutes), ms)


ZONED_MOVES: Final[dict[str, Callable[[ReferenceModel, int], int]]] = {
    "a brand's midnight": next_midnight,
    "a midnight again": next_midnight,
    "a change of a zone": next_change,
    "a brand's month's end": next_month,
    "hours of a zone": next_hours,
    "a grace of a zone": end_of_grace,
}


class ZonedRules(RuleBasedStateMachine):
    """Brands that have time zones: a part of the machines."""

    side: Side
    twin: ReferenceModel
    clock: int
    plans: dict[int, BrandPlan]
    spends: Callable[[str, str | None, list[Drawn]], None]
    moves_on: Callable[[Callable[[ReferenceModel, int], int], int], None]

    def brings_a_zone(self, plan: BrandPlan, name: str | None, now: int) -> None:
        """Gives a brand a zone from its next midnight on."""
        raise NotImplementedError

    @rule(place=st.integers(0, 2), name=st.sampled_from(NAMES))
    def chooses_a_zone(self, place: int, name: str | None) -> None:
        """A brand gets a zone, or another one from its next midnight on; its text begins with the day before."""
        brand = self.side.brands[place]
        plan = self.plans.get(brand)
        shard = self.twin.shards[brand % 64]
        if plan is not None and shard.marked:
            self.brings_a_zone(plan, name, max(self.clock, shard.kept_now))

    @rule(place=st.integers(0, 59), amount=AMOUNTS, off=st.sampled_from((-1, 0, 1)))
    def spends_at_a_midnight(self, place: int, amount: int | str, off: int) -> None:
        """At a midnight of a brand."""
        self.moves_on(next_midnight, off)
        self.spends("try", None, [(place, amount, None, None)])


class ZonedMachine(ZonedRules, PacedMachine):
    """With brands that have time zones. What a change of them compiles to is this machine's own."""

    moves = {**PacedMachine.moves, **ZONED_MOVES}

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self.zones: dict[int, BrandZone] = {}

    def brings_a_zone(self, plan: BrandPlan, name: str | None, now: int) -> None:
        zone = self.zones.get(plan.brand_id, UTC_ZONE).changed(name, now)
        self.zones[plan.brand_id] = zone
        text = zone.text(now)
        if Zone.parse(text).day_of(now) >= self.twin.shards[plan.brand_id % 64].brands[plan.brand_id].zone.day_of(now):
            self.bring(plan._replace(version=plan.version + 1, zone=text), [])
