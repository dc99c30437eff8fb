"""Sessions of the page, kept where every process sees their end: begun, looked up by their token, ended. The clock is PostgreSQL's."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine, text

from engine.domain.people import Person

LIFE_H: Final = 12
"""From the login, however often the session is used."""
_KEEP_DAYS: Final = 90
"""How long a session that has ended is remembered, for whoever asks who was logged in."""


# A user who is disabled has no session, whatever its row has; his role and brands are those of this instant.
_FIND: Final = text(
    "SELECT s.id, s.actor, extract(epoch FROM s.ends_at - now()), s.user_id, u.role, u.brands"
    " FROM user_session AS s LEFT JOIN app_user AS u ON u.id = s.user_id"
    " WHERE s.token_hash = :token_hash AND s.ended_at IS NULL AND s.ends_at > now() AND u.disabled_at IS NULL"
)
_END: Final = text(
    "UPDATE user_session SET ended_at = now(), ended_why = :why"
    " WHERE token_hash = :token_hash AND ended_at IS NULL RETURNING id"
)
_END_OF_USER: Final = text(
    "UPDATE user_session SET ended_at = now(), ended_why = :why"
    " WHERE user_id = :user_id AND ended_at IS NULL AND ends_at > now() AND id IS DISTINCT FROM CAST(:but AS bigint)"
)
_HAS_BEEN_HERE: Final = text("SELECT EXISTS (SELECT FROM user_session WHERE actor = :actor)")
_OPEN: Final = (
    "SELECT id, actor, address, begun_at, ends_at, user_id FROM user_session WHERE ended_at IS NULL AND ends_at > now()"
)


class Session(NamedTuple):
    """A session that is in force. left_s: seconds to its end."""

    id: int
    person: Person
    left_s: float


class OpenSession(NamedTuple):
    """A session that is in force, as pages show it. user_id: None for one by BUDGET_ADMIN_PASSWORD."""

    id: int
    actor: str
    address: str
    begun_at: datetime
    ends_at: datetime
    user_id: int | None


def hash_of(token: str) -> str:
    """What is stored of a token. It has 256 random bits, so no salt and no slow hash is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def begin(db: Engine, actor: str, address: str, user_id: int | None = None) -> str:
    """A new session; answers the token for the cookie, which is stored nowhere."""
    token = secrets.token_urlsafe(32)
    with db.begin() as conn:
        conn.execute(text(f"DELETE FROM user_session WHERE ends_at < now() - interval '{_KEEP_DAYS} days'"))
        conn.execute(
            text(
                "INSERT INTO user_session (token_hash, actor, address, user_id, ends_at)"
                f" VALUES (:token_hash, :actor, :address, :user_id, now() + interval '{LIFE_H} hours')"
            ),
            {"token_hash": hash_of(token), "actor": actor, "address": address, "user_id": user_id},
        )
    return token


def find(db: Engine, token: str) -> Session | None:
    """The session of a token; None where it never was, has ended, is older than LIFE_H, or its user is disabled."""
    with db.connect() as conn:
        row = conn.execute(
            _FIND,
            {"token_hash": hash_of(token)},
        ).first()
    if row is None:
        return None
    id_, actor, left_s, user_id, role, brands = row
    person = Person(actor, role or "admin", None if brands is None else frozenset(brands), user_id)
    return Session(id_, person, float(left_s))


def end(db: Engine, token_hash: str, why: str) -> bool:
    """Ends it for good, in every process; answers whether it was in force."""
    with db.begin() as conn:
        ended = conn.execute(
            _END,
            {"token_hash": token_hash, "why": why},
        ).first()
    return ended is not None


def end_by_id(db: Engine, session_id: int, why: str, *, of: Person | None = None) -> bool:
    """Ends the session of a list; `of` one of this person's only. Answers whether it was in force."""
    whose = "" if of is None else f" AND {_whose(of)}"
    query = f"UPDATE user_session SET ended_at = now(), ended_why = :why WHERE id = :id AND ended_at IS NULL{whose}"
    with db.begin() as conn:
        done = conn.execute(text(query), {"id": session_id, "why": why, **_values(of)})
    return done.rowcount > 0


def end_of_user(conn: Connection, user_id: int, why: str, but: int | None = None) -> int:
    """Ends every session of a user but one; answers how many were in force."""
    return conn.execute(_END_OF_USER, {"user_id": user_id, "why": why, "but": but}).rowcount


def in_force(db: Engine, of: Person | None = None, most: int = 500) -> list[OpenSession]:
    """The sessions of everybody or of one person, newest first."""
    whose = "" if of is None else f" AND {_whose(of)}"
    with db.connect() as conn:
        found = conn.execute(
            text(f"{_OPEN}{whose} ORDER BY begun_at DESC, id DESC LIMIT :most"), {"most": most, **_values(of)}
        )
        return [OpenSession(*row) for row in found]


def has_been_here(db: Engine, actor: str) -> bool:
    """Whether somebody has logged in under this name before."""
    with db.connect() as conn:
        found = conn.execute(_HAS_BEEN_HERE, {"actor": actor})
        return bool(found.scalar_one())


def _whose(person: Person) -> str:
    return "user_id IS NULL AND actor = :actor" if person.user_id is None else "user_id = :user_id"


def _values(person: Person | None) -> dict[str, object]:
    if person is None:
        return {}
    return {"actor": person.name} if person.user_id is None else {"user_id": person.user_id}
