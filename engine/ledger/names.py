"""Names in use that look alike or have invisible characters: they are older than the normalisation
(`engine/domain/names.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection, text

from engine.domain.names import first_unseen, likeness, sign_name
from engine.errors import shown

_TABLES: Final = (("brand", "0"), ("campaign", "brand_id"))
"""Each table with the column within which its names are one's own."""


def doubtful(connection: Connection) -> Iterator[str]:
    """One line for each group of names that look alike, and for each name with a sign that cannot be seen. Archived rows do not count."""
    for table, scope in _TABLES:
        yield from _doubtful(connection, table, scope)


def _doubtful(connection: Connection, table: str, scope: str) -> Iterator[str]:
    # Most names are plain letters with single spaces, which nothing else looks like: they stay in PostgreSQL.
    odd = "octet_length(name) <> char_length(name) OR name LIKE '%  %' OR name <> btrim(name)"
    rows = connection.execute(
        text(f"SELECT id, {scope}, name FROM {table} WHERE archived_at IS NULL AND ({odd}) ORDER BY id")
    )
    alike: dict[tuple[int, str], list[int]] = {}
    for id_, within, name in rows:
        seen = likeness(name)
        if seen == name:
            continue
        alike.setdefault((within, seen), []).append(id_)
        unseen = first_unseen(name)
        if unseen is not None:
            yield f"{table} {id_} {shown(name)} holds {sign_name(unseen)}: {_rename(table, id_)}"
    named = text(f"SELECT id FROM {table} WHERE {scope} = :scope AND name = :name AND archived_at IS NULL")
    for (within, seen), ids in alike.items():
        found = connection.execute(named, {"scope": within, "name": seen}).scalars()
        both = sorted({*ids, *found})
        if len(both) > 1:
            listed = " and ".join(str(id_) for id_ in both)
            yield f"{table}s {listed} are both called {shown(seen)} to the eye: {_rename(table, both[-1])}"


def _rename(table: str, id_: int) -> str:
    return f"rename with `{table} update {id_} --name NEW`"
