"""A real standby of the embedded PostgreSQL, made by pg_basebackup, which can be promoted."""

from __future__ import annotations

import subprocess
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from engine.local.postgres import Postgres
from engine.local.server import plain_environment
from tests.ports import free_port
from tests.processes.conftest import until


def standby_of(primary: Postgres) -> Postgres:
    """A standby that streams from the primary. Its owner stops it."""
    data, account = primary.data, primary.data.account
    made = Postgres("standby", "standby", data, primary.program, primary.password, free_port())
    data.make_private(made.folder)
    words = ["-D", made.folder, "-d", primary.superuser_url, "-R", "-X", "stream", "-c", "fast"]
    subprocess.run(
        [primary.program.path("pg_basebackup"), *words],
        cwd=made.folder,
        env=plain_environment(),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        check=True,
        timeout=120,
    )
    made.launch()
    made.wait(lambda: False)
    return made


def promote(standby: Postgres) -> None:
    """From here it takes writes."""
    connection = psycopg2.connect(standby.superuser_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_promote()")
    connection.close()


def url_of(*servers: Postgres) -> str:
    """One URL of several servers, of which libpq takes the one that takes writes."""
    parts = urlsplit(servers[0].url)
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    login = parts.netloc.rpartition("@")[0]
    wanted = "target_session_attrs=read-write" if len(servers) > 1 else ""
    return urlunsplit(parts._replace(netloc=f"{login}@{hosts}", query=wanted))


def replayed(primary: Postgres, standby: Postgres) -> None:
    """Waits until the standby has what the primary has now."""
    with psycopg2.connect(primary.superuser_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_lsn()")
        ((lsn,),) = cursor.fetchall()

    def there() -> bool:
        with psycopg2.connect(standby.superuser_url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (lsn,))
            return bool(cursor.fetchall()[0][0])

    until(there)
