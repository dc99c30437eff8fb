"""Late spends that count to the previous day, and spends that are backfilled into closed days."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0014"
branch_labels = None
depends_on = None

_LAW = (
    "CASE WHEN kind IN ('spend', 'late', 'over') THEN amount_micros BETWEEN 1 AND 1000000000000"
    " AND {day} WHEN kind = 'unitemised' THEN amount_micros BETWEEN 1 AND 1000000000000000"
    " AND day = (recorded_at AT TIME ZONE 'UTC')::date"
    " WHEN kind IN ('refund', 'correction') THEN amount_micros BETWEEN -1000000000000 AND -1 ELSE false END"
)
_RECORDED = "day = (recorded_at AT TIME ZONE 'UTC')::date"
_BOOKED = (
    f"({_RECORDED} OR kind = 'spend' AND occurred_at IS NOT NULL AND {_RECORDED} - 1"
    " AND day = (occurred_at AT TIME ZONE 'UTC')::date)"
)
_HOME = "campaign_id / 65536 = brand_id"


def upgrade() -> None:
    _law(_BOOKED)
    op.create_table(
        "late_spend",
        sa.Column("brand_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("previous", sa.Boolean(), nullable=False),
        sa.Column("spends", sa.BigInteger(), nullable=False),
        sa.Column("spend_micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("brand_id", "day", "previous", name=op.f("pk_late_spend")),
        sa.CheckConstraint("spends > 0 AND spend_micros > 0", name=op.f("ck_late_spend_spends")),
    )
    op.create_index(op.f("ix_late_spend_day"), "late_spend", ["day"])
    op.create_table(
        "backfill_file",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backfill_file")),
        sa.UniqueConstraint("digest", name=op.f("uq_backfill_file_digest")),
        sa.CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name=op.f("ck_backfill_file_digest")),
    )
    op.create_table(
        "backfill",
        sa.Column("file_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), server_default="backfill", nullable=False),
        sa.PrimaryKeyConstraint("file_id", "line", name=op.f("pk_backfill")),
        sa.ForeignKeyConstraint(["file_id"], ["backfill_file.id"], name=op.f("fk_backfill_file_id")),
        sa.CheckConstraint(_HOME, name=op.f("ck_backfill_home")),
        sa.CheckConstraint(
            "kind = 'backfill' AND amount_micros BETWEEN 1 AND 1000000000000", name=op.f("ck_backfill_kind")
        ),
        sa.CheckConstraint("day = (occurred_at AT TIME ZONE 'UTC')::date", name=op.f("ck_backfill_day")),
    )
    op.create_index(
        "uq_backfill_event",
        "backfill",
        ["brand_id", "event_id"],
        unique=True,
        postgresql_where=sa.text("event_id IS NOT NULL"),
    )
    op.create_index(op.f("ix_backfill_brand_id_day"), "backfill", ["brand_id", "day"])
    op.create_table(
        "backfill_day",
        sa.Column("campaign_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=False),
        sa.Column("spend_micros", sa.BigInteger(), nullable=False),
        sa.Column("spends", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "day", name=op.f("pk_backfill_day")),
        sa.CheckConstraint(_HOME, name=op.f("ck_backfill_day_home")),
    )
    op.create_index(op.f("ix_backfill_day_brand_id_day"), "backfill_day", ["brand_id", "day"])


def downgrade() -> None:
    for table in ("backfill_day", "backfill", "backfill_file", "late_spend"):
        op.drop_table(table)
    # Rows that were booked to the day before stay what they are.
    _law(_RECORDED, " NOT VALID")


def _law(day: str, how: str = "") -> None:
    op.drop_constraint(op.f("ck_spend_log_kind"), "spend_log", type_="check")
    op.execute(f"ALTER TABLE spend_log ADD CONSTRAINT ck_spend_log_kind CHECK ({_LAW.format(day=day)}){how}")
