"""A backup of the real PostgreSQL: copies the test's database, and restores the copy."""

from __future__ import annotations

from sqlalchemy import Engine, text

from engine.wiring import System
from tests.databases import run_sql


class Backup:
    """A copy of the database as it is now; `restore` puts it back."""

    def __init__(self, postgres: Engine, system: System) -> None:
        self._postgres, self._system = postgres, system
        with system.db.connect() as conn:
            self._name = str(conn.execute(text("SELECT current_database()")).scalar_one())
        self._copy(self._name, f"{self._name}_kept")

    def restore(self) -> None:
        self._system.db.dispose()
        run_sql(self._postgres, f"DROP DATABASE {self._name} WITH (FORCE)")
        self._copy(f"{self._name}_kept", self._name)

    def remove(self) -> None:
        run_sql(self._postgres, f"DROP DATABASE IF EXISTS {self._name}_kept WITH (FORCE)")

    def _copy(self, source: str, target: str) -> None:
        self._system.db.dispose()
        run_sql(self._postgres, f"CREATE DATABASE {target} TEMPLATE {source}")
