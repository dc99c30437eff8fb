"""Migrates the ledger's schema up and down, in one transaction under one lock, so two processes that start at once do
it once.

Alembic is imported where it is used, so that commands without the schema need not wait for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Connection, Engine

from engine.ledger import revision
from engine.ledger.locks import Lock, take
from engine.ledger.models import PARTITION_PREFIX

if TYPE_CHECKING:
    from alembic.config import Config

_HERE = Path(__file__).parent / "migrations"
_LONGEST_S: Final = 3600.0
"""For the migration of another process of ours, which may have a large log to go through."""


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


def upgrade(engine: Engine, to: str = "head") -> Migrated:
    """Migrates the database up to a revision; no change when it is there already. Raises WrongVersion for a newer
    database.
    """
    from alembic import command

    return _run(engine, command.upgrade, to)


def downgrade(engine: Engine, to: str) -> Migrated:
    """Migrates the database down to a revision ("base" is empty: every row is lost)."""
    from alembic import command

    return _run(engine, command.downgrade, to)


def include_name(name: str | None, kind: str, parents: object) -> bool:
    """What of a database belongs to the models: all but the partitions, which come with the days."""
    return not (kind == "table" and name is not None and name.startswith(PARTITION_PREFIX))


def _current(connection: Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def _run(engine: Engine, step: object, to: str) -> Migrated:
    assert callable(step)
    with engine.begin() as connection:
        take(connection, Lock.MIGRATE, ours_s=_LONGEST_S)
        before = _current(connection)
        if before is not None and not revision.known(before):
            raise revision.newer(before)
        settings = config()
        settings.attributes["connection"] = connection
        step(settings, to)
        return Migrated(before, _current(connection))
