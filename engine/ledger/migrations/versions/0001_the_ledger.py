"""The ledger: every table, the row that names the installation, and a cursor for each of the 64 shards."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "brand",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True, maxvalue=137438953471), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("daily_budget_micros", sa.BigInteger(), nullable=True),
        sa.Column("monthly_budget_micros", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("published_version", sa.Integer(), nullable=True),
        sa.Column("next_ordinal", sa.Integer(), server_default="1", nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "char_length(name) BETWEEN 1 AND 200 AND name ~ '\\S' AND name !~ '[\\x01-\\x1f\\x7f]'",
            name=op.f("ck_brand_name"),
        ),
        sa.CheckConstraint("external_id ~ '^[A-Za-z0-9._:/+=@~-]{1,64}$'", name=op.f("ck_brand_external_id")),
        sa.CheckConstraint("daily_budget_micros BETWEEN 0 AND 9000000000000000", name=op.f("ck_brand_daily_budget")),
        sa.CheckConstraint(
            "monthly_budget_micros BETWEEN 0 AND 9000000000000000", name=op.f("ck_brand_monthly_budget")
        ),
        sa.CheckConstraint("next_ordinal BETWEEN 1 AND 65536", name=op.f("ck_brand_next_ordinal")),
        sa.PrimaryKeyConstraint("id", name="pk_brand"),
        sa.UniqueConstraint("external_id", name="uq_brand_external_id"),
        sa.UniqueConstraint("name", name="uq_brand_name"),
    )
    op.create_index(
        "ix_brand_unpublished", "brand", ["id"], postgresql_where=sa.text("published_version IS DISTINCT FROM version")
    )
    op.create_table(
        "campaign_day",
        sa.Column("campaign_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=False),
        sa.Column("spend_micros", sa.BigInteger(), nullable=False),
        sa.Column("spends", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("campaign_id / 65536 = brand_id", name=op.f("ck_campaign_day_home")),
        sa.CheckConstraint("spends >= 0", name=op.f("ck_campaign_day_spends")),
        sa.PrimaryKeyConstraint("campaign_id", "day", name="pk_campaign_day"),
    )
    op.create_index("ix_campaign_day_brand_id_day", "campaign_day", ["brand_id", "day"])
    op.create_index("ix_campaign_day_day", "campaign_day", ["day"])
    op.create_table(
        "catalog_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.BigInteger(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("old", sa.Text(), nullable=True),
        sa.Column("new", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint("entity IN ('brand', 'campaign')", name=op.f("ck_catalog_change_entity")),
        sa.PrimaryKeyConstraint("id", name="pk_catalog_change"),
    )
    op.create_index("ix_catalog_change_entity_entity_id_id", "catalog_change", ["entity", "entity_id", "id"])
    op.create_table(
        "instance",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_instance_one_row")),
        sa.PrimaryKeyConstraint("id", name="pk_instance"),
    )
    op.create_table(
        "job_run",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), server_default="running", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint("(outcome = 'running') = (finished_at IS NULL)", name=op.f("ck_job_run_finished")),
        sa.CheckConstraint("outcome IN ('running', 'done', 'failed', 'waiting')", name=op.f("ck_job_run_outcome")),
        sa.PrimaryKeyConstraint("id", name="pk_job_run"),
    )
    op.create_index("ix_job_run_job_id", "job_run", ["job", "id"])
    op.create_table(
        "journal_cursor",
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_id", sa.Text(), server_default="0-0", nullable=False),
        sa.Column("n", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("generation", sa.Integer(), server_default="0", nullable=False),
        sa.Column("safe_entry_id", sa.Text(), server_default="0-0", nullable=False),
        sa.Column("next_entry_id", sa.Text(), server_default="0-0", nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("stopped", sa.Text(), nullable=True),
        sa.CheckConstraint("n >= 0", name=op.f("ck_journal_cursor_n")),
        sa.CheckConstraint("shard BETWEEN 0 AND 63", name=op.f("ck_journal_cursor_shard")),
        sa.PrimaryKeyConstraint("shard", name="pk_journal_cursor"),
    )
    op.create_table(
        "mixed_request",
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("outcomes", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("shard", "generation", "n", name="pk_mixed_request"),
    )
    op.create_index("ix_mixed_request_recorded_at", "mixed_request", ["recorded_at"])
    op.create_table(
        "shard_close",
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "period = 'day' OR (period = 'month' AND EXTRACT(day FROM starts_on) = 1)",
            name=op.f("ck_shard_close_period"),
        ),
        sa.CheckConstraint("shard BETWEEN 0 AND 63", name=op.f("ck_shard_close_shard")),
        sa.PrimaryKeyConstraint("shard", "period", "starts_on", name="pk_shard_close"),
    )
    op.create_table(
        "spend_log",
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("kind", sa.Text(), server_default="spend", nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "CASE kind WHEN 'spend' THEN amount_micros BETWEEN 1 AND 1000000000000 AND day = (recorded_at AT TIME ZONE 'UTC')::date ELSE kind IN ('refund', 'correction', 'late') END",
            name=op.f("ck_spend_log_kind"),
        ),
        sa.CheckConstraint(
            "campaign_id / 65536 = brand_id AND shard = mod(brand_id, 64)", name=op.f("ck_spend_log_home")
        ),
        postgresql_partition_by="RANGE (day)",
    )
    op.create_index("ix_spend_log_brand_id_recorded_at", "spend_log", ["brand_id", "recorded_at"])
    op.create_index("ix_spend_log_campaign_id_recorded_at", "spend_log", ["campaign_id", "recorded_at"])
    op.create_index(
        "ix_spend_log_recorded_at",
        "spend_log",
        ["recorded_at"],
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    )
    op.create_table(
        "campaign",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("brand_id", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("status", sa.Text(), server_default="paused", nullable=False),
        sa.Column("reasons", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
        sa.Column("schedule", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("published_version", sa.Integer(), nullable=True),
        sa.Column("switched_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "char_length(name) BETWEEN 1 AND 200 AND name ~ '\\S' AND name !~ '[\\x01-\\x1f\\x7f]'",
            name=op.f("ck_campaign_name"),
        ),
        sa.CheckConstraint("external_id ~ '^[A-Za-z0-9._:/+=@~-]{1,64}$'", name=op.f("ck_campaign_external_id")),
        sa.CheckConstraint(
            "status = 'paused' OR cardinality(reasons) = 0", name=op.f("ck_campaign_active_without_reasons")
        ),
        sa.CheckConstraint("status IN ('active', 'paused')", name=op.f("ck_campaign_status")),
        sa.CheckConstraint("id = brand_id * 65536 + ordinal", name=op.f("ck_campaign_id")),
        sa.CheckConstraint("ordinal BETWEEN 1 AND 65535", name=op.f("ck_campaign_ordinal")),
        sa.ForeignKeyConstraint(["brand_id"], ["brand.id"], name="fk_campaign_brand_id"),
        sa.PrimaryKeyConstraint("id", name="pk_campaign"),
        sa.UniqueConstraint("brand_id", "name", name="uq_campaign_brand_id_name"),
        sa.UniqueConstraint("brand_id", "ordinal", name="uq_campaign_brand_id_ordinal"),
        sa.UniqueConstraint("external_id", name="uq_campaign_external_id"),
    )
    op.create_index(
        "ix_campaign_unpublished",
        "campaign",
        ["brand_id"],
        postgresql_where=sa.text("published_version IS DISTINCT FROM version"),
    )
    op.create_table(
        "period_total",
        sa.Column("brand_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("spend_micros", sa.BigInteger(), nullable=False),
        sa.Column("budget_micros", sa.BigInteger(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "period = 'day' OR (period = 'month' AND EXTRACT(day FROM starts_on) = 1)",
            name=op.f("ck_period_total_period"),
        ),
        sa.ForeignKeyConstraint(["brand_id"], ["brand.id"], name="fk_period_total_brand_id"),
        sa.PrimaryKeyConstraint("brand_id", "period", "starts_on", name="pk_period_total"),
    )
    op.create_index("ix_period_total_period_starts_on", "period_total", ["period", "starts_on"])
    op.create_table(
        "status_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reasons", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(status = 'active') = (cardinality(reasons) = 0)", name=op.f("ck_status_change_reasons")),
        sa.CheckConstraint("status IN ('active', 'paused')", name=op.f("ck_status_change_status")),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name="fk_status_change_campaign_id"),
        sa.PrimaryKeyConstraint("id", name="pk_status_change"),
    )
    op.create_index("ix_status_change_at", "status_change", ["at"])
    op.create_index("ix_status_change_campaign_id_at", "status_change", ["campaign_id", "at"])
    op.execute("INSERT INTO instance (id, uuid) VALUES (1, gen_random_uuid())")
    op.execute("INSERT INTO journal_cursor (shard) SELECT generate_series(0, 63)")


def downgrade() -> None:
    for table in (
        "status_change",
        "period_total",
        "campaign",
        "spend_log",
        "shard_close",
        "mixed_request",
        "journal_cursor",
        "job_run",
        "instance",
        "catalog_change",
        "campaign_day",
        "brand",
    ):
        op.drop_table(table)
