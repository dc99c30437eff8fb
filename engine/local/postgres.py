"""An embedded PostgreSQL: made by initdb on first use, loopback TCP only, SCRAM passwords, stopped with SIGINT."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import ClassVar, Final

import psycopg2
from psycopg2 import errors, sql

from engine.errors import ServerAway
from engine.local.server import Server, plain_environment

USER: Final = "budget"
DATABASE: Final = "budget"


class Postgres(Server):
    """Its folder appears in one step: an initdb that was killed leaves nothing that looks like data."""

    # Fast shutdown: sessions are ended, everything is written. SIGTERM would wait for every session.
    stop_signal: ClassVar = signal.SIGINT

    @property
    def url(self) -> str:
        return self._url(DATABASE)

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
                # A socket's path breaks above 107 bytes.
                *("-c", "unix_socket_directories="),
                *("-c", "log_destination=stderr"),
                *("-c", "logging_collector=off"),
                *("-c", "timezone=UTC"),
                *("-c", "log_timezone=UTC"),
            ]
        )

    def answers(self) -> bool:
        try:
            psycopg2.connect(self.url, connect_timeout=2).close()
            return True
        except psycopg2.OperationalError as error:
            if f'database "{DATABASE}" does not exist' in str(error):
                return self._create_database()
            return False

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def _create_database(self) -> bool:
        connection = psycopg2.connect(self._url("postgres"), connect_timeout=2)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        except errors.DuplicateDatabase:
            pass
        finally:
            connection.close()
        return True

    def _initdb(self) -> None:
        made = self.folder.with_name(self.folder.name + ".new")
        shutil.rmtree(made, ignore_errors=True)
        self.data.make_private(made)
        password = made.with_name(made.name + ".password")
        handle = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(self.password + "\n")
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
                *("-D", folder, "-U", USER, "-A", "scram-sha-256", "--pwfile", password),
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
        """After kill -9 and a restart of the machine or container, the old number may be another process's, and PostgreSQL would refuse.

        Nothing works in the folder any more (end_leftovers), and the lock of the data folder keeps others out.
        """
        file = self.folder / "postmaster.pid"
        try:
            pid = int(file.read_text(encoding="ascii", errors="replace").split("\n", 1)[0])
        except (OSError, ValueError):
            return
        if Path("/proc/self").exists() and Path(f"/proc/{pid}").exists():
            file.unlink(missing_ok=True)
