"""Budgets of a campaign: daily, monthly and lifetime. NULL is no limit, so every campaign of before has none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_BUDGETS = ("daily_budget", "monthly_budget", "lifetime_budget")


def upgrade() -> None:
    for name in _BUDGETS:
        op.add_column("campaign", sa.Column(f"{name}_micros", sa.BigInteger(), nullable=True))
        law = f"{name}_micros BETWEEN 0 AND 9000000000000000"
        op.create_check_constraint(op.f(f"ck_campaign_{name}"), "campaign", law)
    limited = " OR ".join(f"{name}_micros IS NOT NULL" for name in _BUDGETS)
    op.create_index("ix_campaign_limited", "campaign", ["id"], postgresql_where=sa.text(limited))


def downgrade() -> None:
    op.drop_index("ix_campaign_limited", table_name="campaign")
    for name in reversed(_BUDGETS):
        op.drop_constraint(op.f(f"ck_campaign_{name}"), "campaign")
        op.drop_column("campaign", f"{name}_micros")
