"""Flights of a campaign: what was agreed, what stands in the plan, and to which flight each journal entry's spends belong."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The constant default is kept in the catalog of PostgreSQL, so the table is not rewritten.
    op.add_column(
        "campaign",
        sa.Column("flights", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
    )
    op.add_column("campaign", sa.Column("last_flight", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "flight",
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("no", sa.Integer(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("budget_micros", sa.BigInteger(), nullable=True),
        sa.Column("carries", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "no", name=op.f("pk_flight")),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_flight_campaign_id")),
        sa.CheckConstraint("no BETWEEN 1 AND 65535", name=op.f("ck_flight_no")),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_flight_ends")),
        sa.CheckConstraint("budget_micros BETWEEN 0 AND 9000000000000000", name=op.f("ck_flight_budget")),
    )
    op.create_index(op.f("ix_flight_ends_at"), "flight", ["ends_at"])
    op.create_table(
        "flight_entry",
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("flight", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("spend_micros", sa.BigInteger(), nullable=False),
    )
    op.create_index(op.f("ix_flight_entry_campaign_id_n"), "flight_entry", ["campaign_id", "n"])
    op.create_index(op.f("ix_flight_entry_day"), "flight_entry", ["day"])
    op.create_table(
        "flight_total",
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("flight", sa.Integer(), nullable=False),
        sa.Column("spend_micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "flight", name=op.f("pk_flight_total")),
    )


def downgrade() -> None:
    op.drop_table("flight_total")
    op.drop_table("flight_entry")
    op.drop_table("flight")
    op.drop_column("campaign", "last_flight")
    op.drop_column("campaign", "flights")
