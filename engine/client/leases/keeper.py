"""The one thread that serves a client's leases: it has their spends counted, refills them, and gives back what they
do not need.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from engine.client.leases.calls import Grant, asks_draw, asks_lease, read_draw, read_grant
from engine.client.leases.lease import CLOSED, Lease
from engine.client.leases.slots import Slots
from engine.client.request_ids import next_id
from engine.client.watch.watch import STALE, Watch
from engine.domain.seldom import Seldom
from engine.errors import BudgetError, NotFound, NotReady, Unavailable
from engine.live.replies import UNKNOWN_CAMPAIGN, unreadable
from engine.live.transport.pool import Call, NoAnswer, Reply
from engine.live.transport.protocol import Transport

log = logging.getLogger(__name__)

FLUSH_S: Final = 0.05
"""Seconds within which a spend of a lease is counted, plus a round trip."""
_TIMEOUT_S: Final = 2.0
_AT_EXIT_S: Final = 3.0
_READY_S: Final = 2.0
_AFTER_ERROR_S: Final = 1.0
_OWN: Final[weakref.WeakSet[Keeper]] = weakref.WeakSet()


class Keeper:
    """The leases of one client. It starts its thread and its watch with the first of them."""

    def __init__(self, wire: Transport) -> None:
        self._wire = wire
        self._watch: Watch | None = None
        self._leases: dict[str, Lease] = {}
        self._call = threading.Event()
        self._changed = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self.is_forked = False
        self._seldom = Seldom()
        _OWN.add(self)

    def open(
        self, campaign_id: int, amount: int, largest: int, ttl_s: float, spool: Path | None, timeout_s: float
    ) -> Lease:
        """A new lease, after its first reply from Redis. Raises NotFound, Unavailable, InvalidInput (spool)."""
        with self._changed:
            if self._watch is None:
                self._watch = Watch(self._wire, campaigns=[campaign_id])
            watch = self._watch
        watch.add(campaign_id)
        lease_id = f"lease.{next_id()}"
        slots = Slots.in_memory(campaign_id, lease_id) if spool is None else Slots.in_file(spool, campaign_id, lease_id)
        sent_s = time.monotonic()
        try:
            grant = self._first_grant(campaign_id, lease_id, amount, ttl_s, timeout_s)
        except BudgetError:
            slots.end()
            raise
        lease = Lease(self, campaign_id, lease_id, slots, watch.running, amount, largest, ttl_s)
        lease.granted(grant, sent_s)
        # Before the thread knows the lease: it gives back what may not be spent, as a new campaign's may not until
        # its snapshot is read.
        watch.wait_ready(_READY_S)
        with self._changed:
            self._leases[lease_id] = lease
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="budget-leases", daemon=True)
                self._thread.start()
        return lease

    def _first_grant(self, campaign_id: int, lease_id: str, amount: int, ttl_s: float, timeout_s: float) -> Grant:
        try:
            reply = self._wire.call(asks_lease(campaign_id, lease_id, amount, round(ttl_s * 1000), 1), timeout_s)
        except NoAnswer as failure:
            raise Unavailable(
                f"lease of campaign {campaign_id} is not known: {failure.why}; what it may have set aside comes back within {ttl_s:g} s",
                "",
            ) from None
        try:
            grant = read_grant(reply)
        except BudgetError:
            raise
        except Exception as error:
            what = f"the lease of campaign {campaign_id} (what it may have set aside comes back within {ttl_s:g} s)"
            raise unreadable(what, error, counts=False) from error
        if grant.outcome == UNKNOWN_CAMPAIGN:
            raise NotFound(f"campaign {campaign_id} is not known: create it, or check the id with `campaign list`")
        return grant

    def wake(self) -> None:
        """Wakes the thread before the next flush."""
        self._call.set()

    def stopped_by(self, campaign_id: int) -> tuple[str, ...]:
        """Why the campaign does not run, as far as the watch knows."""
        try:
            return self._watch.status(campaign_id).reasons if self._watch is not None else (STALE,)
        except (NotReady, NotFound):
            return (STALE,)

    def close(self, lease: Lease, timeout: float) -> bool:
        """Ends a lease. False when its spends were not all counted in time: the keeper keeps trying."""
        if lease.lease_id not in self._leases or self.is_forked:
            return True
        lease.stop(CLOSED)
        self.wake()
        with self._changed:
            return self._changed.wait_for(lambda: lease.lease_id not in self._leases, timeout)

    def close_all(self, timeout: float) -> bool:
        """Ends all leases, and the watch; False when some spends were not counted in time."""
        leases, until_s = list(self._leases.values()), time.monotonic() + timeout
        for lease in leases:
            lease.stop(CLOSED)
        done = True
        for lease in leases:
            done = self.close(lease, max(until_s - time.monotonic(), 0)) and done
        if done and self._watch is not None and not self.is_forked:
            self._watch.close()
            self._watch = None
        return done

    def forked(self) -> None:
        """In a forked child neither the leases nor the thread may be used."""
        self.is_forked = True
        for lease in self._leases.values():
            lease.forked()
        self._leases = {}

    def _run(self) -> None:
        while True:
            self._call.wait(FLUSH_S)
            self._call.clear()
            with self._changed:
                leases = list(self._leases.values())
                if not leases:
                    self._thread = None
                    return
            try:
                self._round(leases)
            except Exception as error:  # noqa: BLE001  # the thread must not end; pending work is tried again
                what = f"{type(error).__name__}: {error}"
                self._seldom.say(log.exception, f"leases: tried again in {_AFTER_ERROR_S} s: {what}")
                time.sleep(_AFTER_ERROR_S)

    def _round(self, leases: Sequence[Lease]) -> None:
        # Two steps, because a pipeline does not keep the order of calls where a script must be loaded first, and a
        # hold that shrinks before its spends are drawn leaves them uncovered.
        self._draw(leases)
        self._fill(leases)
        with self._changed:
            for lease in leases:
                if lease.why == (CLOSED,) and lease.is_done:
                    lease.end()
                    del self._leases[lease.lease_id]
            self._changed.notify_all()

    def _draw(self, leases: Sequence[Lease]) -> None:
        """Has all spends until now counted."""
        asked = [(lease, draw) for lease in leases for draw in lease.draws()]
        replies = self._answers(
            [asks_draw(of.campaign_id, of.lease_id, d.number, d.micros, d.first_sent_ms) for of, d in asked]
        )
        for (lease, draw), reply in zip(asked, replies, strict=True):
            with lease.heard(reply) as told:
                if told is not None:
                    lease.drawn(draw, read_draw(told))

    def _fill(self, leases: Sequence[Lease]) -> None:
        """Sets each lease's hold to what it needs."""
        watch = self._watch
        asked: list[Lease] = []
        calls: list[Call] = []
        for lease in leases:
            may_run = watch is not None and watch.may_bid(lease.campaign_id)
            micros = lease.to_ask(may_run, time.monotonic())
            if micros is not None:
                asked.append(lease)
                ttl_ms = round(lease.ttl_s * 1000)
                number, least = lease.next_number(), lease.typical
                calls.append(asks_lease(lease.campaign_id, lease.lease_id, micros, ttl_ms, number, least))
        sent_s = time.monotonic()
        for lease, reply in zip(asked, self._answers(calls), strict=True):
            with lease.heard(reply) as told:
                if told is not None:
                    lease.granted(read_grant(told), sent_s)

    def _answers(self, calls: list[Call]) -> Sequence[Reply | None]:
        """The replies to calls, None where none arrived."""
        try:
            return self._wire.call_all(calls, _TIMEOUT_S) if calls else []
        except NoAnswer as failure:
            return failure.replies


def _forget_all() -> None:
    for keeper in list(_OWN):
        keeper.forked()


def _end_all() -> None:
    for keeper in list(_OWN):
        if not keeper.close_all(_AT_EXIT_S):
            log.error("leases: some spends were not counted before this process ended")


os.register_at_fork(after_in_child=_forget_all)
atexit.register(_end_all)
