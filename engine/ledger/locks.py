"""Every advisory lock of the ledger, in one place, so that no two uses share a number.

All are held to the end of the transaction: PostgreSQL releases them by itself when a process dies.
"""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy import Connection, text


class Lock(IntEnum):
    """What a lock is for; the number is its place in the upper bits of the key, above any brand id (below 2^37)."""

    MIGRATE = 1
    PARTITION = 2
    BRAND = 3
    REBUILD = 4
    RETENTION = 5
    REFUND = 6
    EXPORT = 7


_BITS = 40
# A prefix of our own: other programs in the database may take advisory locks too.
_OURS = 0x42 << 48


def key_of(kind: Lock, number: int = 0) -> int:
    """The key of a lock, for pg_locks."""
    return _OURS | kind << _BITS | number


def take(connection: Connection, kind: Lock, number: int = 0) -> None:
    """Waits for a lock and keeps it to the end of the transaction."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key_of(kind, number)})


def try_take(connection: Connection, kind: Lock, number: int = 0) -> bool:
    """Takes a lock when it is free and keeps it to the end of the transaction; returns whether it did."""
    taken: bool = connection.execute(
        text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key_of(kind, number)}
    ).scalar_one()
    return taken


def take_all(connection: Connection, kind: Lock, numbers: list[int]) -> None:
    """Takes several locks of a kind, always in rising order, so that two takers never wait for each other."""
    connection.execute(
        # ORDER BY in the subquery is kept: the outer query only walks it.
        text(
            "SELECT pg_advisory_xact_lock(:base | number) FROM"
            " (SELECT unnest(CAST(:numbers AS bigint[])) AS number ORDER BY 1) AS wanted"
        ),
        {"base": key_of(kind), "numbers": sorted(set(numbers))},
    )
