"""Names in one spelling, and free again once their row is archived.

A name that is only spelt differently (letters not composed, other blanks) is rewritten, with its trail, where no row in use has it already.
Pairs that look alike and names with signs that cannot be seen stay as they are: `migrate` and `doctor` name them, and a person decides.
"""

from __future__ import annotations

import re
import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_IN_USE = sa.text("archived_at IS NULL")
_LAWS = (("brand", "uq_brand_name", ["name"]), ("campaign", "uq_campaign_brand_id_name", ["brand_id", "name"]))


def upgrade() -> None:
    for table, law, columns in _LAWS:
        op.drop_constraint(op.f(law), table, type_="unique")
        _respell(table, "brand_id" if "brand_id" in columns else "0")
        op.create_index(law, table, columns, unique=True, postgresql_where=_IN_USE)


def downgrade() -> None:
    for table, law, columns in _LAWS:
        op.drop_index(law, table)
        # The old law counts archived rows too: one whose name was used again gives way.
        same = " AND ".join(f"other.{column} = {table}.{column}" for column in columns)
        op.execute(
            f"UPDATE {table} SET name = left(name, 160) || ' (archived, ' || id || ')' WHERE archived_at IS NOT NULL"
            f" AND EXISTS (SELECT FROM {table} AS other WHERE {same} AND other.id <> {table}.id)"
        )
        op.create_unique_constraint(op.f(law), table, columns)


def _respell(table: str, scope: str) -> None:
    """Gives each name its one spelling. scope: the column within which names are unique, 0 for all."""
    connection = op.get_bind()
    # A name of plain letters and single spaces has its spelling already.
    odd = "octet_length(name) <> char_length(name) OR name LIKE '%  %' OR name <> btrim(name)"
    rows = connection.execute(
        sa.text(f"SELECT id, {scope}, name, archived_at IS NULL FROM {table} WHERE {odd} ORDER BY id")
    ).all()
    taken = sa.text(f"SELECT id FROM {table} WHERE {scope} = :scope AND name = :name AND archived_at IS NULL")
    for id_, within, name, in_use in rows:
        spelt = _spelt(name)
        if spelt == name or not 1 <= len(spelt) <= 200:
            continue
        if in_use and connection.execute(taken, {"scope": within, "name": spelt}).first() is not None:
            continue
        connection.execute(sa.text(f"UPDATE {table} SET name = :name WHERE id = :id"), {"name": spelt, "id": id_})
        connection.execute(
            sa.text(
                "INSERT INTO catalog_change (actor, entity, entity_id, field, old, new, note)"
                " VALUES ('migration 0006', :entity, :id, 'name', :old, :new, 'one spelling for what looks the same')"
            ),
            {"entity": table, "id": id_, "old": name, "new": spelt},
        )


def _spelt(name: str) -> str:
    """What the door of names made of a name when this migration was written; kept here, because the door may change."""
    composed = unicodedata.normalize("NFC", name)
    blanks = "".join(" " if unicodedata.category(sign) == "Zs" else sign for sign in composed)
    return re.sub(" {2,}", " ", blanks).strip()
