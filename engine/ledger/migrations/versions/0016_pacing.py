"""Pacing of brands and campaigns: its mode and catch-up, what stands in the plan, and the curves that people gave or the log taught."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0019"
branch_labels = None
depends_on = None

_TABLES = ("brand", "campaign")


def upgrade() -> None:
    for table in _TABLES:
        # The constant defaults are kept in the catalog of PostgreSQL, so the tables are not rewritten.
        op.add_column(table, sa.Column("pacing", sa.Text(), server_default="asap", nullable=False))
        op.add_column(table, sa.Column("catch_up", sa.Text(), server_default="300", nullable=False))
        op.add_column(
            table,
            sa.Column("pace", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
        )
    op.create_table(
        "curve",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("weekday", sa.SmallInteger(), nullable=False),
        sa.Column("points", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", "weekday", name=op.f("pk_curve")),
        sa.CheckConstraint("weekday BETWEEN 0 AND 7", name=op.f("ck_curve_weekday")),
        sa.CheckConstraint(r"points ~ '^(\d{12}){2,50}$'", name=op.f("ck_curve_points")),
    )


def downgrade() -> None:
    op.drop_table("curve")
    for table in _TABLES:
        for column in ("pace", "catch_up", "pacing"):
            op.drop_column(table, column)
