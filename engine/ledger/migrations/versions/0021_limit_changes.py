"""Scheduled changes of limits, and what stands of them in the plans of brands and campaigns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The constant default is kept in the catalog of PostgreSQL, so the tables are not rewritten.
    for table in ("brand", "campaign"):
        op.add_column(
            table,
            sa.Column("steps", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
        )
    op.create_table(
        "limit_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=True),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value_micros", sa.BigInteger(), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("before_micros", sa.BigInteger(), nullable=True),
        sa.Column("over_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_limit_change")),
        sa.ForeignKeyConstraint(["brand_id"], ["brand.id"], name=op.f("fk_limit_change_brand_id")),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_limit_change_campaign_id")),
        sa.CheckConstraint("period IN ('daily', 'monthly')", name=op.f("ck_limit_change_period")),
        sa.CheckConstraint(
            "kind IN ('set', 'add', 'percent') AND (kind = 'set' OR value_micros IS NOT NULL)",
            name=op.f("ck_limit_change_kind"),
        ),
        sa.CheckConstraint(
            "value_micros BETWEEN -9000000000000000 AND 9000000000000000", name=op.f("ck_limit_change_value")
        ),
        sa.CheckConstraint("before_micros BETWEEN 0 AND 9000000000000000", name=op.f("ck_limit_change_before")),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_limit_change_ends")),
        sa.CheckConstraint("(next_at IS NULL) = (over_at IS NOT NULL)", name=op.f("ck_limit_change_next")),
        sa.CheckConstraint("campaign_id / 65536 = brand_id", name=op.f("ck_limit_change_campaign")),
    )
    op.create_index(
        op.f("ix_limit_change_next_at"), "limit_change", ["next_at"], postgresql_where=sa.text("next_at IS NOT NULL")
    )
    op.create_index(op.f("ix_limit_change_brand_id"), "limit_change", ["brand_id", "campaign_id"])


def downgrade() -> None:
    op.drop_table("limit_change")
    for table in ("campaign", "brand"):
        op.drop_column(table, "steps")
