"""Users of the console, whose sessions they are, the login log, and counts of wrong passwords that all processes share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0025"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "app_user",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("brands", postgresql.ARRAY(sa.BigInteger()), nullable=True),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name=op.f("ck_app_user_role")),
        sa.CheckConstraint(
            "brands IS NULL OR (cardinality(brands) > 0 AND role <> 'admin')", name=op.f("ck_app_user_brands")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app_user")),
        sa.UniqueConstraint("name_key", name=op.f("uq_app_user_name_key")),
    )
    op.add_column("user_session", sa.Column("user_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(op.f("fk_user_session_user_id"), "user_session", "app_user", ["user_id"], ["id"])
    op.create_index("ix_user_session_user_id", "user_session", ["user_id"])
    op.create_table(
        "login_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("outcome IN ('in', 'wrong', 'disabled')", name=op.f("ck_login_event_outcome")),
        sa.ForeignKeyConstraint(["user_id"], ["app_user.id"], name=op.f("fk_login_event_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_event")),
    )
    op.create_index("ix_login_event_at", "login_event", ["at"])
    op.create_table(
        "login_count",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_login_count")),
    )
    op.create_index("ix_login_count_at", "login_count", ["at"])
    op.drop_constraint(op.f("ck_catalog_change_entity"), "catalog_change")
    _entities("'brand', 'campaign', 'user'")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_catalog_change_entity"), "catalog_change")
    op.execute("DELETE FROM catalog_change WHERE entity = 'user'")
    _entities("'brand', 'campaign'")
    op.drop_table("login_count")
    op.drop_table("login_event")
    op.drop_index("ix_user_session_user_id", "user_session")
    op.drop_constraint(op.f("fk_user_session_user_id"), "user_session")
    # A session of a user would be one of the shared password without its user.
    op.execute("DELETE FROM user_session WHERE user_id IS NOT NULL")
    op.drop_column("user_session", "user_id")
    op.drop_table("app_user")


def _entities(names: str) -> None:
    op.create_check_constraint(op.f("ck_catalog_change_entity"), "catalog_change", f"entity IN ({names})")
