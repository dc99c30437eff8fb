"""The table of what each brand spent a minute. `models.py` brings it along."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base


class BrandMinute(Base):
    """A brand's sum of spend_log a minute, written in the transaction that writes the rows, and kept for some days.

    at: the begin of the minute in which it happened. day: the brand's day to which it counts, so that the minutes of a day add up to
    its campaign_day, late spends and corrections too.
    """

    __tablename__ = "brand_minute"
    day: Mapped[date] = mapped_column(primary_key=True)
    brand_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    spend_micros: Mapped[int]
    # Room for an update beside its row: the present minute is written each second.
    __table_args__ = ({"postgresql_with": {"fillfactor": "80"}},)
