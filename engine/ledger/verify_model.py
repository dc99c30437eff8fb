"""The tables of `verify`: how far the spend log is confirmed, and the sums of its rows up to there. `models.py` brings
them along.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Identity, Integer, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base


class VerifyPass(Base):
    """A full pass of verify over the spend log. confirmed_at: NULL while it is under way, and when it found something."""

    __tablename__ = "verify_pass"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    begun_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]


class VerifyWatermark(Base):
    """How far a shard's rows are in `verify_sum`: up to this n and this generation. Rows above were recorded at or after `at`."""

    __tablename__ = "verify_watermark"
    pass_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    generation: Mapped[int] = mapped_column(Integer)
    n: Mapped[int]
    at: Mapped[datetime]
    __table_args__ = (CheckConstraint("shard BETWEEN 0 AND 63", "shard"),)


class VerifySum(Base):
    """What the rows of a campaign on a day add up to, up to its shard's watermark. corrections: the part that came after the day."""

    __tablename__ = "verify_sum"
    pass_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    campaign_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    day: Mapped[date] = mapped_column(primary_key=True)
    brand_id: Mapped[int]
    micros: Mapped[int]
    corrections: Mapped[int]
    rows: Mapped[int]
