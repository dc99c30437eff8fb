"""The login log, and the counts of wrong passwords, which all processes of the page share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final, Literal, NamedTuple

from sqlalchemy import Engine, text

Outcome = Literal["in", "wrong", "disabled", "no role"]
_KEEP_DAYS: Final = 400
_SWEEP: Final = 100
"""The most old counts that one try takes away."""
_LOCK: Final = text(
    "INSERT INTO login_count (key, count, at) SELECT key, 0, 0 FROM unnest(CAST(:keys AS text[])) AS k(key) ORDER BY key"
    " ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING key, count, at"
)
_FORGET: Final = text(
    "DELETE FROM login_count WHERE key IN (SELECT key FROM login_count WHERE at < extract(epoch FROM clock_timestamp()) - :s"
    f" ORDER BY key LIMIT {_SWEEP} FOR UPDATE SKIP LOCKED)"
)
_EVENTS: Final = "SELECT id, at, name, address, outcome, user_id FROM login_event"


class LoginEvent(NamedTuple):
    """One try to log in. user_id: the user of that name, None where there is none."""

    id: int
    at: datetime
    name: str
    address: str
    outcome: Outcome
    user_id: int | None


class Count(NamedTuple):
    """A count, or a place in a line. at: seconds since 1970, of its last try or when it is due."""

    number: int
    at: float


def log(db: Engine, name: str, address: str, outcome: Outcome, user_id: int | None) -> None:
    """Appends a try, and takes those away that are older than 400 days."""
    with db.begin() as conn:
        conn.execute(text(f"DELETE FROM login_event WHERE at < now() - interval '{_KEEP_DAYS} days'"))
        conn.execute(
            text(
                "INSERT INTO login_event (name, address, outcome, user_id) VALUES (:name, :address, :outcome, :user_id)"
            ),
            {"name": name, "address": address, "outcome": outcome, "user_id": user_id},
        )


def events(db: Engine, limit: int, before_id: int | None = None, user_id: int | None = None) -> list[LoginEvent]:
    """The newest tries; with before_id those before that one, with user_id those under one user's name."""
    conditions = ["true"]
    if before_id is not None:
        conditions.append("id < :before")
    if user_id is not None:
        conditions.append("user_id = :user_id")
    query = f"{_EVENTS} WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT :limit"
    with db.connect() as conn:
        return [
            LoginEvent(*row)
            for row in conn.execute(text(query), {"limit": limit, "before": before_id, "user_id": user_id})
        ]


class LoginCounts:
    """The counts by key. The clock is PostgreSQL's."""

    def __init__(self, db: Callable[[], Engine], forget_s: float) -> None:
        self._db = db
        self._forget_s = forget_s

    @contextmanager
    def locked(self, keys: Sequence[str]) -> Iterator[tuple[float, dict[str, Count]]]:
        """Yields the time and the counts of these keys, absent where there is none; what the caller changes is stored.

        Tries under one of the same keys wait for each other, so that simultaneous ones are not all free.
        """
        with self._db().begin() as conn:
            conn.execute(_FORGET, {"s": self._forget_s})
            rows = {key: Count(number, at) for key, number, at in conn.execute(_LOCK, {"keys": sorted(set(keys))})}
            now = float(conn.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
            before = {key: row for key, row in rows.items() if row.number and row.at >= now - self._forget_s}
            after = dict(before)
            yield now, after
            for key, old in rows.items():
                new = after.get(key, Count(0, 0.0))
                if new != old:
                    conn.execute(
                        text("UPDATE login_count SET count = :count, at = :at WHERE key = :key"),
                        {"key": key, "count": new.number, "at": new.at},
                    )
