"""`BudgetClient.lease`: a slice of a budget that is spent from in the process's own memory.

A lease's hold in Redis covers what was spent here and is not counted yet, and what may still be spent: on hold >=
waiting + left. Only the keeper (`keeper.py`) talks to Redis; after each reply it sets left = on hold - waiting. So no
number of leases can exceed a budget.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from decimal import Decimal
from time import monotonic
from typing import Any, Final, Protocol

from engine.client.leases.calls import COUNTED, ENDED, FORGOTTEN, REFUSED, Grant
from engine.client.leases.slots import PER_SLOT, Draw, Slots
from engine.domain.money import MAX_AMOUNT_MICROS, micros_of, to_decimal
from engine.domain.periods import next_day_ms
from engine.errors import BudgetError, Unavailable
from engine.live.replies import NOT_READY
from engine.live.transport.pool import Reply, named

log = logging.getLogger(__name__)

AHEAD_S: Final = 2.0
"""A lease holds what it would spend in this time at its present rate."""
SPEND_UNTIL: Final = 0.75
"""The part of the ttl in which a lease spends; in the rest its last spends reach Redis before the hold ends."""
RENEW_AT: Final = 0.4
RETRY_S: Final = 0.25
"""Seconds after which a lease that got less than it requested requests again."""
_MEMORY: Final = 0.7
"""The weight of the previous burn rate in the new one, once a flush."""

EMPTY: Final = "lease_empty"
BACKLOG: Final = "backlog"
AWAY: Final = "unavailable"
CLOSED: Final = "closed"
FORKED: Final = "forked"


class Filler(Protocol):
    """What a lease needs of its keeper (`keeper.py`: `Keeper`)."""

    def wake(self) -> None:
        """Called when a lease runs low, or has spends to be counted."""

    def stopped_by(self, campaign_id: int) -> tuple[str, ...]:
        """Why the campaign does not run, as far as the watch knows."""

    def close(self, lease: Lease, timeout: float) -> bool:
        """Ends a lease; False when its spends were not all counted in time."""


class Lease:
    """A slice of a campaign's budget. Thread-safe. Use it in a `with`, or `close()` it: that counts pending spends
    and gives the rest back.

    `try_spend` is True when the amount was taken from the slice: it will be counted once, under an id of its own.
    False: nothing was consumed; `why` names the reason. It never waits and makes no network call.

    The lease is refilled before it runs out, to what it would spend in two seconds, at least a tenth of its first
    amount and at most `largest`; an idle lease shrinks. It stops at a pause, an archive or a used-up budget (seen by
    its watch), at its window's end, at midnight by Redis' clock, when Redis was silent for three seconds, or when it
    could not be renewed for three quarters of `ttl`. It resumes by itself.
    """

    __slots__ = (
        "_acquire", "_clock", "_dry", "_end", "_ended", "_granted_s", "_held", "_keeper", "_largest", "_left", "_lock", "_low", "_number", "_place", "_rate", "_rate_s", "_release",
        "_running", "_slots", "_smallest", "_spent", "_spent_before", "_trouble", "_until_s", "_waiting", "_wanted", "_words", "campaign_id",
        "lease_id", "lost", "ttl_s", "typical",
    )  # fmt: skip

    def __init__(
        self,
        keeper: Filler,
        campaign_id: int,
        lease_id: str,
        slots: Slots,
        running: Container[int],
        amount: int,
        largest: int,
        ttl_s: float,
    ) -> None:
        self.campaign_id = campaign_id
        self.lease_id = lease_id
        self.ttl_s = ttl_s
        self._keeper = keeper
        self._slots = slots
        self._running = running
        self._smallest, self._largest = max(amount // 10, 1), largest
        self._wanted = amount
        self._renew_lock()
        self._words: Any = slots.words
        self._place = slots.first
        self._end = self._place + PER_SLOT
        self._left = 0
        self._low = -1
        """Below this the keeper is called; -1 after the call."""
        self._until_s = 0.0
        self._held = 0
        self._waiting = 0
        """Micros spent here that Redis has not counted."""
        self._clock = (0, 0.0)
        """Redis' milliseconds, and the latest monotonic second at which they were read."""
        self._granted_s = 0.0
        self._number = 1
        self._spent = self._spent_before = 0
        self._rate = 0.0
        self._rate_s = monotonic()
        self._dry = False
        self._trouble: tuple[str, ...] = (EMPTY,)
        self._ended = ""
        self.typical = 0
        """The largest of its latest spends in micros, or the one that it could not make: what pacing grants at least."""
        self.lost = 0
        """Micros of spends that may or may not be counted: Redis could not be reached within its dedup window of
        request ids.
        """

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()
        self._acquire, self._release = self._lock.acquire, self._lock.release

    def try_spend(self, amount: str | Decimal | None = None, *, amount_micros: int | None = None) -> bool:
        """Takes an amount from the lease: True and it will be counted, or False and nothing was consumed. Raises
        InvalidAmount.

        amount: a decimal string or Decimal with at most six places, or whole micros in amount_micros.
        """
        if amount is None and type(amount_micros) is int and 0 < amount_micros <= MAX_AMOUNT_MICROS:
            micros = amount_micros
        else:
            micros = micros_of(amount, amount_micros)
        self._acquire()  # a `with` costs half as much again
        try:
            left = self._left - micros
            place = self._place
            if left < self._low or place == self._end or monotonic() >= self._until_s:
                if not self._may_go_on(left):
                    return False
                place = self._place
            if self.campaign_id not in self._running:
                return False
            self._words[place] = micros
            self._place = place + 1
            self._left = left
            return True
        finally:
            self._release()

    def _may_go_on(self, left: int) -> bool:
        """The rare cases: the slice runs low or out, the slot is full, the time is over. Needs the lock."""
        if left < self._low:
            self._low = -1
            self._keeper.wake()
        if left < 0:
            self.typical = min(self._left - left, MAX_AMOUNT_MICROS)
            if self._until_s and self._trouble == (EMPTY,) and self.campaign_id in self._running:
                self._dry = True
            self._keeper.wake()
            return False
        if monotonic() >= self._until_s:
            return False
        return self._place < self._end or self._turn()

    def _turn(self) -> bool:
        """Opens the next slot; False while none is free. Needs the lock."""
        first = self._slots.first
        if not self._slots.turn(self._place - first):
            self._keeper.wake()
            return False
        spends = self._words[first : self._place]
        micros, self.typical = sum(spends), max(spends, default=self.typical)
        self._waiting += micros
        self._spent += micros
        self._place = self._slots.first
        self._end = self._place + PER_SLOT
        self._keeper.wake()
        return True

    # For callers.

    @property
    def left(self) -> Decimal:
        """What may be spent without another call to Redis."""
        return to_decimal(self._left if self._open() else 0)

    @property
    def held(self) -> Decimal:
        """This lease's hold in Redis, as of the last reply."""
        return to_decimal(self._held)

    @property
    def waiting(self) -> Decimal:
        """Spends that are not known to be counted yet. Without a spool they are lost with the process; never more
        than `held`.
        """
        with self._lock:
            return to_decimal(self._waiting + self._in_slot())

    @property
    def spent(self) -> Decimal:
        """All that was spent from this lease."""
        with self._lock:
            return to_decimal(self._spent + self._in_slot())

    @property
    def why(self) -> tuple[str, ...]:
        """Why `try_spend` would refuse the smallest amount now; empty when it would not. Causes of the campaign
        (`manual`, `schedule`, `daily_budget`, ...), `stale` (Redis is silent), `not_ready`, `unavailable` (Redis
        was not reached in time), `lease_empty` (being refilled), `backlog` (all slots wait to be counted),
        `closed`, `forked`.
        """
        if self._ended:
            return (self._ended,)
        if self.campaign_id not in self._running:
            return self._keeper.stopped_by(self.campaign_id)
        if monotonic() >= self._until_s or self._left <= 0:
            return self._trouble
        if self._place == self._end and self._slots.is_full:
            return (BACKLOG,)
        return ()

    def _open(self) -> bool:
        return self.campaign_id in self._running and monotonic() < self._until_s

    def _in_slot(self) -> int:
        return sum(self._words[self._slots.first : self._place]) if not self._ended else 0

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self, timeout: float = 5.0) -> None:
        """Stops, counts pending spends, and gives the rest back. Raises Unavailable when that takes more than
        `timeout` seconds: call it again, or leave a spool to the next process.
        """
        if not self._keeper.close(self, timeout):
            kept = "its spool keeps them" if self._slots.path else "call close() again, they are kept in memory only"
            raise Unavailable(
                f"lease {self.lease_id} of campaign {self.campaign_id} has {self.waiting} that Redis has not counted; {kept}",
                "",
            )

    def __repr__(self) -> str:
        state = ", ".join(self.why) or "open"
        return f"Lease(campaign_id={self.campaign_id}, {state}, left={self.left}, waiting={self.waiting})"

    # For the keeper; each takes the lock briefly.

    def now_ms(self) -> int:
        """Redis' time, as far as this lease knows."""
        ms, at_s = self._clock
        return ms + int((monotonic() - at_s) * 1000) if ms else 0

    def stop(self, why: str) -> None:
        """Ends spending."""
        with self._lock:
            if not self._ended:
                if self._place > self._slots.first:
                    micros = self._in_slot()
                    self._waiting += micros
                    self._spent += micros
                self._slots.seal(self._place - self._slots.first)
                self._ended = why
            self._until_s, self._left = 0.0, 0

    def forked(self) -> None:
        """In a forked child the lease must not be used."""
        self._renew_lock()
        self._ended, self._until_s, self._left = FORKED, 0.0, 0
        self._slots.close()

    def draws(self) -> list[Draw]:
        """The slots to count now: every sealed one, and the open one so far. Stores the time at which they are sent."""
        with self._lock:
            if not self._ended and self._place > self._slots.first:
                self._turn()
            waiting = self._slots.waiting()
        now_ms = self.now_ms()
        for draw in waiting:
            if now_ms:
                self._slots.sent(draw, now_ms)
        return waiting

    def drawn(self, draw: Draw, answer: str) -> None:
        """Handles the reply to a draw."""
        micros = sum(draw.micros)
        with self._lock:
            if answer == COUNTED:
                self._slots.counted(draw)
                self._held = max(self._held - micros, 0)
            elif answer in (FORGOTTEN, "conflict"):
                self._slots.doubt(draw)
                self.lost += micros
                log.error(
                    "lease: nobody can tell whether %s of campaign %s were counted: look for request %s/%s in spend_log",
                    to_decimal(micros), self.campaign_id, self.lease_id, draw.number,
                )  # fmt: skip
            else:
                return
            self._waiting -= micros

    def to_ask(self, may_run: bool, now_s: float) -> int | None:
        """The micros to set on hold, 0 to give all back; None when nothing needs to change. Updates the burn rate."""
        with self._lock:
            unseen = self._in_slot()
            owed = self._waiting + unseen
            if self._ended or not may_run:
                self._left = 0
                return owed if owed < self._held else None
            spent = self._spent + unseen
            passed_s = max(now_s - self._rate_s, 0.001)
            rate = (spent - self._spent_before) / passed_s
            kept = _MEMORY ** (passed_s / 0.05)
            self._rate = rate if rate > self._rate else self._rate * kept + rate * (1 - kept)
            self._spent_before, self._rate_s = spent, now_s
            wanted = max(self._smallest, int(self._rate * AHEAD_S))
            if now_s - self._granted_s < AHEAD_S and not self._dry:
                wanted = max(wanted, self._wanted)
            if self._dry:
                wanted, self._dry = max(wanted, self._wanted * 2), False
            self._wanted = min(wanted, self._largest)
            short = self._trouble != (EMPTY,) and now_s - self._granted_s < RETRY_S
            low = self._left < self._wanted // 2 and not short
            old = now_s - self._granted_s > self.ttl_s * RENEW_AT
            large = self._left > 2 * self._wanted
            if not (low or old or large or now_s >= self._until_s):
                return None
            # Lowered here before the call is sent, so that spends are always covered.
            self._left = min(self._left, self._wanted)
            return self._wanted + owed

    def granted(self, grant: Grant, sent_s: float) -> None:
        """Sets the hold, by the reply to a call that was sent at `sent_s` (monotonic)."""
        with self._lock:
            if grant.outcome == NOT_READY:
                self._trouble = (NOT_READY,)
                return
            self._clock = (grant.now_ms, sent_s)
            self._held = grant.held
            self._trouble = grant.reasons or (EMPTY,)
            if self._ended or grant.outcome == ENDED:
                self._left = 0
                return
            self._left = max(grant.held - self._waiting - self._in_slot(), 0)
            self._low = self._wanted // 2 if grant.outcome != REFUSED and grant.held >= self._wanted else -1
            self._granted_s = sent_s
            midnight_s = (next_day_ms(grant.now_ms) - grant.now_ms) / 1000
            self._until_s = sent_s + min(self.ttl_s * SPEND_UNTIL, midnight_s)

    def next_number(self) -> int:
        """The number of the next call that sets what is on hold."""
        self._number += 1
        return self._number

    @contextmanager
    def heard(self, reply: Reply | None) -> Iterator[Reply | None]:
        """Handles a reply, None where none arrived. An error of one lease does not affect others, and is logged when
        it begins.
        """
        try:
            if reply is None:
                self._trouble = (AWAY,)
            yield reply
        except Exception as error:  # noqa: BLE001  # an unreadable reply is an error of one lease too
            if self._trouble != (AWAY,):
                said = str(error) if isinstance(error, BudgetError) else f"the answer cannot be read ({named(error)})"
                log.error("lease %s of campaign %s: %s", self.lease_id, self.campaign_id, said)
            self._trouble = (AWAY,)

    def end(self) -> None:
        """Removes its spool file: its last spend is counted."""
        self._slots.end()

    @property
    def is_done(self) -> bool:
        """Whether nothing waits and nothing is on hold."""
        return not self._waiting and not self._held
