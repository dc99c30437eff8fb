"""Operations: what a person changed of one row or of many, to be previewed, followed and taken back; the trail names them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "operation",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undo_of", sa.BigInteger(), nullable=True),
        sa.Column("starts", sa.BigInteger(), nullable=True),
        sa.Column("stops", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('pause', 'resume', 'budget', 'schedule', 'archive', 'unarchive', 'change', 'import', 'undo')",
            name=op.f("ck_operation_kind"),
        ),
        sa.CheckConstraint("state IN ('draft', 'applying', 'done')", name=op.f("ck_operation_state")),
        sa.CheckConstraint(
            "(begun_at IS NULL) = (state = 'draft') AND (ended_at IS NULL) = (state <> 'done')",
            name=op.f("ck_operation_times"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operation")),
        sa.ForeignKeyConstraint(["undo_of"], ["operation.id"], name=op.f("fk_operation_undo_of")),
    )
    op.create_index("ix_operation_open", "operation", ["id"], postgresql_where=sa.text("state <> 'done'"))
    op.create_index("ix_operation_undo_of", "operation", ["undo_of"], postgresql_where=sa.text("undo_of IS NOT NULL"))
    op.create_table(
        "operation_item",
        sa.Column("operation_id", sa.BigInteger(), nullable=False),
        sa.Column("no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.BigInteger(), nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("changes", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("after_version", sa.BigInteger(), nullable=True),
        sa.Column("line", sa.Integer(), nullable=True),
        sa.CheckConstraint("entity IN ('brand', 'campaign')", name=op.f("ck_operation_item_entity")),
        sa.CheckConstraint("state IN ('ready', 'skipped', 'done')", name=op.f("ck_operation_item_state")),
        sa.CheckConstraint("(after_version IS NOT NULL) = (state = 'done')", name=op.f("ck_operation_item_after")),
        sa.CheckConstraint("(why IS NOT NULL) = (state = 'skipped')", name=op.f("ck_operation_item_why")),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operation.id"], name=op.f("fk_operation_item_operation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("operation_id", "no", name=op.f("pk_operation_item")),
    )
    op.create_index(
        "ix_operation_item_ready", "operation_item", ["operation_id", "no"], postgresql_where=sa.text("state = 'ready'")
    )
    op.create_index("ix_operation_item_brand_id", "operation_item", ["brand_id", "operation_id"])
    op.add_column("catalog_change", sa.Column("operation_id", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_catalog_change_operation_id",
        "catalog_change",
        ["operation_id"],
        postgresql_where=sa.text("operation_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_catalog_change_operation_id", "catalog_change")
    op.drop_column("catalog_change", "operation_id")
    op.drop_table("operation_item")
    op.drop_table("operation")
