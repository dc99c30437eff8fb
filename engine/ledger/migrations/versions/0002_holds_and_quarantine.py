"""Holds and their ends, refunds and late settles in the log, corrections of counters, and the quarantine of entries that cannot be persisted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KINDS = (
    "CASE WHEN kind IN ('spend', 'late', 'over') THEN amount_micros BETWEEN 1 AND 1000000000000"
    " AND day = (recorded_at AT TIME ZONE 'UTC')::date"
    " WHEN kind IN ('refund', 'correction') THEN amount_micros BETWEEN -1000000000000 AND -1 ELSE false END"
)
_KINDS_BEFORE = (
    "CASE kind WHEN 'spend' THEN amount_micros BETWEEN 1 AND 1000000000000 AND day = (recorded_at AT TIME ZONE 'UTC')::date"
    " ELSE kind IN ('refund', 'correction', 'late') END"
)


def upgrade() -> None:
    op.add_column("spend_log", sa.Column("hold_id", sa.Text(), nullable=True))
    op.drop_constraint(op.f("ck_spend_log_kind"), "spend_log", type_="check")
    op.create_check_constraint(op.f("ck_spend_log_kind"), "spend_log", _KINDS)
    op.create_table(
        "hold",
        sa.Column("campaign_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hold_id", sa.Text(), nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=False),
        sa.Column("held_micros", sa.BigInteger(), nullable=False),
        sa.Column("settled_micros", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reserved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("campaign_id / 65536 = brand_id", name=op.f("ck_hold_home")),
        sa.CheckConstraint(
            "state IN ('open', 'settled', 'over', 'late', 'released', 'expired')", name=op.f("ck_hold_state")
        ),
        sa.CheckConstraint("(state = 'open') = (ended_at IS NULL)", name=op.f("ck_hold_ended")),
        sa.PrimaryKeyConstraint("campaign_id", "hold_id", name="pk_hold"),
    )
    op.create_index("ix_hold_open", "hold", ["brand_id"], postgresql_where=sa.text("state = 'open'"))
    op.create_index("ix_hold_ended_at", "hold", ["ended_at"])
    op.create_table(
        "counter_correction",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=True),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("difference_micros", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counter_correction"),
    )
    op.create_index("ix_counter_correction_recorded_at", "counter_correction", ["recorded_at"])
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=True),
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("fields", postgresql.JSONB(), nullable=False),
        sa.Column("sums", postgresql.JSONB(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'persisted', 'dropped')", name=op.f("ck_quarantine_state")),
        sa.CheckConstraint("(state = 'waiting') = (ended_at IS NULL)", name=op.f("ck_quarantine_ended")),
        sa.PrimaryKeyConstraint("id", name="pk_quarantine"),
    )
    op.create_index("ix_quarantine_waiting", "quarantine", ["shard"], postgresql_where=sa.text("state <> 'persisted'"))


def downgrade() -> None:
    op.drop_table("quarantine")
    op.drop_table("counter_correction")
    op.drop_table("hold")
    op.drop_constraint(op.f("ck_spend_log_kind"), "spend_log", type_="check")
    op.execute("DELETE FROM spend_log WHERE kind IN ('late', 'over', 'refund', 'correction')")
    op.create_check_constraint(op.f("ck_spend_log_kind"), "spend_log", _KINDS_BEFORE)
    op.drop_column("spend_log", "hold_id")
