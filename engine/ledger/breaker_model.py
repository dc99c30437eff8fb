"""The table of breakers that opened."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base


class BreakerTrip(Base):
    """A campaign's breaker opened: one row a round of its brake, written by persist from the journal. It is open still where the
    campaign's `breaker_round` is not above `round`.
    """

    __tablename__ = "breaker_trip"
    campaign_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    round: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    spend_micros: Mapped[int]
    __table_args__ = (
        CheckConstraint("round >= 0", "round"),
        CheckConstraint("spend_micros >= 0", "spend"),
        Index(None, "at"),
    )
