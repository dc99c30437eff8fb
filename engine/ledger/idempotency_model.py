"""The table of requests that may be repeated; `models.py` brings it along."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, SmallInteger, func
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base


class Idempotency(Base):
    """A request of a token under a key, and its answer; without one, it is under way, or its process ended meanwhile.

    fingerprint: the SHA-256 of method, path and body, so that a key is not used for another request.
    """

    __tablename__ = "idempotency"
    token_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("api_token.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    begun_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp(), index=True)
    status: Mapped[int | None] = mapped_column(SmallInteger)
    answer: Mapped[str | None]
    etag: Mapped[str | None]
    __table_args__ = (
        CheckConstraint("length(fingerprint) = 64", "fingerprint"),
        CheckConstraint("(status IS NULL) = (answer IS NULL)", "answer"),
    )
