"""The tables of alerts: rules that differ from the built-in ones, alerts, and what is muted. `models.py` brings them along."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, Integer, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base

KINDS_SQL = "kind IN ('daily', 'monthly', 'projected', 'under', 'silence', 'spike', 'breaker', 'health')"


class AlertRule(Base):
    """A rule that somebody made or changed. brand_id: whose it is, 0 of every brand. A kind without a row has its built-in rule
    (`domain/alerts.py`).
    """

    __tablename__ = "alert_rule"
    kind: Mapped[str] = mapped_column(primary_key=True)
    brand_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    levels: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    enabled: Mapped[bool]
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    changed_by: Mapped[str]
    __table_args__ = (
        CheckConstraint(KINDS_SQL, "kind"),
        CheckConstraint("brand_id >= 0 AND (kind <> 'health' OR brand_id = 0)", "brand_id"),
    )


class AlertEvent(Base):
    """An alert. One row a round of each kind, subject, period and level, which is why it is opened once.

    subject: `brand:ID`, `campaign:ID`, `part:NAME` or `job:NAME`. brand_id: whose it is, NULL of the engine. figure_micros,
    limit_micros: spent and budget when it was opened. muted: whether it was opened while its subject was muted. It is open until ended_at.
    """

    __tablename__ = "alert_event"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    kind: Mapped[str]
    subject: Mapped[str]
    period: Mapped[str]
    level: Mapped[int] = mapped_column(Integer)
    round: Mapped[int] = mapped_column(Integer)
    brand_id: Mapped[int | None] = mapped_column(BigInteger)
    severity: Mapped[str]
    detail: Mapped[str]
    figure_micros: Mapped[int | None]
    limit_micros: Mapped[int | None]
    muted: Mapped[bool]
    opened_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None]
    __table_args__ = (
        UniqueConstraint("kind", "subject", "period", "level", "round"),
        CheckConstraint(KINDS_SQL, "kind"),
        CheckConstraint("severity IN ('note', 'warning', 'critical')", "severity"),
        CheckConstraint("end_reason IN ('raised', 'recovered', 'period', 'off')", "end_reason"),
        CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", "ended"),
        CheckConstraint("(acknowledged_at IS NULL) = (acknowledged_by IS NULL)", "acknowledged"),
        CheckConstraint("round >= 1", "round"),
        Index("ix_alert_event_open", "brand_id", postgresql_where=text("ended_at IS NULL")),
        Index("ix_alert_event_brand_id", "brand_id", "id"),
    )


class AlertMute(Base):
    """A kind of alert that is silent for a subject until an instant: its alerts are written, and neither counted nor sent."""

    __tablename__ = "alert_mute"
    kind: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    until: Mapped[datetime]
    muted_at: Mapped[datetime] = mapped_column(server_default=func.now())
    muted_by: Mapped[str]
    __table_args__ = (CheckConstraint(KINDS_SQL, "kind"),)
