"""The table of what days of brands with a rollover began with."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base


class BrandCarry(Base):
    """What the day before left of its limit, written by persist from the journal with the first call of a day; a day has another row where its
    rollover began anew, or where Redis was rebuilt. n: of the journal's entry. before_micros: the limit of the day before.
    """

    __tablename__ = "brand_carry"
    brand_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    n: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    day: Mapped[date]
    left_micros: Mapped[int]
    before_micros: Mapped[int | None]
    at: Mapped[datetime]
    __table_args__ = (
        CheckConstraint("left_micros BETWEEN 0 AND 9000000000000000", "left"),
        CheckConstraint("before_micros BETWEEN 0 AND 9000000000000000", "before"),
        Index(None, "brand_id", "day"),
    )
