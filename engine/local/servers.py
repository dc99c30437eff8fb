"""The embedded servers together: `with EmbeddedServers(folder) as servers: servers.urls.hot`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self, cast

import psycopg2

from engine.errors import Refused
from engine.local.binaries import find_postgres, find_valkey, open_copy
from engine.local.data_dir import SHARED, DataDir
from engine.local.forming import form
from engine.local.ports import kept_or_free
from engine.local.postgres import USER, Postgres
from engine.local.server import PortTaken, Server
from engine.local.valkey import ClusterNode, Valkey
from engine.running import Running, write_running

_TRIES: Final = 5


class Urls(NamedTuple):
    """The servers' URLs, passwords included."""

    hot: str
    jobs: str
    database: str


def _silent(line: str) -> None:
    """The default `say`: prints nothing."""


def _never() -> bool:
    """The default `should_stop`: the start is never interrupted."""
    return False


def _cluster_url(nodes: Sequence[ClusterNode]) -> str:
    """The URL of a cluster; empty without nodes."""
    places = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
    return f"redis+cluster://:{nodes[0].password}@{places}" if nodes else ""


class EmbeddedServers:
    """The hot Valkey (or a cluster), the Valkey for jobs and PostgreSQL, on one locked data folder.

    Data and passwords survive a restart, and so do ports that are still free. Start and stop from the main thread: the
    servers end with the thread that started them.
    """

    def __init__(
        self,
        data_dir: Path,
        say: Callable[[str], None] = _silent,
        should_stop: Callable[[], bool] = _never,
        nodes: int = 0,
    ) -> None:
        """say: prints progress. should_stop: interrupts the start. nodes: how many nodes the hot Redis has as a
        cluster; 0 for one server, or for as many as the folder has.
        """
        self.data = DataDir(data_dir)
        self._nodes = nodes
        self.all: tuple[Server, ...] = ()
        self._say = say
        self._should_stop = should_stop

    def start(self, *, may_create_databases: bool = False) -> Urls:
        """Starts the servers and waits until they are ready; on any error none is left running.

        Raises Refused (folder in use, no programs, no place for the data), ServerAway (a server does not start) and
        KeyboardInterrupt (`should_stop` returned True). may_create_databases: lets the engine's role create databases,
        for tests and benchmarks; the role is still not a superuser.
        """
        self.data.take()
        try:
            self._make()
            # PostgreSQL takes longest, so all start at the same time.
            for server in self.all:
                server.launch()
            for server in self.all:
                self._say(f"waiting for {server.title} on 127.0.0.1:{server.port}")
                self._wait(server)
            if hot := self._cluster:
                self._say(f"making one cluster of {len(hot)} nodes")
                form([node.client() for node in hot], [], {node.port: node.bus_port for node in hot}.__getitem__)
            if may_create_databases:
                self._let_role_create_databases()
            buses = {f"{node.role}-bus": node.bus_port for node in self._cluster}
            self.data.keep_ports({server.role: server.port for server in self.all} | buses)
            write_running(self.data.place, Running(*self.urls, self.data.secrets().secret_key))
        except BaseException:
            self.stop()
            raise
        return self.urls

    def stop(self) -> None:
        """Stops the servers in reverse order and releases the folder. Does nothing when they do not run."""
        try:
            for server in reversed(self.all):
                server.stop()
        finally:
            self.all = ()
            self.data.release()

    def remove(self) -> None:
        """Stops the servers and deletes all data, for tests."""
        self.stop()
        self.data.remove()

    @property
    def urls(self) -> Urls:
        """The servers' URLs. Raises Refused before start()."""
        if not self.all:
            raise Refused(f"the embedded servers on {self.data.path} are not started: call start() first")
        *hot, jobs, database = self.all
        return Urls(_cluster_url(self._cluster) or hot[0].url, jobs.url, database.url)

    @property
    def _cluster(self) -> list[ClusterNode]:
        return [server for server in self.all if isinstance(server, ClusterNode)]

    def _let_role_create_databases(self) -> None:
        connection = psycopg2.connect(cast(Postgres, self.all[-1]).superuser_url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER ROLE {USER} CREATEDB")
                # DROP DATABASE WITH (FORCE) may have to end a process without a role, such as an autovacuum worker.
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
            # Called first, because its error is clear when there is no place for the servers.
            self.data.base()
            valkey, postgres = open_copy(valkey, SHARED), open_copy(postgres, SHARED)
        known, taken, passwords = self.data.ports(), set[int](), self.data.secrets()
        ports: dict[str, int] = {}
        nodes = self._node_count(known)
        hot_roles = [f"node{i}" for i in range(1, nodes + 1)] or ["hot"]
        for role in (*hot_roles, *(f"{role}-bus" for role in hot_roles if nodes), "jobs", "ledger"):
            ports[role] = kept_or_free(known.get(role), taken)
            taken.add(ports[role])
        name = f"{valkey.engine.capitalize()} {valkey.version}"
        hot: list[Server] = []
        for role in hot_roles:
            made = (ClusterNode if nodes else Valkey)(
                role, f"{name}, {role}", self.data, valkey, passwords.hot, ports[role]
            )
            if isinstance(made, ClusterNode):
                made.bus_port = ports[f"{role}-bus"]
            hot.append(made)
        self.all = (
            *hot,
            Valkey("jobs", f"{name}, jobs", self.data, valkey, passwords.jobs, ports["jobs"]),
            Postgres(
                "ledger", f"PostgreSQL {postgres.version}", self.data, postgres, passwords.database, ports["ledger"]
            ),
        )

    def _node_count(self, known: Mapping[str, int]) -> int:
        """The number of nodes to start; 0 for one server. Raises Refused when the folder has another number: the
        journals there may hold spends that PostgreSQL does not have yet.
        """
        had = sum(re.fullmatch(r"node\d+", role) is not None for role in known)
        if known and self._nodes not in (0, had):
            before = f"a cluster of {had} nodes" if had else "one hot Redis"
            raise Refused(
                f"{self.data.path} has {before}: start it so, or set BUDGET_DATA_DIR to another folder for a cluster of {self._nodes}"
            )
        return self._nodes or had

    def _wait(self, server: Server) -> None:
        for tries_left in reversed(range(_TRIES)):
            try:
                server.wait(self._should_stop)
                return
            except PortTaken:
                if not tries_left:
                    raise Refused(f"{server.title} finds every port taken: try again") from None
                server.stop()
                taken = {other.port for other in self.all} | {node.bus_port for node in self._cluster}
                server.port = kept_or_free(None, taken)
                if isinstance(server, ClusterNode):
                    server.bus_port = kept_or_free(None, {*taken, server.port})
                server.launch()
