"""Users who log in with an OpenID provider, by what it calls them, and logins of persons without a role."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("app_user", sa.Column("subject", sa.Text(), nullable=True))
    op.create_unique_constraint(op.f("uq_app_user_subject"), "app_user", ["subject"])
    op.drop_constraint(op.f("ck_login_event_outcome"), "login_event")
    _outcomes("'in', 'wrong', 'disabled', 'no role'")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_login_event_outcome"), "login_event")
    op.execute("DELETE FROM login_event WHERE outcome = 'no role'")
    _outcomes("'in', 'wrong', 'disabled'")
    op.drop_constraint(op.f("uq_app_user_subject"), "app_user")
    op.drop_column("app_user", "subject")


def _outcomes(names: str) -> None:
    op.create_check_constraint(op.f("ck_login_event_outcome"), "login_event", f"outcome IN ({names})")
