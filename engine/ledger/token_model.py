"""The table of programs' tokens; `models.py` brings it along."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Identity, Text, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base


class ApiToken(Base):
    """A token of a program. token_hash: its SHA-256; the token itself is stored nowhere.

    scopes: what it may do (`domain/tokens.py`). brands: the ids of the brands that it sees, NULL for every brand. A revoked one stays,
    for whoever asks what it was.
    """

    __tablename__ = "api_token"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    name: Mapped[str]
    token_hash: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    brands: Mapped[list[int] | None] = mapped_column(ARRAY(BigInteger))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_by: Mapped[str]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("token_hash"),
        CheckConstraint("length(token_hash) = 64", "token_hash"),
        CheckConstraint("cardinality(scopes) > 0 AND scopes <@ ARRAY['spend', 'read', 'write', 'admin']", "scopes"),
        CheckConstraint("brands IS NULL OR (cardinality(brands) > 0 AND NOT 'admin' = ANY (scopes))", "brands"),
    )
