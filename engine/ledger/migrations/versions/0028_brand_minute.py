"""What each brand spent a minute, filled from the rows of the last days."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0026"
branch_labels = None
depends_on = None

# The minute is that of the row; of a late spend, that at which it occurred, as `minutes.minute_of` says.
_FILL = """
INSERT INTO brand_minute (day, brand_id, at, spend_micros)
SELECT s.day, s.brand_id,
       date_trunc('minute', CASE WHEN (s.recorded_at AT TIME ZONE z.name)::date <> s.day
                  AND (s.occurred_at AT TIME ZONE z.name)::date = s.day THEN s.occurred_at ELSE s.recorded_at END),
       sum(s.amount_micros)::bigint
FROM spend AS s LEFT JOIN brand AS b ON b.id = s.brand_id
CROSS JOIN LATERAL (SELECT coalesce(b.time_zone, 'UTC') AS name) AS z
WHERE s.day >= (now() AT TIME ZONE 'UTC')::date - 8
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


def upgrade() -> None:
    # A transaction that began before would bring rows that the filling does not see.
    op.execute("LOCK TABLE spend_log, spend_pack IN SHARE MODE")
    op.create_table(
        "brand_minute",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("brand_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("spend_micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "brand_id", "at", name=op.f("pk_brand_minute")),
        postgresql_with={"fillfactor": "80"},
    )
    op.execute(_FILL)


def downgrade() -> None:
    op.drop_table("brand_minute")
