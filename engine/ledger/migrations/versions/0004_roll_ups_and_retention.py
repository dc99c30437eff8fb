"""Hourly roll-ups, filled from the rows that are there, and the sums of days whose rows were dropped."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Money taken away from an earlier day is in that day's last hour, as `spend_log.hour_of` says.
_FILL = """
INSERT INTO campaign_hour (day, campaign_id, hour, brand_id, spend_micros, spends)
SELECT day, campaign_id,
       CASE WHEN day = (recorded_at AT TIME ZONE 'UTC')::date THEN EXTRACT(hour FROM recorded_at AT TIME ZONE 'UTC')::smallint ELSE 23 END,
       brand_id, sum(amount_micros)::bigint, count(*) FILTER (WHERE amount_micros > 0)
FROM spend_log GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3
"""


def upgrade() -> None:
    # A transaction that began before would bring rows that the filling does not see.
    op.execute("LOCK TABLE spend_log IN SHARE MODE")
    op.create_table(
        "campaign_hour",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hour", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=False),
        sa.Column("spend_micros", sa.BigInteger(), nullable=False),
        sa.Column("spends", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("campaign_id / 65536 = brand_id", name=op.f("ck_campaign_hour_home")),
        sa.CheckConstraint("hour BETWEEN 0 AND 23", name=op.f("ck_campaign_hour_hour")),
        sa.CheckConstraint("spends >= 0", name=op.f("ck_campaign_hour_spends")),
        sa.PrimaryKeyConstraint("day", "campaign_id", "hour", name="pk_campaign_hour"),
    )
    op.execute(_FILL)
    op.create_table(
        "dropped_day",
        sa.Column("brand_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("spend_micros", sa.BigInteger(), nullable=False),
        sa.Column("correction_micros", sa.BigInteger(), nullable=False),
        sa.Column("after_month_micros", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("dropped_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("brand_id", "day", name="pk_dropped_day"),
    )
    op.create_index("ix_dropped_day_day", "dropped_day", ["day"])


def downgrade() -> None:
    op.drop_table("dropped_day")
    op.drop_table("campaign_hour")
