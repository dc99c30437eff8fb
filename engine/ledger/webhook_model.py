"""The tables of webhooks: where alerts are sent, and each message. `models.py` brings them along."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, Integer, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base


class Webhook(Base):
    """A receiver of alerts. least: the severity from which on it hears of them. secret: what its messages are signed with; old_secret signs
    them too until old_until. Pages and commands show a secret once, where it is made.
    """

    __tablename__ = "webhook"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    name: Mapped[str]
    url: Mapped[str]
    least: Mapped[str]
    secret: Mapped[str]
    old_secret: Mapped[str | None]
    old_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_by: Mapped[str]
    disabled_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("least IN ('note', 'warning', 'critical')", "least"),
        CheckConstraint("(old_secret IS NULL) = (old_until IS NULL)", "old_secret"),
    )


class WebhookDelivery(Base):
    """A message to a receiver, written in the transaction of its alert. It waits until next_at, or is delivered or given up.

    message_id: its `webhook-id`, the same at each try. body: what is signed. status, answer: of the last try.
    """

    __tablename__ = "webhook_delivery"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhook.id"))
    message_id: Mapped[str]
    event_id: Mapped[int | None] = mapped_column(BigInteger)
    what: Mapped[str]
    body: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="waiting")
    tries: Mapped[int] = mapped_column(Integer, server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    next_at: Mapped[datetime | None] = mapped_column(server_default=func.clock_timestamp())
    last_at: Mapped[datetime | None]
    status: Mapped[int | None] = mapped_column(Integer)
    answer: Mapped[str | None]
    __table_args__ = (
        UniqueConstraint("webhook_id", "message_id"),
        CheckConstraint("state IN ('waiting', 'delivered', 'failed')", "state"),
        CheckConstraint("(next_at IS NOT NULL) = (state = 'waiting')", "next_at"),
        Index("ix_webhook_delivery_waiting", "next_at", postgresql_where=text("state = 'waiting'")),
        Index("ix_webhook_delivery_created_at", "created_at"),
    )
