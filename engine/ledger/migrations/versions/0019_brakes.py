"""The brake of a campaign: a limit for a minute, a breaker, and the breakers that opened."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("campaign", sa.Column("rate_limit_micros", sa.BigInteger(), nullable=True))
    op.add_column("campaign", sa.Column("breaker_micros", sa.BigInteger(), nullable=True))
    # The constant default is kept in the catalog of PostgreSQL, so the table is not rewritten.
    op.add_column("campaign", sa.Column("breaker_round", sa.Integer(), server_default="0", nullable=False))
    op.add_column("campaign", sa.Column("breaker_closed_at", sa.DateTime(timezone=True), nullable=True))
    for name in ("rate_limit", "breaker"):
        law = f"{name}_micros BETWEEN 1 AND 9000000000000000"
        op.create_check_constraint(op.f(f"ck_campaign_{name}"), "campaign", law)
    op.create_table(
        "breaker_trip",
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("spend_micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "round", name=op.f("pk_breaker_trip")),
        sa.CheckConstraint("round >= 0", name=op.f("ck_breaker_trip_round")),
        sa.CheckConstraint("spend_micros >= 0", name=op.f("ck_breaker_trip_spend")),
    )
    op.create_index(op.f("ix_breaker_trip_at"), "breaker_trip", ["at"])


def downgrade() -> None:
    op.drop_table("breaker_trip")
    for name in ("breaker", "rate_limit"):
        op.drop_constraint(op.f(f"ck_campaign_{name}"), "campaign")
    for column in ("breaker_closed_at", "breaker_round", "breaker_micros", "rate_limit_micros"):
        op.drop_column("campaign", column)
