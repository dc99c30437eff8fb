"""Refunds, once for good: a row for each, filled from the refunds that the log has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# What a log of an older version gave back of one event more than once is one row with the sum of it.
_FILL = """
INSERT INTO refund (brand_id, event_id, refund_id, campaign_id, micros, day, state, told, asked_at, asked_n, ended_at)
SELECT brand_id, event_id, '', min(campaign_id), -sum(amount_micros)::bigint, max(day), 'applied', true, min(recorded_at), min(n), min(recorded_at)
FROM spend_log WHERE kind IN ('refund', 'correction') AND event_id IS NOT NULL GROUP BY 1, 2
"""


def upgrade() -> None:
    # A transaction that began before would bring refunds that the filling does not see.
    op.execute("LOCK TABLE spend_log IN SHARE MODE")
    op.create_table(
        "refund",
        sa.Column("brand_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("refund_id", sa.Text(), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked_n", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tried_ms", sa.BigInteger(), nullable=True),
        sa.Column("check_n", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("campaign_id / 65536 = brand_id", name=op.f("ck_refund_home")),
        sa.CheckConstraint("micros >= 1", name=op.f("ck_refund_micros")),
        sa.CheckConstraint("state IN ('waiting', 'approved', 'refused', 'applied')", name=op.f("ck_refund_state")),
        sa.CheckConstraint("state = 'refused' OR cause IS NULL", name=op.f("ck_refund_cause")),
        sa.CheckConstraint("(state IN ('waiting', 'approved')) = (ended_at IS NULL)", name=op.f("ck_refund_ended")),
        sa.PrimaryKeyConstraint("brand_id", "event_id", "refund_id", name="pk_refund"),
    )
    op.create_index(
        "ix_refund_open",
        "refund",
        ["asked_at"],
        postgresql_where=sa.text("state IN ('waiting', 'approved') OR NOT told"),
    )
    op.create_index("ix_refund_refused", "refund", ["asked_at"], postgresql_where=sa.text("state = 'refused'"))
    op.execute(_FILL)


def downgrade() -> None:
    op.drop_table("refund")
