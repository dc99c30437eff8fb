"""The journal that the twin writes: what an outside reader learns of each call, without the spelling of the stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from engine.domain.brake import Trip

COUNTED: Final = "counted"
EARLIER: Final = "earlier"
"""Counted by an earlier call of the same request id, in an entry of its own."""


class Spend(NamedTuple):
    """One spend of a call, in micros. The spends of a call, with all they carry, are its content."""

    campaign_id: int
    micros: int
    event_id: str | None = None
    occurred_ms: int | None = None


class Verdict(NamedTuple):
    """What became of one spend of a call. causes: of a refusal."""

    word: str
    causes: tuple[str, ...] = ()


class Row(NamedTuple):
    """Money that an entry moved. kind: spend, over, late, refund, correction. day: the day to which it belongs, of its brand. flight: the
    number of its flight's counter."""

    position: int
    campaign_id: int
    micros: int
    event_id: str | None
    kind: str
    hold_id: str | None
    day: int
    refund_id: str | None = None
    flight: int | None = None


class Asked(NamedTuple):
    """A refund that the log has to decide. No money has moved."""

    campaign_id: int
    event_id: str
    micros: int
    day: int
    refund_id: str | None


class Step(NamedTuple):
    """What became of a hold: open, settled, over, late, released, expired."""

    campaign_id: int
    hold_id: str
    state: str
    held: int
    settled: int = 0
    expires_ms: int | None = None


class Change(NamedTuple):
    """A budget of a brand or campaign became used up (`exhausted`) or free again (`restored`)."""

    owner_id: int
    cause: str
    direction: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. n has no gaps. verdicts only where not every spend of the call was counted; generation only on a mark."""

    n: int
    ms: int
    request_id: str = ""
    verb: str = ""
    content: tuple[Spend, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    rows: tuple[Row, ...] = ()
    steps: tuple[Step, ...] = ()
    changes: frozenset[Change] = frozenset()
    generation: int | None = None
    asked: tuple[Asked, ...] = ()
    trips: tuple[Trip, ...] = ()
    """Breakers that opened, in the order of their campaigns."""
    zones: frozenset[tuple[int, int]] = frozenset()
    """Of each brand with a time zone, whose money it moves or is asked for, the offset in ms."""
    carries: frozenset[tuple[int, int, int, int | None]] = frozenset()
    """Of each brand whose day begins with it: brand, day, what the day before left, and the limit that it had."""


Limits = Mapping[str, int | None]
