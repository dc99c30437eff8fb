"""Tokens of programs: hashed, with scopes and brands, and when each was last used or revoked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0032"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_token",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("brands", postgresql.ARRAY(sa.BigInteger()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("length(token_hash) = 64", name=op.f("ck_api_token_token_hash")),
        sa.CheckConstraint(
            "cardinality(scopes) > 0 AND scopes <@ ARRAY['spend', 'read', 'write', 'admin']",
            name=op.f("ck_api_token_scopes"),
        ),
        sa.CheckConstraint(
            "brands IS NULL OR (cardinality(brands) > 0 AND NOT 'admin' = ANY (scopes))",
            name=op.f("ck_api_token_brands"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_token_token_hash")),
    )
    op.drop_constraint(op.f("ck_catalog_change_entity"), "catalog_change")
    _entities("'brand', 'campaign', 'user', 'token'")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_catalog_change_entity"), "catalog_change")
    op.execute("DELETE FROM catalog_change WHERE entity = 'token'")
    _entities("'brand', 'campaign', 'user'")
    op.drop_table("api_token")


def _entities(names: str) -> None:
    op.create_check_constraint(op.f("ck_catalog_change_entity"), "catalog_change", f"entity IN ({names})")
