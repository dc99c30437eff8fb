"""Throttles password attempts. No key waits for more than a few seconds, so nobody can lock out another for long.

All names share one password, and a guesser can invent names. So a name has a count of its own only after somebody has
logged in under it; all other names of an address share one. A browser that has logged in before has a count of its
own.
Where wrong passwords come from many addresses, each address queues once for its next attempt; asking more often gains
nothing. Addresses that have not failed have a queue of their own, so the right password never waits behind guessers.
Counts are per process: each further page process allows as many attempts again.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Final, NamedTuple

from web.proxies import address_of

LONGEST_WAIT_S: Final = 4
FORGET_S: Final = 900
MOST_KEYS: Final = 10_000
AT_AN_ADDRESS: Final = 5
EVERYWHERE: Final = 50
"""Wrong passwords without a wait; the next ones wait 1, 2, 4, 4 ... seconds."""
LONGEST_LINE_S: Final = 60
"""The longest wait of an address that has not failed, however many guess."""
TURN_S: Final = 60
"""Seconds for which an address may use its place once it is due: a person needs time to read and type."""


class Key(NamedTuple):
    """A key whose attempts are counted together, and how many of them are free."""

    whose: tuple[str, ...]
    free: int
    address: str = ""
    """The address in the queue, for a key that many addresses share."""


def keys_of(address: str, name: str, known: bool, browser: str | None) -> tuple[Key, ...]:
    """The keys of an attempt. known: somebody has logged in as `name` before. browser: the mark of a browser in which
    that happened.
    """
    if browser is not None:
        return (Key(("browser", browser), AT_AN_ADDRESS),)
    who, address = name if known else "", _whose(address)
    return Key(("address", address, who), AT_AN_ADDRESS), Key(("everywhere", who), EVERYWHERE, address)


def _whose(address: str) -> str:
    """Of IPv6 the first 64 bits: one machine has all addresses with them, and would be as many guessers."""
    found = address_of(address)
    return str(IPv6Network((found, 64), strict=False)) if isinstance(found, IPv6Address) else str(found or address)


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class Throttle:
    """Counts wrong passwords by key. An attempt that must wait is neither checked nor counted. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[tuple[str, ...], _Failures] = {}
        self._turns: dict[Key, float] = {}
        self._line_ends: dict[tuple[tuple[str, ...], bool], float] = {}
        self._lock = threading.Lock()

    def take(self, keys: Iterable[Key]) -> int:
        """Seconds until the next attempt; 0: this one may be made now, and counts as wrong until `succeeded`.

        Counted at once, so that simultaneous attempts are not all free.
        """
        keys = tuple(keys)
        with self._lock:
            now = self._clock()
            failed = any(self._failures_of(key, now) for key in keys if not key.address)
            wait = max(self._turn_s(key, now, failed) if key.address else self._wait_s(key, now) for key in keys)
            if wait > 0:
                return math.ceil(wait)
            for key in keys:
                self._turns.pop(key, None)
            self._make_room(now)
            for key in keys:
                failures = self._failures.get(key.whose)
                if failures is None or now - failures.last > FORGET_S:
                    failures = self._failures[key.whose] = _Failures(0, now)
                failures.count += 1
                failures.last = now
            return 0

    def succeeded(self, keys: Iterable[Key]) -> None:
        """The password was right: resets the keys of this person."""
        with self._lock:
            for key in keys:
                if key.whose[0] == "everywhere":
                    # Others fail under it too: only this attempt is taken back.
                    if key.whose in self._failures:
                        self._failures[key.whose].count -= 1
                else:
                    self._failures.pop(key.whose, None)

    def _failures_of(self, key: Key, now: float) -> _Failures | None:
        failures = self._failures.get(key.whose)
        return None if failures is None or now - failures.last > FORGET_S else failures

    def _turn_s(self, key: Key, now: float, failed: bool) -> float:
        """Seconds until this address may try. It gets its place in the queue at its first request and keeps it for a
        while, so asking more often gains nothing.
        """
        wait = self._wait_s(key, now)
        due = self._turns.get(key)
        if due is None and wait <= 0 and self._line_ends.get((key.whose, failed), 0) <= now:
            return 0
        if due is None or now > due + TURN_S:
            self._make_room(now)
            line = key.whose, failed
            due = max(now + wait, self._line_ends.get(line, 0) + LONGEST_WAIT_S)
            if not failed:
                due = min(due, now + LONGEST_LINE_S)
            self._turns[key] = self._line_ends[line] = due
        return max(due - now, 0)

    def _wait_s(self, key: Key, now: float) -> float:
        failures = self._failures_of(key, now)
        if failures is None or failures.count < key.free:
            return 0
        wait = min(LONGEST_WAIT_S, 2 ** min(failures.count - key.free, 10))
        return float(failures.last + wait - now)

    def _make_room(self, now: float) -> None:
        if len(self._turns) >= MOST_KEYS:
            self._turns = {key: due for key, due in self._turns.items() if now <= due}
            if len(self._turns) >= MOST_KEYS:
                self._turns.clear()
                self._line_ends.clear()
        if len(self._failures) >= MOST_KEYS:
            # Expired keys go first; a flood of keys never removes the global count.
            self._failures = {
                whose: failures
                for whose, failures in self._failures.items()
                if whose[0] == "everywhere" or now - failures.last < LONGEST_WAIT_S
            }
