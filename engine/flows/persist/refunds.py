"""Decides refunds of events that are outside Redis' dedup window, against the spend log.

A bidder's call leaves a request in the journal, and persist a row. Here the row is decided for good, in one
transaction. A script gives approved money back and writes the journal's line, and the persisted line ends the row.

Once only: within the dedup window the script knows what it gave back. After it, an approved row is tried again only
when persist has read past the attempt: if the money had been given back, the row would be ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy import Engine

from engine.domain.ids import shard_of
from engine.domain.periods import MINUTE_MS, day_number
from engine.ledger import flight_sums, refunds
from engine.ledger.database import writing
from engine.ledger.locks import Lock, try_take
from engine.ledger.refund_bounds import Bounds, bounds_of
from engine.ledger.refunds import RefundRow
from engine.live.admin import LiveRedis
from engine.live.keys import keys_of_brand
from engine.live.replies import head
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call, Reply

AT_ONCE: Final = 500
TRY_AGAIN_MS: Final = 5_000
"""Seconds after which an attempt is repeated whose line is not persisted yet."""
_MARGIN_MS: Final = MINUTE_MS


@dataclass(slots=True)
class Decided:
    """What one pass did. brands: whose counters were lowered."""

    approved: int = 0
    refused: int = 0
    brands: frozenset[int] = frozenset()


class RefundDesk:
    """Decides refunds and gives approved ones back. event_ms: Redis' dedup window of events, at least."""

    def __init__(self, db: Engine, live: LiveRedis, instance: str, event_ms: int) -> None:
        self._db = db
        self._live = live
        self._instance = instance
        self._event_ms = event_ms

    def decide(self) -> Decided:
        """One pass over open refunds, 500 of each kind; none while another process does the same. May be killed
        anywhere. Raises ServerAway.
        """
        with self._db.connect() as conn:
            if not refunds.any_open(conn):
                return Decided()
        with writing(self._db) as held:
            if not try_take(held, Lock.REFUND):
                return Decided()
            now = self._live.now_ms()
            done = self._judge(now)
            ready = self._to_give_back(now)
            done.brands = frozenset(row.brand_id for row in self._give_back(ready))
            self._tell()
        return done

    def _judge(self, now: int) -> Decided:
        """Approves or refuses pending refunds, in one transaction."""
        with writing(self._db) as conn:
            rows = refunds.waiting(conn, AT_ONCE)
            groups: dict[tuple[int, date], list[RefundRow]] = {}
            for row in rows:
                groups.setdefault((row.brand_id, row.day), []).append(row)
            causes: dict[RefundRow, str] = {}
            approved = 0
            for (brand_id, day), group in groups.items():
                bounds = bounds_of(conn, brand_id, day, [row.event_id for row in group])
                for row in group:
                    causes[row] = cause = why_not(row, bounds)
                    if not cause:
                        bounds.refunded[row.event_id] = bounds.refunded.get(row.event_id, 0) + row.micros
                        bounds.left[row.campaign_id] -= row.micros
                        approved += 1
                # Committed, because they bound the next group, which may have the same event on a neighbouring day.
                refunds.approve(conn, [row for row in group if not causes[row]], now)
            refunds.refuse(conn, [(row, cause) for row, cause in causes.items() if cause])
        return Decided(approved, len(rows) - approved)

    def _to_give_back(self, now: int) -> list[RefundRow]:
        """Approved refunds that may be tried now, without being given back twice."""
        ready: list[RefundRow] = []
        with writing(self._db) as conn:
            for row in refunds.approved(conn, AT_ONCE):
                age = now - (row.tried_ms or now)
                if age < self._event_ms - _MARGIN_MS:
                    # An earlier attempt is still in the dedup window.
                    if age == 0 or age >= TRY_AGAIN_MS:
                        ready.append(row)
                    continue
                n = self._live.read_shard(shard_of(row.brand_id)).n
                if row.check_n is None or n < row.check_n:
                    # Without an attempt, or after a rebuild that began below it.
                    refunds.check_at(conn, row, n)
                elif row.cursor_n >= row.check_n:
                    refunds.approve(conn, [row], now)
                    ready.append(row)
        return ready

    def _give_back(self, rows: Sequence[RefundRow]) -> list[RefundRow]:
        """Lowers the counters; refuses what exceeds them by now. A shard that is not ready is left to a later pass."""
        given: list[RefundRow] = []
        refused: list[tuple[RefundRow, str]] = []
        for row, reply in self._ask(rows, ["a"] * len(rows)):
            code = reply[1].decode() if head(reply) == "ok" else ""
            if code == "k":
                given.append(row)
            elif code.startswith("x"):
                refused.append((row, code))
        if refused:
            with writing(self._db) as conn:
                refunds.refuse(conn, refused)
        return given

    def _tell(self) -> None:
        """Stores in Redis how refunds ended, so that a repeat of the call gets it."""
        with self._db.connect() as conn:
            rows = refunds.untold(conn, AT_ONCE)
        if rows:
            told = [row for row, reply in self._ask(rows, [row.cause or "k" for row in rows]) if head(reply) == "ok"]
            with writing(self._db) as conn:
                refunds.set_told(conn, told)

    def _ask(self, rows: Sequence[RefundRow], verdicts: Sequence[str]) -> list[tuple[RefundRow, Reply]]:
        calls = []
        flights = self._flights(rows)
        for row, verdict in zip(rows, verdicts, strict=True):
            keys = keys_of_brand(row.brand_id)
            args = (
                LAYOUT, self._instance, str(row.campaign_id), row.event_id, str(row.micros), str(day_number(row.day)), row.refund_id, verdict,
                *flights.get(row, ()),
            )  # fmt: skip
            wanted = (*keys.fixed, keys.brand(row.brand_id), keys.campaign(row.campaign_id))
            calls.append(Call(script("decide_refund"), wanted, args))
        return list(zip(rows, self._live.call_each(calls), strict=True))

    def _flights(self, rows: Sequence[RefundRow]) -> dict[RefundRow, tuple[str]]:
        """Of refunds whose spend was made in a flight, the number of the flight's counter as the script takes it."""
        groups: dict[tuple[int, date], list[RefundRow]] = {}
        for row in rows:
            groups.setdefault((row.brand_id, row.day), []).append(row)
        found: dict[RefundRow, tuple[str]] = {}
        with self._db.connect() as conn:
            for (brand_id, day), group in groups.items():
                flights = flight_sums.of_events(conn, brand_id, day, [row.event_id for row in group])
                for row in group:
                    flight = flights.get((row.event_id, row.campaign_id, row.day))
                    if flight is not None:
                        found[row] = (str(flight),)
        return found


def why_not(row: RefundRow, bounds: Bounds) -> str:
    """Why a refund is not given, as a code; empty when it is."""
    of_event = [(campaign, day) for event, campaign, day in bounds.spent if event == row.event_id]
    spent = bounds.spent.get((row.event_id, row.campaign_id, row.day))
    if row.event_id in bounds.given_up:
        return "xq"
    if spent is None:
        if any(day == row.day for _, day in of_event):
            return "xc"
        if of_event:
            return "xy"
        if row.day < bounds.began:
            return "xe"
        if not bounds.dropped:
            return "xu"
    elif bounds.refunded.get(row.event_id, 0) + row.micros > spent:
        return "xs"
    # The rows of the day were dropped, so the event is unknown: the bound is what the campaign has left of that day.
    return "xd" if bounds.left.get(row.campaign_id, 0) < row.micros else ""
