"""Packed rows of the spend log, and the views and functions that read both forms as one row a spend."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_COLUMNS = (
    "recorded_at, day, brand_id, campaign_id, amount_micros, event_id, request_id, occurred_at, kind, shard, generation,"
    " n, position, hold_id"
)
# OFFSET 0 keeps the planner from merging a subquery, so a large value is read from its TOAST table once a pack, not once a spend.
# Amounts are little-endian: docs/protocol.md, packed calls.
_CALLS = """
SELECT p.first_at AS recorded_at, p.day, v.campaign_id / 65536 AS brand_id, v.campaign_id, v.amount_micros,
       substr(s.name, strpos(s.name, ':') + 1) AS event_id, p.request_id, NULL::timestamptz AS occurred_at, p.kind, p.shard,
       p.generation, p.n, s.position, p.hold_id, p.first_at, p.last_at, p.brands, p.campaigns
FROM spend_pack AS p
CROSS JOIN LATERAL (SELECT substring(p.log FROM 1) AS log, p.campaigns || '{}'::bigint[] AS campaigns,
                           get_byte(substring(p.log FROM 2 FOR 1), 0) AS width, 2 + p.spends AS amounts OFFSET 0) AS c
CROSS JOIN LATERAL ROWS FROM (generate_series(0, p.spends - 1), unnest(string_to_array(p.events, ','))) AS s(position, name)
CROSS JOIN LATERAL (SELECT c.amounts + c.width * s.position AS at) AS a
CROSS JOIN LATERAL (
  SELECT c.campaigns[get_byte(c.log, 2 + s.position) + 1] AS campaign_id,
         get_byte(c.log, a.at) + (get_byte(c.log, a.at + 1) << 8) + (get_byte(c.log, a.at + 2) << 16)
         + (get_byte(c.log, a.at + 3)::bigint << 24)
         + CASE c.width WHEN 4 THEN 0 ELSE (get_byte(c.log, a.at + 4)::bigint << 32) + (get_byte(c.log, a.at + 5)::bigint << 40)
           + (get_byte(c.log, a.at + 6)::bigint << 48) END AS amount_micros) AS v
WHERE p.log IS NOT NULL
"""
_SINGLES = """
SELECT p.first_at + l.field[1]::int * interval '1 millisecond' AS recorded_at, p.day, v.field[1]::bigint / 65536 AS brand_id,
       v.field[1]::bigint AS campaign_id, v.field[2]::bigint AS amount_micros, nullif(v.field[3], '') AS event_id,
       l.field[3] AS request_id, 'epoch'::timestamptz + nullif(v.field[4], '')::bigint * interval '1 millisecond' AS occurred_at,
       p.kind, p.shard, p.generation, p.n + l.field[2]::int AS n, (s.place - 1)::int AS position, p.hold_id, p.first_at, p.last_at,
       p.brands, p.campaigns
FROM spend_pack AS p
CROSS JOIN LATERAL unnest(string_to_array(p.singles, E'\\n')) AS g(line)
CROSS JOIN LATERAL (SELECT string_to_array(g.line, ' ') AS field OFFSET 0) AS l
CROSS JOIN LATERAL unnest(string_to_array(rtrim(l.field[4], ';'), ';')) WITH ORDINALITY AS s(spend, place)
CROSS JOIN LATERAL (SELECT string_to_array(s.spend, ',') AS field OFFSET 0) AS v
WHERE p.singles IS NOT NULL
"""
_UNPACKED = f"CREATE VIEW unpacked_spend AS {_CALLS} UNION ALL {_SINGLES}"
_SPEND = f"CREATE VIEW spend AS SELECT {_COLUMNS} FROM spend_log UNION ALL SELECT {_COLUMNS} FROM unpacked_spend"
# Of one SELECT each, and STABLE: PostgreSQL then plans them as a part of the query that calls them.
_SINCE = f"""
CREATE FUNCTION spends_since(since timestamptz) RETURNS SETOF spend_log LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT {_COLUMNS} FROM spend_log AS l WHERE l.recorded_at >= since
  UNION ALL
  SELECT {_COLUMNS} FROM unpacked_spend AS u WHERE u.last_at >= since AND u.recorded_at >= since
$$
"""
_OF = f"""
CREATE FUNCTION spends_of(brand bigint, since timestamptz, until timestamptz) RETURNS SETOF spend_log
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT {_COLUMNS} FROM spend_log AS l WHERE l.brand_id = brand AND l.recorded_at >= since AND l.recorded_at < until
  UNION ALL
  SELECT {_COLUMNS} FROM unpacked_spend AS u WHERE u.shard = mod(brand, 64) AND brand = ANY(u.brands)
  AND u.last_at >= since AND u.first_at < until AND u.brand_id = brand AND u.recorded_at >= since AND u.recorded_at < until
$$
"""


def upgrade() -> None:
    op.create_table(
        "spend_pack",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_n", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("spends", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("hold_id", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("brands", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("campaigns", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("counts", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("log", sa.LargeBinary(), nullable=True),
        sa.Column("events", sa.Text(), nullable=True),
        sa.Column("singles", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "shard BETWEEN 0 AND 63 AND generation > 0 AND n > 0 AND n <= last_n", name=op.f("ck_spend_pack_place")
        ),
        sa.CheckConstraint(
            "day = (first_at AT TIME ZONE 'UTC')::date AND day = (last_at AT TIME ZONE 'UTC')::date AND first_at <= last_at",
            name=op.f("ck_spend_pack_day"),
        ),
        sa.CheckConstraint("spends > 0 AND kind IN ('spend', 'late', 'over')", name=op.f("ck_spend_pack_kind")),
        sa.CheckConstraint(
            "cardinality(brands) > 0 AND cardinality(campaigns) > 0 AND cardinality(counts) = cardinality(campaigns)",
            name=op.f("ck_spend_pack_home"),
        ),
        sa.CheckConstraint(
            "CASE WHEN singles IS NULL THEN log IS NOT NULL AND request_id IS NOT NULL AND n = last_n AND first_at = last_at"
            " ELSE log IS NULL AND events IS NULL AND request_id IS NULL AND hold_id IS NULL AND kind = 'spend' END",
            name=op.f("ck_spend_pack_form"),
        ),
        sa.PrimaryKeyConstraint("day", "shard", "generation", "n", name="pk_spend_pack"),
        postgresql_partition_by="RANGE (day)",
    )
    op.create_index("ix_spend_pack_shard_last_at", "spend_pack", ["shard", "last_at"])
    op.create_index(
        "ix_spend_pack_last_at",
        "spend_pack",
        ["last_at"],
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    )
    for statement in (_UNPACKED, _SPEND, _SINCE, _OF):
        op.execute(statement)


def downgrade() -> None:
    # What is packed becomes rows. Each day of packed rows has a partition of spend_log too: persist makes both.
    op.execute(
        f"INSERT INTO spend_log ({_COLUMNS}) SELECT {_COLUMNS} FROM unpacked_spend ORDER BY recorded_at, n, position"
    )
    op.execute("DROP FUNCTION spends_of(bigint, timestamptz, timestamptz)")
    op.execute("DROP FUNCTION spends_since(timestamptz)")
    op.execute("DROP VIEW spend")
    op.execute("DROP VIEW unpacked_spend")
    op.drop_table("spend_pack")
