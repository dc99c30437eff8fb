"""Activity: which brands an operation is of, why it was made, what was wrong in its file, and indexes to page through all trails by time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0030"
branch_labels = None
depends_on = None

_ALONE = sa.text("operation_id IS NULL")


def upgrade() -> None:
    op.add_column("operation", sa.Column("note", sa.Text(), nullable=True))
    op.add_column("operation", sa.Column("same", sa.Integer(), nullable=True))
    op.create_table(
        "operation_brand",
        sa.Column("operation_id", sa.BigInteger(), nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operation.id"], name=op.f("fk_operation_brand_operation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("operation_id", "brand_id", name=op.f("pk_operation_brand")),
    )
    op.execute(
        "INSERT INTO operation_brand (operation_id, brand_id, begun_at, rows) SELECT o.id, i.brand_id, o.begun_at,"
        " count(*) FILTER (WHERE i.state <> 'skipped') FROM operation AS o JOIN operation_item AS i ON i.operation_id = o.id"
        " WHERE o.begun_at IS NOT NULL GROUP BY o.id, i.brand_id"
    )
    op.create_index("ix_operation_brand_begun_at", "operation_brand", ["brand_id", "begun_at", "operation_id"])
    op.create_table(
        "operation_wrong",
        sa.Column("operation_id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operation.id"], name=op.f("fk_operation_wrong_operation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("operation_id", "line", name=op.f("pk_operation_wrong")),
    )
    begun = sa.text("begun_at IS NOT NULL")
    op.create_index("ix_operation_begun_at", "operation", ["begun_at", "id"], postgresql_where=begun)
    op.create_index("ix_operation_actor", "operation", ["actor", "begun_at", "id"], postgresql_where=begun)
    op.add_column("catalog_change", sa.Column("brand_id", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE catalog_change SET brand_id = CASE entity WHEN 'brand' THEN entity_id ELSE entity_id / 65536 END"
        " WHERE entity IN ('brand', 'campaign')"
    )
    op.create_index("ix_catalog_change_at", "catalog_change", ["at", "id"], postgresql_where=_ALONE)
    op.create_index("ix_catalog_change_actor", "catalog_change", ["actor", "at", "id"], postgresql_where=_ALONE)
    op.create_index("ix_catalog_change_brand", "catalog_change", ["brand_id", "at", "id"], postgresql_where=_ALONE)
    op.create_index(
        "ix_catalog_change_notes", "catalog_change", ["at", "id"], postgresql_where=sa.text("field = 'note'")
    )
    op.drop_index("ix_status_change_at", "status_change")
    op.create_index("ix_status_change_at", "status_change", ["at", "id"])
    op.create_index("ix_status_change_actor", "status_change", ["actor", "at", "id"])
    op.create_index("ix_status_change_brand", "status_change", [sa.text("(campaign_id / 65536)"), "at", "id"])
    op.create_index("ix_login_event_name", "login_event", ["name", "at", "id"])


def downgrade() -> None:
    op.drop_index("ix_login_event_name", "login_event")
    op.drop_index("ix_status_change_brand", "status_change")
    op.drop_index("ix_status_change_actor", "status_change")
    op.drop_index("ix_status_change_at", "status_change")
    op.create_index("ix_status_change_at", "status_change", ["at"])
    for name in ("notes", "brand", "actor", "at"):
        op.drop_index(f"ix_catalog_change_{name}", "catalog_change")
    op.drop_column("catalog_change", "brand_id")
    op.drop_index("ix_operation_actor", "operation")
    op.drop_index("ix_operation_begun_at", "operation")
    op.drop_table("operation_wrong")
    op.drop_table("operation_brand")
    op.drop_column("operation", "same")
    op.drop_column("operation", "note")
