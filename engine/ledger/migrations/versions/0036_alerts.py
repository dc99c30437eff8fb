"""Alerts: rules that differ from the built-in ones, alerts one row a round, and what is muted. The trail has changes of rules and webhooks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0036"
down_revision = "0038"
branch_labels = None
depends_on = None

_KINDS = "kind IN ('daily', 'monthly', 'projected', 'under', 'silence', 'spike', 'breaker', 'health')"


def upgrade() -> None:
    op.create_table(
        "alert_rule",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("brand_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("levels", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.CheckConstraint(_KINDS, name=op.f("ck_alert_rule_kind")),
        sa.CheckConstraint("brand_id >= 0 AND (kind <> 'health' OR brand_id = 0)", name=op.f("ck_alert_rule_brand_id")),
        sa.PrimaryKeyConstraint("kind", "brand_id", name=op.f("pk_alert_rule")),
    )
    op.create_table(
        "alert_mute",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("muted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("muted_by", sa.Text(), nullable=False),
        sa.CheckConstraint(_KINDS, name=op.f("ck_alert_mute_kind")),
        sa.PrimaryKeyConstraint("kind", "subject", name=op.f("pk_alert_mute")),
    )
    _events()
    op.drop_constraint(op.f("ck_catalog_change_entity"), "catalog_change")
    _entities("'brand', 'campaign', 'user', 'token', 'alert', 'webhook'")


def _events() -> None:
    op.create_table(
        "alert_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=True),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("figure_micros", sa.BigInteger(), nullable=True),
        sa.Column("limit_micros", sa.BigInteger(), nullable=True),
        sa.Column("muted", sa.Boolean(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.CheckConstraint(_KINDS, name=op.f("ck_alert_event_kind")),
        sa.CheckConstraint("severity IN ('note', 'warning', 'critical')", name=op.f("ck_alert_event_severity")),
        sa.CheckConstraint(
            "end_reason IN ('raised', 'recovered', 'period', 'off')", name=op.f("ck_alert_event_end_reason")
        ),
        sa.CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name=op.f("ck_alert_event_ended")),
        sa.CheckConstraint(
            "(acknowledged_at IS NULL) = (acknowledged_by IS NULL)", name=op.f("ck_alert_event_acknowledged")
        ),
        sa.CheckConstraint("round >= 1", name=op.f("ck_alert_event_round")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_event")),
        sa.UniqueConstraint(
            "kind", "subject", "period", "level", "round", name=op.f("uq_alert_event_kind_subject_period_level_round")
        ),
    )
    op.create_index("ix_alert_event_open", "alert_event", ["brand_id"], postgresql_where=sa.text("ended_at IS NULL"))
    op.create_index("ix_alert_event_brand_id", "alert_event", ["brand_id", "id"])


def downgrade() -> None:
    op.drop_constraint(op.f("ck_catalog_change_entity"), "catalog_change")
    op.execute("DELETE FROM catalog_change WHERE entity IN ('alert', 'webhook')")
    _entities("'brand', 'campaign', 'user', 'token'")
    op.drop_table("alert_event")
    op.drop_table("alert_mute")
    op.drop_table("alert_rule")


def _entities(names: str) -> None:
    op.create_check_constraint(op.f("ck_catalog_change_entity"), "catalog_change", f"entity IN ({names})")
