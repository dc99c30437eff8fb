"""Spends by event id and request id: a bloom filter for each few hundred kilobytes of rows, and the names within packed rows."""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "0041"
down_revision = "0034"
branch_labels = None
depends_on = None

_OPTIONS = "(pages_per_range = 32, autosummarize = on)"
_FILTER = "text_bloom_ops (n_distinct_per_range = 2000)"


def upgrade() -> None:
    for column in ("event_id", "request_id"):
        op.execute(f"CREATE INDEX ix_spend_log_{column} ON spend_log USING brin ({column} {_FILTER}) WITH {_OPTIONS}")
    before = import_module("engine.ledger.migrations.versions.0010_packed_rows")
    calls = _named(before._CALLS, "concat(p.request_id, ' ', p.events)")
    singles = _named(before._SINGLES, "p.singles")
    op.execute(f"CREATE OR REPLACE VIEW unpacked_spend AS {calls} UNION ALL {singles}")


def _named(select: str, names: str) -> str:
    # `names`: what a packed row's ids stand in, so that a search unpacks only rows that have the id somewhere.
    return select.replace("p.campaigns\nFROM", f"p.campaigns, {names} AS names\nFROM")


def downgrade() -> None:
    before = import_module("engine.ledger.migrations.versions.0010_packed_rows")
    op.execute("DROP VIEW spend")
    op.execute("DROP VIEW unpacked_spend")
    op.execute(before._UNPACKED)
    op.execute(before._SPEND)
    for column in ("event_id", "request_id"):
        op.execute(f"DROP INDEX ix_spend_log_{column}")
