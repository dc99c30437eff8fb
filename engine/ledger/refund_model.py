"""The table of refunds; the other tables stand in `models.py`, which brings this one along."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base


class Refund(Base):
    """A refund of an event, once for good: what was given back, what waits to be decided, and what was refused and why.

    refund_id: "" of the one refund of an event that needs none. told, tried_ms, check_n: see `engine/ledger/refunds.py`.
    """

    __tablename__ = "refund"
    brand_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    refund_id: Mapped[str] = mapped_column(primary_key=True)
    campaign_id: Mapped[int]
    micros: Mapped[int]
    day: Mapped[date]
    state: Mapped[str]
    cause: Mapped[str | None]
    told: Mapped[bool]
    asked_at: Mapped[datetime]
    asked_n: Mapped[int]
    ended_at: Mapped[datetime | None]
    tried_ms: Mapped[int | None]
    check_n: Mapped[int | None]
    __table_args__ = (
        CheckConstraint("campaign_id / 65536 = brand_id", "home"),
        CheckConstraint("micros >= 1", "micros"),
        CheckConstraint("state IN ('waiting', 'approved', 'refused', 'applied')", "state"),
        CheckConstraint("state = 'refused' OR cause IS NULL", "cause"),
        CheckConstraint("(state IN ('waiting', 'approved')) = (ended_at IS NULL)", "ended"),
        Index(
            "ix_refund_open",
            "asked_at",
            postgresql_where=text("(state = ANY (ARRAY['waiting', 'approved'])) OR NOT told"),
        ),
        Index("ix_refund_refused", "asked_at", postgresql_where=text("state = 'refused'")),
    )
