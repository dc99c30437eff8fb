"""Holds: money set aside before a bid, then settled at the real price, released, or expired. Each has exactly one end.

A settle is a fact, so it is counted also after the hold's end, or when nothing was ever held, and marked `late`; above what was held it is
marked `over`. Doing again what was done answers the same and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from engine.domain.causes import RATE
from engine.domain.ids import brand_of
from tests.model.answers import (
    ACCEPTED,
    CONFLICT,
    LATE,
    OVER,
    REFUSED,
    RELEASED,
    SETTLED,
    UNKNOWN_CAMPAIGN,
    UNKNOWN_HOLD,
    Answer,
)
from tests.model.journal import Entry, Row, Step, Verdict
from tests.model.plan import Hold, ask, count, is_asked, refusal
from tests.model.shard import End, Shard, hold_name

RESERVE: Final = "reserve"
SETTLE: Final = "settle"
RELEASE: Final = "release"
SWEEP: Final = "sweep"
SWEPT: Final = "swept"

_MONEY: Final = {SETTLED: "spend", OVER: "over", LATE: "late"}
"""The ends that moved money, and the kind of their rows."""


class Operation(NamedTuple):
    """One operation on a hold. micros: of reserve and settle; ttl_ms: of reserve."""

    verb: str
    campaign_id: int
    hold_id: str = ""
    micros: int = 0
    ttl_ms: int = 0


def operate(shard: Shard, operations: Sequence[Operation], clock: int) -> list[Answer]:
    """One call of several operations, judged in order. Raises shard.NotReady; nothing has changed then."""
    now = shard.now(clock)
    brands = shard.named((operation.campaign_id for operation in operations), now)
    steps = shard.expire(brands, now)
    verdicts: list[Verdict] = []
    with shard.watching(brands, now) as changes:
        for operation in operations:
            verdict, step = _judge(shard, operation, now)
            verdicts.append(verdict)
            steps += [step] if step else []
    if steps:
        rows = [
            Row(
                position,
                step.campaign_id,
                step.settled,
                None,
                _MONEY[step.state],
                step.hold_id,
                shard.campaigns[step.campaign_id].zone.day_of(now),
                flight=shard.campaigns[step.campaign_id].counter(now),
            )
            for position, step in enumerate(steps)
            if step.state in _MONEY
        ]
        shard.append(
            Entry(shard.n + 1, now, rows=tuple(rows), steps=tuple(steps), changes=frozenset(changes), trips=shard.trips)
        )
    shard.kept_now = now
    pairs = list(zip(operations, verdicts, strict=True))
    awaited = {operation.campaign_id for operation, verdict in pairs if verdict.causes == (RATE,)}
    return [_answer(shard, operation, verdict, now, operation.campaign_id in awaited) for operation, verdict in pairs]


def _judge(shard: Shard, operation: Operation, now: int) -> tuple[Verdict, Step | None]:
    """What becomes of one operation, and the step that the journal is told."""
    if operation.campaign_id not in shard.campaigns:
        return Verdict(UNKNOWN_CAMPAIGN), None
    if operation.verb == SWEEP:
        return Verdict(SWEPT), None
    end = shard.ends.recall(hold_name(operation.campaign_id, operation.hold_id), now)
    return {RESERVE: _reserve, SETTLE: _settle, RELEASE: _release}[operation.verb](shard, operation, end, now)


def _reserve(shard: Shard, operation: Operation, end: End | None, now: int) -> tuple[Verdict, Step | None]:
    brand, name = shard.brands[brand_of(operation.campaign_id)], (operation.campaign_id, operation.hold_id)
    hold = brand.holds.get(name)
    held = hold.held if hold else end.held if end else 0
    if held and held != operation.micros:
        return Verdict(CONFLICT), None
    if hold or end:
        return Verdict(ACCEPTED) if hold or not end else Verdict(end.state), None
    causes = refusal(brand, shard.campaigns[operation.campaign_id], operation.micros, now)
    if not causes or is_asked(causes):
        ask(brand, shard.campaigns[operation.campaign_id], operation.micros, now)
    if causes:
        return Verdict(REFUSED, causes), None
    brand.holds[name] = Hold(operation.micros, now + operation.ttl_ms)
    return Verdict(ACCEPTED), Step(*name, "open", operation.micros, 0, now + operation.ttl_ms)


def _settle(shard: Shard, operation: Operation, end: End | None, now: int) -> tuple[Verdict, Step | None]:
    if end and end.state in _MONEY:
        return Verdict(end.state if end.settled == operation.micros else CONFLICT), None
    brand, campaign = shard.brands[brand_of(operation.campaign_id)], shard.campaigns[operation.campaign_id]
    hold = brand.holds.get((operation.campaign_id, operation.hold_id))
    state = LATE if hold is None else OVER if operation.micros > hold.held else SETTLED
    count(brand, campaign, operation.micros, now)
    return _end(shard, operation, End(state, hold.held if hold else end.held if end else 0, operation.micros), now)


def _release(shard: Shard, operation: Operation, end: End | None, now: int) -> tuple[Verdict, Step | None]:
    if end:
        return Verdict(end.state), None
    hold = shard.brands[brand_of(operation.campaign_id)].holds.get((operation.campaign_id, operation.hold_id))
    return _end(shard, operation, End(RELEASED, hold.held, 0), now) if hold else (Verdict(UNKNOWN_HOLD), None)


def _end(shard: Shard, operation: Operation, end: End, now: int) -> tuple[Verdict, Step]:
    shard.brands[brand_of(operation.campaign_id)].holds.pop((operation.campaign_id, operation.hold_id), None)
    shard.ends.remember(hold_name(operation.campaign_id, operation.hold_id), end, now)
    return Verdict(end.state), Step(operation.campaign_id, operation.hold_id, *end)


def _answer(shard: Shard, operation: Operation, verdict: Verdict, now: int, awaited: bool) -> Answer:
    marked = verdict.word in (OVER, LATE)
    refused = verdict.causes if verdict.word == REFUSED else None
    word = SETTLED if marked else verdict.word
    return shard.answer(operation.campaign_id, word, now, refused, verdict.word if marked else "", awaited=awaited)
