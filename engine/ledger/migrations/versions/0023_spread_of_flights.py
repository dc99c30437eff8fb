"""How a flight's budget is spread over its days."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The constant default is kept in the catalog of PostgreSQL, so the table is not rewritten.
    op.add_column("flight", sa.Column("spread", sa.Text(), server_default=sa.text("'asap'"), nullable=False))
    op.create_check_constraint(op.f("ck_flight_spread"), "flight", "spread IN ('even', 'asap', 'none')")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_flight_spread"), "flight", type_="check")
    op.drop_column("flight", "spread")
