"""The tables of the console's users, of the login log, and of the counts that slow guessing down; `models.py` brings them along."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Float, ForeignKey, Identity, Index, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base

OUTCOMES: Final = ("in", "wrong", "disabled", "no role")
"""in: logged in. wrong: the name or the password. disabled: both were right, and the user is disabled. no role: the login
provider knows him, and none of his groups has a role."""


class AppUser(Base):
    """A person who logs in by name. name_key: the name as `user_names.key_of` reads it, so that no two look alike.

    brands: the ids of the brands that he sees, NULL for every brand. password: a digest (`domain/passwords.py`). subject: issuer and id of whoever logs in
    with an OpenID provider.
    """

    __tablename__ = "app_user"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    name: Mapped[str]
    name_key: Mapped[str]
    role: Mapped[str]
    brands: Mapped[list[int] | None] = mapped_column(ARRAY(BigInteger))
    password: Mapped[str | None]
    subject: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    disabled_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("name_key"),
        UniqueConstraint("subject"),
        CheckConstraint("role IN ('viewer', 'operator', 'admin')", "role"),
        CheckConstraint("brands IS NULL OR (cardinality(brands) > 0 AND role <> 'admin')", "brands"),
    )


class LoginEvent(Base):
    """One try to log in that was looked at. user_id: the user of that name, where there is one."""

    __tablename__ = "login_event"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    name: Mapped[str]
    address: Mapped[str]
    outcome: Mapped[str]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("app_user.id"))
    __table_args__ = (
        CheckConstraint("outcome IN ('in', 'wrong', 'disabled', 'no role')", "outcome"),
        Index("ix_login_event_at", "at"),
        Index("ix_login_event_name", "name", "at", "id"),
    )


class LoginCount(Base):
    """A count of wrong passwords, or a place in a line of tries; for fifteen minutes. at: seconds since 1970."""

    __tablename__ = "login_count"
    key: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    at: Mapped[float] = mapped_column(Float(53))
    __table_args__ = (Index("ix_login_count_at", "at"),)
