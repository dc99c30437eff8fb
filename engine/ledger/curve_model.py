"""The table of curves of pacing."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base


class Curve(Base):
    """The points of a curve, 12 digits each (`engine/domain/curves.py`). weekday: 1 is Monday, 0 every day. Named by people, or `traffic:<brand>`."""

    __tablename__ = "curve"
    name: Mapped[str] = mapped_column(primary_key=True)
    weekday: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    points: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    __table_args__ = (
        CheckConstraint("weekday BETWEEN 0 AND 7", "weekday"),
        CheckConstraint(r"points ~ '^(\d{12}){2,50}$'", "points"),
    )
