"""Time zones of brands: a brand's day is the one of its zone, which is the day of UTC or one beside it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0023"
branch_labels = None
depends_on = None

_KIND = (
    "CASE WHEN kind IN ('spend', 'late', 'over') THEN amount_micros BETWEEN 1 AND 1000000000000 AND {spend}"
    " WHEN kind = 'unitemised' THEN amount_micros BETWEEN 1 AND 1000000000000000 AND {recorded}"
    " WHEN kind IN ('refund', 'correction') THEN amount_micros BETWEEN -1000000000000 AND -1 ELSE false END"
)
_APART = "abs(day - ({} AT TIME ZONE 'UTC')::date)"
_NEAR = f"{_APART.format('recorded_at')} <= 1"
_NEAR_LATE = (
    f"({_NEAR} OR kind = 'spend' AND occurred_at IS NOT NULL AND {_APART.format('recorded_at')} = 2"
    f" AND {_APART.format('occurred_at')} <= 1)"
)
_SAME = "day = (recorded_at AT TIME ZONE 'UTC')::date"
_SAME_LATE = (
    f"({_SAME} OR kind = 'spend' AND occurred_at IS NOT NULL AND {_SAME} - 1"
    " AND day = (occurred_at AT TIME ZONE 'UTC')::date)"
)
_PACK = "{} AND {} AND first_at <= last_at"


def upgrade() -> None:
    op.add_column("brand", sa.Column("time_zone", sa.Text(), nullable=True))
    # The constant defaults are kept in the catalog of PostgreSQL, so the table is not rewritten.
    op.add_column("brand", sa.Column("zone_steps", sa.ARRAY(sa.Text()), server_default="{}", nullable=False))
    op.add_column("brand", sa.Column("zone", sa.Text(), server_default="", nullable=False))
    op.create_check_constraint(
        op.f("ck_brand_zone"), "brand", r"zone ~ '^(-?[0-9]{1,8}(,[0-9]{1,13},-?[0-9]{1,8}){0,2})?$'"
    )
    _laws(
        _KIND.format(spend=_NEAR_LATE, recorded=_NEAR),
        _PACK.format(*(f"{_APART.format(at)} <= 1" for at in ("first_at", "last_at"))),
        f"{_APART.format('occurred_at')} <= 1",
    )


def downgrade() -> None:
    # Rows of brands with a time zone stay what they are.
    _laws(
        _KIND.format(spend=_SAME_LATE, recorded=_SAME),
        _PACK.format(*(f"day = ({at} AT TIME ZONE 'UTC')::date" for at in ("first_at", "last_at"))),
        "day = (occurred_at AT TIME ZONE 'UTC')::date",
        " NOT VALID",
    )
    for column in ("zone", "zone_steps", "time_zone"):
        op.drop_column("brand", column)


def _laws(kind: str, pack: str, backfill: str, how: str = "") -> None:
    for table, name, law in (("spend_log", "kind", kind), ("spend_pack", "day", pack), ("backfill", "day", backfill)):
        op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_{name} CHECK ({law}){how}")
