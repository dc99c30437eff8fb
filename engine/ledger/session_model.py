"""The table of the page's sessions; the other tables stand in `models.py`, which brings this one along."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base

_ENDED: Final = "(ended_at IS NULL) = (ended_why IS NULL)"


class UserSession(Base):
    """One login, from its beginning to its end. token_hash: SHA-256 of what the cookie holds, so that who reads the table can log in as nobody.

    id: what a list of sessions shows and a person ends. actor: the name that its changes are signed with. user_id: NULL for one by
    BUDGET_ADMIN_PASSWORD.
    """

    __tablename__ = "user_session"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    token_hash: Mapped[str]
    actor: Mapped[str]
    address: Mapped[str]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("app_user.id"))
    begun_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ends_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_why: Mapped[str | None]
    __table_args__ = (
        UniqueConstraint("token_hash"),
        CheckConstraint("token_hash ~ '^[0-9a-f]{64}$'", "token_hash"),
        CheckConstraint("ends_at > begun_at", "ends"),
        CheckConstraint(_ENDED, "ended"),
        Index("ix_user_session_actor", "actor", "begun_at"),
        Index("ix_user_session_user_id", "user_id"),
        Index("ix_user_session_ends_at", "ends_at"),
    )
