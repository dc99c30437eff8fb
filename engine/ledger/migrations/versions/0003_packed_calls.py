"""Rows of packed calls whose log does not add up."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TODAY = "day = (recorded_at AT TIME ZONE 'UTC')::date"
_SPENT = f"CASE WHEN kind IN ('spend', 'late', 'over') THEN amount_micros BETWEEN 1 AND 1000000000000 AND {_TODAY}"
_SUMS = f" WHEN kind = 'unitemised' THEN amount_micros BETWEEN 1 AND 1000000000000000 AND {_TODAY}"
_GIVEN_BACK = " WHEN kind IN ('refund', 'correction') THEN amount_micros BETWEEN -1000000000000 AND -1 ELSE false END"


def upgrade() -> None:
    op.drop_constraint(op.f("ck_spend_log_kind"), "spend_log", type_="check")
    op.create_check_constraint(op.f("ck_spend_log_kind"), "spend_log", _SPENT + _SUMS + _GIVEN_BACK)


def downgrade() -> None:
    op.drop_constraint(op.f("ck_spend_log_kind"), "spend_log", type_="check")
    op.create_check_constraint(op.f("ck_spend_log_kind"), "spend_log", _SPENT + _GIVEN_BACK)
