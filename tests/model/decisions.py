"""Refunds as the log decides them: what PostgreSQL knows of each, for good, and what becomes of those that wait.

It leaves out rows that were dropped, and the quarantine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.domain.ids import brand_of
from engine.domain.periods import day_of
from tests.model.journal import Asked, Entry
from tests.model.refunds import give_back, too_small
from tests.model.shard import Refunded, Shard, event_name, refund_name

WAITING, APPROVED, REFUSED, APPLIED = "waiting", "approved", "refused", "applied"


@dataclass(slots=True)
class Decision:
    """A refund by its key (brand, event and refund id). order: its instant and journal number."""

    asked: Asked
    order: tuple[int, int, int]
    state: str
    cause: str = ""
    told: bool = False


@dataclass(slots=True)
class Ledger:
    """What was persisted, as far as refunds need it."""

    refunds: dict[str, Decision] = field(default_factory=dict)
    """By the name that the memory has for it."""
    spent: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    """{(event, campaign, day): micros}"""
    flights: dict[tuple[str, int, int], int | None] = field(default_factory=dict)
    """{(event, campaign, day): the counter of the spend's flight}"""
    left: Counter[tuple[int, int]] = field(default_factory=Counter)
    """{(campaign, day): micros}"""
    first: dict[int, int] = field(default_factory=dict)
    """{brand: the first day on which it spent}"""

    def persist(self, entry: Entry) -> None:
        """An entry becomes rows."""
        for row in entry.rows:
            self.left[row.campaign_id, row.day] += row.micros
            if row.micros > 0:
                brand_id = brand_of(row.campaign_id)
                self.first[brand_id] = min(self.first.get(brand_id, row.day), row.day)
            if row.event_id is None:
                continue
            if row.micros > 0:
                self.flights[event_name(row.campaign_id, row.event_id), row.campaign_id, row.day] = row.flight
                self.spent[event_name(row.campaign_id, row.event_id), row.campaign_id, row.day] += row.micros
                continue
            given = Asked(row.campaign_id, row.event_id, -row.micros, row.day, row.refund_id)
            known = self.refunds.get(_name(given))
            if known is None:
                self.refunds[_name(given)] = Decision(given, _order(entry, given), APPLIED, told=True)
            elif known.state != APPLIED:
                known.asked, known.state, known.cause, known.told = given, APPLIED, "", True
        for asked in entry.asked:
            known = self.refunds.get(_name(asked))
            if known is None or known.state == REFUSED:
                self.refunds[_name(asked)] = Decision(asked, _order(entry, asked), WAITING)
            else:
                known.told = False

    def decide(self, shard_of: Callable[[int], Shard], clock: int) -> None:
        """Decides all that waits, gives back what is approved, and lets the memories know."""
        groups: dict[tuple[int, int], list[Decision]] = {}
        for row in self._in(WAITING):
            groups.setdefault((brand_of(row.asked.campaign_id), row.asked.day), []).append(row)
        for group in groups.values():
            for row in group:
                row.cause = self._why_not(row.asked, shard_of(row.asked.campaign_id))
                row.state = REFUSED if row.cause else APPROVED
        for row in self._in(APPROVED):
            shard, asked = shard_of(row.asked.campaign_id), row.asked
            now = shard.now(clock)
            flight = self.flights.get((event_name(asked.campaign_id, asked.event_id), asked.campaign_id, asked.day))
            row.cause = too_small(shard, asked.campaign_id, asked.micros, asked.day, now, flight)
            if row.cause:
                row.state = REFUSED
            else:
                give_back(
                    shard, asked.campaign_id, asked.micros, asked.event_id, asked.day, now, asked.refund_id, flight
                )
        for row in [*self._in(REFUSED), *self._in(APPLIED)]:
            if not row.told:
                _tell(shard_of(row.asked.campaign_id), row, clock)
                row.told = True

    def _why_not(self, asked: Asked, shard: Shard) -> str:
        event = event_name(asked.campaign_id, asked.event_id)
        known = [(campaign, day) for name, campaign, day in self.spent if name == event and abs(day - asked.day) <= 1]
        spent = self.spent.get((event, asked.campaign_id, asked.day))
        if spent is None:
            if known:
                return "xc" if any(day == asked.day for _, day in known) else "xy"
            brand_id = brand_of(asked.campaign_id)
            made = day_of(shard.brands[brand_id].born_ms) - 1
            return "xe" if asked.day < min(made, self.first.get(brand_id, made)) else "xu"
        rows = [row for row in self.refunds.values() if row.state in (APPROVED, APPLIED)]
        of_event = (r.asked.micros for r in rows if event_name(r.asked.campaign_id, r.asked.event_id) == event)
        if sum(of_event) + asked.micros > spent:
            return "xs"
        of_day = (r.asked.micros for r in rows if r.state == APPROVED and r.asked[::3] == asked[::3])
        return "xd" if self.left[asked.campaign_id, asked.day] - sum(of_day) < asked.micros else ""

    def _in(self, state: str) -> list[Decision]:
        return sorted((row for row in self.refunds.values() if row.state == state), key=lambda row: row.order)


def _tell(shard: Shard, row: Decision, clock: int) -> None:
    asked, now = row.asked, shard.now(clock)
    event = event_name(asked.campaign_id, asked.event_id)
    name = refund_name(event, asked.refund_id)
    if shard.refunds.recall(name, now) == Refunded(asked.campaign_id, asked.micros):
        return
    shard.refunds.remember(name, Refunded(asked.campaign_id, asked.micros, row.cause), now)
    if row.state == APPLIED:
        shard.refunded.remember(event, (shard.refunded.recall(event, now) or 0) + asked.micros, now)
    shard.kept_now = now


def _name(asked: Asked) -> str:
    return refund_name(event_name(asked.campaign_id, asked.event_id), asked.refund_id)


def _order(entry: Entry, asked: Asked) -> tuple[int, int, int]:
    return entry.ms, entry.n, brand_of(asked.campaign_id)
