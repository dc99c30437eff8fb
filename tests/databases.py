"""Databases on the suite's PostgreSQL. A used database is emptied and reused, in a tenth of the time of a new copy."""

from __future__ import annotations

import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from engine.ledger.database import make_engine
from engine.ledger.models import Base

RESTING: Final = 2
"""How many used databases wait before reuse. PostgreSQL checks only ten times a second whether a database's sessions
have ended, and it must be free of sessions to be renamed.
"""
_USES: Final = 40
"""A database is dropped after this many uses, because its system catalogs grow."""
_DROP_DAYS: Final = """
DO $$ DECLARE part text; BEGIN
  FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'spend_log'::regclass LOOP
    EXECUTE 'DROP TABLE ' || part;
  END LOOP;
END $$
"""
_EMPTY: Final = """
DO $$ DECLARE part text; BEGIN
  FOREACH part IN ARRAY '{{{tables}}}'::text[] LOOP
    IF pg_relation_size(part::regclass) > 65536 THEN EXECUTE format('TRUNCATE %I CASCADE', part);
    ELSIF pg_relation_size(part::regclass) > 0 THEN EXECUTE format('DELETE FROM %I', part); END IF;
  END LOOP;
  FOR part IN SELECT oid::regclass FROM pg_class WHERE relkind = 'S' LOOP PERFORM setval(part, 1, false); END LOOP;
END $$
"""
# Everything that DDL changes, without what VACUUM and ANALYZE change.
_SHAPE: Final = """
SELECT md5(string_agg(row, ';' ORDER BY row)) FROM (
  SELECT concat_ws(',', oid, relname, relnamespace, relkind, relowner, relacl, reloptions, relchecks, relrowsecurity) row
    FROM pg_class WHERE oid >= 16384
  UNION ALL SELECT a::text FROM pg_attribute a WHERE attrelid >= 16384
  UNION ALL SELECT d::text FROM pg_attrdef d
  UNION ALL SELECT c::text FROM pg_constraint c WHERE oid >= 16384
  UNION ALL SELECT i::text FROM pg_index i WHERE indexrelid >= 16384
  UNION ALL SELECT s::text FROM pg_sequence s
  UNION ALL SELECT t::text FROM pg_trigger t
  UNION ALL SELECT p::text FROM pg_proc p WHERE oid >= 16384
  UNION ALL SELECT concat_ws(',', oid, typname) FROM pg_type WHERE oid >= 16384
  UNION ALL SELECT r::text FROM pg_rewrite r WHERE oid >= 16384
  UNION ALL SELECT n::text FROM pg_namespace n WHERE nspname !~ '^pg_t'
  UNION ALL SELECT e::text FROM pg_extension e
  UNION ALL SELECT concat_ws(',', setrole, setconfig) FROM pg_db_role_setting, pg_database
    WHERE setdatabase = pg_database.oid AND datname = current_database()
  UNION ALL SELECT concat_ws(',', datallowconn, datconnlimit, datacl) FROM pg_database WHERE datname = current_database()
) AS shape
"""


def named_database(url: str, database: str) -> str:
    """The URL of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def run_sql(engine: Engine, statement: str) -> None:
    with engine.connect() as connection:
        connection.execute(text(statement))


@dataclass
class Databases:
    """Copies of a template. Each use has a new name, so that no leftover of an earlier test connects to it."""

    postgres: Engine
    url: str
    template: str
    _spare: deque[tuple[str, int]] = field(default_factory=deque)
    """Used databases, with the number of their uses."""
    _shape: str = ""
    _rows: dict[str, str] = field(default_factory=dict)
    """The template's rows by table, as JSON."""
    _uses: dict[str, int] = field(default_factory=dict)

    def take(self) -> str:
        """Returns the name of a database that equals the template."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        while len(self._spare) > RESTING:
            old, uses = self._spare.popleft()
            if not self._renamed(old, name):
                self._drop(old)
            elif self._emptied(name):
                self._uses[name] = uses
                return name
            else:
                self._drop(name)
        run_sql(self.postgres, f"CREATE DATABASE {name} TEMPLATE {self.template}")
        if not self._shape:
            self._look(name)
        return name

    def give_back(self, name: str) -> None:
        uses = self._uses.pop(name, 0) + 1
        with self.postgres.connect() as connection:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND usename = current_user"
            connection.execute(text(ended), {"name": name})
        if uses < _USES:
            self._spare.append((name, uses))
        else:
            self._drop(name)

    def untouched(self, connection: Connection) -> bool:
        """Whether all tables, indexes, functions and rights equal those of a new copy."""
        return bool(_one(connection, _SHAPE) == self._shape)

    def close(self) -> None:
        while self._spare:
            self._drop(self._spare.popleft()[0])

    def _renamed(self, old: str, name: str) -> bool:
        """Renames a used database. False where a session of an earlier test is still in it, or it is gone."""
        try:
            run_sql(self.postgres, f"ALTER DATABASE {old} RENAME TO {name}")
        except DBAPIError:
            return False
        return True

    def _drop(self, name: str) -> None:
        run_sql(self.postgres, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _look(self, name: str) -> None:
        """Notes the shape and the rows of a new copy."""
        engine = make_engine(named_database(self.url, name))
        with engine.connect() as connection:
            self._shape = _one(connection, _SHAPE)
            for table in _tables():
                rows = _one(connection, f"SELECT json_agg(t)::text FROM {table} t")
                if rows is not None:
                    self._rows[table] = rows
        engine.dispose()

    def _emptied(self, name: str) -> bool:
        """Empties a used database. False where a test changed a table, or the database takes no connections."""
        engine = make_engine(named_database(self.url, name))
        try:
            with engine.begin() as connection:
                connection.execute(text(_DROP_DAYS))
                if not self.untouched(connection):
                    return False
                connection.execute(text(_EMPTY.format(tables=",".join(_tables()))))
                for table, rows in self._rows.items():
                    filled = f"INSERT INTO {table} SELECT * FROM json_populate_recordset(null::{table}, :rows)"
                    connection.execute(text(filled), {"rows": rows})
            return True
        except Exception:
            return False
        finally:
            engine.dispose()


def _tables() -> list[str]:
    """The tables, those that others refer to last. `spend_log` has no rows of its own, only in its partitions."""
    return ["alembic_version", *(t.name for t in reversed(Base.metadata.sorted_tables) if t.name != "spend_log")]


def _one(connection: Connection, query: str) -> Any:
    return connection.execute(text(query)).scalar_one()
