"""Throttles password attempts. No key waits for more than a few seconds, so nobody can lock out another for long.

A guesser can invent names. So a name has a count of its own only where it is a user's, or somebody has logged in under it; all
other names of an address share one. A browser that has logged in before has a count of its own.
Where wrong passwords come from many addresses, each address queues once for its next attempt; asking more often gains
nothing. Addresses that have not failed have a queue of their own, so the right password never waits behind guessers.
All processes of the page share the counts, which are in PostgreSQL (`engine/ledger/logins.py`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from ipaddress import IPv6Address, IPv6Network
from typing import Final, NamedTuple, Protocol

from engine.ledger.logins import Count
from web.proxies import address_of

LONGEST_WAIT_S: Final = 4
FORGET_S: Final = 900
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

    @property
    def failures(self) -> str:
        """Where its wrong passwords are counted."""
        return _hashed("failures", *self.whose)

    @property
    def turn(self) -> str:
        """Where the place of its address in the queue is."""
        return _hashed("turn", *self.whose, self.address)

    def line(self, failed: bool) -> str:
        """Where the end of the queue is: of addresses that have failed, or have not."""
        return _hashed("line", *self.whose, str(failed))


class Counts(Protocol):
    """What the throttle remembers."""

    def locked(self, keys: Sequence[str]) -> AbstractContextManager[tuple[float, dict[str, Count]]]:
        """The time in seconds and the counts of these keys, which no other attempt changes meanwhile."""


def keys_of(address: str, name: str, known: bool, browser: str | None) -> tuple[Key, ...]:
    """The keys of an attempt. known: `name` is a user's, or somebody has logged in under it before. browser: the mark of a browser
    in which that happened.
    """
    if browser is not None:
        return (Key(("browser", browser), AT_AN_ADDRESS),)
    who, address = name if known else "", _whose(address)
    return Key(("address", address, who), AT_AN_ADDRESS), Key(("everywhere", who), EVERYWHERE, address)


def _whose(address: str) -> str:
    """Of IPv6 the first 64 bits: one machine has all addresses with them, and would be as many guessers."""
    found = address_of(address)
    return str(IPv6Network((found, 64), strict=False)) if isinstance(found, IPv6Address) else str(found or address)


def _hashed(*parts: str) -> str:
    """One length for all keys, and no name or address in the table."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Throttle:
    """Counts wrong passwords by key. An attempt that must wait is neither checked nor counted. Thread-safe where its counts are."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def take(self, keys: Iterable[Key]) -> int:
        """Seconds until the next attempt; 0: this one may be made now, and counts as wrong until `succeeded`.

        Counted at once, so that simultaneous attempts are not all free.
        """
        keys = tuple(keys)
        names = [name for key in keys for name in (key.failures, key.turn, key.line(True), key.line(False))]
        with self._counts.locked(names) as (now, rows):
            failed = any(_failures(rows, key, now) for key in keys if not key.address)
            wait = max(_turn_s(rows, key, now, failed) if key.address else _wait_s(rows, key, now) for key in keys)
            if wait > 0:
                return math.ceil(wait)
            for key in keys:
                rows.pop(key.turn, None)
                found = _failures(rows, key, now)
                rows[key.failures] = Count(found.number + 1 if found else 1, now)
            return 0

    def succeeded(self, keys: Iterable[Key]) -> None:
        """The password was right: resets the keys of this person."""
        keys = tuple(keys)
        with self._counts.locked([key.failures for key in keys]) as (_, rows):
            for key in keys:
                found = rows.pop(key.failures, None)
                if found is not None and found.number > 1 and key.whose[0] == "everywhere":
                    # Others fail under it too: only this attempt is taken back.
                    rows[key.failures] = Count(found.number - 1, found.at)


def _failures(rows: dict[str, Count], key: Key, now: float) -> Count | None:
    found = rows.get(key.failures)
    return None if found is None or now - found.at > FORGET_S else found


def _turn_s(rows: dict[str, Count], key: Key, now: float, failed: bool) -> float:
    """Seconds until this address may try. It gets its place in the queue at its first request and keeps it for a
    while, so asking more often gains nothing.
    """
    wait = _wait_s(rows, key, now)
    turn, end = rows.get(key.turn), rows.get(key.line(failed))
    if turn is None and wait <= 0 and (end is None or end.at <= now):
        return 0
    if turn is None or now > turn.at + TURN_S:
        due = max(now + wait, (end.at if end else 0) + LONGEST_WAIT_S)
        if not failed:
            due = min(due, now + LONGEST_LINE_S)
        rows[key.turn] = rows[key.line(failed)] = turn = Count(1, due)
    return max(turn.at - now, 0)


def _wait_s(rows: dict[str, Count], key: Key, now: float) -> float:
    found = _failures(rows, key, now)
    if found is None or found.number < key.free:
        return 0
    wait = min(LONGEST_WAIT_S, 2 ** min(found.number - key.free, 10))
    return float(found.at + wait - now)
