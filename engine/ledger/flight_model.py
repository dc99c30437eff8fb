"""Tables of flights: what was agreed, and what each flight spent."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Index, Integer, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base


class Flight(Base):
    """A flight of a campaign as it was agreed; numbers are never reused. Flights of a campaign do not overlap."""

    __tablename__ = "flight"
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id"), primary_key=True, autoincrement=False)
    no: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    budget_micros: Mapped[int | None]
    carries: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    spread: Mapped[str] = mapped_column(server_default=text("'asap'"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    __table_args__ = (
        CheckConstraint("no BETWEEN 1 AND 65535", "no"),
        CheckConstraint("ends_at > starts_at", "ends"),
        CheckConstraint("budget_micros BETWEEN 0 AND 9000000000000000", "budget"),
        CheckConstraint("spread IN ('even', 'asap', 'none')", "spread"),
        Index(None, "ends_at"),
    )


class FlightEntry(Base):
    """What a journal entry counted to a flight of a campaign. flight: the number of the counter. It goes with the rows of its day."""

    __tablename__ = "flight_entry"
    shard: Mapped[int] = mapped_column(SmallInteger)
    generation: Mapped[int] = mapped_column(Integer)
    n: Mapped[int] = mapped_column()
    campaign_id: Mapped[int] = mapped_column()
    flight: Mapped[int] = mapped_column(Integer)
    day: Mapped[date]
    spend_micros: Mapped[int]
    __table_args__ = (Index(None, "campaign_id", "n"), Index(None, "day"))
    __mapper_args__ = {"primary_key": [shard, generation, n, campaign_id]}


class FlightTotal(Base):
    """The sum of flight_entry by flight, written in the transaction that writes these; it stays."""

    __tablename__ = "flight_total"
    campaign_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    flight: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    spend_micros: Mapped[int]
