"""An embedded PostgreSQL: made by initdb on first use, TCP on loopback only, SCRAM passwords, stopped with SIGINT."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import ClassVar, Final

import psycopg2

from engine.errors import ServerAway
from engine.local import roles
from engine.local.server import Server, plain_environment

USER: Final = "budget"
DATABASE: Final = "budget"


class Postgres(Server):
    """The embedded PostgreSQL server. initdb works in a temporary folder that is renamed at the end, so a killed initdb
    leaves nothing that looks like data.
    """

    # Fast shutdown: ends all sessions and writes everything. SIGTERM would wait for every session to end.
    stop_signal: ClassVar = signal.SIGINT

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    def launch(self) -> None:
        if not self.folder.exists():
            self._initdb()
        self.end_leftovers()
        self._forget_stale_pid()
        self.spawn(
            [
                self.program.path("postgres"),
                "-D",
                self.folder,
                *("-c", "listen_addresses=127.0.0.1"),
                *("-c", f"port={self.port}"),
                # No unix socket: its path may have at most 107 bytes.
                *("-c", "unix_socket_directories="),
                *("-c", "log_destination=stderr"),
                *("-c", "logging_collector=off"),
                *("-c", "timezone=UTC"),
                *("-c", "log_timezone=UTC"),
            ]
        )

    def answers(self) -> bool:
        try:
            connection = psycopg2.connect(self.url, connect_timeout=2)
        except psycopg2.OperationalError:
            # The server is not ready, or it is new and has no role of the engine yet.
            return self._make_role()
        try:
            old = roles.is_superuser(connection)
        finally:
            connection.close()
        if old:
            roles.take_superuser_away(self.url, USER, self.password, DATABASE, self.data.superuser())
        return True

    @property
    def superuser_url(self) -> str:
        """The URL of the superuser. The engine uses it only to create its own role."""
        return f"postgresql://{roles.SUPERUSER}:{self.data.superuser()}@127.0.0.1:{self.port}/postgres"

    def _make_role(self) -> bool:
        try:
            superuser = psycopg2.connect(self.superuser_url, connect_timeout=2)
        except psycopg2.OperationalError:
            return False
        try:
            superuser.autocommit = True
            roles.make_role(superuser, USER, self.password, DATABASE)
        finally:
            superuser.close()
        return True

    def _initdb(self) -> None:
        made = self.folder.with_name(self.folder.name + ".new")
        shutil.rmtree(made, ignore_errors=True)
        self.data.make_private(made)
        password = made.with_name(made.name + ".password")
        password.unlink(missing_ok=True)
        handle = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(self.data.superuser() + "\n")
        self.data.give(password)
        try:
            self._run_initdb(made, password)
        finally:
            password.unlink(missing_ok=True)
        made.rename(self.folder)

    def _run_initdb(self, folder: Path, password: Path) -> None:
        account = self.data.account
        done = subprocess.run(
            [
                self.program.path("initdb"),
                *("-D", folder, "-U", roles.SUPERUSER, "-A", "scram-sha-256", "--pwfile", password),
                *("-E", "UTF8", "--no-locale", "--no-instructions"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=folder,
            env=plain_environment(),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            start_new_session=True,
            check=False,
        )
        if done.returncode != 0:
            words = " ".join((done.stderr or done.stdout).split())[-600:]
            raise ServerAway(self.title, str(folder), f"initdb failed with status {done.returncode}: {words}")

    def _forget_stale_pid(self) -> None:
        """Removes a stale postmaster.pid. After kill -9 and a reboot its process id may belong to another process, and
        PostgreSQL would refuse to start.

        This is safe: `end_leftovers` ended every server in the folder, and the data folder's lock keeps others out.
        """
        file = self.folder / "postmaster.pid"
        try:
            # The servers' user owns the folder, so the file may be a link or a pipe.
            handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(handle, encoding="ascii", errors="replace") as opened:
                pid = int(opened.readline(20))
        except (OSError, ValueError):
            return
        if Path("/proc/self").exists() and Path(f"/proc/{pid}").exists():
            file.unlink(missing_ok=True)
