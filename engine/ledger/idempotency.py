"""Requests under an Idempotency-Key: claimed before they run, kept with their answer for a day."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from sqlalchemy import Engine, text

from engine.ledger.database import writing

KEPT_H: Final = 24
"""Hours for which an answer is kept."""
ABANDONED_S: Final = 60
"""Seconds after which a request without an answer counts as ended with its process, and may run again."""
_CLAIM: Final = text(
    "INSERT INTO idempotency AS i (token_id, key, fingerprint) VALUES (:token, :key, :fingerprint)"
    " ON CONFLICT (token_id, key) DO UPDATE"
    " SET fingerprint = :fingerprint, begun_at = clock_timestamp(), status = NULL, answer = NULL, etag = NULL"
    f" WHERE i.begun_at < clock_timestamp() - interval '{KEPT_H} hours'"
    " OR (i.status IS NULL AND i.fingerprint = :fingerprint"
    f" AND i.begun_at < clock_timestamp() - interval '{ABANDONED_S} seconds') RETURNING 1"
)
_FOUND: Final = text("SELECT fingerprint, status, answer, etag FROM idempotency WHERE token_id = :token AND key = :key")
_ANSWER: Final = text(
    "UPDATE idempotency SET status = :status, answer = :answer, etag = :etag WHERE token_id = :token AND key = :key"
)
_LEAVE: Final = text("DELETE FROM idempotency WHERE token_id = :token AND key = :key AND status IS NULL")
_DROP: Final = text(f"DELETE FROM idempotency WHERE begun_at < clock_timestamp() - interval '{KEPT_H} hours'")


class Kept(NamedTuple):
    """The answer to an earlier request under the same key."""

    status: int
    answer: str
    etag: str | None


Claim = Kept | Literal["claimed", "other", "under way"]
"""claimed: the request is to run. other: the key was used for another request. under way: the same one runs now."""


def claim(db: Engine, token_id: int, key: str, fingerprint: str) -> Claim:
    """Claims a key for a request, or says what became of it."""
    values = {"token": token_id, "key": key, "fingerprint": fingerprint}
    with writing(db) as conn:
        if conn.execute(_CLAIM, values).first() is not None:
            return "claimed"
        row = conn.execute(_FOUND, values).mappings().first()
    if row is None or (row["fingerprint"] == fingerprint and row["status"] is None):
        return "under way"
    return Kept(row["status"], row["answer"], row["etag"]) if row["fingerprint"] == fingerprint else "other"


def keep(db: Engine, token_id: int, key: str, kept: Kept) -> None:
    """Keeps the answer to a claimed request."""
    with writing(db) as conn:
        conn.execute(_ANSWER, {"token": token_id, "key": key, **kept._asdict()})


def leave(db: Engine, token_id: int, key: str) -> None:
    """Takes a claim back, so that the request may run again."""
    with writing(db) as conn:
        conn.execute(_LEAVE, {"token": token_id, "key": key})


def drop_old(db: Engine) -> int:
    """Drops what is older than a day; returns how many."""
    with writing(db) as conn:
        return int(conn.execute(_DROP).rowcount)
