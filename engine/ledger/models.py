"""The tables of the ledger: what was agreed (brand, campaign), what happened (spend_log), and how far it has been written down.

The laws that must hold whoever writes stand here as constraints; `migrations/` makes the same tables, and a test compares the two.
Money is micros in a bigint. Instants are timestamptz, days are UTC dates.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, Integer, SmallInteger, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.alert_model import AlertEvent, AlertMute, AlertRule  # noqa: F401  # their tables belong to the metadata
from engine.ledger.base import Base, bloom
from engine.ledger.breaker_model import BreakerTrip  # noqa: F401  # its table belongs to the metadata
from engine.ledger.carry_model import BrandCarry  # noqa: F401  # the same
from engine.ledger.curve_model import Curve, Paced  # noqa: F401  # its table belongs to the metadata
from engine.ledger.exported_model import ExportedDay  # noqa: F401  # its table belongs to the metadata
from engine.ledger.flight_model import Flight, FlightEntry, FlightTotal  # noqa: F401  # the same
from engine.ledger.idempotency_model import Idempotency  # noqa: F401  # the same
from engine.ledger.late_model import Backfill, BackfillDay, BackfillFile, LateSpend  # noqa: F401  # the same
from engine.ledger.limit_model import LimitChangeRow, Stepped  # noqa: F401  # the same
from engine.ledger.minute_model import BrandMinute  # noqa: F401  # the same
from engine.ledger.operation_model import CatalogChange, Operation, OperationItem  # noqa: F401  # the same
from engine.ledger.pack_model import SpendPack  # noqa: F401  # the same
from engine.ledger.refund_model import Refund  # noqa: F401  # its table belongs to the metadata
from engine.ledger.run_model import JobRun  # noqa: F401  # the same
from engine.ledger.session_model import UserSession  # noqa: F401  # the same
from engine.ledger.token_model import ApiToken  # noqa: F401  # the same
from engine.ledger.user_model import AppUser, LoginCount, LoginEvent  # noqa: F401  # the same
from engine.ledger.verify_model import VerifyPass, VerifySum, VerifyWatermark  # noqa: F401  # the same
from engine.ledger.webhook_model import Webhook, WebhookDelivery  # noqa: F401  # the same
from engine.ledger.worker_model import PersistWorker  # noqa: F401  # the same
from engine.ledger.zone_model import RECORDED, RECORDED_LATE, ZONE, Zoned

LOG_TABLES: Final = ("spend_log", "spend_pack")
"""Both forms of the log: rows, and packed rows. Partitions are made as days come, by `spend_log.ensure_partition`, and so are in no migration."""


def tables_of(packed: bool) -> tuple[str, ...]:
    """The tables that a form of the log writes: in packed form too some entries become rows."""
    return LOG_TABLES if packed else LOG_TABLES[:1]


_EXTERNAL_ID: Final = r"external_id ~ '^[A-Za-z0-9._:/+=@~-]{1,64}$'"
_NAME: Final = r"char_length(name) BETWEEN 1 AND 200 AND name ~ '\S' AND name !~ '[\x01-\x1f\x7f]'"
_ID: Final = "campaign_id / 65536 = brand_id"
_TOTAL: Final = "BETWEEN 0 AND 9000000000000000"
_LIMITED: Final = (
    "daily_budget_micros IS NOT NULL OR monthly_budget_micros IS NOT NULL OR lifetime_budget_micros IS NOT NULL"
)


def _now() -> Mapped[datetime]:
    return mapped_column(server_default=func.now())


class Instance(Base):
    """The one row that names this installation; Redis carries the same uuid in every shard's mark."""

    __tablename__ = "instance"
    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    uuid: Mapped[uuid.UUID]
    created_at: Mapped[datetime] = _now()
    __table_args__ = (CheckConstraint("id = 1", "one_row"),)


class Brand(Paced, Stepped, Zoned, Base):
    __tablename__ = "brand"
    id: Mapped[int] = mapped_column(Identity(always=True, maxvalue=2**37 - 1), primary_key=True)
    external_id: Mapped[str | None]
    name: Mapped[str]
    daily_budget_micros: Mapped[int | None]
    monthly_budget_micros: Mapped[int | None]
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    published_version: Mapped[int | None] = mapped_column(Integer)
    next_ordinal: Mapped[int] = mapped_column(Integer, server_default="1")
    archived_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    rollover_cap_micros: Mapped[int | None]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _now()
    __table_args__ = (
        UniqueConstraint("external_id"),
        # An archived brand's name may be used again.
        Index("uq_brand_name", "name", unique=True, postgresql_where=text("archived_at IS NULL")),
        CheckConstraint(_NAME, "name"),
        CheckConstraint(_EXTERNAL_ID, "external_id"),
        CheckConstraint(f"daily_budget_micros {_TOTAL}", "daily_budget"),
        CheckConstraint(f"monthly_budget_micros {_TOTAL}", "monthly_budget"),
        CheckConstraint("rollover_cap_micros BETWEEN 1 AND 9000000000000000", "rollover_cap"),
        CheckConstraint("next_ordinal BETWEEN 1 AND 65536", "next_ordinal"),
        CheckConstraint(ZONE, "zone"),
        Index("ix_brand_unpublished", "id", postgresql_where=text("published_version IS DISTINCT FROM version")),
    )


class Campaign(Paced, Stepped, Base):
    __tablename__ = "campaign"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    external_id: Mapped[str | None]
    brand_id: Mapped[int] = mapped_column(ForeignKey("brand.id"))
    ordinal: Mapped[int] = mapped_column(Integer)
    name: Mapped[str]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    status: Mapped[str] = mapped_column(server_default="paused")
    reasons: Mapped[list[str]] = mapped_column(server_default=text("'{}'::text[]"))
    schedule: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    daily_budget_micros: Mapped[int | None]
    monthly_budget_micros: Mapped[int | None]
    lifetime_budget_micros: Mapped[int | None]
    flights: Mapped[list[str]] = mapped_column(server_default=text("'{}'::text[]"))
    last_flight: Mapped[int] = mapped_column(Integer, server_default="0")
    rate_limit_micros: Mapped[int | None]
    breaker_micros: Mapped[int | None]
    breaker_round: Mapped[int] = mapped_column(Integer, server_default="0")
    breaker_closed_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    published_version: Mapped[int | None] = mapped_column(Integer)
    switched_at: Mapped[datetime] = _now()
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _now()
    __table_args__ = (
        UniqueConstraint("external_id"),
        # By the campaign's own archive only: those of an archived brand keep their names for its return.
        Index(
            "uq_campaign_brand_id_name",
            "brand_id",
            "name",
            unique=True,
            postgresql_where=text("archived_at IS NULL"),
        ),
        UniqueConstraint("brand_id", "ordinal"),
        CheckConstraint("id = brand_id * 65536 + ordinal", "id"),
        CheckConstraint("ordinal BETWEEN 1 AND 65535", "ordinal"),
        CheckConstraint(_NAME, "name"),
        CheckConstraint(_EXTERNAL_ID, "external_id"),
        CheckConstraint(f"daily_budget_micros {_TOTAL}", "daily_budget"),
        CheckConstraint(f"monthly_budget_micros {_TOTAL}", "monthly_budget"),
        CheckConstraint(f"lifetime_budget_micros {_TOTAL}", "lifetime_budget"),
        CheckConstraint("rate_limit_micros BETWEEN 1 AND 9000000000000000", "rate_limit"),
        CheckConstraint("breaker_micros BETWEEN 1 AND 9000000000000000", "breaker"),
        CheckConstraint("status IN ('active', 'paused')", "status"),
        # A new campaign is paused without a cause until its first status is written, so only one direction is a law here.
        CheckConstraint("status = 'paused' OR cardinality(reasons) = 0", "active_without_reasons"),
        Index("ix_campaign_limited", "id", postgresql_where=text(_LIMITED)),
        Index(
            "ix_campaign_unpublished", "brand_id", postgresql_where=text("published_version IS DISTINCT FROM version")
        ),
    )


class SpendLog(Base):
    """What happened, one row a counted spend. Partitioned by day; exact because the cursor is, so the hot table has no unique index."""

    __tablename__ = "spend_log"
    recorded_at: Mapped[datetime]
    day: Mapped[date]
    brand_id: Mapped[int]
    campaign_id: Mapped[int]
    amount_micros: Mapped[int]
    event_id: Mapped[str | None]
    request_id: Mapped[str]
    occurred_at: Mapped[datetime | None]
    kind: Mapped[str] = mapped_column(server_default="spend")
    shard: Mapped[int] = mapped_column(SmallInteger)
    generation: Mapped[int] = mapped_column(Integer)
    n: Mapped[int] = mapped_column()
    position: Mapped[int] = mapped_column(Integer)
    hold_id: Mapped[str | None]
    __table_args__ = (
        CheckConstraint(f"{_ID} AND shard = mod(brand_id, 64)", "home"),
        # A refund (of today) and a correction (of a day that is over) take away, and a correction names its own day. A late
        # spend may count to the day before, on which it occurred.
        CheckConstraint(
            "CASE WHEN kind IN ('spend', 'late', 'over') THEN amount_micros BETWEEN 1 AND 1000000000000"
            f" AND ({RECORDED} OR kind = 'spend' AND {RECORDED_LATE})"
            f" WHEN kind = 'unitemised' THEN amount_micros BETWEEN 1 AND 1000000000000000 AND {RECORDED}"
            " WHEN kind IN ('refund', 'correction') THEN amount_micros BETWEEN -1000000000000 AND -1 ELSE false END",
            "kind",
        ),
        Index(None, "campaign_id", "recorded_at"),
        Index(None, "brand_id", "recorded_at"),
        # The rebuild reads back the promised windows; rows come nearly in order of time, so a few bytes a megabyte are enough.
        Index(None, "recorded_at", postgresql_using="brin", postgresql_with={"autosummarize": "on"}),
        # For searches by id: decision 91 has what they cost.
        bloom("event_id"),
        bloom("request_id"),
        {"postgresql_partition_by": "RANGE (day)"},
    )
    __mapper_args__ = {"primary_key": [shard, generation, n, position]}


class CampaignDay(Base):
    """A campaign's sum of spend_log a day, written in the transaction that writes the rows."""

    __tablename__ = "campaign_day"
    campaign_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    day: Mapped[date] = mapped_column(primary_key=True)
    brand_id: Mapped[int]
    spend_micros: Mapped[int]
    spends: Mapped[int]
    __table_args__ = (
        CheckConstraint(_ID, "home"),
        CheckConstraint("spends >= 0", "spends"),
        Index(None, "brand_id", "day"),
        Index(None, "day"),
    )


class CampaignHour(Base):
    """The same an hour of the day (UTC); the hours of a day add up to its campaign_day.

    The day leads the key: writes of the present hour keep to the end of the index, and a day is one range of it.
    """

    __tablename__ = "campaign_hour"
    day: Mapped[date] = mapped_column(primary_key=True)
    campaign_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hour: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    brand_id: Mapped[int]
    spend_micros: Mapped[int]
    spends: Mapped[int]
    __table_args__ = (
        CheckConstraint(_ID, "home"),
        CheckConstraint("hour BETWEEN 0 AND 23", "hour"),
        CheckConstraint("spends >= 0", "spends"),
    )


class MixedRequest(Base):
    """A request whose rows do not say what Redis remembers of it, because not every spend was counted or the call was packed: a rebuild takes it from here."""

    __tablename__ = "mixed_request"
    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    generation: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    n: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    request_id: Mapped[str]
    digest: Mapped[str]
    outcomes: Mapped[str]
    recorded_at: Mapped[datetime]
    __table_args__ = (Index(None, "recorded_at"),)


class Hold(Base):
    """A hold and its one end, as the journal told it."""

    __tablename__ = "hold"
    campaign_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hold_id: Mapped[str] = mapped_column(primary_key=True)
    brand_id: Mapped[int]
    held_micros: Mapped[int]
    settled_micros: Mapped[int] = mapped_column(server_default="0")
    state: Mapped[str]
    reserved_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint(_ID, "home"),
        CheckConstraint("state IN ('open', 'settled', 'over', 'late', 'released', 'expired')", "state"),
        CheckConstraint("(state = 'open') = (ended_at IS NULL)", "ended"),
        Index("ix_hold_open", "brand_id", postgresql_where=text("state = 'open'")),
        Index(None, "ended_at"),
    )


class CounterCorrection(Base):
    """A difference that reconcile added to a counter of Redis, as the journal told it. Never silent, never a SET."""

    __tablename__ = "counter_correction"
    name: Mapped[str] = mapped_column(primary_key=True)
    brand_id: Mapped[int]
    campaign_id: Mapped[int | None]
    field: Mapped[str]
    difference_micros: Mapped[int]
    recorded_at: Mapped[datetime]
    shard: Mapped[int] = mapped_column(SmallInteger)
    n: Mapped[int]
    __table_args__ = (Index(None, "recorded_at"),)


class Quarantine(Base):
    """A journal entry that could not be persisted, with its bytes and what the script counted for it."""

    __tablename__ = "quarantine"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    shard: Mapped[int] = mapped_column(SmallInteger)
    generation: Mapped[int] = mapped_column(Integer)
    n: Mapped[int | None]
    entry_id: Mapped[str]
    fields: Mapped[Any] = mapped_column(JSONB)
    sums: Mapped[Any] = mapped_column(JSONB)
    reason: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="waiting")
    created_at: Mapped[datetime] = _now()
    ended_at: Mapped[datetime | None]
    actor: Mapped[str | None]
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'persisted', 'dropped')", "state"),
        CheckConstraint("(state = 'waiting') = (ended_at IS NULL)", "ended"),
        Index("ix_quarantine_waiting", "shard", postgresql_where=text("state <> 'persisted'")),
    )


class StatusChange(Base):
    """A row where, and only where, the set of causes of a campaign changed; `at` is the instant at which the cause began."""

    __tablename__ = "status_change"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id"))
    at: Mapped[datetime]
    status: Mapped[str]
    reasons: Mapped[list[str]]
    actor: Mapped[str]
    written_at: Mapped[datetime] = _now()
    __table_args__ = (
        CheckConstraint("status IN ('active', 'paused')", "status"),
        CheckConstraint("(status = 'active') = (cardinality(reasons) = 0)", "reasons"),
        Index(None, "campaign_id", "at"),
        Index("ix_status_change_at", "at", "id"),
        Index("ix_status_change_actor", "actor", "at", "id"),
        Index("ix_status_change_brand", text("(campaign_id / 65536)"), "at", "id"),
    )


class PeriodTotal(Base):
    """What a brand spent in a closed period, and its budget then. Never changed once written."""

    __tablename__ = "period_total"
    brand_id: Mapped[int] = mapped_column(ForeignKey("brand.id"), primary_key=True, autoincrement=False)
    period: Mapped[str] = mapped_column(primary_key=True)
    starts_on: Mapped[date] = mapped_column(primary_key=True)
    spend_micros: Mapped[int]
    budget_micros: Mapped[int | None]
    closed_at: Mapped[datetime] = _now()
    __table_args__ = (
        CheckConstraint("period = 'day' OR (period = 'month' AND EXTRACT(day FROM starts_on) = 1)", "period"),
        Index(None, "period", "starts_on"),
    )


class DroppedDay(Base):
    """What the rows of a brand on a day added up to that are in the log no more: rows and these are the whole log.

    correction_micros came after the day's end, after_month_micros of them after its month's; last_at is the latest recorded_at.
    """

    __tablename__ = "dropped_day"
    brand_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    day: Mapped[date] = mapped_column(primary_key=True)
    rows: Mapped[int]
    spend_micros: Mapped[int]
    correction_micros: Mapped[int]
    after_month_micros: Mapped[int]
    last_at: Mapped[datetime]
    dropped_at: Mapped[datetime] = _now()
    __table_args__ = (Index(None, "day"),)


class ShardClose(Base):
    """Which periods each shard has closed."""

    __tablename__ = "shard_close"
    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    period: Mapped[str] = mapped_column(primary_key=True)
    starts_on: Mapped[date] = mapped_column(primary_key=True)
    closed_at: Mapped[datetime] = _now()
    __table_args__ = (
        CheckConstraint("shard BETWEEN 0 AND 63", "shard"),
        CheckConstraint("period = 'day' OR (period = 'month' AND EXTRACT(day FROM starts_on) = 1)", "period"),
    )


class JournalCursor(Base):
    """How far each shard's journal is in spend_log. `safe_entry_id` is where it stood JOURNAL_KEEP_MINUTES ago: below it may be trimmed."""

    __tablename__ = "journal_cursor"
    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    entry_id: Mapped[str] = mapped_column(server_default="0-0")
    n: Mapped[int] = mapped_column(server_default="0")
    generation: Mapped[int] = mapped_column(Integer, server_default="0")
    safe_entry_id: Mapped[str] = mapped_column(server_default="0-0")
    next_entry_id: Mapped[str] = mapped_column(server_default="0-0")
    next_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _now()
    stopped: Mapped[str | None]
    __table_args__ = (
        CheckConstraint("shard BETWEEN 0 AND 63", "shard"),
        CheckConstraint("n >= 0", "n"),
    )
