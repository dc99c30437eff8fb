"""Changes of curves are in the audit trail."""

from __future__ import annotations

from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

_BEFORE = "'brand', 'campaign', 'user', 'token', 'alert', 'webhook'"


def upgrade() -> None:
    _allow(f"{_BEFORE}, 'curve'")


def downgrade() -> None:
    op.execute("DELETE FROM catalog_change WHERE entity = 'curve'")
    _allow(_BEFORE)


def _allow(names: str) -> None:
    op.drop_constraint(op.f("ck_catalog_change_entity"), "catalog_change")
    op.create_check_constraint(op.f("ck_catalog_change_entity"), "catalog_change", f"entity IN ({names})")
