"""Which days of the spend log were exported, where, and when their files were last verified."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "exported_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.Column("manifest_sha256", sa.Text(), nullable=False),
        sa.Column("exported_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("rows >= 0", name=op.f("ck_exported_day_rows")),
        sa.CheckConstraint("manifest_sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_exported_day_manifest_sha256")),
        sa.PrimaryKeyConstraint("day", "place", name=op.f("pk_exported_day")),
    )


def downgrade() -> None:
    op.drop_table("exported_day")
