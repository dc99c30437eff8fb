"""At which revision the database is, and whether this program may write to it. Read without Alembic, which takes long to import."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from engine.errors import WrongVersion

_VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"
_NAMED: Final = re.compile(r'^(revision|down_revision) = (?:"([^"]+)"|None)$', re.M)
_NO_TABLE: Final = "42P01"
_CURRENT: Final = text("SELECT version_num FROM alembic_version")


class _Migrations(NamedTuple):
    names: frozenset[str]
    head: str


@cache
def _migrations() -> _Migrations:
    """The migrations of this program, by what their files say."""
    names: set[str] = set()
    earlier: set[str] = set()
    for path in _VERSIONS.glob("*.py"):
        said = dict(_NAMED.findall(path.read_text(encoding="utf-8")))
        names.add(said["revision"])
        earlier.add(said["down_revision"])
    (head,) = names - earlier
    return _Migrations(frozenset(names), head)


def expected() -> str:
    """The revision that this program speaks."""
    return _migrations().head


def known(revision: str) -> bool:
    """Whether this program has a migration of that name; a newer database's it has not."""
    return revision in _migrations().names


def current_in(connection: Connection) -> str | None:
    """The revision that the database is at; None when it is empty, and then the transaction is at its end."""
    try:
        found: str | None = connection.execute(_CURRENT).scalar_one_or_none()
    except ProgrammingError as error:
        if getattr(error.orig, "pgcode", None) != _NO_TABLE:
            raise
        return None
    return found


def current(engine: Engine) -> str | None:
    """The same in a transaction of its own."""
    with engine.connect() as connection:
        return current_in(connection)


def newer(revision: str) -> WrongVersion:
    """The error for a database that a later program has migrated."""
    return WrongVersion(
        f"the database is at revision {revision}, which this program does not know (it speaks {expected()}):"
        " upgrade the program, or restore the database of its version"
    )


def older(revision: str | None) -> WrongVersion:
    """The error for a database that was not migrated yet."""
    return WrongVersion(
        f"the database is at revision {revision or 'none'}, this program speaks {expected()}:"
        " run `budget-engine migrate`"
    )


def check_in(connection: Connection) -> None:
    """Whether this program may write to the database, asked in the transaction that writes. Raises WrongVersion."""
    found = current_in(connection)
    if found == expected():
        return
    raise older(found) if found is None or known(found) else newer(found)


def check(engine: Engine) -> None:
    """The same in a transaction of its own. Raises WrongVersion, ServerAway."""
    with engine.connect() as connection:
        check_in(connection)
