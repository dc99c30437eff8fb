"""Sessions of the page, kept where every process sees their end: begun, looked up by their token, ended. The clock is PostgreSQL's."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final, NamedTuple

from sqlalchemy import Engine, text

LIFE_H: Final = 12
"""From the login, however often the session is used."""
_KEEP_DAYS: Final = 90
"""How long a session that has ended is remembered, for whoever asks who was logged in."""


_FIND: Final = text(
    "SELECT id, actor, extract(epoch FROM ends_at - now()) FROM user_session"
    " WHERE token_hash = :token_hash AND ended_at IS NULL AND ends_at > now()"
)
_END: Final = text(
    "UPDATE user_session SET ended_at = now(), ended_why = :why"
    " WHERE token_hash = :token_hash AND ended_at IS NULL RETURNING id"
)
_HAS_BEEN_HERE: Final = text("SELECT EXISTS (SELECT FROM user_session WHERE actor = :actor)")


class Session(NamedTuple):
    """A session that is in force. left_s: seconds to its end."""

    id: int
    actor: str
    left_s: float


def hash_of(token: str) -> str:
    """What is stored of a token. It has 256 random bits, so no salt and no slow hash is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def begin(db: Engine, actor: str, address: str) -> str:
    """A new session; answers the token for the cookie, which is stored nowhere."""
    token = secrets.token_urlsafe(32)
    with db.begin() as conn:
        conn.execute(text(f"DELETE FROM user_session WHERE ends_at < now() - interval '{_KEEP_DAYS} days'"))
        conn.execute(
            text(
                "INSERT INTO user_session (token_hash, actor, address, ends_at)"
                f" VALUES (:token_hash, :actor, :address, now() + interval '{LIFE_H} hours')"
            ),
            {"token_hash": hash_of(token), "actor": actor, "address": address},
        )
    return token


def find(db: Engine, token: str) -> Session | None:
    """The session of a token; None where it never was, has ended, or is older than LIFE_H."""
    with db.connect() as conn:
        row = conn.execute(
            _FIND,
            {"token_hash": hash_of(token)},
        ).first()
    return None if row is None else Session(row[0], row[1], float(row[2]))


def end(db: Engine, token_hash: str, why: str) -> bool:
    """Ends it for good, in every process; answers whether it was in force."""
    with db.begin() as conn:
        ended = conn.execute(
            _END,
            {"token_hash": token_hash, "why": why},
        ).first()
    return ended is not None


def has_been_here(db: Engine, actor: str) -> bool:
    """Whether somebody has logged in under this name before."""
    with db.connect() as conn:
        found = conn.execute(_HAS_BEEN_HERE, {"actor": actor})
        return bool(found.scalar_one())
