"""Migrates the ledger's schema up and down, in one transaction under one lock, so two processes that start at once do
it once.

Alembic is imported where it is used, so that commands without the schema need not wait for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, Engine

from engine.errors import WrongVersion
from engine.ledger.locks import Lock, take
from engine.ledger.models import PARTITION_PREFIX

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

_HERE = Path(__file__).parent / "migrations"


class Migrated(NamedTuple):
    """Revisions before and after; None is an empty database."""

    before: str | None
    after: str | None


def config() -> Config:
    """Alembic's configuration, without any file."""
    from alembic.config import Config

    out = Config()
    out.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    return out


def expected() -> str:
    """The revision that this program speaks."""
    head = _scripts().get_current_head()
    assert head is not None, "the package holds no migration"
    return head


def current(engine: Engine) -> str | None:
    """The revision of the database; None when it is empty."""
    with engine.connect() as connection:
        return _current(connection)


def upgrade(engine: Engine, revision: str = "head") -> Migrated:
    """Migrates the database up to a revision; no change when it is there already. Raises WrongVersion for a newer
    database.
    """
    from alembic import command

    return _run(engine, command.upgrade, revision)


def downgrade(engine: Engine, revision: str) -> Migrated:
    """Migrates the database down to a revision ("base" is empty: every row is lost)."""
    from alembic import command

    return _run(engine, command.downgrade, revision)


def known(revision: str) -> bool:
    """Whether this program has a migration of that name; a newer database's it has not."""
    from alembic.util import CommandError

    try:
        _scripts().get_revision(revision)
    except CommandError:
        return False
    return True


def include_name(name: str | None, kind: str, parents: object) -> bool:
    """What of a database belongs to the models: all but the partitions, which come with the days."""
    return not (kind == "table" and name is not None and name.startswith(PARTITION_PREFIX))


def newer(revision: str) -> WrongVersion:
    """The error for a database that a later program has migrated."""
    return WrongVersion(
        f"the database is at revision {revision}, which this program does not know (it speaks {expected()}):"
        " upgrade the program, or restore the database of its version"
    )


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(config())


def _current(connection: Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def _run(engine: Engine, step: object, revision: str) -> Migrated:
    assert callable(step)
    with engine.begin() as connection:
        take(connection, Lock.MIGRATE)
        before = _current(connection)
        if before is not None and not known(before):
            raise newer(before)
        settings = config()
        settings.attributes["connection"] = connection
        step(settings, revision)
        return Migrated(before, _current(connection))
