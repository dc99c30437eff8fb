"""The table of scheduled changes of limits, and the column of what a plan has of them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base


class LimitChangeRow(Base):
    """A scheduled change of a brand's, or of a campaign's own, daily or monthly limit (`engine/domain/limit_changes.py`).

    value_micros: to set (none is no limit) or to add, or millionths of a percent. begun_at, over_at: the instants of what the catalog has taken over.
    before_micros: the limit that its end brings back. next_at: of what the catalog takes over next.
    """

    __tablename__ = "limit_change"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    brand_id: Mapped[int] = mapped_column(ForeignKey("brand.id"))
    campaign_id: Mapped[int | None] = mapped_column(ForeignKey("campaign.id"))
    period: Mapped[str]
    kind: Mapped[str]
    value_micros: Mapped[int | None]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
    begun_at: Mapped[datetime | None]
    before_micros: Mapped[int | None]
    over_at: Mapped[datetime | None]
    next_at: Mapped[datetime | None]
    cancelled: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    actor: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    __table_args__ = (
        CheckConstraint("period IN ('daily', 'monthly')", "period"),
        CheckConstraint("kind IN ('set', 'add', 'percent') AND (kind = 'set' OR value_micros IS NOT NULL)", "kind"),
        CheckConstraint("value_micros BETWEEN -9000000000000000 AND 9000000000000000", "value"),
        CheckConstraint("before_micros BETWEEN 0 AND 9000000000000000", "before"),
        CheckConstraint("ends_at > starts_at", "ends"),
        CheckConstraint("(next_at IS NULL) = (over_at IS NOT NULL)", "next"),
        CheckConstraint("campaign_id / 65536 = brand_id", "campaign"),
        Index("ix_limit_change_next_at", "next_at", postgresql_where=text("next_at IS NOT NULL")),
        Index("ix_limit_change_brand_id", "brand_id", "campaign_id"),
    )


class Stepped:
    """A column of a brand or campaign whose limits may be changed by schedule: the steps that stand in the plan."""

    steps: Mapped[list[str]] = mapped_column(server_default=text("'{}'::text[]"))
