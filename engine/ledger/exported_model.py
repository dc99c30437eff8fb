"""The table of exports; the other tables are in `models.py`, which imports this one."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import CheckConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base


class ExportedDay(Base):
    """A day of the spend log that a place has as Parquet. rows, micros: of its manifest.

    verified_at: when its files were last read back and added up; None since a check found that they do not, or while
    they are replaced.
    """

    __tablename__ = "exported_day"
    day: Mapped[date] = mapped_column(primary_key=True)
    place: Mapped[str] = mapped_column(primary_key=True)
    rows: Mapped[int]
    micros: Mapped[int]
    manifest_sha256: Mapped[str]
    exported_at: Mapped[datetime] = mapped_column(server_default=func.now())
    verified_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("rows >= 0", "rows"),
        CheckConstraint("manifest_sha256 ~ '^[0-9a-f]{64}$'", "manifest_sha256"),
    )
