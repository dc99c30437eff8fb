"""Every advisory lock of the ledger, in one place, so that no two uses share a number.

All are held to the end of the transaction: PostgreSQL releases them by itself when a process dies.
Whoever may connect to the database can take any of them, and keep it. So no lock is waited for without end.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from enum import IntEnum
from typing import Final

from sqlalchemy import Connection, text

from engine.errors import BudgetError

STRANGER_S: Final = 3.0
OURS_S: Final = 60.0
"""Seconds for which a lock is waited for that another program has, or a process of ours: ours end."""
_REST_S: Final = 0.02
_NOT_AVAILABLE: Final = "55P03"
"""PostgreSQL's code where the `lock_timeout` of a session has passed."""
LOCKED_OUT: Final = (
    "another session keeps locked in PostgreSQL what this needs: run `budget-engine doctor`, which names it"
)


class Lock(IntEnum):
    """What a lock is for; the number is its place in the upper bits of the key, above any brand id (below 2^37)."""

    MIGRATE = 1
    PARTITION = 2
    BRAND = 3
    REBUILD = 4
    RETENTION = 5
    REFUND = 6
    EXPORT = 7
    BACKFILL = 12


_BITS = 40
# A prefix of our own: other programs in the database may take advisory locks too.
PREFIX: Final = 0x42
_OURS = PREFIX << 48


HELD_BY: Final = """
SELECT (l.classid::bigint >> 8 & 255)::int AS kind, ((l.classid::bigint & 255) << 32) | l.objid::bigint AS number, l.pid,
       coalesce(a.application_name, '') AS holder_name, coalesce(a.usename, '') AS holder_role,
       coalesce(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.backend_start)), 0)::float AS held_s,
       coalesce(a.application_name = current_setting('application_name') AND a.usename = current_user, false) AS is_ours
FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid::bigint >> 16 = :prefix
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY l.pid, 1, 2
"""
"""Who has which of these locks now. is_ours: a session of the same role and program; a stranger may say so too."""


def key_of(kind: Lock, number: int = 0) -> int:
    """The key of a lock, for pg_locks."""
    return _OURS | kind << _BITS | number


class LockHeld(BudgetError):
    """Another session has kept locks of one kind for longer than they are waited for. numbers: of which they are."""

    def __init__(self, kind: Lock, numbers: Collection[int]) -> None:
        self.numbers = frozenset(numbers)
        of = " of " + ", ".join(map(str, sorted(numbers)[:5])) + (", ..." if len(numbers) > 5 else "")
        super().__init__(
            f"another session keeps the lock {kind.name}{of if self.numbers != {0} else ''} in PostgreSQL:"
            " run `budget-engine doctor`, which names it"
        )


def is_held(error: BaseException) -> bool:
    """Whether this is the end of a wait for a lock of any kind: one of ours, a row's or a table's."""
    return isinstance(error, LockHeld) or getattr(getattr(error, "orig", error), "pgcode", None) == _NOT_AVAILABLE


def take(
    connection: Connection, kind: Lock, number: int = 0, wait_s: float = STRANGER_S, ours_s: float = OURS_S
) -> None:
    """Waits for a lock and keeps it to the end of the transaction. Raises LockHeld after `wait_s` where another
    program has it, after `ours_s` where a process of ours has.
    """
    began = time.monotonic()
    while not _try(connection, kind, number):
        waited = time.monotonic() - began
        if waited >= ours_s or (waited >= wait_s and _has_stranger(connection, kind, number)):
            raise LockHeld(kind, [number])
        time.sleep(_REST_S)


def try_take(connection: Connection, kind: Lock, number: int = 0) -> bool:
    """Takes a lock when it is free and keeps it to the end of the transaction; returns whether it did. Raises
    LockHeld where another program has it: no process of ours does this work then.
    """
    taken = _try(connection, kind, number)
    if not taken and _has_stranger(connection, kind, number):
        raise LockHeld(kind, [number])
    return taken


def _try(connection: Connection, kind: Lock, number: int) -> bool:
    taken: bool = connection.execute(
        text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key_of(kind, number)}
    ).scalar_one()
    return taken


def _has_stranger(connection: Connection, kind: Lock, number: int) -> bool:
    holders = connection.execute(text(HELD_BY), {"prefix": PREFIX})
    return any((row.kind, row.number, row.is_ours) == (kind, number, False) for row in holders)


def try_take_all(connection: Connection, kind: Lock, numbers: Sequence[int]) -> set[int]:
    """Takes those of a kind that are free, keeps them to the end of the transaction, and returns which. It waits for
    none, so two takers never wait for each other.
    """
    taken = connection.execute(
        text(
            "SELECT number FROM unnest(CAST(:numbers AS bigint[])) AS wanted(number)"
            " WHERE pg_try_advisory_xact_lock(:base | number)"
        ),
        {"base": key_of(kind), "numbers": sorted(set(numbers))},
    )
    return set(taken.scalars())
