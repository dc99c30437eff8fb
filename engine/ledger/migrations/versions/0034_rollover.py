"""The cap of a brand's rollover, and what its days began with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("brand", sa.Column("rollover_cap_micros", sa.BigInteger(), nullable=True))
    law = "rollover_cap_micros BETWEEN 1 AND 9000000000000000"
    op.create_check_constraint(op.f("ck_brand_rollover_cap"), "brand", law)
    op.create_table(
        "brand_carry",
        sa.Column("brand_id", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("left_micros", sa.BigInteger(), nullable=False),
        sa.Column("before_micros", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("brand_id", "n", name=op.f("pk_brand_carry")),
        sa.CheckConstraint("left_micros BETWEEN 0 AND 9000000000000000", name=op.f("ck_brand_carry_left")),
        sa.CheckConstraint("before_micros BETWEEN 0 AND 9000000000000000", name=op.f("ck_brand_carry_before")),
    )
    op.create_index(op.f("ix_brand_carry_brand_id_day"), "brand_carry", ["brand_id", "day"])


def downgrade() -> None:
    op.drop_table("brand_carry")
    op.drop_constraint(op.f("ck_brand_rollover_cap"), "brand")
    op.drop_column("brand", "rollover_cap_micros")
