"""The three embedded servers as one thing: `with EmbeddedServers(folder) as servers: servers.urls.hot`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self, cast

import psycopg2

from engine.errors import Refused
from engine.local.binaries import find_postgres, find_valkey, open_copy
from engine.local.data_dir import SHARED, DataDir
from engine.local.ports import kept_or_free
from engine.local.postgres import USER, Postgres
from engine.local.server import PortTaken, Server
from engine.local.valkey import Valkey
from engine.running import Running, write_running

_TRIES: Final = 5


class Urls(NamedTuple):
    """Where the servers are, passwords included."""

    hot: str
    jobs: str
    database: str


def _silent(line: str) -> None:
    """For callers who want no news."""


def _never() -> bool:
    """For callers who do not stop it half-way."""
    return False


class EmbeddedServers:
    """Two Valkeys and a PostgreSQL on a data folder, held by a lock. Data, passwords and, while free, ports outlive a restart.

    Start and stop it in the main thread: the servers end with the thread that started them.
    """

    def __init__(
        self, data_dir: Path, say: Callable[[str], None] = _silent, should_stop: Callable[[], bool] = _never
    ) -> None:
        self.data = DataDir(data_dir)
        self.all: tuple[Server, ...] = ()
        self._say = say
        self._should_stop = should_stop

    def start(self, *, may_create_databases: bool = False) -> Urls:
        """Starts what does not run. Raises Refused (folder taken, no programs, no place) or ServerAway (a server will not start).

        When `should_stop` answers True meanwhile, it raises KeyboardInterrupt and nothing runs. may_create_databases: for tests and benchmarks, which
        make databases of their own; the role is no superuser all the same.
        """
        self.data.take()
        try:
            self._make()
            # PostgreSQL takes longest, so the others start beside it.
            for server in self.all:
                server.launch()
            for server in self.all:
                self._say(f"waiting for {server.title} on 127.0.0.1:{server.port}")
                self._wait(server)
            if may_create_databases:
                self._let_role_create_databases()
            self.data.keep_ports({server.role: server.port for server in self.all})
            write_running(self.data.place, Running(*self.urls, self.data.secrets().secret_key))
        except BaseException:
            self.stop()
            raise
        return self.urls

    def stop(self) -> None:
        """Ends all in order and lets the folder go; does nothing when they do not run."""
        try:
            for server in reversed(self.all):
                server.stop()
        finally:
            self.all = ()
            self.data.release()

    def remove(self) -> None:
        """Stops, and deletes all data: for tests and `make clean-data`."""
        self.stop()
        self.data.remove()

    @property
    def urls(self) -> Urls:
        """Where they are. Raises Refused before start()."""
        if not self.all:
            raise Refused(f"the embedded servers on {self.data.path} are not started: call start() first")
        hot, jobs, database = (server.url for server in self.all)
        return Urls(hot, jobs, database)

    def _let_role_create_databases(self) -> None:
        connection = psycopg2.connect(cast(Postgres, self.all[-1]).superuser_url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER ROLE {USER} CREATEDB")
                # DROP DATABASE WITH (FORCE) may meet a process that has no role yet, such as a worker of autovacuum.
                cursor.execute(f"GRANT pg_signal_backend TO {USER}")
        finally:
            connection.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make(self) -> None:
        valkey, postgres = find_valkey(), find_postgres()
        if self.data.account is not None:
            # Asked first: it says clearly when there is no place for them.
            self.data.base()
            valkey, postgres = open_copy(valkey, SHARED), open_copy(postgres, SHARED)
        known, taken, passwords = self.data.ports(), set[int](), self.data.secrets()
        ports = []
        for role in ("hot", "jobs", "ledger"):
            ports.append(kept_or_free(known.get(role), taken))
            taken.add(ports[-1])
        name = valkey.engine.capitalize()
        self.all = (
            Valkey("hot", f"{name} {valkey.version}, hot", self.data, valkey, passwords.hot, ports[0]),
            Valkey("jobs", f"{name} {valkey.version}, jobs", self.data, valkey, passwords.jobs, ports[1]),
            Postgres("ledger", f"PostgreSQL {postgres.version}", self.data, postgres, passwords.database, ports[2]),
        )

    def _wait(self, server: Server) -> None:
        for tries_left in reversed(range(_TRIES)):
            try:
                server.wait(self._should_stop)
                return
            except PortTaken:
                if not tries_left:
                    raise Refused(f"{server.title} finds every port taken: try again") from None
                server.stop()
                server.port = kept_or_free(None, {other.port for other in self.all})
                server.launch()
