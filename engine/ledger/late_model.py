"""Tables of late spends and of backfilled ones; `models.py` brings them along."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Identity, Index, Integer, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base

_HOME = "campaign_id / 65536 = brand_id"


class LateSpend(Base):
    """What a brand's late spends on a day add up to, written with their rows. day: the one to which they are booked.
    previous: booked to the previous day, on which they occurred; else to the day on which they were reported.
    """

    __tablename__ = "late_spend"
    brand_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    day: Mapped[date] = mapped_column(primary_key=True)
    previous: Mapped[bool] = mapped_column(Boolean, primary_key=True)
    spends: Mapped[int]
    spend_micros: Mapped[int]
    __table_args__ = (CheckConstraint("spends > 0 AND spend_micros > 0", "spends"), Index(None, "day"))


class BackfillFile(Base):
    """A file whose spends were backfilled. digest: SHA-256 of its spends, so that the same ones are never written twice."""

    __tablename__ = "backfill_file"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    digest: Mapped[str]
    name: Mapped[str]
    rows: Mapped[int]
    micros: Mapped[int]
    actor: Mapped[str]
    written_at: Mapped[datetime] = mapped_column(server_default=func.now())
    __table_args__ = (UniqueConstraint("digest"), CheckConstraint("digest ~ '^[0-9a-f]{64}$'", "digest"))


class Backfill(Base):
    """A spend of a closed day that was added to the ledger alone: a row of kind `backfill`. No counter of Redis and no closed
    total has it. line: of the file.
    """

    __tablename__ = "backfill"
    file_id: Mapped[int] = mapped_column(ForeignKey("backfill_file.id"), primary_key=True, autoincrement=False)
    line: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    day: Mapped[date]
    brand_id: Mapped[int]
    campaign_id: Mapped[int]
    amount_micros: Mapped[int]
    event_id: Mapped[str | None]
    occurred_at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(server_default="backfill")
    __table_args__ = (
        CheckConstraint(_HOME, "home"),
        CheckConstraint("kind = 'backfill' AND amount_micros BETWEEN 1 AND 1000000000000", "kind"),
        CheckConstraint("abs(day - (occurred_at AT TIME ZONE 'UTC')::date) <= 1", "day"),
        Index("uq_backfill_event", "brand_id", "event_id", unique=True, postgresql_where=text("event_id IS NOT NULL")),
        Index(None, "brand_id", "day"),
    )


class BackfillDay(Base):
    """The sum of backfill by campaign and day, written with its rows."""

    __tablename__ = "backfill_day"
    campaign_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    day: Mapped[date] = mapped_column(primary_key=True)
    brand_id: Mapped[int]
    spend_micros: Mapped[int]
    spends: Mapped[int] = mapped_column(Integer)
    __table_args__ = (CheckConstraint(_HOME, "home"), Index(None, "brand_id", "day"))
