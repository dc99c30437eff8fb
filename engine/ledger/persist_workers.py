"""The persist workers that are there: one row each, which its worker renews each second."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

ALIVE_S: Final = 6
"""Seconds after which a worker that was not seen is taken for dead. Its shards then go to the others."""
_KEPT: Final = "1 day"

# Not now(): that is when the transaction began, and the row of a worker that waited for the lock of another would be old.
_SEEN: Final = text(
    "INSERT INTO persist_worker (name) VALUES (:name) ON CONFLICT (name) DO UPDATE SET seen_at = clock_timestamp(),"
    " began_at = CASE WHEN persist_worker.seen_at < clock_timestamp() - make_interval(secs => :alive) THEN clock_timestamp()"
    " ELSE persist_worker.began_at END"
)
_THERE: Final = text(
    "SELECT name FROM persist_worker WHERE seen_at >= clock_timestamp() - make_interval(secs => :alive) ORDER BY began_at, name"
)
_FORGET: Final = text(
    f"DELETE FROM persist_worker WHERE name = :name OR seen_at < clock_timestamp() - interval '{_KEPT}'"
)


def seen(connection: Connection, name: str) -> list[str]:
    """Notes that a worker is there, and returns all that are, the one that has been there longest first."""
    connection.execute(_SEEN, {"name": name, "alive": ALIVE_S})
    return there(connection)


def there(connection: Connection) -> list[str]:
    """The names of the workers that are there, the one that has been there longest first."""
    return list(connection.execute(_THERE, {"alive": ALIVE_S}).scalars())


def leave(connection: Connection, name: str) -> None:
    """Removes a worker that ends, so that the others need not wait for its silence."""
    connection.execute(_FORGET, {"name": name})
